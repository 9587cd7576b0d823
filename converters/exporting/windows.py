"""Layers of ours over feature maps that ONNX has as they are: LocalResponseNormalization and WindowPooling."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from zoo.converters.exporting.net import Dims, Net, Op
from zoo.converters.exporting.putting import Putter, channels_first


def is_odd(layer: Any, x: Any) -> bool:
    """Returns whether a LocalResponseNormalization has as many neighbours on both sides, as onnxruntime wants it."""
    return bool(layer.size % 2 and x.dtype == tf.float32 and len(x.shape) > 2)


def write_response_normalization(net: Net, op: Op, layer: Any, given: dict[str, str]) -> list[Op]:
    """Returns an LRN."""
    numbers = {name: float(getattr(layer, name)) for name in ("alpha", "beta", "bias")}
    return _channels_first(net, op, given["x"], "LRN", {"size": int(layer.size), **numbers})


def is_pooling(layer: Any, x: Any) -> bool:
    """Returns whether a WindowPooling is one of the operators of ONNX."""
    is_within = all(max(pair) < size for pair, size in zip(layer.padding, layer.pool_size, strict=True))
    is_bare = set(layer.dilation_rate) == {1}
    by_kind = {
        "max": True,
        "average": is_bare and (_counts_nothing(layer) or layer.counted == layer.padding),
        "norm": is_bare and layer.power == int(layer.power) > 0,
    }
    return x.dtype == tf.float32 and is_within and by_kind.get(layer.pooling, False)


def _counts_nothing(layer: Any) -> bool:
    return not any(each for pair in layer.counted for each in pair)


def pooled_sizes(layer: Any, x: Any) -> list[Dims]:
    """Returns the sizes of what a pooling puts out."""
    return [tuple(layer.compute_output_spec(keras.KerasTensor(x.shape, "float32")).shape)]


def write_pooling(net: Net, op: Op, layer: Any, given: dict[str, str]) -> list[Op]:
    """Returns a pool."""
    before, behind = zip(*layer.padding, strict=True)
    attributes: dict[str, Any] = {
        "kernel_shape": list(layer.pool_size),
        "strides": list(layer.strides),
        "pads": [*before, *behind],
    }
    if layer.pooling == "max":
        attributes["dilations"] = list(layer.dilation_rate)
    elif layer.pooling == "average":
        attributes["count_include_pad"] = int(not _counts_nothing(layer))
    else:
        attributes["p"] = int(layer.power)
    operator = {"max": "MaxPool", "average": "AveragePool", "norm": "LpPool"}[layer.pooling]
    return _channels_first(net, op, given["x"], operator, attributes)


def _channels_first(net: Net, op: Op, x: str, operator: str, attributes: dict[str, Any]) -> list[Op]:
    """Returns an operator, and what turns maps around it, whose channels come last."""
    put, order = Putter(net, op), channels_first(len(net.dims[x]), -1)
    dims = tuple(net.dims[op.outputs[0]][axis] for axis in order)
    put.last(put(operator, [put.moved(x, order)], dims, **attributes), order)
    return put.ops
