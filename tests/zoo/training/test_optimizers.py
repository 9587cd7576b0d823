"""Optimizers, schedules and clipping; the judge is Keras' own `fit` with the same settings, written out anew here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from zoo.errors import UsageError
from zoo.training import FitSettings, Group, Optimizer, Part, Schedule, Unfreeze, fit
from zoo.training.optimizers import Optimizers, keras_schedule

WIDTH, CLASSES = 5, 3
STEPS, BATCH = 20, 8

of = keras.optimizers

KERAS: dict[str, Callable[..., Any]] = {
    "sgd": lambda **more: of.SGD(0.1, **more),
    "momentum": lambda **more: of.SGD(0.1, momentum=0.9, **more),
    "nesterov": lambda **more: of.SGD(0.1, momentum=0.9, nesterov=True, **more),
    "adagrad": lambda **more: of.Adagrad(0.1, initial_accumulator_value=0.1, epsilon=1e-7, **more),
    "rmsprop": lambda **more: of.RMSprop(0.1, rho=0.9, momentum=0.0, epsilon=1e-7, **more),
    "adam": lambda **more: of.Adam(0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8, **more),
    "adamw": lambda **more: of.AdamW(0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8, weight_decay=0.0, **more),
}


def net() -> keras.Model:
    """Returns a small net with the same weights every time."""
    layers = [keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(CLASSES)]
    model = keras.Sequential([keras.Input((WIDTH,)), *layers])
    random = np.random.default_rng(3)
    model.set_weights([random.normal(size=weight.shape).astype(np.float32) for weight in model.get_weights()])
    return model


def examples() -> tuple[Any, Any]:
    x = 5 * np.random.default_rng(0).normal(size=(STEPS * BATCH, WIDTH)).astype(np.float32)  # large: clipping bites
    return x, x[:, :CLASSES].argmax(axis=1)


def losses_of_keras(optimizer: Any) -> list[float]:
    """Returns the loss of each step of Keras' own training."""
    model, (x, y), found = net(), examples(), []
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    for begin in range(0, len(x), BATCH):
        model.reset_metrics()
        found.append(float(model.train_on_batch(x[begin : begin + BATCH], y[begin : begin + BATCH])))
    return found


def losses_of_ours(optimizer: Optimizer) -> list[float]:
    """Returns the same of ours: an epoch for each batch, of one step, over the examples that Keras had in it."""
    x, y = examples()
    settings = FitSettings(STEPS, BATCH, 0.1, shuffle=False, optimizer=optimizer)
    versions = np.concatenate([x[begin : begin + BATCH] for begin in range(0, len(x), BATCH)])
    model, found = net(), []
    fitting = StepByStep(model, versions, y, settings)
    for step in range(STEPS):
        found.append(fitting.step(step))
    return found


class StepByStep:
    """One training whose examples are exchanged from step to step."""

    def __init__(self, model: keras.Model, x: Any, y: Any, settings: FitSettings) -> None:
        from zoo.training.fitting import Fitting

        self._x, self._y = x, y
        self._now = _Window(x)
        none = Part(self._now, y[:BATCH], np.arange(0))
        self._labels = y[:BATCH].copy()
        self._fitting = Fitting(model, Part(self._now, self._labels, np.arange(BATCH)), none, settings)

    def step(self, number: int) -> float:
        self._now.begin = number * BATCH
        self._labels[:] = self._y[number * BATCH : (number + 1) * BATCH]
        return self._fitting.run(until=number + 1).epochs[-1].loss


class _Window:
    """Rows of an array from some place on, read anew every time."""

    def __init__(self, x: Any) -> None:
        self._x, self.begin, self.shape, self.dtype = x, 0, (BATCH, *x.shape[1:]), x.dtype

    def __getitem__(self, rows: Any) -> Any:
        return self._x[self.begin + rows]


@pytest.fixture(autouse=True)
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.training import chunks

    monkeypatch.setattr(chunks, "WHOLE_BYTES", 0)  # examples are read at every epoch


@pytest.mark.parametrize("name", KERAS)
def test_the_losses_of_twenty_steps_are_those_of_keras(name: Any) -> None:
    decay = {"weight_decay": 0.0} if name == "adamw" else {}
    expected = losses_of_keras(KERAS[name]())

    found = losses_of_ours(Optimizer(name, **decay))

    assert len(found) == STEPS
    assert found == pytest.approx(expected, abs=1e-4)
    assert max(expected) - min(expected) > 0.1  # something was learned, or the test would show nothing


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"clip_value": 0.05}, {"clipvalue": 0.05}),
        ({"clip_norm": 0.1}, {"clipnorm": 0.1}),
        ({"clip_global_norm": 0.1}, {"global_clipnorm": 0.1}),
    ],
)
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_gradients_are_clipped_as_keras_does(ours: dict[str, float], theirs: dict[str, float], name: Any) -> None:
    expected = losses_of_keras(KERAS[name](**theirs))

    assert losses_of_ours(Optimizer(name, **ours)) == pytest.approx(expected, abs=1e-4)
    if name == "sgd":  # Adam's steps hardly depend on the size of gradients
        assert max(np.abs(np.subtract(expected, losses_of_keras(KERAS[name]())))) > 0.01


def test_hyperparameters_are_those_that_are_given() -> None:
    given = Optimizer("adam", beta_1=0.5, beta_2=0.9, epsilon=0.1)

    expected = losses_of_keras(of.Adam(0.1, beta_1=0.5, beta_2=0.9, epsilon=0.1))

    assert losses_of_ours(given) == pytest.approx(expected, abs=1e-4)
    assert losses_of_ours(Optimizer()) != pytest.approx(expected, abs=1e-2)


def test_weight_decay_spares_biases() -> None:
    model = net()
    model.layers[0].bias.assign(np.ones(6))
    before = [np.array(each) for each in model.trainable_variables]
    settings = FitSettings(optimizer=Optimizer("sgd", weight_decay=1.0), learning_rate=0.5)
    optimizers = Optimizers([Group(model.trainable_variables)], settings, 1)

    optimizers.apply([np.zeros(each.shape, np.float32) for each in model.trainable_variables])

    for variable, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_allclose(np.array(variable), old * (0.5 if old.ndim > 1 else 1), rtol=1e-6)


def test_groups_have_their_own_rates_and_are_clipped_together() -> None:
    model = net()
    upper, lower = model.layers[1].trainable_variables, model.layers[0].trainable_variables
    settings = FitSettings(optimizer=Optimizer("sgd", clip_global_norm=1.0), learning_rate=1.0)
    optimizers = Optimizers([Group(upper), Group(lower, 0.1)], settings, 1)
    before = [np.array(each) for each in optimizers.trained]
    gradients = [np.ones(each.shape, np.float32) for each in optimizers.trained]
    norm = math.sqrt(sum(each.size for each in gradients))

    optimizers.apply(gradients)

    moved = [float(old.flat[0] - np.array(new).flat[0]) for old, new in zip(before, optimizers.trained, strict=True)]
    assert moved == pytest.approx([1 / norm, 1 / norm, 0.1 / norm, 0.1 / norm], rel=1e-4)


def rates(schedule: Schedule, epochs: int = 4, steps: int = 5) -> list[float]:
    made = keras_schedule(schedule, 0.1, epochs, steps)
    return [float(made(step)) if callable(made) else made for step in range(epochs * steps)]


def test_schedules() -> None:
    assert rates(Schedule()) == [0.1] * 20
    cosine = [0.05 * (1 + math.cos(math.pi * step / 20)) for step in range(20)]
    assert rates(Schedule("cosine")) == pytest.approx(cosine, rel=1e-5)
    assert rates(Schedule("exponential", decay=0.5))[::5] == pytest.approx([0.1, 0.05, 0.025, 0.0125], rel=1e-5)
    cycle = rates(Schedule("one-cycle"))
    assert cycle[0] == pytest.approx(0.1 / 25, rel=1e-5)
    assert np.argmax(cycle) == 5  # a quarter of 20
    assert max(cycle) == pytest.approx(0.1, rel=1e-5)
    assert all(a > b for a, b in itertools.pairwise(cycle[5:]))


@pytest.mark.parametrize("name", ["constant", "cosine", "exponential"])
def test_the_rate_rises_first_and_then_goes_on_from_its_height(name: Any) -> None:
    found = rates(Schedule(name, warmup=1.0), steps=5)

    assert found[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1], rel=1e-5)
    assert found[5] == pytest.approx(0.1, rel=1e-5)


def test_the_rate_that_is_asked_for_is_that_of_the_schedule() -> None:
    x, y = examples()
    seen = []
    fit(
        net(), Part(x, y, np.arange(len(y))), Part(x, y, np.arange(0)),
        FitSettings(3, BATCH, 0.1, schedule=Schedule("exponential", decay=0.5)),
        watch=lambda epoch, rate: seen.append(rate),
    )  # fmt: skip

    assert seen == pytest.approx([0.05, 0.025, 0.0125], rel=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Optimizer("adamax"), "sgd, momentum"),  # type: ignore[arg-type]
        (lambda: Optimizer("sgd", momentum=0.5), "belongs to momentum, nesterov, rmsprop"),
        (lambda: Optimizer("adam", rho=0.5), "--rho"),
        (lambda: Optimizer("momentum", momentum=1.0), "0 to below 1"),
        (lambda: Optimizer(epsilon=0.0), "above 0"),
        (lambda: Optimizer(clip_norm=1.0, clip_value=1.0), "one way to clip"),
        (lambda: Optimizer(clip_norm=0.0), "clip_norm above 0"),
        (lambda: Optimizer(weight_decay=-1.0), "weight_decay"),
        (lambda: Schedule("linear"), "constant, cosine"),  # type: ignore[arg-type]
        (lambda: Schedule("one-cycle", warmup=1.0), "of its own"),
        (lambda: Schedule(warmup=-1.0), "warm-up"),
        (lambda: Schedule(decay=0.0), "decay"),
        (lambda: Unfreeze(-1), "0 or more"),
        (lambda: Unfreeze(1, decay=0.5), "1 or more"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_adamw_decays_kernels_and_no_biases() -> None:
    """Without decay it is Adam, which the losses above could not tell from it."""
    theirs = of.AdamW(0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8, weight_decay=0.5)
    theirs.exclude_from_weight_decay(var_names=["bias"])
    expected, plain = losses_of_keras(theirs), losses_of_keras(KERAS["adam"]())

    assert losses_of_ours(Optimizer("adamw", weight_decay=0.5)) == pytest.approx(expected, abs=1e-4)
    assert max(abs(one - other) for one, other in zip(expected, plain, strict=True)) > 0.01
