"""Puts operators in the place of one that stands for several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from zoo.converters.exporting.net import Dims, Net, Op
from zoo.converters.exporting.views import inverse


class Putter:
    """Makes operators that follow each other, the last with the output of the one in whose place they are.

    Args:
        net: The graph, which learns the sizes of what they make.
        op: The operator in whose place they are.

    Attributes:
        ops: The operators so far.
    """

    def __init__(self, net: Net, op: Op) -> None:
        self.net, self.op = net, op
        self.scope = op.name.rpartition("/")[0] or op.name
        self.ops: list[Op] = []

    def __call__(self, operator: str, inputs: list[str], dims: Dims, output: str = "", **attributes: Any) -> str:
        """Adds an operator, and returns the name of what it makes: a new one unless it is given."""
        name = output or self.value(operator.lower(), dims)
        self.note(name, dims)
        self.ops.append(Op(operator, f"{self.scope}/{operator.lower()}", inputs, [name]).put(**attributes))
        return name

    def value(self, what: str, dims: Dims) -> str:
        """Returns the name of a new value."""
        name = self.net.fresh(f"{self.scope}/{what}")
        self.note(name, dims)
        return name

    def note(self, name: str, dims: Dims) -> None:
        """Lets the graph know of a value."""
        self.net.dims[name] = dims
        self.net.types[name] = self.net.types[self.op.outputs[0]]

    def numbers(self, *numbers: int) -> str:
        """Returns the name of known whole numbers."""
        return self.net.constant(np.array(numbers, np.int64), f"{self.scope}/number")

    def sizes_of(self, x: str) -> str:
        """Returns the name of the sizes of a value, for a Reshape of one that has as many rows."""
        dims = self.net.dims[x]
        if dims[1:].count(None) <= 1:
            return self.numbers(0, *(-1 if each is None else each for each in dims[1:]))
        name = self("Shape", [x], (len(dims),))
        self.net.types[name] = onnx.TensorProto.INT64
        return name

    def moved(self, x: str, order: Sequence[int], output: str = "") -> str:
        """Returns the name of a value with its axes in another order."""
        dims = self.net.dims[x]
        if list(order) == list(range(len(order))):
            return self("Identity", [x], dims, output) if output else x
        return self("Transpose", [x], tuple(dims[axis] for axis in order), output, perm=list(order))

    def last(self, x: str, order: Sequence[int]) -> None:
        """Puts out a value whose axes are in that order, in the order in which they were."""
        self.moved(x, inverse(tuple(order)), self.op.outputs[0])


def channels_first(rank: int, axis: int) -> list[int]:
    """Returns the axes of pictures in the order of ONNX.

    Args:
        rank: How many axes there are.
        axis: The one that is of channels now.
    """
    channels = axis % rank
    return [0, channels, *(each for each in range(1, rank) if each != channels)]
