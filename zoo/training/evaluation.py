"""Figures of a model on examples that it has not seen: plain numbers, made without TensorFlow.

Intervals hold 95 %: the percentile bootstrap over the examples, from 2,000 resamples (`zoo.intervals`). Where all
examples are right, or nearly so, resamples hardly differ, though other examples would: the interval of an accuracy is
therefore at least as wide as Wilson's at each end, and so is that of an F1 of which all resamples are the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.targets import Task
from zoo.intervals import (
    UNKNOWN,
    Interval,
    centered,
    macro_f1_of,
    percentiles,
    resampled_counts,
    resampled_means,
    wider,
    wilson_interval,
)
from zoo.training.calibration import Calibration, calibration_of

Floats = NDArray[np.float64]

SCORES: dict[Task, str] = {"classification": "accuracy", "multilabel": "example_f1", "regression": "mae"}

_LEAST = float(np.finfo(np.float32).tiny)
_NAMED = 5


@dataclass(frozen=True)
class ClassFigures:
    """How well one class or label is found.

    Attributes:
        name: Of the class.
        count: How many of the examples are of it.
        precision: Share of those that are said to be of it and are; None where none is.
        recall: Share of its examples that are found; None where there are none.
        f1: 2 * right / (said + true); None where there are no examples of it.
        average_precision: Area under precision over recall, of a label; None for classes.
    """

    name: str
    count: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """How well outputs agree with targets.

    Attributes:
        task: What the targets are.
        count: Number of examples.
        loss: Mean of -log(probability of what is true); of a regression, the mean squared error.
        figures: Others by name. Classification: `accuracy`, `macro_f1` (mean over the classes that have examples),
            `brier` (0..2); with two classes `roc_auc` and `average_precision` of the second. Multilabel: `example_f1`
            (mean over examples), `micro_f1`, `macro_f1` (over the labels that any has), `subset_accuracy`,
            `mean_average_precision`, `brier` (0..1). Regression: `mae`,
            `rmse`, `r2`, `median_absolute_error`, `spearman`. None where there is nothing to count.
        intervals: Of some of them; NaN where a single example says nothing of it.
        per_class: Of each class or label.
        confusion: int64 [classes, classes]: true class by predicted class; None but for classification.
        calibration: Whether probabilities come true; None for regression.
        warnings: What is odd: classes without examples, or outputs that are all the same.
    """

    task: Task
    count: int
    loss: float
    figures: Mapping[str, float | None]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    per_class: tuple[ClassFigures, ...] = ()
    confusion: NDArray[np.int64] | None = None
    calibration: Calibration | None = None
    warnings: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """The figure that people ask for first: accuracy, F1, or the mean absolute error."""
        found = self.figures[SCORES[self.task]]
        return float("nan") if found is None else found

    @property
    def accuracy(self) -> float:
        """Share of examples whose most probable class is theirs."""
        return self.score if self.task == "classification" else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Returns the same as JSON has it; an interval of `x` is `x_interval`, and the main figure is `score`, too.

        What is not a number is null.
        """
        figures = {name: _known(value) for name, value in self.figures.items()}
        return {
            **figures,
            **{f"{name}_interval": [_known(end) for end in ends] for name, ends in self.intervals.items()},
            "score_name": SCORES[self.task],
            "score": figures[SCORES[self.task]],
            "loss": _known(self.loss),
            "count": self.count,
            "per_class": [asdict(each) for each in self.per_class],
            "confusion": None if self.confusion is None else self.confusion.tolist(),
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "warnings": list(self.warnings),
        }


def evaluate(
    outputs: NDArray[np.floating],
    labels: NDArray[Any],
    task: Task = "classification",
    *,
    classes: Sequence[str] | None = None,
    temperature: float | None = None,
    seed: int = 0,
) -> Evaluation:
    """Returns the figures of a model's outputs.

    Args:
        outputs: Probabilities, or values: [n, classes].
        labels: int64 [n] of classes; 0 or 1 [n, classes] of labels; values [n, outputs].
        task: Which of these.
        classes: Their names; None: their numbers.
        temperature: What the logits are divided by for the second set of calibration figures.
        seed: Of the resamples.

    >>> result = evaluate(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]))
    >>> result.accuracy, result.confusion.tolist()
    (0.5, [[1, 0], [1, 0]])
    """
    numbers: Floats = np.asarray(outputs, np.float64)
    names = [str(number) for number in range(numbers.shape[1])] if classes is None else list(classes)
    rng = np.random.default_rng(seed)
    if task == "classification":
        return _of_classes(numbers, labels, names, temperature, rng)
    if task == "multilabel":
        return _of_labels(numbers, np.asarray(labels) > 0, names, temperature, rng)
    return _of_values(numbers, np.asarray(labels, np.float64), rng)


def worst_mistakes(probabilities: NDArray[np.floating], labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Returns at most `count` examples that were taken for a wrong class, the surest mistakes first."""
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:count]


def most_uncertain(probabilities: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Returns at most `count` examples whose two most probable classes are nearest to each other, the nearest first."""
    if probabilities.shape[1] < 2:
        return np.arange(0)
    top = np.sort(probabilities, axis=1)[:, -2:]
    return np.argsort(top[:, 1] - top[:, 0], kind="stable")[:count]


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _of_classes(
    probabilities: Floats,
    labels: NDArray[np.int64],
    names: list[str],
    temperature: float | None,
    rng: np.random.Generator,
) -> Evaluation:
    count, classes = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    confusion = np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    of_true = probabilities[np.arange(count), labels]
    figures: dict[str, float | None] = {
        "accuracy": _mean(predicted == labels),
        "macro_f1": _macro_f1(confusion),
        "brier": _mean(np.einsum("nc,nc->n", probabilities, probabilities) - 2 * of_true + 1),
    }
    if classes == 2:
        figures |= _of_two(probabilities[:, 1], labels == 1)
    intervals = _class_intervals(confusion, rng) if count else {}
    return Evaluation(
        "classification", count, _mean(-np.log(np.maximum(of_true, _LEAST))), figures, intervals,
        _per_class(confusion, names), confusion, calibration_of(probabilities, labels, "classification", temperature),
        _odd(confusion.sum(axis=1), confusion.sum(axis=0), names, "class"),
    )  # fmt: skip


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _macro_f1(confusion: NDArray[np.int64]) -> float:
    """Returns the mean F1 of the classes that have examples: a stray answer makes no class of those that have none."""
    right, true, said = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return _mean(2 * right[true > 0] / (true + said)[true > 0])


def _of_two(scores: Floats, is_second: NDArray[np.bool_]) -> dict[str, float | None]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    if is_second.all() or not is_second.any():
        return {"roc_auc": None, "average_precision": None}
    return {
        "roc_auc": float(roc_auc_score(is_second, scores)),
        "average_precision": float(average_precision_score(is_second, scores)),
    }


def _class_intervals(confusion: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Interval]:
    """Returns the intervals of accuracy and macro F1: resampled examples are resampled cells of the matrix."""
    count, right = int(confusion.sum()), int(confusion.trace())
    true, said = np.nonzero(confusion)
    accuracies, scores = list[Floats](), list[Floats]()
    for drawn in resampled_counts(confusion[true, said], rng):
        accuracies.append(drawn[:, true == said].sum(axis=1) / count)
        scores.append(macro_f1_of(drawn, true, said))
    accuracy, wilson = percentiles(np.concatenate(accuracies), count), wilson_interval(right, count)
    return {
        "accuracy": wilson if count < 2 else wider(accuracy, wilson),
        "macro_f1": _with_floor(np.concatenate(scores), _macro_f1(confusion), count),
    }


def _with_floor(resampled: Floats, score: float, count: int) -> Interval:
    """Returns the interval of a score of 0..1; Wilson's where all resamples have it."""
    if np.ptp(resampled) == 0:
        return wilson_interval(score * count, count)
    low, high = percentiles(centered(resampled, score), count)
    return max(0.0, low), min(1.0, high)


def _odd(true: NDArray[np.int64], said: NDArray[np.int64], names: list[str], what: str) -> tuple[str, ...]:
    """Returns warnings, by how many examples are of each class, and how many are said to be."""
    found, absent = list[str](), np.flatnonzero(true == 0)
    if len(absent) and true.sum():
        more = f" and {len(absent) - _NAMED:,} more" if len(absent) > _NAMED else ""
        shown = ", ".join(repr(names[at]) for at in absent[:_NAMED])
        found.append(f"No example is of the {what} {shown}{more}: how well they are found is not known.")
    (only,) = np.flatnonzero(said) if np.count_nonzero(said) == 1 else (None,)
    if only is not None and what == "class" and np.count_nonzero(true) > 1:
        found.append(f"Every example is taken for {names[only]!r}; see the confusion matrix. Nothing else was learned.")
    if what == "label" and not said.any() and true.any():
        found.append("No example is given any label: all probabilities are 0.5 or less.")
    return tuple(found)


def _per_class(confusion: NDArray[np.int64], names: list[str]) -> tuple[ClassFigures, ...]:
    right, true, said = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return tuple(
        ClassFigures(name, int(t), _share(r, s), _share(r, t), _share(2 * r, s + t) if t else None)
        for name, r, t, s in zip(names, right, true, said, strict=True)
    )


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None


def _of_labels(
    probabilities: Floats,
    present: NDArray[np.bool_],
    names: list[str],
    temperature: float | None,
    rng: np.random.Generator,
) -> Evaluation:
    found = probabilities > 0.5
    both, named = found & present, found.sum(axis=1) + present.sum(axis=1)
    f1 = np.where(named > 0, 2 * both.sum(axis=1) / np.maximum(named, 1), 1.0)
    exact = (found == present).all(axis=1)
    per_label = tuple(
        _label_figures(name, found[:, at], present[:, at], probabilities[:, at]) for at, name in enumerate(names)
    )
    known = [each.f1 for each in per_label if each.f1 is not None]
    precisions = [each.average_precision for each in per_label if each.average_precision is not None]
    figures: dict[str, float | None] = {
        "example_f1": _mean(f1),
        "micro_f1": _share(2 * both.sum(), named.sum()),
        "macro_f1": _mean(known) if known else None,
        "subset_accuracy": _mean(exact),
        "mean_average_precision": _mean(precisions) if precisions else None,
        "brier": _mean(((probabilities - present) ** 2).mean(axis=1)),
    }
    of_true = np.where(present, probabilities, 1 - probabilities)
    intervals = {name: _of_shares(values, rng) for name, values in (("example_f1", f1), ("subset_accuracy", exact))}
    return Evaluation(
        "multilabel", len(present), _mean(-np.log(np.maximum(of_true, _LEAST)).mean(axis=1)), figures, intervals,
        per_label, None, calibration_of(probabilities, present, "multilabel", temperature),
        _odd(present.sum(axis=0), found.sum(axis=0), names, "label"),
    )  # fmt: skip


def _label_figures(name: str, found: Any, present: Any, scores: Floats) -> ClassFigures:
    from sklearn.metrics import average_precision_score

    both, said, true = int((found & present).sum()), int(found.sum()), int(present.sum())
    average = float(average_precision_score(present, scores)) if 0 < true < len(present) else None
    f1 = _share(2 * both, said + true) if true else None
    return ClassFigures(name, true, _share(both, said), _share(both, true), f1, average)


def _of_shares(values: Any, rng: np.random.Generator) -> Interval:
    """Returns the interval of a mean of numbers in 0..1."""
    values = np.asarray(values, np.float64)
    return _with_floor(resampled_means(values, rng), _mean(values), len(values)) if len(values) else UNKNOWN


def _of_means(values: Any, rng: np.random.Generator) -> Interval:
    """Returns the interval of a mean of numbers of 0 or more."""
    return percentiles(np.maximum(resampled_means(values, rng), 0), len(values)) if len(values) else UNKNOWN


def _of_values(outputs: Floats, values: Floats, rng: np.random.Generator) -> Evaluation:
    from scipy.stats import spearmanr

    error = outputs - values
    squares, sizes = (error**2).mean(axis=1), np.abs(error).mean(axis=1)
    variance = float(values.var(axis=0).mean()) if len(values) else 0.0
    varies = len(values) > 1 and bool(np.all(np.ptp(values, axis=0) > 0) and np.all(np.ptp(outputs, axis=0) > 0))
    ranks = [float(spearmanr(outputs[:, at], values[:, at])[0]) for at in range(values.shape[1])] if varies else []
    low, high = _of_means(squares, rng)
    figures: dict[str, float | None] = {
        "mae": _mean(sizes),
        "rmse": math.sqrt(_mean(squares)),
        "r2": 1 - _mean(squares) / variance if variance > 0 else None,
        "median_absolute_error": float(np.median(sizes)) if len(sizes) else None,
        "spearman": _mean(ranks) if ranks else None,
    }
    intervals = {"mae": _of_means(sizes, rng), "rmse": (math.sqrt(low), math.sqrt(high))}
    return Evaluation("regression", len(values), _mean(squares), figures, intervals)
