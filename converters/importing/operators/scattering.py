"""What puts elements into tensors, or makes tensors of sizes: OneHot, Trilu, Scatter, ReverseSequence, Range."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import Node
from zoo.converters.importing.layers import Positions
from zoo.converters.importing.operators.indexing import gather
from zoo.converters.importing.operators.operands import (
    cast,
    combined,
    dtype_of,
    is_float,
    mapped,
    scalar,
)
from zoo.converters.importing.operators.shaping import reshaped
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import Array, Layout, Tensor, Value, is_number, known, product

_REDUCTIONS = {"add": "add", "mul": "mul", "max": "max", "min": "min"}


@operator("OneHot", newest=28)
def one_hot(b: Builder, node: Node, indices: Tensor, depth: Value, values: Value) -> Tensor:
    """Returns one value where an index says, along a new axis, and another elsewhere."""
    if isinstance(depth, Tensor) or isinstance(values, Tensor):
        raise Unsupported("its depth or its values are computed from the input")
    count, kind = int(scalar(b.numbers(depth))), dtype_of(values)
    off, on = (np.asarray(each) for each in np.asarray(values).reshape(-1))
    x = cast(b, indices, "int64")
    index = combined(b, ops.where, mapped(b, ops.less, x, 0, suffix="is_negative"), mapped(b, ops.add, x, count), x)
    index = b.plain(index)
    axis = node.get("axis", -1) % (index.rank + 1)
    layout, sizes = Layout.plain(index.rank + 1), [*index.dims[:axis], count, *index.dims[axis:]]
    is_plain = scalar(off) == 0 and scalar(on) == 1
    found = b.function(
        ops.one_hot, index, count, axis=-1 if axis == index.rank else axis, dtype=kind if is_plain else "bool",
        layout=layout, sizes=sizes, is_positive=is_plain, suffix="" if is_plain else "is_on",
    )  # fmt: skip
    return found if is_plain else combined(b, ops.where, found, on, off)


@operator("Trilu", newest=14)
def trilu(b: Builder, node: Node, x: Tensor, k: Value | None = None) -> Tensor:
    """Returns the upper or lower triangle of matrices, and zeros elsewhere."""
    if isinstance(k, Tensor):
        raise Unsupported("its diagonal is computed from the input")
    x, kind = b.plain(x), x.dtype
    function = ops.triu if node.get("upper", 1) else ops.tril
    # TensorFlow refuses a diagonal outside; of what varies there is one place at least.
    rows, columns = (int(each) if is_number(each) else 1 for each in x.dims[-2:])
    wanted = 0 if k is None else int(scalar(k))
    diagonal = max(-rows, min(columns, wanted))
    if diagonal != wanted and not is_number(x.dims[-2 if wanted < 0 else -1]):
        raise Unsupported(f"its diagonal {wanted} may lie outside of matrices whose sizes vary")
    found = mapped(b, function, cast(b, x, "uint8") if kind == "bool" else x, k=diagonal)
    return cast(b, found, kind)


@operator("ScatterND", newest=18)
def scatter_nd(b: Builder, node: Node, data: Value, indices: Value, updates: Value) -> Tensor:
    """Returns a tensor with other elements at places that several numbers tell."""
    like = next(each for each in (data, indices, updates) if isinstance(each, Tensor))
    x, index, new = (b.plain(b.tensor(each, like)) for each in (data, indices, updates))
    depth = int(index.dims[-1])
    sizes = x.dims[:depth]
    if not all(map(is_number, sizes)):
        raise Unsupported("it writes along axes whose sizes vary")
    limits = np.asarray([int(each) for each in sizes], dtype_of(index))
    index = combined(b, ops.mod, index, limits, suffix="places")  # which turns those from the end around
    return _scattered(b, node, x, index, new)


@operator("ScatterElements", "Scatter", newest=18)
def scatter_elements(b: Builder, node: Node, data: Value, indices: Value, updates: Value) -> Tensor:
    """Returns a tensor with other elements at places along one axis."""
    like = next(each for each in (data, indices, updates) if isinstance(each, Tensor))
    x, index, new = (b.plain(b.tensor(each, like)) for each in (data, indices, updates))
    axis = node.get("axis", 0) % x.rank
    if not all(map(is_number, (*index.dims, x.dims[axis]))):
        raise Unsupported("it writes along axes whose sizes vary")
    shape = [int(each) for each in index.dims]
    index = mapped(b, ops.mod, cast(b, index, "int64"), int(x.dims[axis]), suffix="places")
    column = reshaped(b, index, [product(shape), 1])
    grid = np.indices(shape).reshape(len(shape), -1).T  # the places of all elements along all axes
    parts: list[Any] = [b.constant(grid[:, :axis], like), column, b.constant(grid[:, axis + 1 :], like)]
    places = b.function(
        ops.concatenate, [each for each in parts if each.dims[1]], axis=1, layout=Layout.plain(2),
        sizes=(product(shape), x.rank), suffix="grid",
    )  # fmt: skip
    return _scattered(b, node, x, places, reshaped(b, new, [product(shape)]))


def _scattered(b: Builder, node: Node, x: Tensor, index: Tensor, new: Tensor) -> Tensor:
    how = node.get("reduction", "none")
    return b.function(
        ops.scatter_update, x, index, new, layout=x.layout, sizes=x.dims, is_positive=x.is_positive and new.is_positive,
        **({} if how == "none" else {"reduction": _REDUCTIONS[how]}),
    )  # fmt: skip


@operator("ReverseSequence", newest=28)
def reverse_sequence(b: Builder, node: Node, x: Tensor, lengths: Value) -> Tensor:
    """Returns sequences backwards, each up to its own length."""
    batch, time = node.get("batch_axis", 1), node.get("time_axis", 0)
    order = (batch, time, *(axis for axis in range(x.rank) if axis not in (batch, time)))
    size = x.dims[time]
    if not is_number(size):
        raise Unsupported("how long its longest sequence may be varies")
    if not isinstance(lengths, Tensor) and bool((np.asarray(lengths) == int(size)).all()):
        x = b.arranged(x, Layout(x.layout.order))
        return mapped(b, ops.flip, x, axis=x.layout.axis(time))
    x = b.arranged(x, Layout(order))
    places = np.arange(int(size), dtype=np.int64)[None]
    lengths = cast(b, lengths, "int64") if isinstance(lengths, Tensor) else b.constant(np.asarray(lengths, np.int64), x)
    column = reshaped(b, lengths, [x.dims[batch], 1])
    back = combined(b, ops.subtract, mapped(b, ops.subtract, column, 1, suffix="last"), places, suffix="back")
    index = combined(
        b, ops.where, combined(b, ops.greater_equal, back, np.asarray(0), suffix="is_inside"), back, places
    )
    index = reshaped(b, index, [x.dims[batch], size, *[1] * (x.rank - 2)])
    return b.function(ops.take_along_axis, x, index, axis=1, layout=x.layout, sizes=x.dims, is_positive=x.is_positive)


@operator("Compress", newest=28)
def compress(b: Builder, node: Node, x: Tensor, condition: Value) -> Tensor:
    """Returns those parts along an axis, or of all elements, for which a condition holds that is known."""
    if isinstance(condition, Tensor):
        raise Unsupported("how many elements remain depends on their values")
    if node.get("axis") is None:
        x = reshaped(b, x, [product(x.dims)])
    return gather(b, node, x, np.flatnonzero(np.asarray(condition)))  # type: ignore[no-any-return]


@operator("NonZero", newest=13)
def non_zero(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Refuses: how much comes out is not known before."""
    raise Unsupported("how many elements are not zero depends on their values")


@operator("EyeLike", newest=22)
def eye_like(b: Builder, node: Node, x: Tensor) -> Array:
    """Returns a diagonal of ones of a tensor's sizes, which is known."""
    import onnx

    if not all(map(is_number, x.dims)):
        raise Unsupported(f"it makes a matrix of {x.dims}")
    kind = onnx.helper.tensor_dtype_to_np_dtype(node.get("dtype")) if node.get("dtype") else np.dtype(x.dtype)
    return np.eye(int(x.dims[0]), int(x.dims[1]), node.get("k", 0), kind)


# --- what is made from sizes that vary ---


@operator("Range", newest=27)
def range_(b: Builder, node: Node, start: Value, limit: Value, step: Value) -> Tensor:
    """Returns the numbers up to a size of an input that varies."""
    if any(isinstance(each, Tensor) for each in (start, limit, step)):
        raise Unsupported("how many numbers it makes depends on values of the input")
    low, size, by = (np.asarray(each, object).reshape(-1)[0] for each in (start, limit, step))
    kind = next((dtype_of(each) for each in (start, limit, step) if np.asarray(each).dtype != object), "int64")
    if not is_number(low) or not is_number(by) or by != 1 or is_float(kind):
        raise Unsupported(f"it makes the numbers from {low} to {size} by {by}")
    like, axes = b.source([size])
    return b.layer(
        Positions, like, layout=Layout.plain(1), sizes=[size - low], axis=like.layout.axis(axes[size]), start=int(low),
        element_type=kind, is_positive=low >= 0, dtype=None,
    )  # fmt: skip


@operator("ConstantOfShape", newest=25)
def constant_of_shape(b: Builder, node: Node, shape: Value) -> Array:
    """Returns one number, in a shape of ones where sizes vary: whoever computes with it repeats it."""
    if isinstance(shape, Tensor):
        raise Unsupported("its shape is computed from the input")
    value = np.asarray(node.get("value", np.zeros(1, np.float32))).reshape(-1)[0]
    sizes = np.asarray(shape, object).reshape(-1)
    assert not known(sizes)  # or it would have been computed
    return np.full([int(each) if is_number(each) else 1 for each in sizes], value)
