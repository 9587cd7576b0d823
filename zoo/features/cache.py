"""The feature cache: what a trunk puts out for an example, computed once, ever.

Layout: `$ZOO_HOME/features/<key>/spec.json` and `<sha256>.safetensors` shards beside it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.data import Examples, Ids, Rows, open_data
from zoo.errors import CutError, DataError, UsageError
from zoo.features.extraction import extract
from zoo.features.features import Features, FeatureStats
from zoo.features.folder import FeatureFolder
from zoo.features.keys import feature_spec
from zoo.files import zoo_home
from zoo.progress import Progress, Silent
from zoo.surgery import Trunk, whole_trunk

_DTYPES = ("float32", "float16")


class FeatureCache:
    """Features on disk, shared by every run and process on this machine.

    Args:
        home: The folder that holds `features/`; None: `$ZOO_HOME`.
        dtype: Storage dtype, `float32` or `float16`.
        shard_bytes: A shard is written when it holds this many bytes of features,
        shard_seconds: or when this much time (s) was spent on it: what a kill can cost.

    >>> import tempfile, numpy, keras
    >>> trunk = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    >>> with tempfile.TemporaryDirectory() as home:
    ...     features = FeatureCache(home).features(trunk, numpy.eye(8))
    ...     features.shape, features.stats.misses, FeatureCache(home).features(trunk, numpy.eye(8)).stats.misses
    ((8, 3), 8, 0)
    """

    def __init__(
        self,
        home: str | Path | None = None,
        *,
        dtype: str = "float32",
        shard_bytes: int = 64 << 20,
        shard_seconds: float = 15.0,
    ) -> None:
        if dtype not in _DTYPES:
            raise UsageError(f"Expected a storage dtype of {' or '.join(_DTYPES)}; got {dtype!r}.")
        self.root = Path(home or zoo_home()).expanduser() / "features"
        self.dtype = dtype
        self._shard_bytes = shard_bytes
        self._shard_seconds = shard_seconds

    def features(self, trunk: Trunk | keras.Model, examples: Any, *, progress: Progress | None = None) -> Features:
        """Returns the features of `examples`, computing only those that are not kept yet.

        Args:
            trunk: Of a `Surgery`, or a Keras model whose own output is wanted.
            examples: What `zoo.open_data` takes.
            progress: Told about every example computed.

        Raises:
            DataError: Examples do not fit the trunk, or a feature is not finite (after the cast to `dtype`).
            DiskError: A shard cannot be written; those written before stay.
        """
        (features,) = self.features_of_each([trunk], examples, progress=progress)
        return features

    def features_of_each(
        self, trunks: Sequence[Trunk | keras.Model], examples: Any, *, progress: Progress | None = None
    ) -> list[Features]:
        """Returns the features of `examples` for several cuts of one model, computed together in one pass.

        Args:
            trunks: Cuts of one trunk (`Trunk.at`).
            examples: As in `features`.
            progress: As in `features`.
        """
        began = time.perf_counter()
        opened = open_data(examples)
        cuts = [whole_trunk(trunk) if isinstance(trunk, keras.Model) else trunk for trunk in trunks]
        if any(cut.cuts[0] is not cuts[0].cuts[0] for cut in cuts):
            raise CutError("Expected cuts of one trunk (Trunk.at) to compute together; got trunks of several models.")
        deepest = max(cuts, key=lambda cut: cut.depth)
        digests = deepest.digests()
        folders = [self._folder(cut, digests, opened) for cut in cuts]
        computed = [0] * len(cuts)
        if any(len(self._missing(folder, opened)) for folder in folders):
            computed = self._fill(cuts, folders, digests, opened, progress or Silent())
        seconds = time.perf_counter() - began
        return [_collect(folder, opened, count, seconds) for folder, count in zip(folders, computed, strict=True)]

    def cached(self, trunk: Trunk, examples: Any) -> int:
        """Returns how many of `examples` have their features here already; computes nothing."""
        opened = open_data(examples)
        folder = self._folder(trunk, trunk.digests(), opened, read_only=True)
        shard, _ = folder.locate(opened.ids)
        return int((shard >= 0).sum())

    def _folder(
        self, trunk: Trunk, digests: Sequence[str], examples: Examples, *, read_only: bool = False
    ) -> FeatureFolder:
        spec = feature_spec(trunk, digests[trunk.depth], examples, self.dtype)
        folder = FeatureFolder(self.root, spec)
        folder.open(read_only=read_only)
        return folder

    def _missing(self, folder: FeatureFolder, examples: Examples) -> Rows:
        """Returns one row for each identity that `folder` has not."""
        shard, _ = folder.locate(examples.ids)
        rows = np.flatnonzero(shard < 0)
        _, first = np.unique(examples.ids[rows], axis=0, return_index=True)
        return rows[np.sort(first)]

    def _fill(
        self,
        trunks: Sequence[Trunk],
        folders: Sequence[FeatureFolder],
        digests: Sequence[str],
        examples: Examples,
        progress: Progress,
    ) -> list[int]:
        """Computes what is missing and returns how many examples that was for each trunk.

        Cuts that lack the same examples are computed together, from the deepest whole map that is kept.
        """
        computed = [0] * len(trunks)
        deepest = max(range(len(trunks)), key=lambda number: trunks[number].depth)
        with folders[deepest].lock():
            groups: dict[bytes, list[int]] = {}
            rows_of: dict[bytes, Rows] = {}
            for number, folder in enumerate(folders):
                folder.open()  # another process may have filled it while this one waited
                rows = self._missing(folder, examples)
                if len(rows):
                    computed[number] = len(rows)
                    groups.setdefault(rows.tobytes(), []).append(number)
                    rows_of[rows.tobytes()] = rows
            progress.start(sum(len(rows) for rows in rows_of.values()), "examples")
            try:
                for group, numbers in groups.items():
                    chosen = [trunks[number] for number in numbers]
                    targets = [folders[number] for number in numbers]
                    for part, start, below in self._starts(chosen, digests, examples, rows_of[group]):
                        self._compute(chosen, targets, examples, part, start, below, progress)
            finally:
                progress.close()
        return computed

    def _starts(
        self, trunks: Sequence[Trunk], digests: Sequence[str], examples: Examples, rows: Rows
    ) -> list[tuple[Rows, int, Features | None]]:
        """Returns from where to compute which rows: the deepest unit whose whole map is kept, or the examples."""
        plan: list[tuple[Rows, int, Features | None]] = []
        shallowest = min(trunks, key=lambda trunk: trunk.depth)
        for depth in range(shallowest.depth, 0, -1):
            map_trunk = shallowest.at(depth)
            if map_trunk.output is shallowest.output or None in map_trunk.output.shape[1:]:
                continue
            if map_trunk.output.dtype != "float32":  # what is stored has lost the rest
                continue
            folder = FeatureFolder(self.root, feature_spec(map_trunk, digests[depth], examples, "float32"))
            if not len(rows) or not folder.path.is_dir() or not all(each.starts_from(depth) for each in trunks):
                continue
            folder.open()
            there = folder.locate(examples.ids[rows])[0] >= 0
            if there.any():
                below = _collect(folder, examples, 0, 0.0, rows[there])
                plan.append((rows[there], depth, below))
                rows = rows[~there]
        return [*plan, (rows, 0, None)] if len(rows) else plan

    def _compute(
        self,
        trunks: Sequence[Trunk],
        folders: Sequence[FeatureFolder],
        examples: Examples,
        rows: Rows,
        start: int,
        below: Features | None,
        progress: Progress,
    ) -> None:
        began, kept_rows = time.monotonic(), []
        kept: list[list[NDArray[Any]]] = [[] for _ in trunks]
        size = 0
        for batch_rows, outputs in extract(trunks, examples, rows, start, below):
            kept_rows.append(batch_rows)
            for pile, output, trunk in zip(kept, outputs, trunks, strict=True):
                pile.append(self._stored(output, trunk))
            size += max(pile[-1].nbytes for pile in kept)
            if size >= self._shard_bytes or time.monotonic() - began >= self._shard_seconds:
                self._flush(folders, examples.ids[np.concatenate(kept_rows)], kept)
                began, size, kept_rows, kept = time.monotonic(), 0, [], [[] for _ in trunks]
            progress.advance(len(batch_rows))
        if kept_rows:
            self._flush(folders, examples.ids[np.concatenate(kept_rows)], kept)

    def _stored(self, output: NDArray[Any], trunk: Trunk) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            stored = output.astype(self.dtype)
        if not np.isfinite(stored).all():
            cause = "overflow float16; keep float32" if np.isfinite(output).all() else "are not finite"
            raise DataError(f"Features of {trunk.name} at unit {trunk.depth} ({trunk.unit_names[-1]}) {cause}.")
        return stored

    def _flush(self, folders: Sequence[FeatureFolder], ids: Ids, kept: Sequence[list[NDArray[Any]]]) -> None:
        versions = {name: version(name) for name in ("zoo-transfer", "keras", "tensorflow", "numpy")}
        for folder, pile in zip(folders, kept, strict=True):
            folder.add(ids, np.concatenate(pile), versions)


def _collect(
    folder: FeatureFolder, examples: Examples, misses: int, seconds: float, rows: Rows | None = None
) -> Features:
    ids = examples.ids if rows is None else examples.ids[rows]
    if not len(ids):
        raise DataError(f"Data {examples.name!r} has no examples.")
    shard, row = folder.locate(ids)
    size = len(ids) * int(np.prod(folder.spec.shape)) * np.dtype(folder.spec.dtype).itemsize
    stats = FeatureStats(len(ids) - misses, misses, seconds, size)
    return Features([each.features for each in folder.shards], shard, row, stats, folder.spec.key)
