"""What the feature cache holds, whether it is whole, and how it gets smaller. It needs no model and no TensorFlow."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import BusyError, IntegrityError, NotFoundError, UsageError
from zoo.features.leases import User, is_lease, users
from zoo.features.shards import SUFFIX, Verified, shard_layout
from zoo.features.usage import Usage, usage
from zoo.files import disk_errors
from zoo.progress import Progress, Silent

_KEY = re.compile(r"[0-9a-f]{64}")
_MOST_SPEC = 1 << 20
_REMOVED = ".removed."
_GIVEN_UP = 3600.0  # a removal that broke so long ago (s) is not going on any more
_FOR_PEOPLE = ("model", "unit", "unit_name", "shape")


@dataclass(frozen=True)
class FeatureEntry:
    """What the feature cache holds under one key.

    Attributes:
        key: The name of its folder.
        path: The folder.
        spec: What these features are, as spec.json says; empty where that cannot be read.
        shards: How many files of features there are.
        rows: How many examples' features these hold.
        bytes: The room that all its files take.
        leftover: How much of that is of no use: what killed processes left, and damaged shards.
        usage: How often it was asked for.
        last_use: When it was last asked for or written (s since 1970).
        users: The processes that use it now.
        versions: What wrote the shards: for each library, its versions.
    """

    key: str
    path: Path
    spec: Mapping[str, Any]
    shards: int
    rows: int
    bytes: int
    leftover: int
    usage: Usage
    last_use: float
    users: tuple[User, ...]
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


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


@dataclass(frozen=True)
class ShardFinding:
    """Whether a shard is what its name says: `whole` or `damaged`, in which case it was moved to `moved_to`."""

    key: str
    path: Path
    bytes: int
    state: str
    moved_to: Path | None = None


def list_features(root: Path) -> list[FeatureEntry]:
    """Returns what the feature cache below `root` holds, what was used last first."""
    found = [entry for path in _folders(root) if (entry := _entry(path)) is not None]
    return sorted(found, key=lambda entry: -entry.last_use)


def find_features(root: Path, keys: Sequence[str]) -> list[FeatureEntry]:
    """Returns the entries with these keys, of which a beginning that is unique is enough.

    Raises:
        NotFoundError: There is none, or more than one, that begins so.
    """
    entries = {entry.key: entry for entry in list_features(root)}
    return [entries[key] for key in dict.fromkeys(_whole_key(entries, key) for key in keys)]


def verify_features(root: Path, keys: Sequence[str] = (), *, progress: Progress | None = None) -> list[ShardFinding]:
    """Returns whether each shard is what its name says, after reading all of it; damaged ones are moved aside.

    Args:
        root: The folder of all features.
        keys: Which entries; none: all.
        progress: Told about every byte.
    """
    entries = find_features(root, keys) if keys else list_features(root)
    told = progress or Silent()
    told.start(sum(entry.bytes for entry in entries), "B")
    try:
        return [finding for entry in entries for finding in _verified(entry, told)]
    finally:
        told.close()


def prune_features(
    root: Path, max_bytes: float | None = None, *, older_than: float | None = None, dry_run: bool = False
) -> Pruning:
    """Removes what is of no use, then what was not used for longest, and never what a process uses.

    Args:
        root: The folder of all features.
        max_bytes: How much may stay; None: any amount.
        older_than: Also what was not used for so long (s); None: nothing for its age.
        dry_run: Only say what would go.
    """
    entries = list_features(root)
    removed: list[FeatureRemoval] = list(_broken_removals(root, dry_run))
    free = [entry for entry in entries if not entry.users]
    held = [entry for entry in entries if entry.users]
    left = sum(entry.bytes for entry in entries)
    for entry in free:
        for removal in _leftovers(entry, dry_run):
            removed.append(removal)
            left -= removal.bytes
    now, busy = time.time(), list[FeatureEntry]()
    for entry in sorted(entries, key=lambda entry: entry.last_use):
        old = older_than is not None and now - entry.last_use > older_than
        if (not entry.shards and not entry.users) or old or (max_bytes is not None and left > max_bytes):
            if entry in held or not (dry_run or _removed(root, entry)):
                busy.append(entry)
                continue
            useful = entry.bytes - entry.leftover
            removed.append(FeatureRemoval(entry.key, f"features of {_named(entry)}", entry.path, useful))
            left -= useful
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
    busy = [entry for entry in entries if entry.users]
    if busy and not everything:
        raise BusyError(in_use_message(busy[0]) + " Wait for it, or end it.")
    gone = [entry for entry in entries if not entry.users and (dry_run or _removed(root, entry))]
    busy = [entry for entry in entries if entry not in gone]
    if busy and not everything:
        raise BusyError(f"Features {busy[0].key[:12]} were taken into use just now. Wait for that process, or end it.")
    removed = [FeatureRemoval(each.key, f"features of {_named(each)}", each.path, each.bytes) for each in gone]
    return Pruning(tuple(removed), tuple(busy), sum(entry.bytes for entry in busy))


def in_use_message(entry: FeatureEntry) -> str:
    """Returns who uses an entry, in a sentence."""
    who = ", ".join(map(str, entry.users)) or "another process"
    return f"Features {entry.key[:12]} ({_named(entry)}) are in use by {who}."


def spec_key(record: Mapping[str, Any]) -> str:
    """Returns the key that features with this spec.json belong under."""
    counted = {name: value for name, value in record.items() if name not in _FOR_PEOPLE}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


def read_spec(folder: Path) -> dict[str, Any]:
    """Returns a folder's spec.json.

    Raises:
        IntegrityError: It cannot be read, is a link, or is not what the folder's name says.
    """
    path = folder / "spec.json"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("no regular file")
            data = file.read(_MOST_SPEC + 1)
        if len(data) > _MOST_SPEC:
            raise ValueError(f"more than {_MOST_SPEC} bytes")
        record = json.loads(data)
        if not isinstance(record, dict) or spec_key(record) != folder.name:
            raise ValueError("it does not belong to the key that its folder is named by")
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} is no description of these features: {error}.") from error
    return record


def is_key(name: str) -> bool:
    """Returns whether a name is one of a folder of features."""
    return _KEY.fullmatch(name) is not None


def is_shard(name: str) -> bool:
    """Returns whether a name is one of a shard."""
    return name.endswith(SUFFIX) and is_key(name.removesuffix(SUFFIX))


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return sorted(
                root / each.name for each in entries if is_key(each.name) and each.is_dir(follow_symlinks=False)
            )
    except FileNotFoundError:
        return []


def _entry(path: Path) -> FeatureEntry | None:
    """Returns what a folder holds; None where it went away meanwhile."""
    try:
        files = _files(path)
        written = max((each.st_mtime for name, each in files.items() if is_shard(name)), default=path.stat().st_mtime)
    except OSError:
        return None
    try:
        spec = read_spec(path)
    except IntegrityError:
        spec = {}
    rows, versions = 0, dict[str, set[str]]()
    for name in filter(is_shard, files):
        with contextlib.suppress(OSError, IntegrityError):
            layout = shard_layout(path / name)
            rows += layout.keys.shape[0]
            for library, number in layout.metadata.items():
                versions.setdefault(library, set()).add(number)
    used = usage(path)
    return FeatureEntry(
        path.name, path, spec, sum(map(is_shard, files)), rows,
        bytes=sum(each.st_size for each in files.values()),
        leftover=sum(each.st_size for name, each in files.items() if _is_leftover(name)),
        usage=used,
        last_use=written if used.last is None else used.last,
        users=tuple(users(path)),
        versions={library: tuple(sorted(numbers)) for library, numbers in sorted(versions.items())},
    )  # fmt: skip


def _files(path: Path) -> dict[str, os.stat_result]:
    found = {}
    with os.scandir(path) as entries:
        for each in entries:
            with contextlib.suppress(FileNotFoundError):
                found[each.name] = each.stat(follow_symlinks=False)
    return found


def _is_leftover(name: str) -> bool:
    return (name.startswith(".") and name.endswith(".tmp")) or name.endswith(".corrupt")


def _whole_key(entries: Mapping[str, FeatureEntry], key: str) -> str:
    found = [each for each in entries if key and each.startswith(key)]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFoundError(f"{len(found)} keys begin with {key!r}: {_some(found)}. Give more of the one you mean.")
    near = difflib.get_close_matches(key[:12], [each[:12] for each in entries], 3, 0.3)
    hint = f" The nearest: {', '.join(near)}." if near else ""
    raise NotFoundError(f"No features are kept under {key!r}.{hint} See all of them: zoo cache list")


def _some(keys: Sequence[str]) -> str:
    return ", ".join(key[:16] for key in keys[:4]) + (", ..." if len(keys) > 4 else "")


def _named(entry: FeatureEntry) -> str:
    return f"{entry.spec['model']} at unit {entry.spec.get('unit')}" if "model" in entry.spec else "an unknown model"


def _verified(entry: FeatureEntry, progress: Progress) -> Iterator[ShardFinding]:
    verified = Verified(entry.path)
    for path in sorted(each for each in entry.path.glob(f"[!.]*{SUFFIX}")):
        try:
            size = path.lstat().st_size
            verified.forget(path)
            if not path.is_symlink() and verified.check(path):
                shard_layout(path)
                yield ShardFinding(entry.key, path, size, "whole")
            else:
                yield _aside(entry, path, size)
        except FileNotFoundError:
            continue
        except IntegrityError:
            verified.forget(path)
            yield _aside(entry, path, size)
        progress.advance(size)
    verified.save()


def _aside(entry: FeatureEntry, path: Path, size: int) -> ShardFinding:
    with disk_errors(path, doing="move aside"):
        return ShardFinding(entry.key, path, size, "damaged", path.replace(path.with_suffix(".corrupt")))


def _leftovers(entry: FeatureEntry, dry_run: bool) -> Iterator[FeatureRemoval]:
    for name, status in _files(entry.path).items():
        path = entry.path / name
        if not _is_leftover(name) and not is_lease(path):
            continue
        if not dry_run and not users(entry.path):
            with disk_errors(path, doing="remove"):
                path.unlink(missing_ok=True)
        if _is_leftover(name):
            what = "damaged shard" if name.endswith(".corrupt") else "unfinished file"
            yield FeatureRemoval(entry.key, what, path, status.st_size)


def _broken_removals(root: Path, dry_run: bool) -> Iterable[FeatureRemoval]:
    for path in sorted(root.glob(f"{_REMOVED}*")):
        if path.is_symlink() or not path.is_dir() or time.time() - path.stat().st_ctime < _GIVEN_UP:
            continue
        size = sum(each.st_size for each in _files(path).values())
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
