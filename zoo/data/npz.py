"""Arrays in an `.npz` file. What is stored uncompressed is not loaded but mapped.

Nothing that is a pickle is ever opened, and no array is made before its header, the archive's list and the file's size
agree on how large it is.
Formats: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html; APPNOTE.TXT 4.3 of zip.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from zoo.errors import DataError, UnsafeFileError

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_MOST_PACKED = 1032  # times that deflate can shrink anything (zlib's technical details)
_SUSPICIOUS = 100  # times that hardly any data shrink
_ROOM = 1 << 30
_PIECE = 1 << 24


class NpzFile:
    """The arrays of an `.npz` file.

    Attributes:
        names: Of its arrays.

    Raises:
        DataError: It is no such file, or damaged.
        UnsafeFileError: It says one thing in one place and another elsewhere.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except Exception as error:  # whatever hostile bytes make of zipfile
            raise DataError(f"{path} is no .npz file, or damaged: {error or type(error).__name__}.") from error
        self._members = {each.filename.removesuffix(".npy"): each for each in members}
        if len(self._members) != len(members):
            raise UnsafeFileError(f"{path} holds two arrays of one name; make it anew with numpy.savez.")
        self.names = tuple(self._members)

    def array(self, name: str) -> NDArray[Any]:
        """Returns an array of numbers or text: mapped where it is stored as it is, and else unpacked.

        Raises:
            DataError: It is of another kind, damaged, or too large to unpack here.
            UnsafeFileError: It holds Python objects, or claims a size that it cannot have.
        """
        member = self._members[name]
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(member) as file:
                header = _read_header(file)
                self._check(name, member, header)
                if member.compress_type == zipfile.ZIP_STORED:
                    return self._mapped(name, member, header)
                return _unpacked(file, header)
        except (DataError, UnsafeFileError):
            raise
        except Exception as error:  # whatever hostile bytes make of zipfile and NumPy
            raise DataError(
                f"{self._path}: the array {name!r} cannot be read: {error or type(error).__name__}."
            ) from error

    def _check(self, name: str, member: zipfile.ZipInfo, header: _Header) -> None:
        what = f"{self._path}: the array {name!r}"
        if header.dtype.hasobject:
            raise UnsafeFileError(
                f"{what} holds Python objects, which are a pickle, and a pickle runs code when it is opened (zoo opens "
                "none). Save numbers: np.savez(path, x=np.stack(x), y=y.astype(str))."
            )
        if header.dtype.kind not in "biufUS":
            raise DataError(f"{what} is of {header.dtype}; expected numbers, or text for labels.")
        if not header.dtype.itemsize or 0 in header.shape[1:]:
            raise DataError(f"{what} has rows of no size (shape {list(header.shape)}, {header.dtype}).")
        if header.start + header.bytes != member.file_size:
            raise UnsafeFileError(
                f"{what} claims {header.bytes:,} bytes (shape {list(header.shape)}, {header.dtype}) and has "
                f"{max(0, member.file_size - header.start):,}."
            )
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{what} is compressed in a way that NumPy does not write; save it with np.savez.")
        shrunk = member.file_size / max(1, member.compress_size)
        if member.compress_type == zipfile.ZIP_DEFLATED and header.bytes > _ROOM:
            if shrunk > _MOST_PACKED or (shrunk > _SUSPICIOUS and header.bytes > _memory() / 2):
                raise UnsafeFileError(f"{what} would unpack to {header.bytes:,} bytes, {shrunk:,.0f} times its size.")
            if header.bytes > _memory() / 2:
                raise DataError(
                    f"{what} unpacks to {header.bytes:,} bytes, more than half of this machine's memory. Save it with "
                    "np.savez instead of np.savez_compressed: it is then read from disk as it is needed."
                )

    def _mapped(self, name: str, member: zipfile.ZipInfo, header: _Header) -> NDArray[Any]:
        """Returns an array that is read from the file as it is needed."""
        with self._path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(member.header_offset)
            _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        start = member.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
        if member.compress_size != member.file_size or start + member.file_size > size:
            raise UnsafeFileError(
                f"{self._path}: the array {name!r} claims {member.file_size:,} bytes, which are not there."
            )
        if not header.bytes:
            return np.zeros(header.shape, header.dtype)
        return np.memmap(self._path, header.dtype, "r", start + header.start, header.shape, header.order)


@dataclass(frozen=True)
class _Header:
    """What the header of an array says, and where its data begin."""

    shape: tuple[int, ...]
    order: Any
    dtype: np.dtype[Any]
    start: int

    @property
    def bytes(self) -> int:
        """How many bytes the data must have."""
        return math.prod(self.shape) * self.dtype.itemsize


def _read_header(file: IO[bytes]) -> _Header:
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"expected an array of format 1.0 or 2.0; got {version[0]}.{version[1]}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    if any(size < 0 for size in shape):
        raise ValueError(f"it has the shape {shape}")
    return _Header(tuple(shape), "F" if is_fortran else "C", dtype, file.tell())


def _unpacked(file: Any, header: _Header) -> NDArray[Any]:
    """Returns the array whose data come next in `file`, and no more than it says."""
    data = bytearray(header.bytes)
    view, filled = memoryview(data), 0
    while got := file.readinto(view[filled : filled + _PIECE]):
        filled += got
    if filled < header.bytes or file.read(1):  # the last read also compares the checksum
        raise ValueError("it is not as long as it says")
    return np.frombuffer(data, header.dtype).reshape(header.shape, order=header.order)


def _memory() -> int:
    """Returns how many bytes of memory this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 8 << 30
