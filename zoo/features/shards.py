"""Shards: immutable files of features, each named by the sha256 of its bytes.

A shard is a safetensors file with the tensors `keys` (uint8 [n, 32]) and `features` ([n, ...]). It is read through
`numpy.memmap`, which takes index arrays. Nothing here knows whose features they are.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from zoo.data import Ids
from zoo.errors import DiskError, IntegrityError
from zoo.files import sha256_of, write_bytes

SUFFIX = ".safetensors"
_MAX_HEADER = 1_000_000
_MOST_MAPPED = 128
_VERIFIED = "verified.json"
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "U8": "|u1", "I64": "<i8", "I32": "<i4"}


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies in a file: `array` maps it into memory, for a while.

    A mapping holds a file descriptor, and a large cache has more shards than a process may have files open; so only
    the last ones used stay mapped.
    """

    path: Path
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    stamp: tuple[int, ...]  # of the file: one that took its place is another

    @property
    def array(self) -> NDArray[Any]:
        """The tensor, read-only."""
        return _mapped(self)


@dataclass(frozen=True)
class Shard:
    """One open shard: `keys` uint8 [n, 32], and where its features [n, ...] lie."""

    path: Path
    keys: Ids
    features: Stored


def write_shard(folder: Path, keys: Ids, features: NDArray[Any], metadata: dict[str, str]) -> Path:
    """Writes one shard into `folder`, wholly or not at all, and returns its path.

    Raises:
        DiskError: There is no room, or no permission; nothing is left behind.
    """
    tensors = {"keys": np.ascontiguousarray(keys), "features": np.ascontiguousarray(features)}
    data = save(tensors, metadata)
    return write_bytes(folder / f"{hashlib.sha256(data).hexdigest()}{SUFFIX}", data)


def open_shard(path: Path) -> Shard:
    """Returns the shard at `path`, mapped into memory.

    Raises:
        IntegrityError: It is no shard: cut short, or with another layout.
    """
    layout = shard_layout(path)
    with path.open("rb") as file:
        file.seek(layout.keys.offset)
        keys = np.fromfile(file, np.uint8, math.prod(layout.keys.shape))
    if keys.size != math.prod(layout.keys.shape):
        raise IntegrityError(f"{path} was cut short while it was read.")
    return Shard(path, keys.reshape(layout.keys.shape), layout.features)


@dataclass(frozen=True)
class ShardLayout:
    """Where the tensors of a shard lie in its file, and what its writer said of it."""

    keys: Stored
    features: Stored
    metadata: dict[str, str]


def shard_layout(path: Path) -> ShardLayout:
    """Returns what the header of the shard at `path` says; nothing else of it is read.

    Raises:
        IntegrityError: It is no shard: cut short, or with another layout.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        size = status.st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise IntegrityError(f"{path} is no safetensors file: its header would have {length} of {size} bytes.")
        try:
            header = json.loads(file.read(length))
            keys, features = (_stored(path, header[name], 8 + length, status) for name in ("keys", "features"))
            metadata = {str(name): str(text) for name, text in header.get("__metadata__", {}).items()}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise IntegrityError(f"{path} is no shard of features: {error!r}.") from error
    if keys.dtype != np.uint8 or keys.shape[1:] != (32,) or keys.shape[:1] != features.shape[:1]:
        raise IntegrityError(f"{path}: expected keys uint8 [n, 32] and features [n, ...].")
    return ShardLayout(keys, features, metadata)


def _stored(path: Path, entry: dict[str, Any], start: int, status: os.stat_result) -> Stored:
    size = status.st_size
    dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if any(not isinstance(number, int) or number < 0 for number in (*shape, begin, end)):
        raise ValueError("negative sizes")
    if end - begin != dtype.itemsize * math.prod(shape) or start + end > size:
        raise ValueError(f"{size} bytes are too few for a tensor {list(shape)} that ends at {start + end}")
    return Stored(path, dtype, start + begin, shape, (size, status.st_mtime_ns, status.st_ino))


@functools.lru_cache(maxsize=_MOST_MAPPED)
def _mapped(stored: Stored) -> NDArray[Any]:
    if not math.prod(stored.shape):
        return np.empty(stored.shape, stored.dtype)
    try:
        return np.memmap(stored.path, stored.dtype, mode="r", offset=stored.offset, shape=stored.shape)
    except (FileNotFoundError, ValueError) as error:
        raise IntegrityError(
            f"Features were removed or cut short while they were in use: {stored.path}. "
            "Ask for them again: what is missing is computed anew."
        ) from error


class Verified:
    """Remembers, by size and modification time, which shards of a folder were found to match their names."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _VERIFIED
        self._known: dict[str, list[int]] = {}
        try:
            known = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return
        self._known = known if isinstance(known, dict) else {}

    def check(self, path: Path) -> bool:
        """Returns whether the shard's bytes match its name, reading them only where it is new or has changed."""
        stamp = _stamp(path)
        if self._known.get(path.name) == stamp:
            return True
        good = sha256_of(path) == path.name.removesuffix(SUFFIX)
        if good:
            self._known[path.name] = stamp
        return good

    def add(self, path: Path) -> None:
        """Remembers a shard that this process has just written."""
        self._known[path.name] = _stamp(path)

    def forget(self, path: Path) -> None:
        """Has the shard read again before it is trusted."""
        self._known.pop(path.name, None)

    def save(self) -> None:
        """Writes what is known; losing it costs only time."""
        data = json.dumps(self._known).encode()
        try:
            unchanged = self._path.read_bytes() == data
        except OSError:
            unchanged = False
        if not unchanged:
            with contextlib.suppress(DiskError):  # a cache may be read on a full or read-only disk
                write_bytes(self._path, data)


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
