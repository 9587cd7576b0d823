"""Layers that compute element by element from one value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from zoo.converters.caffe.net import Step
from zoo.converters.caffe.writer import Writer, axis_of, blob, layer, refusal


@layer("ReLU")
def relu(w: Writer, step: Step) -> None:
    """Writes a Relu, or a LeakyRelu."""
    slope = step.layer.message.relu_param.negative_slope
    if slope:
        _like(w, step, "LeakyRelu", alpha=slope)
    else:
        _like(w, step, "Relu")


@layer("PReLU")
def prelu(w: Writer, step: Step) -> None:
    """Writes a PRelu with a slope for each channel, or one for all."""
    shape = w.shape(step.inputs[0])
    axis_of(step, 1, shape)
    if step.layer.message.prelu_param.channel_shared:
        slope = blob(step, 0, (1,))
    else:
        slope = blob(step, 0, (shape[1],)).reshape(-1, *[1] * (len(shape) - 2))
    w.node(step, "PRelu", [step.inputs[0], w.weight(step, slope, "slope")], step.outputs[0])
    w.shapes[step.outputs[0]] = shape


@layer("ELU")
def elu(w: Writer, step: Step) -> None:
    """Writes an Elu."""
    _like(w, step, "Elu", alpha=step.layer.message.elu_param.alpha)


@layer("Sigmoid")
def sigmoid(w: Writer, step: Step) -> None:
    """Writes a Sigmoid."""
    _like(w, step, "Sigmoid")


@layer("TanH")
def tanh(w: Writer, step: Step) -> None:
    """Writes a Tanh."""
    _like(w, step, "Tanh")


@layer("AbsVal")
def absolute(w: Writer, step: Step) -> None:
    """Writes an Abs."""
    _like(w, step, "Abs")


@layer("BNLL")
def softplus(w: Writer, step: Step) -> None:
    """Writes log(1 + exp(x))."""
    _like(w, step, "Softplus")


@layer("Swish")
def swish(w: Writer, step: Step) -> None:
    """Writes x * sigmoid(beta x)."""
    x, beta = step.inputs[0], step.layer.message.swish_param.beta
    inner = x if beta == 1 else w.node(step, "Mul", [x, _number(w, step, beta, "beta")], suffix="inner")
    gate = w.node(step, "Sigmoid", [inner], suffix="gate")
    w.node(step, "Mul", [x, gate], step.outputs[0])
    w.shapes[step.outputs[0]] = w.shape(x)


@layer("Clip")
def clip(w: Writer, step: Step) -> None:
    """Writes a Clip."""
    given = step.layer.message.clip_param
    if not given.HasField("min") or not given.HasField("max"):
        raise refusal(step, "it does not say its min and its max")
    bounds = [_number(w, step, given.min, "min"), _number(w, step, given.max, "max")]
    w.node(step, "Clip", [step.inputs[0], *bounds], step.outputs[0])
    w.shapes[step.outputs[0]] = w.shape(step.inputs[0])


@layer("Dropout")
def dropout(w: Writer, step: Step) -> None:
    """Writes a Dropout, which does nothing in inference, and is wanted where the net trains on."""
    ratio = _number(w, step, step.layer.message.dropout_param.dropout_ratio, "ratio")
    w.node(step, "Dropout", [step.inputs[0], ratio], step.outputs[0])
    w.shapes[step.outputs[0]] = w.shape(step.inputs[0])


@layer("Softmax")
def softmax(w: Writer, step: Step) -> None:
    """Writes a Softmax along one axis."""
    axis = axis_of(step, step.layer.message.softmax_param.axis, w.shape(step.inputs[0]), first=1)
    _like(w, step, "Softmax", axis=axis)


@layer("Power")
def power(w: Writer, step: Step) -> None:
    """Writes (shift + scale x) ** power, without the steps that change nothing."""
    given = step.layer.message.power_param
    steps = [("Pow", given.power, 1.0)]
    _chain(w, step, [("Mul", given.scale, 1.0), ("Add", given.shift, 0.0), *steps])


@layer("Exp")
def exponential(w: Writer, step: Step) -> None:
    """Writes base ** (shift + scale x), where a base of -1 is e."""
    given = step.layer.message.exp_param
    factor = _log(step, given.base)
    _chain(w, step, [("Mul", given.scale * factor, 1.0), ("Add", given.shift * factor, 0.0), ("Exp", None, 0.0)])


@layer("Log")
def logarithm(w: Writer, step: Step) -> None:
    """Writes the logarithm of shift + scale x to a base, where -1 is e."""
    given = step.layer.message.log_param
    factor = 1 / _log(step, given.base)
    _chain(w, step, [("Mul", given.scale, 1.0), ("Add", given.shift, 0.0), ("Log", None, 0.0), ("Mul", factor, 1.0)])


def _log(step: Step, base: float) -> float:
    """Returns the natural logarithm of a base, where -1 is e."""
    if base == -1:
        return 1.0
    if not 0 < base < math.inf or (base == 1 and step.layer.type == "Log"):
        raise refusal(step, f"its base is {base}; one above 0 was expected")
    return math.log(base)


def _chain(w: Writer, step: Step, operations: list[tuple[str, float | None, float]]) -> None:
    """Writes operations one behind the other: each with its number, and the number at which it changes nothing."""
    wanted = [each for each in operations if each[1] is None or each[1] != each[2]]
    value = step.inputs[0]
    for place, (operator, number, _) in enumerate(wanted):
        is_last = place == len(wanted) - 1
        more = [] if number is None else [_number(w, step, number, operator.lower())]
        value = w.node(
            step, operator, [value, *more], step.outputs[0] if is_last else "", "" if is_last else operator.lower()
        )
    if not wanted:
        w.same[step.outputs[0]] = value
    else:
        w.shapes[step.outputs[0]] = w.shape(step.inputs[0])


def _like(w: Writer, step: Step, operator: str, **attributes: Any) -> None:
    w.node(step, operator, step.inputs[:1], step.outputs[0], **attributes)
    w.shapes[step.outputs[0]] = w.shape(step.inputs[0])


def _number(w: Writer, step: Step, number: float, what: str) -> str:
    if abs(number) > float(np.finfo(np.float32).max):
        raise refusal(step, f"it computes with {number:.3g}, which is beyond float32")
    return w.weight(step, np.array(number, np.float32), what)
