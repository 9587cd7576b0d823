"""Optimizers of Keras, as `Optimizer` and `Schedule` describe them, with a rate for each group of variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from zoo.training.settings import FitSettings, Optimizer, Schedule

_ONE_CYCLE_START, _ONE_CYCLE_END, _ONE_CYCLE_RISE = 1 / 25, 1e-5, 0.25  # as fastai has them


@dataclass(frozen=True)
class Group:
    """Variables that are trained with `factor` times the learning rate."""

    variables: Sequence[Any]
    factor: float = 1.0


class Optimizers:
    """One optimizer for each group of variables; gradients are clipped before, those of all groups together.

    Args:
        groups: The variables.
        settings: How to train.
        steps: How many steps an epoch has.
    """

    def __init__(self, groups: Sequence[Group], settings: FitSettings, steps: int) -> None:
        self._settings = settings.optimizer
        self._groups = [group for group in groups if group.variables]
        self._optimizers = []
        for group in self._groups:
            optimizer = keras_optimizer(
                settings.optimizer,
                keras_schedule(settings.schedule, settings.learning_rate * group.factor, settings.epochs, steps),
            )
            # Biases, scales and offsets are few, and have a place to be in that is not 0.
            optimizer.exclude_from_weight_decay([each for each in group.variables if len(each.shape) < 2])
            optimizer.build(list(group.variables))
            self._optimizers.append(optimizer)

    @property
    def trained(self) -> list[Any]:
        """The variables of all groups."""
        return [variable for group in self._groups for variable in group.variables]

    @property
    def variables(self) -> list[Any]:
        """What the optimizers remember: their moments, and how many steps they took; the rate is a setting."""
        found = [variable for optimizer in self._optimizers for variable in optimizer.variables]
        return [variable for variable in found if variable.name != "learning_rate"]

    @property
    def learning_rate(self) -> float:
        """The rate of the next step, of the first group."""
        return float(self._optimizers[0].learning_rate) if self._optimizers else 0.0

    def set_rate(self, rate: float) -> None:
        """Gives every group its share of a learning rate; there must be no schedule."""
        for group, optimizer in zip(self._groups, self._optimizers, strict=True):
            optimizer.learning_rate = rate * group.factor

    def apply(self, gradients: Sequence[Any]) -> None:
        """Takes a step: `gradients` as `trained` has the variables."""
        clipped, begin = clipped_gradients(gradients, self._settings), 0
        for group, optimizer in zip(self._groups, self._optimizers, strict=True):
            end = begin + len(group.variables)
            optimizer.apply(clipped[begin:end], list(group.variables))
            begin = end


def keras_optimizer(settings: Optimizer, learning_rate: Any) -> Any:
    """Returns the optimizer of Keras that `settings` describe, without clipping.

    Args:
        settings: Its name and hyperparameters.
        learning_rate: A number, or a schedule of Keras.
    """
    of, value = keras.optimizers, settings.value
    decay = value("weight_decay") or None
    if settings.name in ("sgd", "momentum", "nesterov"):
        momentum = 0.0 if settings.name == "sgd" else value("momentum")
        return of.SGD(learning_rate, momentum, nesterov=settings.name == "nesterov", weight_decay=decay)
    if settings.name == "adagrad":
        return of.Adagrad(learning_rate, value("initial_accumulator"), value("epsilon"), weight_decay=decay)
    if settings.name == "rmsprop":
        return of.RMSprop(
            learning_rate, value("rho"), momentum=value("momentum"), epsilon=value("epsilon"), weight_decay=decay
        )
    betas = {"beta_1": value("beta_1"), "beta_2": value("beta_2"), "epsilon": value("epsilon")}
    if settings.name == "adamw":
        return of.AdamW(learning_rate, weight_decay=value("weight_decay"), **betas)
    return of.Adam(learning_rate, weight_decay=decay, **betas)


def clipped_gradients(gradients: Sequence[Any], settings: Optimizer) -> list[Any]:
    """Returns gradients as Keras' optimizers clip them; None stays None."""
    if settings.clip_global_norm is not None:
        return list(tf.clip_by_global_norm(gradients, settings.clip_global_norm)[0])
    if settings.clip_norm is not None:
        return [None if each is None else tf.clip_by_norm(each, settings.clip_norm) for each in gradients]
    if settings.clip_value is not None:
        limit = settings.clip_value
        return [None if each is None else tf.clip_by_value(each, -limit, limit) for each in gradients]
    return list(gradients)


def keras_schedule(schedule: Schedule, rate: float, epochs: int, steps: int) -> Any:
    """Returns the learning rate of each step, as an optimizer of Keras takes it: a number, or a schedule.

    Args:
        schedule: How it changes.
        rate: The highest.
        epochs: How many there are at most.
        steps: Of each of them.
    """
    of, warmup = keras.optimizers.schedules, round(schedule.warmup * steps)
    total = max(1, epochs * steps)
    if schedule.name == "one-cycle":
        rise = max(1, round(_ONE_CYCLE_RISE * total))
        return of.CosineDecay(
            rate * _ONE_CYCLE_START, max(1, total - rise), _ONE_CYCLE_END, warmup_target=rate, warmup_steps=rise
        )
    after: Any = rate
    if schedule.name == "cosine":
        after = of.CosineDecay(rate, max(1, total - warmup), schedule.end)
    elif schedule.name == "exponential":
        after = of.ExponentialDecay(rate, max(1, steps), schedule.decay)
    return _Warmup(rate, warmup, after) if warmup else after


class _Warmup(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rises in even steps to a rate, and goes on as another schedule does from its beginning."""

    def __init__(self, rate: float, steps: int, after: Any) -> None:
        self._rate, self._steps, self._after = rate, steps, after

    def __call__(self, step: Any) -> Any:
        number = tf.cast(step, tf.float32)
        after = self._after(tf.maximum(number - self._steps, 0)) if callable(self._after) else self._rate
        return tf.where(number < self._steps, self._rate * (number + 1) / self._steps, after)

    def get_config(self) -> dict[str, Any]:
        return {"rate": self._rate, "steps": self._steps, "after": self._after}
