"""The guard of ONNX models: whether a file is one, whole, with all of its weights inside. Operators are not looked at.

Format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, of IR version 13.
"""

from __future__ import annotations

from pathlib import Path

from zoo.errors import IntegrityError, UnsafeFileError, UsageError
from zoo.store.guards.wire import BYTES, VARINT, Wire, level, wire_of
from zoo.store.unpacking import shown

_MODEL_LEVEL = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES, 20: BYTES}
_MODEL_LEVEL |= {25: BYTES}
_FIRST_WITH_OPSETS = 3
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1
_DEPTH = 100  # what protobuf itself reads
# Where a message can hold tensors, or messages that do: by its kind and the number of the field.
_TREE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        **{5: "tensor", 10: "tensor", 6: "graph", 11: "graph"},
        **{22: "sparse tensor", 23: "sparse tensor"},
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
}


def check_onnx(path: Path, name: str = "") -> None:
    """Sees whether a file is a whole ONNX model with all of its weights inside.

    Raises:
        IntegrityError: It is no ONNX model, or damaged.
        UnsafeFileError: It nests deeper than protobuf reads, or has more fields than a model needs.
        UsageError: It keeps weights in other files.
    """
    outside = weights_outside(path, name)
    if outside is not None:
        raise UsageError(
            f"Expected an ONNX model that is one file; {name or path} keeps weights in other files (the first is "
            f"{shown(outside)}), which are not looked for here. Make it one: model = onnx.load({path.name!r}), then "
            "onnx.save(model, 'whole.onnx')."
        )


def weights_outside(path: Path, name: str = "") -> str | None:
    """Returns in which other file a whole ONNX model keeps its first weight that is not inside; None where all are.

    Raises:
        IntegrityError: It is no ONNX model, or damaged.
        UnsafeFileError: It nests deeper than protobuf reads, or has more fields than a model needs.
    """
    with wire_of(path, name, "an ONNX model") as wire:
        refuse_other_than_onnx(wire)
        return _first_outside(wire)


def refuse_other_than_onnx(wire: Wire) -> None:
    """Sees whether the top level of a file is that of an ONNX model.

    Raises:
        IntegrityError: It is not.
        UnsafeFileError: It has more fields than a model needs.
    """
    found = level(wire, _MODEL_LEVEL)
    if not found[1] or not found[7]:
        raise IntegrityError("it has no IR version or no graph")
    if found[1][-1].value >= _FIRST_WITH_OPSETS and not found[8]:
        raise IntegrityError("it does not say of which operator sets it is")


def _first_outside(wire: Wire) -> str | None:
    """Walks all of a model; returns the file of the first tensor kept outside of it; "?" where it has no name."""
    left, first = [("model", 0, wire.size, 1)], None
    while left:
        kind, start, stop, depth = left.pop()
        if depth > _DEPTH:
            raise UnsafeFileError(f"it nests more than {_DEPTH} messages")
        if kind == "tensor":
            outside = _outside(wire, start, stop)
            first = outside if first is None else first
            continue
        below = [field for field in wire.fields(start, stop) if field.number in _TREE[kind]]
        if any(field.wire != BYTES for field in below):
            raise IntegrityError(f"a {kind} of it is damaged")
        left += [(_TREE[kind][each.number], each.start, each.stop, depth + 1) for each in reversed(below)]
    return first


def _outside(wire: Wire, start: int, stop: int) -> str | None:
    is_outside, place = False, "?"
    for field in wire.fields(start, stop):
        if field.number == _DATA_LOCATION:
            is_outside = is_outside or field.value == _EXTERNAL
        elif field.number == _EXTERNAL_DATA and field.wire == BYTES:
            pair = level(wire, {1: BYTES, 2: BYTES}, field.start, field.stop)
            if pair[1] and pair[2] and wire.text(pair[1][-1]) == "location":
                place = wire.text(pair[2][-1])
    return place if is_outside else None
