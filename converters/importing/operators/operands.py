"""What converters of many operators share: they prepare what goes into layers and functions, and know no operator."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.values import Array, Dim, Layout, Tensor, Value, is_number


def is_float(dtype: str) -> bool:
    """Returns whether a type of Keras is one of floating point."""
    return dtype.startswith(("float", "bfloat"))


def is_whole(dtype: str) -> bool:
    """Returns whether a type of Keras is one of whole numbers."""
    return dtype.startswith(("int", "uint"))


def dtype_of(value: Value) -> str:
    """Returns the type of a value's elements, as Keras names it; sizes are int64."""
    if isinstance(value, Tensor):
        return value.dtype
    return "int64" if np.asarray(value).dtype == object else np.asarray(value).dtype.name


def rank_of(value: Value) -> int:
    """Returns how many axes a value has."""
    return value.rank if isinstance(value, Tensor) else np.ndim(value)


def scalar(array: Array) -> Any:
    """Returns the one number of an array, as Python has it."""
    whole = np.asarray(array).reshape(-1)
    return (whole.astype(np.float64) if whole.dtype.kind == "V" else whole)[0].item()


def is_scalar(value: Value, rank: int) -> bool:
    """Returns whether a value is an array of one number that widens no tensor of `rank` axes."""
    return not isinstance(value, Tensor) and np.size(value) == 1 and np.ndim(value) <= rank


def prepared(b: Builder, *values: Value) -> tuple[list[Any], Layout, tuple[Dim, ...]]:
    """Returns values as functions of Keras take them, in one order: tensors, and numbers where those are as good.

    A number alone takes the type of the tensors around it, so that one of their type must be there.
    """
    tensors = [value for value in values if isinstance(value, Tensor)]
    rank = max(map(rank_of, tensors))
    plain = [np.asarray(v).reshape(()) if is_scalar(v, rank) else v for v in values]
    found, layout, sizes = b.together(*plain)
    arguments: list[Any] = []
    for each in found:
        if isinstance(each, Tensor):
            arguments.append(each)
        elif np.ndim(each) == 0 and any(t.dtype == np.asarray(each).dtype.name for t in tensors) and _is_small(each):
            arguments.append(scalar(each))
        else:
            arguments.append(b.constant(each, tensors[0]))
    return arguments, layout, sizes


def _is_small(array: Array) -> bool:
    return array.dtype.kind not in "iu" or abs(scalar(array)) < 1 << 31


def combined(
    b: Builder, function: Callable[..., Any], *values: Value, suffix: str = "", is_positive: bool = False
) -> Tensor:
    """Returns what a function of `keras.ops` makes of values, element by element."""
    if "uint64" in map(dtype_of, values):  # which Keras takes for uint32; in int64 all is the same below 2^63
        values = tuple(_as_int64(b, each) if dtype_of(each) == "uint64" else each for each in values)
        found = combined(b, function, *values, suffix=suffix or "int64", is_positive=is_positive)
        return cast(b, found, "uint64", "") if found.dtype == "int64" else found
    arguments, layout, sizes = prepared(b, *values)
    if function is ops.add:
        function, arguments = summands(b, arguments)
    return b.function(function, *arguments, layout=layout, sizes=sizes, suffix=suffix, is_positive=is_positive)


def _as_int64(b: Builder, value: Value) -> Value:
    return cast(b, value, "int64") if isinstance(value, Tensor) else np.asarray(value).astype(np.int64)


def mapped(
    b: Builder,
    function: Callable[..., Any],
    x: Tensor,
    *more: Any,
    suffix: str = "",
    is_positive: bool = False,
    **named: Any,
) -> Tensor:
    """Returns what a function of `keras.ops` makes of each element of a tensor."""
    return b.function(
        function, x, *more, layout=x.layout, sizes=x.dims, suffix=suffix, is_positive=is_positive, **named
    )  # fmt: skip


def cast(b: Builder, x: Tensor, dtype: str, suffix: str = "cast") -> Tensor:
    """Returns a tensor of another type; itself where it has that type."""
    if x.dtype == dtype:
        return x
    return mapped(b, keras.ops.cast, x, dtype, suffix=suffix, is_positive=x.is_positive and dtype != "bool")


def merged(
    b: Builder,
    kind: Callable[..., keras.Layer],
    function: Callable[..., Any],
    *values: Value,
    is_positive: bool = False,
) -> Tensor:
    """Returns what a merging layer makes of tensors; a function, for types and sizes that the layer does not take."""
    if function is ops.add and len(values) > 2 and not are_alike(values):
        first, *others = values
        for each in others:
            first = merged(b, kind, function, first, each, is_positive=is_positive)
        return first  # type: ignore[return-value]
    if all(isinstance(each, Tensor) and is_float(each.dtype) for each in values):
        found, layout, sizes = b.together(*values)
        tensors = [each for each in found if isinstance(each, Tensor)]
        batches = {each.dims[layout.order[0]] if layout.rank else 1 for each in tensors}
        if layout.rank > 1 and len(batches) == 1:
            if function is ops.add and len(tensors) == 2:
                function, tensors = summands(b, tensors)
                kind = layers.Add if function is ops.add else layers.Subtract
            return b.layer(kind, *tensors, layout=layout, sizes=sizes, is_positive=is_positive)
    result, *rest = values
    for each in rest:
        result = combined(b, function, result, each, is_positive=is_positive)
    assert isinstance(result, Tensor)
    return result


def are_alike(values: Sequence[Value]) -> bool:
    """Returns whether values are tensors of the same sizes."""
    return all(isinstance(each, Tensor) for each in values) and len({each.dims for each in values}) == 1  # type: ignore[union-attr]


def summands(b: Builder, values: Sequence[Any]) -> tuple[Callable[..., Any], list[Any]]:
    """Returns a function, and what it must be called with to put out the sum of two tensors of one rank.

    `keras.ops.add` on TensorFlow takes a second summand that is long along one axis for a bias, and adds it along
    axis 1 or the last one, whichever is as long. What it could take so goes first, or is taken away negated.
    """
    one, other = values
    if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
        return ops.add, [one, other]
    sizes = [[each.dims[axis] for axis in each.layout.order] for each in (one, other)]
    if not _may_be_misled(sizes[0], sizes[1]):
        return ops.add, [one, other]
    if not _may_be_misled(sizes[1], sizes[0]):
        return ops.add, [other, one]
    return ops.subtract, [one, mapped(b, ops.negative, other, suffix="negative")]


def _may_be_misled(sizes: Sequence[Dim], bias: Sequence[Dim]) -> bool:
    """Returns whether Keras may add a bias along another axis than its own; sizes are in the order of Keras."""
    if len(sizes) < 2 or list(sizes) == list(bias):
        return False
    long = [axis for axis, each in enumerate(bias) if is_number(each) and each != 1]
    if len(long) > 1:
        return False
    last = len(sizes) - 1
    for axis in long or [axis for axis, each in enumerate(bias) if each != 1]:
        is_last, is_second = (not _differ(sizes[at], bias[axis]) for at in (last, 1))
        if (is_last and axis != last) or (is_second and axis not in (1, last)):
            return True
        if is_second and axis == last and last != 1 and sizes[last] != bias[axis]:
            return True
    return False


def _differ(one: Dim, other: Dim) -> bool:
    return is_number(one) and is_number(other) and one != other


def without_axes(layout: Layout, axes: Collection[int]) -> Layout:
    """Returns the layout of what remains when axes of ONNX are gone.

    >>> without_axes(Layout.channels_last(4), {2}).order
    (0, 2, 1)
    """
    place = {axis: new for new, axis in enumerate(axis for axis in range(layout.rank) if axis not in axes)}
    shuffles = tuple((place[axis], each) for axis, each in layout.shuffles if axis in place)
    return Layout(tuple(place[axis] for axis in layout.order if axis in place), shuffles)


def sized(b: Builder, x: Tensor, axis: int, size: int) -> Tensor:
    """Returns a tensor of which Keras knows how long an axis is, as weights tell where nothing else does."""
    place = x.layout.axis(axis)
    if x.keras.shape[place] is not None:
        return x
    dims = [b.symbol() if at == axis % x.rank else each for at, each in enumerate(x.dims)]
    target = [size if at == axis % x.rank else dims[at] for at in x.layout.order]
    return b.reshaped(Tensor(x.keras, x.layout, tuple(dims), x.is_positive), target, x.layout, "sized")


def in_order(b: Builder, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Returns a tensor whose elements lie in ONNX's order along some axes."""
    layout = x.layout
    for axis in axes:
        layout = layout.with_shuffle(axis, None)
    return b.arranged(x, layout)


def whole_numbers(array: Any) -> list[int]:
    """Returns the numbers of an array, or of an attribute."""
    return [int(each) for each in np.asarray(array).reshape(-1)]
