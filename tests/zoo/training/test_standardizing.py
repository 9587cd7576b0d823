"""Features that a new head can learn from at once, whatever their size."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.training.standardizing import standard_of

TRAIN = np.arange(60)


def features(scale: float = 1.0, offset: float = 0.0) -> Any:
    return scale * np.random.default_rng(0).normal(size=(80, 6)) + offset


def test_features_that_suit_a_head_stay_as_they_are() -> None:
    for x in (features(), features(0.5, 0.5), features(2.5)):
        assert standard_of(x, TRAIN) is None
    assert standard_of(np.ones((80, 6)), TRAIN) is None  # nothing varies: there is nothing to divide by
    assert standard_of(np.ones((80, 3, 3, 6)), TRAIN) is None


@pytest.mark.parametrize(("scale", "offset"), [(1e-3, 0.0), (400.0, 0.0), (1.0, 500.0)])
def test_others_have_mean_0_and_deviation_1_on_the_training_examples(scale: float, offset: float) -> None:
    x = features(scale, offset)
    x[60:] = 1e9  # of others nothing is taken
    found = standard_of(x, TRAIN)
    assert found is not None
    seen = x[TRAIN] * found.scale + np.array(found.offset)
    assert np.abs(seen.mean(axis=0)).max() < 1e-6
    assert seen.std() == pytest.approx(1)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 3e3])
def test_a_transfer_learns_as_well_from_features_of_any_size(scale: float) -> None:
    random = np.random.default_rng(0)
    centers = random.normal(size=(4, 8))
    y = np.arange(400) % 4
    x = (centers[y] + 0.5 * random.normal(size=(400, 8))).astype(np.float32)
    net = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(8, use_bias=False, name="first"), keras.layers.Dense(2)]
    )
    net.get_layer("first").set_weights([scale * np.eye(8, dtype=np.float32)])

    run = zoo.transfer(net, (x, y), epochs=60)

    assert run.accuracy > 0.85  # without: 0.25 to 0.4 of the small ones
    assert run.predict(x)[0].label == run.classes[int(y[0])]
