"""Values that may be known as transpositions of others, and a graph that is written anew out of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from zoo.converters.exporting.net import Dims, Net, Op

Perm = tuple[int, ...]


@dataclass(frozen=True)
class View:
    """A value as a transposition of one that is there: axis i of the value is axis perm[i] of `base`."""

    base: str
    perm: Perm


def inverse(perm: Perm) -> Perm:
    """Returns the transposition that takes one back.

    >>> inverse((0, 3, 1, 2))
    (0, 2, 3, 1)
    """
    return tuple(perm.index(axis) for axis in range(len(perm)))


def moves_nothing(perm: Perm, dims: Dims) -> bool:
    """Returns whether only axes of size 1 change their places."""
    moved = [axis for axis in perm if dims[axis] != 1]
    return moved == sorted(moved)


class Views:
    """A graph that is being written: what is there, and what is known as a transposition of it.

    Args:
        net: The graph as it was.

    Attributes:
        ops: The operators of the new one.
        views: The values that are not there, but as transpositions of others.
        turned: Known values in other orders.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self.ops: list[Op] = []
        self.views: dict[str, View] = {}
        self.there: dict[View, str] = {}
        self.turned: dict[tuple[str, Perm], str] = {}

    def view(self, name: str) -> View:
        """Returns a value as a view, maybe of itself."""
        dims = self.net.sizes(name)
        return self.views.get(name) or View(name, tuple(range(len(dims or ()))))

    def is_view(self, name: str) -> bool:
        """Returns whether a value is known as a transposition of another."""
        return name in self.views

    def materialised(self, name: str, under_its_name: bool = False) -> str:
        """Returns the name of a value that is there, transposed now if it must be."""
        view = self.views.get(name)
        if view is None:
            return name
        if view in self.there and not under_its_name:
            return self.there[view]
        self.ops.append(self._turning(view, name))
        self.there[view] = name
        return name

    def _turning(self, view: View, name: str) -> Op:
        """Returns the transposition itself; a Reshape where only axes of size 1 move."""
        dims = self.net.sizes(view.base)
        if view.perm == tuple(range(len(view.perm))):
            return Op("Identity", "", [view.base], [name])
        if dims is not None and moves_nothing(view.perm, dims):
            sizes = [-1 if dims[axis] is None else dims[axis] for axis in view.perm]
            if sizes.count(-1) <= 1:
                like = self.net.constant(np.array(sizes, np.int64), f"{name}/sizes")
                return Op("Reshape", "", [view.base, like], [name])
        return Op("Transpose", "", [view.base], [name]).put(perm=list(view.perm))

    def turned_constant(self, name: str, perm: Perm) -> str:
        """Returns a known value as it must be beside a base whose view is `perm`."""
        array = self.net.constants[name]
        if array.size == 1:
            return name if array.ndim <= len(perm) else self.net.constant(array.reshape(()), name)
        if (name, perm) not in self.turned:
            wide = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
            self.turned[name, perm] = self.net.constant(wide.transpose(inverse(perm)), name)
        return self.turned[name, perm]

    def emit(self, op: Op, inputs: list[str], mine: Perm) -> bool:
        """Adds an operator that works on bases; its outputs are views `mine` then."""
        names = []
        for name in op.outputs:
            new = self.net.fresh(name) if name else ""
            dims = self.net.sizes(name)
            if dims is not None and len(dims) == len(mine):
                self.net.dims[new] = tuple(dims[axis] for axis in inverse(mine))
            if name in self.net.types:
                self.net.types[new] = self.net.types[name]
            self.views[name] = View(new, mine)
            if mine == tuple(range(len(mine))):
                del self.views[name]
                names.append(name)
            else:
                names.append(new)
        self.ops.append(Op(op.operator, op.name, inputs, names, op.attributes, op.domain))
        return True

    def as_it_is(self, op: Op) -> None:
        """Adds an operator that gets what it asked for."""
        op.inputs = [self.materialised(name) for name in op.inputs]
        self.ops.append(op)

    def beside(self, name: str, perm: Perm) -> str | None:
        """Returns a value in the order of a base, where that costs nothing; None where it does."""
        if not name:
            return name
        if name in self.net.constants:
            return self.turned_constant(name, perm) if self.net.constants[name].ndim <= len(perm) else None
        view, dims = self.view(name), self.net.sizes(name)
        if view.perm == perm:
            return view.base
        if dims is None:
            return None
        if not dims or (len(dims) < len(perm) and all(each == 1 for each in dims)):
            return self.materialised(name)
        back = View(view.base, tuple(view.perm[axis] for axis in inverse(perm))) if len(dims) == len(perm) else None
        base_dims = self.net.sizes(view.base)
        if back is None or base_dims is None or not moves_nothing(back.perm, base_dims):
            return None
        if back.perm == tuple(range(len(perm))):
            return back.base
        if back not in self.there:
            new = self.net.fresh(name)
            self.net.dims[new] = tuple(base_dims[axis] for axis in back.perm)
            self.ops.append(self._turning(back, new))
            self.there[back] = new
        return self.there[back]
