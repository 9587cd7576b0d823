"""Scores of how well features suit labels, before anything is trained on them: to compare models for one's data.

Each is a function of features [n, d] and labels of the same examples; of all but losses and errors, more is better.
Which of them to trust is measured in `benchmarks/recommend.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from zoo.data.targets import Task, strata
from zoo.training.linear import Floats, Ints, encoding_of, held_out, one_thread, principal_axes, stratified_folds

_FOLDS = 5
_AT_ONCE = 1024
_STEPS, _CONVERGED = 100, 1e-6
_RANK = 1e-10  # of an eigenvalue, as a share of the largest: below that it is 0


@dataclass(frozen=True)
class LinearProbe:
    """How a linear model does on examples that it has not seen.

    Attributes:
        score: Share that it gets right; mean F1 of several labels; or the mean absolute error.
        loss: Mean log-loss; of values the mean squared error over their variance.
        losses: Of each example.
    """

    score: float
    loss: float
    losses: Floats


def linear_probe(
    features: NDArray[Any],
    labels: NDArray[Any],
    task: Task = "classification",
    *,
    groups: Ints | None = None,
    folds: int = _FOLDS,
) -> LinearProbe:
    """Returns how logistic regression (of values: ridge regression) on features does in cross-validation.

    Features are standardized and turned to their principal axes, without a look at the labels; 512 axes at most are
    kept. Every example is judged by a model of the other folds, with the L2 penalty, and the factor of
    its outputs, that did best there.

    Source: Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016
    (arXiv:1610.01644); as a way of choosing a model, Renggli et al., "Which Model to Transfer? Finding the Needle in
    the Growing Haystack", CVPR 2022 (arXiv:2010.06402).

    Args:
        features: [n, d], n of 2 or more.
        labels: int64 [n] of classes; 0 or 1 [n, labels]; or values [n, outputs].
        task: What the labels are.
        groups: [n]: examples with equal numbers are never in two folds.
        folds: At most so many.

    >>> x = np.arange(20.0)[:, np.newaxis]
    >>> linear_probe(x, (x[:, 0] > 9).astype(np.int64)).score > 0.8
    True
    """
    distinct = len(labels) if groups is None else len(np.unique(groups))
    fold = stratified_folds(strata(labels, task), max(2, min(folds, distinct)), groups)
    encoding = encoding_of(labels, task)
    with one_thread():
        x = principal_axes(features).coordinates(features)
        found = held_out(x, encoding.targets(labels), encoding, fold)
    losses, scores = np.empty(len(fold)), np.empty(len(fold))
    for number in np.unique(fold):
        held = fold == number
        best = found.best(~held)
        losses[held], scores[held] = found.losses[best, held], found.scores[best, held]
    return LinearProbe(float(scores.mean()), float(losses.mean()), losses)


def nearest_neighbor_accuracy(
    features: NDArray[Any], labels: Ints, *, neighbors: int = 1, groups: Ints | None = None
) -> float:
    """Returns how many examples are of the class that most of their nearest neighbours are of: 0..1.

    Near is what has a large cosine; the example itself, and what is in its group, are no neighbours. Of classes with
    as many neighbours, that of the nearer ones counts.

    Source: as of `linear_probe`, Renggli et al. 2022; there with one neighbour and another distance.

    Args:
        features: [n, d].
        labels: int64 [n].
        neighbors: How many have a say.
        groups: [n].

    >>> nearest_neighbor_accuracy(np.array([[1.0, 0], [2, 0.1], [0, 1], [0.1, 3]]), np.array([0, 0, 1, 1]))
    1.0
    """
    x = np.asarray(features, np.float32)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    own = np.arange(len(x)) if groups is None else groups
    right, count = 0, min(neighbors, len(x) - 1)
    classes = int(labels.max(initial=-1)) + 1
    for begin in range(0, len(x), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        near = x[part] @ x.T
        near[own[part, np.newaxis] == own] = -np.inf
        rows = np.argpartition(-near, count - 1, axis=1)[:, :count]
        cosines = np.take_along_axis(near, rows, axis=1)
        votes = np.zeros((len(near), classes))
        weights = np.where(np.isfinite(cosines), 1 + 1e-3 * cosines, 0)
        np.add.at(votes, (np.arange(len(near))[:, np.newaxis], labels[rows]), weights)
        right += int(((votes.argmax(axis=1) == labels[part]) & (votes.max(axis=1) > 0)).sum())
    return right / len(x)


def h_score(features: NDArray[Any], labels: Ints) -> float:
    """Returns the H-score with a shrunk covariance: how far apart the classes' means are, as the features vary.

    It is the trace of the inverse covariance of the features times (1 - shrinkage) times the covariance of the means
    of their classes, where the covariance is shrunk towards a multiple of the identity as Ledoit and Wolf do: with few
    examples the plain H-score is no use. It is computed along principal axes, without a matrix [d, d] where d > n.

    Source: Bao et al., "An Information-Theoretic Approach to Transferability in Task Transfer Learning", ICIP 2019;
    Ibrahim, Ponomareva and Mazumder, "Newer is not always better: Rethinking transferability metrics, their
    peculiarities, stability and performance", ECML PKDD 2022 (arXiv:2110.06893); Ledoit and Wolf, "A well-conditioned
    estimator for large-dimensional covariance matrices", Journal of Multivariate Analysis 88, 2004.

    Args:
        features: [n, d].
        labels: int64 [n].

    >>> 0 < h_score(np.array([[0.0, 1], [0, 2], [3, 1], [3, 2]]), np.array([0, 0, 1, 1])) < 1
    True
    """
    x = np.asarray(features, np.float64)
    x = x - x.mean(axis=0)
    count, width = x.shape
    along, variances = _along_axes(x)
    if not len(variances):
        return 0.0
    shrinkage = _shrinkage(x, variances)
    _, number, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.zeros((len(sizes), along.shape[1]))
    np.add.at(means, number, along)
    between = (means**2 / sizes[:, np.newaxis]).sum(axis=0) / count
    shrunk = (1 - shrinkage) * variances + shrinkage * variances.sum() / width
    return float((1 - shrinkage) * (between / shrunk).sum())


def _along_axes(x: Floats) -> tuple[Floats, Floats]:
    """Returns centered examples along their principal axes [n, r], and the variances of these [r]."""
    is_wide = x.shape[1] > len(x)
    values, vectors = eigh((x @ x.T if is_wide else x.T @ x) / len(x))
    kept = values > max(values[-1], 0) * _RANK
    values, vectors = values[kept], vectors[:, kept]
    along = vectors * np.sqrt(values * len(x)) if is_wide else x @ vectors
    return along, values


def _shrinkage(x: Floats, variances: Floats) -> float:
    """Returns how much Ledoit and Wolf shrink the covariance of centered examples: 0..1."""
    count, width = x.shape
    squares = float((variances**2).sum())  # of all elements of the covariance
    noise = (float(((x**2).sum(axis=1) ** 2).sum()) / count - squares) / (count * width)
    apart = (squares - variances.sum() ** 2 / width) / width
    return 0.0 if noise <= 0 or width == 1 else min(1.0, noise / apart) if apart > 0 else 1.0


def log_me(features: NDArray[Any], labels: NDArray[Any], task: Task = "classification") -> float:
    """Returns the log of the maximum evidence: how likely labels are under a linear model of the features, all weights
    considered, a label; the mean over the classes.

    Precisions of weights and noise that make the evidence largest are found as its fixed point, with one
    eigendecomposition for all classes.

    Source: You, Liu, Wang and Long, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML
    2021 (arXiv:2102.11005); the fixed point: You, Liu, Zhang, Wang, Jordan and Long, "Ranking and Tuning Pre-trained
    Models", JMLR 23, 2022 (arXiv:2110.10545).

    Args:
        features: [n, d].
        labels: int64 [n] of classes; 0 or 1 [n, labels]; or values [n, outputs].
        task: What they are.

    >>> x = np.array([[0.0, 1], [0.1, 1], [1, 1], [1.1, 1]])
    >>> log_me(x, np.array([0, 0, 1, 1])) > log_me(x, np.array([0, 1, 0, 1]))
    True
    """
    x = np.asarray(features, np.float64)
    size = np.sqrt((x**2).sum(axis=1).mean())
    x = x / (size if size > 0 else 1.0)  # the evidence is the same for any scale
    along, variances = _along_axes(x)
    values = variances * len(x)
    if task == "classification":
        targets = np.eye(int(labels.max()) + 1)[:, np.unique(labels)][labels]
    else:
        targets = np.asarray(labels, np.float64).reshape(len(labels), -1)
    projected = (along.T @ targets) ** 2 / np.maximum(values, 1e-300)[:, np.newaxis]
    rest = np.maximum((targets**2).sum(axis=0) - projected.sum(axis=0), 0)
    evidences = [_evidence(values, projected[:, each], rest[each], len(x)) for each in range(targets.shape[1])]
    return float(np.mean(evidences))


def _evidence(values: Floats, projected: Floats, rest: float, count: int) -> float:
    """Returns the largest log evidence of one target, a label.

    Args:
        values: Squared singular values of the features.
        projected: Squares of the target along the left singular vectors.
        rest: What of its square is along none.
        count: The number of labels.
    """
    alpha, beta = 1.0, 1.0  # precisions of the weights and of the noise
    tiny = 1e-5
    weights = error = 0.0
    for _ in range(_STEPS):
        ratio = alpha / beta
        determined = float((values / (values + ratio)).sum())
        weights = float((values * projected / (values + ratio) ** 2).sum())
        error = float((projected * (ratio / (values + ratio)) ** 2).sum()) + rest
        alpha, beta = determined / (weights + tiny), (count - determined) / (error + tiny)
        if abs(alpha / beta - ratio) <= _CONVERGED * ratio:
            break
    prior = len(values) * np.log(alpha) - np.log(alpha + beta * values).sum() if len(values) else 0.0
    total = prior + count * np.log(beta)
    return float(total - beta * error - alpha * weights - count * np.log(2 * np.pi)) / (2 * count)
