"""Makes ONNX of a plain graph with tf2onnx, which sees no large numbers, and tidies what comes out."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

import onnx
import tensorflow as tf
from zoo.converters.exporting.folding import fold, merge_equal, merge_weights, simplify
from zoo.converters.exporting.lacking import HANDLERS
from zoo.converters.exporting.naming import name_constants, name_operators
from zoo.converters.exporting.net import Net
from zoo.converters.exporting.normalization import put_normalizations
from zoo.converters.exporting.one_dimensional import without_thin_axes
from zoo.converters.exporting.tracing import unique
from zoo.converters.exporting.translating import TIDYING, all_nodes, listening, name_turned, net_made
from zoo.converters.exporting.transposes import sink_transposes
from zoo.converters.tensorflow.graphs import (
    Message,
    PlainGraph,
    imported,
    readers,
    rename_functions,
)
from zoo.converters.tensorflow.normalization import normalizations
from zoo.converters.tensorflow.scopes import Scopes, weight_paths

from zoo.errors import NotConvertible

OPSET = 17
_THROUGH = {"Identity", "Reshape", "Cast", "Transpose"}


def net_of_graph(plain: PlainGraph) -> Net:
    """Returns a graph in operators of ONNX: called after scopes, and with the weights as known values.

    Raises:
        NotConvertible: tf2onnx cannot translate an operation; the message names it.
    """
    inputs, weights = list(plain.inputs.values()), [f"{name}:0" for name in plain.weights]
    net = _translated(plain.graph, [*inputs, *weights], list(plain.outputs.values()))
    for name, weight in plain.weights.items():
        net.constants[f"{name}:0"] = weight.array
        net.sources[f"{name}:0"] = frozenset({f"{name}:0"})
    net.inputs = inputs
    _tidy(net, plain)
    return net


def _translated(graph: Message, inputs: list[str], outputs: list[str]) -> Net:
    from tf2onnx import optimizer, tfonnx  # here: they take a second

    with listening() as failed, _refusing(failed), tf.device("/cpu:0"):
        rename_functions(graph)
        found = tfonnx.process_tf_graph(
            imported(graph), continue_on_error=True, opset=OPSET, input_names=inputs, output_names=outputs,
            custom_op_handlers={name: (each, []) for name, each in HANDLERS.items()},
        )  # fmt: skip
        some = {name: each for name, each in optimizer._get_optimizers().items() if name in TIDYING}
        found = optimizer.optimize_graph(found, optimizers=some)
        proto = found.make_model("")
    unknown = [node for node in all_nodes(proto.graph) if not onnx.defs.has(node.op_type, node.domain)]
    if unknown:
        raise _refusal(unknown[0].name, unknown[0].op_type)
    if failed:
        raise _refusal(failed[0], "")
    return net_made(found, proto, OPSET, [*inputs, *outputs])


@contextlib.contextmanager
def _refusing(failed: list[str]) -> Iterator[None]:
    """Makes errors of ours of those of tf2onnx, which come of what it could not translate before."""
    try:
        yield
    except Exception as error:  # of any kind: tf2onnx has none of its own
        if failed:
            raise _refusal(failed[0], "") from error
        raise NotConvertible(
            f"The graph cannot be converted: tf2onnx fails with {' '.join(str(error).split())[:300]!r}."
        ) from error


def _refusal(name: str, operation: str) -> NotConvertible:
    kind = f" ({operation})" if operation else ""
    return NotConvertible(
        f"The operation {name!r}{kind} cannot be converted: tf2onnx has no translation of it to ONNX. What is below it "
        "may be, where the graph's output is told: --output NAME:0"
    )


def _tidy(net: Net, plain: PlainGraph) -> None:
    scopes = Scopes(_kernels(plain))
    name_turned(net, scopes)
    for _ in range(2):  # sizes that turn out to be numbers let more be computed
        fold(net)
        simplify(net)
    fold(net)
    without_thin_axes(net, scopes)
    put_normalizations(net, normalizations(plain.graph, plain.weights))
    sink_transposes(net)
    fold(net)
    simplify(net)
    net.forget_unused()
    merge_weights(net)
    merge_equal(net)
    net.forget_unused()
    _name(net, plain, scopes)


def _name(net: Net, plain: PlainGraph, scopes: Scopes) -> None:
    """Calls operators after scopes, values after operators, and weights after variables."""
    layers = {f"{name}:0": scopes(user) for name, user in _users(plain).items()}
    paths = weight_paths({f"{name}:0": each.path for name, each in plain.weights.items()}, layers)
    for op in net.ops:
        op.name = "/".join(each for each in scopes.split(op.name) if each) or op.operator
    names = unique([*plain.inputs, *plain.outputs])
    inputs, outputs = names[: len(plain.inputs)], names[len(plain.inputs) :]
    name_operators(net, _Written(_before_kernels(net)), inputs, dict(zip(net.outputs, outputs, strict=True)))
    name_constants(net, paths)


def _before_kernels(net: Net) -> set[str]:
    """Returns the names of operators that come before the one with the weights of their layer, which has its name."""
    with_weights, before = set[str](), dict[str, set[str]]()
    for op in net.ops:
        layer = op.name.rpartition("/")[0]
        if layer and any(net.constants[each].ndim > 1 for each in op.inputs if each in net.constants):
            with_weights.add(layer)
        elif layer not in with_weights:
            before.setdefault(layer, set()).add(op.name)
    return {name for layer in with_weights for name in before.get(layer, ())}


class _Written(Scopes):
    """Which layer an operator belongs to that is called after it already.

    Args:
        alone: The names of those that are to keep them.
    """

    def __init__(self, alone: Collection[str]) -> None:
        super().__init__(())
        self._alone = alone

    def split(self, name: str) -> tuple[str, str]:
        """Returns the layer, and what the name says besides."""
        return (name, "") if name in self._alone else super().split(name)


def _kernels(plain: PlainGraph) -> list[str]:
    """Returns the names of the operations that take weights of two axes or more."""
    users = _users(plain)
    return [users[name] for name, each in plain.weights.items() if each.array.ndim > 1 and name in users]


def _users(plain: PlainGraph) -> dict[str, str]:
    """Returns which operation takes a weight first, by the weight's placeholder."""
    take, found = readers(plain.graph), dict[str, str]()
    for name in plain.weights:
        left, seen = [f"{name}:0"], set[str]()
        while left and name not in found:
            for node in take.get(left.pop(0), []):
                if node.op not in _THROUGH:
                    found[name] = node.name
                    break
                if node.name not in seen:
                    seen.add(node.name)
                    left.append(f"{node.name}:0")
    return found
