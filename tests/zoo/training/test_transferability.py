"""Scores of features against what other programs, or the definition itself, make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from zoo.training.transferability import h_score, linear_probe, log_me, nearest_neighbor_accuracy

Array = NDArray[Any]


def relu_clouds(count: int, width: int, classes: int = 3, seed: int = 0) -> tuple[Array, Array]:
    """Returns features as networks have them, none below 0 and some for ever 0, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    x = rng.normal(size=(classes, width))[labels] + rng.normal(size=(count, width))
    x = np.maximum(x, 0)
    x[:, 0] = 0
    return x, labels


@pytest.mark.parametrize(("count", "width"), [(60, 8), (30, 90), (200, 1)])
def test_h_score_is_the_definition(count: int, width: int) -> None:
    """With scikit-learn's shrinkage, and matrices as the paper writes them."""
    x, y = relu_clouds(count, width)
    x = x + np.random.default_rng(1).normal(size=x.shape) * 0.01
    shrunk = LedoitWolf().fit(x)
    means = np.stack([x[y == label].mean(axis=0) for label in y])
    between = np.atleast_2d(np.cov(means, rowvar=False, bias=True))
    expected = np.trace(np.linalg.inv(shrunk.covariance_) @ between) * (1 - shrunk.shrinkage_)
    assert h_score(x, y) == pytest.approx(expected, rel=1e-6)


def test_h_score_is_the_same_for_any_scale_and_rotation() -> None:
    x, y = relu_clouds(50, 12)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]
    assert h_score(3 * x @ turn + 5, y) == pytest.approx(h_score(x, y), rel=1e-6)


def evidence_of(x: Array, target: Array, alpha: float, beta: float) -> float:
    """Returns the log density of a target whose covariance is that of weights and noise, a label."""
    covariance = x @ x.T / alpha + np.eye(len(x)) / beta
    _, logarithm = np.linalg.slogdet(covariance)
    return float(-0.5 * (target @ np.linalg.solve(covariance, target) + logarithm + len(x) * np.log(2 * np.pi))) / len(
        x
    )


@pytest.mark.parametrize(("count", "width"), [(40, 6), (30, 50)])
def test_log_me_is_the_largest_evidence(count: int, width: int) -> None:
    """Found by search, for the density of the labels written down in full."""
    x, y = relu_clouds(count, width)
    best = []
    for label in range(3):
        target = (y == label).astype(float)

        def negative(logs: Array, target: Array = target) -> float:
            return -evidence_of(x, target, *np.exp(logs))

        starts = [(0.0, 0.0), (4.0, 1.0), (2.0, 4.0)]
        best.append(-min(minimize(negative, start, method="Nelder-Mead").fun for start in starts))
    assert log_me(x, y) == pytest.approx(np.mean(best), abs=2e-3)


def test_log_me_takes_values_and_labels_too() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8))
    values = (x @ rng.normal(size=(8, 1))).astype(np.float32)
    assert log_me(x, values, "regression") > log_me(x, rng.permutation(values), "regression") + 1
    several = (x[:, :2] > 0).astype(np.uint8)
    assert log_me(x, several, "multilabel") > log_me(x, rng.permutation(several), "multilabel")


def test_nearest_neighbours_are_scikit_learns() -> None:
    x, y = relu_clouds(80, 10)
    for neighbors in (1, 5):
        other = KNeighborsClassifier(neighbors, metric="cosine")
        expected = cross_val_score(other, x, y, cv=LeaveOneOut()).mean()
        assert nearest_neighbor_accuracy(x, y, neighbors=neighbors) == pytest.approx(
            expected, abs=0.03 * (neighbors > 1)
        )


def test_twins_are_no_neighbours() -> None:
    """Every example twice: each would find itself."""
    x = np.random.default_rng(0).normal(size=(60, 40))
    y = np.random.default_rng(1).integers(2, size=60)
    twice, labels, groups = np.concatenate([x, x]), np.concatenate([y, y]), np.tile(np.arange(60), 2)
    assert nearest_neighbor_accuracy(twice, labels) == 1.0
    assert nearest_neighbor_accuracy(twice, labels, groups=groups) < 0.75
    assert linear_probe(twice, labels, groups=groups).loss > 0.6


@pytest.mark.parametrize(("count", "width"), [(150, 20), (60, 200)])
def test_the_linear_probe_does_about_as_well_as_scikit_learns(count: int, width: int) -> None:
    x, y = relu_clouds(count, width)
    standardized = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9)
    strengths = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
    losses = []
    for strength in strengths:
        shares = cross_val_predict(
            LogisticRegression(C=strength, max_iter=2000), standardized, y, cv=5, method="predict_proba"
        )
        losses.append(-np.log(shares[np.arange(count), y]).mean())
    found = linear_probe(x, y)
    assert found.loss == pytest.approx(min(losses), rel=0.2, abs=0.03)
    assert found.losses.mean() == pytest.approx(found.loss)


def test_what_knows_nothing_is_told_from_what_knows() -> None:
    x, y = relu_clouds(120, 30)
    noise = np.maximum(np.random.default_rng(7).normal(size=x.shape), 0)
    assert h_score(x, y) > 2 * h_score(noise, y)
    assert log_me(x, y) > log_me(noise, y)
    assert nearest_neighbor_accuracy(x, y) > nearest_neighbor_accuracy(noise, y) + 0.2
    assert linear_probe(x, y).loss < linear_probe(noise, y).loss / 2


def test_features_that_are_all_the_same_have_scores() -> None:
    y = np.arange(30) % 3
    x = np.zeros((30, 5), np.float32)
    assert h_score(x, y) == 0
    assert np.isfinite(log_me(x, y))
    assert 0 <= nearest_neighbor_accuracy(x, y) <= 1
    assert linear_probe(x, y).loss == pytest.approx(np.log(3), rel=0.1)
