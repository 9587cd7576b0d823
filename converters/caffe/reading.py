"""Reads Caffe's two files: what a net computes, and its weights; both may be text or binary, and of any age."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from zoo.converters.caffe.blobs import blob_array, shaped
from zoo.converters.caffe.schema import NetParameter
from zoo.converters.caffe.wire import Array, depth, fields

from zoo.errors import IntegrityError, NotFoundError, UnsafeFileError

_LARGEST_TEXT = 64 << 20  # bytes: weights in text are small nets' only
_LARGEST_NET = 16 << 20  # bytes without weights
_LARGEST = (1 << 31) - 1  # bytes of a message of protobuf
_ROOM_OF_BLOB = 64  # bytes that each array of weights counts as, with as many of them as there may be
_LONGEST_NAME, _LONGEST_REASON = 80, 300  # characters, in a message
_DEEPEST = 32  # messages in each other; Caffe's own are 5 deep
_NET_LAYER, _OLD_LAYER = 100, 2  # fields of NetParameter
_BLOBS = {_NET_LAYER: 7, _OLD_LAYER: 6}  # fields of a layer of each
_OLDEST, _OLDEST_BLOBS, _OLDEST_NAME = 1, 50, 1  # a layer in an old layer, and what it has
_NAMES = {_NET_LAYER: 1, _OLD_LAYER: 4}
_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|[{}<>]|[A-Za-z_]\w*|\n""")


@dataclass(frozen=True)
class CaffeFile:
    """A file of Caffe.

    Attributes:
        name: How messages call it.
        net: The message, without weights where it was binary.
        lines: Where the layers begin, in a text: one number for each, from 1 on.
        blobs: The weights of layers by their names.
    """

    name: str
    net: Any
    lines: tuple[int, ...] = ()
    blobs: dict[str, list[Array]] = field(default_factory=dict)


def read_caffe(path: Path) -> CaffeFile:
    """Returns what is in a file of Caffe, text or binary.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is damaged, or something else.
        UnsafeFileError: It is larger or deeper than such files are.
    """
    data = file_bytes(path, _LARGEST, "the paths of a .prototxt and its .caffemodel")
    text = _text(data)
    try:
        return _from_binary(path.name, data) if text is None else _from_text(path.name, text)
    except (text_format.ParseError, DecodeError, RecursionError) as error:
        raise IntegrityError(
            f"{path.name} is no net of Caffe, or damaged: {_reason(error)}. Fetch it again."
        ) from error
    except IntegrityError as error:
        raise IntegrityError(f"{path.name} is no net of Caffe, or damaged: {error}. Fetch it again.") from error


def file_bytes(path: Path, largest: int, wanted: str) -> bytes:
    """Returns all of a regular file of at most `largest` bytes; `wanted` is what messages ask for instead."""
    try:
        told = path.stat()
        if not stat.S_ISREG(told.st_mode):
            raise IntegrityError(f"{path} is no file. Give {wanted}.")
        if told.st_size > largest:
            raise UnsafeFileError(
                f"Refused {path.name}: it has {told.st_size:,} bytes, and such a file {largest:,} at most."
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}. Give {wanted}.") from None
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}.") from error


def _reason(error: Exception) -> str:
    text = "".join(each if each.isprintable() else "?" for each in " ".join(str(error).split()))
    return text[:_LONGEST_REASON] or type(error).__name__


def _text(data: bytes) -> str | None:
    """Returns a text; None where the file is binary, as one with control characters is."""
    if re.search(rb"[\x00-\x08\x0e-\x1f]", data[: 1 << 16]):
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        begins = data.lstrip()[:1]
        return data.decode("latin-1") if (begins.isalpha() or begins == b"#") and b"{" in data else None


# --- text ---


def _from_text(name: str, text: str) -> CaffeFile:
    if len(text) > _LARGEST_TEXT:
        raise UnsafeFileError(f"Refused {name}: a text of {len(text):,} characters; {_LARGEST_TEXT:,} are accepted.")
    lines = tuple(_lines(name, text))
    net = text_format.Parse(text, NetParameter(), allow_unknown_field=True)
    if not (net.layer or net.layers or net.input):
        raise IntegrityError("it has no layer and no input")
    layers = net.layer or net.layers
    blobs = {}
    for each in layers:
        if found := _blobs(each):
            label = each.layer.name if net.layers and each.HasField("layer") else each.name
            blobs[label] = _arrays(label, _array, found)
    for each in layers:
        _drop_blobs(each)
    return CaffeFile(name, net, lines, blobs)


def _lines(name: str, text: str) -> Iterator[int]:
    """Yields the numbers of the lines on which layers begin, and refuses what is nested too deep for a parser."""
    depth, line = 0, 1
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token == "\n":
            line += 1
        elif token in ("{", "<"):
            depth += 1
            if depth > _DEEPEST:
                raise UnsafeFileError(f"Refused {name}: line {line} is nested more than {_DEEPEST} deep.")
        elif token in ("}", ">"):
            depth -= 1
        elif not depth and token in ("layer", "layers"):
            yield line


def _blobs(layer: Any) -> Any:
    return layer.blobs or (layer.layer.blobs if hasattr(layer, "layer") else ())


def _drop_blobs(layer: Any) -> None:
    layer.ClearField("blobs")
    if hasattr(layer, "layer") and layer.HasField("layer"):
        layer.layer.ClearField("blobs")


def _array(blob: Any) -> Array:
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)
    return shaped(np.array(blob.double_data or blob.data), shape)


# --- binary ---


def _from_binary(name: str, data: bytes) -> CaffeFile:
    """Parses what is no weight with protobuf; the weights stay where they are in the file's bytes."""
    blobs: dict[str, list[Array]] = {}
    kept: list[bytes] = []
    room = _LARGEST_NET
    if depth(memoryview(data), _DEEPEST) == _DEEPEST:
        raise UnsafeFileError(f"Refused {name}: it has messages in each other, {_DEEPEST} deep or more.")
    for each in fields(memoryview(data)):
        if room < 0 or depth(each.whole, _DEEPEST) == _DEEPEST:
            raise UnsafeFileError(f"Refused {name}: {_LARGEST_NET:,} bytes of it or more are no weights, or lie deep.")
        room -= len(each.whole)
        if each.number not in _BLOBS or isinstance(each.value, int):
            kept.append(bytes(each.whole))
            continue
        rest, label, found = _without_blobs(each.value, each.number)
        kept += [_tag(each.number), _length(len(rest)), rest]
        room += sum(map(len, found)) - _ROOM_OF_BLOB * len(found)
        if found:
            blobs[label] = _arrays(label, blob_array, found)
    net = NetParameter.FromString(b"".join(kept))
    _check_names(net)
    if not (net.layer or net.layers or net.input):
        raise IntegrityError("it has no layer and no input")
    return CaffeFile(name, net, (), blobs)


def _without_blobs(layer: memoryview, kind: int) -> tuple[bytes, str, list[memoryview]]:
    """Returns a layer's other fields, its name, and its weights."""
    kept, label, found = [], "", []
    for each in fields(layer):
        if isinstance(each.value, int):
            kept.append(bytes(each.whole))
        elif each.number == _BLOBS[kind]:
            found.append(each.value)
        elif kind == _OLD_LAYER and each.number == _OLDEST:
            rest, label, more = _without_oldest_blobs(each.value)
            kept += [_tag(_OLDEST), _length(len(rest)), rest]
            found += more
        else:
            kept.append(bytes(each.whole))
            if each.number == _NAMES[kind]:
                label = bytes(each.value).decode(errors="replace")
    return b"".join(kept), label, found


def _without_oldest_blobs(layer: memoryview) -> tuple[bytes, str, list[memoryview]]:
    kept, label, found = [], "", []
    for each in fields(layer):
        if each.number == _OLDEST_BLOBS and not isinstance(each.value, int):
            found.append(each.value)
            continue
        kept.append(bytes(each.whole))
        if each.number == _OLDEST_NAME and not isinstance(each.value, int):
            label = bytes(each.value).decode(errors="replace")
    return b"".join(kept), label, found


def _check_names(net: Any) -> None:
    """Sees whether names are texts: protobuf gives bytes for those that are not.

    Raises:
        IntegrityError: One is not.
    """
    layers = [*net.layer, *net.layers, *(each.layer for each in net.layers)]
    names = [net.name, *net.input]
    for each in layers:
        texts = [each.name, each.type, *getattr(each, "bottom", ()), *getattr(each, "top", ())]
        names += [text for text in texts if not isinstance(text, int)]
    if odd := [each for each in names if isinstance(each, bytes)]:
        raise IntegrityError(f"the name {odd[0][:40]!r} is no text")


def _arrays(layer: str, array_of: Callable[[Any], Array], blobs: Iterable[Any]) -> list[Array]:
    try:
        return [array_of(each) for each in blobs]
    except IntegrityError as error:
        raise IntegrityError(f"layer {layer[:_LONGEST_NAME]!a}: {error}") from error


def _tag(number: int) -> bytes:
    return _length(number << 3 | 2)


def _length(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
