"""How the arrays of other frameworks lie: orders of axes and flips, as their user declares them.

`OIHW->HWIO` names the axes of the source and those of the model. Axes in parentheses are one, so that
`O(CHW)->(HWC)O C=512 H=7 W=7` is the first dense kernel of a net that flattens pictures with the channels first.
`flip HW` turns these axes around, as Theano's convolutions need it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zoo.converters.restoring.sources import Array

from zoo.errors import UsageError

LayoutLike = str | Callable[[Array], Array]
_GROUP = re.compile(r"\(([A-Za-z]+)\)|([A-Za-z])")
_SIDE = re.compile(rf"(?:{_GROUP.pattern})+")
_EXAMPLES = '"OIHW->HWIO", "OI->IO", "OIHW->HWIO flip HW", "HWIO flip HW" or "O(CHW)->(HWC)O C=512 H=7 W=7"'


class DoesNotFitError(ValueError):
    """An array that a layout does not fit; its words are part of a longer message."""


@dataclass(frozen=True)
class Layout:
    """A declared order of axes.

    Attributes:
        given: The axes of the source, those that are one together.
        wanted: The same axes in the model.
        flipped: The axes that are turned around.
        sizes: Sizes of axes that are a part of one.
    """

    given: tuple[str, ...]
    wanted: tuple[str, ...]
    flipped: str
    sizes: Mapping[str, int]

    def fits(self, rank: int) -> bool:
        """Returns whether it speaks of arrays of so many axes."""
        return rank == len(self.given)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape that an array of this shape comes to have.

        Raises:
            DoesNotFitError: Its sizes cannot be those.
        """
        sizes = self._sizes(shape)
        return tuple(math.prod(sizes[axis] for axis in group) for group in self.wanted)

    def apply(self, values: Array) -> Array:
        """Returns an array with the axes of the model; a view of the same memory where that is possible."""
        sizes = self._sizes(values.shape)
        axes = "".join(self.given)
        values = values.reshape([sizes[axis] for axis in axes])
        values = values[tuple(slice(None, None, -1 if axis in self.flipped else 1) for axis in axes)]
        values = values.transpose([axes.index(axis) for axis in "".join(self.wanted)])
        return values.reshape([math.prod(sizes[axis] for axis in group) for group in self.wanted])

    def _sizes(self, shape: tuple[int, ...]) -> dict[str, int]:
        found: dict[str, int] = {}
        for group, size in zip(self.given, shape, strict=True):
            open_axes = [axis for axis in group if len(group) > 1 and axis not in self.sizes]
            if len(group) == 1:
                found[group] = size
                continue
            known = math.prod(self.sizes.get(axis, 1) for axis in group)
            if len(open_axes) > 1:
                raise DoesNotFitError(f"say how large {' and '.join(open_axes[1:])} are, as in {open_axes[1]}=7")
            if size % known or (not open_axes and size != known):
                raise DoesNotFitError(f"its axis of {size:,} cannot be ({group}) with {known:,} of those declared")
            found |= {axis: self.sizes.get(axis, size // known) for axis in group}
        return found


def parsed_layout(text: str) -> Layout:
    """Returns the layout that a text declares.

    Raises:
        UsageError: It declares none.

    >>> parsed_layout("OIHW->HWIO flip HW").shape((64, 3, 7, 5))
    (7, 5, 3, 64)
    """
    words = re.sub(r"\s*->\s*", "->", text.strip()).replace(",", " ").split()
    given, arrow, wanted = words[0].partition("->") if words else ("", "", "")
    wanted = wanted if arrow else given
    if not (_SIDE.fullmatch(given) and _SIDE.fullmatch(wanted)):
        raise _no_layout(text)
    sides = [tuple(one or other for one, other in _GROUP.findall(side)) for side in (given, wanted)]
    axes = "".join(sides[0])
    if sorted(axes) != sorted("".join(sides[1])) or len(set(axes)) != len(axes):
        raise _no_layout(text)
    flipped, sizes, rest = "", {}, words[1:]
    while rest:
        word = rest.pop(0)
        if word == "flip" and rest and set(rest[0]) <= set(axes):
            flipped += rest.pop(0)
        elif (size := re.fullmatch(r"([A-Za-z])=(\d{1,9})", word)) and size[1] in axes and int(size[2]):
            sizes[size[1]] = int(size[2])
        else:
            raise _no_layout(text)
    return Layout(sides[0], sides[1], flipped, sizes)


def _no_layout(text: str) -> UsageError:
    return UsageError(f"Expected a layout such as {_EXAMPLES}, both sides of the same axes; got {text!r}.")
