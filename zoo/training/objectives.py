"""What training minimizes for each kind of task, and the figure beside it that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.data.targets import Task
from zoo.errors import UsageError
from zoo.training.evaluation import SCORES
from zoo.training.settings import Loss

_MOST_WEIGHT = 100.0  # of what is present against what is absent, in multilabel tasks


class Objective:
    """The loss and the score of each example, as functions of TensorFlow.

    Args:
        task: What the targets are.
        loss: What is minimized.
        targets: Those of the training examples: what classes weigh, and the scale of values, are taken from them.
        classes: Their names.

    Attributes:
        score_name: `accuracy`; `example_f1` (of each example's labels, 1 where it has none and none is found), or
            `mae`, in the unit of the values.
        center: float32 [outputs]: the mean of the training targets, 0 but for regression.
        spread: float32 [outputs]: their standard deviation, 1 but for regression.

    Raises:
        UsageError: Weights of classes that do not exist, or in a regression.
    """

    def __init__(
        self,
        task: Task = "classification",
        loss: Loss | None = None,
        targets: NDArray[Any] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self._task, self._loss = task, loss or Loss()
        self.score_name = SCORES[task]
        self.center, self.spread = np.zeros(1, np.float32), np.ones(1, np.float32)
        if task == "regression":
            self.center, self.spread = target_scale(targets)
        self._weights = _class_weights(task, self._loss, targets, classes)

    def losses(self, y: Any, outputs: Any) -> Any:
        """Returns the loss of each example: float32 [n].

        Args:
            y: Their targets: int64 [n]; or uint8 [n, classes], or float32 [n, outputs].
            outputs: What the model puts out for them, before softmax or sigmoid, or on the scale of `center` and
                `spread`: float32 [n, outputs].
        """
        smooth = self._loss.label_smoothing
        if self._task == "classification":
            return self._of_classes(y, outputs, smooth)
        if self._task == "multilabel":
            present = tf.cast(y, tf.float32)
            smoothed = present * (1 - smooth) + 0.5 * smooth
            each = tf.nn.sigmoid_cross_entropy_with_logits(smoothed, outputs)
            if self._weights is not None:
                each *= 1 + present * (self._weights - 1)
            return tf.reduce_mean(each, axis=1)
        error = outputs - (tf.cast(y, tf.float32) - self.center) / self.spread
        if self._loss.regression == "mae":
            return tf.reduce_mean(tf.abs(error), axis=1)
        if self._loss.regression == "huber":
            size = tf.abs(error)
            return tf.reduce_mean(tf.where(size <= 1, 0.5 * error**2, size - 0.5), axis=1)
        return tf.reduce_mean(error**2, axis=1)

    def scores(self, y: Any, outputs: Any) -> Any:
        """Returns the score of each example: float32 [n]; arguments as of `losses`."""
        if self._task == "classification":
            return tf.cast(tf.argmax(outputs, axis=1) == y, tf.float32)
        if self._task == "multilabel":
            present, found = tf.cast(y, tf.float32), tf.cast(outputs > 0, tf.float32)
            both, all_named = tf.reduce_sum(present * found, axis=1), tf.reduce_sum(present + found, axis=1)
            return tf.where(all_named > 0, 2 * both / tf.maximum(all_named, 1), 1.0)
        return tf.reduce_mean(tf.abs(outputs * self.spread + self.center - tf.cast(y, tf.float32)), axis=1)

    def _of_classes(self, y: Any, logits: Any, smooth: float) -> Any:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        if smooth:
            even = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=1)
            losses = (1 - smooth) * losses + smooth * even
        return losses if self._weights is None else losses * tf.gather(self._weights, y)


def target_scale(targets: NDArray[Any] | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the mean and the standard deviation of values [n, outputs], 1 where they are all the same."""
    if targets is None or not len(targets):
        return np.zeros(1, np.float32), np.ones(1, np.float32)
    values = np.asarray(targets, np.float64)
    spread = values.std(axis=0)
    return values.mean(axis=0).astype(np.float32), np.where(spread > 0, spread, 1).astype(np.float32)


def _class_weights(
    task: Task, loss: Loss, targets: NDArray[Any] | None, classes: Sequence[str] | None
) -> NDArray[np.float32] | None:
    weights = loss.class_weights
    if weights is None:
        return None
    if task == "regression":
        raise UsageError("A regression has no classes that could have weights; leave --class-weights (class_weights).")
    if isinstance(weights, Mapping):
        named = {str(name): weight for name, weight in weights.items()}
        unknown = [name for name in named if name not in (classes or ())]
        if unknown:
            raise UsageError(f"Expected weights of classes of {', '.join(classes or ())}; got {', '.join(unknown)}.")
        return np.array([named.get(name, 1.0) for name in classes or ()], np.float32)
    if targets is None or classes is None:
        raise UsageError("Balanced class weights need the training targets and the names of the classes.")
    if task == "multilabel":
        present = np.asarray(targets, np.float64).sum(axis=0)
        ratio = (len(targets) - present) / np.maximum(present, 1)
        return np.asarray(np.clip(ratio, 1 / _MOST_WEIGHT, _MOST_WEIGHT), np.float32)
    counts = np.bincount(targets, minlength=len(classes))
    return np.asarray(len(targets) / (len(classes) * np.maximum(counts, 1)), np.float32)
