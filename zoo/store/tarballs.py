"""Reads tar archives (POSIX ustar and pax, GNU; plain or in gzip) as entries, strictly forward and in bounded memory.

The headers are parsed here, not by `tarfile`: it holds what it reads in memory, guesses where a header is ambiguous,
and its own guards have been bypassed. What is no regular file or folder is refused, never skipped.
Formats: POSIX.1-2001 (pax), and GNU tar's manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.unpacking import CHUNK, Entry, Limits, Meter, Source, inflated, shown, tidy

_BLOCK = 512
_MOST_EXTENSIONS = 8  # headers of extensions before one member; writers make one or two
_FILE, _OLD_FILE, _FOLDER = b"0", b"\0", b"5"
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
    b"K": "a link with a long name",
    b"S": "a sparse file",
}


def tar_entries(source: Source, meter: Meter, limits: Limits) -> Iterator[Entry]:
    """Yields the files and folders of a plain tar archive.

    Raises:
        IntegrityError: The archive is damaged or cut short.
        UnsafeFileError: It holds something else than files and folders, or data where none may be.
    """
    return _entries(_Stream(meter.counted(source.chunks(0, source.size))), limits)


def gzipped_tar_entries(source: Source, meter: Meter, limits: Limits) -> Iterator[Entry]:
    """Yields the files and folders of a tar archive in one gzip stream.

    Raises:
        IntegrityError: The archive is damaged or cut short.
        UnsafeFileError: It holds something else than files and folders, or data where none may be.
    """
    unzipped = inflated(source.chunks(0, source.size), 31, "the gzip stream")
    return _entries(_Stream(meter.counted(unzipped)), limits)


@dataclass(frozen=True)
class _Header:
    name: str
    size: int
    kind: bytes

    @property
    def is_folder(self) -> bool:
        return self.kind == _FOLDER or (self.kind == _OLD_FILE and self.name.endswith("/"))


class _Stream:
    """Takes a stream of pieces apart again, as a tar's blocks and the contents between them."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def some(self, most: int) -> bytes:
        """Returns between one byte and `most`, or none at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = memoryview(piece)
        taken, self._rest = self._rest[:most], self._rest[most:]
        return bytes(taken)

    def content(self, size: int) -> Iterator[bytes]:
        """Yields `size` bytes and passes over what fills up the last block."""
        left = size
        while left:
            piece = self.some(min(left, CHUNK))
            if not piece:
                raise IntegrityError("the archive is cut short in the midst of a member")
            left -= len(piece)
            yield piece
        padding = -size % _BLOCK
        while padding:
            filler = self.some(padding)
            if not filler:
                raise IntegrityError("the archive is cut short behind a member")
            padding -= len(filler)

    def block(self) -> bytes:
        return b"".join(self.content(_BLOCK))


def _entries(stream: _Stream, limits: Limits) -> Iterator[Entry]:
    extensions = Meter(limits.metadata, "its extension headers hold")
    while header := _next_header(stream, extensions):
        content = stream.content(header.size)
        yield Entry(tidy(header.name, header.is_folder), header.is_folder, content)
        for _ in content:  # whoever took the entry may have left some
            pass
    _expect_the_end(stream)


def _expect_the_end(stream: _Stream) -> None:
    """Reads the stream to its end, behind the first block of the end mark; this is what has a gzip checksum checked."""
    total = _BLOCK
    while piece := stream.some(CHUNK):
        if piece.count(0) != len(piece):
            raise UnsafeFileError("other data follows the end of the tar archive")
        total += len(piece)
    if total < 2 * _BLOCK or total % _BLOCK:
        raise IntegrityError("the archive is cut short in its end mark")


def _next_header(stream: _Stream, extensions: Meter) -> _Header | None:
    """Returns the header of the next member, with all that extension headers say of it, or None at the end mark."""
    told: dict[str, str] = {}
    for _ in range(_MOST_EXTENSIONS):
        block = stream.block()
        if not any(block):
            if told:
                raise IntegrityError("the archive ends behind an extension header")
            return None
        header = _parsed(block)
        if header.kind not in _EXTENSIONS:
            return _checked(_extended(header, told))
        extensions.count(header.size)  # before they are read into memory
        payload = b"".join(stream.content(header.size))
        for key, value in _EXTENSIONS[header.kind](payload).items():
            if key in told:
                raise UnsafeFileError(f"extension headers tell the {key} of a member twice")
            told[key] = value
    raise UnsafeFileError(f"{_MOST_EXTENSIONS} extension headers or more stand before one member")


def _parsed(block: bytes) -> _Header:
    checksum = sum(block) - sum(block[148:156]) + 8 * ord(" ")  # the field itself counts as spaces
    if _number(block[148:156]) != checksum:
        raise IntegrityError("a header of the tar archive is damaged (wrong checksum)")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and any(block[345:500]):  # GNU tar keeps other things there
        name = f"{_text(block[345:500])}/{name}"
    return _Header(name, _number(block[124:136]), block[156:157])


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU's binary form, for files that octal digits are too few for
        if field[0] != 0x80:
            raise UnsafeFileError("a header of the tar archive has a negative or absurd number")
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise IntegrityError("a header of the tar archive is damaged (no number where one should be)")
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    text = field.rstrip(b"\0").decode("utf-8", "surrogateescape")
    if "\0" in text:  # one reader would stop there, another would not
        raise UnsafeFileError(f"member {shown(text)} has a NUL in its name")
    return text


def _long_name(payload: bytes) -> dict[str, str]:
    return {"path": _text(payload)}


def _pax_records(payload: bytes) -> dict[str, str]:
    """Returns the path and the size that a pax header tells, as far as it does; its other records are of no use."""
    records: dict[str, str] = {}
    position = 0
    while position < len(payload):
        record = _pax_record(payload, position)
        position += len(record)
        key, separator, value = record[:-1].partition(b" ")[2].partition(b"=")
        if not separator:
            raise IntegrityError("a pax header is damaged")
        if key.startswith(b"GNU.sparse"):
            raise UnsafeFileError("a member is a sparse file")
        if key in (b"path", b"size"):
            if key.decode() in records:
                raise UnsafeFileError(f"a pax header tells the {key.decode()} of a member twice")
            records[key.decode()] = value.decode("utf-8", "surrogateescape")
    return records


def _pax_record(payload: bytes, position: int) -> bytes:
    """Returns the record at `position`: its own length in digits, a space, `key=value` and a line feed."""
    digits = payload[position : position + 10].partition(b" ")[0]
    length = int(digits) if digits.isdigit() else 0
    record = payload[position : position + length]
    if len(record) != length or not record.endswith(b"\n"):
        raise IntegrityError("a pax header is damaged")
    return record


def _global_records(payload: bytes) -> dict[str, str]:
    """Returns nothing: what a header for all members may tell (`git archive` puts a comment there) is of no use."""
    if _pax_records(payload):
        raise UnsafeFileError("a header for all members gives them one path or one size")
    return {}


_EXTENSIONS = {b"L": _long_name, b"x": _pax_records, b"g": _global_records}


def _extended(header: _Header, told: dict[str, str]) -> _Header:
    name, size = told.get("path", header.name), header.size
    if "size" in told:
        if not re.fullmatch(r"[0-9]{1,20}", told["size"]):
            raise IntegrityError("a pax header is damaged (no number for a size)")
        size = int(told["size"])
        if header.size not in (0, size):  # which of them counts depends on the reader
            raise UnsafeFileError(f"member {shown(name)} has two sizes, {header.size:,} and {size:,} bytes")
    return replace(header, name=name, size=size)


def _checked(header: _Header) -> _Header:
    if header.kind in _REFUSED:
        raise UnsafeFileError(f"member {shown(header.name)} is {_REFUSED[header.kind]}")
    if header.kind not in (_FILE, _OLD_FILE, _FOLDER):
        raise UnsafeFileError(f"member {shown(header.name)} is of the unknown kind {header.kind!r}")
    if header.is_folder and header.size:
        raise UnsafeFileError(f"member {shown(header.name)} is a folder, yet has content")
    return header
