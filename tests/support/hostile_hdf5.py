"""HDF5 files as h5py writes none: chunks packed by hand, bytes changed afterwards; and a file that nobody may read."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

MIB = 1 << 20
PAST = 1_000_000_000  # seconds; a time of access that only reading changes


def written(path: Path, fill: Callable[[h5py.File], Any], **options: Any) -> Path:
    """Writes a file through `fill(file)`, and returns `path`."""
    with h5py.File(path, "w", **options) as file:
        fill(file)
    return path


def patched(path: Path, old: bytes, new: bytes, count: int | None = None) -> Path:
    """Changes bytes that stand in a file, `count` times where it is told; v1 object headers have no checksum."""
    data = path.read_bytes()
    assert len(old) == len(new)
    found = data.count(old)
    assert found == count if count is not None else found > 0, f"{old!r} stands there {found} times"
    path.write_bytes(data.replace(old, new))
    return path


def packed_chunks(
    file: h5py.File, name: str, shape: tuple[int, ...], chunk: tuple[int, ...], packed: bytes, **options: Any
) -> None:
    """Writes a data set of bytes, every chunk of which is `packed` in the file."""
    options = {"compression": "gzip", **options}
    dataset = file.create_dataset(name, shape=shape, chunks=chunk, dtype="u1", **options)
    for start in range(0, shape[0], chunk[0]):
        dataset.id.write_direct_chunk((start, *(0 for _ in shape[1:])), packed)


def deflated_zeros(size: int) -> bytes:
    """Returns `size` zero bytes, compressed a piece at a time."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB)) + packer.flush()


def with_filter(file: h5py.File, name: str, number: int, flags: int) -> None:
    """Writes an empty chunked data set with a filter that is not installed, for which it must be optional."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((10,))
    properties.set_filter(number, flags, ())
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((10,)), properties)


def one_text_many_times(path: Path, times: int, size: int) -> Path:
    """Writes an attribute of `times` texts, all of which are one text of `size` bytes in the file's heap."""
    texts = ["x" * size, *(f"text {number}" for number in range(times - 1))]
    written(path, lambda file: file.attrs.create("texts", texts, dtype=h5py.string_dtype()))
    data = path.read_bytes()
    at = data.index(struct.pack("<I", size), data.index(b"texts\0"))
    first = data[at : at + 16]  # length, address of the heap, index in it
    return path_with(path, data[:at] + first * times + data[at + 16 * times :])


def one_place_many_times(path: Path, times: int, size: int) -> Path:
    """Writes `times` data sets of `size` bytes that all lie in one place, the last of the file."""
    with h5py.File(path, "w", libver="earliest") as file:
        for number in range(times):
            file.create_dataset(f"d{number}", shape=(size,), dtype="u1")
        file.flush()
        for number in range(times):
            file[f"d{number}"][:] = np.full(size, 1, "u1")
        places = [file[f"d{number}"].id.get_offset() for number in range(times)]
    data = path.read_bytes()
    first, end = min(places), len(data)
    assert data.index(bytes([1]) * size) == first
    for place in places:
        data = data.replace(struct.pack("<QQ", place, size), struct.pack("<QQ", first, size))
    data = data[: first + size].replace(struct.pack("<Q", end), struct.pack("<Q", first + size), 1)
    return path_with(path, data)


def path_with(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


class Canary:
    """A file that nobody may read: an existing one, or one with a secret in it. Its time of access tells."""

    secret = "root:x:0:0:canary"

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_text(f"{self.secret}\n" * 16)
        os.utime(path, (PAST, PAST))

    def was_read(self) -> bool:
        return self.path.stat().st_atime != PAST
