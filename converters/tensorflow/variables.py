"""The variables of a graph of TensorFlow 1, and their values in its checkpoint.

A graph has operations by which its Saver restored it: they tell under which name a variable's values are kept. It may
have those of other Savers too, as of one that read an average, or another net: only that which wrote the checkpoint
counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import tensorflow as tf
from zoo.converters.literal_paths import literal_prefix
from zoo.converters.tensorflow.graphs import Array, Message, Weight, by_name, data_inputs, maker

from zoo.errors import IntegrityError, nearest_names

_REFERENCES, _HANDLES = {"Variable", "VariableV2"}, {"VarHandleOp"}
_ASSIGNING = {"Assign", "AssignVariableOp"}


def variable_kinds(graph: Message) -> dict[str, tuple[Any, Any]]:
    """Returns the types and shapes of a graph's variables, by the names of their nodes."""
    return {
        node.name: (tf.as_dtype(node.attr["dtype"].type), tf.TensorShape(node.attr["shape"].shape))
        for node in graph.node
        if node.op in _REFERENCES | _HANDLES
    }


def saved_values(
    prefix: Path, graph: Message, kinds: Mapping[str, tuple[Any, Any]], restoring: str = ""
) -> dict[str, Weight]:
    """Returns the values of variables, by the names of their nodes, read one at a time.

    Args:
        prefix: The checkpoint: what its files begin with, and nothing else is looked for.
        graph: The whole graph, with its Saver's operations.
        kinds: The variables that are wanted.
        restoring: The operation by which the checkpoint's Saver restores all; "" where none is told.

    Raises:
        IntegrityError: The checkpoint is damaged, or lacks one, or has it in another shape or type.
    """
    nodes, found = by_name(graph), {}
    is_told = maker(restoring) in nodes
    told = _places(nodes, _waited_for(nodes, maker(restoring)) if is_told else nodes.keys())
    with _opened(prefix) as (known, read):
        for name, (dtype, shape) in kinds.items():
            places = [told[name]] if name in told else []
            if not places or not is_told:
                shared = nodes[name].attr["shared_name"].s.decode(errors="replace") if name in nodes else ""
                places = [(name, ""), (shared, ""), *places]
            key, part = next((each for each in places if each[0] in known), ("", ""))
            if not key:
                raise IntegrityError(
                    f"The checkpoint {prefix} has no values for the variable {places[0][0]!r} of its graph."
                    f"{nearest_names(places[0][0], known)} Both must have been saved together."
                )
            array = read(key)
            found[name] = Weight(key, _checked(array[_part(part)] if part else array, dtype, shape, key, prefix))
    return found


@contextlib.contextmanager
def _opened(prefix: Path) -> Iterator[tuple[list[str], Callable[[str], Array]]]:
    """Gives the names of what a checkpoint has, and what reads one of them."""
    # tf.train.load_checkpoint would follow a list in a folder of that name to any path.
    with literal_prefix(prefix) as path:
        with _explained(prefix):
            reader = tf.compat.v1.train.NewCheckpointReader(str(path))
            known = list(reader.get_variable_to_shape_map())

        def read(key: str) -> Array:
            with _explained(prefix):
                return cast(Array, reader.get_tensor(key))

        yield known, read


@contextlib.contextmanager
def _explained(prefix: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of TensorFlow, of many kinds
        why = " ".join(str(error).split())[:300]
        raise IntegrityError(f"The checkpoint {prefix} is damaged, or not whole: {why}. Get it again.") from error


def _checked(array: Any, dtype: Any, shape: Any, key: str, prefix: Path) -> Array:
    found = tf.as_dtype(array.dtype)
    if found != dtype or not shape.is_compatible_with(array.shape):
        raise IntegrityError(
            f"The variable {key!r} is {dtype.name} of shape {shape} in the graph, and {found.name} of shape "
            f"{array.shape} in the checkpoint {prefix}. Both must have been saved together."
        )
    checked: Array = array
    return checked


def _places(nodes: Mapping[str, Message], names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Returns the names under which variables are kept, and of which part of them, by the variables' nodes.

    A variable of which several places are told is not among them.

    Args:
        nodes: The graph's.
        names: Which of them may tell.
    """
    found: dict[str, set[tuple[str, str]]] = {}
    for node in map(nodes.__getitem__, names):
        if node.op not in _ASSIGNING:
            continue
        target, value = data_inputs(node)[:2]
        for _ in nodes:
            source = nodes.get(maker(value))
            if source is None or source.op != "Identity":
                break
            value = data_inputs(source)[0]
        if source is None or source.op != "RestoreV2":
            continue
        keys, parts = (_texts(nodes.get(maker(each))) for each in data_inputs(source)[1:3])
        number = int(value.partition(":")[2])
        if number < min(len(keys), len(parts)):
            found.setdefault(maker(target), set()).add((keys[number], parts[number]))
    return {name: next(iter(places)) for name, places in found.items() if len(places) == 1}


def _waited_for(nodes: Mapping[str, Message], name: str) -> set[str]:
    """Returns the names of a node and of all that it waits for, or takes something of."""
    found, left = set[str](), [name]
    while left:
        name = left.pop()
        if name not in found and name in nodes:
            found.add(name)
            left += map(maker, nodes[name].input)
    return found


def _texts(node: Message | None) -> list[str]:
    if node is None or node.op != "Const":
        return []
    return [each.decode(errors="replace") for each in tf.make_ndarray(node.attr["value"].tensor).reshape(-1).tolist()]


def _part(spec: str) -> tuple[slice, ...]:
    """Returns which part of a whole variable one is, as a Saver writes it: the whole's sizes, then the places.

    >>> _part("10 4 0,5:-")
    (slice(0, 5, None), slice(None, None, None))
    """
    parts = spec.rpartition(" ")[2].split(":")
    pairs = [None if each == "-" else [int(number) for number in each.split(",")] for each in parts]
    return tuple(slice(None) if each is None else slice(each[0], each[0] + each[1]) for each in pairs)
