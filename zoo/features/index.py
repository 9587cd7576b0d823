"""Where the features of an identity lie, among all the keys of several shards. It knows nothing of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data import Ids, Rows

_PIECE = 1 << 17  # identities looked up at once: what that takes of memory is small beside the keys


class Index:
    """Finds rows by identity in several arrays of keys at once; the first of several equal keys wins.

    Identities are hashes, so their first eight bytes tell them apart: those are sorted and searched as numbers, and
    what is found is compared whole. Keys that begin alike and are not equal are sorted whole, which is slower.

    Args:
        keys: The keys of each shard, uint8 [n, 32].
    """

    def __init__(self, keys: Sequence[Ids]) -> None:
        self._keys = np.concatenate([np.empty((0, 32), np.uint8), *keys])
        self._sorts: Any = _beginnings
        self._sort()
        if self._ambiguous():
            self._sorts = _whole
            self._sort()
        counts = [len(each) for each in keys]
        self._ends = np.cumsum(counts, dtype=np.int64)
        self._begins = self._ends - counts

    def locate(self, ids: Ids) -> tuple[Rows, Rows]:
        """Returns (shard number, row) of each identity, int64 [n] both; -1 where it is not there."""
        shard, row = np.full(len(ids), -1), np.full(len(ids), -1)
        for begin in range(0, len(ids) if len(self._keys) else 0, _PIECE):
            found, at = self._found(ids[begin : begin + _PIECE])
            number = np.searchsorted(self._ends, at, side="right")
            shard[begin + found], row[begin + found] = number, at - self._begins[number]
        return shard, row

    def _found(self, ids: Ids) -> tuple[Rows, Rows]:
        """Returns which of `ids` are there, and where among all the keys."""
        wanted = self._sorts(ids)
        order = np.argsort(wanted)  # a search in order stays in the processor's cache
        place = np.empty(len(ids), np.int64)
        place[order] = np.searchsorted(self._sorted, wanted[order])
        at = self._order[np.minimum(place, len(self._order) - 1)]
        found = np.flatnonzero(_equal(np.take(self._keys, at, axis=0), ids))
        return found, at[found]

    def _sort(self) -> None:
        values = self._sorts(self._keys)
        self._order = np.argsort(values, kind="stable")
        self._sorted = values[self._order]

    def _ambiguous(self) -> bool:
        """Returns whether keys that begin alike are not equal."""
        alike = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        one, other = self._keys[self._order[alike]], self._keys[self._order[alike + 1]]
        return not _equal(one, other).all()


def _beginnings(ids: Ids) -> NDArray[np.uint64]:
    """Returns the first eight bytes of identities as numbers."""
    return np.ascontiguousarray(ids[:, :8]).view("<u8").reshape(len(ids))


def _whole(ids: Ids) -> NDArray[np.bytes_]:
    """Returns identities as 32-byte strings, which NumPy sorts and compares whole."""
    return np.ascontiguousarray(ids).view("S32").reshape(len(ids))


def _equal(one: Ids, other: Ids) -> NDArray[np.bool_]:
    """Returns where two arrays of identities agree, eight bytes at a time."""
    same: NDArray[np.bool_] = np.all(one.view(np.uint64) == np.ascontiguousarray(other).view(np.uint64), axis=1)
    return same
