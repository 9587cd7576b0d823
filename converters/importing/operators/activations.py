"""Activations: layers of Keras where it has one with the same parameters, functions of `keras.ops` otherwise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import layers, ops
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import Node
from zoo.converters.importing.operators.operands import combined, is_float, is_scalar, mapped, scalar
from zoo.converters.importing.registry import operator
from zoo.converters.importing.values import Tensor, Value

_CLOSE = 1e-6  # attributes are numbers of 32 bits
_NAMES = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus", "Softsign": "softsign", "Mish": "mish"}
_POSITIVE = {"Sigmoid", "Softplus"}
_SELU = {"alpha": 1.6732632, "gamma": 1.0507010}


def _layer(b: Builder, kind: Any, x: Tensor, is_positive: bool = False, **config: Any) -> Tensor:
    return b.layer(kind, x, layout=x.layout, sizes=x.dims, is_positive=is_positive, **config)


@operator("Relu", newest=14)
def relu(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a ReLU."""
    if not is_float(x.dtype):
        return mapped(b, ops.maximum, x, 0, is_positive=True)
    return _layer(b, layers.ReLU, x, is_positive=True)


@operator("Sigmoid", "Tanh", "Softplus", "Softsign", "Mish", newest=22)
def activation(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns the activation of that name."""
    is_positive = node.operator in _POSITIVE or x.is_positive
    return _layer(b, layers.Activation, x, is_positive, activation=_NAMES[node.operator])


@operator("LeakyRelu", newest=16)
def leaky_relu(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a LeakyReLU, which takes no slope below zero."""
    slope = node.get("alpha", 0.01)
    if slope < 0:
        return combined(
            b, ops.where, mapped(b, ops.less, x, 0.0, suffix="is_low"), mapped(b, ops.multiply, x, slope), x
        )
    return _layer(b, layers.LeakyReLU, x, x.is_positive, negative_slope=slope)


@operator("Elu", newest=22)
def elu(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns an ELU."""
    return _layer(b, layers.ELU, x, x.is_positive, alpha=node.get("alpha", 1.0))


@operator("Selu", newest=22)
def selu(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a SELU; with other constants than the usual ones, an ELU and a product."""
    alpha, gamma = node.get("alpha", _SELU["alpha"]), node.get("gamma", _SELU["gamma"])
    if math.isclose(alpha, _SELU["alpha"], rel_tol=_CLOSE) and math.isclose(gamma, _SELU["gamma"], rel_tol=_CLOSE):
        return _layer(b, layers.Activation, x, x.is_positive, activation="selu")
    return mapped(b, ops.multiply, _layer(b, layers.ELU, x, x.is_positive, alpha=alpha), gamma)


@operator("Celu", newest=28)
def celu(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a CELU."""
    alpha = node.get("alpha", 1.0)
    if alpha == 1:
        return _layer(b, layers.Activation, x, x.is_positive, activation="celu")
    return mapped(b, ops.celu, x, alpha, is_positive=x.is_positive)


@operator("HardSigmoid", newest=22)
def hard_sigmoid(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns Keras' own, which has the slope 1/6, or what clips a line."""
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=_CLOSE) and math.isclose(beta, 0.5, rel_tol=_CLOSE):
        return _layer(b, layers.Activation, x, is_positive=True, activation="hard_sigmoid")
    line = _layer(b, layers.Rescaling, x, scale=alpha, offset=beta)
    return mapped(b, ops.clip, line, 0.0, 1.0, is_positive=True)


@operator("HardSwish", newest=22)
def hard_swish(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns what Keras calls hard SiLU."""
    return _layer(b, layers.Activation, x, x.is_positive, activation="hard_silu")


@operator("Swish", newest=24)
def swish(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a SiLU; x * sigmoid(alpha x), with another alpha than 1."""
    return _swish(b, x, node.get("alpha", 1.0))


@operator("QuickGelu", newest=1, domain="com.microsoft")
def quick_gelu(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns x * sigmoid(1.702 x)."""
    return _swish(b, x, node.get("alpha", 1.702))


def _swish(b: Builder, x: Tensor, alpha: float) -> Tensor:
    if alpha == 1:
        return _layer(b, layers.Activation, x, x.is_positive, activation="silu")
    line = mapped(b, ops.multiply, x, alpha, suffix="line")
    gate = b.layer(layers.Activation, line, layout=x.layout, sizes=x.dims, suffix="gate", activation="sigmoid")
    return b.layer(layers.Multiply, x, gate, layout=x.layout, sizes=x.dims, is_positive=x.is_positive)


@operator("Gelu", newest=20)
def gelu(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a GELU: the exact one, or that of tanh."""
    return _gelu(b, x, node.get("approximate", "none") == "tanh")


@operator("Gelu", newest=1, domain="com.microsoft")
def microsoft_gelu(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns the exact GELU."""
    return _gelu(b, x, is_approximate=False)


def _gelu(b: Builder, x: Tensor, is_approximate: bool) -> Tensor:
    if is_approximate:
        return mapped(b, ops.gelu, x, approximate=True, is_positive=x.is_positive)
    return _layer(b, layers.Activation, x, x.is_positive, activation="gelu")


@operator("ThresholdedRelu", newest=22)
def thresholded_relu(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns what lets through all above a threshold; ReLU takes none below zero."""
    alpha = node.get("alpha", 1.0)
    if alpha >= 0:
        return _layer(b, layers.ReLU, x, is_positive=True, threshold=alpha)
    return mapped(b, ops.threshold, x, alpha, 0.0)


@operator("Shrink", newest=9)
def shrink(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns zero for what is nearer to it than lambd, and what lies farther, nearer by the bias."""
    far, bias = node.get("lambd", 0.5), node.get("bias", 0.0)
    if is_float(x.dtype) and far >= 0 and bias in (0, far):
        return mapped(b, ops.soft_shrink if bias else ops.hard_shrink, x, far)
    kind = float if is_float(x.dtype) else int
    above, below = (mapped(b, ops.add, x, kind(each), suffix="moved") for each in (-bias, bias))
    zero = mapped(b, ops.multiply, x, kind(0), suffix="zero")
    is_high, is_low = mapped(b, ops.greater, x, far, suffix="is_high"), mapped(b, ops.less, x, -far, suffix="is_low")
    return combined(b, ops.where, is_low, below, combined(b, ops.where, is_high, above, zero, suffix="high"))


@operator("Clip", newest=13)
def clip(b: Builder, node: Node, x: Value, low: Value | None = None, high: Value | None = None) -> Value:
    """Returns a ReLU where the lower bound is zero, else a function; either bound may be left out, or be a tensor."""
    low = np.asarray(node.attributes["min"], np.float32) if low is None and "min" in node.attributes else low
    high = np.asarray(node.attributes["max"], np.float32) if high is None and "max" in node.attributes else high
    if isinstance(x, Tensor) and all(each is None or is_scalar(each, x.rank) for each in (low, high)):
        return _clipped(b, x, _bound(low), _bound(high))
    if low is not None:
        x = combined(b, ops.maximum, x, low, suffix="low")
    return x if high is None else combined(b, ops.minimum, x, high)


def _clipped(b: Builder, x: Tensor, low: Any, high: Any) -> Tensor:
    is_positive = x.is_positive or (low is not None and low >= 0)
    if low == 0 and is_float(x.dtype) and (high is None or high >= 0):
        return _layer(b, layers.ReLU, x, is_positive=True, max_value=high)
    if low is not None and high is not None and low <= high and is_float(x.dtype):
        return mapped(b, ops.clip, x, low, high, is_positive=is_positive)
    if low is not None:
        x = mapped(b, ops.maximum, x, low, is_positive=is_positive, suffix="low" if high is not None else "")
    return x if high is None else mapped(b, ops.minimum, x, high, is_positive=is_positive and high >= 0)


def _bound(array: Any) -> Any:
    """Returns a bound as a number; None where it bounds nothing: exporters write the largest number there is."""
    if array is None:
        return None
    kind = np.asarray(array).dtype
    if kind.kind == "f" and abs(scalar(array)) >= float(np.finfo(kind).max):
        return None
    return scalar(array)
