"""Features as an array: rows of several shards, in the order of the examples that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data import Rows
from zoo.features.shards import Stored


@dataclass(frozen=True)
class FeatureStats:
    """What it took to get features.

    Attributes:
        hits: Examples whose features needed no computing; of equal examples one at most is computed.
        misses: Examples that were run through the trunk.
        seconds: Wall time.
        bytes: Size of all the features.
    """

    hits: int
    misses: int
    seconds: float
    bytes: int


class Features:
    """Read-only features of a set of examples, float [n, ...], memory-mapped from the feature cache.

    Slices and index arrays give NumPy arrays; `numpy.asarray` gives all of it.

    Attributes:
        stats: What it took to get them.
        key: The name of their folder in the feature cache.
    """

    def __init__(self, sources: Sequence[Stored], shard: Rows, row: Rows, stats: FeatureStats, key: str) -> None:
        self._sources = sources
        self._shard = shard
        self._row = row
        self.stats = stats
        self.key = key
        self.dtype: np.dtype[Any] = sources[0].dtype
        self.shape: tuple[int, ...] = (len(row), *sources[0].shape[1:])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return len(self._row)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Returns the features at a number, a slice, or an array of row numbers or booleans."""
        shard, row = self._shard[index], self._row[index]
        if np.ndim(row) == 0:
            return np.array(self._sources[int(shard)].array[int(row)])
        result = np.empty((len(row), *self.shape[1:]), self.dtype)
        for number in np.unique(shard):
            chosen = shard == number
            result[chosen] = self._sources[number].array[row[chosen]]
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("Features on disk become an array only by a copy; leave copy=None.")
        return self[:].astype(dtype or self.dtype, copy=False)
