"""Convolution, Deconvolution, InnerProduct."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from zoo.converters.caffe.net import Shape, Step
from zoo.converters.caffe.wire import Array
from zoo.converters.caffe.writer import Writer, axis_of, blob, layer, refusal


@dataclass(frozen=True)
class _Windows:
    """What a convolution goes over, along each spatial axis."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def attributes(self) -> dict[str, Any]:
        """Returns what ONNX calls this."""
        return {
            "kernel_shape": self.size, "strides": self.stride, "pads": self.pad * 2, "dilations": self.dilation,
        }  # fmt: skip

    @property
    def extents(self) -> tuple[int, ...]:
        """Returns how many places a kernel spans."""
        return tuple(dilation * (size - 1) + 1 for size, dilation in zip(self.size, self.dilation, strict=True))


@layer("Convolution", "DepthwiseConvolution")
def convolution(w: Writer, step: Step) -> None:
    """Writes a Conv: its output is rounded down, unlike that of a pool."""
    given, shape = step.layer.message.convolution_param, w.shape(step.inputs[0])
    windows, channels = _windows(step, given, shape), shape[1]
    group = channels if step.layer.type == "DepthwiseConvolution" and not given.HasField("group") else given.group
    if not group or not given.num_output or channels % group or given.num_output % group:
        raise refusal(step, f"its {group} groups do not divide {channels} channels into {given.num_output}")
    kernel = blob(step, 0, (given.num_output, channels // group, *windows.size))
    rooms = zip(shape[2:], windows.pad, windows.extents, windows.stride, strict=True)
    sizes = [(size + 2 * pad - extent) // stride + 1 for size, pad, extent, stride in rooms]
    _write(w, step, "Conv", kernel, windows, group, sizes)


@layer("Deconvolution")
def deconvolution(w: Writer, step: Step) -> None:
    """Writes a ConvTranspose, whose padding crops."""
    given, shape = step.layer.message.convolution_param, w.shape(step.inputs[0])
    windows, channels = _windows(step, given, shape), shape[1]
    if not given.group or not given.num_output or channels % given.group or given.num_output % given.group:
        raise refusal(step, f"its {given.group} groups do not divide {channels} channels into {given.num_output}")
    kernel = blob(step, 0, (channels, given.num_output // given.group, *windows.size))
    rooms = zip(shape[2:], windows.pad, windows.extents, windows.stride, strict=True)
    sizes = [stride * (size - 1) + extent - 2 * pad for size, pad, extent, stride in rooms]
    _write(w, step, "ConvTranspose", kernel, windows, given.group, sizes)


def _windows(step: Step, given: Any, shape: Shape) -> _Windows:
    axes = len(shape) - 2
    if axis_of(step, given.axis, shape) != 1 or axes < 1:
        raise refusal(step, f"it goes over the axes behind {given.axis} of {len(shape)}; those behind 1 were expected")
    size = _each(step, given, "kernel_size", ("kernel_h", "kernel_w"), axes, None)
    found = _Windows(
        size, _each(step, given, "stride", ("stride_h", "stride_w"), axes, 1),
        _each(step, given, "pad", ("pad_h", "pad_w"), axes, 0), _each(step, given, "dilation", (), axes, 1),
    )  # fmt: skip
    if min((*found.size, *found.stride, *found.dilation)) < 1:
        raise refusal(
            step, f"its kernel {found.size}, stride {found.stride} or dilation {found.dilation} is not positive"
        )
    return found


def _each(step: Step, given: Any, name: str, by_axis: Sequence[str], axes: int, usual: int | None) -> tuple[int, ...]:
    """Returns a number for each axis: told by axis, or once for all, or one each."""
    if axes == len(by_axis) and any(given.HasField(each) for each in by_axis):
        return tuple(getattr(given, each) for each in by_axis)
    told = list(getattr(given, name)) or ([] if usual is None else [usual])
    if len(told) not in (1, axes):
        raise refusal(step, f"it tells {len(told)} numbers as {name}; 1 or {axes} were expected")
    return tuple(told * axes if len(told) == 1 else told)


def _write(
    w: Writer, step: Step, operator: str, kernel: Array, windows: _Windows, group: int, sizes: Sequence[int]
) -> None:
    given, shape = step.layer.message.convolution_param, w.shape(step.inputs[0])
    if min(sizes) < 1:
        raise refusal(step, f"nothing is left of {shape[2:]} behind it")
    inputs = [step.inputs[0], w.weight(step, kernel, "kernel")]
    if given.bias_term:
        inputs.append(w.weight(step, blob(step, 1, (given.num_output,)), "bias"))
    w.node(step, operator, inputs, step.outputs[0], group=group, **windows.attributes)
    w.shapes[step.outputs[0]] = (shape[0], given.num_output, *sizes)


@layer("InnerProduct")
def inner_product(w: Writer, step: Step) -> None:
    """Writes a Gemm on rows; behind another axis than 1, a MatMul."""
    given, shape = step.layer.message.inner_product_param, w.shape(step.inputs[0])
    axis, count = axis_of(step, given.axis, shape, first=1), given.num_output
    if not count:
        raise refusal(step, "it has no num_output")
    size = math.prod(shape[axis:])
    kernel = blob(step, 0, (size, count) if given.transpose else (count, size))
    bias = blob(step, 1, (count,)) if given.bias_term else None
    x = step.inputs[0]
    if axis == 1:
        rows = x if len(shape) == 2 else w.node(step, "Flatten", [x], suffix="flatten", axis=1)
        weights = [w.weight(step, kernel, "kernel"), *([] if bias is None else [w.weight(step, bias, "bias")])]
        w.node(step, "Gemm", [rows, *weights], step.outputs[0], transB=int(not given.transpose))
    else:
        if axis < len(shape) - 1:
            rows = w.weight(step, np.array([*[0] * axis, size], np.int64), "rows")
            x = w.node(step, "Reshape", [x, rows], suffix="rows")
        matrix = w.weight(step, kernel if given.transpose else kernel.T, "kernel")
        product = w.node(step, "MatMul", [x, matrix], "" if bias is not None else step.outputs[0])
        if bias is not None:
            w.node(step, "Add", [product, w.weight(step, bias, "bias")], step.outputs[0], suffix="bias")
    w.shapes[step.outputs[0]] = (*shape[:axis], count)
