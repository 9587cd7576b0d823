"""LRN in both of its regions, BatchNorm and Scale, Bias, MVN."""

from __future__ import annotations

from typing import Any

import numpy as np
from zoo.converters.caffe.net import Shape, Step
from zoo.converters.caffe.wire import Array
from zoo.converters.caffe.writer import Writer, axis_of, blob, layer, refusal

_WITHIN = 1


@layer("LRN")
def local_response(w: Writer, step: Step) -> None:
    """Writes an LRN; within a channel, what it computes there, which has no k."""
    given, x = step.layer.message.lrn_param, step.inputs[0]
    if not given.local_size % 2:
        raise refusal(step, f"its local_size is {given.local_size}; an odd one was expected, as Caffe does")
    if given.norm_region == _WITHIN:
        _within(w, step, given)
    else:
        w.node(
            step, "LRN", [x], step.outputs[0], size=given.local_size, alpha=given.alpha, beta=given.beta, bias=given.k
        )
    w.shapes[step.outputs[0]] = w.shape(x)


def _within(w: Writer, step: Step, given: Any) -> None:
    """Writes x * (1 + alpha * mean(x * x)) ** -beta, with a mean that counts the padding."""
    x, size = step.inputs[0], given.local_size
    square = w.node(step, "Mul", [x, x], suffix="square")
    pads = [(size - 1) // 2] * 4
    mean = w.node(
        step, "AveragePool", [square], suffix="mean", kernel_shape=[size, size], pads=pads, count_include_pad=1
    )
    scaled = w.node(step, "Mul", [mean, _scalar(w, step, given.alpha, "alpha")], suffix="scaled")
    moved = w.node(step, "Add", [scaled, _scalar(w, step, 1.0, "one")], suffix="moved")
    factor = w.node(step, "Pow", [moved, _scalar(w, step, -given.beta, "beta")], suffix="factor")
    w.node(step, "Mul", [x, factor], step.outputs[0])


@layer("BatchNorm")
def batch_norm(w: Writer, step: Step) -> None:
    """Writes a BatchNormalization; a Scale that alone reads it has been put with its weights."""
    given, shape = step.layer.message.batch_norm_param, w.shape(step.inputs[0])
    if given.HasField("use_global_stats") and not given.use_global_stats:
        raise refusal(step, "it normalizes by the statistics of the batch, and no example has an output of its own")
    channels = shape[axis_of(step, 1, shape)]
    factor = float(blob(step, 2, (1,))[0])
    factor = 1 / factor if factor else 0.0
    mean, variance = (blob(step, at, (channels,)) * np.float32(factor) for at in (0, 1))
    if not (variance + given.eps > 0).all():
        raise refusal(step, "one of its variances is negative, or no number")
    gamma, beta = _learned(step, channels)
    names = {"scale": gamma, "bias": beta, "mean": mean, "variance": variance}
    weights = [w.weight(step, array.astype(np.float32), name) for name, array in names.items()]
    w.node(step, "BatchNormalization", [step.inputs[0], *weights], step.outputs[0], epsilon=given.eps)
    w.shapes[step.outputs[0]] = shape


def _learned(step: Step, channels: int) -> tuple[Array, Array]:
    """Returns the scale and the offset of the Scale behind it, whose weights follow its own three."""
    gamma = blob(step, 3, (channels,)) if len(step.blobs) > 3 else np.ones(channels, np.float32)
    beta = blob(step, 4, (channels,)) if len(step.blobs) > 4 else np.zeros(channels, np.float32)
    return gamma, beta


@layer("Scale", inputs=(1, 2))
def scale(w: Writer, step: Step) -> None:
    """Writes a Mul by weights or by another value, and an Add where it has a bias."""
    given, shape = step.layer.message.scale_param, w.shape(step.inputs[0])
    factor, sizes = _factor(w, step, given, shape, "scale")
    has_bias = given.bias_term
    product = w.node(step, "Mul", [step.inputs[0], factor], "" if has_bias else step.outputs[0])
    if has_bias:
        place = 0 if len(step.inputs) > 1 else 1
        bias = blob(step, place, sizes).reshape((*sizes, *[1] * _behind(given, shape, sizes)))
        w.node(step, "Add", [product, w.weight(step, bias, "bias")], step.outputs[0], suffix="bias")
    w.shapes[step.outputs[0]] = shape


@layer("Bias", inputs=(1, 2))
def bias(w: Writer, step: Step) -> None:
    """Writes an Add of weights, or of another value."""
    given, shape = step.layer.message.bias_param, w.shape(step.inputs[0])
    summand, _ = _factor(w, step, given, shape, "bias")
    w.node(step, "Add", [step.inputs[0], summand], step.outputs[0])
    w.shapes[step.outputs[0]] = shape


def _factor(w: Writer, step: Step, given: Any, shape: Shape, what: str) -> tuple[str, Shape]:
    """Returns what a value is multiplied by or added to, with axes of one element behind its own, and its sizes."""
    axis = axis_of(step, given.axis, shape)
    if len(step.inputs) == 1:
        stop = len(shape) if given.num_axes < 0 else axis + given.num_axes
        sizes = shape[axis:stop]
        if stop > len(shape) or (sizes and not axis and sizes[0] > 1):
            raise refusal(step, f"its weights are for the axes from {axis} to {stop} of {shape}")
        array = blob(step, 0, sizes).reshape((*sizes, *[1] * (len(shape) - stop if sizes else 0)))
        return w.weight(step, array, what), sizes
    other = w.shape(step.inputs[1])
    if other != shape[axis : axis + len(other)]:
        raise refusal(step, f"its second input has the shape {other}, which is not part of {shape} from axis {axis} on")
    behind = len(shape) - axis - len(other)
    if not behind or not other:
        return step.inputs[1], other
    axes = w.weight(step, np.arange(len(other), len(other) + behind), "axes")
    return w.node(step, "Unsqueeze", [step.inputs[1], axes], suffix="wide"), other


def _behind(given: Any, shape: Shape, sizes: Shape) -> int:
    return len(shape) - given.axis % len(shape) - len(sizes) if sizes else 0


@layer("MVN")
def mean_variance(w: Writer, step: Step) -> None:
    """Writes (x - mean) / (deviation + eps), over each channel or all of them."""
    given, x, shape = step.layer.message.mvn_param, step.inputs[0], w.shape(step.inputs[0])
    axes = list(range(1 if given.across_channels else 2, len(shape)))
    if not axes:
        raise refusal(step, f"it normalizes pictures; its input has the shape {shape}")
    mean = w.node(step, "ReduceMean", [x], suffix="mean", axes=axes)
    if not given.normalize_variance:
        w.node(step, "Sub", [x, mean], step.outputs[0])
    else:
        centred = w.node(step, "Sub", [x, mean], suffix="centred")
        square = w.node(step, "Mul", [centred, centred], suffix="square")
        variance = w.node(step, "ReduceMean", [square], suffix="variance", axes=axes)
        deviation = w.node(step, "Sqrt", [variance], suffix="deviation")
        moved = w.node(step, "Add", [deviation, _scalar(w, step, given.eps, "eps")], suffix="moved")
        w.node(step, "Div", [centred, moved], step.outputs[0])
    w.shapes[step.outputs[0]] = shape


def _scalar(w: Writer, step: Step, number: float, what: str) -> str:
    return w.weight(step, np.array(number, np.float32), what)
