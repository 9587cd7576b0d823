"""Probes rank what they should, and are what scikit-learn makes of the same loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from zoo.data.targets import Task
from zoo.training.linear import (
    STRENGTHS,
    encoding_of,
    fitted,
    held_out,
    outputs_of,
    principal_axes,
    spread_rows,
    stratified_folds,
)
from zoo.training.probes import probe

Array = NDArray[Any]


def clouds(count: int, width: int, apart: float, *, classes: int = 10, seed: int = 0) -> tuple[Array, Array]:
    """Returns features of classes whose means lie `apart`, in noise of 1, and their labels."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(size=(classes, width)) * apart / np.sqrt(width)
    labels = np.arange(count) % classes
    return (means[labels] + rng.normal(size=(count, width))).astype(np.float32), labels


@pytest.mark.parametrize("width", [8, 300])
def test_classes_are_fitted_as_scikit_learn_fits_them(width: int) -> None:
    """The same loss and penalty; where features outnumber examples, their axes change nothing."""
    x, y = clouds(120, width, 3.0, classes=4)
    axes, encoding = principal_axes(x), encoding_of(y, "classification")
    along = axes.coordinates(x)
    weights = fitted(along, encoding.targets(y), encoding, 0.01)
    standardized = (x - axes.center) * axes.scale
    other = LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-8, max_iter=5000).fit(standardized, y)
    logits = outputs_of(weights, along)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(shares / shares.sum(axis=1, keepdims=True), other.predict_proba(standardized), atol=5e-3)


def test_values_are_fitted_as_ridge_regression_fits_them() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 5)).astype(np.float32)
    y = (x @ rng.normal(size=(5, 2)) + rng.normal(size=(80, 2)) + 3).astype(np.float32)
    axes, encoding = principal_axes(x), encoding_of(y, "regression")
    along, targets = axes.coordinates(x), encoding_of(y, "regression").targets(y)
    found = outputs_of(fitted(along, targets, encoding, 0.02), along)
    # Mean over both outputs of squared errors, and half the penalty: as many times the penalty of the sum.
    other = Ridge(alpha=0.02 * len(x)).fit((x - axes.center) * axes.scale, targets)
    np.testing.assert_allclose(found, other.predict((x - axes.center) * axes.scale), atol=2e-2)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_slopes_are_those_of_the_losses(task: Task) -> None:
    rng = np.random.default_rng(0)
    labels: dict[Task, Array] = {
        "classification": np.array([0, 2, 1]),
        "multilabel": np.array([[1, 0, 1], [0, 0, 0], [1, 1, 0]]),
        "regression": rng.normal(size=(3, 3)),
    }
    encoding = encoding_of(labels[task], task)
    targets, outputs, step = encoding.targets(labels[task]), rng.normal(size=(3, 3)), 1e-6
    _, slopes = encoding.judged(outputs, targets)
    for column in range(3):
        moved = outputs.copy()
        moved[:, column] += step
        rise = (encoding.judged(moved, targets)[0] - encoding.judged(outputs, targets)[0]) / step
        np.testing.assert_allclose(slopes[:, column], rise, atol=1e-5)


def test_better_features_have_the_lower_loss() -> None:
    """Ten examples a class; the wide features have the same signal in eight times as much noise."""
    found = []
    for width, apart in ((64, 7.0), (64, 4.0), (512, 4.0), (64, 2.0), (4096, 0.0)):
        train, validation = clouds(100, width, apart), clouds(200, width, apart, seed=1)
        found.append(probe(*train, *validation))
    losses = [each.loss for each in found]
    assert losses == sorted(losses)
    assert found[0].score > 0.95
    assert found[-1].score < 0.25
    assert found[-1].loss < 1.05 * np.log(10)  # which regularization sees to
    assert [each.cross_loss for each in found] == sorted(each.cross_loss for each in found)


def test_training_examples_have_a_say_beside_the_validation_examples() -> None:
    """Eight validation examples happen to be easy: by them alone, useless features look as good as useful ones."""
    (x, y), (v, z) = clouds(100, 64, 4.0), clouds(8, 64, 4.0, seed=1)
    rng = np.random.default_rng(0)
    useless = rng.normal(size=x.shape).astype(np.float32)
    useful, lucky = probe(x, y, v, z), probe(useless, y, useless[:8], y[:8])
    assert lucky.validation_loss < useful.validation_loss or lucky.score >= useful.score
    assert lucky.loss > 2 * useful.loss
    for found in (useful, lucky):
        assert found.loss == pytest.approx((8 * found.validation_loss + 100 * found.cross_loss) / 108)


def test_scales_and_dead_features_do_not_matter() -> None:
    train, y = clouds(100, 64, 4.0)
    validation, z = clouds(200, 64, 4.0, seed=1)
    plain = probe(train, y, validation, z)
    scaled = probe(1000 * train + 7, y, 1000 * validation + 7, z)
    dead = probe(np.pad(train, ((0, 0), (0, 9))), y, np.pad(validation, ((0, 0), (0, 9))), z)
    assert scaled.loss == pytest.approx(plain.loss, rel=0.01)
    assert dead.loss == pytest.approx(plain.loss, rel=0.05)


def test_the_same_again_gives_the_same() -> None:
    train, validation = clouds(100, 64, 4.0), clouds(50, 64, 4.0, seed=1)
    first, second = probe(*train, *validation), probe(*train, *validation)
    assert (first.score, first.loss, first.cross_loss) == (second.score, second.loss, second.cross_loss)


def test_labels_and_values_are_probed_too() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 20)).astype(np.float32)
    several = (x[:, :3] > 0.3).astype(np.uint8)
    values = (10 * x[:, :1] + 100).astype(np.float32)
    labels = probe(x[:120], several[:120], x[120:], several[120:], "multilabel")
    assert labels.score > 0.6
    assert labels.loss < 0.4
    errors = probe(x[:120], values[:120], x[120:], values[120:], "regression")
    assert errors.score < 1.0  # in the unit of the values, which vary by 10
    assert errors.loss < 0.01
    noise = probe(x[:120], values[rng.permutation(120)], x[120:], values[120:], "regression")
    assert noise.loss > 0.8


def test_a_class_that_is_missing_or_has_one_example_ends_in_no_infinity() -> None:
    x, y = clouds(30, 16, 5.0, classes=3)
    others, z = clouds(30, 16, 5.0, classes=4, seed=1)
    found = probe(x[:28], np.where(y[:28] == 2, 0, y[:28]), others, z)
    assert np.isfinite([found.loss, found.cross_loss]).all()
    alone = probe(x[:3], y[:3], others[z < 3], z[z < 3])
    assert np.isfinite(alone.loss)
    one = probe(x[:1], y[:1], others, z)
    assert (np.isfinite(one.loss), np.isnan(one.cross_loss)) == (True, True)


def test_constant_features_tell_nothing_and_break_nothing() -> None:
    y = np.arange(40) % 2
    found = probe(np.ones((40, 7), np.float32), y, np.ones((10, 7), np.float32), y[:10])
    assert found.loss == pytest.approx(np.log(2), abs=0.01)


def test_folds_are_even_and_keep_groups_together() -> None:
    strata = np.repeat([0, 1], [10, 5])
    fold = stratified_folds(strata, 5)
    assert np.bincount(fold).tolist() == [3] * 5
    assert np.bincount(fold[strata == 1]).tolist() == [1] * 5
    groups = np.arange(15) // 3
    together = stratified_folds(strata, 3, groups)
    assert all(len(set(together[groups == group])) == 1 for group in range(5))


def test_rows_are_taken_in_proportion() -> None:
    strata = np.repeat([0, 1, 2], [80, 15, 5])
    rows = spread_rows(strata, np.random.default_rng(0).random(100), 20)
    assert np.bincount(strata[rows]).tolist() == [16, 3, 1]
    assert len(spread_rows(strata, np.zeros(100), 100)) == 100


def test_held_out_stops_when_weaker_penalties_only_do_harm() -> None:
    x, y = clouds(60, 200, 0.0, classes=2)
    encoding = encoding_of(y, "classification")
    tried = held_out(principal_axes(x).coordinates(x), encoding.targets(y), encoding, stratified_folds(y, 5))
    strengths = [strength for strength, _ in tried.settings]
    assert len(set(strengths)) < len(STRENGTHS)
    assert strengths[tried.best()] >= STRENGTHS[1]
