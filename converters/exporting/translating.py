"""Translates a traced model with tf2onnx, and binds the weights again."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from zoo.converters.exporting.lacking import HANDLERS
from zoo.converters.exporting.net import Array, Net, net_of
from zoo.converters.exporting.tracing import Traced
from zoo.converters.exporting.whole_layers import OPERATION

from zoo.errors import IntegrityError

# The others move transpositions, for which they want constants, or make one operator of those of several layers.
TIDYING = ("remove_identity", "loop_optimizer", "einsum_optimizer")


def translated(trace: Traced, opset: int, layer_of: Callable[[str], str]) -> Net:
    """Returns a traced model in operators of ONNX, with its weights as known values.

    Args:
        trace: The model.
        opset: The operator set to use.
        layer_of: Returns for a name in the graph of TensorFlow which layer it belongs to.

    Raises:
        IntegrityError: tf2onnx cannot translate an operation; the message names the layer.
    """
    from tf2onnx import optimizer, tf_loader, tfonnx  # here: they take a second

    function = trace.function
    inputs = [each.name for each in function.inputs if each.dtype != tf.resource]
    outputs = [each.name for each in function.outputs]
    with listening() as failed, _refusing(failed, layer_of):
        with tf.device("/cpu:0"):
            frozen = tf_loader.from_function(function, inputs, outputs)
            with tf.Graph().as_default() as graph:
                tf.import_graph_def(frozen, name="")
                found = tfonnx.process_tf_graph(
                    graph, continue_on_error=True, opset=opset, input_names=inputs, output_names=outputs,
                    custom_op_handlers={name: (each, []) for name, each in _OURS.items()},
                )  # fmt: skip
        some = {name: each for name, each in optimizer._get_optimizers().items() if name in TIDYING}
        found = optimizer.optimize_graph(found, optimizers=some)
        proto = found.make_model("")
    _refuse_untranslated(proto.graph, failed, layer_of, trace.calls)
    net = net_made(found, proto, opset, [*inputs, *outputs])
    name_turned(net, layer_of)
    return _bound(net, trace, inputs)


def net_made(graph: Any, proto: onnx.ModelProto, opset: int, ends: list[str]) -> Net:
    """Returns what tf2onnx has made, with what it knows of sizes and types.

    Args:
        graph: The graph of tf2onnx.
        proto: The same as ONNX has it.
        opset: The operator set.
        ends: The names of what goes in and comes out.
    """
    names = [*ends, *(name for node in proto.graph.node for name in node.output)]
    dims = {name: graph.get_shape(name) for name in names}
    return net_of(
        proto,
        opset,
        {
            name: tuple(None if each < 0 else each for each in sizes)
            for name, sizes in dims.items()
            if sizes is not None
        },
        {name: graph.get_dtype(name) for name in names if graph.get_dtype(name) is not None},
    )


def name_turned(net: Net, layer_of: Callable[[str], str]) -> None:
    """Calls operators that tf2onnx gave no name after the transposition behind them, which has the operation's."""
    consumers = net.consumers()
    for op in net.ops:
        users = consumers.get(op.outputs[0], [])
        if len(users) == 1 and users[0].operator == "Transpose" and not layer_of(op.name) and layer_of(users[0].name):
            op.name = f"{users[0].name}/{op.operator}"


def _bound(net: Net, trace: Traced, inputs: list[str]) -> Net:
    """Makes known values of the inputs that are weights."""
    count = len(trace.inputs)
    # What a layer has made of its weights, or was given, once and for all: Normalization has such tensors.
    besides = [each for each in trace.function.captured_inputs if each.dtype != tf.resource]
    tensors = [*(tf.convert_to_tensor(each.value) for each in trace.variables), *besides]
    for name, tensor in zip(inputs[count:], tensors, strict=True):
        net.constants[name] = array_of(tensor)
        net.sources[name] = frozenset({name})
    net.inputs = inputs[:count]
    return net


def array_of(tensor: tf.Tensor) -> Array:
    """Returns a tensor as an array: the memory that it has already, where numpy knows its type."""
    try:
        return np.asarray(memoryview(tensor))
    except (BufferError, TypeError, ValueError):
        found: Array = tensor.numpy()
        return found


def _as_it_is(context: Any, node: Any, name: str, args: Any) -> None:
    """Leaves an operation that stands for a layer: what becomes of it is decided when its weights are known."""


_OURS = {**HANDLERS, OPERATION: _as_it_is}


def _refuse_untranslated(
    graph: onnx.GraphProto, failed: list[str], layer_of: Callable[[str], str], calls: Collection[str]
) -> None:
    for node in all_nodes(graph):
        if not onnx.defs.has(node.op_type, node.domain) and node.name not in calls:
            raise _refusal(layer_of(node.name), node.op_type)
    if failed:
        raise _refusal(layer_of(failed[0]), failed[0])


@contextlib.contextmanager
def _refusing(failed: list[str], layer_of: Callable[[str], str]) -> Iterator[None]:
    """Makes errors of ours of those of tf2onnx, which come of what it could not translate before."""
    try:
        yield
    except Exception as error:  # of any kind: tf2onnx has none of its own
        if failed:
            raise _refusal(layer_of(failed[0]), failed[0]) from error
        raise IntegrityError(
            f"The model cannot be exported: tf2onnx fails with {' '.join(str(error).split())[:300]!r}. Export a "
            "part of it, keras.Model(model.input, LAYER.output), to see which layer is the reason."
        ) from error


def _refusal(layer: str, operation: str) -> IntegrityError:
    where = f"The layer {layer!r}" if layer else "An operation outside of layers"
    return IntegrityError(
        f"{where} cannot be exported: tf2onnx has no translation of its operation {operation!r} to ONNX. Export the "
        "part below it, keras.Model(model.input, LAYER.output), or put another layer in its place."
    )


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yields the nodes of a graph, and those of the graphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from all_nodes(inner)


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """Gives the names of the nodes that tf2onnx fails on, which it only logs; lets nothing be printed."""
    failed: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if str(record.msg).startswith("Failed to convert node") and record.args:
                failed.append(str(next(iter(record.args))))

    logger, listener = logging.getLogger("tf2onnx"), Listener()
    before = logger.propagate, logger.handlers
    logger.propagate, logger.handlers = False, [listener]
    try:
        yield failed
    finally:
        logger.propagate, logger.handlers = before
