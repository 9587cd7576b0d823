"""Judges what a child process tells of an HDF5 file: whether it makes sense, and whether a model may ask for so much.

How the child is run is not known here, and no file is opened: its words are all that there is.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.unpacking import shown

_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}
_MOST_ELEMENTS = 1 << 40
_LARGEST_CHUNK = 512 << 20  # a chunk is unpacked whole, in three times its size
_RATIO = 100
_ALLOWANCE = 64 << 20  # bytes that any data set, chunk or file may unpack to
_REFUSED_DTYPES = {
    "named datatype": "a datatype that lies elsewhere in the file",
    "references": "references to other objects",
    "variable length": "sequences of any length",
}
_DTYPE = re.compile(r"[<>|][biufcSV]\d{1,9}|string")


@dataclass(frozen=True)
class Told:
    """What the child tells of a data set: also what it has in the file, packed, and where."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    item: int
    filters: tuple[int, ...]
    chunk: tuple[int, ...]
    chunks: int
    stored: int
    address: int

    @property
    def bytes(self) -> int:
        """What it has in memory."""
        return math.prod(self.shape) * self.item

    @property
    def unpacked(self) -> int:
        """Bytes that come out of the file where it is read: of a chunk at the edge, also those beyond the shape."""
        return max(self.bytes, self.chunks * math.prod(self.chunk) * self.item)

    @property
    def is_to_be_read(self) -> bool:
        """Whether bytes in it lead to others, so that sizes alone do not tell what comes out of it."""
        return bool(self.chunk) or self.dtype == "string"


def plain(text: object) -> str:
    """Returns words of the child's, which may repeat what stands in the file, fit for a terminal."""
    return "".join(each if each.isprintable() else "?" for each in str(text))[:400]


def nonsense() -> UnsafeFileError:
    """Returns the error for an answer that no lister gives."""
    return UnsafeFileError("the program that reads it gave an answer without sense, as after a crash")


def refuse_forbidden(told: Any) -> None:
    """Refuses a file with a link that must not be followed, or an object that must not be opened.

    Raises:
        UnsafeFileError: It has one; `told` is its path, its kind, and where it leads.
    """
    if told is None:
        return
    path, kind, target = (plain(part) for part in (told if isinstance(told, list) and len(told) == 3 else "???"))
    leads = f" to {shown(target)}" if target else ""
    meanings = {
        "soft link": f"is a soft link{leads}, which may lead anywhere",
        "external link": f"is an external link{leads}: it reads another file",
        "external storage": f"is a data set with external storage{leads}: it reads another file",
        "virtual data set": f"is a virtual data set{leads}: it reads other files",
        "group again": "is a group that has another path too, so that its tree has no end, or grows by far",
        "named datatype": "is a named datatype, which no model needs",
    }
    raise UnsafeFileError(f"its {shown(path)} {meanings.get(kind, f'is a {kind}, which no model needs')}")


def told_datasets(told: Any) -> list[Told]:
    """Returns the child's words on the data sets with their types looked at, for the file may have changed its mind.

    Raises:
        UnsafeFileError: They make no sense.
    """
    try:
        datasets = [
            Told(
                path=_text(each["path"]),
                shape=_numbers(each["shape"]),
                dtype=_text(each["dtype"]),
                item=_number(each["item"]),
                filters=_numbers(each["filters"]),
                chunk=_numbers(each["chunk"]),
                chunks=_number(each["chunks"]),
                stored=_number(each["stored"]),
                address=_number(each["address"]),
            )
            for each in _list(told)
        ]
    except (KeyError, TypeError) as error:
        raise nonsense() from error
    if len({each.path for each in datasets}) != len(datasets):
        raise nonsense()
    return datasets


def told_attributes(told: Any) -> dict[str, dict[str, Any]]:
    """Returns the child's words on the attributes, by the path of the object.

    Raises:
        UnsafeFileError: They make no sense.
    """
    attributes: dict[str, dict[str, Any]] = {}
    try:
        for path, values in _list(told):
            parts = [part for value in values.values() for part in (value if isinstance(value, list) else [value])]
            if not all(isinstance(part, str | int | float) for part in parts):
                raise TypeError
            attributes[_text(path)] = values
    except (TypeError, ValueError, AttributeError) as error:
        raise nonsense() from error
    return attributes


def _list(told: Any) -> list[Any]:
    if not isinstance(told, list):
        raise TypeError
    return told


def _text(told: Any) -> str:
    if not isinstance(told, str):
        raise TypeError
    return told


def _number(told: Any) -> int:
    if not isinstance(told, int) or told < 0:
        raise TypeError
    return told


def _numbers(told: Any) -> tuple[int, ...]:
    return tuple(_number(each) for each in _list(told))


def refuse_bombs(datasets: list[Told], size: int) -> None:
    """Compares what data sets claim with what they and the file have.

    Raises:
        UnsafeFileError: They claim too much, need filters, or hold what is no number.
        IntegrityError: One is of a datatype without a name.
    """
    for each in datasets:
        what = f"data set {shown(each.path)}"
        _refuse_dtype(each, what)
        _refuse_filters(each, what)
        _refuse_sizes(each, what)
    stored = sum({each.address: each.stored for each in datasets}.values())
    if stored > size:
        raise UnsafeFileError(f"its data sets lie one over another: they have {stored:,} bytes in a file of {size:,}")
    unpacked = sum(each.unpacked for each in datasets)
    if unpacked > _RATIO * size + _ALLOWANCE:
        raise UnsafeFileError(f"its data sets unpack to {unpacked:,} bytes, out of {size:,}")


def _refuse_dtype(told: Told, what: str) -> None:
    if kind := _REFUSED_DTYPES.get(told.dtype):
        raise UnsafeFileError(f"{what} holds {kind}, and a model's are numbers")
    if told.dtype == "unknown":
        raise IntegrityError(f"{what} is of a datatype that NumPy does not have")
    if not _DTYPE.fullmatch(told.dtype):
        raise nonsense()


def _refuse_filters(told: Told, what: str) -> None:
    allowed = ", ".join(f"{name} ({number})" for number, name in _FILTERS.items())
    if strange := [number for number in told.filters if number not in _FILTERS]:
        raise UnsafeFileError(f"{what} needs filter {strange[0]}, and a model's needs {allowed} or none")
    if len(set(told.filters)) != len(told.filters):
        raise UnsafeFileError(f"{what} is packed by one filter twice ({', '.join(map(str, told.filters))})")


def _refuse_sizes(told: Told, what: str) -> None:
    shape = shown(str(told.shape))
    if math.prod(told.shape) > _MOST_ELEMENTS:
        raise UnsafeFileError(f"{what} claims the shape {shape}, larger than any model's")
    chunk = math.prod(told.chunk) * told.item
    if told.chunk and chunk > min(max(told.bytes, _ALLOWANCE), _LARGEST_CHUNK):
        raise UnsafeFileError(f"{what} of the shape {shape} comes in chunks of {chunk:,} bytes, larger than sensible")
    if told.unpacked > max(_RATIO * told.stored, _ALLOWANCE):
        raise UnsafeFileError(
            f"{what} unpacks to {told.unpacked:,} bytes (shape {shape}), more than {_RATIO} times the {told.stored:,} "
            "bytes that it has in the file"
        )
