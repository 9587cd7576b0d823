"""What takes elements out of tensors: Gather, Slice, Split and their like."""

from __future__ import annotations

import operator as python
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import layers, ops
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import Node
from zoo.converters.importing.operators.operands import (
    dtype_of,
    in_order,
    is_float,
    mapped,
    rank_of,
    whole_numbers,
)
from zoo.converters.importing.operators.shaping import reshaped
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import Array, Dim, Layout, Tensor, Value, is_number, known, product, same

_FAR = 1 << 31  # what exporters write for "to the end" is at least about that
_SLICE = ("starts", "ends", "axes", "steps")
_LARGE_INDEX = 4096  # a longer one is kept as an array, not as numbers in the configuration


# --- Gather ---


@operator("Gather", newest=13)
def gather(b: Builder, node: Node, data: Value, indices: Value) -> Tensor:
    """Returns an Embedding, where numbers are looked up in a table of weights; elsewhere what lies at places."""
    axis = node.get("axis", 0) % rank_of(data)
    if not isinstance(data, Tensor):
        assert isinstance(indices, Tensor)
        return _looked_up(b, b.numbers(data), indices, axis)
    if isinstance(indices, Tensor):
        return taken(b, in_order(b, data, [axis]), axis, b.plain(indices), indices.dims)
    return _taken_at(b, data, axis, _index(np.asarray(indices), data.dims[axis]))


def _taken_at(b: Builder, x: Tensor, axis: int, index: Array) -> Tensor:
    """Returns what lies at known places along an axis, in whatever order it lies there."""
    if shuffle := x.layout.shuffle(axis):
        index = np.argsort(shuffle)[index]
    given: Any = index.tolist() if index.size <= _LARGE_INDEX else b.constant(index, x)
    return taken(b, x, axis, given, index.shape)


def _looked_up(b: Builder, table: Array, indices: Tensor, axis: int) -> Tensor:
    if table.ndim == 2 and axis == 0 and is_float(dtype_of(table)):
        rank = indices.rank
        layout = Layout((*indices.layout.order, rank), indices.layout.shuffles)
        return b.layer(
            layers.Embedding, indices, layout=layout, sizes=[*indices.dims, table.shape[1]],
            weights={"embeddings": table},
            input_dim=table.shape[0], output_dim=table.shape[1],
            dtype=str(table.dtype),
        )  # fmt: skip
    return taken(b, b.constant(table, indices), axis, b.plain(indices), indices.dims)


def taken(b: Builder, x: Tensor, axis: int, index: Any, shape: Sequence[Dim]) -> Tensor:
    """Returns what lies at places along an axis, in whose stead the axes of the index come."""
    more = len(shape) - 1
    order: list[int] = []
    for each in x.layout.order:
        order += range(axis, axis + more + 1) if each == axis else [each + more if each > axis else each]
    shuffles = tuple((at + more if at > axis else at, each) for at, each in x.layout.shuffles if at != axis)
    sizes = [*x.dims[:axis], *shape, *x.dims[axis + 1 :]]
    return b.function(
        ops.take, x, index, axis=x.layout.axis(axis), layout=Layout(tuple(order), shuffles), sizes=sizes,
        is_positive=x.is_positive,
    )  # fmt: skip


def _index(index: Array, size: Dim) -> Array:
    """Returns places as numbers; those from the end are turned around where the size is known."""
    if not known(index):
        found = [_offset(each, size) for each in index.reshape(-1)]
        index = np.asarray(found, np.int64).reshape(index.shape)
    index = index.astype(np.int64)
    return np.where(index < 0, index + int(size), index) if is_number(size) else index


def _offset(place: Any, size: Dim) -> int:
    """Returns a place with symbols as one from the end: that of size - 1 is -1."""
    if is_number(place):
        return int(place)
    distance = (place - size).expand() if hasattr(place - size, "expand") else place - size
    if not is_number(distance):
        raise Unsupported(f"it takes what lies at {place} of an axis of {size}")
    return int(distance)


@operator("GatherElements", newest=13)
def gather_elements(b: Builder, node: Node, data: Value, indices: Value) -> Tensor:
    """Returns for each place what lies there along an axis, and at the same places of all others."""
    like = data if isinstance(data, Tensor) else indices
    assert isinstance(like, Tensor)
    x, index = b.plain(b.tensor(data, like)), b.plain(b.tensor(indices, like))
    axis = node.get("axis", 0) % x.rank
    fewer = {at: slice(0, int(size)) for at, size in enumerate(index.dims) if at != axis and not same(size, x.dims[at])}
    sizes = [size if at in fewer else each for at, (each, size) in enumerate(zip(x.dims, index.dims, strict=True))]
    x = cut(b, x, fewer, sizes) if fewer else x
    return b.function(ops.take_along_axis, x, index, axis=axis, layout=index.layout, sizes=index.dims)


@operator("GatherND", newest=13)
def gather_nd(b: Builder, node: Node, data: Value, indices: Value) -> Tensor:
    """Returns what lies at places that several numbers tell: in a tensor in which those axes are one."""
    if isinstance(data, Tensor) and not isinstance(indices, Tensor) and not node.get("batch_dims", 0):
        return _gathered(b, data, b.numbers(np.asarray(indices)))
    like = data if isinstance(data, Tensor) else indices
    assert isinstance(like, Tensor)
    x, index = b.plain(b.tensor(data, like)), b.plain(b.tensor(indices, like))
    batch, count = node.get("batch_dims", 0), int(index.dims[-1])
    sizes, rest = list(x.dims[batch : batch + count]), list(x.dims[batch + count :])
    if not all(map(is_number, [*sizes, *rest, *index.dims[batch:]])):
        raise Unsupported("it gathers along axes whose sizes vary")
    flat = _flat_index(b, index, [int(each) for each in sizes])
    whole = int(np.prod(sizes))
    if not batch:
        x = b.reshaped(x, [whole, *rest], Layout.plain(1 + len(rest)), "flat")
        return taken(b, x, 0, flat, flat.dims)
    first, places = list(x.dims[:batch]), list(flat.dims[batch:])
    x = b.reshaped(x, [*first, whole, int(np.prod(rest))], Layout.plain(batch + 2), "flat")
    flat = b.reshaped(flat, [*first, int(np.prod(places)), 1], Layout.plain(batch + 2), "column")
    sizes = [*first, flat.dims[batch], x.dims[-1]]
    found = b.function(ops.take_along_axis, x, flat, axis=batch, layout=x.layout, sizes=sizes)
    out = [*first, *places, *rest]
    return b.reshaped(found, out, Layout.plain(len(out)), "shape")


def _gathered(b: Builder, x: Tensor, indices: Array) -> Tensor:
    """Returns what lies at places that are known, along first axes that are made one; the others are as they were."""
    first, rest = x.dims[: indices.shape[-1]], x.dims[indices.shape[-1] :]
    if not all(map(is_number, first)):
        raise Unsupported("it gathers along axes whose sizes vary")
    sizes = [int(each) for each in first]
    flat = np.ravel_multi_index(tuple(np.moveaxis(indices % np.array(sizes), -1, 0)), sizes)
    return _taken_at(b, reshaped(b, x, [product(first), *rest]), 0, flat)


def _flat_index(b: Builder, index: Tensor, sizes: Sequence[int]) -> Tensor:
    """Returns places as one number each, of the several along the last axis."""
    steps = [int(np.prod(sizes[at + 1 :])) for at in range(len(sizes))]
    total = None
    for at, (size, step) in enumerate(zip(sizes, steps, strict=True)):
        layout = Layout.plain(index.rank - 1)
        part = b.function(ops.take, index, at, axis=-1, layout=layout, sizes=index.dims[:-1], suffix="part")
        part = mapped(b, ops.mod, part, size, suffix="place")  # which turns those from the end around
        part = mapped(b, ops.multiply, part, step, suffix="step")
        total = part if total is None else mapped(b, ops.add, total, part, suffix="flat")
    assert total is not None
    return total


# --- Slice and Split ---


@operator("Slice", newest=13)
def slice_(b: Builder, node: Node, x: Tensor, *given: Value | None) -> Tensor:
    """Returns a part of a tensor; along an axis that lies in another order, of what is put in order first."""
    if any(isinstance(each, Tensor) for each in given):
        raise Unsupported("where it begins and ends is computed from the input")
    told: list[Any] = [*given, None, None, None, None][:4]
    told = [node.get(name) if each is None else each for name, each in zip(_SLICE, told, strict=True)]
    starts, stops = (np.asarray(each, object).reshape(-1) for each in told[:2])
    axes = whole_numbers(range(len(starts)) if told[2] is None else told[2])
    steps = [1] * len(starts) if told[3] is None else whole_numbers(told[3])
    parts, sizes = {}, list(x.dims)
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        axis %= x.rank
        parts[axis], sizes[axis] = _part(start, stop, step, x.dims[axis])
    parts = {axis: each for axis, each in parts.items() if each != slice(0, None, 1)}
    return cut(b, x, parts, sizes) if parts else x


def _part(start: Any, stop: Any, step: int, size: Dim) -> tuple[slice, Dim]:
    """Returns a slice as Python has it, and how many elements it has; None as size where nobody knows."""
    if is_number(size) and is_number(start) and is_number(stop):
        whole = range(*slice(_near(start), _near(stop) if stop > -_FAR else None, step).indices(int(size)))
        end = None if whole.stop < 0 or (step > 0 and whole.stop == size) else whole.stop
        return slice(whole.start, end, step), len(whole)
    low: int | None
    high: int | None
    low, high = (_near(each) if is_number(each) else _offset_or_end(each, size) for each in (start, stop))
    if step < 0:
        is_whole = low in (None, -1, _FAR - 1) and (high is None or high <= -_FAR)
        start = None if low is None or low >= _FAR - 1 else low
        stop = None if high is None or high <= -_FAR else high
        return slice(start, stop, step), size if step == -1 and is_whole else None
    end = None if high is None or high >= _FAR - 1 else high
    low = 0 if low is None else low
    return slice(low, end, step), _length(low, end, size) if step == 1 else None


def _length(low: int, end: int | None, size: Dim) -> Dim | None:
    """Returns how long a part of an axis is whose size varies; None where that depends on whether it is long enough."""
    if low >= 0 and (end is None or end < 0):
        return size + (end or 0) - low
    is_one = (low, end) == (-1, None) or (end is not None and end - low == 1 and (low >= 0) == (end >= 0))
    return 1 if is_one else None


def _offset_or_end(place: Any, size: Dim) -> int | None:
    distance = _offset(place, size)
    return None if distance >= 0 else distance


def _near(number: Any) -> int:
    """Returns a number that TensorFlow can take."""
    return max(-_FAR, min(_FAR - 1, int(number)))


def cut(b: Builder, x: Tensor, parts: Mapping[int, slice], sizes: Sequence[Dim]) -> Tensor:
    """Returns the parts of a tensor along axes of ONNX."""
    x = in_order(b, x, list(parts))
    key = tuple(parts.get(axis, slice(None)) for axis in x.layout.order)
    sizes = [b.symbol() if each is None else each for each in sizes]
    return b.function(python.getitem, x, key, layout=x.layout, sizes=sizes, is_positive=x.is_positive)


@operator("Split", newest=18)
def split(b: Builder, node: Node, x: Tensor, lengths: Value | None = None) -> tuple[Tensor, ...] | Tensor:
    """Returns the parts of a tensor along an axis: as long as told, or all alike but for the last."""
    if isinstance(lengths, Tensor):
        raise Unsupported("how long its parts are is computed from the input")
    axis = node.get("axis", 0) % x.rank
    size, count = x.dims[axis], node.get("num_outputs") or len(node.outputs)
    told = node.get("split") if lengths is None else whole_numbers(b.numbers(lengths))
    if told is None:
        if not is_number(size):
            raise Unsupported(f"it splits an axis of {size}")
        each = -(-int(size) // count)
        told = [min(each, int(size) - at * each) for at in range(count)]
    if len(told) == 1:
        return x
    x = in_order(b, x, [axis])
    at = [int(each) for each in np.cumsum(told)[:-1]]
    outputs = ops.split(x.keras, at, axis=x.layout.axis(axis))
    sizes = [[*x.dims[:axis], each, *x.dims[axis + 1 :]] for each in told]
    return b.parts(outputs, (x,), [x.layout] * len(told), sizes, x.is_positive)
