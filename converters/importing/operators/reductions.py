"""What computes along axes: Reduce*, Softmax and its like, ArgMax, CumSum, TopK."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import layers, ops
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import Node
from zoo.converters.importing.operators.indexing import cut
from zoo.converters.importing.operators.joining import padded_with
from zoo.converters.importing.operators.operands import (
    cast,
    in_order,
    is_float,
    mapped,
    scalar,
    whole_numbers,
    without_axes,
)
from zoo.converters.importing.operators.shaping import reshaped
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import Layout, Tensor, Value, is_number, product

_REDUCTIONS: dict[str, Callable[..., Any]] = {
    **{
        "ReduceSum": ops.sum,
        "ReduceMean": ops.mean,
        "ReduceMax": ops.max,
        "ReduceMin": ops.min,
        "ReduceProd": ops.prod,
    },
    **{"ReduceL1": ops.sum, "ReduceL2": ops.sum, "ReduceLogSum": ops.sum, "ReduceLogSumExp": ops.logsumexp},
    **{"ReduceSumSquare": ops.sum},
}
_BEFORE = {"ReduceL1": ops.abs, "ReduceL2": ops.square, "ReduceSumSquare": ops.square}
_AFTER = {"ReduceL2": ops.sqrt, "ReduceLogSum": ops.log}
_POSITIVE = {"ReduceL1", "ReduceL2", "ReduceSumSquare"}
_KEEPS_SIGN = {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"}
_AVERAGES = {3: layers.GlobalAveragePooling1D, 4: layers.GlobalAveragePooling2D, 5: layers.GlobalAveragePooling3D}
_MAXIMA = {3: layers.GlobalMaxPooling1D, 4: layers.GlobalMaxPooling2D, 5: layers.GlobalMaxPooling3D}
_POOLS = {"ReduceMean": _AVERAGES, "ReduceMax": _MAXIMA}


@operator(*_REDUCTIONS, newest=28)
def reduction(b: Builder, node: Node, x: Tensor, axes: Value | None = None) -> Tensor:
    """Returns a pooling layer over all places of feature maps, or a function over any axes."""
    if isinstance(axes, Tensor):
        raise Unsupported("over which axes it goes is computed from the input")
    given = whole_numbers((node.get("axes") or []) if axes is None else axes)
    gone = sorted({axis % x.rank for axis in given}) or list(range(x.rank))
    if not given and node.get("noop_with_empty_axes", 0):
        gone = []
    kind = x.dtype
    if node.operator in _BEFORE:
        x = mapped(b, _BEFORE[node.operator], x, suffix="before")
    if kind == "bool" or (not is_float(kind) and node.operator in ("ReduceMean", "ReduceL2", *_AFTER)):
        x = cast(b, x, "uint8" if kind == "bool" else "float64")
    positive = node.operator in _POSITIVE or (x.is_positive and node.operator in _KEEPS_SIGN)
    x = _reduced(b, node, x, gone, positive)
    if node.operator in _AFTER:
        x = mapped(b, _AFTER[node.operator], x, is_positive=positive)
    return cast(b, x, kind)


def _reduced(b: Builder, node: Node, x: Tensor, gone: Sequence[int], is_positive: bool) -> Tensor:
    """Returns a tensor without some axes, or with one element along each."""
    if not gone:
        return mapped(b, ops.log, mapped(b, ops.exp, x)) if node.operator == "ReduceLogSumExp" else x
    keep = bool(node.get("keepdims", 1))
    layout = without_axes(x.layout, gone)
    sizes = [each for axis, each in enumerate(x.dims) if axis not in gone]
    if keep:
        layout = Layout(x.layout.order, tuple(each for each in x.layout.shuffles if each[0] not in gone))
        sizes = [1 if axis in gone else each for axis, each in enumerate(x.dims)]
    places = sorted(x.layout.axis(axis) for axis in gone)
    settings: dict[str, Any] = {"layout": layout, "sizes": sizes, "is_positive": is_positive, "keepdims": keep}
    if node.operator in ("ReduceMax", "ReduceMin") and 0 in [x.dims[axis] for axis in gone]:
        raise Unsupported("it asks for the largest of no elements")
    pool = _POOLS.get(node.operator, {}).get(x.rank)
    if pool is not None and is_float(x.dtype) and places == list(range(1, x.rank - 1)):
        return b.layer(pool, x, **settings)
    return b.function(_REDUCTIONS[node.operator], x, axis=places, **settings)


# --- softmax ---


@operator("Softmax", newest=13)
def softmax(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a Softmax over one axis, or, in old models, over an axis and all behind it."""
    axis: Any = _places(x, _softmax_axes(node, x))
    return b.layer(layers.Softmax, x, layout=x.layout, sizes=x.dims, is_positive=True, axis=axis)


@operator("LogSoftmax", newest=13)
def log_softmax(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns the logarithm of a softmax."""
    axes = _softmax_axes(node, x)
    places = _places(x, axes)
    if places == -1 and x.rank > 1:
        return b.layer(layers.Activation, x, layout=x.layout, sizes=x.dims, activation="log_softmax")
    if isinstance(places, int):
        return mapped(b, ops.log_softmax, x, places)
    sizes = [1 if axis in axes else each for axis, each in enumerate(x.dims)]
    layout = Layout(x.layout.order, tuple(each for each in x.layout.shuffles if each[0] not in axes))
    total = b.function(ops.logsumexp, x, axis=places, keepdims=True, layout=layout, sizes=sizes, suffix="total")
    return mapped(b, ops.subtract, x, total)


@operator("Hardmax", newest=13)
def hardmax(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns 1 where the first of the largest elements is, and 0 elsewhere."""
    axes, dims = _softmax_axes(node, x), x.dims
    if len(axes) > 1:
        x = reshaped(b, x, [*dims[: axes[0]], product(dims[axes[0] :])])
    axis = axes[0]
    x = in_order(b, x, [axis])
    if not is_number(x.dims[axis]):
        raise Unsupported("the size of its axis varies")
    place = x.layout.axis(axis)
    index = b.function(ops.argmax, x, axis=place, layout=without_axes(x.layout, {axis}), suffix="index")
    last = -1 if place == x.rank - 1 else place
    found = b.function(
        ops.one_hot,
        index,
        int(x.dims[axis]),
        axis=last,
        dtype=x.dtype,
        layout=x.layout,
        sizes=x.dims,
        is_positive=True,
    )
    return reshaped(b, found, dims) if len(axes) > 1 else found


def _softmax_axes(node: Node, x: Tensor) -> list[int]:
    """Returns the axes of ONNX over which a node sums up: before version 13 all from one on."""
    if node.version >= 13 or node.version == 0:
        return [node.get("axis", -1) % x.rank]
    axis = node.get("axis", 1)
    first = axis + x.rank if axis < 0 else axis
    axes = [axis for axis in range(first, x.rank) if x.dims[axis] != 1]
    return axes or [x.rank - 1]


def _places(x: Tensor, axes: Sequence[int]) -> int | list[int]:
    """Returns the axes of Keras; the last one, where it is that alone, as -1."""
    places = sorted(x.layout.axis(axis) for axis in axes)
    if len(places) > 1:
        return places
    return -1 if places[0] == x.rank - 1 else places[0]


# --- places, sums on the way, the largest ---


@operator("ArgMax", "ArgMin", newest=13)
def arg_max(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns where along an axis the largest or smallest element is: the first of equal ones, or the last."""
    axis = node.get("axis", 0) % x.rank
    x = in_order(b, x, [axis])
    place, keep = x.layout.axis(axis), bool(node.get("keepdims", 1))
    layout = x.layout if keep else without_axes(x.layout, {axis})
    sizes = [1 if at == axis else each for at, each in enumerate(x.dims) if keep or at != axis]
    is_last = bool(node.get("select_last_index", 0))
    if is_last:
        if not is_number(x.dims[axis]):
            raise Unsupported("it asks for the last of equal elements along an axis whose size varies")
        x = mapped(b, ops.flip, x, axis=place, suffix="flip")
    function = ops.argmax if node.operator == "ArgMax" else ops.argmin
    found = b.function(
        function, x, axis=place, keepdims=keep, layout=layout, sizes=sizes, is_positive=True, suffix="index"
    )
    if is_last:
        found = mapped(
            b, ops.subtract, mapped(b, ops.negative, found, suffix="back"), 1 - int(x.dims[axis]), suffix="last"
        )
    return cast(b, found, "int64", "")


@operator("CumSum", "CumProd", newest=28)
def cum_sum(b: Builder, node: Node, x: Tensor, axis: Value) -> Tensor:
    """Returns the sum of all elements up to each, with it or without (`exclusive`), from either end."""
    if isinstance(axis, Tensor):
        raise Unsupported("its axis is computed from the input")
    at = int(scalar(axis)) % x.rank
    kind, function = x.dtype, ops.cumsum if node.operator == "CumSum" else ops.cumprod
    x = in_order(b, x, [at])
    place, is_reverse = x.layout.axis(at), bool(node.get("reverse", 0))
    if is_reverse:
        x = mapped(b, ops.flip, x, axis=place, suffix="flip")
    found = mapped(b, function, x, axis=place, dtype=kind)
    if node.get("exclusive", 0):
        first = 0 if node.operator == "CumSum" else 1
        found = cut(b, padded_with(b, found, at, 1, 0, first), {at: slice(0, -1)}, x.dims)
    return mapped(b, ops.flip, found, axis=place, suffix="back") if is_reverse else found


@operator("TopK", newest=24)
def top_k(b: Builder, node: Node, x: Tensor, count: Value | None = None) -> tuple[Tensor, Tensor]:
    """Returns the largest or smallest elements along an axis, and where they are."""
    if isinstance(count, Tensor):
        raise Unsupported("how many are wanted is computed from the input")
    k = int(scalar(np.asarray(node.get("k") if count is None else b.numbers(count))))
    axis, is_largest = node.get("axis", -1) % x.rank, bool(node.get("largest", 1))
    order = (*(each for each in x.layout.order if each != axis), axis)
    x = in_order(b, b.arranged(x, Layout(order, x.layout.shuffles)), [axis])
    turn = ops.negative if is_float(x.dtype) else ops.bitwise_not  # which turns all whole numbers around
    turned = x if is_largest else mapped(b, turn, x, suffix="turned")
    pair = ops.top_k(turned.keras, k)
    sizes = [k if at == axis else each for at, each in enumerate(x.dims)]
    values, places = b.parts(pair, (turned,), [x.layout] * 2, [sizes] * 2)
    return values if is_largest else mapped(b, turn, values, suffix="values"), cast(b, places, "int64", "indices")
