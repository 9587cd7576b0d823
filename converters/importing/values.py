"""What flows through a conversion: arrays that are known, and tensors of Keras that hold the values of ONNX in an order
of their own.

A tensor of ONNX and the one of Keras that stands for it differ in two ways only: in the order of their axes, and in the
order of the elements along one axis (behind a Flatten of feature maps, which Keras keeps `channels_last`). `Layout`
says both. Arrays are always as ONNX has them. Those of objects have symbols among their numbers: sizes that vary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import sympy
from numpy.typing import NDArray

Array = NDArray[Any]
Dim = Any  # an int, or an expression of sympy for a size that varies


@dataclass(frozen=True)
class Layout:
    """How a tensor of Keras holds a value of ONNX.

    Attributes:
        order: Axis `i` of Keras is axis `order[i]` of ONNX.
        shuffles: By the axis of ONNX: where along the axis of Keras there lies element `shuffle[i]` of ONNX at place
            `i`; axes that are not there are in order.
    """

    order: tuple[int, ...]
    shuffles: tuple[tuple[int, tuple[int, ...]], ...] = ()

    @classmethod
    def plain(cls, rank: int) -> Layout:
        """Returns the order of ONNX itself."""
        return cls(tuple(range(rank)))

    @classmethod
    def channels_last(cls, rank: int) -> Layout:
        """Returns the order for pictures: [batch, channels, ...] of ONNX is [batch, ..., channels] of Keras."""
        return cls((0, *range(2, rank), 1)) if rank > 2 else cls.plain(rank)

    @property
    def rank(self) -> int:
        """Returns the number of axes."""
        return len(self.order)

    @property
    def is_plain(self) -> bool:
        """Returns whether both hold the same."""
        return self == Layout.plain(self.rank)

    def axis(self, axis: int) -> int:
        """Returns the axis of Keras for an axis of ONNX, which may be negative."""
        return self.order.index(axis % self.rank if self.rank else 0)

    def shuffle(self, axis: int) -> tuple[int, ...] | None:
        """Returns the order of the elements along an axis of ONNX; None where it is ONNX's own."""
        return dict(self.shuffles).get(axis % self.rank)

    def with_shuffle(self, axis: int, shuffle: Sequence[int] | None) -> Layout:
        """Returns a layout with other elements' order along an axis of ONNX."""
        shuffles = {**dict(self.shuffles), axis % self.rank: tuple(shuffle or ())}
        kept = {key: each for key, each in shuffles.items() if each and each != tuple(range(len(each)))}
        return replace(self, shuffles=tuple(sorted(kept.items())))

    def transposed(self, permutation: Sequence[int]) -> Layout:
        """Returns the layout of ONNX's Transpose of a value, where Keras does nothing."""
        back = {old: new for new, old in enumerate(permutation)}
        shuffles = tuple(sorted((back[axis], each) for axis, each in self.shuffles))
        return Layout(tuple(back[axis] for axis in self.order), shuffles)

    def arrange(self, array: Array) -> Array:
        """Returns an array of ONNX as Keras holds it; axes of size 1 stand for any."""
        for axis, shuffle in self.shuffles:
            if array.shape[axis] != 1:
                array = array.take(shuffle, axis=axis)
        return array.transpose(self.order)

    def restore(self, array: Array) -> Array:
        """Returns an array of Keras as ONNX has it.

        >>> layout = Layout.channels_last(4)
        >>> layout.restore(layout.arrange(np.zeros((1, 2, 3, 4)))).shape
        (1, 2, 3, 4)
        """
        array = array.transpose(np.argsort(self.order))
        for axis, shuffle in self.shuffles:
            array = array.take(np.argsort(shuffle), axis=axis)
        return array


@dataclass(frozen=True)
class Tensor:
    """A value that depends on the model's input.

    Attributes:
        keras: The symbolic tensor of Keras.
        layout: How it holds the value.
        dims: The sizes of the value as ONNX has it: numbers, or expressions for those that vary.
        is_positive: Whether no element is below zero, so that padding with zeros cannot win against one.
    """

    keras: keras.KerasTensor
    layout: Layout
    dims: tuple[Dim, ...]
    is_positive: bool = False

    @property
    def rank(self) -> int:
        """Returns the number of axes."""
        return len(self.dims)

    @property
    def dtype(self) -> str:
        """Returns the type of its elements, as Keras names it."""
        return str(keras.backend.standardize_dtype(self.keras.dtype))


Value = Tensor | Array
OPEN_BATCH = sympy.Symbol("open batch", integer=True, positive=True)  # of a file whose batch size is fixed


def symbol(name: str) -> Dim:
    """Returns a size that varies; the same for the same name."""
    return sympy.Symbol(name, integer=True, positive=True)


def is_number(dim: Dim) -> bool:
    """Returns whether a size is known."""
    return isinstance(dim, (int, np.integer)) or bool(getattr(dim, "is_Integer", False))


def known(array: Array) -> bool:
    """Returns whether an array has no symbols in it."""
    return array.dtype != object or all(map(is_number, array.reshape(-1)))


def settled(array: Array) -> Array:
    """Returns an array of numbers as one of int64 where no symbol is left in it."""
    return array.astype(np.int64) if array.dtype == object and known(array) else array


def product(dims: Sequence[Dim]) -> Dim:
    """Returns the number of elements."""
    return math.prod(dims, start=1) if all(map(is_number, dims)) else sympy.prod(dims)


def same(one: Dim, other: Dim) -> bool:
    """Returns whether two sizes are equal whatever their symbols stand for."""
    return bool(one == other) or bool(sympy.simplify(one - other) == 0)
