"""Transpose, Reshape and their like: most of them only change what is known of a tensor."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import layers, ops
from zoo.converters.importing.batches import at_fixed_batch, with_open_batch
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import Node
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import (
    Array,
    Dim,
    Layout,
    Tensor,
    Value,
    is_number,
    product,
    same,
)

Group = tuple[list[int], list[int]]  # axes before and after that have the same elements


@operator("Identity", newest=25)
def identity(b: Builder, node: Node, x: Value) -> Value:
    """Returns the value itself."""
    return x


@operator("Dropout", newest=22)
def dropout(b: Builder, node: Node, x: Tensor, ratio: Value | None = None, training: Value | None = None) -> Any:
    """Returns a Dropout, which does nothing but when the model trains. Its mask, where it is wanted, is all true."""
    rate = float(node.get("ratio", 0.5) if ratio is None else np.asarray(ratio).reshape(-1)[0])
    trains = training is not None and (isinstance(training, Tensor) or bool(np.asarray(training).reshape(-1)[0]))
    if trains and rate:
        raise Unsupported("it drops elements in inference too: the file was written in training mode. Export it anew")
    out = x
    if 0 < rate < 1 and x.dtype.startswith(("float", "bfloat")):
        out = b.layer(layers.Dropout, x, layout=x.layout, sizes=x.dims, is_positive=x.is_positive, rate=rate)
    if len(node.outputs) < 2 or not node.outputs[1]:
        return out
    return out, b.function(ops.equal, x, x, layout=x.layout, sizes=x.dims, suffix="mask")


@operator("Transpose", newest=25)
def transpose(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns the same tensor of Keras, known to lie otherwise."""
    permutation = node.get("perm") or list(range(x.rank))[::-1]
    dims = tuple(x.dims[axis] for axis in permutation)
    return Tensor(x.keras, x.layout.transposed(permutation), dims, x.is_positive)


@operator("Reshape", newest=25)
def reshape(b: Builder, node: Node, x: Tensor, shape: Value | None = None) -> Tensor:
    """Returns a tensor of other sizes, of which 0 is the size there was, and -1 what remains."""
    wanted = node.get("shape") if shape is None else shape
    if isinstance(wanted, Tensor):
        raise Unsupported("it reshapes to sizes that are computed from values")
    return reshaped(b, x, wanted_sizes(b, x, wanted, keeps_zeros=bool(node.get("allowzero", 0))))


def wanted_sizes(b: Builder, x: Tensor, shape: Array, keeps_zeros: bool = False) -> list[Dim]:
    """Returns the sizes that Reshape would make of a tensor: without 0, which is the size there was, and without -1.

    Where a file writes the batch size that it has fixed, and that is left open, it is open here too.
    """
    sizes = list(np.asarray(shape, dtype=object))
    if not keeps_zeros:
        sizes = [x.dims[place] if is_number(each) and int(each) == 0 else each for place, each in enumerate(sizes)]
    if b.batch is None or not all(map(is_number, sizes)):
        return _without_unknown(x.dims, sizes)
    fixed = at_fixed_batch(x.dims, b.batch)
    if not all(map(is_number, fixed)) or fixed == list(x.dims):
        return _without_unknown(x.dims, sizes)
    return with_open_batch(x.dims, _without_unknown(fixed, sizes), b.batch)


@operator("Flatten", newest=25)
def flatten(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a tensor of two axes."""
    axis = node.get("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    return reshaped(b, x, [product(x.dims[:axis]), product(x.dims[axis:])])


@operator("Squeeze", newest=25)
def squeeze(b: Builder, node: Node, x: Tensor, axes: Array | None = None) -> Tensor:
    """Returns a tensor without some axes of one element; without any of them where none is named."""
    given = node.get("axes") if axes is None else [int(each) for each in axes]
    gone = (
        [axis for axis, each in enumerate(x.dims) if each == 1] if given is None else [each % x.rank for each in given]
    )
    if any(is_number(x.dims[axis]) and x.dims[axis] != 1 for axis in gone):
        raise Unsupported(f"it squeezes axes {gone} of a tensor of {x.dims}")
    return reshaped(b, x, [each for axis, each in enumerate(x.dims) if axis not in gone])


@operator("Unsqueeze", newest=25)
def unsqueeze(b: Builder, node: Node, x: Tensor, axes: Array | None = None) -> Tensor:
    """Returns a tensor with more axes of one element."""
    given = node.get("axes") if axes is None else [int(each) for each in axes]
    rank = x.rank + len(given)
    new, old = {each % rank for each in given}, iter(x.dims)
    return reshaped(b, x, [1 if axis in new else next(old) for axis in range(rank)])


def reshaped(b: Builder, x: Tensor, sizes: Sequence[Dim]) -> Tensor:
    """Returns a tensor of other sizes, in the order of ONNX; where Keras holds it otherwise, it stays so if it can.

    Axes are grouped so that each group has the same elements before and after. Where a group lies together in Keras, in
    order, it is reshaped where it lies. One that lies together in another order, and becomes a single axis, as feature
    maps do that are flattened, keeps its elements where they are, and `Layout` tells where. All else is put in ONNX's
    order first.
    """
    groups = _groups(x.dims, sizes)
    layout = None if groups is None else _layout_of_groups(x, sizes, groups)
    if layout is None:
        x = b.plain(x)
        layout = Layout.plain(len(sizes))
    return b.reshaped(x, [sizes[axis] for axis in layout.order], layout)


def _without_unknown(dims: Sequence[Dim], sizes: Sequence[Any]) -> list[Dim]:
    """Returns sizes with what -1 stands for."""
    unknown = [place for place, each in enumerate(sizes) if is_number(each) and int(each) == -1]
    if not unknown:
        return [int(each) if is_number(each) else each for each in sizes]
    total, rest = product(dims), product([each for place, each in enumerate(sizes) if place not in unknown])
    if is_number(total) and is_number(rest):
        found: Dim = int(total) // int(rest) if rest else 0
    else:
        found = total / rest
        found = found if not getattr(found, "is_Rational", False) else int(found)
    return [found if place in unknown else int(each) if is_number(each) else each for place, each in enumerate(sizes)]


def _groups(before: Sequence[Dim], after: Sequence[Dim]) -> list[Group] | None:
    """Returns the smallest groups of axes with the same number of elements, axes of one element left out.

    >>> _groups((2, 3, 4, 5), (2, 12, 5))
    [([0], [0]), ([1, 2], [1]), ([3], [2])]
    """
    ours = [axis for axis, each in enumerate(before) if each != 1]
    theirs = [axis for axis, each in enumerate(after) if each != 1]
    groups: list[Group] = []
    while ours or theirs:
        if not ours or not theirs:
            return None
        group: Group = ([ours.pop(0)], [theirs.pop(0)])
        while True:
            one, other = product([before[axis] for axis in group[0]]), product([after[axis] for axis in group[1]])
            if same(one, other):
                break
            if _is_more(other, one) and ours:
                group[0].append(ours.pop(0))
            elif theirs:
                group[1].append(theirs.pop(0))
            elif ours:
                group[0].append(ours.pop(0))
            else:
                return None
        groups.append(group)
    return groups


def _is_more(one: Dim, other: Dim) -> bool:
    """Returns whether one product has more elements than another, as far as their numbers tell."""
    if is_number(one) and is_number(other):
        return bool(one > other)
    number, rest = (one / other).as_coeff_Mul()
    return bool(rest.is_polynomial()) if rest != 1 else bool(number > 1)


def _layout_of_groups(x: Tensor, sizes: Sequence[Dim], groups: Sequence[Group]) -> Layout | None:
    """Returns the layout in which groups may be reshaped where they lie; None where one of them may not."""
    placed: list[tuple[int, list[int]]] = []
    layout = Layout(tuple(range(len(sizes))))
    for ours, theirs in groups:
        places = [x.layout.order.index(axis) for axis in ours]
        between = range(min(places), max(places) + 1)
        if any(place not in places and x.dims[x.layout.order[place]] != 1 for place in between):
            return None
        shuffles = [x.layout.shuffle(axis) for axis in ours]
        order = theirs
        if len(theirs) == 1 and (places != sorted(places) or any(shuffles)):
            if not all(is_number(x.dims[axis]) for axis in ours):
                return None
            layout = layout.with_shuffle(theirs[0], _merged(x, ours, places))
        elif len(ours) == 1 and shuffles[0]:
            found = _unmerged(shuffles[0], [sizes[axis] for axis in theirs])
            if found is None:
                return None
            order = [theirs[place] for place in found]
        elif places != sorted(places) or any(shuffles):
            return None
        placed.append((min(places), order))
    order = [axis for _, axes in sorted(placed) for axis in axes]
    for axis, each in enumerate(sizes):
        if each == 1:  # behind the axis before it in ONNX, which changes nothing
            order.insert(order.index(axis - 1) + 1 if axis else 0, axis)
    return Layout(tuple(order), layout.shuffles)


def _merged(x: Tensor, axes: Sequence[int], places: Sequence[int]) -> tuple[int, ...]:
    """Returns where in ONNX's order the elements of axes stand that Keras merges in its own order."""
    numbers = np.arange(product([x.dims[axis] for axis in axes])).reshape([x.dims[axis] for axis in axes])
    for place, axis in enumerate(axes):
        if shuffle := x.layout.shuffle(axis):
            numbers = numbers.take(shuffle, axis=place)
    return tuple(int(each) for each in numbers.transpose(np.argsort(places)).reshape(-1))


def _unmerged(shuffle: tuple[int, ...], sizes: Sequence[Dim]) -> tuple[int, ...] | None:
    """Returns in which order axes lie that were merged in that order; None where the elements lie otherwise."""
    if not all(map(is_number, sizes)) or len(sizes) > 5:
        return None
    numbers = np.arange(len(shuffle)).reshape(list(sizes))
    for order in itertools.permutations(range(len(sizes))):
        if np.array_equal(numbers.transpose(order).reshape(-1), shuffle):
            return order
    return None
