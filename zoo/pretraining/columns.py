"""What the numbers of examples are like, column by column, read in pieces that memory has room for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data import Rows

PIECE_BYTES = 16 << 20  # of float64 numbers that are computed with at once; one example at least
_AT_ONCE = 1024  # examples, however small


@dataclass(frozen=True)
class Columns:
    """What the flattened numbers of examples are like.

    Attributes:
        mean: float64 [numbers], over the training examples.
        deviation: float64 [numbers], likewise.
        low: The least of all examples.
        high: The greatest.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    low: float
    high: float

    @property
    def are_shares(self) -> bool:
        """Whether all numbers are within 0..1."""
        return self.low >= 0 and self.high <= 1

    @property
    def divisors(self) -> NDArray[np.float64]:
        """Deviations that can be divided by: that of a column that is constant is 1."""
        return np.where(self.deviation > 0, self.deviation, 1)


def columns_of(x: Any, train: Rows, others: Rows | None = None) -> Columns:
    """Returns what rows of `x` [n, ...], an array or what gives arrays, are like.

    Args:
        x: The numbers; the rows to train on are read twice, the others once.
        train: Rows whose means and deviations are wanted.
        others: Further rows that are used: they count for the least and the greatest number alone.

    >>> columns_of(np.array([[0.0, 1.0], [2.0, 1.0]]), np.arange(2)).deviation.tolist()
    [1.0, 0.0]
    """
    width = math.prod(x.shape[1:])
    total, squares = np.zeros(width), np.zeros(width)
    low, high = math.inf, -math.inf
    for flat in _flattened(x, train, width):
        total += flat.sum(axis=0)
        low, high = min(low, float(flat.min())), max(high, float(flat.max()))
    mean = total / len(train)
    for flat in _flattened(x, train, width):
        squares += ((flat - mean) ** 2).sum(axis=0)
    for flat in _flattened(x, train[:0] if others is None else others, width):
        low, high = min(low, float(flat.min())), max(high, float(flat.max()))
    return Columns(mean, np.sqrt(squares / len(train)), low, high)


def pieces(rows: Rows, numbers: int) -> Iterator[Rows]:
    """Yields rows in order, as many at a time as memory has room for.

    Args:
        rows: Which.
        numbers: How many there are of each.

    >>> [len(piece) for piece in pieces(np.arange(5), PIECE_BYTES // 16)]
    [2, 2, 1]
    """
    step = min(_AT_ONCE, max(1, PIECE_BYTES // (8 * max(1, numbers))))
    yield from (rows[begin : begin + step] for begin in range(0, len(rows), step))


def _flattened(x: Any, rows: Rows, width: int) -> Iterator[NDArray[np.float64]]:
    for piece in pieces(rows, width):
        yield np.asarray(x[piece], np.float64).reshape(len(piece), width)
