"""Guessing and nearest neighbours, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from zoo.training import evaluate
from zoo.training.baselines import guess, nearest_neighbors


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
    monkeypatch.setattr("zoo.training.baselines._AT_ONCE", 1000)  # several pieces
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(90, 6)).astype(np.float32), rng.normal(size=(40, 6)).astype(np.float32)
    labels, targets = rng.integers(0, 3, 90), rng.normal(size=(90, 2))
    center = train.mean(axis=0)
    known = KNeighborsClassifier(k, metric="cosine").fit(train - center, labels)
    found = nearest_neighbors(train, labels, test, "classification", 3, k)
    assert found == pytest.approx(known.predict_proba(test - center))
    near = KNeighborsRegressor(k, metric="cosine").fit(train - center, targets)
    assert nearest_neighbors(train, targets, test, "regression", 2, k) == pytest.approx(near.predict(test - center))


def test_fewer_training_examples_than_neighbours_features_of_zeros_and_nothing_to_judge() -> None:
    two = np.array([[1.0, 0.0], [0.0, 0.0]], np.float32)
    found = nearest_neighbors(two, np.array([0, 1]), np.zeros((3, 2), np.float32), "classification", 2)
    assert found == pytest.approx(np.full((3, 2), 0.5))
    assert nearest_neighbors(two, np.array([0, 1]), np.empty((0, 2)), "classification", 2).shape == (0, 2)
