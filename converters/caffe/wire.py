"""Walks messages of protobuf as they lie in a file, so that the weights in them are never copied number by number.

A message is walked one level at a time; nothing calls itself. Format: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.errors import IntegrityError

Array = NDArray[Any]
_VARINT, _FIXED64, _BYTES, _GROUP, _FIXED32 = 0, 1, 2, 3, 5
_LONGEST_VARINT = 10
_LAST_FIELD = (1 << 29) - 1
_MOST_FIELDS = 100_000  # of one message
_MOST_PARTS = 10_000  # of one array of weights; files have one


class Field(NamedTuple):
    """A field of a message.

    Attributes:
        number: Which one.
        value: A number, or the bytes that it has.
        whole: The same with what says so before it, as it can be put into another message.
    """

    number: int
    value: int | memoryview
    whole: memoryview


def fields(message: memoryview) -> Iterator[Field]:
    """Yields the fields of a message.

    Raises:
        IntegrityError: There is no message: something reaches past its end, or is no field.
    """
    at, left = 0, _MOST_FIELDS
    while at < len(message):
        left -= 1
        if left < 0:
            raise IntegrityError(f"it has more than {_MOST_FIELDS:,} fields")
        tag, start = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not number or number > _LAST_FIELD:
            raise IntegrityError(f"at its byte {at:,} is no field")
        if wire == _VARINT:
            value, stop = _varint(message, start)
            yield Field(number, value, message[at:stop])
        else:
            length = {_FIXED64: 8, _FIXED32: 4}.get(wire)
            if wire == _BYTES:
                length, start = _varint(message, start)
            if length is None or start + length > len(message):
                raise IntegrityError(f"at its byte {at:,} is no field, or one that reaches past the end")
            stop = start + length
            yield Field(number, message[start:stop], message[at:stop])
        at = stop


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift, place in enumerate(range(at, min(at + _LONGEST_VARINT, len(message)))):
        value |= (message[place] & 0x7F) << 7 * shift
        if message[place] < 0x80:
            return value, place + 1
    raise IntegrityError(f"the number at its byte {at:,} has no end")


def numbers(message: memoryview, kinds: Mapping[int, str]) -> tuple[dict[int, list[Array]], list[Field]]:
    """Returns the numbers of some repeated fields, packed or not, and the other fields.

    Numbers that are one piece stay in the message's own memory.

    Args:
        message: Where the fields are.
        kinds: Of which type each is: "<f4" for float, "<f8" for double.

    Raises:
        IntegrityError: One of the fields has something else, or there are far too many others.
    """
    tags = {number << 3 | (_FIXED32 if kind == "<f4" else _FIXED64): number for number, kind in kinds.items()}
    parts: dict[int, list[Array]] = {number: [] for number in kinds}
    others: list[Field] = []
    at = 0
    while at < len(message):
        if (number := tags.get(message[at])) is not None:  # one by one, each with its tag
            part, at = _in_a_row(message, at, kinds[number])
            parts[number].append(part)
            continue
        field = next(fields(message[at:]))
        at += len(field.whole)
        if field.number not in kinds:
            others.append(field)
        elif isinstance(field.value, int) or len(field.value) % np.dtype(kinds[field.number]).itemsize:
            raise IntegrityError("its numbers are of another type than they should be, or cut off")
        else:
            parts[field.number].append(np.frombuffer(field.value, kinds[field.number]))
        if len(others) + sum(map(len, parts.values())) > _MOST_PARTS:
            raise IntegrityError(f"its numbers lie in more than {_MOST_PARTS:,} pieces")
    return parts, others


def _in_a_row(message: memoryview, at: int, kind: str) -> tuple[Array, int]:
    """Returns the numbers that follow each other with the same tag, and where they end."""
    step = 1 + np.dtype(kind).itemsize
    most, count = (len(message) - at) // step, 64
    if not most:
        raise IntegrityError(f"the number at its byte {at:,} is cut off")
    while True:
        count = min(count, most)
        rows = np.frombuffer(message[at : at + count * step], np.dtype([("tag", "u1"), ("number", kind)]))
        others = np.flatnonzero(rows["tag"] != message[at])
        if len(others) or count == most:
            break
        count *= 8
    count = int(others[0]) if len(others) else count
    return np.ascontiguousarray(rows["number"][:count]), at + count * step


def depth(message: memoryview, most: int) -> int:
    """Returns how many messages lie in each other, each the only field of the one around it; at most `most`."""
    found, at = 0, 0
    while found < most and at < len(message):
        try:
            tag, at = _varint(message, at)
            length, at = _varint(message, at) if tag & 7 == _BYTES else (len(message) - at, at)
        except IntegrityError:
            break
        if tag & 7 not in (_BYTES, _GROUP) or at + length != len(message):
            break
        found += 1
    return found


def whole_numbers(message: memoryview, number: int) -> list[int]:
    """Returns the whole numbers of a repeated field, packed or not."""
    found: list[int] = []
    for field in fields(message):
        if field.number != number:
            continue
        if isinstance(field.value, int):
            found.append(field.value)
            continue
        at = 0
        while at < len(field.value):
            value, at = _varint(field.value, at)
            found.append(value)
    return [each - (1 << 64) if each >> 63 else each for each in found]
