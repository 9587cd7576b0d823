"""Examples in an `.npz` file: arrays `x`, `y`; and `x_val`, `y_val`, `x_test`, `y_test` where parts are given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.bad_files import BadFile, BadFilePolicy
from zoo.data.examples import Rows, number_targets, row_ids
from zoo.data.grouping import refuse_useless_groups
from zoo.data.npz import NpzFile
from zoo.data.split import group_numbers, joined_groups, own_numbers
from zoo.data.targets import Task
from zoo.errors import DataError, UsageError, nearest_names

if TYPE_CHECKING:
    from zoo.registry import InputSpec

_PARTS = {"": 0, "_val": 1, "_test": 2}
_TRAIN = "_train"  # of Keras's own data sets, for what is called x and y here


class NpzExamples:
    """Examples in an `.npz` file, read from there as long as it is the same file.

    Gray pictures without a channel (uint8 [n, height, width], as MNIST comes) get one.

    Args:
        path: The file.
        name: What the user called it.
        group_by: The array that says what belongs together; for `x_test` the one with `_test` after its name.
        task: What `y` holds.
        unlabelled: `y` is not looked at, and need not be there.

    Raises:
        DataError: It lacks an array, they do not fit, or it is damaged.
        UnsafeFileError: It has pickles, or claims sizes that it cannot have.
        UsageError: There is no array `group_by`, or it tells no groups apart.
    """

    paths: Sequence[str] | None = None
    opened: dict[str, Any] | None = None

    def __init__(
        self,
        path: Path,
        name: str,
        group_by: str | None = None,
        task: Task = "classification",
        *,
        unlabelled: bool = False,
    ) -> None:
        self._path, self.name, self.task = path, name, task
        self._status = _looks(path)
        arrays = _Arrays(NpzFile(path), path)
        self._x = [arrays.pictures(suffix) for suffix in arrays.suffixes]
        if len({(x.shape[1:], x.dtype) for x in self._x}) > 1:
            raise DataError(
                f"{path}: expected examples of one shape and kind; got "
                + " and ".join(f"{x.dtype} {list(x.shape[1:])}" for x in self._x)
                + "."
            )
        self.classes: tuple[str, ...] = ("",)
        if unlabelled:
            self.labels: NDArray[Any] = np.zeros(sum(len(x) for x in self._x), np.int64)
        else:
            labels = [arrays.labels(suffix, len(x)) for suffix, x in zip(arrays.suffixes, self._x, strict=True)]
            self.classes, self.labels = number_targets(np.concatenate(labels), task, None)
        self.ids = np.concatenate([row_ids(x) for x in self._x])
        self.shape: tuple[int | None, ...] = tuple(self._x[0].shape[1:])
        self.decoding: dict[str, Any] = {}
        self._begins = np.cumsum([0, *(len(x) for x in self._x)])
        numbers = [_PARTS[suffix] for suffix in arrays.suffixes]
        self.parts = np.repeat(np.array(numbers, np.int8), np.diff(self._begins)) if len(numbers) > 1 else None
        self.groups = None if group_by is None else self._groups(arrays, group_by)
        self.bad: tuple[BadFile, ...] = ()
        self.policy = BadFilePolicy()

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, rows: Rows) -> NDArray[Any]:
        """Returns the examples at `rows`, [len(rows), ...].

        Raises:
            DataError: The file was changed since it was opened.
        """
        if _looks(self._path) != self._status:
            raise DataError(f"{self._path} was changed after it was opened; open it again.")
        rows = np.asarray(rows)
        found = np.empty((len(rows), *self._x[0].shape[1:]), self._x[0].dtype)
        for x, begin in zip(self._x, self._begins, strict=False):
            inside = (rows >= begin) & (rows < begin + len(x))
            found[inside] = x[rows[inside] - begin]
        return found

    def seen_by(self, spec: InputSpec | None) -> NpzExamples:
        """Returns the same examples: nothing is left to decode."""
        return self

    def _groups(self, arrays: _Arrays, name: str) -> NDArray[np.int64]:
        if name not in arrays.file.names:
            raise UsageError(
                f"No array {name!r} to group by in {self._path}; it has {', '.join(arrays.file.names)}."
                f"{nearest_names(name, arrays.file.names)}"
            )
        numbers, names = own_numbers(self.ids), [""] * len(self)
        for suffix, x, begin in zip(arrays.suffixes, self._x, self._begins, strict=False):
            if name + suffix in arrays.file.names:
                values = arrays.values(name + suffix, len(x))
                names[begin : begin + len(x)] = [str(value) for value in values.tolist()]
                numbers[begin : begin + len(x)] = group_numbers(names[begin : begin + len(x)])
        refuse_useless_groups(names, name, "rows", "row 0")
        return joined_groups(self.ids, numbers)


class _Arrays:
    """The arrays of a file that examples are made of, checked."""

    def __init__(self, file: NpzFile, path: Path) -> None:
        self.file, self._path = file, path
        self.suffixes = [suffix for suffix in _PARTS if self._name("x", suffix) in file.names]
        if "" not in self.suffixes:
            raise DataError(
                f"{path}: expected arrays x and y (and x_test, y_test); it has {', '.join(file.names) or 'none'}. "
                "Save them by these names: np.savez(path, x=..., y=...)."
            )

    def _name(self, letter: str, suffix: str) -> str:
        names = [letter + suffix, letter + (suffix or _TRAIN)]
        return next((name for name in names if name in self.file.names), names[0])

    def pictures(self, suffix: str) -> NDArray[Any]:
        """Returns the examples of a part."""
        x = self.file.array(self._name("x", suffix))
        if x.ndim < 2 or x.dtype.kind not in "biuf":
            raise DataError(
                f"{self._path}: expected examples as an array of numbers [n, ...]; got {x.dtype} {list(x.shape)}."
            )
        return x[..., np.newaxis] if x.ndim == 3 and x.dtype == np.uint8 else x

    def labels(self, suffix: str, count: int) -> NDArray[Any]:
        """Returns the labels of a part's `count` examples."""
        name = self._name("y", suffix)
        if name not in self.file.names:
            raise DataError(
                f"{self._path}: expected labels in an array {name!r}; it has {', '.join(self.file.names)}. "
                "Save them by these names: np.savez(path, x=..., y=...)."
            )
        return self.values(name, count)

    def values(self, name: str, count: int) -> NDArray[Any]:
        """Returns an array with one value, or one row of them, for each of `count` examples."""
        values = np.asarray(self.file.array(name))
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim and len(values) != count:
            raise DataError(
                f"{self._path}: expected one label per example; got {count} examples and {len(values)} in {name}."
            )
        return np.char.decode(values, "utf-8", "surrogateescape") if values.dtype.kind == "S" else values


def _looks(path: Path) -> tuple[int, int, int] | None:
    """Returns what shows that a file is another; None where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
