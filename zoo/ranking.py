"""What is known of models for some data, and their order: plain values, without TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from zoo.data import Rows
from zoo.data.targets import Task
from zoo.training.linear import Floats

_ERRORS_APART = 2.0  # standard errors of a difference: below that it may be chance


@dataclass(frozen=True)
class Candidate:
    """What is known of a model and of its features for the data.

    Attributes:
        name: Of the model.
        source: Where it comes from.
        rank: 1 for the first; None where it could not be judged.
        mean_rank: What the rank is by: the mean of its ranks by `loss`, `nearest`, `h_score` and `log_me`, as far as
            there are such for the task. Where two are equal, the lower loss decides.
        score: Of a linear model in cross-validation: accuracy, mean F1, or mean absolute error.
        loss: Of the same: mean log-loss, or the squared error over the variance of the values.
        as_good: Whether its loss is above that of the first by no more than chance explains.
        nearest: Share of examples of the same class as their nearest neighbour; None but for classes.
        h_score: The H-score with a shrunk covariance; likewise.
        log_me: The log of the maximum evidence.
        top1: Published accuracy on ImageNet, in percent.
        params: Number of parameters of the whole model.
        static_rank: Its rank by `top1`, then by `params`, the larger first; the data has no say.
        units: How many units gave the features: all but the classifier.
        width: Number of features of each example.
        multiply_adds: Of these units for one example; None where not known.
        seconds: Wall time for one example, measured here; None where all features were here already.
        reason: Why it could not be judged; empty where it was.
    """

    name: str
    source: str
    rank: int | None = None
    mean_rank: float | None = None
    score: float | None = None
    loss: float | None = None
    as_good: bool = False
    nearest: float | None = None
    h_score: float | None = None
    log_me: float | None = None
    top1: float | None = None
    params: int | None = None
    static_rank: int | None = None
    units: int | None = None
    width: int | None = None
    multiply_adds: int | None = None
    seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Recommendation:
    """Models in the order of how well they suit some data.

    Attributes:
        data: Name of the data.
        task: What its labels are.
        classes: How many there are.
        examples: How many training examples were looked at, of `of`.
        of: The number of training examples.
        candidates: All models: those that were judged by rank, then the others.
        seconds: Wall time.
    """

    data: str
    task: Task
    classes: int
    examples: int
    of: int
    candidates: tuple[Candidate, ...]
    seconds: float

    @property
    def best(self) -> Candidate:
        """The first."""
        return self.candidates[0]

    @property
    def cheapest(self) -> Candidate:
        """The one that computes least of those that are as good as the first."""
        as_good = [each for each in self.candidates if each.as_good]
        return min(as_good, key=lambda each: math.inf if each.multiply_adds is None else each.multiply_adds)

    def to_json(self) -> dict[str, Any]:
        """Returns the same as JSON has it."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Found:
    """What was found out about one model.

    Attributes:
        candidate: Without its rank.
        losses: Of each example; none where it could not be judged.
        rows: The numbers of these examples.
        error: What went wrong, where something did.
    """

    candidate: Candidate
    losses: Floats
    rows: Rows
    error: Exception | None = None


def ranked(found: Sequence[Found]) -> tuple[Candidate, ...]:
    """Returns the candidates in order, with their ranks."""
    judged = [each for each in found if each.losses.size]
    means = _mean_ranks([each.candidate for each in judged])
    order = sorted(range(len(judged)), key=lambda at: (means[at], judged[at].candidate.loss))
    static = sorted(judged, key=lambda each: (-(each.candidate.top1 or 0.0), -(each.candidate.params or 0)))
    places = {each.candidate.name: place for place, each in enumerate(static, 1)}
    placed = [
        dataclasses.replace(
            judged[at].candidate,
            rank=rank,
            mean_rank=means[at],
            static_rank=places[judged[at].candidate.name],
            as_good=_is_as_good(judged[at], judged[order[0]]),
        )
        for rank, at in enumerate(order, 1)
    ]
    return (*placed, *(each.candidate for each in found if not each.losses.size))


def _mean_ranks(candidates: Sequence[Candidate]) -> list[float]:
    """Returns the mean of each candidate's ranks by the scores that there are."""
    figures = [[each.log_me, each.nearest, each.h_score, -(each.loss or 0.0)] for each in candidates]
    columns = [column for column in zip(*figures, strict=True) if None not in column]
    ranks = [rankdata([-(value or 0.0) for value in column]) for column in columns]
    return [float(mean) for mean in np.mean(ranks, axis=0)] if ranks else []


def _is_as_good(one: Found, first: Found) -> bool:
    """Returns whether the two losses differ no more than chance explains; both are of the same examples."""
    _, ours, theirs = np.intersect1d(one.rows, first.rows, return_indices=True)
    apart = one.losses[ours] - first.losses[theirs]
    return bool(apart.mean() <= _ERRORS_APART * apart.std() / math.sqrt(max(1, len(apart))))
