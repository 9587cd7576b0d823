"""The head: the new layers on top of what is reused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import keras

from zoo.errors import UsageError

Pool = Literal["avg", "max", "avgmax", "flatten"]
Tap = Literal["map", "avg", "max", "avgmax", "flatten"]
POOLS: tuple[Pool, ...] = get_args(Pool)


@dataclass(frozen=True)
class Head:
    """The new layers: pooling of feature maps, hidden layers, and one output a class.

    Attributes:
        classes: Number of classes, at least 2.
        hidden: Width of each hidden layer, from below.
        pool: How feature maps [height, width, channels] become a vector: `avg`, `max`, both (`avgmax`), or `flatten`.
        activation: Of the hidden layers.
        seed: Of the initial weights.
    """

    classes: int
    hidden: tuple[int, ...] = ()
    pool: Pool = "avg"
    activation: str = "relu"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise UsageError(f"Expected at least 2 classes; got {self.classes}.")
        if self.pool not in POOLS:
            raise UsageError(f"Expected pool as one of {', '.join(POOLS)}; got {self.pool!r}.")
        if any(width < 1 for width in self.hidden):
            raise UsageError(f"Expected hidden layers of at least 1 unit; got {list(self.hidden)}.")

    def build(self, tensor: Any, prefix: str = "head") -> tuple[Any, Any]:
        """Returns logits and class probabilities, [batch, classes] both, of `tensor`, pooled features [batch, n].

        Names of the new layers begin with `prefix`.
        """
        for number, width in enumerate(self.hidden, 1):
            weights = keras.initializers.HeNormal(seed=self.seed + number)
            name = f"{prefix}_hidden{number}"
            tensor = keras.layers.Dense(width, self.activation, kernel_initializer=weights, name=name)(tensor)
        weights = keras.initializers.GlorotUniform(seed=self.seed)
        logits = keras.layers.Dense(self.classes, kernel_initializer=weights, name=f"{prefix}_logits")(tensor)
        return logits, keras.layers.Softmax(name=f"{prefix}_probabilities")(logits)


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
