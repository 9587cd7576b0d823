"""Figures of classes, labels and values, against scikit-learn, SciPy, and sums written out."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics

from zoo.intervals import wilson_interval
from zoo.training import Evaluation, evaluate, worst_mistakes
from zoo.training.evaluation import most_uncertain

if TYPE_CHECKING:
    from numpy.typing import NDArray


def random_probabilities(count: int, classes: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).dirichlet(np.ones(classes), count)


def random_labels(count: int, classes: int) -> NDArray[np.int64]:
    return np.random.default_rng(1).integers(0, classes, count)


def multilabel(count: int = 150, labels: int = 6) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    rng = np.random.default_rng(2)
    present = (rng.random((count, labels)) < 0.3).astype(np.uint8)
    present[:3] = 0
    return np.clip(0.45 * present + 0.6 * rng.random((count, labels)), 0, 1), present


def values(count: int = 80, outputs: int = 1) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    true = rng.normal(size=(count, outputs)) * 3 + 10
    return (true + rng.normal(size=true.shape)).astype(np.float32), true.astype(np.float32)


def as_read(found: Evaluation) -> dict[str, Any]:
    """Returns the figures after a way through JSON, which knows no NaN."""
    document: dict[str, Any] = json.loads(json.dumps(found.to_json(), allow_nan=False))
    return document


# --- classes ---


@pytest.mark.parametrize(("count", "classes"), [(200, 2), (200, 5), (1, 3)])
def test_the_figures_are_scikit_learns(count: int, classes: int) -> None:
    probabilities, labels = random_probabilities(count, classes), random_labels(count, classes)

    result = evaluate(probabilities, labels)

    predicted, every = probabilities.argmax(axis=1), list(range(classes))
    assert result.count == count
    assert result.accuracy == result.score == metrics.accuracy_score(labels, predicted)
    assert result.loss == pytest.approx(metrics.log_loss(labels, probabilities, labels=every), rel=1e-12)
    assert np.array_equal(result.confusion, metrics.confusion_matrix(labels, predicted, labels=every))
    assert result.confusion is not None
    assert result.confusion.dtype == np.int64
    expected = metrics.f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)
    assert result.figures["macro_f1"] == pytest.approx(expected)
    assert result.figures["brier"] == pytest.approx(((probabilities - np.eye(classes)[labels]) ** 2).sum(1).mean())


def test_each_class_is_scikit_learns() -> None:
    probabilities, labels = random_probabilities(200, 4), random_labels(200, 4)
    rows = metrics.precision_recall_fscore_support(labels, probabilities.argmax(axis=1))
    found = evaluate(probabilities, labels, classes=["a", "b", "c", "d"]).per_class
    assert [each.name for each in found] == ["a", "b", "c", "d"]
    for each, precision, recall, f1, count in zip(found, *rows, strict=True):
        assert (each.precision, each.recall, each.f1, each.count) == pytest.approx((precision, recall, f1, count))


def test_two_classes_have_the_area_under_the_curve_too() -> None:
    probabilities, labels = random_probabilities(60, 2), random_labels(60, 2)
    found = evaluate(probabilities, labels).figures
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(labels, probabilities[:, 1]))
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(labels, probabilities[:, 1]))
    assert "roc_auc" not in evaluate(random_probabilities(60, 3), random_labels(60, 3)).figures
    assert evaluate(probabilities, np.zeros(60, np.int64)).figures["roc_auc"] is None


def test_float32_probabilities_have_the_same_figures() -> None:
    probabilities, labels = random_probabilities(100, 4), random_labels(100, 4)

    single, double = evaluate(probabilities.astype(np.float32), labels), evaluate(probabilities, labels)

    assert single.accuracy == double.accuracy
    assert single.loss == pytest.approx(double.loss, rel=1e-6)  # float32 has 7 digits


def test_rows_of_the_confusion_are_true_classes_and_columns_predicted_ones() -> None:
    sure_of_2 = np.array([[0.0, 0.1, 0.9]])

    confusion = evaluate(sure_of_2, np.array([0])).confusion

    assert confusion is not None
    assert confusion.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_a_class_without_examples_is_told_and_divides_nothing_by_zero() -> None:
    result = evaluate(random_probabilities(20, 4), np.zeros(20, np.int64), classes=["a", "b", "c", "d"])

    assert result.confusion is not None
    assert result.confusion.shape == (4, 4)
    assert result.confusion[1:].sum() == 0
    for name in ("recall", "f1"):
        assert [getattr(each, name) is None for each in result.per_class] == [False, True, True, True]
    assert result.figures["macro_f1"] == result.per_class[0].f1
    assert result.warnings == ("No example is of the class 'b', 'c', 'd': how well they are found is not known.",)
    assert as_read(result)["warnings"] == list(result.warnings)


def test_of_many_classes_without_examples_a_few_are_named() -> None:
    (warning,) = evaluate(np.eye(50)[[7, 8]], np.array([7, 8])).warnings
    assert "'0', '1', '2', '3', '4' and 43 more" in warning


def test_t04_everything_taken_for_one_class_is_told() -> None:
    probabilities = np.tile([0.2, 0.5, 0.3], (30, 1))
    (warning,) = evaluate(probabilities, np.arange(30) % 3, classes=["cat", "dog", "owl"]).warnings
    assert "'dog'" in warning
    assert "confusion matrix" in warning
    assert evaluate(np.eye(3), np.arange(3)).warnings == ()


def test_a_sure_mistake_has_a_finite_loss() -> None:
    result = evaluate(np.array([[1.0, 0.0]], np.float32), np.array([1]))

    assert result.loss == pytest.approx(-np.log(np.finfo(np.float32).tiny))


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_without_examples_the_figures_are_not_numbers(task: Any) -> None:
    labels = np.empty(0, np.int64) if task == "classification" else np.empty((0, 3))
    result = evaluate(np.empty((0, 3)), labels, task)

    assert result.count == 0
    assert math.isnan(result.score)
    assert math.isnan(result.loss)
    document = as_read(result)
    assert (document["score"], document["loss"], document["count"]) == (None, None, 0)


def test_the_json_has_every_figure() -> None:
    document = as_read(evaluate(random_probabilities(50, 3), random_labels(50, 3), temperature=2.0))
    assert {"accuracy", "accuracy_interval", "loss", "macro_f1", "macro_f1_interval", "brier", "count", "confusion",
            "per_class", "calibration", "score", "score_name", "warnings"} == set(document)  # fmt: skip
    assert document["score_name"] == "accuracy"
    assert set(document["per_class"][0]) >= {"name", "count", "precision", "recall", "f1"}
    assert document["calibration"]["temperature"] == 2.0


# --- intervals ---


@pytest.mark.parametrize("right", [True, False])
def test_where_all_are_right_or_none_the_interval_is_wilsons(right: bool) -> None:
    labels = np.arange(20) % 4
    result = evaluate(np.eye(4)[labels if right else (labels + 1) % 4], labels)
    assert result.intervals["accuracy"] == wilson_interval(20 * right, 20)
    assert result.intervals["macro_f1"] == wilson_interval(20 * right, 20)
    assert max(result.intervals["accuracy"]) - min(result.intervals["accuracy"]) > 0.15


def test_the_interval_is_never_narrower_than_wilsons_and_of_many_examples_hardly_wider() -> None:
    for count, wrong in ((10, 1), (50, 1), (300, 40), (5000, 700)):
        labels = np.zeros(count, np.int64)
        result = evaluate(np.eye(2)[(np.arange(count) < wrong).astype(int)], labels)
        low, high = result.intervals["accuracy"]
        wilson = wilson_interval(count - wrong, count)
        assert low <= wilson[0] < result.accuracy < wilson[1] <= high
        if count >= 300:
            assert high - low == pytest.approx(wilson[1] - wilson[0], rel=0.1)


def test_a_single_example_says_little() -> None:
    assert evaluate(np.array([[0.9, 0.1]]), np.array([0])).intervals["accuracy"] == wilson_interval(1, 1)
    outputs, true = values(1)
    assert as_read(evaluate(outputs, true, "regression"))["mae_interval"] == [None, None]


def test_the_same_seed_gives_the_same_intervals() -> None:
    probabilities, labels = random_probabilities(60, 3), random_labels(60, 3)
    one, other = (evaluate(probabilities, labels, seed=seed) for seed in (0, 1))
    assert one.intervals == evaluate(probabilities, labels).intervals
    assert one.intervals["macro_f1"] != other.intervals["macro_f1"]


def test_the_interval_of_macro_f1_lies_around_it_though_classes_have_few_examples() -> None:
    labels = np.repeat(np.arange(100), 2)
    said = np.where(np.random.default_rng(0).random(200) < 0.8, labels, (labels + 7) % 100)
    result = evaluate(np.eye(100)[said], labels)
    low, high = result.intervals["macro_f1"]
    score = result.figures["macro_f1"]
    assert score is not None
    assert low < score - 0.03 < score + 0.03 < high


# --- labels ---


def test_the_figures_of_labels_are_scikit_learns() -> None:
    probabilities, present = multilabel()
    found = evaluate(probabilities, present, "multilabel")
    said = probabilities > 0.5
    expected = {
        "example_f1": metrics.f1_score(present, said, average="samples", zero_division=1),
        "micro_f1": metrics.f1_score(present, said, average="micro"),
        "macro_f1": metrics.f1_score(present, said, average="macro"),
        "subset_accuracy": metrics.accuracy_score(present, said),
        "mean_average_precision": metrics.average_precision_score(present, probabilities, average="macro"),
        "brier": ((probabilities - present) ** 2).mean(),
    }
    assert found.figures == pytest.approx(expected)
    losses = [metrics.log_loss(present[:, at], probabilities[:, at]) for at in range(present.shape[1])]
    assert found.loss == pytest.approx(np.mean(losses))
    assert (found.score, found.confusion) == (found.figures["example_f1"], None)
    rows = metrics.precision_recall_fscore_support(present, said)
    for each, precision, recall, f1, count in zip(found.per_class, *rows, strict=True):
        assert (each.precision, each.recall, each.f1, each.count) == pytest.approx((precision, recall, f1, count))
    assert found.intervals["example_f1"][0] < found.score < found.intervals["example_f1"][1]
    as_read(found)


def test_labels_that_none_or_all_have_divide_nothing_by_zero() -> None:
    probabilities, present = multilabel(30, 3)
    present[:, 1], present[:, 2] = 0, 1
    found = evaluate(probabilities, present, "multilabel", classes=["a", "b", "c"])
    assert [each.average_precision is None for each in found.per_class] == [False, True, True]
    assert found.per_class[1].recall is None
    assert "'b'" in found.warnings[0]
    silent = evaluate(np.full((30, 3), 0.1), present, "multilabel")
    assert "No example is given any label" in silent.warnings[-1]
    assert all(each.precision is None for each in silent.per_class)


def test_labels_that_are_all_right_have_wilsons_interval() -> None:
    _, present = multilabel(40)
    assert evaluate(present, present, "multilabel").intervals["example_f1"] == wilson_interval(40, 40)


# --- values ---


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_figures_of_values_are_scikit_learns(outputs: int) -> None:
    said, true = values(outputs=outputs)
    found = evaluate(said, true, "regression")
    expected = {
        "mae": metrics.mean_absolute_error(true, said),
        "rmse": math.sqrt(metrics.mean_squared_error(true, said)),
        "r2": metrics.r2_score(true, said, multioutput="variance_weighted"),
        "median_absolute_error": np.median(np.abs(true - said).mean(axis=1)),
        "spearman": np.mean([spearmanr(true[:, at], said[:, at])[0] for at in range(outputs)]),
    }
    assert found.figures == pytest.approx(expected, rel=1e-5)
    assert found.loss == pytest.approx(found.figures["rmse"] ** 2)  # type: ignore[operator]
    assert found.score == found.figures["mae"]
    for name in ("mae", "rmse"):
        low, high = found.intervals[name]
        assert low < expected[name] < high
    assert math.isnan(found.accuracy)
    assert as_read(found)["score_name"] == "mae"


def test_values_that_are_all_the_same_have_no_r2_and_no_order() -> None:
    found = evaluate(np.arange(5.0)[:, None], np.full((5, 1), 7.0), "regression").figures
    assert (found["r2"], found["spearman"]) == (None, None)
    assert found["mae"] == 5.0


# --- which to look at ---


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


def test_the_most_uncertain_examples_have_two_classes_alike() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.4, 0.35, 0.25], [0.5, 0.5, 0.0], [0.6, 0.2, 0.2]])
    assert most_uncertain(probabilities, 3).tolist() == [2, 1, 3]
    assert most_uncertain(np.ones((4, 1)), 3).tolist() == []


def test_one_gross_error_among_many_leaves_intervals_that_can_be() -> None:
    """Of so many examples the resampled means are drawn from a normal distribution, which knows no least value."""
    values = np.zeros((20_001, 1))
    values[0] = 1e6
    found = evaluate(np.zeros((20_001, 1)), values, "regression")
    for name in ("mae", "rmse"):
        low, high = found.intervals[name]
        assert 0 <= low <= found.figures[name] <= high  # type: ignore[operator]
