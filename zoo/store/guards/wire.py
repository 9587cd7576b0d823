"""Reads protobuf messages without the types they were written with, and tells by that which models' files are whole.

A message is walked one level at a time, and nothing calls itself: how deep a file nests costs no stack. Files are read
by position in bounded pieces and never mapped, for a mapped file that shrinks meanwhile ends the process.
Format: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from zoo.errors import IntegrityError, UnsafeFileError, UsageError
from zoo.store.unpacking import Source, opened, shown

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WINDOW = 1 << 14
_FIELDS = 1_000_000  # some seconds; the largest models of ordinary people have a fifth
_DEPTH = 100  # what protobuf itself reads
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
def explained(name: str, what: str) -> Iterator[None]:
    """Adds to the cause of a refusal which file it is about, as what it was read, and what to do.

    Args:
        name: What the file is called.
        what: What it should be, with its article: "an ONNX model".
    """
    try:
        yield
    except UnsafeFileError as error:
        raise UnsafeFileError(
            f"Refused {name} before anything opened it: expected {what}, but {error}. Get another copy from where it "
            "came from; if that is the same, look into it by hand before you use any of it."
        ) from error
    except IntegrityError as error:
        raise IntegrityError(
            f"{name} is damaged or something else: expected {what}, but {error}. Get it again from where it came "
            "from, or export it again."
        ) from error


@contextmanager
def _read(path: Path, name: str, what: str) -> Iterator[Wire]:
    with explained(name or str(path), what), opened(path) as source:
        if not source.size:
            raise IntegrityError("it is empty")
        if source.size > _LARGEST:
            raise IntegrityError(f"it has {source.size:,} bytes, and such a file has {_LARGEST:,} at most")
        yield Wire(source)


# --- ONNX: onnx.proto of IR version 13 ---

_ONNX_LEVEL = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES, 20: BYTES}
_ONNX_LEVEL |= {25: BYTES}
_FIRST_WITH_OPSETS = 3
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1
# Where a message can hold tensors, or messages that do: by its kind and the number of the field.
_ONNX_TREE = {
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
    with _read(path, name, "an ONNX model") as wire:
        refuse_other_than_onnx(wire)
        outside = _first_outside(wire)
    if outside is not None:
        raise UsageError(
            f"Expected an ONNX model that is one file; {name or path} keeps weights in other files (the first is "
            f"{shown(outside)}), which this version does not accept. Make it one: model = onnx.load({path.name!r}), "
            "then onnx.save(model, 'whole.onnx')."
        )


def refuse_other_than_onnx(wire: Wire) -> None:
    """Sees whether the top level of a file is that of an ONNX model.

    Raises:
        IntegrityError: It is not.
        UnsafeFileError: It has more fields than a model needs.
    """
    found = level(wire, _ONNX_LEVEL)
    if not found[1] or not found[7]:
        raise IntegrityError("it has no IR version or no graph")
    if found[1][-1].value >= _FIRST_WITH_OPSETS and not found[8]:
        raise IntegrityError("it does not say of which operator sets it is")


def _first_outside(wire: Wire) -> str | None:
    """Returns the file that holds the first tensor kept outside of the model; "?" where it has no name."""
    left = [("model", 0, wire.size, 1)]
    while left:
        kind, start, stop, depth = left.pop()
        if depth > _DEPTH:
            raise UnsafeFileError(f"it nests more than {_DEPTH} messages")
        if kind == "tensor":
            if (outside := _outside(wire, start, stop)) is not None:
                return outside
            continue
        below = [field for field in wire.fields(start, stop) if field.number in _ONNX_TREE[kind]]
        if any(field.wire != BYTES for field in below):
            raise IntegrityError(f"a {kind} of it is damaged")
        left += [(_ONNX_TREE[kind][each.number], each.start, each.stop, depth + 1) for each in reversed(below)]
    return None


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


# --- SavedModel: saved_model.proto, meta_graph.proto, graph.proto ---

_SAVED_MODEL_VERSION = 1
_META_GRAPH_LEVEL = dict.fromkeys(range(1, 8), BYTES)
_GRAPH_LEVEL = {1: BYTES, 2: BYTES, 3: VARINT, 4: BYTES}


def check_saved_model(path: Path, name: str = "") -> None:
    """Sees whether a file is a whole `saved_model.pb`, down to the graphs in it.

    Raises:
        IntegrityError: It is not, or is of a newer kind.
        UnsafeFileError: It has more fields than a model needs.
    """
    with _read(path, name, "the graph of a SavedModel") as wire:
        refuse_other_than_saved_model(wire)


def refuse_other_than_saved_model(wire: Wire) -> None:
    """Sees whether the first levels of a file are those of a SavedModel.

    Raises:
        IntegrityError: They are not.
        UnsafeFileError: It has more fields than a model needs.
    """
    found = level(wire, {1: VARINT, 2: BYTES})
    version = found[1][-1].value if found[1] else 0
    if version != _SAVED_MODEL_VERSION:
        raise IntegrityError(f"it is of version {version}, and this program knows {_SAVED_MODEL_VERSION}")
    if not found[2]:
        raise IntegrityError("it has no graph")
    for field in found[2]:
        _refuse_other_than_meta_graph(wire, field.start, field.stop)


def check_meta_graph(path: Path, name: str = "") -> None:
    """Sees whether a file is the `.meta` of a TensorFlow checkpoint.

    Raises:
        IntegrityError: It is not.
        UnsafeFileError: It has more fields than a model needs.
    """
    with _read(path, name, "the graph beside a TensorFlow checkpoint") as wire:
        _refuse_other_than_meta_graph(wire, 0, wire.size)


def _refuse_other_than_meta_graph(wire: Wire, start: int, stop: int) -> None:
    found = level(wire, _META_GRAPH_LEVEL, start, stop)
    if not found[1] or not found[2]:
        raise IntegrityError("a graph of it has no content")
    for field in found[2]:
        level(wire, _GRAPH_LEVEL, field.start, field.stop)


def refuse_other_than_frozen_graph(wire: Wire) -> None:
    """Sees whether the first levels of a file are those of a TensorFlow graph by itself.

    Raises:
        IntegrityError: They are not.
        UnsafeFileError: It has more fields than a model needs.
    """
    nodes = level(wire, _GRAPH_LEVEL)[1]
    if not nodes:
        raise IntegrityError("it has no node")
    for node in nodes:
        found = level(wire, {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: BYTES}, node.start, node.stop)
        if not found[1] or not found[2]:
            raise IntegrityError("a node of it has no name or no operation")


# --- Caffe: caffe.proto ---

_NET_LEVEL = {1: BYTES, 2: BYTES, 3: BYTES, 5: VARINT, 6: BYTES, 7: VARINT, 8: BYTES, 100: BYTES}
_LAYER, _OLD_LAYER = 100, 2  # numbers of the field; the older one may hold the oldest
_LAYER_LEVEL = {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 7: BYTES}
_OLD_LAYER_LEVEL = {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES}
_OLDEST_LAYER_LEVEL = {1: BYTES, 2: BYTES, 50: BYTES}


def check_caffemodel(path: Path, name: str = "") -> None:
    """Sees whether a file is a whole caffemodel: a net with layers, of which at least one has weights.

    Raises:
        IntegrityError: It is not.
        UnsafeFileError: It has more fields than a model needs.
    """
    with _read(path, name, "the weights of a Caffe net") as wire:
        refuse_other_than_caffemodel(wire)


def refuse_other_than_caffemodel(wire: Wire) -> None:
    """Sees whether the first levels of a file are those of a Caffe net with weights.

    Raises:
        IntegrityError: They are not.
        UnsafeFileError: It has more fields than a model needs.
    """
    net = level(wire, _NET_LEVEL)
    blobs = [blob for layer in net[_LAYER] for blob in level(wire, _LAYER_LEVEL, layer.start, layer.stop)[7]]
    for layer in net[_OLD_LAYER]:
        found = level(wire, _OLD_LAYER_LEVEL, layer.start, layer.stop)
        blobs += found[6]
        for oldest in found[1]:
            blobs += level(wire, _OLDEST_LAYER_LEVEL, oldest.start, oldest.stop)[50]
    if not blobs:
        raise IntegrityError("it has no layer with weights")
