"""Whether probabilities come true, and temperature scaling, which makes them (Guo et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.targets import Task

_BINS = 15
_AT_ONCE = 4096  # examples
_LEAST = float(np.finfo(np.float32).tiny)
_RANGE = 0.05, 20.0
_PRIOR = 1.0  # standard deviation of the logarithm of a temperature that one expects: few examples stay near 1


@dataclass(frozen=True)
class Bin:
    """Predictions whose probability lies in a range: how many, their mean probability, and the share that came true."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """Whether probabilities come true.

    Attributes:
        error: Expected calibration error: the mean, over predictions, of how far the share that came true is from the
            mean probability, in 15 bins of equal width.
        bins: Those.
        temperature: What the logits would be divided by to fit the validation examples best; None where unknown.
        scaled_error: The error after that.
        scaled_loss: The loss after that.
    """

    error: float
    bins: tuple[Bin, ...]
    temperature: float | None = None
    scaled_error: float | None = None
    scaled_loss: float | None = None


def calibration_of(
    probabilities: NDArray[Any], labels: NDArray[Any], task: Task, temperature: float | None = None
) -> Calibration | None:
    """Returns whether probabilities come true; None where there are no examples.

    Args:
        probabilities: [n, classes]; of several labels each counts as a prediction of its own.
        labels: int64 [n], or bool [n, classes].
        task: `classification` or `multilabel`.
        temperature: Divides the logits for the scaled figures.
    """
    if not len(probabilities):
        return None
    error, bins = _binned(*_predictions(probabilities, labels, task))
    if temperature is None:
        return Calibration(error, bins)
    losses, predictions = list[float](), list[tuple[NDArray[Any], NDArray[Any]]]()
    for begin in range(0, len(labels), _AT_ONCE):  # of a thousand classes many copies would be held
        some = slice(begin, begin + _AT_ONCE)
        scaled = scaled_probabilities(probabilities[some], temperature, task)
        losses.append(_loss(scaled, labels[some], task) * len(scaled))
        predictions.append(_predictions(scaled, labels[some], task))
    confidence, came_true = (np.concatenate(each) for each in zip(*predictions, strict=True))
    return Calibration(error, bins, temperature, _binned(confidence, came_true)[0], sum(losses) / len(labels))


def temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Returns what to divide logits by, so that their probabilities fit examples best.

    It minimizes the negative log-likelihood; a weak prior around 1 keeps few examples, all of them right, from making
    everything certain.

    Args:
        logits: [n, classes], of validation examples.
        labels: int64 [n]; or 0 and 1 [n, classes], of several labels.
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, np.float64)
    task: Task = "classification" if labels.ndim == 1 else "multilabel"
    if not len(logits):
        return 1.0

    def cost(log: float) -> float:
        found = _probabilities(logits / math.exp(log), task)
        return len(logits) * _loss(found, labels, task) + log**2 / (2 * _PRIOR**2)

    found = minimize_scalar(cost, bounds=(math.log(_RANGE[0]), math.log(_RANGE[1])), method="bounded")
    return float(math.exp(found.x))


def scaled_probabilities(probabilities: NDArray[Any], temperature: float, task: Task) -> NDArray[Any]:
    """Returns the probabilities that come of logits divided by a temperature.

    >>> scaled_probabilities(np.array([[0.9, 0.1]]), 1.0, "classification").round(3).tolist()
    [[0.9, 0.1]]
    """
    logs = np.log(np.maximum(probabilities, _LEAST))
    if task == "multilabel":
        logs -= np.log(np.maximum(1 - probabilities, _LEAST))
    return _probabilities(logs / temperature, task)


def _probabilities(logits: NDArray[Any], task: Task) -> NDArray[Any]:
    from scipy.special import expit, softmax

    return np.asarray(softmax(logits, axis=1) if task == "classification" else expit(logits))


def _loss(probabilities: NDArray[Any], labels: NDArray[Any], task: Task) -> float:
    if task == "classification":
        of_true = probabilities[np.arange(len(labels)), labels]
    else:
        of_true = np.where(labels > 0, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(of_true, _LEAST)).mean())


def _predictions(probabilities: NDArray[Any], labels: NDArray[Any], task: Task) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the probability of each prediction, and whether it came true."""
    if task == "classification":
        return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    said = probabilities > 0.5
    return np.where(said, probabilities, 1 - probabilities).ravel(), (said == (labels > 0)).ravel()


def _binned(confidence: NDArray[Any], came_true: NDArray[Any]) -> tuple[float, tuple[Bin, ...]]:
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(place, minlength=_BINS)
    sums = np.bincount(place, weights=confidence, minlength=_BINS)
    hits = np.bincount(place, weights=came_true, minlength=_BINS)
    means = [(float(sums[at] / n), float(hits[at] / n)) if n else (None, None) for at, n in enumerate(counts)]
    bins = tuple(Bin(at / _BINS, (at + 1) / _BINS, int(n), *means[at]) for at, n in enumerate(counts))
    return float(np.abs(hits - sums).sum() / len(confidence)), bins
