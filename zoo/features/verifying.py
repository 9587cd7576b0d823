"""Whether what is kept is what its name says, found by reading every byte of it."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import IntegrityError
from zoo.features.converted import list_trunks, wanted_sha256
from zoo.features.entries import FeatureEntry, find_features, list_features
from zoo.features.shards import SUFFIX, Verified, shard_layout
from zoo.files import sha256_of
from zoo.progress import Progress, Silent


@dataclass(frozen=True)
class ShardFinding:
    """Whether a shard, or a converted trunk, is what its name says.

    Attributes:
        key: Of the features, or of the trunk.
        path: The file.
        bytes: Its size.
        state: `whole` or `damaged`.
        moved_to: Where it was moved to, if it is damaged, and the disk can be written.
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
    shards = [(entry, _sizes(entry.path.glob(f"[!.]*{SUFFIX}"))) for entry in entries]
    trunks = [] if keys else [(trunk.key, _sizes(filter(wanted_sha256, trunk.paths))) for trunk in list_trunks(root)]
    told = progress or Silent()
    told.start(sum(sum(sizes.values()) for _, sizes in (*shards, *trunks)), "bytes")
    try:
        findings = [finding for entry, sizes in shards for finding in _shards(entry, sizes, told)]
        return findings + [finding for key, sizes in trunks for finding in _trunks(key, sizes, told)]
    finally:
        told.close()


def _sizes(paths: Iterable[Path]) -> dict[Path, int]:
    sizes = {}
    for path in sorted(paths):
        with contextlib.suppress(FileNotFoundError):
            sizes[path] = path.lstat().st_size
    return sizes


def _shards(entry: FeatureEntry, sizes: Mapping[Path, int], progress: Progress) -> Iterator[ShardFinding]:
    verified = Verified(entry.path)
    for path, size in sizes.items():
        verified.forget(path)
        try:
            whole = stat.S_ISREG(path.lstat().st_mode) and verified.check(path) and shard_layout(path) is not None
        except FileNotFoundError:
            continue
        except IntegrityError:
            verified.forget(path)
            whole = False
        yield _finding(entry.key, path, size, whole)
        progress.advance(size)
    verified.save()


def _trunks(key: str, sizes: Mapping[Path, int], progress: Progress) -> Iterator[ShardFinding]:
    for path, size in sizes.items():
        with contextlib.suppress(FileNotFoundError):
            yield _finding(key, path, size, sha256_of(path) == wanted_sha256(path))
            progress.advance(size)


def _finding(key: str, path: Path, size: int, whole: bool) -> ShardFinding:
    if whole:
        return ShardFinding(key, path, size, "whole")
    try:
        return ShardFinding(key, path, size, "damaged", path.replace(path.with_suffix(".corrupt")))
    except OSError:  # on a disk that cannot be written it stays, and is passed over
        return ShardFinding(key, path, size, "damaged")
