"""Layers that put several values together: Eltwise, Concat, Slice, Split."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np
from zoo.converters.caffe.net import Step
from zoo.converters.caffe.writer import MANY, Writer, axis_of, layer, refusal

_PRODUCT, _SUM, _MAX = 0, 1, 2


@layer("Eltwise", inputs=(2, MANY))
def eltwise(w: Writer, step: Step) -> None:
    """Writes a sum, of which each part may have a factor, a product, or a maximum."""
    given, shapes = step.layer.message.eltwise_param, [w.shape(each) for each in step.inputs]
    if len({each[1:] for each in shapes}) > 1:
        raise refusal(
            step, f"its inputs have the shapes {', '.join(map(str, shapes))}; two or more equal ones were expected"
        )
    coefficients = list(given.coeff)
    if coefficients and (given.operation != _SUM or len(coefficients) != len(shapes)):
        raise refusal(step, f"it has {len(coefficients)} coefficients; only a sum has any, one for each of its inputs")
    values = list(step.inputs)
    for place, each in enumerate(coefficients):
        if each != 1:
            number = w.weight(step, np.array(each, np.float32), "coefficient")
            values[place] = w.node(step, "Mul", [values[place], number], suffix=f"part_{place}")
    operator = {_PRODUCT: "Mul", _SUM: "Add", _MAX: "Max"}[given.operation]
    *first, last = values
    left = reduce(lambda one, other: w.node(step, operator, [one, other], suffix="more"), first)
    w.node(step, operator, [left, last], step.outputs[0])
    w.shapes[step.outputs[0]] = shapes[0]


@layer("Concat", inputs=(1, MANY))
def concat(w: Writer, step: Step) -> None:
    """Writes a Concat."""
    given, shapes = step.layer.message.concat_param, [w.shape(each) for each in step.inputs]
    axis = given.concat_dim if given.HasField("concat_dim") else given.axis
    axis = axis_of(step, axis, shapes[0], first=1)
    others = {each[1:axis] + each[axis + 1 :] for each in shapes}
    if len({len(each) for each in shapes}) > 1 or len(others) > 1:
        raise refusal(
            step, f"its inputs have the shapes {', '.join(map(str, shapes))}, which do not fit along axis {axis}"
        )
    w.node(step, "Concat", step.inputs, step.outputs[0], axis=axis)
    w.shapes[step.outputs[0]] = (*shapes[0][:axis], sum(each[axis] for each in shapes), *shapes[0][axis + 1 :])


@layer("Slice", outputs=(1, MANY))
def slice_(w: Writer, step: Step) -> None:
    """Writes a Split at the places that are told, or in equal parts."""
    given, shape = step.layer.message.slice_param, w.shape(step.inputs[0])
    axis = axis_of(step, given.slice_dim if given.HasField("slice_dim") else given.axis, shape, first=1)
    size, count, points = shape[axis], len(step.outputs), list(given.slice_point)
    if not points and size % count == 0:
        points = [size // count * each for each in range(1, count)]
    ends = [0, *points, size]
    lengths = [stop - start for start, stop in pairwise(ends)]
    if len(lengths) != count or min(lengths) < 1:
        raise refusal(step, f"it cuts {size} along axis {axis} at {points} into {count} parts")
    inputs = [step.inputs[0], w.weight(step, np.array(lengths, np.int64), "lengths")]
    w.split(step, inputs, axis)
    for output, length in zip(step.outputs, lengths, strict=True):
        w.shapes[output] = (*shape[:axis], length, *shape[axis + 1 :])


@layer("Split", outputs=(1, MANY))
def split(w: Writer, step: Step) -> None:
    """Gives a value under several names, as Caffe does where several layers read it."""
    w.same |= dict.fromkeys(step.outputs, step.inputs[0])
