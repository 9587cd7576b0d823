"""The head: the new layers on top of what is reused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import keras

from zoo.data.targets import Task
from zoo.errors import UsageError

Pool = Literal["avg", "max", "avgmax", "flatten"]
Tap = Literal["map", "avg", "max", "avgmax", "flatten"]
POOLS: tuple[Pool, ...] = get_args(Pool)

_MOMENTUM = 0.9  # few steps are taken in all: with 0.99 the statistics would lag behind the weights


@dataclass(frozen=True)
class Head:
    """The new layers: pooling of feature maps, hidden layers, and one output a class, label or value.

    Attributes:
        classes: Number of outputs: classes (at least 2), labels or values.
        hidden: Width of each hidden layer, from below.
        pool: How feature maps [height, width, channels] become a vector: `avg`, `max`, both (`avgmax`), or `flatten`.
        activation: Of the hidden layers: what `keras.activations.get` knows.
        seed: Of the initial weights, and of dropout.
        dropout: Share (0..1) of the inputs of each Dense layer that are left out at random while training.
        batchnorm: Whether BatchNormalization stands between each hidden layer and its activation.
        task: What the outputs are: probabilities that sum to 1 (`classification`), one for each label
            (`multilabel`), or values (`regression`).
        center: Of `regression`: what is added to each output, once multiplied by
        spread: its scale; one number for all, or one for each.
        scale: What the features are multiplied by before they enter the new layers, and
        offset: what is added then; one number for all, or one for each.
    """

    classes: int
    hidden: tuple[int, ...] = ()
    pool: Pool = "avg"
    activation: str = "relu"
    seed: int = 0
    dropout: float = 0.0
    batchnorm: bool = False
    task: Task = "classification"
    center: tuple[float, ...] = (0.0,)
    spread: tuple[float, ...] = (1.0,)
    scale: float = 1.0
    offset: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        least = 2 if self.task == "classification" else 1
        if self.classes < least:
            raise UsageError(f"Expected at least {least} {'classes' if least > 1 else 'output'}; got {self.classes}.")
        if self.pool not in POOLS:
            raise UsageError(f"Expected pool as one of {', '.join(POOLS)}; got {self.pool!r}.")
        if any(width < 1 for width in self.hidden):
            raise UsageError(f"Expected hidden layers of at least 1 unit; got {list(self.hidden)}.")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"Expected a dropout of 0 to below 1; got {self.dropout}.")
        if not known_activation(self.activation):
            raise UsageError(f"Expected an activation that Keras knows, such as relu, gelu or tanh; got "
                             f"{self.activation!r}.")  # fmt: skip

    def build(self, tensor: Any, prefix: str = "head") -> tuple[Any, Any]:
        """Returns what is fitted and what the model says, [batch, classes] both, of pooled features [batch, n].

        What is fitted are logits, or values of mean 0 and deviation 1. Names of the new layers begin with `prefix`.
        """
        if self.scale != 1 or any(self.offset):
            offset = _one_or_each(self.offset)
            tensor = keras.layers.Rescaling(self.scale, offset, name=f"{prefix}_standardized")(tensor)
        for number, width in enumerate(self.hidden, 1):
            tensor = self._hidden(self._dropped(tensor, number, prefix), width, number, prefix)
        tensor = self._dropped(tensor, len(self.hidden) + 1, prefix)
        weights = keras.initializers.GlorotUniform(seed=self.seed)
        logits = keras.layers.Dense(self.classes, kernel_initializer=weights, name=f"{prefix}_logits")(tensor)
        if self.task == "classification":
            return logits, keras.layers.Softmax(name=f"{prefix}_probabilities")(logits)
        if self.task == "multilabel":
            return logits, keras.layers.Activation("sigmoid", name=f"{prefix}_probabilities")(logits)
        values = keras.layers.Rescaling(_one_or_each(self.spread), _one_or_each(self.center), name=f"{prefix}_values")
        return logits, values(logits)

    def _hidden(self, tensor: Any, width: int, number: int, prefix: str) -> Any:
        weights = keras.initializers.HeNormal(seed=self.seed + number)
        name = f"{prefix}_hidden{number}"
        if not self.batchnorm:
            return keras.layers.Dense(width, self.activation, kernel_initializer=weights, name=name)(tensor)
        tensor = keras.layers.Dense(width, use_bias=False, kernel_initializer=weights, name=name)(tensor)
        normalized = keras.layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_batchnorm")(tensor)
        return keras.layers.Activation(self.activation, name=f"{name}_{self.activation}")(normalized)

    def _dropped(self, tensor: Any, number: int, prefix: str) -> Any:
        if not self.dropout:
            return tensor
        return keras.layers.Dropout(self.dropout, seed=self.seed + number, name=f"{prefix}_dropout{number}")(tensor)


def known_activation(name: str) -> bool:
    """Returns whether Keras has an activation of that name."""
    try:
        return name != "softmax" and callable(keras.activations.get(name))
    except (ValueError, TypeError):
        return False


def _one_or_each(numbers: tuple[float, ...]) -> float | list[float]:
    return numbers[0] if len(set(numbers)) == 1 else list(numbers)


def apply_tap(tensor: Any, tap: Tap, prefix: str = "head") -> Any:
    """Returns `tensor` [batch, ..., channels] as a tap takes it: whole (`map`), or pooled to [batch, n].

    A tensor that is a vector already stays as it is.
    """
    rank = len(tensor.shape) - 2
    if tap == "map" or rank < 1:
        return tensor
    if tap == "flatten":
        return keras.layers.Flatten(name=f"{prefix}_flatten")(tensor)
    if rank > 3:
        raise UsageError(f"Feature maps of shape {list(tensor.shape[1:])} cannot be pooled; use --pool flatten.")
    pooled = []
    if tap in ("avg", "avgmax"):
        pooled.append(_pooling(f"GlobalAveragePooling{rank}D", f"{prefix}_avg")(tensor))
    if tap in ("max", "avgmax"):
        pooled.append(_pooling(f"GlobalMaxPooling{rank}D", f"{prefix}_max")(tensor))
    return pooled[0] if len(pooled) == 1 else keras.layers.Concatenate(name=f"{prefix}_avgmax")(pooled)


def _pooling(kind: str, name: str) -> Any:
    return getattr(keras.layers, kind)(name=name)
