"""Whether a model scales numbers itself, before anything else: what comes in is then 0..255, as pictures are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

_SCALING = keras.layers.Rescaling | keras.layers.Normalization
_PASSED_OVER = keras.layers.InputLayer | keras.layers.Resizing | keras.layers.CenterCrop
_ARITHMETIC = ("TrueDivide", "Divide", "Multiply", "Subtract")  # x / 255 in a functional model


def scaling_layer(model: keras.Model) -> Any | None:
    """Returns the Rescaling, Normalization or arithmetic that a model begins with; None where it begins otherwise.

    Layers that resize, crop or augment may come before it.

    >>> net = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255, name="inside")])
    >>> scaling_layer(net).name
    'inside'
    """
    first = next((each for each in _flat(model) if not _is_passed_over(each)), None)
    is_arithmetic = type(first).__name__ in _ARITHMETIC and not isinstance(first, keras.Layer)
    return first if is_arithmetic or isinstance(first, _SCALING) else None


def _flat(model: keras.Model) -> Iterator[Any]:
    """Yields the layers and operations of a model from the input up, those of models in it in their place."""
    for each in getattr(model, "operations", model.layers):
        if isinstance(each, keras.Model):
            yield from _flat(each)
        else:
            yield each


def _is_passed_over(layer: Any) -> bool:
    return isinstance(layer, _PASSED_OVER) or type(layer).__name__.startswith("Random")
