"""What is drawn of Reshape, Transpose and their like, and of the arithmetic of shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from random_draft import Draft, Drawn, Refused


def flatten(g: Draft) -> None:
    x = g.value(lambda each: each.rank > 1)
    axis = 1 if g.any(0.6) else g.number(0, x.rank)
    g.node(
        "Flatten", x, axis=None if axis == 1 and g.any(0.5) else axis - x.rank if g.opset >= 11 and g.any(0.2) else axis
    )


def reshape(g: Draft) -> None:
    """Axes that follow each other become one, or one becomes several; others stay."""
    x = g.value(lambda each: each.rank > 0)
    sizes: list[int | None] = list(x.dims)
    for _ in range(g.number(1, 3)):
        if len(sizes) > 1 and g.any(0.5):
            at = g.number(0, len(sizes) - 2)
            one, other = sizes[at : at + 2]
            sizes[at : at + 2] = [None if one is None or other is None else one * other]
        else:
            at = g.number(0, len(sizes) - 1)
            size = sizes[at]
            if size is not None:
                factor = g.one([each for each in range(1, size + 1) if size % each == 0])
                sizes[at : at + 1] = [factor, size // factor]
    told = _told(g, x, sizes)
    g.node("Reshape", x, np.array(told))


def regroup(g: Draft) -> None:
    """All but the first axis in any other sizes."""
    x = g.value(lambda each: each.rank > 1 and None not in each.dims[1:])
    total = math.prod(int(each or 0) for each in x.dims[1:])
    sizes = []
    for _ in range(g.number(0, 3)):
        factor = g.one([each for each in range(1, total + 1) if total % each == 0])
        sizes.append(factor)
        total //= factor
    g.node("Reshape", x, np.array(_told(g, x, [x.dims[0], *sizes, total])))


def _told(g: Draft, x: Drawn, sizes: list[int | None]) -> list[int]:
    """Returns sizes as a file may tell them: 0 for what stays, -1 for one of them."""
    open_ = [at for at, each in enumerate(sizes) if each is None]
    kept = [at for at, each in enumerate(sizes) if at < x.rank and each == x.dims[at]]
    zeros = [at for at in open_ if at < x.rank and x.dims[at] is None and (len(open_) > 1 or g.any(0.4))]
    zeros += [at for at in kept if at not in open_ and g.any(0.2)]
    rest = [at for at in open_ if at not in zeros]
    if len(rest) > 1:
        raise Refused("more than one size is open")
    if not rest and g.any(0.4):
        rest = [g.number(0, len(sizes) - 1)] if sizes else []
    return [-1 if at in rest else 0 if at in zeros else int(each or 0) for at, each in enumerate(sizes)]


def transpose(g: Draft) -> None:
    x = g.value(lambda each: each.rank > 1)
    permutation = g.rng.sample(range(x.rank), x.rank)
    if g.any(0.5):  # as exporters do
        permutation = g.one([[0, *range(2, x.rank), 1], [0, x.rank - 1, *range(1, x.rank - 1)]])
    g.node("Transpose", x, perm=None if g.any(0.1) else permutation)


def squeeze(g: Draft) -> None:
    x = g.value(lambda each: 1 in each.dims)
    gone = g.some([axis for axis, each in enumerate(x.dims) if each == 1])
    _with_axes(g, "Squeeze", x, None if g.any(0.1) and None not in x.dims else gone)


def unsqueeze(g: Draft) -> None:
    x = g.value(lambda each: each.rank < 5)
    count = g.number(1, 2)
    axes = sorted(g.rng.sample(range(x.rank + count), count))
    if g.opset >= 11 and g.any(0.3):
        axes = [each - x.rank - count for each in axes]
    _with_axes(g, "Unsqueeze", x, axes)


def _with_axes(g: Draft, operator: str, x: Any, axes: list[int] | None, **more: Any) -> Any:
    if g.has(operator, "axes"):
        return g.node(operator, x, axes=axes, **more)
    return g.node(operator, x, None if axes is None else np.array(axes), **more)


def identity(g: Draft) -> None:
    operator = g.one(["Identity", "Dropout"])
    g.node(operator, g.floats() if operator == "Dropout" else g.value())


def shuffle_channels(g: Draft) -> None:
    x = g.pictures(4)
    channels = int(x.dims[1] or 0)
    groups = g.one([each for each in range(2, channels) if channels % each == 0])
    if None in x.dims[2:]:
        raise Refused("more than one size is open")
    sizes = [0, groups, channels // groups, *x.dims[2:]]
    y = g.node("Transpose", g.node("Reshape", x, np.array(sizes)), perm=[0, 2, 1, 3, 4])
    g.node("Reshape", y, np.array([0, channels, *x.dims[2:]]))


# --- arithmetic of shapes ---


def reshape_by_shape(g: Draft) -> None:
    x = g.value(lambda each: each.rank > 1)
    shape = g.node("Shape", x)
    how = g.number(0, 3)
    if how == 0:  # as PyTorch writes x.view(x.size(0), -1)
        first = _with_axes(g, "Unsqueeze", g.node("Gather", shape, np.array(0)), [0])
        g.node("Reshape", x, g.node("Concat", first, np.array([-1]), axis=0))
    elif how == 1:  # as tf2onnx does
        first = _sliced(g, g.node("Cast", shape, to=6), 0, 1)
        if any(each is None for each in x.dims[1:]):
            raise Refused("more than one size is open")
        rest = math.prod(int(each or 0) for each in x.dims[1:])
        g.node("Reshape", x, g.node("Cast", g.node("Concat", first, np.array([rest], np.int32), axis=0), to=7))
    elif how == 2:
        rest = _sliced(g, shape, 1, x.rank)
        y = g.node("Reshape", x, np.array([x.dims[0] or -1, -1])) if None not in x.dims[1:] else x
        g.node("Reshape", y, g.node("Concat", np.array([-1]), rest, axis=0))
    else:
        last = g.node("Gather", shape, np.array([x.rank - 1]))
        other = g.node("Gather", shape, np.array([x.rank - 2]))
        size = g.node("Mul", last, other)
        g.node("Reshape", x, g.node("Concat", *([np.array([0])] * (x.rank - 2)), size, axis=0))


def _sliced(g: Draft, x: Drawn, low: int, high: int) -> Drawn:
    if g.has("Slice", "starts"):
        return g.node("Slice", x, axes=[0], starts=[low], ends=[high])
    return g.node("Slice", x, np.array([low]), np.array([high]), np.array([0]))


def expand_by_shape(g: Draft) -> None:
    x = g.floats(1, 2, 3)
    y = g.value(lambda each: each.rank == x.rank)
    how = g.number(0, 2)
    if how == 0:
        g.node("Expand", x, g.node("Shape", y))
    elif how == 1:
        token = g.weight(*(1 if each is None else each for each in x.dims))
        shape = g.node("Shape", x)
        g.node("Concat", g.node("Expand", token, shape), x, axis=x.rank - 1)
    else:
        zeros = g.node("ConstantOfShape", g.node("Shape", x))
        g.node("Add", zeros, x)


def interpolate_by_shape(g: Draft) -> None:
    """As PyTorch doubles, or follows another's sizes."""
    x = g.pictures(4)
    if g.opset < 11:
        raise Refused("not in this operator set")
    shape = g.node("Shape", x)
    if g.any(0.5):
        other = g.pictures(4)
        places = _sliced(g, g.node("Shape", other), 2, 4)
    else:
        places = g.node("Mul", _sliced(g, shape, 2, 4), np.array([2, 2]))
    sizes = g.node("Concat", _sliced(g, shape, 0, 2), places, axis=0)
    none = None if g.opset >= 13 else np.zeros(0, np.float32)
    g.node(
        "Resize",
        x,
        none,
        none,
        sizes,
        mode=g.one(["nearest", "linear"]),
        coordinate_transformation_mode=g.one(["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"]),
        nearest_mode="floor",
    )


def positions(g: Draft) -> None:
    """A table of positions, added as far as a sequence is long."""
    x = g.value(lambda each: each.is_float and each.rank == 3 and each.dims[2] is not None)
    length = g.node("Gather", g.node("Shape", x), np.array(1))
    index = g.node("Range", np.array(0), length, np.array(1))
    index = _with_axes(g, "Unsqueeze", index, [0]) if g.any(0.5) else index
    g.node("Add", x, g.node("Gather", g.weight(16, int(x.dims[2] or 0)), index))


SHAPES = {
    flatten: 3, reshape: 4, regroup: 2, transpose: 5, squeeze: 2, unsqueeze: 2, identity: 1, shuffle_channels: 1,
    reshape_by_shape: 2, expand_by_shape: 1, interpolate_by_shape: 1, positions: 1,
}  # fmt: skip
