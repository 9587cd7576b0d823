"""What the feature cache holds: every folder of features, found by reading folders alone."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import IntegrityError, NotFoundError
from zoo.features.leases import User, users
from zoo.features.shards import SUFFIX, shard_layout
from zoo.features.spec import read_spec
from zoo.features.usage import Usage, usage

_KEY = re.compile(r"[0-9a-f]{64}")


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


def list_features(root: Path) -> list[FeatureEntry]:
    """Returns what the feature cache below `root` holds, what was used last first."""
    found = [entry for path in _folders(root) if (entry := _entry(path)) is not None]
    return sorted(found, key=lambda entry: -entry.last_use)


def find_features(root: Path, keys: Sequence[str]) -> list[FeatureEntry]:
    """Returns the entries with these keys, of which a beginning that is unique is enough.

    Raises:
        NotFoundError: There is none, or more than one, that begins so.
    """
    kept = [path.name for path in _folders(root)]
    found = {key: _entry(root / key) for key in dict.fromkeys(_whole_key(kept, key) for key in keys)}
    for key, entry in found.items():
        if entry is None:
            raise NotFoundError(f"Features {key[:12]} were removed just now, or cannot be read: {root / key}")
    return [entry for entry in found.values() if entry is not None]


def in_use_message(entry: FeatureEntry) -> str:
    """Returns who uses an entry, in a sentence."""
    who = ", ".join(dict.fromkeys(map(str, entry.users))) or "another process"
    return f"Features {entry.key[:12]} ({named(entry)}) are in use by {who}."


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
        files = files_in(path)
        written = path.stat().st_mtime
    except OSError:
        return None
    try:
        spec = read_spec(path)
    except IntegrityError:
        spec = {}
    shards = [name for name, each in files.items() if is_shard(name) and stat.S_ISREG(each.st_mode)]
    written = max((files[name].st_mtime for name in shards), default=written)
    rows, versions = 0, dict[str, set[str]]()
    for name in shards:
        with contextlib.suppress(OSError, IntegrityError):
            layout = shard_layout(path / name)
            rows += layout.keys.shape[0]
            for library, number in layout.metadata.items():
                versions.setdefault(library, set()).add(number)
    used = usage(path)
    return FeatureEntry(
        path.name, path, spec, len(shards), rows,
        bytes=sum(each.st_size for each in files.values()),
        leftover=sum(each.st_size for name, each in files.items() if is_leftover(name)),
        usage=used,
        last_use=written if used.last is None else used.last,
        users=tuple(users(path)),
        versions={library: tuple(sorted(numbers)) for library, numbers in sorted(versions.items())},
    )  # fmt: skip


def files_in(path: Path) -> dict[str, os.stat_result]:
    """Returns the files in a folder, and what the system says of each."""
    found = {}
    with os.scandir(path) as entries:
        for each in entries:
            with contextlib.suppress(FileNotFoundError):
                found[each.name] = each.stat(follow_symlinks=False)
    return found


def is_leftover(name: str) -> bool:
    """Returns whether a file is of no use: one that was never finished, or a damaged shard that was moved aside."""
    return (name.startswith(".") and name.endswith(".tmp")) or name.endswith(".corrupt")


def _whole_key(kept: Sequence[str], key: str) -> str:
    found = [each for each in kept if key and each.startswith(key)]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFoundError(f"{len(found)} keys begin with {key!r}: {_some(found)}. Give more of the one you mean.")
    near = difflib.get_close_matches(key[:12], [each[:12] for each in kept], 3, 0.3)
    hint = f" The nearest: {', '.join(near)}." if near else ""
    raise NotFoundError(f"No features are kept under {key!r}.{hint} See all of them: zoo cache list")


def _some(keys: Sequence[str]) -> str:
    return ", ".join(key[:16] for key in keys[:4]) + (", ..." if len(keys) > 4 else "")


def named(entry: FeatureEntry) -> str:
    """Returns whose features an entry holds, for people."""
    return f"{entry.spec['model']} at unit {entry.spec.get('unit')}" if "model" in entry.spec else "an unknown model"
