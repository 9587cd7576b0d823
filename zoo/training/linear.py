"""Linear models on features, as probes of how much these tell: logistic for classes and labels, ridge for values.

Made to be fitted some hundred times. Features are standardized and turned to their principal axes once, without a look
at the labels; there the curvature of the loss is known well enough that L-BFGS takes few steps. Nothing is random.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

from zoo.data.targets import Task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STRENGTHS = tuple(0.1 / 5**step for step in range(8))
SCALES = tuple(2 ** (step / 2) for step in range(15))

_AXES = 512
_LEAST_SPREAD = 0.05  # of a feature, as a share of what is usual: rare and tiny changes are not blown up
_LEAST_VARIANCE = 1e-6  # of an axis, as a share of the largest: below that float32 is noise
_BIAS_PRIOR = 0.1  # examples' worth: a class without examples keeps some probability
_CLEARLY_WORSE = 1.02


def one_thread() -> AbstractContextManager[Any]:
    """Returns a context in which one thread multiplies matrices.

    These are small: where other processes compute too, threads that wait for each other cost twenty times as much.
    """
    found: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return found


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@dataclass(frozen=True)
class Axes:
    """How features become coordinates: standardized, then along their principal axes.

    Attributes:
        center: float32 [d].
        scale: float32 [d]: a standardized example has a squared length of 1 on average.
        basis: float32 [d, r]: the axes.
    """

    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    basis: NDArray[np.float32]

    def coordinates(self, features: NDArray[Any]) -> Floats:
        """Returns the coordinates [n, r] of features [n, d]."""
        return (((np.asarray(features, np.float32) - self.center) * self.scale) @ self.basis).astype(np.float64)


def principal_axes(features: NDArray[Any], most: int = _AXES) -> Axes:
    """Returns the principal axes of standardized features [n, d], at most `most` of them.

    Where all fit, a linear model with an L2 penalty is the same along them as it was before: they only turn it.
    """
    x = np.asarray(features, np.float32)
    center, spread = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    scale = np.zeros_like(spread)
    if (spread > 0).any():
        least = _LEAST_SPREAD * np.sqrt(np.mean(spread[spread > 0] ** 2))
        scale = 1 / np.sqrt(spread**2 + least**2)
        scale /= np.linalg.norm(spread * scale)
    center32, scale32 = center.astype(np.float32), scale.astype(np.float32)
    x = (x - center32) * scale32
    is_wide = x.shape[1] > len(x)
    gram = (x @ x.T if is_wide else x.T @ x).astype(np.float64)
    first = max(0, len(gram) - most)
    values, vectors = eigh(gram, subset_by_index=[first, len(gram) - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > _LEAST_VARIANCE * max(values[0], 1e-12)
    basis = vectors[:, kept]
    if is_wide:
        basis = x.T @ (basis / np.sqrt(values[kept])).astype(np.float32)
    return Axes(center32, scale32, basis.astype(np.float32))


@dataclass(frozen=True)
class Encoding:
    """What a linear model puts out for labels of a task, and how far off it is.

    Attributes:
        task: What the labels are.
        outputs: How many numbers there are for each example.
        center: The mean of values; 0 but for regression.
        spread: Their standard deviation; 1 but for regression.
    """

    task: Task
    outputs: int
    center: Floats
    spread: Floats

    @property
    def curvature(self) -> float:
        """About how much the loss bends along each output."""
        if self.task == "classification":
            return (1 - 1 / self.outputs) / self.outputs if self.outputs > 1 else 1.0
        return (0.25 if self.task == "multilabel" else 2.0) / self.outputs

    def targets(self, labels: NDArray[Any]) -> Floats:
        """Returns what should come out: float64 [n, outputs]."""
        if self.task == "classification":
            return np.asarray(np.eye(self.outputs)[labels], np.float64)
        values = np.asarray(labels, np.float64).reshape(len(labels), -1)
        return (values - self.center) / self.spread

    def softened(self, targets: Floats) -> Floats:
        """Returns targets as if of all examples and one more, one were wrong: what never erred may do so yet."""
        if self.task == "regression":
            return targets
        share = 1 / (len(targets) + 1)
        return (1 - share) * targets + share / (self.outputs if self.task == "classification" else 2)

    def judged(self, outputs: Floats, targets: Floats) -> tuple[Floats, Floats]:
        """Returns the loss of each example, [n], and its derivative by the outputs, [n, outputs].

        The losses are log-losses, of several labels their mean, and squared errors in units of the spread.
        """
        if self.task == "classification":
            shifted = outputs - outputs.max(axis=1, keepdims=True)
            shares = np.exp(shifted)
            total = shares.sum(axis=1, keepdims=True)
            return np.log(total[:, 0]) - (shifted * targets).sum(axis=1), shares / total - targets
        if self.task == "multilabel":
            losses = np.logaddexp(0, outputs) - outputs * targets
            return losses.mean(axis=1), (0.5 + 0.5 * np.tanh(0.5 * outputs) - targets) / self.outputs
        error = outputs - targets
        return (error**2).mean(axis=1), 2 * error / self.outputs

    def scores(self, outputs: Floats, targets: Floats) -> Floats:
        """Returns the score of each example, [n]: 1 where it is right, or F1, or the absolute error as users see it."""
        if self.task == "classification":
            return np.asarray(outputs.argmax(axis=1) == targets.argmax(axis=1), np.float64)
        if self.task == "multilabel":
            found = outputs > 0
            named = found.sum(axis=1) + targets.sum(axis=1)
            both = (found * targets).sum(axis=1)
            return np.where(named > 0, 2 * both / np.maximum(named, 1), 1.0)
        return np.asarray((np.abs(outputs - targets) * self.spread).mean(axis=1), np.float64)


def encoding_of(labels: NDArray[Any], task: Task, classes: int | None = None) -> Encoding:
    """Returns the encoding of labels: int64 [n] of classes, 0 or 1 [n, labels], or values [n, outputs] or [n].

    Args:
        labels: Those that are trained on.
        task: What they are.
        classes: How many classes there are, where some may have no label here.
    """
    if task == "classification":
        count = max(classes or 0, int(labels.max(initial=-1)) + 1)
        return Encoding(task, count, np.zeros(1), np.ones(1))
    values = np.asarray(labels, np.float64).reshape(len(labels), -1)
    if task == "multilabel":
        return Encoding(task, values.shape[1], np.zeros(1), np.ones(1))
    spread = values.std(axis=0)
    return Encoding(task, values.shape[1], values.mean(axis=0), np.where(spread > 0, spread, 1.0))


def fitted(x: Floats, targets: Floats, encoding: Encoding, strength: float, start: Floats | None = None) -> Floats:
    """Returns the weights [1 + r, outputs], biases first, that minimize mean loss + strength / 2 * squared weights.

    Args:
        x: Coordinates [n, r] along principal axes.
        targets: What should come out for each.
        encoding: What that means.
        strength: Of the L2 penalty.
        start: Weights to begin with; None: 0.
    """
    design = np.concatenate([np.ones((len(x), 1)), x], axis=1)
    penalty = np.full(design.shape[1], strength)
    penalty[0] = _BIAS_PRIOR / len(x)
    scale = 1 / np.sqrt(encoding.curvature * (design**2).mean(axis=0) + penalty)
    design, penalty = design * scale, (penalty * scale**2)[:, None]
    shape = design.shape[1], targets.shape[1]

    def objective(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(shape)
        losses, slopes = encoding.judged(design @ weights, targets)
        gradient = design.T @ (slopes / len(x)) + penalty * weights
        return float(losses.mean() + 0.5 * (penalty * weights**2).sum()), gradient.ravel()

    begin = np.zeros(shape) if start is None else start / scale[:, None]
    options = {"maxiter": 100, "ftol": 1e-7, "gtol": 1e-5, "maxcor": 20}
    found = minimize(objective, begin.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x.reshape(shape) * scale[:, None], np.float64)


def outputs_of(weights: Floats, x: Floats) -> Floats:
    """Returns what a fitted model puts out: [n, outputs]."""
    return np.asarray(x @ weights[1:] + weights[0], np.float64)


@dataclass(frozen=True)
class HeldOut:
    """How models did on examples that they were not trained on.

    Attributes:
        settings: What was tried: strengths of the L2 penalty, each with factors of the outputs.
        losses: [settings, n].
        scores: [settings, n].
        softened: [settings, n]: losses that forgive no certainty; what to choose by.
    """

    settings: tuple[tuple[float, float], ...]
    losses: Floats
    scores: Floats
    softened: Floats

    def best(self, rows: NDArray[Any] | slice = slice(None)) -> int:
        """Returns the number of the setting that did best on `rows`."""
        return int(self.softened[:, rows].mean(axis=1).argmin())


def held_out(x: Floats, targets: Floats, encoding: Encoding, fold: Ints) -> HeldOut:
    """Returns how each example fares with models that were trained on the other folds, for a grid of settings.

    A strong penalty finds good directions from few examples, but makes the outputs small: of classes and labels they
    are tried multiplied by several factors. From the strongest penalty on, each model begins where the one before
    ended; once the loss is clearly worse, it ends.

    Args:
        x: Coordinates [n, r].
        targets: [n, outputs].
        encoding: What that means.
        fold: The number of the fold of each example.
    """
    numbers = np.unique(fold).tolist()
    starts: dict[int, Floats | None] = dict.fromkeys(numbers)
    scales = SCALES if encoding.task != "regression" else (1.0,)
    settings = list[tuple[float, float]]()
    losses, scores, softened = list[Floats](), list[Floats](), list[Floats]()
    soft, best = encoding.softened(targets), np.inf
    for strength in STRENGTHS:
        outputs = np.empty_like(targets)
        for number in numbers:
            held = fold == number
            weights = fitted(x[~held], targets[~held], encoding, strength, starts[number])
            starts[number], outputs[held] = weights, outputs_of(weights, x[held])
        tried = [encoding.judged(outputs * scale, soft)[0] for scale in scales]
        settings += [(strength, scale) for scale in scales]
        losses += [encoding.judged(outputs * scale, targets)[0] for scale in scales]
        softened += tried
        scores += [encoding.scores(outputs, targets)] * len(scales)
        lowest = min(float(each.mean()) for each in tried)
        if lowest > _CLEARLY_WORSE * best:
            break
        best = min(best, lowest)
    return HeldOut(tuple(settings), np.stack(losses), np.stack(scores), np.stack(softened))


def stratified_folds(strata: Ints, count: int, groups: Ints | None = None) -> Ints:
    """Returns the fold 0..count-1 of each example: every stratum spread evenly, no group in two folds.

    >>> stratified_folds(np.array([0, 0, 1, 1]), 2).tolist() in ([0, 1, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0], [1, 0, 1, 0])
    True
    """
    _, first, member = np.unique(
        np.arange(len(strata)) if groups is None else groups, return_index=True, return_inverse=True
    )
    shuffled = np.random.default_rng(0).permutation(len(first))
    order = shuffled[np.argsort(strata[first[shuffled]], kind="stable")]
    fold = np.empty(len(first), np.int64)
    fold[order] = np.arange(len(first)) % count
    return fold[member.reshape(-1)]


def spread_rows(strata: Ints, places: Sequence[float] | NDArray[Any], count: int) -> Ints:
    """Returns at most `count` row numbers, in order, every stratum in proportion, and of it those with least places."""
    if len(strata) <= count:
        return np.arange(len(strata))
    order = np.lexsort((np.asarray(places), strata))
    sizes = np.bincount(strata)[strata[order]]
    begins = np.searchsorted(strata[order], strata[order])
    depth = (np.arange(len(strata)) - begins + 0.5) / sizes
    return np.sort(order[np.argsort(depth, kind="stable")[:count]])
