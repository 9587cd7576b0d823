"""Probes: how well a linear model on features does, in a fraction of the time of training a head on them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.targets import Task, strata
from zoo.training.linear import (
    STRENGTHS,
    Floats,
    encoding_of,
    fitted,
    held_out,
    one_thread,
    outputs_of,
    principal_axes,
    spread_rows,
    stratified_folds,
)

_MOST = 2000  # training examples
_PER_CLASS = 4  # or so many of each class, where that is more
_FOLDS, _FOLDS_OF_MANY, _MANY = 5, 3, 500
_AT_ONCE = 4096  # validation examples


@dataclass(frozen=True)
class Probe:
    """How well a linear model on features does.

    Attributes:
        score: Of the validation examples: accuracy, mean F1, or mean absolute error.
        loss: What to rank by: the mean of the losses of the validation examples, and of the training examples, each of
            those judged by a model that has not seen it. Where validation examples are few, they alone mislead.
        validation_loss: Of the validation examples alone: mean log-loss; of a regression the mean squared error over
            the variance of the training values.
        cross_loss: Of the training examples alone; NaN where there are too few.
        strength: Of the L2 penalty, which these chose.
        seconds: Wall time.
    """

    score: float
    loss: float
    validation_loss: float
    cross_loss: float
    strength: float
    seconds: float


def probe(
    train_features: Any,
    train_labels: NDArray[Any],
    validation_features: Any,
    validation_labels: NDArray[Any],
    task: Task = "classification",
) -> Probe:
    """Returns how well a linear model that is trained on some features does on others.

    It is logistic regression (ridge regression for values) on standardized features, with the L2 penalty that
    cross-validation on the training examples likes best. At most 2,000 training examples, or four of each class, are
    used. The same arguments give the same figures.

    Args:
        train_features: [n, d].
        train_labels: int64 [n] of classes; 0 or 1 [n, labels]; or values [n, outputs].
        validation_features: [m, d].
        validation_labels: Likewise; m of 1 or more.
        task: What the labels are.

    >>> x = np.arange(20, dtype=np.float32)[:, np.newaxis]
    >>> y = (x[:, 0] > 9).astype(np.int64)
    >>> probe(x, y, x, y).score
    1.0
    """
    with one_thread():
        return _probe(
            train_features, np.asarray(train_labels), validation_features, np.asarray(validation_labels), task
        )


def _probe(
    train_features: Any,
    train_labels: NDArray[Any],
    validation_features: Any,
    validation_labels: NDArray[Any],
    task: Task,
) -> Probe:
    began = time.perf_counter()
    seen = strata(train_labels, task)
    most = max(_MOST, _PER_CLASS * (int(seen.max(initial=0)) + 1))
    rows = spread_rows(seen, np.random.default_rng(0).permutation(len(seen)), most)
    features, labels = np.asarray(train_features[rows]), train_labels[rows]
    classes = None if task != "classification" else 1 + int(max(seen.max(initial=0), validation_labels.max(initial=0)))
    encoding, axes = encoding_of(labels, task, classes), principal_axes(features)
    x, targets = axes.coordinates(features), encoding.targets(labels)
    (strength, scale), crossed = (STRENGTHS[len(STRENGTHS) // 2], 1.0), np.empty(0)
    if len(x) > 1:
        folds = min(len(x), _FOLDS if len(x) <= _MANY else _FOLDS_OF_MANY)
        tried = held_out(x, targets, encoding, stratified_folds(seen[rows], folds))
        best = tried.best()
        (strength, scale), crossed = tried.settings[best], tried.losses[best]
    weights = scale * fitted(x, targets, encoding, strength)
    losses, scores = list[Floats](), list[Floats]()
    for begin in range(0, len(validation_labels), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        outputs = outputs_of(weights, axes.coordinates(np.asarray(validation_features[part])))
        wanted = encoding.targets(validation_labels[part])
        losses.append(encoding.judged(outputs, wanted)[0])
        scores.append(encoding.scores(outputs, wanted))
    judged = np.concatenate(losses)
    return Probe(
        score=float(np.concatenate(scores).mean()),
        loss=float(np.concatenate([judged, crossed]).mean()),
        validation_loss=float(judged.mean()),
        cross_loss=float(crossed.mean()) if len(crossed) else math.nan,
        strength=strength,
        seconds=time.perf_counter() - began,
    )
