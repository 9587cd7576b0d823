"""Features as an array: rows of several shards, in the order of the examples that they belong to."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.data import Rows
from zoo.features.shards import Stored

if TYPE_CHECKING:
    from zoo.data.bad_files import BadFile
    from zoo.features.leases import Lease


@dataclass(frozen=True)
class FeatureStats:
    """What it took to get features.

    Attributes:
        hits: Examples whose features needed no computing; of equal examples one at most is computed.
        misses: Examples that were run through the trunk.
        seconds: Wall time.
        bytes: Size of all the features.
        engine: Who ran the trunk; None where nothing was computed.
        starting: Wall time (s) until the engine was chosen and ready: traced, converted, compared, measured.
        reading: Wall time (s) that the engine waited for decoded examples.
        computing: Wall time (s) that it computed.
    """

    hits: int
    misses: int
    seconds: float
    bytes: int
    engine: str | None = None
    starting: float = 0.0
    reading: float = 0.0
    computing: float = 0.0


class Features:
    """Read-only features of a set of examples, float [n, ...], left on disk in the feature cache.

    Numbers, slices, index arrays and booleans give NumPy arrays, and `numpy.asarray` gives all of it; so scikit-learn
    takes them as they are, and PyTorch by `torch.from_numpy(features[rows])`.

    Args:
        sources: The tensors of the shards.
        shard: For each row, the number of its shard.
        row: For each row, which one of its shard it is.
        stats: What it took to get them.
        key: The name of their folder in the feature cache.
        kept: Numbers of the examples that have features; None: all.
        labels: The target of each row, as `Examples.labels` has them; None: 0 for all.
        classes: The names of the classes.
        bad: What was passed over, and why.
        leases: What holds the folders that they are in against removal.

    Attributes:
        stats: As above.
        key: As above.
        kept: int64 [n]: row i belongs to example `kept[i]` of the data.
        labels: The target of each row: the number of its class, int64 [n]; or labels or values, [n, classes].
        classes: The names of the classes.
        bad: What was passed over, and why.
        shape: Of all of it.
        dtype: Of all of it.
        ndim: The length of `shape`.
    """

    def __init__(
        self,
        sources: Sequence[Stored],
        shard: Rows,
        row: Rows,
        stats: FeatureStats,
        key: str,
        *,
        kept: Rows | None = None,
        labels: NDArray[np.int64] | None = None,
        classes: Sequence[str] = (),
        bad: Sequence[BadFile] = (),
        leases: Sequence[Lease] = (),
    ) -> None:
        if len(row) and shard.min() < 0:
            raise ValueError(f"{np.count_nonzero(shard < 0)} of {len(row)} examples have no features.")
        self._sources = sources
        self._begins = np.cumsum([0, *(source.shape[0] for source in sources)])
        self._place: Rows = self._begins[shard] + row
        self.stats = stats
        self.key = key
        self.kept: Rows = np.arange(len(row)) if kept is None else kept
        self.labels: NDArray[Any] = np.zeros(len(row), np.int64) if labels is None else labels
        self.classes, self.bad = tuple(classes), tuple(bad)
        self._leases = tuple(leases)  # until the last of these features is gone, nobody removes them
        if not len(self.kept) == len(self.labels) == len(row):
            raise ValueError(f"{len(row)} rows, {len(self.kept)} numbers of examples, {len(self.labels)} labels.")
        self.dtype: np.dtype[Any] = sources[0].dtype
        self.shape: tuple[int, ...] = (len(row), *sources[0].shape[1:])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return len(self._place)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Returns what NumPy would: of a number, a slice, or an array of row numbers or booleans; axes may follow."""
        first, *others = index or (...,) if isinstance(index, tuple) else (index,)
        if first is Ellipsis or first is None:
            return np.asarray(self[:][index])
        place = self._place[first]
        block = np.empty((place.size, *self.shape[1:]), self.dtype)
        self._read(place.reshape(-1), block)
        if not others:
            return block.reshape((*place.shape, *self.shape[1:]))
        there = slice(None) if isinstance(first, slice) else np.arange(place.size).reshape(place.shape)
        return np.array(block[(there, *others)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("Features on disk become an array only by a copy; leave copy=None.")
        return self[:].astype(dtype or self.dtype, copy=False)

    def places(self, rows: Rows) -> Rows:
        """Returns where `rows` lie in the shards, end to end: rows in the order of their places are read fast."""
        return self._place[rows]

    def read_into(self, rows: Rows, out: NDArray[Any]) -> None:
        """Fills `out` [len(rows), ...] with the features at `rows`.

        Rows in the order of their places are read in long runs and straight into `out`; nothing else takes memory.
        """
        self._read(self._place[rows], out)

    def _read(self, place: Rows, out: NDArray[Any]) -> None:
        if len(place) > 1 and (place[1:] >= place[:-1]).all():
            for number, begin, end in self._by_shard(place):
                array = self._sources[number].array
                np.take(array, place[begin:end] - self._begins[number], axis=0, out=out[begin:end], mode="clip")
                _let_go(array)
            return
        order = np.argsort(place, kind="stable")
        place = place[order]
        for number, begin, end in self._by_shard(place):
            out[order[begin:end]] = self._sources[number].array[place[begin:end] - self._begins[number]]

    def _by_shard(self, place: Rows) -> list[tuple[int, int, int]]:
        """Returns (shard number, begin, end): where the rows of each shard lie in `place`, which is ascending."""
        ends = np.searchsorted(place, self._begins[1:])
        begins = np.append(0, ends[:-1])
        used = np.flatnonzero(ends > begins)
        return list(zip(used.tolist(), begins[used].tolist(), ends[used].tolist(), strict=True))


def _let_go(array: NDArray[Any]) -> None:
    """Lets the pages that were read be no longer this process's: over an epoch they would be the whole cache."""
    mapping = getattr(array, "_mmap", None)
    if mapping is not None:
        with contextlib.suppress(AttributeError, OSError):  # not every system can be told
            mapping.madvise(mmap.MADV_DONTNEED)
