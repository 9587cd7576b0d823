"""Figures of a classifier on examples that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Evaluation:
    """How well probabilities agree with labels.

    Attributes:
        accuracy: Share of examples whose most probable class is theirs.
        loss: Mean of -log(probability of the true class).
        confusion: int64 [classes, classes]: true class by predicted class.
        count: Number of examples.
    """

    accuracy: float
    loss: float
    confusion: NDArray[np.int64]
    count: int


def evaluate(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> Evaluation:
    """Returns the figures of `probabilities` [n, classes] for `labels` [n].

    >>> result = evaluate(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]))
    >>> result.accuracy, result.confusion.tolist()
    (0.5, [[1, 0], [1, 0]])
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    confusion = np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    of_true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss = -np.log(np.maximum(of_true, np.finfo(np.float32).tiny)).mean() if len(labels) else float("nan")
    accuracy = float((predicted == labels).mean()) if len(labels) else float("nan")
    return Evaluation(accuracy, float(loss), confusion, len(labels))


def worst_mistakes(probabilities: NDArray[np.floating], labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Returns at most `count` examples that were taken for a wrong class, the surest mistakes first."""
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:count]
