from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

from zoo.surgery import scaling_layer

PICTURE = (8, 8, 3)


def functional(*, first: Any) -> keras.Model:
    image = keras.Input(PICTURE)
    return keras.Model(image, layers.Conv2D(2, 3)(first(image)))


BEGINS = {
    "rescaling": keras.Sequential([keras.Input(PICTURE), layers.Rescaling(1 / 255), layers.Conv2D(2, 3)]),
    "normalization": functional(first=layers.Normalization(mean=1.0, variance=2.0)),
    "behind_augmentation": functional(
        first=keras.Sequential([layers.Resizing(6, 6), layers.RandomFlip(), layers.Rescaling(2.0)])
    ),
    "arithmetic": functional(first=lambda image: image / 127.5 - 1),
}
DOES_NOT = {
    "kernel": functional(first=layers.Conv2D(2, 3)),
    "scaled_later": functional(first=keras.Sequential([layers.Conv2D(2, 3), layers.Rescaling(2.0)])),
    "nothing_but_input": keras.Sequential([keras.Input(PICTURE)]),
}


@pytest.mark.parametrize("name", BEGINS)
def test_a_model_that_scales_numbers_before_anything_else(name: str) -> None:
    assert scaling_layer(BEGINS[name]) is not None


@pytest.mark.parametrize("name", DOES_NOT)
def test_a_model_that_does_not(name: str) -> None:
    assert scaling_layer(DOES_NOT[name]) is None
