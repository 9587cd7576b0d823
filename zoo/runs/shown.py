"""Picks the test examples that are worth a look: the worst mistakes, and those that the model was least sure of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.examples import excerpt
from zoo.data.targets import Task, target_names
from zoo.runs.report import Mistake
from zoo.training import worst_mistakes
from zoo.training.evaluation import most_uncertain

_NEAR = 0.5  # what is sure by more is not uncertain: the two most probable classes, or a label and its absence
_LEAST = float(np.finfo(np.float32).tiny)


def shown_examples(
    outputs: NDArray[np.floating],
    labels: NDArray[Any],
    classes: Sequence[str],
    task: Task,
    read: Callable[[int], NDArray[Any]],
    *,
    worst: int = 24,
    uncertain: int = 12,
) -> tuple[list[Mistake], list[Mistake]]:
    """Returns the worst mistakes, and the most uncertain answers; of values only the former, the farthest off.

    Args:
        outputs: Of the model: probabilities, or values, [n, classes].
        labels: int64 [n] of classes; 0 or 1 [n, classes]; values [n, outputs].
        classes: Their names.
        task: Which of these.
        read: Returns the example of a number 0..n-1 as the model takes it; asked for those shown alone.
        worst: At most so many mistakes.
        uncertain: At most so many uncertain answers.
    """
    exact = np.asarray(outputs, np.float64)
    if not len(exact):
        return [], []
    choose = {"classification": _of_classes, "multilabel": _of_labels, "regression": _of_values}[task]
    said: NDArray[Any] = exact
    if task != "regression":
        said = exact.argmax(axis=1) if task == "classification" else exact > 0.5
    names, answers = target_names(labels, classes, task), target_names(said, classes, task)
    bad, unsure = (
        [_shown(number, exact, names, answers, classes, task, read) for number in numbers.tolist()]
        for numbers in choose(exact, labels, worst, uncertain)
    )
    return bad, unsure


def _shown(
    number: int,
    outputs: NDArray[np.float64],
    names: Sequence[str],
    answers: Sequence[str],
    classes: Sequence[str],
    task: Task,
    read: Callable[[int], NDArray[Any]],
) -> Mistake:
    example = read(number)
    picture = example if example.ndim == 3 and example.dtype == np.uint8 else None
    found = _answer(outputs[number], names[number], answers[number], classes, task, picture)
    return replace(found, text=excerpt(str(example))) if example.dtype.kind in "UO" else found


def _answer(
    row: NDArray[np.float64],
    true: str,
    said: str,
    classes: Sequence[str],
    task: Task,
    picture: NDArray[np.uint8] | None,
) -> Mistake:
    if task == "regression":
        return Mistake(picture, _joined(true), _joined(said), None)
    if task == "multilabel":
        doubtful = int(np.abs(row - 0.5).argmin())
        nearest = classes[doubtful], float(row[doubtful])
        sure = float(np.maximum(row, 1 - row).min())
        return Mistake(picture, _joined(true), _joined(said), sure, *nearest)
    first = int(row.argmax())
    second = int(np.where(np.arange(len(row)) == first, -1.0, row).argmax())
    runner_up = (classes[second], float(row[second])) if len(row) > 1 else (None, None)
    return Mistake(picture, true, classes[first], float(row[first]), *runner_up)


def _joined(labels: str) -> str:
    return labels.replace("|", " | ") or "no label"


def _of_classes(
    outputs: NDArray[np.float64], labels: NDArray[Any], worst: int, uncertain: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    unsure = most_uncertain(outputs, uncertain)
    top = np.sort(outputs[unsure], axis=1)[:, -2:]
    return worst_mistakes(outputs, labels, worst), unsure[top[:, -1] - top[:, 0] < _NEAR]


def _of_labels(
    outputs: NDArray[np.float64], labels: NDArray[Any], worst: int, uncertain: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns examples with a wrong label by their loss, and those with a probability next to one half."""
    present = np.asarray(labels) > 0
    loss = -np.log(np.maximum(np.where(present, outputs, 1 - outputs), _LEAST)).sum(axis=1)
    wrong = np.flatnonzero(((outputs > 0.5) != present).any(axis=1))
    order = wrong[np.argsort(-loss[wrong], kind="stable")]
    nearness = np.abs(2 * outputs - 1).min(axis=1)
    unsure = np.argsort(nearness, kind="stable")[:uncertain]
    return order[:worst], unsure[nearness[unsure] < _NEAR]


def _of_values(
    outputs: NDArray[np.float64], labels: NDArray[Any], worst: int, uncertain: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the examples that are farthest off, each output in proportion to its spread; nothing is uncertain."""
    spread = np.maximum(np.asarray(labels, np.float64).std(axis=0), _LEAST)
    error = (np.abs(outputs - labels) / spread).mean(axis=1)
    return np.argsort(-error, kind="stable")[:worst], np.arange(0)
