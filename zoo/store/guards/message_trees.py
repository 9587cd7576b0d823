"""Walks nested protobuf messages by a table of which lie in which; reads maps and lists in them. Knows no format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.wire import BYTES, VARINT, Field, Wire, level

Tree: TypeAlias = Mapping[str, Mapping[int, str]]
"""What lies in a kind of message, by the number of the field. What has no entry of its own is a leaf."""

PAIR = {1: BYTES, 2: BYTES}


def leaves(wire: Wire, tree: Tree, kind: str, places: Iterable[Field]) -> Iterator[tuple[str, Field]]:
    """Yields the leaves below messages of one kind, with their own kinds, in no order that can be relied on.

    Raises:
        IntegrityError: There is no message, or a field has another wire type than bytes.
        UnsafeFileError: The file has more fields than any model needs.
    """
    left = [(kind, place) for place in places]
    while left:
        kind, place = left.pop()
        for each in wire.fields(place.start, place.stop):
            below = tree[kind].get(each.number)
            if below is None:
                continue
            if each.wire != BYTES:
                raise IntegrityError(f"its field {each.number} of a {kind} has the wire type {each.wire}")
            if below in tree:
                left.append((below, each))
            else:
                yield below, each


def pair(wire: Wire, entry: Field) -> tuple[str, Field]:
    """Returns the key and the value of an entry of a map.

    Raises:
        IntegrityError: It is none.
        UnsafeFileError: It has several keys or values.
    """
    found = level(wire, PAIR, entry.start, entry.stop)
    if len(found[1]) > 1 or len(found[2]) > 1:
        raise UnsafeFileError("an entry of it has several keys or values")
    key = wire.text(found[1][0]) if found[1] else ""
    return key, found[2][0] if found[2] else Field(2, BYTES, 0, entry.stop, entry.stop)


def numbers(wire: Wire, message: Field, number: int) -> Iterator[int]:
    """Yields the numbers of a repeated field, packed or not.

    Raises:
        IntegrityError: They are none.
        UnsafeFileError: They are more than any model needs.
    """
    for each in wire.fields(message.start, message.stop):
        if each.number != number:
            continue
        if each.wire == VARINT:
            yield each.value
        elif each.wire == BYTES:
            at = each.start
            while at < each.stop:
                wire.count()
                value, at = wire.varint(at, each.stop)
                yield value
        else:
            raise IntegrityError(f"its field {number} has the wire type {each.wire}")
