"""Guessing and nearest neighbours, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from zoo.training import evaluate
from zoo.training.baselines import guess, is_affordable, nearest_neighbors


def test_a_guess_is_the_most_frequent_class() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.choice(4, 100, p=[0.1, 0.5, 0.3, 0.1]), rng.integers(0, 4, 60)
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((100, 1)), train)
    outputs = guess(train, 60, "classification", 5)  # of the fifth class there is none
    assert outputs.shape == (60, 5)
    assert outputs[0, :4] == pytest.approx(dummy.predict_proba([[0]])[0])
    assert evaluate(outputs, test).accuracy == dummy.score(np.zeros((60, 1)), test)


def test_a_guess_of_labels_and_values_is_their_mean() -> None:
    present = np.array([[1, 0], [1, 1], [1, 0]], np.uint8)
    assert guess(present, 2, "multilabel", 2) == pytest.approx(np.array([[1, 1 / 3]] * 2))
    true = np.array([[1.0], [2.0], [6.0]], np.float32)
    dummy = DummyRegressor().fit(np.zeros((3, 1)), true)
    assert guess(true, 2, "regression", 1) == pytest.approx(dummy.predict([[0], [0]]).reshape(2, 1))


@pytest.mark.parametrize("k", [1, 5])
def test_neighbours_are_scikit_learns_by_cosine(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.training.baselines._AT_ONCE", 100)  # 16 rows at a time
    rng = np.random.default_rng(0)
    x, rows = rng.normal(size=(130, 6)).astype(np.float32), rng.permutation(130)
    train, test = rows[:90], rows[90:]
    labels, targets = rng.integers(0, 3, 90), rng.normal(size=(90, 2))
    center = x[train].mean(axis=0)
    known = KNeighborsClassifier(k, metric="cosine").fit(x[train] - center, labels)
    found = nearest_neighbors(x, train, labels, test, "classification", 3, k)
    assert found == pytest.approx(known.predict_proba(x[test] - center))
    near = KNeighborsRegressor(k, metric="cosine").fit(x[train] - center, targets)
    found = nearest_neighbors(x, train, targets, test, "regression", 2, k)
    assert found == pytest.approx(near.predict(x[test] - center))


def test_neighbours_on_maps_are_those_on_their_means() -> None:
    rng = np.random.default_rng(0)
    maps, labels = rng.normal(size=(40, 3, 2, 5)).astype(np.float32), rng.integers(0, 3, 30)
    arguments = np.arange(30), labels, np.arange(30, 40), "classification", 3
    found = nearest_neighbors(maps, *arguments)  # type: ignore[arg-type]
    assert found == pytest.approx(nearest_neighbors(maps.mean(axis=(1, 2)), *arguments))  # type: ignore[arg-type]


def test_fewer_training_examples_than_neighbours_features_of_zeros_and_nothing_to_judge() -> None:
    x = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]], np.float32)
    two, labels = np.arange(2), np.array([0, 1])
    assert nearest_neighbors(x, two, labels, np.arange(3), "classification", 2) == pytest.approx(np.full((3, 2), 0.5))
    assert nearest_neighbors(x, two, labels, np.arange(0), "classification", 2).shape == (0, 2)


def test_what_would_take_hours_is_not_begun() -> None:
    assert is_affordable(50_000, 10_000, (60_000, 2048))
    assert not is_affordable(1_000_000, 100_000, (1_100_000, 2048))  # 2e14 products
    assert not is_affordable(40_000, 10_000, (50_000, 112, 112, 64))  # 160 GB to read
