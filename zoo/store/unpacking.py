"""What the readers of all kinds of archive share: limits, bounded reading, counting, inflating. Nothing here writes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import DiskError, IntegrityError, NotFoundError, UnsafeFileError
from zoo.progress import Progress

CHUNK = 1 << 18
_ARCHIVES = {
    b"PK\3\4": "zip",
    b"PK\5\6": "zip",
    b"PK\7\x08": "zip",
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
_ZIPS_BY_FORMAT = (".npz", ".keras")


@dataclass(frozen=True)
class Limits:
    """What an archive may ask for at most.

    Attributes:
        members: Files and folders together, also folders that are only named as parts of a path.
        depth: Parts of a path.
        bytes: Bytes of everything unpacked.
        ratio: Bytes unpacked for each byte of the archive.
        allowance: Bytes unpacked on top of `ratio`, so that tiny archives pass.
        metadata: Bytes of the headers that may have any size: a zip's directory, a tar's extension headers.
    """

    members: int = 10_000
    depth: int = 64
    bytes: int = 16 << 30
    ratio: int = 100
    allowance: int = 1 << 20
    metadata: int = 8 << 20

    def unpacked(self, packed: int) -> int:
        """Returns how many bytes an archive of `packed` bytes may become."""
        return min(self.bytes, self.ratio * packed + self.allowance)


@dataclass(frozen=True)
class Member:
    """A file that came out of an archive: its path below the folder, its size and its sha256 in hex."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Entry:
    """A file or folder as an archive holds it; `pieces` are read once, before the next entry is asked for."""

    path: str
    is_folder: bool
    pieces: Iterator[bytes]


def shown(name: str) -> str:
    """Returns a name out of an archive, fit for a terminal: quoted, escaped and not too long.

    >>> shown("a" + chr(27) + "[2J")
    "'a\\\\x1b[2J'"
    """
    return repr(name if len(name) <= 120 else f"{name[:100]}...")


def tidy(path: str, is_folder: bool) -> str:
    """Returns a member's path without the `./` that tar puts before it and the `/` after a folder's.

    The folder that holds everything is "".

    >>> tidy("./assets/", is_folder=True), tidy("./", is_folder=True), tidy("saved_model.pb", is_folder=False)
    ('assets', '', 'saved_model.pb')
    """
    path = path.removesuffix("/") if is_folder and path != "/" else path
    return "" if is_folder and path == "." else path.removeprefix("./")


def nested_kind(path: str, head: bytes) -> str | None:
    """Returns which kind of archive or compressed file begins with `head`, or None.

    `.npz` and `.keras` files are zips by format: whoever opens them has limits for them.
    """
    if head[257:262] == b"ustar":
        return "tar"
    kind = next((kind for magic, kind in _ARCHIVES.items() if head.startswith(magic)), None)
    if kind == "zip" and path.casefold().endswith(_ZIPS_BY_FORMAT):
        return None
    if kind == "bzip2" and not head[4:].startswith(_BZIP2_BLOCKS):  # three letters may begin a text
        return None
    return kind


class Source:
    """The file of an archive, read in bounded pieces that never depend on a position."""

    def __init__(self, descriptor: int, path: Path, progress: Progress | None = None) -> None:
        self._descriptor, self._path, self._progress = descriptor, path, progress
        self.size = os.fstat(descriptor).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        """Returns exactly `length` bytes.

        Raises:
            IntegrityError: The file ends before that.
            DiskError: The file cannot be read.
        """
        parts = []
        while length > 0:
            part = self._read(offset, min(length, CHUNK))
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yields the `length` bytes from `offset` on, a bounded piece at a time, and tells the progress.

        Raises:
            IntegrityError: The file ends before that.
            DiskError: The file cannot be read.
        """
        while length > 0:
            chunk = self._read(offset, min(length, CHUNK))
            offset, length = offset + len(chunk), length - len(chunk)
            if self._progress:
                self._progress.advance(len(chunk))
            yield chunk

    def _read(self, offset: int, length: int) -> bytes:
        try:
            part = os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise _unreadable(self._path, error) from error
        if not part:
            raise IntegrityError(f"it ends at byte {offset}, in the midst of its content")
        return part


class Held(Source):
    """Bytes in memory that are read as a file is."""

    def __init__(self, data: bytes) -> None:
        self._data, self.size = data, len(data)

    def _read(self, offset: int, length: int) -> bytes:
        if part := self._data[offset : offset + length]:
            return part
        raise IntegrityError(f"it ends at byte {offset}, in the midst of its content")


@contextmanager
def opened(path: Path, progress: Progress | None = None) -> Iterator[Source]:
    """Opens the file of an archive.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is a folder, a pipe or a device.
        DiskError: It cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not block
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no archive {path}; fetch it first.") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise IntegrityError(f"{path} is no regular file, so no archive; give the path of one.")
        yield Source(descriptor, path, progress)
    finally:
        os.close(descriptor)


def _unreadable(path: Path, error: OSError) -> DiskError:
    return DiskError(f"Cannot read {path}: {error.strerror or error}; check its permissions and the disk.")


class Meter:
    """Counts the bytes that really come, whatever headers claim."""

    def __init__(self, most: int, what: str) -> None:
        self._most, self._what = most, what
        self._total = 0

    def counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Passes `pieces` on.

        Raises:
            UnsafeFileError: They are more than allowed, together with what was counted before.
        """
        for piece in pieces:
            self.count(len(piece))
            yield piece

    def count(self, size: int) -> None:
        """Counts `size` bytes.

        Raises:
            UnsafeFileError: They are more than allowed, together with what was counted before.
        """
        self.check(size)
        self._total += size

    def check(self, size: int) -> None:
        """Sees whether `size` more bytes would be allowed.

        Raises:
            UnsafeFileError: They would not.
        """
        if self._total + size > self._most:
            raise UnsafeFileError(f"{self._what} more than the {self._most:,} bytes allowed")


def inflated(chunks: Iterator[bytes], wbits: int, what: str) -> Iterator[bytes]:
    """Yields what one deflate (`wbits` -15) or gzip (31) stream holds, in bounded pieces; checks gzip's own checksum.

    Raises:
        IntegrityError: The stream is damaged or cut short.
        UnsafeFileError: Other bytes follow it.
    """
    import zlib  # here, for the sake of a quick import

    inflater = zlib.decompressobj(wbits)
    for chunk in chunks:
        if inflater.eof:
            raise UnsafeFileError(f"other data follows {what}")
        more = True
        while more:
            try:
                piece = inflater.decompress(chunk, CHUNK)
            except zlib.error as error:
                raise IntegrityError(f"{what} is damaged ({error})") from error
            if piece:
                yield piece
            chunk = inflater.unconsumed_tail
            more = not inflater.eof and (bool(chunk) or len(piece) == CHUNK)  # a full piece: more may wait inside
    if inflater.unused_data:
        raise UnsafeFileError(f"other data follows {what}")
    if not inflater.eof:
        raise IntegrityError(f"{what} is cut short")
