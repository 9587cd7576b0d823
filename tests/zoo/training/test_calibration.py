"""Calibration against sums written out, and temperatures that are known because the data was made with them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from zoo.training.calibration import calibration_of, scaled_probabilities, temperature


def drawn(count: int, classes: int = 4, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns logits, and labels that are drawn by their probabilities: the right temperature is 1."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(count, classes))
    shares = softmax(logits, axis=1).cumsum(axis=1)
    return logits, (rng.random((count, 1)) < shares).argmax(axis=1)


def by_hand(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Returns the expected calibration error as Guo et al. write it, bin after bin."""
    total = 0.0
    for number in range(15):
        inside = (confidence >= number / 15) & (confidence < (number + 1) / 15)
        if number == 14:
            inside |= confidence == 1
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


def test_the_error_is_the_sum_over_bins() -> None:
    logits, labels = drawn(300)
    probabilities = softmax(3 * logits, axis=1)
    probabilities[0] = [1, 0, 0, 0]
    found = calibration_of(probabilities, labels, "classification")
    assert found is not None
    right = probabilities.argmax(axis=1) == labels
    assert found.error == pytest.approx(by_hand(probabilities.max(axis=1), right))
    assert len(found.bins) == 15
    assert sum(each.count for each in found.bins) == 300
    assert all((each.accuracy is None) == (each.count == 0) for each in found.bins)
    assert all(each.low <= each.confidence <= each.high for each in found.bins if each.confidence is not None)
    assert (found.temperature, found.scaled_error, found.scaled_loss) == (None, None, None)


def test_each_label_is_a_prediction_of_its_own() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random((100, 3))
    present = rng.random((100, 3)) < probabilities
    found = calibration_of(probabilities, present, "multilabel", 1.0)
    assert found is not None
    said = probabilities > 0.5
    confidence = np.where(said, probabilities, 1 - probabilities)
    assert found.error == pytest.approx(by_hand(confidence.ravel(), (said == present).ravel()))
    assert found.scaled_error == pytest.approx(found.error)


def test_without_examples_nothing_is_known() -> None:
    assert calibration_of(np.empty((0, 3)), np.empty(0, np.int64), "classification", 1.0) is None
    assert temperature(np.empty((0, 3)), np.empty(0, np.int64)) == 1.0


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_that_the_data_was_made_with_is_found(factor: float) -> None:
    logits, labels = drawn(4000)
    found = temperature(factor * logits, labels)
    assert found == pytest.approx(factor, rel=0.1)
    grid = [log_loss(labels, softmax(factor * logits / each, axis=1)) for each in (0.9 * found, found, 1.1 * found)]
    assert min(grid) == grid[1]


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_likewise_of_several_labels(factor: float) -> None:
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(2000, 3))
    present = (rng.random(logits.shape) < expit(logits)).astype(np.uint8)
    assert temperature(factor * logits, present) == pytest.approx(factor, rel=0.1)


def test_a_few_examples_that_are_all_right_make_nothing_certain() -> None:
    labels = np.arange(6) % 3
    assert 0.1 < temperature(3 * np.eye(3)[labels], labels) < 1
    assert 1 < temperature(3 * np.eye(3)[(labels + 1) % 3], labels) < 20


def test_scaling_makes_an_overconfident_model_honest_and_changes_no_answer() -> None:
    logits, labels = drawn(3000)
    probabilities = softmax(4 * logits, axis=1)
    scale = temperature(4 * logits[:1000], labels[:1000])
    found = calibration_of(probabilities[1000:], labels[1000:], "classification", scale)
    assert found is not None
    assert found.scaled_error is not None
    assert found.scaled_error < 0.04 < found.error
    scaled = scaled_probabilities(probabilities[1000:], scale, "classification")
    assert np.array_equal(scaled.argmax(axis=1), logits[1000:].argmax(axis=1))
    assert found.scaled_loss == pytest.approx(log_loss(labels[1000:], scaled), rel=1e-6)


def test_many_examples_are_scaled_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = drawn(100)
    probabilities = softmax(logits, axis=1)
    whole = calibration_of(probabilities, labels, "classification", 2.0)
    monkeypatch.setattr("zoo.training.calibration._AT_ONCE", 7)
    pieces = calibration_of(probabilities, labels, "classification", 2.0)
    assert whole is not None
    assert pieces is not None
    assert (pieces.scaled_error, pieces.scaled_loss) == pytest.approx((whole.scaled_error, whole.scaled_loss))


def test_probabilities_are_scaled_as_their_logits_are() -> None:
    logits, _ = drawn(20)
    expected = softmax(logits / 1.7, axis=1)
    assert scaled_probabilities(softmax(logits, axis=1), 1.7, "classification") == pytest.approx(expected)
    assert scaled_probabilities(expit(logits), 1.7, "multilabel") == pytest.approx(expit(logits / 1.7))
    certain = scaled_probabilities(np.array([[1.0, 0.0]]), 2.0, "classification")
    assert np.isfinite(certain).all()
