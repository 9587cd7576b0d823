"""Puts the maps in a SavedModel into the order of their keys, in which TensorFlow takes its hash.

Protobuf writes a map in the order it likes: that of Python, which writes these files, puts `Tin` before `T`, and that
of C++, which takes the hash, after it. Only maps that may have such keys are looked at.
Formats: as of `graph_outlines`, and struct.proto of TensorFlow.
"""

from __future__ import annotations

from zoo.errors import UnsafeFileError
from zoo.store.guards.message_trees import Tree
from zoo.store.guards.wire import BYTES, Field, Wire

_DEEPEST = 100  # messages, as protobuf has it
_TREE: Tree = {
    "saved model": {2: "meta graph"},
    "meta graph": {1: "information", 2: "graph", 4: "entry", 5: "signature entry", 7: "objects"},
    "information": {8: "entry"},
    "graph": {1: "node", 2: "library"},
    "node": {5: "attribute entry"},
    "attribute entry": {2: "value"},
    "value": {1: "list", 10: "reference"},
    "list": {9: "reference"},
    "reference": {2: "attribute entry"},
    "library": {1: "function"},
    "function": {3: "node", 4: "entry", 5: "attribute entry", 6: "entry", 7: "argument entry", 8: "entry"},
    "argument entry": {2: "attributes"},
    "attributes": {1: "attribute entry"},
    "signature entry": {2: "signature"},
    "signature": {1: "tensor entry", 2: "tensor entry", 4: "entry"},
    "tensor entry": {2: "tensor"},
    "tensor": {5: "composite"},
    "composite": {1: "type", 2: "tensor"},
    "objects": {1: "object", 2: "function entry"},
    "object": {6: "polymorphic", 8: "concrete", 11: "entry"},
    "polymorphic": {2: "specification"},
    "concrete": {4: "specification"},
    "specification": {1: "structure", 5: "structure"},
    "function entry": {2: "bound function"},
    "bound function": {3: "structure", 4: "structure"},
    "structure": {34: "type", 51: "structures", 52: "structures", 53: "dictionary", 54: "named tuple"},
    "structures": {1: "structure"},
    "dictionary": {1: "structure entry"},
    "structure entry": {2: "structure"},
    "named tuple": {2: "pair"},
    "pair": {2: "structure"},
    "type": {2: "structure"},
    "entry": {},
}


def ordered_saved_model(wire: Wire) -> bytes:
    """Returns a SavedModel as it is, but for the order of its maps.

    Raises:
        IntegrityError: It is damaged.
        UnsafeFileError: It nests deeper, or has more fields, than a model does.
    """
    return _ordered(wire, "saved model", 0, wire.size, 1)


def _ordered(wire: Wire, kind: str, start: int, stop: int, depth: int) -> bytes:
    if depth > _DEEPEST:
        raise UnsafeFileError(f"it nests more than {_DEEPEST} messages")
    below, parts, at = _TREE[kind], [], start  # up to `at` all is in `parts` or `entries`
    entries: list[tuple[tuple[int, bytes], bytes]] = []
    number, begin, end = 0, start, start
    for field in wire.fields(start, stop):
        begin, end = end, field.stop
        if field.number != number:
            parts += [entry for _, entry in sorted(entries)]
            entries, number = [], field.number
        inner = below.get(field.number)
        if inner is None or field.wire != BYTES:
            continue
        parts.append(wire.read_at(at, begin - at))
        whole = wire.read_at(begin, field.start - begin) + _ordered(wire, inner, field.start, field.stop, depth + 1)
        if inner.endswith("entry"):
            entries.append((_key(wire, field), whole))
        else:
            parts.append(whole)
        at = end
    return b"".join([*parts, *(entry for _, entry in sorted(entries)), wire.read_at(at, stop - at)])


def _key(wire: Wire, entry: Field) -> tuple[int, bytes]:
    """Returns the key of an entry, a number or a text, as what can be compared."""
    keys = [(each.value, _bytes(wire, each)) for each in wire.fields(entry.start, entry.stop) if each.number == 1]
    return keys[-1] if keys else (0, b"")


def _bytes(wire: Wire, field: Field) -> bytes:
    return wire.read_at(field.start, field.stop - field.start)
