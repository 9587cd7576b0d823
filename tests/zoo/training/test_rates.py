"""The range test: where the loss falls, where it ends, and that nothing of it stays in the model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from zoo.errors import DataError, UsageError
from zoo.training import FitSettings, Optimizer, Part
from zoo.training.rates import find_rate, summed_up

WIDTH, CLASSES = 6, 3


def net() -> keras.Model:
    weights = keras.initializers.GlorotUniform(seed=1)
    return keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(CLASSES, kernel_initializer=weights)])


def part(count: int = 200) -> Part:
    x = np.random.default_rng(0).normal(size=(count, WIDTH)).astype(np.float32)
    return Part(x, x[:, :CLASSES].argmax(axis=1), np.arange(count))


def test_the_model_stays_as_it_is() -> None:
    model = net()
    before = model.get_weights()

    find_rate(model, part(), steps=20)

    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_suggested_rate_trains_and_ten_times_the_lowest_does_not() -> None:
    found = find_rate(net(), part(), FitSettings(optimizer=Optimizer("sgd")), last=1e5, steps=150)

    assert found.suggested is not None
    assert found.steepest is not None
    assert found.rates[0] < found.suggested <= found.lowest
    assert found.stopped.startswith("the loss was")  # it diverged long before 1e5
    assert found.rates[-1] < 1e5
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 150


@pytest.mark.parametrize("lowest", [1e-4, 1e-2])
def test_a_curve_whose_valley_is_known(lowest: float) -> None:
    rates = np.geomspace(1e-6, 1, 100)
    losses = 1 + np.log10(rates / lowest) ** 2 / 10  # a parabola over the logarithm

    found = summed_up(rates.tolist(), losses.tolist(), "")

    assert 0.1 < found.lowest / lowest < 10  # the running mean lags a little
    assert found.suggested is not None
    assert found.suggested < found.lowest


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    found = summed_up([0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0], "")

    assert (found.suggested, found.steepest, found.lowest) == (None, None, 0.1)


def test_losses_that_are_not_finite_end_it() -> None:
    found = find_rate(net(), part(), first=1e20, last=1e38, steps=20)

    assert all(np.isfinite(found.losses))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"first": 1.0, "last": 0.1}, "rise"), ({"first": 0.0}, "above 0"), ({"steps": 3}, "at least 10")],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_rate(net(), part(), **options)


def test_no_examples() -> None:
    with pytest.raises(DataError, match="training examples"):
        find_rate(net(), Part(np.zeros((3, WIDTH), np.float32), np.zeros(3, np.int64), np.arange(0)))
