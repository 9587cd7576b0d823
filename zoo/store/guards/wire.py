"""Reads protobuf messages without the types they were written with. Which fields a model has, only its guard knows.

A message is walked one level at a time, and nothing calls itself: how deep a file nests costs no stack. Files are read
by position in bounded pieces and never mapped, for a mapped file that shrinks meanwhile ends the process.
Format: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.refusals import explained
from zoo.store.unpacking import Source, opened

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WINDOW = 1 << 14
_FIELDS = 1_000_000  # some seconds; the largest models of ordinary people have a fifth
_LARGEST = (1 << 31) - 1  # bytes of one message, for every reader of protobuf
_HIGHEST_NUMBER = (1 << 29) - 1
_LONGEST_VARINT = 10
_LONGEST_NAME = 4096


class Field(NamedTuple):
    """A field of a message: the value of a number (unsigned), or from where to where in the file its bytes lie."""

    number: int
    wire: int
    value: int
    start: int
    stop: int


class Wire:
    """The bytes of a file, and how many fields may still be read from it."""

    def __init__(self, source: Source, fields: int = _FIELDS) -> None:
        self.size = source.size
        self._source, self._fields = source, fields
        self._start, self._window = 0, b""

    def read_at(self, offset: int, length: int) -> bytes:
        """Returns exactly `length` bytes.

        Raises:
            IntegrityError: The file ends before that.
            DiskError: The file cannot be read.
        """
        return self._source.read_at(offset, length)

    def varint(self, at: int, stop: int) -> tuple[int, int]:
        """Returns the number that begins at `at`, and where the next thing does.

        Raises:
            IntegrityError: It is longer than numbers are, or reaches past `stop`.
        """
        index = at - self._start
        if at < stop and 0 <= index < len(self._window) and self._window[index] < 0x80:  # most are: it is worth it
            return self._window[index], at + 1
        value = 0
        for shift, place in enumerate(range(at, min(at + _LONGEST_VARINT, stop))):
            byte = self._byte(place)
            value |= (byte & 0x7F) << 7 * shift
            if byte < 0x80:
                if value >> 64:
                    break
                return value, place + 1
        raise IntegrityError(f"the number at byte {at:,} has no end")

    def _byte(self, place: int) -> int:
        index = place - self._start
        if not 0 <= index < len(self._window):
            self._window = self._source.read_at(place, min(_WINDOW, self.size - place))
            self._start, index = place, 0
            if not self._window:
                raise IntegrityError(f"it ends at byte {place:,}, in the midst of its content")
        return self._window[index]

    def fields(self, start: int = 0, stop: int | None = None) -> Iterator[Field]:
        """Yields the fields of the message that lies from `start` to `stop`, one level of it.

        Raises:
            IntegrityError: There is no message: something reaches past its end, or is no field.
            UnsafeFileError: The file has more fields than any model needs.
        """
        at, stop = start, self.size if stop is None else stop
        while at < stop:
            self.count()
            field = self._field(at, stop)
            yield field
            at = field.stop

    def count(self) -> None:
        """Counts a field, or something else that takes as long to read.

        Raises:
            UnsafeFileError: The file has more of them than any model needs.
        """
        self._fields -= 1
        if self._fields < 0:
            raise UnsafeFileError("it has more fields than any model that this version accepts")

    def _field(self, at: int, stop: int) -> Field:
        tag, start = self.varint(at, stop)
        number, wire, value = tag >> 3, tag & 7, 0
        if not 1 <= number <= _HIGHEST_NUMBER:
            raise IntegrityError(f"at byte {at:,} is no field, for its number is {number}")
        if wire == VARINT:
            value, end = self.varint(start, stop)
            return Field(number, wire, value, end, end)
        if wire == BYTES:
            length, start = self.varint(start, stop)
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        else:
            raise IntegrityError(f"at byte {at:,} is no field, for it has the wire type {wire}")
        if length > stop - start:
            raise IntegrityError(f"the field at byte {at:,} reaches past the end of its message")
        if wire != BYTES:
            value = int.from_bytes(self.read_at(start, length), "little")
        return Field(number, wire, value, start, start + length)

    def text(self, field: Field, longest: int = _LONGEST_NAME) -> str:
        """Returns the text in a field.

        Raises:
            IntegrityError: It is no text in UTF-8.
            UnsafeFileError: It is longer than `longest` bytes.
        """
        if field.stop - field.start > longest:
            raise UnsafeFileError(f"the name at byte {field.start:,} is longer than {longest:,} bytes")
        try:
            return self.read_at(field.start, field.stop - field.start).decode()
        except UnicodeDecodeError as error:
            raise IntegrityError(f"the name at byte {field.start:,} is no text in UTF-8") from error


def signed(value: int) -> int:
    """Returns a number as protobuf's int32 and int64 have it.

    >>> signed(2**64 - 1)
    -1
    """
    return value - (1 << 64) if value >> 63 else value


def level(wire: Wire, kinds: dict[int, int], start: int = 0, stop: int | None = None) -> dict[int, list[Field]]:
    """Returns the fields of one level that have these numbers, and the wire types that belong to them.

    Raises:
        IntegrityError: There is no message, or a field has another wire type than its number says.
        UnsafeFileError: The file has more fields than any model needs.
    """
    found: dict[int, list[Field]] = {number: [] for number in kinds}
    for field in wire.fields(start, stop):
        if field.number in kinds:
            if field.wire != kinds[field.number]:
                raise IntegrityError(f"its field {field.number} has the wire type {field.wire}")
            found[field.number].append(field)
    return found


@contextmanager
def wire_of(path: Path, name: str, what: str) -> Iterator[Wire]:
    """Opens a file that is one message, and explains what is refused while it is open.

    Args:
        path: The file.
        name: What it is called in messages; empty: its path.
        what: What it should be, with its article: "an ONNX model".

    Raises:
        IntegrityError: It is empty, or larger than a message can be.
        NotFoundError: There is no such file.
        DiskError: It cannot be read.
    """
    with explained(name or str(path), what), opened(path) as source:
        if not source.size:
            raise IntegrityError("it is empty")
        if source.size > _LARGEST:
            raise IntegrityError(f"it has {source.size:,} bytes, and such a file has {_LARGEST:,} at most")
        yield Wire(source)
