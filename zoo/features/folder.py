"""One folder of the feature cache: every whole shard in it, and where each example's row lies."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import filelock
from numpy.typing import NDArray

from zoo.data import Ids, Rows
from zoo.errors import IntegrityError
from zoo.features.index import Index
from zoo.features.leases import Lease
from zoo.features.shards import SUFFIX, Shard, Verified, open_shard, write_shard
from zoo.features.spec import FeatureSpec
from zoo.features.usage import record_use
from zoo.files import make_folder, remove_leftovers, write_bytes

_log = logging.getLogger("zoo")
_LOCK_SECONDS = 600
_READERS = min(4, os.cpu_count() or 1)


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
        self._index: Index | None = None

    def open(self, *, read_only: bool = False) -> None:
        """Reads which features are there. Shards that do not match their names are moved aside, or passed over."""
        self.shards, self._index = [], None
        if self.path.is_dir():
            verified = Verified(self.path)
            paths = sorted(self.path.glob(f"[!.]*{SUFFIX}"))
            with ThreadPoolExecutor(_READERS) as pool:  # hashing and reading let go of the interpreter
                shards = list(pool.map(lambda path: self._opened(path, verified, read_only), paths))
            self.shards = [shard for shard in shards if shard is not None]
            if self.shards and not read_only:
                verified.save()

    def lease(self) -> Lease:
        """Returns what holds these features against removal until it is closed, collected, or the process ends."""
        return Lease(self.path)

    def record_use(self, hits: int, misses: int) -> None:
        """Notes that features were asked for: how many were there, and how many not. It never fails."""
        if self.path.is_dir():
            record_use(self.path, hits, misses)

    def locate(self, ids: Ids) -> tuple[Rows, Rows]:
        """Returns (shard number, row) of each identity, int64 [n] both; -1 where it is not there."""
        if self._index is None:
            self._index = Index([shard.keys for shard in self.shards])
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
            with self.lease():
                self._create()  # it may have been removed while this process waited
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

    def _opened(self, path: Path, verified: Verified, read_only: bool) -> Shard | None:
        try:
            if not verified.check(path):
                raise IntegrityError(f"{path} does not match its name")
            shard = open_shard(path)
            if shard.features.shape[1:] != self.spec.shape or shard.features.dtype != self.spec.dtype:
                raise IntegrityError(f"{path} holds features of another shape")
        except FileNotFoundError:
            return None  # another process moved it aside
        except IntegrityError as error:
            _log.warning("Damaged shard, its features will be computed again: %s", error)
            if not read_only:
                with contextlib.suppress(OSError):  # on a disk that cannot be written it is passed over
                    path.replace(path.with_suffix(".corrupt"))
            return None
        return shard
