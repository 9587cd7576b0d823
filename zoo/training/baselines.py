"""What needs no training: guessing, and the nearest of the training examples. A model should do better."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.targets import Task

_AT_ONCE = 16 << 20  # similarities


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


def nearest_neighbors(
    train_features: Any, train: NDArray[Any], features: Any, task: Task, classes: int, k: int = 5
) -> NDArray[np.float64]:
    """Returns the mean of what the `k` most similar training examples are: [m, classes].

    Similar is what points in the same direction (cosine); features are centred by the training examples' mean first.

    Args:
        train_features: [n, d].
        train: Their targets, as of `guess`.
        features: [m, d].
        task: What the targets are.
        classes: How many there are.
        k: How many are asked.
    """
    known = np.asarray(train_features[:], np.float32)
    center = known.mean(axis=0)
    known = _directions(known - center)
    targets = np.eye(classes)[train] if task == "classification" else np.asarray(train, np.float64)
    k, step, found = min(k, len(known)), max(1, _AT_ONCE // len(known)), []
    for begin in range(0, len(features), step):
        near = _directions(np.asarray(features[begin : begin + step], np.float32) - center) @ known.T
        found.append(targets[np.argpartition(-near, k - 1, axis=1)[:, :k]].mean(axis=1))
    return np.concatenate(found) if found else np.empty((0, classes))


def _directions(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float32)
