"""Small nets of convolutions and dense layers, for tasks that are learned from the examples themselves."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.pretraining.steps import Inputs, standardizing
from zoo.surgery.heads import known_activation

Shape = tuple[int, ...]

_KERNEL, _POOL = 3, 2


def refuse_layers(units: Sequence[int], conv: Sequence[int], activation: str) -> None:
    """Raises `UsageError` where there are no layers, or such as cannot be."""
    widths = (*conv, *units)
    if not widths or any(width < 1 for width in widths):
        raise UsageError(
            "Expected layers of at least 1 unit: --units 300,100 or --conv 32,64 (Python: units, conv); got "
            f"units={list(units)}, conv={list(conv)}."
        )
    if not known_activation(activation):
        raise UsageError(f"Expected an activation that Keras knows, such as relu; got {activation!r}.")


def initial(seed: int, what: str) -> keras.initializers.Initializer:
    """Returns how a kernel begins: another for each name of a layer."""
    return keras.initializers.GlorotUniform(seed=zlib.crc32(f"{seed} {what}".encode()))


class Network:
    """Convolutions, each with max pooling; dense layers on them; and one more layer on top, for the task.

    Where there are no dense layers, maps are averaged over their places below the layer on top. Rows of numbers that
    are not all within 0..1 are standardized first.

    Args:
        inputs: What goes in.
        units: Widths of the dense layers, from below.
        conv: Filters of the 3x3 convolutions.
        activation: Of these layers.
        outputs: Width of the layer on top, which has no activation.
        name: Of what is on top.
        after: What follows the layer on top.
        last: What follows that in the model alone, and not in training.
        seed: Of the initial weights.

    Attributes:
        model: The net for single examples; what is on top of it is a model in it.

    Raises:
        UsageError: Convolutions that do not suit the examples.
    """

    def __init__(
        self,
        inputs: Inputs,
        units: Sequence[int],
        conv: Sequence[int],
        activation: str,
        *,
        outputs: int,
        name: str,
        after: Sequence[keras.layers.Layer] = (),
        last: Sequence[keras.layers.Layer] = (),
        seed: int = 0,
    ) -> None:
        self._shape, self._outputs = inputs.shape, outputs
        standardize = standardizing(inputs)
        layers, rank = _layers(inputs.shape, units, conv, activation, seed)
        self._lower = [*([standardize] if standardize else []), *layers]
        pooling = [keras.layers.GlobalAveragePooling2D(name=f"{name}_average")] if rank > 1 else []
        top = keras.layers.Dense(outputs, kernel_initializer=initial(seed, name), name=f"{name}_outputs")
        self._top = [*pooling, top, *after]
        source = keras.Input(inputs.shape, name="examples")
        code = _through(self._lower, source)
        whole = keras.Sequential([keras.Input(code.shape[1:], name="codes"), *self._top, *last], name=name)(code)
        self.model = keras.Model(source, whole, name="pretrained")

    @property
    def kernel(self) -> NDArray[np.float32]:
        """The kernel of the lowest layer."""
        return next(np.asarray(layer.kernel) for layer in self._lower if hasattr(layer, "kernel"))

    def of_each(self, versions: Any) -> Any:
        """Returns what is put out for each version of each example: symbolic, [batch, versions, outputs].

        Args:
            versions: Symbolic, [batch, versions, ...].
        """
        x = _through([*self._lower, *self._top], keras.ops.reshape(versions, (-1, *self._shape)))
        return keras.ops.reshape(x, (-1, versions.shape[1], self._outputs))


def _layers(
    shape: Shape, units: Sequence[int], conv: Sequence[int], activation: str, seed: int
) -> tuple[list[keras.layers.Layer], int]:
    """Returns the layers, and the rank of what the last puts out for one example."""
    layers: list[keras.layers.Layer] = []
    if conv:
        _refuse_small(shape, len(conv))
    for number, filters in enumerate(conv, 1):
        name = f"layer{number}"
        layers += [
            keras.layers.Conv2D(
                filters, _KERNEL, padding="same", activation=activation, kernel_initializer=initial(seed, name),
                name=name,
            ),
            keras.layers.MaxPooling2D(_POOL, padding="same", name=f"pool{number}"),
        ]  # fmt: skip
    if units and len(shape) > 1:
        layers.append(keras.layers.Flatten(name=f"flatten{len(conv) + 1}"))
    for number, width in enumerate(units, len(conv) + 1):
        name = f"layer{number}"
        layers.append(keras.layers.Dense(width, activation, kernel_initializer=initial(seed, name), name=name))
    return layers, 1 if units else len(shape)


def _refuse_small(shape: Shape, convolutions: int) -> None:
    if len(shape) != 3:
        raise UsageError(f"Convolutions want pictures; the examples have shape {list(shape)}. Use units (--units).")
    side = min(shape[:2])
    for number in range(convolutions):
        if side < _POOL:
            raise UsageError(
                f"Convolution {number + 1} gets maps of a side of {side}, which cannot be halved. Use at most {number} "
                "of them."
            )
        side = -(-side // _POOL)


def _through(layers: Sequence[keras.layers.Layer], x: Any) -> Any:
    for layer in layers:
        x = layer(x)
    return x
