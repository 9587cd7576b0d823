"""Reads LevelDB's tables, in which TensorFlow keeps checkpoints: blocks of sorted keys, and one of their places.

A table that two readers could read differently is refused. Checksums are compared as long as that takes seconds. What
keys and values mean is not known here.
Format: https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.wire import Wire
from zoo.store.unpacking import Source

Entry: TypeAlias = tuple[bytes, int, int]
"""A key, and from where to where in the file its value lies."""

LONGEST_KEY = 1 << 14
_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER = 48
_TRAILER = 5  # the kind of compression, and the checksum
_MOST_RESTARTS = 1 << 20  # places in a block where TensorFlow begins to search: one for sixteen names
_CHECKED = 1 << 20  # bytes of one block, and of all together sixteen times that, whose checksum is computed


def is_table(file: Source | Wire) -> bool:
    """Returns whether a file ends as the index of a checkpoint does, or a checkpoint of one file."""
    return file.size >= _FOOTER and file.read_at(file.size - len(_MAGIC), len(_MAGIC)) == _MAGIC


def table_entries(wire: Wire) -> Iterator[Entry]:
    """Yields the entries of a table, their keys strictly ascending.

    Raises:
        IntegrityError: It is no table, cut short or damaged.
        UnsafeFileError: Two readers could read it differently, or it has more than any checkpoint.
        DiskError: The file cannot be read.
    """
    if not is_table(wire):
        raise IntegrityError("it does not end as one, so it is cut short or none")
    start, stop = wire.size - _FOOTER, wire.size - len(_MAGIC)
    checksums = _Checksums()
    other, at = _handle(wire, start, stop)
    index, _ = _handle(wire, at, stop)
    for _ in _block(wire, *other, checksums):  # TensorFlow writes nothing there
        raise UnsafeFileError("it has a table of things that TensorFlow does not write")
    last, end = b"", 0
    is_first = True
    for upper, place, place_stop in _block(wire, *index, checksums):
        (offset, size), after = _handle(wire, place, place_stop)
        if after != place_stop or offset < end:
            raise UnsafeFileError("its blocks lie over each other")
        end = offset + size
        for key, value, value_stop in _block(wire, offset, size, checksums):
            if not (is_first or last < key) or key > upper:
                raise UnsafeFileError("its names are not in order")
            last, is_first = key, False
            yield key, value, value_stop
        if last > upper:
            raise UnsafeFileError("its names are not in order")
        last = max(last, upper)


def table_header(entries: Iterator[Entry]) -> tuple[int, int]:
    """Takes the first entry, which TensorFlow gives no key, and returns from where to where its value lies.

    Raises:
        IntegrityError: There is none, or the table is damaged.
        UnsafeFileError: Two readers could read the table differently.
    """
    key, start, stop = next(entries, (None, 0, 0))
    if key != b"":
        raise IntegrityError("it has no header")
    return start, stop


def _handle(wire: Wire, at: int, stop: int) -> tuple[tuple[int, int], int]:
    offset, at = wire.varint(at, stop)
    size, at = wire.varint(at, stop)
    return (offset, size), at


class _Checksums:
    """Compares the checksums of blocks, as long as that takes seconds."""

    def __init__(self) -> None:
        self._left = 16 * _CHECKED

    def check(self, wire: Wire, offset: int, size: int) -> None:
        self._left -= size
        if size > _CHECKED or self._left < 0:
            return
        data = wire.read_at(offset, size + _TRAILER)
        if _masked_crc32c(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise IntegrityError(f"its block at byte {offset:,} is damaged (wrong checksum)")


def _block(wire: Wire, offset: int, size: int, checksums: _Checksums) -> Iterator[Entry]:
    """Yields the entries of a block.

    At its end it has been seen that the places where TensorFlow begins to search are among those entries.
    """
    wire.count()
    stop = offset + size
    if stop + _TRAILER > wire.size - _FOOTER or size < 8:
        raise UnsafeFileError("a block of it lies outside of the file")
    if wire.read_at(stop, 1) != b"\0":
        raise IntegrityError("it is compressed, which TensorFlow's writers do not do")
    checksums.check(wire, offset, size)
    count = int.from_bytes(wire.read_at(stop - 4, 4), "little")
    if not 1 <= count <= min((size - 4) // 4, _MOST_RESTARTS):
        raise IntegrityError(f"its block at byte {offset:,} is damaged")
    entries_stop = stop - 4 - 4 * count
    restarts = wire.read_at(entries_stop, 4 * count)
    at, key, whole = offset, b"", {0}
    while at < entries_stop:
        wire.count()
        begin = at
        key, shared, value, at = _entry(wire, at, entries_stop, key)
        if not shared:
            whole.add(begin - offset)
        yield key, value, at
    places = [int.from_bytes(restarts[place : place + 4], "little") for place in range(0, len(restarts), 4)]
    if places[0] != 0 or not whole.issuperset(places) or any(one >= other for one, other in pairwise(places)):
        raise UnsafeFileError(f"its block at byte {offset:,} tells two readers two things")


def _entry(wire: Wire, at: int, stop: int, previous: bytes) -> tuple[bytes, int, int, int]:
    """Returns an entry's key, how much of it is from the one before, and from where to where its value lies."""
    shared, at = wire.varint(at, stop)
    own, at = wire.varint(at, stop)
    length, at = wire.varint(at, stop)
    if shared > len(previous) or own + length > stop - at:
        raise IntegrityError(f"its entry before byte {at:,} is damaged")
    if shared + own > LONGEST_KEY:
        raise UnsafeFileError(f"a name in it is longer than {LONGEST_KEY:,} bytes")
    key = previous[:shared] + wire.read_at(at, own)
    return key, shared, at + own, at + own + length


@functools.cache
def _crc32c_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def _masked_crc32c(data: bytes) -> int:
    """Returns the checksum as tables have it: https://datatracker.ietf.org/doc/html/rfc3720#appendix-B.4, rotated."""
    table, crc = _crc32c_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
