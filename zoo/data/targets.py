"""What a model is to say of an example: its class, some of several labels, or values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError

Task = Literal["classification", "multilabel", "regression"]
TASKS: tuple[Task, ...] = get_args(Task)

SEPARATOR = "|"
_LARGEST = float(np.finfo(np.float32).max)
_LONG = 1000  # Python refuses to read numbers much longer than that


def targets_of_names(names: Sequence[str], task: Task) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Returns the names of the classes in order (numbers as numbers), and the target of each example.

    Args:
        names: What each example is called: a class, labels with `|` between them, or a number.
        task: Which of these.

    Raises:
        DataError: A value is no finite number.

    >>> targets_of_names(["a|b", "", "b"], "multilabel")[1].tolist()
    [[1, 1], [0, 0], [0, 1]]
    """
    if task == "regression":
        return ("value",), np.array([[finite_number(name)] for name in names], np.float32)
    if task == "classification":
        classes, number = _numbered(names)
        return classes, np.array([number[name] for name in names], np.int64)
    parts = [[part for each in name.split(SEPARATOR) if (part := each.strip())] for name in names]
    classes, number = _numbered([part for each in parts for part in each])
    found = np.zeros((len(names), len(classes)), np.uint8)
    for row, each in enumerate(parts):
        found[row, [number[part] for part in each]] = 1
    return classes, found


def targets_of_array(y: NDArray[Any], task: Task, classes: Sequence[str] | None) -> tuple[tuple[str, ...], Any]:
    """Returns the names of the classes, and the targets [n, outputs] that an array holds.

    Args:
        y: 0 or 1 for each label, [n, labels]; or values, [n] or [n, outputs].
        task: `multilabel` or `regression`.
        classes: Names of the columns; None: their numbers, or `value`.

    Raises:
        DataError: The array is another.
    """
    values = y[:, None] if y.ndim == 1 else y
    if values.ndim != 2 or values.dtype.kind not in "biuf" or not values.shape[1]:
        wanted = "0 or 1 for each label, [n, labels]" if task == "multilabel" else "numbers, [n] or [n, outputs]"
        raise DataError(f"Expected {wanted}, for {task}; got {y.dtype} {list(y.shape)}.")
    if task == "multilabel" and not np.isin(values, (0, 1)).all():
        raise DataError("Expected 0 or 1 for each label; got other numbers. For values: task='regression'.")
    if values.dtype.kind == "f" and not (np.abs(values) <= _LARGEST).all():
        raise DataError(f"Expected values that are finite, and at most {_LARGEST:.2g}; got others.")
    count = values.shape[1]
    only = ("value",) if task == "regression" and count == 1 else tuple(str(number) for number in range(count))
    names = tuple(classes) if classes is not None else only
    if len(names) != count:
        raise DataError(f"Expected a name for each of {count} columns; got {len(names)}.")
    return names, values.astype(np.uint8 if task == "multilabel" else np.float32)


def strata(labels: NDArray[Any], task: Task) -> NDArray[np.int64]:
    """Returns what a split keeps the proportions of: int64 [n].

    Args:
        labels: int64 [n] of classes; uint8 [n, classes] of labels; float32 [n, outputs] of values.
        task: Which of these they are.

    Of labels it is the rarest that an example has, or a stratum of its own where it has none; values have but one.

    >>> strata(np.array([[1, 1], [1, 0], [0, 0]], np.uint8), "multilabel")
    array([1, 0, 2])
    """
    if task == "classification":
        return labels
    if task == "regression":
        return np.zeros(len(labels), np.int64)
    counts = labels.sum(axis=0, dtype=np.int64)
    rarity = np.where(labels > 0, counts, np.iinfo(np.int64).max)
    found: NDArray[np.int64] = np.where(labels.any(axis=1), rarity.argmin(axis=1), labels.shape[1]).astype(np.int64)
    return found


def target_names(labels: NDArray[Any], classes: Sequence[str], task: Task) -> list[str]:
    """Returns the targets as people write them: a class, labels with `|` between them, or values."""
    if task == "classification":
        return [classes[int(label)] for label in labels]
    if task == "multilabel":
        return [SEPARATOR.join(classes[int(number)] for number in np.flatnonzero(row)) for row in labels]
    return [SEPARATOR.join(f"{value:.7g}" for value in row) for row in labels]


def finite_number(text: str) -> float:
    """Returns the number that a text is.

    Raises:
        DataError: It is none, or not finite.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LARGEST:
        raise DataError(f"expected a number for a regression; got {text!r}")
    return value


def _numbered(names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    unique = set(names)
    numbers = all(name.isascii() and name.isdigit() and len(name) < _LONG for name in unique)
    classes = sorted(unique, key=lambda name: (int(name), name)) if numbers else sorted(unique)
    return tuple(classes), {name: number for number, name in enumerate(classes)}
