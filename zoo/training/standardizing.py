"""Whether features suit a new head as they are, or want to be brought to mean 0 and deviation 1 first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.data import Rows

_MOST = 4096  # examples that are looked at,
_MOST_NUMBERS = 1 << 23  # and numbers, but for 64 examples: wide features are many
_LEAST, _LARGEST = 1 / 3, 3.0  # deviations that Adam's usual rate copes with
_ALIKE = 3.0  # times the deviation: features that are larger hardly vary


@dataclass(frozen=True)
class Standard:
    """What features become before they enter a head: x * scale + offset.

    Attributes:
        scale: One number for all.
        offset: One for each feature.
    """

    scale: float
    offset: tuple[float, ...]


def standard_of(x: Any, train: Rows) -> Standard | None:
    """Returns what brings features to mean 0 each, and deviation 1 over all; None where they are near that already.

    New layers are made for inputs of about that size: features of 0.001, or of 500 give or take 1, take them hundreds
    of epochs (LeCun et al. 1998, "Efficient BackProp", 4.3). One scale for all keeps features that hardly vary small.

    Args:
        x: Features [n, d].
        train: int64 [t]: which of them are of training examples; at most 4,096 of those are looked at, fewer of wide
            features.

    >>> standard_of(np.array([[8.0], [12.0]]), np.arange(2))
    Standard(scale=0.5, offset=(-5.0,))
    >>> standard_of(np.array([[-1.0, 1.0], [1.0, -1.0]]), np.arange(2)) is None
    True
    """
    if len(x.shape) != 2 or not len(train):
        return None
    count = min(len(train), _MOST, max(64, _MOST_NUMBERS // x.shape[1]))
    sample = np.asarray(x[train[np.linspace(0, len(train) - 1, count).astype(np.int64)]], np.float64)
    mean = sample.mean(axis=0)
    deviation, size = math.sqrt(((sample - mean) ** 2).mean()), math.sqrt((sample**2).mean())
    if not deviation or (_LEAST <= deviation <= _LARGEST and size <= _ALIKE * deviation):
        return None
    return Standard(1 / deviation, tuple((-mean / deviation).tolist()))
