"""Translates a traced model with tf2onnx, and binds the weights again."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from zoo.converters.exporting.net import Array, Net, net_of
from zoo.converters.exporting.tracing import Traced

from zoo.errors import IntegrityError

# The others move transpositions, for which they want constants, or make one operator of those of several layers.
_TIDYING = ("remove_identity", "loop_optimizer", "einsum_optimizer")


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
    with _listening() as failed:
        with tf.device("/cpu:0"):
            frozen = tf_loader.from_function(function, inputs, outputs)
            with tf.Graph().as_default() as graph:
                tf.import_graph_def(frozen, name="")
                found = tfonnx.process_tf_graph(
                    graph, continue_on_error=True, opset=opset, input_names=inputs, output_names=outputs,
                    custom_op_handlers={"Erfc": (_erfc, []), "ReverseV2": (_reverse, [])},
                )  # fmt: skip
        some = {name: each for name, each in optimizer._get_optimizers().items() if name in _TIDYING}
        found = optimizer.optimize_graph(found, optimizers=some)
        proto = found.make_model("")
    _refuse_untranslated(proto.graph, failed, layer_of)
    names = [*inputs, *outputs, *(name for node in proto.graph.node for name in node.output)]
    dims = {name: found.get_shape(name) for name in names}
    net = net_of(
        proto,
        opset,
        {
            name: tuple(None if each < 0 else each for each in sizes)
            for name, sizes in dims.items()
            if sizes is not None
        },
        {name: found.get_dtype(name) for name in names if found.get_dtype(name) is not None},
    )
    return _bound(net, trace, inputs)


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


def _erfc(context: Any, node: Any, name: str, args: Any) -> None:
    """Makes 1 + erf(-x) of erfc(x), which ONNX does not have: so GELU is as others write it."""
    shape, dtype = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
    one = context.make_const(f"{name}/one", np.ones((), onnx.helper.tensor_dtype_to_np_dtype(dtype))).output[0]
    (x,), output = node.input, node.output[0]
    context.remove_node(name)
    negative = context.make_node("Neg", [x], shapes=[shape], dtypes=[dtype], op_name_scope=name).output[0]
    erf = context.make_node("Erf", [negative], shapes=[shape], dtypes=[dtype], op_name_scope=name).output[0]
    context.make_node("Add", [one, erf], outputs=[output], name=name, shapes=[shape], dtypes=[dtype])


def _reverse(context: Any, node: Any, name: str, args: Any) -> None:
    """Makes a Slice that goes backwards of a reversal along axes that are known."""
    shape, dtype = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
    axes = np.atleast_1d(node.inputs[1].get_tensor_value(as_list=False)).astype(np.int64)
    (x, _), output = node.input, node.output[0]
    ends = np.full(axes.shape, np.iinfo(np.int64).min, np.int64)
    numbers = [("starts", np.full_like(axes, -1)), ("ends", ends), ("axes", axes), ("steps", np.full_like(axes, -1))]
    known = [context.make_const(f"{name}/{what}", each).output[0] for what, each in numbers]
    context.remove_node(name)
    context.make_node("Slice", [x, *known], outputs=[output], name=name, shapes=[shape], dtypes=[dtype])


def _refuse_untranslated(graph: onnx.GraphProto, failed: list[str], layer_of: Callable[[str], str]) -> None:
    for node in _all_nodes(graph):
        if not onnx.defs.has(node.op_type, node.domain):
            raise _refusal(layer_of(node.name), node.op_type)
    if failed:
        raise _refusal(layer_of(failed[0]), failed[0])


def _refusal(layer: str, operation: str) -> IntegrityError:
    where = f"The layer {layer!r}" if layer else "An operation outside of layers"
    return IntegrityError(
        f"{where} cannot be exported: tf2onnx has no translation of its operation {operation!r} to ONNX. Export the "
        "part below it, keras.Model(model.input, LAYER.output), or put another layer in its place."
    )


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _all_nodes(inner)


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
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
