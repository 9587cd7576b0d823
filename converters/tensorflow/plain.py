"""Makes a plain graph of any: what is needed, in inference, with its variables and large constants as placeholders."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from zoo.converters.tensorflow.branches import take_branches, with_known, without_dropout
from zoo.converters.tensorflow.graphs import (
    Array,
    Ends,
    Message,
    PlainGraph,
    Weight,
    by_name,
    copy_of,
    full_name,
    imported,
    maker,
    needed,
    placeholder,
    use_instead,
)
from zoo.converters.tensorflow.inlining import without_calls
from zoo.converters.tensorflow.lifting import lift_constants, lift_variables
from zoo.converters.tensorflow.sessions import session_run

from zoo.errors import NotConvertible, UsageError

_INPUT, _OUTPUT = "zoo_input_{}", "zoo_output_{}"
_MOST_ROUNDS = 20  # branches in functions in branches
_BY_BATCH = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
Kinds = Mapping[str, tuple[Any, Any]]


def plain_graph(
    graph: Message,
    ends: Ends,
    kinds: Kinds,
    known: Mapping[str, Any],
    *,
    lifted: Collection[str] = (),
    least_rank: int = 1,
) -> Unbound:
    """Returns the part of a graph between two ends, in inference, and the constants that were lifted out of it.

    Args:
        graph: The graph; it is not changed.
        ends: Where the part begins and ends.
        kinds: The types and shapes of its variables, by the names of their nodes, which stay.
        known: What placeholders are in inference.
        lifted: Placeholders that stand for weights already.
        least_rank: How many axes a constant has at least that is lifted.

    Raises:
        NotConvertible: The graph does what cannot be converted.
        UsageError: A size of an input is missing, or another than the graph has.
    """
    graph = needed(graph, ends.outputs.values(), waiting=True)
    ends = _with_placeholders(graph, ends)
    for _ in range(_MOST_ROUNDS):
        with_known(graph, known)
        graph = without_calls(graph)
        if not take_branches(graph):
            break
        graph = needed(graph, ends.outputs.values(), waiting=True)
    graph = needed(graph, ends.outputs.values())
    lift_variables(graph, kinds)
    dropped = without_dropout(graph)
    graph = needed(graph, ends.outputs.values())
    _refuse_strings(graph)
    constants = lift_constants(graph, least_rank)
    _refuse_training(graph)
    nodes = by_name(graph)
    placed = Ends({name: each for name, each in ends.inputs.items() if maker(each) in nodes}, ends.outputs)
    if not placed.inputs:
        raise NotConvertible("What comes out of the graph depends on nothing that goes in.")
    notes = [f"What drops numbers by chance was left away ({dropped} times)."] if dropped else []
    notes += [f"{name!r} is {value} in inference." for name, value in known.items()]
    weights = [name for name in (*kinds, *lifted) if name in nodes]
    return Unbound(graph, placed, (*weights, *constants), constants, tuple(notes), dropped > 0)


@dataclass(frozen=True)
class Unbound:
    """A plain graph before its variables' values are read.

    Attributes:
        graph: The graph.
        ends: What goes in and comes out.
        weights: Which placeholders stand for numbers.
        constants: The numbers that were in the graph.
        notes: What was decided.
        is_random: Whether the original drops numbers by chance, so that no two runs of it agree.
    """

    graph: Message
    ends: Ends
    weights: tuple[str, ...]
    constants: dict[str, Weight]
    notes: tuple[str, ...]
    is_random: bool

    def with_weights(
        self, weights: Mapping[str, Weight], run: Callable[[Mapping[str, Array]], dict[str, Array]]
    ) -> PlainGraph:
        """Returns the graph with its variables' values, and what computes the original; itself, where that is random.

        Args:
            weights: The values.
            run: Computes the original.
        """
        both = {**weights, **self.constants}
        if self.is_random:
            run = session_run(self.graph, self.ends, (), {}, both)
        return PlainGraph(self.graph, self.ends.inputs, self.ends.outputs, both, run, self.notes)


def _with_placeholders(graph: Message, ends: Ends) -> Ends:
    """Returns the ends of a graph that has a node of its own for each of them; changes the graph.

    Inputs are placeholders of the sizes that were told, outputs copies.
    """
    nodes, found, instead = by_name(graph), dict[str, str](), dict[str, str]()
    if odd := sorted(set(ends.shapes) - set(ends.inputs)):
        known = ", ".join(map(repr, ends.inputs))
        raise UsageError(f"Expected shapes (--shape) for {known}; got some for {odd[0]!r}.")
    sizes = imported(graph)
    for number, (name, tensor) in enumerate(ends.inputs.items()):
        tensor = full_name(tensor)
        if maker(tensor) not in nodes:
            found[name] = tensor  # nothing needs it: it is left away later
            continue
        node = nodes[maker(tensor)]
        if node.op == "Placeholder" and name not in ends.shapes:
            found[name] = tensor
            continue
        value = sizes.get_tensor_by_name(tensor)
        shape = value.shape
        if name in ends.shapes:
            shape = tf.TensorShape(list(ends.shapes[name]))
            _refuse_other_shape(name, shape, value.shape)
        if node.op == "Placeholder":
            node.CopyFrom(placeholder(node.name, value.dtype, shape))
            found[name] = tensor
        else:
            made = placeholder(_INPUT.format(number), value.dtype.base_dtype, shape)
            instead[tensor] = f"{made.name}:0"
            use_instead(graph, instead)
            graph.node.append(made)
            found[name] = f"{made.name}:0"
    outputs = {}
    for number, (name, tensor) in enumerate(ends.outputs.items()):
        dtype = sizes.get_tensor_by_name(full_name(tensor)).dtype.base_dtype
        graph.node.append(copy_of(instead.get(full_name(tensor), tensor), _OUTPUT.format(number), dtype))
        outputs[name] = f"{_OUTPUT.format(number)}:0"
    return Ends(found, outputs)


def _refuse_other_shape(name: str, told: Any, shape: Any) -> None:
    if not told.is_compatible_with(shape):
        raise UsageError(f"Expected a shape (--shape) like {shape} for the input {name!r}; got {told}.")


def _refuse_strings(graph: Message) -> None:
    """Refuses what computes with texts or tables: there are no layers of that kind."""
    for operation in imported(graph).get_operations():
        for each in operation.outputs:
            if each.dtype in (tf.string, tf.resource):
                kind = "texts" if each.dtype == tf.string else "tables, or other things that are no numbers"
                raise NotConvertible(
                    f"The operation {operation.name!r} ({operation.type}) has to do with {kind}, and layers have not."
                )


def _refuse_training(graph: Message) -> None:
    for node in graph.node:
        if node.op in _BY_BATCH and ("is_training" not in node.attr or node.attr["is_training"].b):
            raise NotConvertible(
                f"The operation {node.name!r} normalizes by the batch, as nets that train do. Save the graph that is "
                "for inference, with is_training=False."
            )
