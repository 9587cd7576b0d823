"""Layers for which ONNX has an operator of its own leave as that, and not in the pieces that TensorFlow computes.

While a model is traced, each of them that is called in the ordinary way is one operation, which knows its layer. It is
replaced by the operator once tf2onnx has translated the others. The operation can be run: it calls the layer.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from zoo.converters.exporting import layer_normalization as normalization
from zoo.converters.exporting import layer_operators as others
from zoo.converters.exporting import recurrent, resizing, windows
from zoo.converters.exporting.naming import all_layers
from zoo.converters.exporting.net import Dims, Net, Op
from zoo.converters.exporting.time_distributed import all_times_at_once, is_row_by_row
from zoo.converters.importing.map_layers import LocalResponseNormalization, Resampling, WindowPooling

OPERATION = "PyFuncStateless"  # what TensorFlow calls the operation that stands for a layer


@dataclass(frozen=True)
class _Kind:
    """What there is to know of a kind of layers.

    Attributes:
        is_plain: Whether a layer does with a tensor what the operator does.
        weights: Its weights by names.
        sizes: The sizes of what it makes of a tensor.
        write: Makes operators of the operation that stands for it.
        since: The first opset that has the operator.
    """

    is_plain: Callable[[Any, Any], bool]
    weights: Callable[[Any], dict[str, Any]]
    sizes: Callable[[Any, Any], list[Dims]]
    write: Callable[[Net, Op, Any, dict[str, str]], list[Op]]
    since: int = 1


def _no_weights(layer: Any) -> dict[str, Any]:
    return {}


_RECURRENT = (recurrent.recurrent_weights, recurrent.recurrent_sizes, recurrent.write_recurrent)
_AFFINE = (normalization.affine_weights, others.same_sizes)
_KINDS: dict[type, _Kind] = {
    **dict.fromkeys(recurrent.LAYERS, _Kind(recurrent.is_recurrent, *_RECURRENT)),
    layers.Bidirectional: _Kind(recurrent.is_bidirectional, *_RECURRENT),
    layers.LayerNormalization: _Kind(
        normalization.is_over_last_axes, *_AFFINE, normalization.write_layer_normalization, since=17
    ),
    layers.GroupNormalization: _Kind(normalization.is_over_groups, *_AFFINE, normalization.write_group_normalization),
    layers.UnitNormalization: _Kind(
        normalization.is_along_one_axis, _no_weights, others.same_sizes, normalization.write_unit_normalization
    ),
    layers.ELU: _Kind(others.is_float, _no_weights, others.same_sizes, others.write_elu),
    layers.PReLU: _Kind(others.is_float, others.prelu_weights, others.same_sizes, others.write_prelu),
    layers.Embedding: _Kind(others.is_table, others.table, others.sizes_of_rows, others.write_embedding),
    **dict.fromkeys(
        (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
        _Kind(
            others.is_transposed_convolution, others.convolution_weights, others.convolution_sizes,
            others.write_transposed_convolution,
        ),
    ),
    **dict.fromkeys(
        (layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D),
        _Kind(resizing.is_upsampling, _no_weights, resizing.upsampled_sizes, resizing.write_upsampling),
    ),
    Resampling: _Kind(resizing.is_resampling, _no_weights, resizing.resampled_sizes, resizing.write_resampling),
    WindowPooling: _Kind(windows.is_pooling, _no_weights, windows.pooled_sizes, windows.write_pooling),
    LocalResponseNormalization: _Kind(
        windows.is_odd, _no_weights, others.same_sizes, windows.write_response_normalization
    ),
}  # fmt: skip


# Of several places Keras takes the first, as ONNX does, but for zeros, whose signs it reads from their bits.
_CHOICES = {"Argmax": tf.argmax, "Argmin": tf.argmin}


@dataclass(frozen=True)
class Call:
    """A call of a layer that is one operation in the trace.

    Attributes:
        layer: The layer.
        roles: What the operation takes: `x`, first states, and weights by their names.
        takes: The sizes of those.
        sizes: Of what it puts out.
    """

    layer: Any
    roles: tuple[str, ...]
    takes: tuple[Dims, ...]
    sizes: tuple[Dims, ...]


@contextlib.contextmanager
def whole_layers(model: keras.Model, opset: int) -> Iterator[dict[str, Call]]:
    """Lets layers be one operation each in the graph that is being traced; gives their calls by the operations' names.

    A layer of a class of its own, and one inside a loop of TensorFlow, is left in its pieces.

    Args:
        model: The model that is traced.
        opset: The operator set that must have the operators.
    """
    graph, calls = tf.compat.v1.get_default_graph(), dict[str, Call]()
    changed = []
    try:
        for each in {id(each): each for each in (*model._flatten_layers(), *all_layers(model))}.values():
            instead = _instead(each, opset, graph, calls)
            if instead is not None and "call" not in vars(each):
                object.__setattr__(each, "call", instead)  # not as Keras sets it, which would track it
                changed.append(each)
        yield calls
    finally:
        for each in changed:
            object.__delattr__(each, "call")


def _instead(layer: Any, opset: int, graph: Any, calls: dict[str, Call]) -> Callable[..., Any] | None:
    """Returns what is to be called instead of a layer, or of an operation of a functional model; None for most."""
    if not isinstance(layer, keras.Layer):
        return _in_scope(layer)
    if type(layer) is layers.TimeDistributed and is_row_by_row(layer):
        return all_times_at_once(layer)
    kind = _KINDS.get(type(layer))
    return _as_one_operation(layer, graph, calls) if kind and kind.since <= opset and layer.built else None


def _in_scope(operation: Any) -> Callable[..., Any]:
    """Returns what an operation computes, with its name for a scope, as layers have one."""
    own = operation.call
    choose = _CHOICES.get(type(operation).__name__) if type(operation).__module__.startswith("keras.") else None

    def call(*args: Any, **kwargs: Any) -> Any:
        with tf.name_scope(operation.name):
            if choose is None or (operation.keepdims and operation.axis is None):
                return own(*args, **kwargs)
            (x,), axis = args, operation.axis
            found = choose(tf.reshape(x, [-1]) if axis is None else x, axis=axis or 0, output_type=tf.int32)
            return tf.expand_dims(found, axis) if operation.keepdims else found

    return call


def _as_one_operation(layer: Any, graph: Any, calls: dict[str, Call]) -> Callable[..., Any]:
    """Returns what is to be called instead of a layer."""
    own, kind = layer.call, _KINDS[type(layer)]
    signature = inspect.signature(own)

    def call(*args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind(*args, **kwargs).arguments
        x, states = next(iter(arguments.values())), arguments.get("initial_state")
        states = [] if states is None else keras.tree.flatten(states)
        plain = arguments.get("mask") is None and not arguments.get("training")
        if not plain or not _are_tensors(x, states) or not kind.is_plain(layer, x) or _is_in_loop(graph):
            return own(*args, **kwargs)
        given = {"x": x, **{f"state_{number}": each for number, each in enumerate(states)}}
        given |= {name: tf.convert_to_tensor(each) for name, each in kind.weights(layer).items()}
        sizes, kind_of_numbers = kind.sizes(layer, x), x.dtype if x.dtype.is_floating else tf.float32
        found = tf.numpy_function(
            _running(own, len(states)), list(given.values()), [kind_of_numbers] * len(sizes), stateful=False,
            name=type(layer).__name__,
        )  # fmt: skip
        calls[found[0].op.name] = Call(
            layer, tuple(given), tuple(tuple(each.shape) for each in given.values()), tuple(sizes)
        )
        found = [tf.ensure_shape(each, size) for each, size in zip(found, sizes, strict=True)]
        return found[0] if len(found) == 1 else tuple(found)

    return call


def _is_in_loop(graph: Any) -> bool:
    """Returns whether what is traced now is done again and again: a graph inside of another, or a vectorized map."""
    scopes = graph.get_name_scope().split("/")
    return tf.compat.v1.get_default_graph() is not graph or any(each.startswith("loop_body") for each in scopes)


def _are_tensors(x: Any, states: list[Any]) -> bool:
    """Returns whether a layer is called with tensors, and first states of float32 have a row for each example."""
    if not all(isinstance(each, tf.Tensor) and each.shape.rank is not None for each in (x, *states)):
        return False
    return all(each.dtype == tf.float32 and each.shape.rank == 2 and each.shape[0] == x.shape[0] for each in states)


def _running(own: Callable[..., Any], states: int) -> Callable[..., list[Any]]:
    """Returns what calls a layer with arrays; its weights, which are given too, it has itself."""

    def run(x: Any, *others: Any) -> list[Any]:
        given = [tf.convert_to_tensor(each) for each in others[:states]]
        found = own(tf.convert_to_tensor(x), **({"initial_state": given} if given else {}))
        return [np.asarray(each) for each in keras.tree.flatten(found)]

    return run


def write_whole_layers(net: Net, calls: dict[str, Call]) -> None:
    """Puts the operators of ONNX in the place of the operations that stand for layers.

    Args:
        net: Folded, so that it knows the weights.
        calls: The calls of layers by the operations' names.
    """
    ops = []
    for op in net.ops:
        call = calls.get(op.name) if op.operator == OPERATION else None
        if call is None:
            ops.append(op)
            continue
        net.dims |= zip([*op.inputs, *op.outputs], [*call.takes, *call.sizes], strict=True)
        given = dict(zip(call.roles, op.inputs, strict=True))
        ops += _KINDS[type(call.layer)].write(net, op, call.layer, given)
    net.ops = ops
