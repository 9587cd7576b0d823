"""The preprocessing of every family of keras.applications, against the family's own `preprocess_input`."""

from __future__ import annotations

import importlib

import keras
import numpy as np
import pytest

import zoo
from zoo.data.preprocessing import preprocessing_model
from zoo.registry.architectures import ARCHITECTURES

# Both compute in float32, in another order: (x - mean) / std there, x * factor + offset here. What is scaled stays
# below 4, where numbers are 2**-22 apart: two roundings each side. What is not scaled (VGG, ResNet) is equal.
ROUNDING = 4 * 2**-22


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pictures_become_what_the_family_itself_makes_of_them(name: str) -> None:
    spec = zoo.find_entry(name).input
    function = getattr(keras.applications, ARCHITECTURES[name].function)
    family = importlib.import_module(function.__module__)
    x = np.random.default_rng(0).uniform(0, 255, (2, *spec.size)).astype("float32")

    found = np.asarray(preprocessing_model(spec, spec.size)(x))

    expected = family.preprocess_input(x.copy())
    assert np.abs(found - expected).max() <= ROUNDING
