"""Layers that change shapes, cut and repeat: Reshape, Flatten, Crop, Tile, Reduction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from zoo.converters.caffe.net import Step
from zoo.converters.caffe.writer import Writer, axis_of, layer, refusal

_SUM, _MEAN = 1, 4


@layer("Flatten")
def flatten(w: Writer, step: Step) -> None:
    """Writes a Flatten; of other axes than all behind the batch, a Reshape."""
    given, shape = step.layer.message.flatten_param, w.shape(step.inputs[0])
    axis, end = axis_of(step, given.axis, shape, first=1), axis_of(step, given.end_axis, shape)
    if end < axis:
        raise refusal(step, f"it makes one of the axes {axis} to {end} of {len(shape)}")
    _reshape(w, step, (*shape[:axis], math.prod(shape[axis : end + 1]), *shape[end + 1 :]))


@layer("Reshape")
def reshape(w: Writer, step: Step) -> None:
    """Writes a Reshape of some axes, where 0 is the size there was and -1 what remains."""
    given, shape = step.layer.message.reshape_param, w.shape(step.inputs[0])
    start = given.axis if given.axis >= 0 else given.axis + len(shape) + 1
    stop = len(shape) if given.num_axes < 0 else start + given.num_axes
    told = list(given.shape.dim)
    if not 0 <= start <= stop <= len(shape) or told.count(-1) > 1 or any(each < -1 for each in told):
        raise refusal(step, f"it makes {told} of the axes {start} to {stop} of {len(shape)}")
    if any(each == 0 and start + place >= len(shape) for place, each in enumerate(told)):
        raise refusal(step, f"it copies the size of an axis that {shape} has not")
    sizes = [shape[start + place] if each == 0 else each for place, each in enumerate(told)]
    known, total = math.prod(each for each in sizes if each > 0), math.prod(shape[start:stop])
    if -1 in sizes and total % known == 0:
        sizes[sizes.index(-1)] = total // known
    if math.prod(sizes) != total:
        raise refusal(step, f"it makes {told} of {shape[start:stop]}, which has another number of elements")
    found = (*shape[:start], *sizes, *shape[stop:])
    if not found or found[0] != shape[0]:
        raise refusal(step, f"it mixes the examples of a batch: {shape} becomes {found}")
    _reshape(w, step, found)


def _reshape(w: Writer, step: Step, sizes: Sequence[int]) -> None:
    if len(sizes) == 2 and len(w.shape(step.inputs[0])) > 2:
        w.node(step, "Flatten", step.inputs[:1], step.outputs[0], axis=1)
    else:
        target = w.weight(step, np.array([0, *sizes[1:]], np.int64), "sizes")
        w.node(step, "Reshape", [step.inputs[0], target], step.outputs[0])
    w.shapes[step.outputs[0]] = tuple(sizes)


@layer("Crop", inputs=(2, 2))
def crop(w: Writer, step: Step) -> None:
    """Writes a Slice to the sizes of the second input, which gives nothing else."""
    given, shape, like = step.layer.message.crop_param, *(w.shape(each) for each in step.inputs[:2])
    axis, offsets = axis_of(step, given.axis, shape, first=1), list(given.offset) or [0]
    axes = list(range(axis, len(shape)))
    offsets = offsets * len(axes) if len(offsets) == 1 else offsets
    if len(like) != len(shape) or len(offsets) != len(axes):
        raise refusal(step, f"it crops {shape} to {like} from axis {axis} on, by {len(offsets)} offsets")
    if any(offset + like[at] > shape[at] for at, offset in zip(axes, offsets, strict=True)):
        raise refusal(step, f"{like} from {offsets} on is not within {shape}")
    ends = [offset + like[at] for at, offset in zip(axes, offsets, strict=True)]
    numbers = [
        w.weight(step, np.array(each, np.int64), name)
        for name, each in (("starts", offsets), ("ends", ends), ("axes", axes))
    ]
    w.node(step, "Slice", [step.inputs[0], *numbers], step.outputs[0])
    w.shapes[step.outputs[0]] = (*shape[:axis], *(like[at] for at in axes))


@layer("Tile")
def tile(w: Writer, step: Step) -> None:
    """Writes a Tile along one axis."""
    given, shape = step.layer.message.tile_param, w.shape(step.inputs[0])
    axis = axis_of(step, given.axis, shape, first=1)
    if given.tiles < 1:
        raise refusal(step, f"it repeats axis {axis} {given.tiles} times")
    repeats = [given.tiles if at == axis else 1 for at in range(len(shape))]
    w.node(step, "Tile", [step.inputs[0], w.weight(step, np.array(repeats, np.int64), "repeats")], step.outputs[0])
    w.shapes[step.outputs[0]] = tuple(size * each for size, each in zip(shape, repeats, strict=True))


@layer("Reduction")
def reduction(w: Writer, step: Step) -> None:
    """Writes the sum, the sum of magnitudes or squares, or the mean, of all axes from one on, times a number."""
    given, shape = step.layer.message.reduction_param, w.shape(step.inputs[0])
    axis = axis_of(step, given.axis, shape, first=1)
    operator = {_SUM: "ReduceSum", 2: "ReduceL1", 3: "ReduceSumSquare", _MEAN: "ReduceMean"}[given.operation]
    axes, is_last = list(range(axis, len(shape))), given.coeff == 1
    attributes: dict[str, Any] = {"keepdims": 0}
    inputs = [step.inputs[0]]
    if operator == "ReduceSum":  # whose axes are an input in the operator set that is used
        inputs.append(w.weight(step, np.array(axes, np.int64), "axes"))
    else:
        attributes["axes"] = axes
    value = w.node(step, operator, inputs, step.outputs[0] if is_last else "", **attributes)
    if not is_last:
        w.node(
            step, "Mul", [value, w.weight(step, np.array(given.coeff, np.float32), "factor")], step.outputs[0], "factor"
        )
    w.shapes[step.outputs[0]] = shape[:axis]
