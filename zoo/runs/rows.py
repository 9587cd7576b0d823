"""Reads files of rows to predict: arrays of numbers, or a table of them. Knows no model."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.npz import NpzFile
from zoo.data.whole_files import read_file
from zoo.errors import DataError

ROW_FILES = (".npy", ".npz", ".csv")
_AT_ONCE = 1024


def read_rows(path: Path) -> NDArray[Any]:
    """Returns the rows in a file, [n, ...].

    Args:
        path: A `.npy` file; an `.npz` with `x`, or one array of any name; or a `.csv` of numbers, a row a line, which
            may have names of columns above them.

    Raises:
        DataError: It is no such file, or damaged.
        UnsafeFileError: An `.npz` holds Python objects, or says one thing in one place and another elsewhere.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _table(path)
    array = _npz(path) if suffix == ".npz" else _npy(path)
    if not array.ndim or array.dtype.kind not in "biuf":
        raise DataError(f"{path}: expected rows of numbers [n, ...]; got {array.dtype} {list(array.shape)}.")
    _refuse_infinite(path, array)
    return array


def _refuse_infinite(path: Path, array: NDArray[Any]) -> None:
    """Refuses an array of which a row is not finite, before any row of it is predicted."""
    for begin in range(0, len(array) if array.dtype.kind == "f" else 0, _AT_ONCE):
        part = np.asarray(array[begin : begin + _AT_ONCE])
        faults = np.flatnonzero(~np.isfinite(part).reshape(len(part), -1).all(axis=1))
        if len(faults):
            raise DataError(f"{path}, row {begin + int(faults[0])}: expected numbers that are finite.")


def _npy(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TypeError) as error:
        raise DataError(f"{path} cannot be read as an array: {error}. Save numbers with numpy.save.") from error
    if not isinstance(array, np.ndarray):  # what numpy.load makes of an archive, whatever its name says
        raise DataError(f"{path} is no .npy file but an archive; call it .npz.")
    return array


def _npz(path: Path) -> NDArray[Any]:
    arrays = NpzFile(path)
    if "x" not in arrays.names and len(arrays.names) != 1:
        raise DataError(f"{path}: expected an array x; got {', '.join(arrays.names) or 'none'}.")
    return arrays.array("x" if "x" in arrays.names else arrays.names[0])


def _table(path: Path) -> NDArray[np.float32]:
    try:
        text = read_file(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        lines = [(reader.line_num, line) for line in reader if line]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.") from error
    rows: list[list[float]] = []
    for place, (line, fields) in enumerate(lines):
        values = [_number(field) for field in fields]
        if None not in values and (not rows or len(values) == len(rows[0])):
            rows.append([value for value in values if value is not None])
        elif place or not all(value is None for value in values):
            raise DataError(
                f"{path}, line {line}: expected {len(lines[0][1])} numbers that are finite, as many as in its first "
                f"line; got {delimiter.join(fields)[:100]!r}."
            )
    return np.array(rows, np.float32)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
