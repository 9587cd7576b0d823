"""Corrupted examples for denoising: what is to be restored is the example as it was.

Source: Vincent, Larochelle, Bengio and Manzagol, "Extracting and Composing Robust Features with Denoising
Autoencoders", ICML 2008; with Gaussian noise: the same and Lajoie, "Stacked Denoising Autoencoders", JMLR 11, 2010.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from zoo.errors import UsageError


@dataclass(frozen=True)
class Corruption:
    """How examples are corrupted.

    Attributes:
        mask: This share (0 to below 1) of the numbers of an example is set to 0; the others keep their size.
        noise: The standard deviation of what is added to every number.

    Raises:
        UsageError: A value that cannot be.
    """

    mask: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.mask < 1:
            raise UsageError(f"Expected a share of masked numbers of 0 to below 1; got mask={self.mask}.")
        if not 0 <= self.noise < float("inf"):
            raise UsageError(f"Expected a standard deviation of noise of 0 or more; got noise={self.noise}.")

    def __bool__(self) -> bool:
        return self.mask > 0 or self.noise > 0


@keras.saving.register_keras_serializable(package="zoo")
class Corrupted(keras.layers.Layer):  # type: ignore[misc]
    """Corrupts what passes: anew at every step of training, and always alike in inference.

    So a validation loss is of the same task as the training loss, and epochs can be compared by it.

    Args:
        mask: As of `Corruption`.
        noise: Likewise.
        seed: Of what is random.

    >>> x = keras.ops.ones((1, 1000))
    >>> layer = Corrupted(mask=0.25, seed=1)
    >>> 0.7 < float(keras.ops.mean(layer(x))) < 0.8, bool(keras.ops.all(layer(x) == layer(x)))
    (True, True)
    """

    def __init__(self, mask: float = 0.0, noise: float = 0.0, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self._mask, self._noise, self._seed = mask, noise, seed
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        """Returns what `x` [n, ...] becomes: noise is added first, so that what is masked is exactly 0."""
        shape = keras.ops.shape(x)
        if self._noise:
            seed = self._generator if training else self._seed
            x = x + keras.random.normal(shape, stddev=self._noise, dtype=x.dtype, seed=seed)
        if self._mask:
            seed = self._generator if training else self._seed + 1
            kept = keras.random.uniform(shape, dtype="float32", seed=seed) >= self._mask
            x = keras.ops.where(kept, x, keras.ops.zeros_like(x))
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain data."""
        return {**super().get_config(), "mask": self._mask, "noise": self._noise, "seed": self._seed}
