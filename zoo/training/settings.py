"""How to train: plain data, without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from zoo.errors import UsageError

OptimizerName = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]
ScheduleName = Literal["constant", "cosine", "exponential", "one-cycle"]
RegressionLoss = Literal["mse", "mae", "huber"]

OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)
SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)
REGRESSION_LOSSES: tuple[RegressionLoss, ...] = get_args(RegressionLoss)

_ADAMS = ("adam", "adamw")
_OWNERS: dict[str, tuple[str, ...]] = {
    "momentum": ("momentum", "nesterov", "rmsprop"),
    "rho": ("rmsprop",),
    "beta_1": _ADAMS,
    "beta_2": _ADAMS,
    "epsilon": ("adagrad", "rmsprop", *_ADAMS),
    "initial_accumulator": ("adagrad",),
}
_DEFAULTS: dict[str, float] = {
    "momentum": 0.9, "rho": 0.9, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "initial_accumulator": 0.1,
}  # fmt: skip
_ADAM_EPSILON = 1e-8
_ADAMW_DECAY = 0.004


@dataclass(frozen=True)
class Optimizer:
    """How gradients become steps. What is None has the value that the optimizer's authors, or Keras, gave it.

    Attributes:
        name: `sgd`; `momentum` (Polyak 1964); `nesterov` (Nesterov 1983); `adagrad` (Duchi et al. 2011); `rmsprop`
            (Hinton 2012); `adam` (Kingma and Ba 2015); `adamw` (Loshchilov and Hutter 2019).
        momentum: 0.9 of momentum and nesterov; 0 of rmsprop.
        rho: The decay of rmsprop: 0.9.
        beta_1: The decay of Adam's mean of gradients: 0.9.
        beta_2: That of its mean of squares: 0.999.
        epsilon: What Keras adds to the root in the denominator: 1e-8 of adam and adamw, 1e-7 of adagrad and rmsprop.
            Keras divides by it before the bias of Adam's means is corrected (the paper's epsilon hat).
        initial_accumulator: Where the sums of adagrad begin: 0.1.
        weight_decay: Share of each kernel that a step takes away, times the learning rate; biases and scales are left
            alone. 0, but 0.004 of adamw.
        clip_value: No element of a gradient is further from 0.
        clip_norm: No gradient of one variable is longer.
        clip_global_norm: All gradients together are no longer.

    Raises:
        UsageError: A value that cannot be, or that this optimizer has no use for.
    """

    name: OptimizerName = "adam"
    momentum: float | None = None
    rho: float | None = None
    beta_1: float | None = None
    beta_2: float | None = None
    epsilon: float | None = None
    initial_accumulator: float | None = None
    weight_decay: float | None = None
    clip_value: float | None = None
    clip_norm: float | None = None
    clip_global_norm: float | None = None

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            raise UsageError(f"Expected an optimizer of {', '.join(OPTIMIZERS)}; got {self.name!r}.")
        for field_name, owners in _OWNERS.items():
            value = getattr(self, field_name)
            if value is None:
                continue
            if self.name not in owners:
                option = f"--{field_name.replace('_', '-')} (Python: {field_name})"
                raise UsageError(f"{option} belongs to {', '.join(owners)}; the optimizer is {self.name}.")
            is_above_0 = field_name in ("epsilon", "initial_accumulator")
            if not (value > 0 if is_above_0 else 0 <= value < 1):
                wanted = "above 0" if is_above_0 else "of 0 to below 1"
                raise UsageError(f"Expected {field_name} {wanted}; got {value}.")
        clips = {name: getattr(self, name) for name in ("clip_value", "clip_norm", "clip_global_norm")}
        given = {name: value for name, value in clips.items() if value is not None}
        if len(given) > 1:
            raise UsageError(f"Expected one way to clip gradients; got {' and '.join(given)}.")
        for name, value in given.items():
            if not 0 < value < math.inf:
                raise UsageError(f"Expected {name} above 0; got {value}.")
        if self.weight_decay is not None and not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"Expected weight_decay of 0 or more; got {self.weight_decay}.")

    def value(self, field_name: str) -> float:
        """Returns a hyperparameter as given, or as this optimizer has it by itself."""
        given = getattr(self, field_name)
        if given is not None:
            return float(given)
        if field_name == "weight_decay":
            return _ADAMW_DECAY if self.name == "adamw" else 0.0
        if field_name == "momentum" and self.name == "rmsprop":
            return 0.0
        if field_name == "epsilon" and self.name in _ADAMS:
            return _ADAM_EPSILON
        return _DEFAULTS[field_name]


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes from step to step.

    Attributes:
        name: `constant`; `cosine`, down to `end` over all epochs (Loshchilov and Hutter 2017); `exponential`, times
            `decay` every epoch; `one-cycle`, up from 1/25 of the rate within a quarter of all steps, and down as a
            cosine does to a hundred thousandth of it (Smith and Topin 2018).
        warmup: In so many epochs, which need not be whole, the rate rises to its full height first. Not of `one-cycle`.
        decay: Of `exponential`.
        end: Of `cosine`: the share of the rate that is left at the end.

    Raises:
        UsageError: A value that cannot be.
    """

    name: ScheduleName = "constant"
    warmup: float = 0.0
    decay: float = 0.95
    end: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise UsageError(f"Expected a schedule of {', '.join(SCHEDULES)}; got {self.name!r}.")
        if not 0 <= self.warmup < math.inf:
            raise UsageError(f"Expected a warm-up of 0 or more epochs; got {self.warmup}.")
        if self.warmup and self.name == "one-cycle":
            raise UsageError("The one-cycle schedule has a warm-up of its own; leave --warmup (Python: warmup) away.")
        if not 0 < self.decay <= 1:
            raise UsageError(f"Expected a decay above 0, at most 1; got {self.decay}.")
        if not 0 <= self.end <= 1:
            raise UsageError(f"Expected an end of 0 to 1; got {self.end}.")


@dataclass(frozen=True)
class Loss:
    """What is minimized: the cross-entropy of classes or of each label, or the error of values.

    Attributes:
        label_smoothing: This share of the true class's probability goes to all classes alike (Szegedy et al. 2016).
        class_weights: `balanced`: a class counts the more the fewer training examples it has, n / (classes * n_class);
            or the weight of each class by its name, 1 for those that are not named; None: all count alike.
        regression: The error of values: `mse`, `mae` or `huber`, of targets brought to mean 0 and deviation 1.

    Raises:
        UsageError: A value that cannot be.
    """

    label_smoothing: float = 0.0
    class_weights: Literal["balanced"] | Mapping[str, float] | None = None
    regression: RegressionLoss = "mse"

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"Expected a label smoothing of 0 to below 1; got {self.label_smoothing}.")
        if self.regression not in REGRESSION_LOSSES:
            raise UsageError(f"Expected a loss of {', '.join(REGRESSION_LOSSES)}; got {self.regression!r}.")
        weights = self.class_weights
        if weights is not None and weights != "balanced" and not isinstance(weights, Mapping):
            raise UsageError(f"Expected class weights as balanced, or a number for each by name; got {weights!r}.")
        if isinstance(weights, Mapping) and not all(0 < weight < math.inf for weight in weights.values()):
            raise UsageError(f"Expected class weights above 0; got {dict(weights)}.")


@dataclass(frozen=True)
class Unfreeze:
    """What is trained further once the head fits: units from the top of the frozen ones, more slowly than the head.

    Attributes:
        units: How many; 0: none.
        gradual: One more unit in every phase (Howard and Ruder 2018), instead of all of them in one.
        learning_rate: Of the head and the highest unit; None: a tenth of the first phase's.
        decay: Each unit has the rate of the one above it, divided by this.
        epochs: At most so many in each phase; None: as many as in the first.

    Raises:
        UsageError: A value that cannot be.
    """

    units: int = 0
    gradual: bool = False
    learning_rate: float | None = None
    decay: float = 2.6
    epochs: int | None = None

    def __post_init__(self) -> None:
        if self.units < 0:
            raise UsageError(f"Expected a number of units to unfreeze of 0 or more; got {self.units}.")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise UsageError(f"Expected a learning rate above 0; got {self.learning_rate}.")
        if not 1 <= self.decay < math.inf:
            raise UsageError(f"Expected a decay from unit to unit of 1 or more; got {self.decay}.")
        if self.epochs is not None and self.epochs < 1:
            raise UsageError(f"Expected at least 1 epoch; got {self.epochs}.")
        if not self.units and (self.gradual or self.learning_rate is not None or self.epochs is not None):
            raise UsageError("Expected a number of units to unfreeze (--unfreeze 1) with what says how that is done.")

    def depths(self, freeze: int) -> list[int]:
        """Returns how many units are frozen in each later phase, of `freeze` in the first.

        >>> Unfreeze(3).depths(5), Unfreeze(3, gradual=True).depths(5)
        ([2], [4, 3, 2])
        """
        if not self.units:
            return []
        return [freeze - count for count in (range(1, self.units + 1) if self.gradual else [self.units])]


@dataclass(frozen=True)
class FitSettings:
    """How to train.

    Attributes:
        epochs: At most so many passes over the examples.
        batch_size: Examples a step; the last batch of an epoch may be smaller.
        learning_rate: Of the optimizer; the highest that the schedule reaches.
        patience: Stop after so many epochs without a lower validation loss.
        seed: Of the order of the examples.
        shuffle: Whether each epoch has another order.
        passes: How often an epoch goes through the examples before the validation loss is looked at.
        optimizer: How gradients become steps.
        schedule: How the learning rate changes.
        loss: What is minimized.
    """

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 0.001
    patience: int = 10
    seed: int = 0
    shuffle: bool = True
    passes: int = 1
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    loss: Loss = field(default_factory=Loss)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "passes"):
            if getattr(self, name) < 1:
                raise UsageError(f"Expected {name} of at least 1; got {getattr(self, name)}.")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"Expected a learning rate above 0; got {self.learning_rate}.")

    def from_scratch(self, examples: int) -> FitSettings:
        """Returns settings fair to a net with random weights: as many steps as it wants.

        It may take 4,000 steps even where `examples` are few, and waits 400 of them for a better validation loss. An
        epoch has at least 20 steps.
        """
        passes = -(-20 * self.batch_size // examples)
        steps = -(-examples * passes // self.batch_size)
        epochs, patience = max(self.epochs, -(-4000 // steps)), max(self.patience, -(-400 // steps))
        return replace(self, epochs=epochs, patience=patience, passes=passes)

    def steps(self, examples: int) -> int:
        """Returns how many steps an epoch over so many examples has."""
        return -(-examples * self.passes // self.batch_size)
