"""Whether what is kept is what its name says, found by reading every byte of it."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import IntegrityError
from zoo.features.converted import list_trunks, wanted_sha256
from zoo.features.entries import FeatureEntry, find_features, list_features
from zoo.features.shards import SUFFIX, Verified, shard_layout
from zoo.files import disk_errors, sha256_of
from zoo.progress import Progress, Silent


@dataclass(frozen=True)
class ShardFinding:
    """Whether a shard, or a converted trunk, is what its name says.

    Attributes:
        key: Of the features, or of the trunk.
        path: The file.
        bytes: Its size.
        state: `whole` or `damaged`.
        moved_to: Where it was moved to, if it is damaged.
    """

    key: str
    path: Path
    bytes: int
    state: str
    moved_to: Path | None = None


def verify_features(root: Path, keys: Sequence[str] = (), *, progress: Progress | None = None) -> list[ShardFinding]:
    """Returns whether each shard is what its name says, after reading all of it; damaged ones are moved aside.

    Args:
        root: The folder of all features.
        keys: Which entries; none: all, and the converted trunks beside them.
        progress: Told about every byte.
    """
    entries = find_features(root, keys) if keys else list_features(root)
    trunks = [] if keys else list_trunks(root)
    told = progress or Silent()
    told.start(sum(each.bytes for each in entries) + sum(each.bytes for each in trunks), "B")
    try:
        findings = [finding for entry in entries for finding in _shards(entry, told)]
        return findings + [
            finding for trunk in trunks for path in trunk.paths for finding in _trunk(trunk.key, path, told)
        ]
    finally:
        told.close()


def _shards(entry: FeatureEntry, progress: Progress) -> Iterator[ShardFinding]:
    verified = Verified(entry.path)
    for path in sorted(entry.path.glob(f"[!.]*{SUFFIX}")):
        try:
            status = path.lstat()
            verified.forget(path)
            if stat.S_ISREG(status.st_mode) and verified.check(path) and shard_layout(path):
                yield ShardFinding(entry.key, path, status.st_size, "whole")
            else:
                yield _aside(entry.key, path, status.st_size)
        except FileNotFoundError:
            continue
        except IntegrityError:
            verified.forget(path)
            yield _aside(entry.key, path, status.st_size)
        progress.advance(status.st_size)
    verified.save()


def _trunk(key: str, path: Path, progress: Progress) -> Iterator[ShardFinding]:
    wanted = wanted_sha256(path)
    if wanted is None:
        return
    try:
        size = path.lstat().st_size
        whole = sha256_of(path) == wanted
    except FileNotFoundError:
        return
    yield ShardFinding(key, path, size, "whole") if whole else _aside(key, path, size)
    progress.advance(size)


def _aside(key: str, path: Path, size: int) -> ShardFinding:
    with disk_errors(path, doing="move aside"):
        return ShardFinding(key, path, size, "damaged", path.replace(path.with_suffix(".corrupt")))
