"""Pooling, with Caffe's own rule of how many windows there are: it rounds up, and takes back what begins outside."""

from __future__ import annotations

from typing import Any

import numpy as np
from zoo.converters.caffe.net import Shape, Step
from zoo.converters.caffe.writer import Writer, layer, refusal

_MAX, _AVERAGE, _FLOOR = 0, 1, 1


@layer("Pooling", outputs=(1, 2))
def pooling(w: Writer, step: Step) -> None:
    """Writes a MaxPool or AveragePool, with as much padding behind as makes ONNX, which rounds down, end there too."""
    given, shape = step.layer.message.pooling_param, w.shape(step.inputs[0])
    if given.pool not in (_MAX, _AVERAGE):
        raise refusal(step, "its pool is STOCHASTIC, which computes something else each time")
    if len(step.outputs) > 1:
        raise refusal(step, "it gives the places of the largest elements too")
    if len(shape) != 4:
        raise refusal(step, f"it takes [batch, channels, height, width]; its input has the shape {shape}")
    operator = "MaxPool" if given.pool == _MAX else "AveragePool"
    if given.global_pooling:
        w.node(step, f"Global{operator}", step.inputs, step.outputs[0])
        w.shapes[step.outputs[0]] = (*shape[:2], 1, 1)
        return
    size = _both(given, "kernel_size", "kernel_h", "kernel_w")
    stride, pad = _both(given, "stride", "stride_h", "stride_w"), _both(given, "pad", "pad_h", "pad_w")
    if min(*size, *stride) < 1 or any(p >= k for p, k in zip(pad, size, strict=True)):
        raise refusal(step, f"its kernel {size}, stride {stride} and pad {pad} do not fit together")
    counts = _counts(given, shape, size, stride, pad)
    if min(counts) < 1:
        raise refusal(step, f"nothing is left of {shape[2:]} behind it")
    places = zip(shape[2:], counts, size, stride, pad, strict=True)
    behind = [(count - 1) * s + k - h - p for h, count, k, s, p in places]  # how far the last window reaches out
    if any(each >= k for each, k in zip(behind, size, strict=True)):
        raise refusal(step, "its last window lies outside of the picture, and what Caffe computes there has no use")
    _write(w, step, operator, size, stride, pad, tuple(max(0, each) for each in behind))
    w.shapes[step.outputs[0]] = (*shape[:2], *counts)


def _both(given: Any, name: str, high: str, wide: str) -> tuple[int, int]:
    if given.HasField(high) or given.HasField(wide):
        return getattr(given, high), getattr(given, wide)
    return (getattr(given, name),) * 2


def _counts(
    given: Any, shape: Shape, size: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int]
) -> tuple[int, ...]:
    """Returns how many windows there are along each axis."""
    found, is_floor = [], given.round_mode == _FLOOR or (given.HasField("ceil_mode") and not given.ceil_mode)
    for h, k, s, p in zip(shape[2:], size, stride, pad, strict=True):
        room = h + 2 * p - k
        count = room // s + 1 if is_floor else -(-room // s) + 1
        if any(pad) and (count - 1) * s >= h + p:  # along both axes where one of them is padded
            count -= 1
        found.append(count)
    return tuple(found)


def _write(
    w: Writer, step: Step, operator: str, size: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int],
    behind: tuple[int, ...],
) -> None:  # fmt: skip
    """Writes the node. An average counts the padding, but not what is beyond it behind."""
    attributes: dict[str, Any] = {"kernel_shape": size, "strides": stride, "pads": (*pad, *behind)}
    x, beyond = step.inputs[0], [max(0, each - p) for each, p in zip(behind, pad, strict=True)]
    if operator == "AveragePool" and any(pad) and any(beyond):
        counted = [each - more for each, more in zip(behind, beyond, strict=True)]
        sizes = w.weight(step, np.array([0, 0, *pad, 0, 0, *counted], np.int64), "pads")
        x, attributes["pads"] = w.node(step, "Pad", [x, sizes], suffix="pad"), (0, 0, *beyond)
    elif operator == "AveragePool" and any(pad):
        attributes["count_include_pad"] = 1
    w.node(step, operator, [x], step.outputs[0], **attributes)
