"""What makes tensors larger: Concat, Expand, Tile, Pad."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from keras import layers, ops
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import Node
from zoo.converters.importing.layers import Token
from zoo.converters.importing.operators.indexing import cut, taken
from zoo.converters.importing.operators.operands import (
    dtype_of,
    in_order,
    is_float,
    scalar,
    whole_numbers,
)
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import OPEN_BATCH, Array, Dim, Layout, Tensor, Value, is_number

_ZERO_PADDING = {3: layers.ZeroPadding1D, 4: layers.ZeroPadding2D, 5: layers.ZeroPadding3D}


@operator("Concat", newest=13)
def concat(b: Builder, node: Node, *values: Value) -> Tensor:
    """Returns a Concatenate, of tensors in the order that most of them have; arrays among them are weights."""
    tensors = [each for each in values if isinstance(each, Tensor)]
    axis = node.get("axis", 0) % tensors[0].rank
    layout = _common_layout(tensors, axis)
    values = tuple(each for each in values if not (not isinstance(each, Tensor) and np.size(each) == 0))
    parts = [_joinable(b, each, tensors[0], layout, axis) for each in values]
    if len(parts) == 1:
        return parts[0]
    joined: list[int] = []
    for each in parts:
        size = each.dims[axis]
        if any(part.layout.shuffle(axis) for part in parts):
            joined += [len(joined) + at for at in each.layout.shuffle(axis) or range(int(size))]
    sizes = list(tensors[0].dims)
    sizes[axis] = sum((each.dims[axis] for each in parts), start=0)
    for at, each in enumerate(sizes):
        if at != axis and not is_number(each):
            sizes[at] = next((part.dims[at] for part in parts if is_number(part.dims[at])), each)
    layout, place = layout.with_shuffle(axis, joined), layout.axis(axis)
    positive = all(each.is_positive for each in parts)
    settings: dict[str, Any] = {"layout": layout, "sizes": sizes, "is_positive": positive}
    if is_float(parts[0].dtype) and len(sizes) > 1 and place:
        return b.layer(layers.Concatenate, *parts, axis=-1 if place == len(sizes) - 1 else place, **settings)
    return b.function(ops.concatenate, parts, axis=place, **settings)


def _common_layout(tensors: Sequence[Tensor], axis: int) -> Layout:
    """Returns the layout in which tensors are joined: the order that most of them have."""
    order, _ = Counter(each.layout.order for each in tensors).most_common(1)[0]
    return next(each.layout for each in tensors if each.layout.order == order).with_shuffle(axis, None)


def _joinable(b: Builder, value: Value, like: Tensor, layout: Layout, axis: int) -> Tensor:
    """Returns a value as a tensor in a layout, along the axis in whose order it lies anyway."""
    if isinstance(value, Tensor):
        return b.arranged(value, layout.with_shuffle(axis, value.layout.shuffle(axis)))
    array = b.numbers(value)
    if like.dims[0] == OPEN_BATCH and axis and (array == array[:1]).all():  # the file repeats it for its own batch size
        array = array[:1]
    wanted = [array.shape[at] if at == axis else each for at, each in enumerate(like.dims)]
    like = b.arranged(like, layout.with_shuffle(axis, like.layout.shuffle(axis)))
    repeated = [at for at, each in enumerate(wanted) if array.shape[at] == 1 and each != 1]
    if repeated or is_float(dtype_of(array)):
        return token(
            b, layout.arrange(array), like, {layout.axis(at): layout.axis(at) for at in repeated}, layout, wanted
        )
    return replace(b.constant(layout.arrange(array), like), layout=layout, dims=tuple(array.shape))


def token(
    b: Builder, array: Array, like: Tensor, repeats: Mapping[int, int], layout: Layout, sizes: Sequence[Dim]
) -> Tensor:
    """Returns an array as a weight, repeated along axes as often as axes of another tensor are long.

    One of a single number, however often, is padding, and nothing that was learned.
    """
    trains = is_float(dtype_of(array)) and bool((array != array.reshape(-1)[0]).any())
    return b.layer(
        Token, like, layout=layout, sizes=sizes, suffix="token", weights={"token": array}, shape=array.shape,
        repeats=sorted(repeats.items()), element_type=dtype_of(array), trainable=trains,
        is_positive=not trains and bool((array >= 0).all()),
    )  # fmt: skip


# --- more of the same: Expand, Tile, Pad ---


@operator("Expand", newest=13)
def expand(b: Builder, node: Node, x: Value, shape: Value) -> Value:
    """Returns a tensor repeated along axes of one element; an array, as often as an input is long."""
    if isinstance(shape, Tensor):
        raise Unsupported("to which sizes it expands is computed from the input")
    wanted = list(np.asarray(shape, object).reshape(-1))
    if not isinstance(x, Tensor):
        return _expanded(b, b.numbers(x), wanted)
    rank = max(x.rank, len(wanted))
    wanted = [1] * (rank - len(wanted)) + wanted
    x = b.widened(x, rank)
    sizes = [each if size == 1 else size for size, each in zip(x.dims, wanted, strict=True)]
    repeats = [each if size == 1 else 1 for size, each in zip(x.dims, wanted, strict=True)]
    return _repeated(b, x, repeats, sizes)


def _expanded(b: Builder, array: Array, wanted: Sequence[Any]) -> Value:
    """Returns an array whose sizes vary with those of an input."""
    rank = max(array.ndim, len(wanted))
    wanted = [1] * (rank - len(wanted)) + list(wanted)
    array = array.reshape((1,) * (rank - array.ndim) + array.shape)
    fixed = [int(each) if is_number(each) else 1 for each in wanted]
    array = np.broadcast_to(array, np.broadcast_shapes(array.shape, fixed))
    if array.size and (array == array.reshape(-1)[0]).all():
        return array  # of one number: whoever computes with it repeats it
    varying = {at: each for at, each in enumerate(wanted) if not is_number(each)}
    like, axes = b.source(list(varying.values()))
    repeats = {at: like.layout.axis(axes[each]) for at, each in varying.items()}
    sizes = [varying.get(at, each) for at, each in enumerate(array.shape)]
    return token(b, np.ascontiguousarray(array), like, repeats, Layout.plain(rank), sizes)


def _repeated(b: Builder, x: Tensor, repeats: Sequence[Any], sizes: Sequence[Dim]) -> Tensor:
    if not all(map(is_number, repeats)):
        raise Unsupported(f"it repeats a tensor {tuple(repeats)} times, which varies with the input")
    if all(each == 1 for each in repeats):
        return x
    times = [int(repeats[axis]) for axis in x.layout.order]
    return b.function(ops.tile, x, times, layout=x.layout, sizes=sizes, is_positive=x.is_positive)


@operator("Tile", newest=13)
def tile(b: Builder, node: Node, x: Tensor, repeats: Value) -> Tensor:
    """Returns a tensor side by side with itself."""
    if isinstance(repeats, Tensor):
        raise Unsupported("how often it repeats is computed from the input")
    times = list(np.asarray(repeats, object).reshape(-1))
    x = in_order(b, x, [axis for axis, each in enumerate(times) if each != 1])
    return _repeated(b, x, times, [each * size for each, size in zip(times, x.dims, strict=True)])


@operator("Pad", newest=25)
def pad(
    b: Builder, node: Node, x: Tensor, pads: Value | None = None, value: Value | None = None, axes: Value | None = None
) -> Tensor:
    """Returns a tensor with more around it: a number, its mirror image, its edge, or itself again."""
    if any(isinstance(each, Tensor) for each in (pads, value, axes)):
        raise Unsupported("its pads are computed from the input")
    given = whole_numbers(node.get("pads", node.get("paddings")) if pads is None else b.numbers(np.asarray(pads)))
    where = range(x.rank) if axes is None else [each % x.rank for each in whole_numbers(axes)]
    count = len(given) // 2
    around = {axis: (given[at], given[at + count]) for at, axis in enumerate(where) if given[at] or given[at + count]}
    x = in_order(b, x, list(around))
    less = {
        axis: slice(max(0, -low), min(0, high) or None) for axis, (low, high) in around.items() if min(low, high) < 0
    }
    if less:
        sizes = [each + sum(min(0, at) for at in around.get(axis, ())) for axis, each in enumerate(x.dims)]
        x = cut(b, x, less, sizes)
    around = {axis: (max(0, low), max(0, high)) for axis, (low, high) in around.items() if max(low, high) > 0}
    mode = node.get("mode", "constant")
    number = scalar(np.asarray(node.get("value", 0.0) if value is None else value))
    return _padded(b, x, around, mode, number) if around else x


def _padded(b: Builder, x: Tensor, around: Mapping[int, tuple[int, int]], mode: str, number: Any) -> Tensor:
    if mode == "edge":
        for axis, (low, high) in around.items():
            x = _padded_by_edges(b, x, axis, low, high)
        return x
    if mode == "wrap" or (mode == "reflect" and x.dtype == "bool"):
        for axis, (low, high) in around.items():
            x = _padded_by_index(b, x, axis, low, high, mode)
        return x
    widths = [around.get(axis, (0, 0)) for axis in x.layout.order]
    sizes = [each + sum(around.get(axis, ())) for axis, each in enumerate(x.dims)]
    positive = x.is_positive and (mode != "constant" or number >= 0)
    settings: dict[str, Any] = {"layout": x.layout, "sizes": sizes, "is_positive": positive}
    if mode == "reflect":
        return b.function(ops.pad, x, widths, mode="reflect", **settings)
    inner = widths[1:-1]
    if number == 0 and is_float(x.dtype) and x.rank in _ZERO_PADDING and not any((*widths[0], *widths[-1])):
        return b.layer(_ZERO_PADDING[x.rank], x, padding=inner if len(inner) > 1 else inner[0], **settings)
    number = number if is_float(x.dtype) else bool(number) if x.dtype == "bool" else int(number)
    return b.function(ops.pad, x, widths, constant_values=number, **settings)


def _padded_by_edges(b: Builder, x: Tensor, axis: int, low: int, high: int) -> Tensor:
    """Returns a tensor with its first and last elements along an axis repeated, however long that is."""
    one, parts = [1 if at == axis else each for at, each in enumerate(x.dims)], [x]
    if low:
        parts.insert(0, _times(b, cut(b, x, {axis: slice(0, 1)}, one), axis, low))
    if high:
        parts.append(_times(b, cut(b, x, {axis: slice(-1, None)}, one), axis, high))
    sizes = [each + low + high if at == axis else each for at, each in enumerate(x.dims)]
    place = x.layout.axis(axis)
    return b.function(
        ops.concatenate, parts, axis=place, layout=x.layout, sizes=sizes, suffix="edges", is_positive=x.is_positive
    )


def _times(b: Builder, x: Tensor, axis: int, times: int) -> Tensor:
    sizes = [times if at == axis else each for at, each in enumerate(x.dims)]
    return b.function(
        ops.repeat, x, times, axis=x.layout.axis(axis), layout=x.layout, sizes=sizes, is_positive=x.is_positive
    )


def _padded_by_index(b: Builder, x: Tensor, axis: int, low: int, high: int, mode: str) -> Tensor:
    if not is_number(x.dims[axis]):
        raise Unsupported(f"it pads an axis whose size varies by {mode!r}")
    size = int(x.dims[axis])
    places = np.arange(-low, size + high)
    if mode == "wrap":
        places %= size
    else:
        places = size - 1 - np.abs(size - 1 - np.abs(places) % max(1, 2 * size - 2))
    return taken(b, x, axis, places.tolist(), (len(places),))


def padded_with(b: Builder, x: Tensor, axis: int, low: int, high: int, number: float) -> Tensor:
    """Returns a tensor with so many elements of one number before and behind an axis."""
    return _padded(b, x, {axis: (low, high)}, "constant", number)
