"""Random damage to files: of bytes anywhere, and of what a zip, an HDF5 file, a table or a JSON document is made of."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
from model_files import field, table, varint

_BITS = (0, 7, 8, 15, 16, 31, 32, 40, 63)
_INTEGERS = [sign * ((1 << bits) + more) for bits in _BITS for more in (-1, 0, 1) for sign in (1, -1)]
_TEXTS = [
    *("", "\0", "\x1b[2J", "\u202egnp", "\ud800", "\xad", "a" * 5000, "../../up", "/etc/passwd", "a/b", "naïve", "٣"),
    *("Lambda", "__lambda__", "function", "__numpy__", "__tensor__", "__keras_tensor__", "__slice__", "__tuple__"),
    *("Sequential", "Functional", "Dense", "TFSMLayer", "builtins", "os", "keras.layers", "keras.src.saving", "eval"),
    *("float32", "bfloat16", "object", "int64", "relu", "glorot_uniform", "layer_names", "weight_names", "vars", "0"),
    *("class_name", "config", "module", "registered_name", "build_config", "inbound_nodes", "shared_object_id"),
]
_NUMBERS = [*_INTEGERS, 10**30, 0.0, -0.5, 1e308, float("nan"), float("inf")]
_MOST = 1 << 17  # bytes; what grows from mutation to mutation only gets slower


def mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Returns `data` with random damage; `other` is what it may be spliced with."""
    kinds = (each for magic, each in _BY_CONTENT.items() if data.startswith(magic) or data.endswith(magic))
    if (by_content := next(kinds, None)) and chance.random() < 0.75:
        with contextlib.suppress(Exception):  # of any kind: what was mutated before may be no such file any more
            data = by_content(data, other, chance)
            return data if chance.random() < 0.9 else _mutated_bytes(data, other, chance)
    return _mutated_bytes(data, other, chance)[:_MOST]


def _mutated_bytes(data: bytes, other: bytes, chance: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(out) + 1)
        if chance.random() < 0.3:
            at = chance.randrange(min(len(out), 512) + 1)  # heads decide most
        match chance.randrange(8):
            case 0:
                out[at : at + 1] = bytes(each ^ 1 << chance.randrange(8) for each in out[at : at + 1])
            case 1:
                size = chance.randrange(1, 9)
                out[at : at + size] = chance.choice((chance.randbytes(size), bytes(size), b"\xff" * size))
            case 2 if chance.random() < 0.3:
                del out[at:]
            case 3:
                out[at:at] = chance.choice(
                    (chance.randbytes(chance.randrange(1, 16)), varint(chance.choice(_INTEGERS)))
                )
            case 4:
                del out[at : at + chance.randrange(1, 64)]
            case 5:
                start, size = chance.randrange(len(other) + 1), chance.randrange(1, 512)
                out[at : at + chance.choice((0, size))] = other[start : start + size]
            case 6 if chance.random() < 0.3:
                out[at:] = other[chance.randrange(len(other) + 1) :]
            case _:
                width = chance.choice("BHIQ")
                at -= at % struct.calcsize(width)
                bits = 8 * struct.calcsize(width)
                out[at : at + bits // 8] = struct.pack(f"<{width}", chance.choice(_INTEGERS) % (1 << bits))
    return bytes(out)


# --- JSON ---


def _mutated_json(data: bytes, _: bytes, chance: random.Random) -> bytes:
    found = [json.loads(data)]
    for _ in range(chance.choice((1, 1, 2, 4))):
        places = list(_places(found))
        box, key = chance.choice(places)
        match chance.randrange(8):
            case 0 | 1:
                box[key] = chance.choice((chance.choice(_NUMBERS), chance.choice(_TEXTS), None, True, [], {}))
            case 2:
                box[key] = copy.deepcopy(_at(chance.choice(places)))
            case 3 if isinstance(box, dict):
                del box[key]
            case 4 if isinstance(box, dict):
                box[chance.choice(_TEXTS)] = chance.choice((box[key], chance.choice(_TEXTS)))
            case 5:
                for _ in range(chance.choice((1, 1, 2, 120, 2000))):
                    box[key] = chance.choice(([box[key]], {"config": box[key]}))
            case 6 if isinstance(box[key], list):
                box[key] = chance.choice((box[key][::-1], box[key] * 2, box[key][1:]))
            case 6 if isinstance(box[key], int):
                box[key] = chance.choice((-1, 1, 2, 10**3, 10**6, 10**9)) * box[key]
            case _:
                box[key] = {"class_name": chance.choice(_TEXTS), "module": chance.choice(_TEXTS), "config": box[key]}
    return json.dumps(found[0]).encode()


def _places(value: Any) -> Any:
    """Yields each place in a document: a list or a dict, and the index or key there."""
    left = [value]
    while left:
        box = left.pop()
        for key in range(len(box)) if isinstance(box, list) else list(box):
            yield box, key
            if isinstance(box[key], dict | list):
                left.append(box[key])


def _at(place: tuple[Any, Any]) -> Any:
    return place[0][place[1]]


# --- zip ---


def _mutated_zip(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Changes a member (and its checksums), the set of members, or a field of the headers."""
    if chance.random() < 0.2:
        return _mutated_headers(data, chance)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    number = chance.randrange(len(members))
    name, content = members[number]
    match chance.randrange(12):
        case 0:
            members[number] = chance.choice((chance.choice(_TEXTS), f"{name}/", f"./{name}", name.upper())), content
        case 1:
            members.append((chance.choice((name, f"assets/{name}", *_TEXTS)), content))
        case 2:
            del members[number]
        case _:
            members[number] = name, mutated(content, other, chance)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def _mutated_headers(data: bytes, chance: random.Random) -> bytes:
    """Changes one of the fields of all headers of a kind, or of one: names and sizes are among them."""
    magic = chance.choice((b"PK\1\2", b"PK\3\4", b"PK\5\6"))
    at, width = chance.randrange(4, 46, 2), chance.choice("HI")
    value = chance.choice((*_INTEGERS, len(data), len(data) // 2)) % (1 << 8 * struct.calcsize(width))
    places = [match.start() + at for match in re.finditer(re.escape(magic), data)]
    out = bytearray(data)
    for place in places if chance.random() < 0.3 else chance.sample(places, 1):
        out[place : place + struct.calcsize(width)] = struct.pack(f"<{width}", value)
    return bytes(out)


# --- tables of TensorFlow ---


def _mutated_table(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Changes entries of a table, and gives it checksums that are right."""
    entries = _entries(data)
    for _ in range(chance.choice((1, 1, 2))):
        number = chance.randrange(len(entries))
        key, value = entries[number]
        match chance.randrange(6):
            case 0:
                entries[number] = _mutated_bytes(key, other, chance), value
            case 1:
                entries[number] = key, value + field(chance.randrange(1, 9), chance.choice(_INTEGERS))
            case 2 if len(entries) > 1:
                del entries[number]
            case 3:
                entries.append((key + chance.randbytes(1), chance.choice(entries)[1]))
            case _:
                entries[number] = key, _mutated_bytes(value, chance.choice((other, data)), chance)
    if chance.random() < 0.9:
        entries.sort()
    return table(entries)


def _entries(data: bytes) -> list[tuple[bytes, bytes]]:
    """Returns the entries of a table, which is a whole one."""
    at, places = len(data) - 48, []
    for _ in range(4):  # where two blocks are, the second of which tells of all others
        place, at = _varint(data, at)
        places.append(place)
    handles = [value for _, value in _block_entries(data, *places[2:])]
    blocks = [(_varint(each, 0)[0], _varint(each, _varint(each, 0)[1])[0]) for each in handles]
    return [entry for block in blocks for entry in _block_entries(data, *block)]


def _block_entries(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    stop = offset + size
    stop -= 4 + 4 * int.from_bytes(data[stop - 4 : stop], "little")
    key = b""
    while offset < stop:
        shared, offset = _varint(data, offset)
        own, offset = _varint(data, offset)
        length, offset = _varint(data, offset)
        key = key[:shared] + data[offset : offset + own]
        offset += own + length
        yield key, data[offset - length : offset]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] > 0x7F:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1


# --- HDF5 ---


def _mutated_hdf5(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Changes links, attributes and data sets through h5py, in the ways that it allows."""
    out = io.BytesIO(data)
    with h5py.File(out, "r+", libver=chance.choice(("earliest", "latest"))) as file:
        paths: list[str] = []
        file.visit(paths.append)
        for _ in range(chance.choice((1, 1, 2))):
            path = chance.choice(["/", *paths])
            found = file[path]
            change = chance.choice((_change_attribute, _change_attribute, _change_data, _change_link))
            change(file, found, path, paths, chance)
    return out.getvalue()


def _change_attribute(file: h5py.File, found: Any, _: str, paths: list[str], chance: random.Random) -> None:
    if chance.random() < 0.5 and "model_config" in file.attrs:
        text = file.attrs["model_config"]
        file.attrs["model_config"] = _mutated_json(text.encode() if isinstance(text, str) else bytes(text), b"", chance)
        return
    name = chance.choice([*found.attrs, *_TEXTS]) or "name"
    value = found.attrs.get(name)
    values = [chance.choice(_TEXTS), chance.choice(_NUMBERS), h5py.Empty("f4"), np.zeros((2, 2)), np.arange(100), 1j]
    if isinstance(value, np.ndarray) and len(value):
        values += [value[::-1], value[1:], [*value, chance.choice(paths)], [chance.choice(_TEXTS)] * len(value)] * 3
    if chance.random() < 0.1 and name in found.attrs:
        del found.attrs[name]
    else:
        found.attrs[name] = chance.choice(values)


def _change_data(file: h5py.File, _: Any, path: str, paths: list[str], chance: random.Random) -> None:
    """Puts another data set in the place of one."""
    path = chance.choice([each for each in paths if isinstance(file[each], h5py.Dataset)])
    old = file[path]
    some: tuple[tuple[int, ...], ...] = ((0,), (2**31, 2**31), (2**63 - 1,))
    shape = chance.choice((old.shape, old.shape[::-1], (*old.shape, 1), old.shape[1:], *some))
    kinds = ("f2", "f4", ">f8", "i1", "u8", "c8", "?", "S5", "V2", "O", h5py.string_dtype(), "i4,f4", h5py.ref_dtype)
    kind = chance.choice((old.dtype, *kinds))
    options: dict[str, Any] = {}
    if shape and chance.random() < 0.5:
        filters = ({"compression": "gzip"}, {"compression": "lzf"}, {"scaleoffset": 0}, {"fletcher32": True}, {})
        options = {"chunks": True, "maxshape": (None,) * len(shape), **chance.choice(filters)}
    del file[path]
    if h5py.check_string_dtype(np.dtype(kind)):
        options["fillvalue"] = None
    file.create_dataset(path, shape, kind, **options)


def _change_link(file: h5py.File, found: Any, path: str, paths: list[str], chance: random.Random) -> None:
    name = chance.choice((path, chance.choice(paths), chance.choice(_TEXTS), f"{path}/{chance.choice(_TEXTS)}"))
    target = chance.choice(paths)
    if name in paths:
        del file[name]
    match chance.randrange(5):
        case 0:
            file[name] = h5py.SoftLink(target)
        case 1:
            file[name] = h5py.ExternalLink("secret", target)
        case 2:
            file[name] = np.dtype("f4")
        case 3:
            file[name] = found
        case _:
            file[name] = file[target]


def _mutated_text(data: bytes, _: bytes, chance: random.Random) -> bytes:
    """Changes what stands between braces, quotes and commas, as in the header of a NumPy array, or its numbers."""
    words = re.split(rb"([\s,:(){}'\"]+|\d+)", data[:512])
    at = chance.randrange(len(words))
    other = (str(chance.choice(_NUMBERS)).encode(), b"'|O'", b"(1,", b"\0", b"'<f4'", b"True")
    words[at] = chance.choice((*words, *other))
    return b"".join(words) + data[512:]


def _mutated_words(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Changes words of a message that is text, anywhere: to others of it, marks, and what is spelt differently."""
    words = re.split(rb"(\s+|[{}:<>\[\],]|\"[^\"]*\")", data)
    more = (
        b"<",
        b">",
        b"[",
        b"]",
        b"{",
        b"}",
        b"'",
        b"# x\n",
        b"\\",
        b'"\\x52ead" "File"',
        b"-1",
        b"0x7",
        b"op:",
        b"",
        b"\xff",
    )
    for _ in range(chance.choice((1, 1, 2, 4))):
        at, start = chance.randrange(len(words)), chance.randrange(len(words))
        size = chance.choice((1, 1, 1, 20, 200))
        words[at : at + chance.choice((0, 1, size))] = chance.choice(
            (words[start : start + size], [chance.choice(more)])
        )
    return b"".join(words)


_BY_CONTENT: dict[bytes, Callable[[bytes, bytes, random.Random], bytes]] = {
    b"PK": _mutated_zip,
    b"\x89HDF": _mutated_hdf5,
    b"{": _mutated_json,
    b"\x93NUMPY": _mutated_text,
    b"name:": _mutated_text,
    b"saved_model_schema_version:": _mutated_words,
    bytes.fromhex("57fb808b247547db"): _mutated_table,
}
