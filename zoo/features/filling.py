"""Fills feature folders with what is missing in them: one pass over the examples for all cuts that lack the same."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data import Examples, Ids, Rows
from zoo.data.bad_files import BadFile
from zoo.data.reading import Change
from zoo.errors import DataError, ZooError
from zoo.features.engines.stored import library_version
from zoo.features.extraction import Extraction
from zoo.features.features import Features, FeatureStats
from zoo.features.folder import FeatureFolder
from zoo.features.keys import feature_spec
from zoo.features.leases import Lease
from zoo.progress import Progress
from zoo.surgery import Trunk


class Filling:
    """Computes the features that folders lack.

    Args:
        extraction: Who runs the trunks.
        trunks: Cuts of one trunk.
        folders: Where the features of each are kept.
        examples: Whose features are wanted.
        shard_bytes: A shard is written when it holds this many bytes,
        shard_seconds: or when this much time was spent on it.
        progress: Told about every example.

    Attributes:
        computed: How many examples were computed for each trunk.
        bad: What could not be read, by row.
    """

    def __init__(
        self,
        extraction: Extraction,
        trunks: Sequence[Trunk],
        folders: Sequence[FeatureFolder],
        examples: Examples,
        *,
        shard_bytes: int,
        shard_seconds: float,
        progress: Progress,
    ) -> None:
        self._extraction, self._trunks, self._folders, self._examples = extraction, trunks, folders, examples
        self._shard_bytes, self._shard_seconds, self._progress = shard_bytes, shard_seconds, progress
        self.computed = [0] * len(trunks)
        self.bad: dict[int, BadFile] = {}

    def missing(self, number: int, rows: Rows) -> Rows:
        """Returns one of `rows` for each identity that the folder of a trunk has not."""
        ids = self._examples.ids[rows]
        shard, _ = self._folders[number].locate(ids)
        lacking = np.flatnonzero(shard < 0)
        _, first = np.unique(ids[lacking], axis=0, return_index=True)
        return rows[lacking[np.sort(first)]]

    def run(self, rows: Rows, digests: Sequence[str], root: Path, change: Change | None = None) -> None:
        """Computes what is missing of `rows`, from the deepest whole map that is kept below `root`."""
        groups: dict[bytes, tuple[Rows, list[int]]] = {}
        deepest = max(range(len(self._trunks)), key=lambda number: self._trunks[number].depth)
        with self._folders[deepest].lock():
            for number, folder in enumerate(self._folders):
                folder.open()  # another process may have filled it while this one waited
                lacking = self.missing(number, rows)
                if len(lacking):
                    groups.setdefault(lacking.tobytes(), (lacking, []))[1].append(number)
            if not groups:
                return
            self._progress.start(sum(len(lacking) for lacking, _ in groups.values()), "examples")
            try:
                for lacking, numbers in groups.values():
                    for part, start, below in self._starts(numbers, digests, root, lacking):
                        self._compute(numbers, part, start, below, change)
                    if len(twins := self._twins(lacking, rows)):
                        self._compute(numbers, twins, 0, None, change)
            finally:
                self._progress.close()

    def _starts(
        self, numbers: Sequence[int], digests: Sequence[str], root: Path, rows: Rows
    ) -> list[tuple[Rows, int, Features | None]]:
        """Returns from where to compute which rows: the deepest unit whose whole map is kept, or the examples."""
        plan: list[tuple[Rows, int, Features | None]] = []
        trunks = [self._trunks[number] for number in numbers]
        wanted = self._folders[numbers[0]].spec
        shallowest = min(trunks, key=lambda trunk: trunk.depth)
        for depth in range(shallowest.depth, 0, -1):
            below = shallowest.at(depth)
            if below.output is shallowest.output or None in below.output.shape[1:]:
                continue
            if below.output.dtype != "float32":  # what is stored has lost the rest
                continue
            spec = feature_spec(below, digests[depth], self._examples, "float32", wanted.precision, wanted.view)
            folder = FeatureFolder(root, spec)
            if not len(rows) or not folder.path.is_dir() or not all(each.starts_from(depth) for each in trunks):
                continue
            lease = folder.lease()
            folder.open()
            there = folder.locate(self._examples.ids[rows])[0] >= 0
            if there.any():
                folder.record_use(int(there.sum()), 0)
                plan.append((rows[there], depth, collected(folder, self._examples.ids[rows[there]], lease)))
                rows = rows[~there]
        return [*plan, (rows, 0, None)] if len(rows) else plan

    def _compute(
        self, numbers: Sequence[int], rows: Rows, start: int, below: Features | None, change: Change | None
    ) -> None:
        folders = [self._folders[number] for number in numbers]
        trunks = [self._trunks[number] for number in numbers]
        shard = _Shard(folders, trunks)
        try:
            for batch in self._extraction.run(trunks, rows, start, below, change):
                self.bad.update(batch.bad)
                if len(batch.rows):
                    shard.add(self._examples.ids[batch.rows], batch.outputs)
                if shard.bytes >= self._shard_bytes or shard.seconds >= self._shard_seconds:
                    shard.write(self._extraction.engine)
                    shard = _Shard(folders, trunks)
                self._progress.advance(len(batch.rows) + len(batch.bad))
        except BaseException:  # an interruption too: what was computed is kept
            with contextlib.suppress(ZooError):
                shard.write(self._extraction.engine)
            raise
        shard.write(self._extraction.engine)
        for number in numbers:
            self.computed[number] += len(rows) - len(self.bad.keys() & set(rows.tolist()))

    def _twins(self, tried: Rows, rows: Rows) -> Rows:
        """Returns one other row with the same content for each that could not be read: it may lie in another file."""
        lost = np.array(sorted(self.bad.keys() & set(tried.tolist())), np.int64)
        others = np.setdiff1d(rows, tried)
        if not len(lost) or not len(others):
            return others[:0]
        keys = self._examples.ids[others].copy().view("S32").reshape(-1)
        wanted = self._examples.ids[lost].copy().view("S32").reshape(-1)
        others = others[np.isin(keys, wanted)]
        _, first = np.unique(self._examples.ids[others], axis=0, return_index=True)
        return others[np.sort(first)]


class _Shard:
    """One shard for each of several folders, while it grows."""

    def __init__(self, folders: Sequence[FeatureFolder], trunks: Sequence[Trunk]) -> None:
        self._folders, self._trunks = folders, trunks
        self._began = time.monotonic()
        self._ids: list[Ids] = []
        self._features: list[list[NDArray[Any]]] = [[] for _ in folders]
        self.bytes = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def add(self, ids: Ids, outputs: Sequence[NDArray[Any]]) -> None:
        pairs = zip(outputs, self._folders, self._trunks, strict=True)
        stored = [_stored(output, folder.spec.dtype, trunk) for output, folder, trunk in pairs]
        self._ids.append(ids)
        for pile, each in zip(self._features, stored, strict=True):
            pile.append(each)
        self.bytes += max(pile[-1].nbytes for pile in self._features)

    def write(self, engine: str | None) -> None:
        if not self._ids:
            return
        made_by = {"zoo-transfer": version("zoo-transfer")}
        made_by |= {name: library_version(name) for name in ("keras", "tensorflow", "numpy")}
        made_by["engine"] = f"{engine} {library_version(engine)}" if engine else ""
        ids = np.concatenate(self._ids)
        for folder, pile in zip(self._folders, self._features, strict=True):
            folder.add(ids, np.concatenate(pile), made_by)


def _stored(output: NDArray[Any], dtype: str, trunk: Trunk) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        stored = output.astype(dtype, copy=False)
    if not np.isfinite(stored).all():
        cause = "overflow float16; keep float32" if np.isfinite(output).all() else "are not finite"
        raise DataError(f"Features of {trunk.name} at unit {trunk.depth} ({trunk.unit_names[-1]}) {cause}.")
    return stored


def collected(folder: FeatureFolder, ids: Ids, lease: Lease) -> Features:
    """Returns the features of these identities, all of which the folder has, and which the lease holds."""
    shard, row = folder.locate(ids)
    stats = FeatureStats(len(ids), 0, 0.0, 0)
    return Features([each.features for each in folder.shards], shard, row, stats, "", leases=[lease])
