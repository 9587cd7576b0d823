"""The guard of `.npz` files: what arrays a file holds, told from their headers alone, by a reader of our own.

A header is text in the syntax of Python, and an array of objects is a pickle. Neither is evaluated here: a header must
be written exactly as NumPy writes it, and arrays are of plain numbers or text.
Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.refusals import explained
from zoo.store.guards.signatures import NPY
from zoo.store.unpacking import Entry, Limits, Meter, nested_kind, opened, shown
from zoo.store.zips import zip_entries

Array = tuple[tuple[int, ...], str]
"""The shape of an array, and its dtype as NumPy writes it: "<f4", ">i8", "|u1"."""

_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}  # of the header's length, by version of the format
_LONGEST_HEADER = 1 << 16
_MOST_DIMENSIONS = 64
_MOST_ELEMENTS = 1 << 40
_LIMITS = Limits()

_TEXT = r"'[^'\\]*'|\"[^\"\\]*\""
_SHAPE = r"\((?:\d{1,19}L?,(?: ?\d{1,19}L?,)*(?: ?\d{1,19}L?)?)?\)"  # the L is Python 2's
_PAIR = re.compile(rf" *(?:'(\w+)'|\"(\w+)\") *: *({_TEXT}|True|False|{_SHAPE}|\[[^{{}}]*\]) *(,|(?=}}))")
_DTYPE = re.compile(r"([<>|=]?)([a-zA-Z])(\d{0,9})")
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8, 12, 16), "c": (8, 16, 24, 32)}


def npz_outline(path: Path, name: str = "") -> dict[str, Array]:
    """Returns the shape and dtype of each array in an `.npz` file, by its name there, in the order of the file.

    The whole file is read once, a bounded piece at a time, so that sizes and checksums are those of the bytes that are
    really there; nothing is written. The names are any text: no path may be made of them.

    Args:
        path: The file.
        name: What it is called in messages; empty: its path.

    Raises:
        UnsafeFileError: It has arrays of objects, arrays that claim more or less than is there, anything else than
            arrays, or it unpacks to more than its size allows.
        IntegrityError: It is damaged, holds no array, or arrays of a kind that is no number and no text.
        NotFoundError: There is no such file.
        DiskError: It cannot be read.
    """
    found: dict[str, Array] = {}
    with explained(name or str(path), "NumPy arrays in a zip (.npz)"), opened(path) as source:
        meter = Meter(_LIMITS.unpacked(source.size), "for its size it unpacks to")
        for entry in zip_entries(source, meter, _LIMITS):
            key = entry.path.removesuffix(".npy")
            if entry.is_folder or key == entry.path:
                raise UnsafeFileError(f"member {shown(entry.path)} is no array (.npy)")
            if key in found:
                raise UnsafeFileError(f"it holds two arrays called {shown(key)}")
            found[key] = _array(entry)
        if not found:
            raise IntegrityError("it holds no array")
    return found


def npy_outline(path: Path, name: str = "") -> Array:
    """Returns the shape and dtype of the array in an `.npy` file.

    Raises:
        UnsafeFileError: It is an array of objects, or claims more or less than is there.
        IntegrityError: It is damaged, or an array of a kind that is no number and no text.
        NotFoundError: There is no such file.
        DiskError: It cannot be read.
    """
    with explained(name or str(path), "a NumPy array (.npy)"), opened(path) as source:
        return _array(Entry(path.name, False, source.chunks(0, source.size)))


def _array(entry: Entry) -> Array:
    what = f"array {shown(entry.path)}"
    head, total = b"", 0
    for piece in entry.pieces:
        total += len(piece)
        if len(head) < _LONGEST_HEADER:
            head += piece[: _LONGEST_HEADER - len(head)]
    text, start = _header(head, total, what)
    shape, dtype = _described(text, what)
    claimed = start + math.prod(shape) * _item_bytes(dtype, what)
    if claimed != total:
        raise UnsafeFileError(f"{what} claims {claimed:,} bytes (shape {shape}, {dtype}) and has {total:,}")
    return shape, dtype


def _header(head: bytes, total: int, what: str) -> tuple[str, int]:
    """Returns the header's text, and where the data begins."""
    if not head.startswith(NPY):
        if kind := nested_kind(what, head):
            raise UnsafeFileError(f"{what} is no array, but {kind}")
        raise IntegrityError(f"{what} does not begin as an array does")
    version = tuple(head[6:8])
    size = _LENGTH_BYTES.get((version[0], version[1])) if len(version) == 2 else None
    if size is None:
        raise IntegrityError(f"{what} is of format {'.'.join(map(str, version))}, and this program knows 1.0 to 3.0")
    start = 8 + size
    stop = start + int.from_bytes(head[8:start], "little")
    if len(head) < start or stop > total:
        raise IntegrityError(f"{what} is cut short in its header")
    if stop > len(head):
        raise UnsafeFileError(f"{what} has a header of more than {_LONGEST_HEADER:,} bytes")
    try:
        return head[start:stop].decode("utf-8" if version == (3, 0) else "latin-1"), stop
    except UnicodeDecodeError as error:
        raise IntegrityError(f"the header of {what} is no text in UTF-8") from error


def _described(text: str, what: str) -> Array:
    """Returns the shape and dtype that a header tells, if it is written just as NumPy writes one."""
    pairs = dict(_pairs(text, what))
    if set(pairs) != {"descr", "fortran_order", "shape"} or pairs["fortran_order"] not in ("True", "False"):
        raise IntegrityError(f"the header of {what} does not tell dtype, order and shape: {shown(text.strip())}")
    if pairs["shape"][0] != "(" or pairs["descr"][0] not in "'\"[":
        raise IntegrityError(f"the header of {what} tells no shape or dtype: {shown(text.strip())}")
    shape = tuple(int(size) for size in re.findall(r"\d+", pairs["shape"]))
    if len(shape) > _MOST_DIMENSIONS or math.prod(shape) > _MOST_ELEMENTS:
        raise UnsafeFileError(f"{what} claims the shape {shown(str(shape))}, larger than any model's")
    return shape, _dtype(pairs["descr"], what)


def _pairs(text: str, what: str) -> Iterator[tuple[str, str]]:
    stripped = text.strip(" \n")
    at, seen = 1, set()
    while match := _PAIR.match(stripped, at):
        key = match[1] or match[2]
        if key in seen:
            raise UnsafeFileError(f"the header of {what} tells {shown(key)} twice")
        seen.add(key)
        yield key, match[3]
        at = match.end()
    if not stripped.startswith("{") or stripped[at:].strip(" ") != "}":
        raise IntegrityError(f"the header of {what} is not as NumPy writes one: {shown(stripped)}")


def _dtype(written: str, what: str) -> str:
    if written.startswith("["):
        if re.search(r"['\"][<>|=]?O\d*['\"]", written):
            raise _objects(what)
        raise IntegrityError(f"{what} is of records ({shown(written)}), not of numbers; save its fields one by one")
    return written[1:-1]


def _item_bytes(dtype: str, what: str) -> int:
    match = _DTYPE.fullmatch(dtype)
    if not match:
        raise IntegrityError(f"{what} has the dtype {shown(dtype)}, which is none of NumPy's")
    _, kind, size = match[1], match[2], int(match[3] or 0)
    if kind == "O":
        raise _objects(what)
    if kind == "V":
        raise IntegrityError(
            f"{what} is of raw bytes ({shown(dtype)}), as NumPy writes bfloat16 and float8; save it as float32"
        )
    if kind in "SU":
        return size * (4 if kind == "U" else 1)
    if size not in _SIZES.get(kind, ()):
        raise IntegrityError(f"{what} has the dtype {shown(dtype)}, which is no number and no text")
    return size


def _objects(what: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"{what} holds Python objects, which are a pickle, and a pickle runs code when it is opened (zoo opens none)"
    )
