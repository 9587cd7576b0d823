"""Takes over another machine's features. Nothing there is trusted: names and bytes are checked, no link is followed."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from zoo.errors import IntegrityError, NotFoundError, UsageError
from zoo.features.entries import is_key, is_shard
from zoo.features.leases import Lease
from zoo.features.shards import SUFFIX, shard_layout
from zoo.features.spec import read_spec
from zoo.files import make_folder, open_regular, write_bytes, write_whole

_PIECE = 1 << 20
_MOST = 64 << 30  # a shard is written at 64 MiB; more than this is none


@dataclass(frozen=True)
class Merged:
    """What became of one file of another feature cache: `taken`, `there already`, or `refused`, and why."""

    key: str
    path: Path
    bytes: int
    state: str
    reason: str = ""


def merge_features(root: Path, other: Path, *, dry_run: bool = False) -> list[Merged]:
    """Takes over the shards of another feature cache, and returns what became of each.

    Args:
        root: The folder of all features here.
        other: Such a folder of another machine, or the `$ZOO_HOME` that holds it.
        dry_run: Take nothing.

    Raises:
        NotFoundError: There are no features at `other`.
        UsageError: It is this machine's own.
        DiskError: A shard cannot be written; those before stay.
    """
    other = other / "features" if (other / "features").is_dir() else other
    if not other.is_dir():
        raise NotFoundError(f"Expected a features folder, or a ZOO_HOME that has one; there is none at {other}.")
    if root.exists() and root.samefile(other):
        raise UsageError(f"{other} is this machine's own feature cache; there is nothing to merge.")
    with os.scandir(other) as entries:
        keys = sorted(each.name for each in entries if is_key(each.name) and each.is_dir(follow_symlinks=False))
    if not keys:
        raise NotFoundError(f"Expected a features folder, or a ZOO_HOME that has one; no features are in {other}.")
    return [merged for key in keys for merged in _merge(root / key, other / key, dry_run)]


def _merge(folder: Path, other: Path, dry_run: bool) -> list[Merged]:
    try:
        spec = read_spec(other)
    except IntegrityError as error:
        return [Merged(other.name, other, 0, "refused", str(error))]
    with os.scandir(other) as entries:
        names = sorted(each.name for each in entries if is_shard(each.name))
    if dry_run:
        return [_taken(folder, other / name, spec, dry_run) for name in names]
    make_folder(folder)
    with Lease(folder):
        make_folder(folder)
        if names and not (folder / "spec.json").exists():
            write_bytes(folder / "spec.json", json.dumps(spec, indent=2).encode())
        return [_taken(folder, other / name, spec, dry_run) for name in names]


def _taken(folder: Path, path: Path, spec: dict[str, Any], dry_run: bool) -> Merged:
    size = 0
    try:
        with open_regular(path) as source:
            size = os.fstat(source.fileno()).st_size
            if size > _MOST:
                raise IntegrityError("it is larger than any shard")
            if os.path.lexists(folder / path.name):
                return Merged(folder.name, path, size, "there already")
            if not dry_run:
                write_whole(folder / path.name, lambda target: _copy(source, target, path.name, size, spec))
    except IntegrityError as error:
        return Merged(folder.name, path, size, "refused", str(error))
    except OSError as error:
        if error.filename != str(path):
            raise
        return Merged(folder.name, path, size, "refused", error.strerror or str(error))
    return Merged(folder.name, path, size, "taken")


def _copy(source: IO[bytes], target: IO[bytes], name: str, size: int, spec: dict[str, Any]) -> None:
    """Copies a shard, and refuses it before it gets its name where it is not what that says."""
    digest, left = hashlib.sha256(), size
    while left and (piece := source.read(min(_PIECE, left))):
        digest.update(piece)
        target.write(piece)
        left -= len(piece)
    if digest.hexdigest() != name.removesuffix(SUFFIX):
        raise IntegrityError("its bytes do not match its name")
    target.flush()
    features = shard_layout(Path(target.name)).features
    if list(features.shape[1:]) != spec.get("shape") or str(features.dtype) != spec.get("dtype"):
        raise IntegrityError("it holds features of another shape or dtype than its folder says")
