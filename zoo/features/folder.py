"""One folder of the feature cache: every whole shard in it, and where each example's row lies."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.typing import NDArray

from zoo.data import Ids, Rows
from zoo.errors import IntegrityError
from zoo.features.keys import FeatureSpec
from zoo.features.shards import SUFFIX, Shard, Verified, open_shard, write_shard
from zoo.files import make_folder, remove_leftovers, write_bytes

_log = logging.getLogger("zoo")
_LOCK_SECONDS = 600


class FeatureFolder:
    """The features kept under one key. The cache is the whole shards present: there is no manifest.

    Args:
        root: The folder of all features.
        spec: What these features are.
    """

    def __init__(self, root: Path, spec: FeatureSpec) -> None:
        self.path = root / spec.key
        self.spec = spec
        self.shards: list[Shard] = []
        self._index: _Index | None = None

    def open(self, *, read_only: bool = False) -> None:
        """Reads which features are there. Shards that do not match their names are moved aside, or passed over."""
        self.shards, self._index = [], None
        if self.path.is_dir():
            verified = Verified(self.path)
            for path in sorted(self.path.glob(f"[!.]*{SUFFIX}")):
                with contextlib.suppress(FileNotFoundError):  # another process moved it aside
                    self._open_shard(path, verified, read_only)
            if self.shards and not read_only:
                verified.save()

    def locate(self, ids: Ids) -> tuple[Rows, Rows]:
        """Returns (shard number, row) of each identity, int64 [n] both; -1 where it is not there."""
        if self._index is None:
            self._index = _Index([shard.keys for shard in self.shards])
        return self._index.locate(ids)

    def add(self, keys: Ids, features: NDArray[Any], metadata: dict[str, str]) -> None:
        """Writes one more shard and opens it."""
        self._create()
        path = write_shard(self.path, keys, features, metadata)
        verified = Verified(self.path)
        verified.add(path)
        verified.save()
        if all(shard.path != path for shard in self.shards):
            self.shards.append(open_shard(path))
            self._index = None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for writing, so that two processes do not do the same work.

        The lock is advice only: work goes on without it where the file system knows no locks, and beside a holder
        that has written nothing for ten minutes.
        """
        self._create()
        remove_leftovers(self.path)
        lock = filelock.FileLock(self.path / ".lock")
        try:
            self._wait_for(lock)
        except (OSError, NotImplementedError) as error:
            _log.debug("No lock on %s: %s", self.path, error)
        try:
            yield
        finally:
            lock.release()

    def _wait_for(self, lock: filelock.BaseFileLock) -> None:
        """Acquires the lock, saying so where that takes long; gives up on a holder that gets nowhere."""
        with contextlib.suppress(filelock.Timeout):
            lock.acquire(timeout=2)
            return
        _log.warning("Waiting for another process that computes the same features in %s", self.path)
        written = -1
        while written != (written := len(list(self.path.glob(f"[!.]*{SUFFIX}")))):
            with contextlib.suppress(filelock.Timeout):
                lock.acquire(timeout=_LOCK_SECONDS)
                return
        _log.warning("It has written nothing for %d s; working beside it.", _LOCK_SECONDS)

    def _create(self) -> None:
        make_folder(self.path)
        if not (self.path / "spec.json").exists():
            write_bytes(self.path / "spec.json", json.dumps(self.spec.to_json(), indent=2).encode())

    def _open_shard(self, path: Path, verified: Verified, read_only: bool) -> None:
        try:
            if not verified.check(path):
                raise IntegrityError(f"{path} does not match its name")
            shard = open_shard(path)
            if shard.features.shape[1:] != self.spec.shape or shard.features.dtype != self.spec.dtype:
                raise IntegrityError(f"{path} holds features of another shape")
        except IntegrityError as error:
            _log.warning("Damaged shard, its features will be computed again: %s", error)
            if not read_only:
                with contextlib.suppress(OSError):  # on a disk that cannot be written it is passed over
                    path.replace(path.with_suffix(".corrupt"))
            return
        self.shards.append(shard)


class _Index:
    """Finds rows by identity in several arrays of keys at once; the first of several equal keys wins."""

    def __init__(self, keys: Sequence[Ids]) -> None:
        self._keys = _sortable(np.concatenate([np.empty((0, 32), np.uint8), *keys]))
        self._order = np.argsort(self._keys, kind="stable")
        self._sorted = self._keys[self._order]
        counts = [len(each) for each in keys]
        self._shard = np.repeat(np.arange(len(counts)), counts)
        self._row = np.concatenate([np.empty(0, np.int64), *(np.arange(count) for count in counts)])

    def locate(self, ids: Ids) -> tuple[Rows, Rows]:
        wanted = _sortable(ids)
        place = np.searchsorted(self._sorted, wanted)
        found = np.zeros(len(wanted), bool)
        inside = place < len(self._sorted)
        found[inside] = self._sorted[place[inside]] == wanted[inside]
        shard, row = np.full(len(wanted), -1), np.full(len(wanted), -1)
        at = self._order[place[found]]
        shard[found], row[found] = self._shard[at], self._row[at]
        return shard, row


def _sortable(ids: Ids) -> NDArray[np.bytes_]:
    """Returns identities as 32-byte strings, which NumPy sorts and compares whole."""
    return np.ascontiguousarray(ids).view("S32").reshape(len(ids))
