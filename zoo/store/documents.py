"""Small JSON files of the store: read with suspicion, for a power loss or a stranger may have been at them."""

from __future__ import annotations

import json
import stat
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_LARGEST = 16 << 20
_LARGEST_NUMBER = 1 << 63


def read_json(path: Path) -> Any:
    """Returns what is in a JSON file; None where it is not there, no regular file, or no JSON."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def parsed(kind: type[T], record: Any) -> T:
    """Returns the dataclass `kind` made of a JSON object whose fields have the types that it declares.

    Raises:
        ValueError: A field is missing, unknown or of another type; or it is no object.
    """
    hints = typing.get_type_hints(kind)
    if not isinstance(record, dict) or not set(record) <= set(hints):
        raise ValueError(f"no {kind.__name__}")
    for name, value in record.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{name!r} of {kind.__name__} is of the wrong kind")
    try:
        return kind(**record)
    except TypeError as error:
        raise ValueError(str(error)) from error


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, types.UnionType):
        return any(_fits(value, each) for each in typing.get_args(hint))
    if typing.get_origin(hint) is dict:
        return isinstance(value, dict) and all(type(each) is str for pair in value.items() for each in pair)
    if hint is int:
        return type(value) is int and 0 <= value < _LARGEST_NUMBER
    return type(value) is (types.NoneType if hint is None else hint)
