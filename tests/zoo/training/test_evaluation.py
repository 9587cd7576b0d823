from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

from zoo.training import evaluate, worst_mistakes

if TYPE_CHECKING:
    from numpy.typing import NDArray


def random_probabilities(count: int, classes: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).dirichlet(np.ones(classes), count)


def random_labels(count: int, classes: int) -> NDArray[np.int64]:
    return np.random.default_rng(1).integers(0, classes, count)


@pytest.mark.parametrize(("count", "classes"), [(200, 2), (200, 5), (1, 3)])
def test_the_figures_are_scikit_learns(count: int, classes: int) -> None:
    probabilities, labels = random_probabilities(count, classes), random_labels(count, classes)

    result = evaluate(probabilities, labels)

    predicted, every = probabilities.argmax(axis=1), list(range(classes))
    assert result.count == count
    assert result.accuracy == accuracy_score(labels, predicted)
    assert result.loss == pytest.approx(log_loss(labels, probabilities, labels=every), rel=1e-12)
    assert np.array_equal(result.confusion, confusion_matrix(labels, predicted, labels=every))
    assert result.confusion.dtype == np.int64


def test_float32_probabilities_have_the_same_figures() -> None:
    probabilities, labels = random_probabilities(100, 4), random_labels(100, 4)

    single, double = evaluate(probabilities.astype(np.float32), labels), evaluate(probabilities, labels)

    assert single.accuracy == double.accuracy
    assert single.loss == pytest.approx(double.loss, rel=1e-6)  # float32 has 7 digits


def test_rows_of_the_confusion_are_true_classes_and_columns_predicted_ones() -> None:
    sure_of_2 = np.array([[0.0, 0.1, 0.9]])

    confusion = evaluate(sure_of_2, np.array([0])).confusion

    assert confusion.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_a_class_without_examples_has_a_row_of_zeros() -> None:
    result = evaluate(random_probabilities(20, 4), np.zeros(20, np.int64))

    assert result.confusion.shape == (4, 4)
    assert result.confusion[1:].sum() == 0


def test_a_sure_mistake_has_a_finite_loss() -> None:
    result = evaluate(np.array([[1.0, 0.0]], np.float32), np.array([1]))

    assert result.loss == pytest.approx(-np.log(np.finfo(np.float32).tiny))


def test_without_examples_the_figures_are_not_numbers() -> None:
    result = evaluate(np.empty((0, 3)), np.empty(0, np.int64))

    assert result.count == result.confusion.sum() == 0
    assert np.isnan(result.accuracy)
    assert np.isnan(result.loss)


def test_the_worst_mistakes_are_the_surest_ones_first() -> None:
    probabilities = np.array(
        [
            [0.6, 0.4, 0.0],  # wrong, 0.6 sure
            [0.9, 0.1, 0.0],  # right
            [0.0, 0.8, 0.2],  # wrong, 0.8 sure
            [0.1, 0.2, 0.7],  # wrong, 0.7 sure
            [0.2, 0.8, 0.0],  # wrong, as sure as example 2 and after it
        ]
    )
    labels = np.array([1, 0, 2, 0, 0])

    assert worst_mistakes(probabilities, labels, 10).tolist() == [2, 4, 3, 0]
    assert worst_mistakes(probabilities, labels, 2).tolist() == [2, 4]
    assert worst_mistakes(probabilities, labels, 0).tolist() == []


def test_without_mistakes_there_are_none_to_show() -> None:
    assert worst_mistakes(np.eye(3), np.arange(3), 5).tolist() == []
    assert worst_mistakes(np.empty((0, 3)), np.empty(0, np.int64), 5).tolist() == []
