"""Losses and scores of each task; Keras and scikit-learn are the judges."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight

from zoo.errors import UsageError
from zoo.training import Loss, Objective

COUNT, CLASSES = 40, 4


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def logits() -> Any:
    return random(1).normal(size=(COUNT, CLASSES)).astype(np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_classes_is_that_of_keras(smoothing: float) -> None:
    y = random().integers(CLASSES, size=COUNT)
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing, reduction=None)

    found = Objective(loss=Loss(smoothing)).losses(y, logits())

    np.testing.assert_allclose(found, keras_loss(np.eye(CLASSES)[y], logits()), rtol=1e-5)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    y = random().choice(CLASSES, p=[0.7, 0.1, 0.1, 0.1], size=COUNT)
    weights = compute_class_weight("balanced", classes=np.arange(CLASSES), y=y)

    found = Objective(loss=Loss(class_weights="balanced"), targets=y, classes="abcd").losses(y, logits())

    np.testing.assert_allclose(found, weights[y] * np.array(Objective().losses(y, logits())), rtol=1e-5)


def test_weights_by_name() -> None:
    y = np.array([0, 1, 2])
    found = Objective(loss=Loss(class_weights={"b": 3.0}), targets=y, classes="abcd").losses(y, logits()[:3])

    np.testing.assert_allclose(found, np.array([1, 3, 1]) * Objective().losses(y, logits()[:3]), rtol=1e-6)
    with pytest.raises(UsageError, match="got z"):
        Objective(loss=Loss(class_weights={"z": 3.0}), targets=y, classes="abcd")
    with pytest.raises(UsageError, match="got 7"):
        Objective(loss=Loss(class_weights={7: 3.0}), targets=y, classes="abcd")  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="a number for each by name"):
        Loss(class_weights=[1, 5])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no classes"):
        Objective("regression", Loss(class_weights="balanced"), y[:, None], ["value"])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_labels_is_that_of_keras(smoothing: float) -> None:
    y = random().integers(2, size=(COUNT, CLASSES)).astype(np.uint8)
    keras_loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing, reduction=None)

    found = Objective("multilabel", Loss(smoothing)).losses(y, logits())

    np.testing.assert_allclose(found, keras_loss(y.astype(np.float32), logits()), rtol=1e-5)


def test_balanced_labels_count_alike_whether_they_are_there_or_not() -> None:
    y = (random().random((4000, 1)) < 0.1).astype(np.uint8)
    objective = Objective("multilabel", Loss(class_weights="balanced"), y, ["rare"])

    losses = np.array(objective.losses(y, np.zeros((4000, 1), np.float32)))  # no opinion at all

    assert losses[y[:, 0] == 1].sum() == pytest.approx(losses[y[:, 0] == 0].sum(), rel=1e-5)


def test_the_score_of_labels_is_the_f1_of_each_example() -> None:
    y = random().integers(2, size=(COUNT, CLASSES)).astype(np.uint8)
    y[0] = 0
    outputs = logits()
    outputs[0] = -1  # none is there, and none is found: right

    found = Objective("multilabel").scores(y, outputs)

    expected = f1_score(y, outputs > 0, average="samples", zero_division=1)
    assert np.mean(found) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("name", "theirs"), [("mse", "mse"), ("mae", "mae"), ("huber", "huber")])
def test_the_loss_of_values_is_on_their_own_scale(name: Any, theirs: str) -> None:
    values = (1000 + 50 * random().normal(size=(COUNT, 2))).astype(np.float32)
    objective = Objective("regression", Loss(regression=name), values, ["a", "b"])
    outputs = random(1).normal(size=(COUNT, 2)).astype(np.float32)
    scaled = (values - values.mean(axis=0)) / values.std(axis=0)

    expected = {
        "mse": np.mean((outputs - scaled) ** 2, axis=1),
        "mae": np.mean(np.abs(outputs - scaled), axis=1),
        "huber": np.array(keras.losses.Huber(reduction=None)(scaled, outputs)),
    }[theirs]

    np.testing.assert_allclose(objective.losses(values, outputs), expected, rtol=1e-3)
    in_their_unit = outputs * values.std(axis=0) + values.mean(axis=0)
    np.testing.assert_allclose(
        objective.scores(values, outputs), np.abs(in_their_unit - values).mean(axis=1), rtol=1e-3
    )


def test_values_that_are_all_the_same_divide_by_nothing() -> None:
    values = np.full((5, 1), 7.0, np.float32)

    assert np.isfinite(Objective("regression", targets=values).losses(values, np.zeros((5, 1), np.float32))).all()
