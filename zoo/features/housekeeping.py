"""How the feature cache gets smaller: what is of no use goes, then what was not used for longest, and nothing in use.

The names of what else looks after the cache are here, too. None of it needs a model or TensorFlow.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import BusyError, UsageError
from zoo.features.converted import ConvertedTrunk, list_trunks, trunk_leftovers
from zoo.features.entries import (
    FeatureEntry,
    files_in,
    find_features,
    in_use_message,
    is_leftover,
    list_features,
    named,
)
from zoo.features.leases import is_lease, users
from zoo.features.verifying import ShardFinding, verify_features
from zoo.files import disk_errors

__all__ = [
    "FeatureEntry", "FeatureRemoval", "Pruning", "ShardFinding", "find_features", "in_use_message", "list_features",
    "list_trunks", "prune_features", "remove_features", "verify_features",
]  # fmt: skip

_REMOVED = ".removed."
_GIVEN_UP = 3600.0  # a removal that broke so long ago (s) is not going on any more


@dataclass(frozen=True)
class FeatureRemoval:
    """Something that is, or would be, removed from the feature cache: what, of which key, where, how many bytes."""

    key: str
    what: str
    path: Path
    bytes: int


@dataclass(frozen=True)
class Pruning:
    """What went, or would go; what stayed although it should go, for it is in use; and how many bytes are left."""

    removed: tuple[FeatureRemoval, ...]
    in_use: tuple[FeatureEntry, ...]
    left: int


def prune_features(
    root: Path, max_bytes: float | None = None, *, older_than: float | None = None, dry_run: bool = False
) -> Pruning:
    """Removes what is of no use, then what was not used for longest, and never what a process uses.

    Converted trunks count like features: they, too, cost only time.

    Args:
        root: The folder of all features.
        max_bytes: How much may stay; None: any amount.
        older_than: Also what was not used for so long (s); None: nothing for its age.
        dry_run: Only say what would go.
    """
    kept = _all_kept(root)
    left = sum(each.bytes for each in kept)
    removed = [*_broken_removals(root, dry_run), *_trunk_leftovers(root, dry_run)]
    for removal in [each for entry in kept if isinstance(entry, FeatureEntry) for each in _leftovers(entry, dry_run)]:
        removed.append(removal)
        left -= removal.bytes
    now, busy = time.time(), list[FeatureEntry]()
    for each in sorted(kept, key=lambda each: each.last_use):
        old = older_than is not None and now - each.last_use > older_than
        if not (old or _is_empty(each) or (max_bytes is not None and left > max_bytes)):
            continue
        if isinstance(each, ConvertedTrunk):
            removal = _trunk_removed(each, dry_run)
        elif not each.users and (dry_run or _removed(root, each)):
            removal = _of_entry(each, each.bytes - each.leftover)
        else:
            busy.append(each)
            continue
        removed.append(removal)
        left -= removal.bytes
    return Pruning(tuple(removed), tuple(busy), left)


def remove_features(
    root: Path, keys: Sequence[str] = (), *, everything: bool = False, dry_run: bool = False
) -> Pruning:
    """Removes entries of the feature cache.

    Args:
        root: The folder of all features.
        keys: Which; a unique beginning of each is enough.
        everything: All of them, but for those in use.
        dry_run: Only say what would go.

    Raises:
        NotFoundError: There is no such entry; nothing is removed.
        BusyError: A process uses one that was named; nothing is removed.
    """
    if everything == bool(keys):
        raise UsageError("Expected either keys or `everything` (--all).")
    entries = list_features(root) if everything else find_features(root, keys)
    left = sum(each.bytes for each in _all_kept(root))
    busy = [entry for entry in entries if entry.users]
    if busy and not everything:
        raise BusyError(in_use_message(busy[0]) + " Wait for it, or end it.")
    gone = [entry for entry in entries if not entry.users and (dry_run or _removed(root, entry))]
    busy = [entry for entry in entries if entry not in gone]
    if busy and not everything:
        raise BusyError(f"Features {busy[0].key[:12]} were taken into use just now. Wait for that process, or end it.")
    removed = [_of_entry(entry, entry.bytes) for entry in gone]
    return Pruning(tuple(removed), tuple(busy), left - sum(each.bytes for each in removed))


def _all_kept(root: Path) -> list[FeatureEntry | ConvertedTrunk]:
    return [*list_features(root), *list_trunks(root)]


def _is_empty(each: FeatureEntry | ConvertedTrunk) -> bool:
    return isinstance(each, FeatureEntry) and not each.shards and not each.users


def _of_entry(entry: FeatureEntry, size: int) -> FeatureRemoval:
    return FeatureRemoval(entry.key, f"features of {named(entry)}", entry.path, size)


def _leftovers(entry: FeatureEntry, dry_run: bool) -> Iterator[FeatureRemoval]:
    """Removes what is of no use in a folder that nobody uses; its files are listed before its users are."""
    files = files_in(entry.path) if entry.path.is_dir() else {}
    for name, status in files.items():
        path = entry.path / name
        if not (is_leftover(name) or is_lease(path)) or users(entry.path):
            continue
        if not dry_run:
            _unlink(path)
        if is_leftover(name):
            what = "damaged shard" if name.endswith(".corrupt") else "unfinished file"
            yield FeatureRemoval(entry.key, what, path, status.st_size)


def _trunk_leftovers(root: Path, dry_run: bool) -> Iterator[FeatureRemoval]:
    for path, size in trunk_leftovers(root):
        if not dry_run:
            _unlink(path)
        what = "damaged trunk" if path.suffix == ".corrupt" else "unfinished file"
        yield FeatureRemoval(path.name.lstrip(".").partition(".")[0], what, path, size)


def _trunk_removed(trunk: ConvertedTrunk, dry_run: bool) -> FeatureRemoval:
    for path in () if dry_run else trunk.paths:
        _unlink(path)
    return FeatureRemoval(trunk.key, "converted trunk", trunk.paths[0], trunk.bytes)


def _unlink(path: Path) -> None:
    with disk_errors(path, doing="remove"):
        path.unlink(missing_ok=True)


def _broken_removals(root: Path, dry_run: bool) -> Iterator[FeatureRemoval]:
    for path in sorted(root.glob(f"{_REMOVED}*")):
        if path.is_symlink() or not path.is_dir() or time.time() - path.stat().st_ctime < _GIVEN_UP:
            continue
        size = sum(each.st_size for each in files_in(path).values())
        if not dry_run:
            shutil.rmtree(path, ignore_errors=True)
        yield FeatureRemoval(path.name.split(".")[2], "removal that was broken off", path, size)


def _removed(root: Path, entry: FeatureEntry) -> bool:
    """Removes an entry, and returns whether that was right: one taken into use at this moment is put back.

    It is moved aside first, so that who comes now finds no half of it, and a lease taken just before is seen.
    """
    aside = root / f"{_REMOVED}{entry.key}.{os.getpid()}.{os.urandom(4).hex()}"
    with disk_errors(entry.path, doing="remove"):
        try:
            entry.path.rename(aside)
        except FileNotFoundError:
            return True
        if users(aside):
            _put_back(aside, entry.path)
            return False
        shutil.rmtree(aside)
        return True


def _put_back(aside: Path, path: Path) -> None:
    try:
        aside.rename(path)
    except OSError:  # its user has begun another already
        for each in aside.iterdir():
            each.rename(path / each.name)
        aside.rmdir()
