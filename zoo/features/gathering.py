"""Features of several versions of examples, gathered from their folders, without what could not be read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.data import Examples, Rows
from zoo.data.bad_files import BadFile
from zoo.errors import DataError
from zoo.features.extraction import Extraction
from zoo.features.features import Features, FeatureStats
from zoo.features.folder import FeatureFolder
from zoo.features.leases import Lease


@dataclass(frozen=True)
class Version:
    """The features of one version of some rows of the examples: where they are, and what it took.

    Attributes:
        folders: Of each cut.
        computed: How many were computed for each cut.
        bad: What could not be read, by row.
        rows: Which examples have this version.
        leases: What holds the folders.
    """

    folders: list[FeatureFolder]
    computed: list[int]
    bad: dict[int, BadFile]
    rows: Rows
    leases: list[Lease]


def gathered(
    examples: Examples, versions: Sequence[Version], number: int, seconds: float, extraction: Extraction
) -> Features:
    """Returns the features of several versions of examples at cut `number`, without what could not be read."""
    folders = [version.folders[number] for version in versions]
    places = [folder.locate(examples.ids) for folder in folders]
    lacking = np.zeros(len(examples), bool)
    for (shard, _), version in zip(places, versions, strict=True):
        lacking[version.rows[shard[version.rows] < 0]] = True
    bad = _judged(examples, np.flatnonzero(lacking), versions)
    kept = np.flatnonzero(~lacking)
    begins = np.cumsum([0, *(len(folder.shards) for folder in folders)])
    shards, rows = [], []
    for (shard, row), version, begin in zip(places, versions, begins, strict=False):
        own = np.isin(kept, version.rows)  # for the others the picture itself stands in
        shards.append(np.where(own, shard[kept] + begin, places[0][0][kept]))
        rows.append(np.where(own, row[kept], places[0][1][kept]))
    wanted = sum(int(np.isin(version.rows, kept).sum()) for version in versions)
    misses = sum(version.computed[number] for version in versions)
    spec = folders[0].spec
    size = wanted * math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
    laps = {name: extraction.laps.seconds.get(name, 0.0) for name in ("starting", "reading", "computing")}
    return Features(
        [shard.features for folder in folders for shard in folder.shards],
        np.concatenate(shards),
        np.concatenate(rows),
        FeatureStats(wanted - misses, misses, seconds, size, extraction.engine, **laps),
        spec.key,
        kept=np.tile(kept, len(versions)),
        labels=np.concatenate([examples.labels[kept]] * len(versions)),
        classes=examples.classes,
        bad=(*examples.bad, *bad),
        leases=[lease for version in versions for lease in version.leases],
    )


def _judged(examples: Examples, rows: Rows, versions: Sequence[Version]) -> list[BadFile]:
    """Returns what could not be read, twins included.

    Raises:
        DataError: That is all, or more than the examples' policy allows.
    """
    if not len(rows):
        return []
    unread = {row: bad for version in versions for row, bad in version.bad.items()}
    reasons = {examples.ids[row].tobytes(): bad.reason for row, bad in unread.items()}
    paths = examples.paths
    bad = [
        BadFile(paths[row] if paths else str(row), reasons.get(examples.ids[row].tobytes(), "it could not be read"))
        for row in rows.tolist()
    ]
    examples.policy.judge([*examples.bad, *bad], len(examples) + len(examples.bad), examples.name)
    if len(rows) == len(examples):
        raise DataError(f"No example of {examples.name!r} could be read; the first: {bad[0].path}: {bad[0].reason}")
    return bad
