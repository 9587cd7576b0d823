"""Finds the batch among sizes that a file writes as numbers, where its batch size is fixed and left open here.

Where it is can only be guessed: by the elements that lie behind it. Whether the guess was right is seen when the
results are compared: several runs of the original must be one run of what was converted.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo.converters.importing.values import OPEN_BATCH, Dim, is_number, product


def at_fixed_batch(dims: Sequence[Dim], batch: int) -> list[Dim]:
    """Returns sizes as the file has them."""
    found = [each if is_number(each) else each.subs(OPEN_BATCH, batch) for each in dims]
    return [int(each) if is_number(each) else each for each in found]


def with_open_batch(dims: Sequence[Dim], sizes: Sequence[int], batch: int) -> list[Dim]:
    """Returns sizes to reshape to in which the batch is open, for a tensor of which one size is a multiple of it.

    >>> with_open_batch((65, OPEN_BATCH, 96), (65, 2, 3, 32), 2)
    [65, open batch, 3, 32]
    >>> with_open_batch((65, OPEN_BATCH, 32), (65, 8, 8), 2)
    [65, 4*open batch, 8]
    """
    axes = [axis for axis, each in enumerate(dims) if not is_number(each)]
    many, symbol = dims[axes[0]].as_coeff_Mul() if len(axes) == 1 else (1, None)
    if symbol != OPEN_BATCH:
        return list(sizes)
    inner = int(product(dims[axes[0] + 1 :]))  # elements behind the batch, if others of its axis come before it
    outer = inner * int(many)
    fits = [_fit(sizes, place, batch, (inner, outer)) for place in range(len(sizes))]
    place = fits.index(min(fits)) if min(fits) < _NO_FIT else None
    return [size // batch * OPEN_BATCH if at == place else size for at, size in enumerate(sizes)]


_NO_FIT = 4


def _fit(sizes: Sequence[int], place: int, batch: int, steps: tuple[int, int]) -> int:
    """Returns how well the batch fits into an axis: 0 where it is the axis, 1 where it is the first part of it, 2 where
    it is another part, and 3 where that is the last axis, which has the features.

    Args:
        sizes: Those of all axes.
        place: The axis.
        batch: The size of the batch.
        steps: How many elements lie behind the batch: the second where nothing of its axis comes before it.
    """
    size, behind = int(sizes[place]), int(product(sizes[place + 1 :]))
    if size == batch and behind in steps:
        return 0
    more, rest = divmod(steps[1], behind) if behind else (0, 1)
    if rest or size % (batch * more):
        return _NO_FIT
    if place and place == len(sizes) - 1:
        return 3
    return 1 if size == batch * more else 2
