"""What needs no training: guessing, and the nearest of the training examples. A model should do better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data import Rows
from zoo.data.targets import Task

_AT_ONCE = 8 << 20  # numbers in memory
_MOST_PRODUCTS, _MOST_NUMBERS = 2e12, 4e9


def guess(train: NDArray[Any], count: int, task: Task, classes: int) -> NDArray[np.float64]:
    """Returns what one says of `count` examples without a look at them: [count, classes].

    It is the shares of the classes or labels among the training examples, or the mean of the values.

    Args:
        train: Targets of the training examples: int64 [n], 0 or 1 [n, classes], or values [n, outputs].
        count: Of how many examples.
        task: Which of these.
        classes: How many there are.
    """
    if task == "classification":
        shares = np.bincount(train, minlength=classes) / len(train)
    else:
        shares = np.asarray(train, np.float64).mean(axis=0)
    return np.tile(shares, (count, 1))


def is_affordable(train: int, count: int, shape: Sequence[int]) -> bool:
    """Returns whether the neighbours of `count` examples among `train` ones are found in a minute or so.

    Args:
        train: Number of training examples.
        count: Number of those whose neighbours are wanted.
        shape: Of the features, with the examples first: [n, d], or [n, ..., channels].
    """
    return train * count * shape[-1] <= _MOST_PRODUCTS and math.prod(shape[1:]) * (train + count) <= _MOST_NUMBERS


def nearest_neighbors(
    x: Any, train: Rows, targets: NDArray[Any], rows: Rows, task: Task, classes: int, k: int = 5
) -> NDArray[np.float64]:
    """Returns the mean of what the `k` most similar training examples are: [m, classes].

    Similar is what points in the same direction (cosine); features are centred by the training examples' mean first,
    and maps are averaged over their places. A bounded part of the features is in memory at a time.

    Args:
        x: Features [n, d], or maps [n, ..., channels]; indexed by numbers of rows.
        train: int64 [t]: which of them are of training examples.
        targets: The targets of those, as of `guess`.
        rows: int64 [m]: which are asked about.
        task: What the targets are.
        classes: How many there are.
        k: How many are asked.
    """
    step = max(1, _AT_ONCE // max(1, math.prod(x.shape[1:])))
    blocks = [train[begin : begin + step] for begin in range(0, len(train), step)]
    center = sum(_vectors(x[block]).sum(axis=0, dtype=np.float64) for block in blocks) / len(train)
    values = np.eye(classes)[targets] if task == "classification" else np.asarray(targets, np.float64)
    found = []
    for begin in range(0, len(rows), step):
        asked = _directions(_vectors(x[rows[begin : begin + step]]) - center)
        near, at = np.empty((len(asked), 0), np.float32), np.empty((len(asked), 0), np.int64)
        for number, block in enumerate(blocks):
            alike = asked @ _directions(_vectors(x[block]) - center).T
            near = np.hstack([near, alike])
            at = np.hstack([at, np.broadcast_to(np.arange(len(block)) + number * step, alike.shape)])
            best = np.argpartition(-near, min(k, near.shape[1]) - 1, axis=1)[:, :k]
            near, at = np.take_along_axis(near, best, axis=1), np.take_along_axis(at, best, axis=1)
        found.append(values[at].mean(axis=1))
    return np.concatenate(found) if found else np.empty((0, classes))


def _vectors(x: Any) -> NDArray[np.float32]:
    numbers = np.asarray(x, np.float32)
    return numbers.mean(axis=tuple(range(1, numbers.ndim - 1))) if numbers.ndim > 2 else numbers


def _directions(x: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float32)
