"""The learning-rate range test: a rate that rises from step to step, and the loss of each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.compiled import trace
from zoo.errors import DataError, TrainingError, UsageError
from zoo.progress import Progress, Silent
from zoo.surgery import training_call
from zoo.training.chunks import Part
from zoo.training.objectives import Objective
from zoo.training.optimizers import Group, Optimizers
from zoo.training.settings import FitSettings, Schedule

_SMOOTHING = 0.9  # of the mean that follows the losses, one share of which each step forgets
_TOO_HIGH = 4.0  # times the lowest loss: all is lost there


@dataclass(frozen=True)
class RateSearch:
    """What came of a range test.

    Attributes:
        rates: The learning rate of each step that was taken.
        losses: The loss of each step's batch, before the step.
        smoothed: Their running mean, corrected for its beginning.
        suggested: A rate to train with: two thirds down the longest stretch on which the smoothed loss falls; None
            where it never falls.
        steepest: The rate at which the smoothed loss falls fastest.
        lowest: The rate at which it is lowest.
        stopped: Why no higher rate was tried.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggested: float | None
    steepest: float | None
    lowest: float
    stopped: str


def find_rate(
    model: keras.Model,
    train: Part,
    settings: FitSettings | None = None,
    *,
    objective: Objective | None = None,
    first: float = 1e-6,
    last: float = 10.0,
    steps: int = 100,
    progress: Progress | None = None,
) -> RateSearch:
    """Returns how the loss behaves as the learning rate rises from step to step; the model stays as it is.

    Smith 2017, "Cyclical Learning Rates for Training Neural Networks"; where to read a rate off the curve is fast.ai's
    "valley".

    Args:
        model: It puts out what the objective takes.
        train: The examples; batches go round them as often as there are steps.
        settings: Batch size, seed and optimizer; its schedule and rate are not used.
        objective: What is minimized; None: the cross-entropy of classes.
        first: The lowest rate.
        last: The highest; it ends before that where the loss is four times its lowest.
        steps: How many rates, each the same number of times the one before.
        progress: Told about every step.

    Raises:
        UsageError: Rates that do not rise, or too few steps.
        DataError: There are no training examples.
        TrainingError: The loss is not finite from the beginning.
    """
    settings, objective = settings or FitSettings(), objective or Objective()
    if not 0 < first < last < math.inf:
        raise UsageError(f"Expected rates that rise from above 0; got {first:g} to {last:g}.")
    if steps < 10:
        raise UsageError(f"Expected at least 10 steps; got {steps}.")
    if not len(train):
        raise DataError("Expected training examples; got none.")
    before = [np.array(each) for each in model.variables]
    try:
        return _Test(model, train, settings, objective).run(np.geomspace(first, last, steps), progress or Silent())
    finally:
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)


class _Test:
    def __init__(self, model: keras.Model, train: Part, settings: FitSettings, objective: Objective) -> None:
        self._model, self._train, self._objective = model, train, objective
        self._size, self._random = settings.batch_size, np.random.default_rng(settings.seed)
        self._optimizers = Optimizers([Group(model.trainable_variables)], replace(settings, schedule=Schedule()), 1)
        self._forward, self._dtype = training_call(model), model.inputs[0].dtype
        x = tf.TensorSpec((None, *model.input_shape[1:]), self._dtype)
        y = tf.TensorSpec((None, *train.y.shape[1:]), train.y.dtype)
        self._step = trace(self._stepped, x, y)

    def run(self, rates: Any, progress: Progress) -> RateSearch:
        losses: list[float] = []
        stopped, lowest = "the highest rate was reached", math.inf
        progress.start(len(rates), "steps")
        try:
            for rate, rows in zip(rates, self._batches(len(rates)), strict=True):
                self._optimizers.set_rate(float(rate))
                x = tf.cast(np.asarray(self._train.x[rows]), self._dtype)
                losses.append(float(self._step(x, tf.convert_to_tensor(self._train.y[rows]))))
                lowest = min(lowest, _smoothed(losses)[-1])
                progress.advance(1, rate=float(rate), loss=losses[-1])
                if not math.isfinite(losses[-1]) or _smoothed(losses)[-1] > _TOO_HIGH * lowest + 1e-6:
                    stopped = f"the loss was {losses[-1]:.3g}, with a lowest mean of {lowest:.3g}"
                    break
        finally:
            progress.close()
        if sum(map(math.isfinite, losses)) < 2:
            raise TrainingError(
                f"The loss of step {len(losses)} is {losses[-1]}, with a rate of {rates[len(losses) - 1]:.2g}: nothing "
                f"can be read off so few. Begin lower (--first, now {rates[0]:.2g}), and look at the data: zoo check"
            )
        return summed_up(rates.tolist()[: len(losses)], losses, stopped)

    def _batches(self, count: int) -> list[Any]:
        """Returns the rows of so many batches: permutations of the examples, one after another."""
        size, rows = min(self._size, len(self._train)), self._train.rows
        rounds = -(-count // (len(rows) // size))
        orders = [self._random.permutation(rows)[: len(rows) // size * size] for _ in range(rounds)]
        return list(np.concatenate(orders).reshape(-1, size)[:count])

    def _stepped(self, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self._objective.losses(y, tf.cast(self._forward(x), tf.float32)))
            penalized = tf.add_n([loss, *(tf.cast(each, tf.float32) for each in self._model.losses)])
        self._optimizers.apply(tape.gradient(penalized, self._optimizers.trained))
        return loss


def summed_up(rates: Sequence[float], losses: Sequence[float], stopped: str) -> RateSearch:
    """Returns what a range test tells, of its rates and losses.

    >>> rates = [10.0**power for power in range(-6, 1)]
    >>> summed_up(rates, [2, 2, 1.8, 1, 0.5, 3, 50], "").lowest
    0.01
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    rates, smoothed = list(rates[: len(finite)]), _smoothed(finite)
    lowest = rates[int(np.argmin(smoothed))] if finite else math.nan
    valley = _longest_fall(smoothed)
    suggested = steepest = None
    if len(valley) > 2:
        suggested = rates[valley[0] + 2 * (valley[-1] - valley[0]) // 3]
        slope = np.gradient(smoothed, np.log(rates))
        begin = min(max(valley[0], len(rates) // 10), valley[-1])  # the mean of the first few losses is noise
        steepest = rates[begin + int(np.argmin(slope[begin : valley[-1] + 1]))]
    return RateSearch(tuple(rates), tuple(finite), tuple(smoothed), suggested, steepest, lowest, stopped)


def _smoothed(losses: Sequence[float]) -> list[float]:
    mean, found = 0.0, []
    for number, loss in enumerate(losses, 1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        found.append(mean / (1 - _SMOOTHING**number))
    return found


def _longest_fall(values: Sequence[float]) -> list[int]:
    """Returns the places of a longest subsequence that falls from place to place."""
    lengths, before = [1] * len(values), [-1] * len(values)
    for at, value in enumerate(values):
        for earlier in range(at):
            if values[earlier] > value and lengths[earlier] + 1 > lengths[at]:
                lengths[at], before[at] = lengths[earlier] + 1, earlier
    at, places = int(np.argmax(lengths)) if len(values) else -1, list[int]()
    while at >= 0:
        places.append(at)
        at = before[at]
    return places[::-1]
