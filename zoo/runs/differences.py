"""How what two models say of the same examples differs, and whether that can be chance.

Each example is compared with itself, which tells far smaller differences from chance than two intervals side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.data.targets import SEPARATOR, Task
from zoo.intervals import (
    Floats,
    Interval,
    centered,
    chance_of,
    macro_f1_of,
    mcnemar,
    newcombe_interval,
    percentiles,
    resampled_counts,
    resampled_means,
    wider,
)

LEVEL = 0.05  # what is less probable than that by chance counts as real

_LEAST = float(np.finfo(np.float32).tiny)
_LOWER_IS_BETTER = ("loss", "mae", "rmse")
_WORDS = {
    "accuracy": "accuracy", "loss": "log-loss", "macro_f1": "macro F1", "example_f1": "F1",
    "subset_accuracy": "share that is exactly right", "mae": "mean absolute error", "rmse": "root mean squared error",
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What a model says of one example.

    Attributes:
        label: What is true: a class, labels with `|` between them, or values with `|` between them.
        predicted: Likewise what is said.
        label_probability: Of what is true; NaN for values.
    """

    label: str
    predicted: str
    label_probability: float

    @property
    def is_right(self) -> bool:
        """Whether exactly what is true is said."""
        return self.label == self.predicted


@dataclass(frozen=True)
class Difference:
    """A figure of two models, on the same examples.

    Attributes:
        name: `accuracy`, `loss` (mean of -log of the probability of the true class) or `macro_f1`; of several labels
            `example_f1` or `subset_accuracy`; of values `mae` or `rmse`.
        run: Of the one.
        other: Of the other.
        difference: The other's minus the one's.
        interval: Where the difference would lie for 95 of 100 sets of examples like these; NaN where there is but one.
        p: How probable a difference as large is, were there none.
    """

    name: str
    run: float
    other: float
    difference: float
    interval: Interval
    p: float

    @property
    def is_real(self) -> bool:
        """Whether chance is an unlikely reason for it."""
        low, high = self.interval
        return self.p < LEVEL and (low > 0 or high < 0)

    @property
    def words(self) -> str:
        """What it is, for people."""
        return _WORDS[self.name]

    @property
    def is_better(self) -> bool:
        """Whether the other is better."""
        return (self.difference < 0) == (self.name in _LOWER_IS_BETTER) and self.difference != 0


def differences_of(ours: Sequence[Said], theirs: Sequence[Said], task: Task) -> tuple[Difference, ...]:
    """Returns how two models differ on the same examples; first comes the figure that people ask for first.

    Args:
        ours: What the one says of each example.
        theirs: What the other says, in the same order.
        task: What they say.

    Raises:
        ValueError: Of a regression: a value is no number.
    """
    rng = np.random.default_rng(0)
    made = {"classification": _of_classes, "multilabel": _of_labels, "regression": _of_values}[task]
    return tuple(made(ours, theirs, rng))


def right_in_one_only(ours: Sequence[Said], theirs: Sequence[Said]) -> tuple[int, int]:
    """Returns how many examples only the one got right, and how many only the other did."""
    right = [(one.is_right, other.is_right) for one, other in zip(ours, theirs, strict=True)]
    return right.count((True, False)), right.count((False, True))


def _of_classes(ours: Sequence[Said], theirs: Sequence[Said], rng: np.random.Generator) -> Iterator[Difference]:
    yield _of_right("accuracy", ours, theirs, rng)
    yield _of_mean("loss", _losses(ours), _losses(theirs), rng)
    named = [[each.label for each in ours], *([each.predicted for each in side] for side in (ours, theirs))]
    _, numbers = np.unique(np.concatenate(named), return_inverse=True)
    (true, one, other), counts = np.unique(numbers.reshape(3, -1), axis=1, return_counts=True)
    resampled = [
        macro_f1_of(drawn, true, other) - macro_f1_of(drawn, true, one) for drawn in resampled_counts(counts, rng)
    ]
    run, another = (float(macro_f1_of(counts[None], true, said)[0]) for said in (one, other))
    yield _difference("macro_f1", run, another, centered(np.concatenate(resampled), another - run), len(ours))


def _losses(side: Sequence[Said]) -> Floats:
    return -np.log(np.maximum(np.array([each.label_probability for each in side], np.float64), _LEAST))


def _of_labels(ours: Sequence[Said], theirs: Sequence[Said], rng: np.random.Generator) -> Iterator[Difference]:
    yield _of_mean("example_f1", _example_f1(ours), _example_f1(theirs), rng)
    yield _of_right("subset_accuracy", ours, theirs, rng)


def _example_f1(side: Sequence[Said]) -> Floats:
    """Returns the F1 of each example's labels; 1 where it has none and is given none."""
    found = list[float]()
    for each in side:
        true, said = ({*text.split(SEPARATOR)} - {""} for text in (each.label, each.predicted))
        found.append(2 * len(true & said) / (len(true) + len(said)) if true or said else 1.0)
    return np.array(found)


def _of_values(ours: Sequence[Said], theirs: Sequence[Said], rng: np.random.Generator) -> Iterator[Difference]:
    errors, others = _errors(ours), _errors(theirs)
    yield _of_mean("mae", np.abs(errors).mean(axis=1), np.abs(others).mean(axis=1), rng)
    squares = np.stack([(errors**2).mean(axis=1), (others**2).mean(axis=1)], axis=1)
    one, other = np.sqrt(squares.mean(axis=0)).tolist()
    resampled = np.sqrt(np.maximum(resampled_means(squares, rng), 0))
    yield _difference("rmse", one, other, resampled[:, 1] - resampled[:, 0], len(ours))


def _errors(side: Sequence[Said]) -> Floats:
    """Returns how far off each value is: [n, outputs]."""
    said, true = ([[float(part) for part in text.split(SEPARATOR)] for text in texts]
                  for texts in ([each.predicted for each in side], [each.label for each in side]))  # fmt: skip
    return np.array(said, np.float64) - np.array(true, np.float64)


def _of_right(name: str, ours: Sequence[Said], theirs: Sequence[Said], rng: np.random.Generator) -> Difference:
    """Returns the difference in the share that is right; its interval is at least as wide as Newcombe's at each end."""
    right = np.array([[one.is_right, other.is_right] for one, other in zip(ours, theirs, strict=True)])
    count, both = len(right), int(right.all(axis=1).sum())
    first, second = right_in_one_only(ours, theirs)
    neither = count - both - first - second
    interval = newcombe_interval(both, second, first, neither)
    if count > 1:
        drawn = np.concatenate(resampled_counts(np.array([first, second, both + neither]), rng))
        interval = wider(interval, percentiles((drawn[:, 1] - drawn[:, 0]) / count, count))
    one, other = right.mean(axis=0).tolist()
    return Difference(name, one, other, (second - first) / count, interval, mcnemar(first, second))


def _of_mean(name: str, ours: Floats, theirs: Floats, rng: np.random.Generator) -> Difference:
    return _difference(name, float(ours.mean()), float(theirs.mean()), resampled_means(theirs - ours, rng), len(ours))


def _difference(name: str, run: float, other: float, resampled: Floats, count: int) -> Difference:
    p = chance_of(resampled) if count > 1 else 1.0
    return Difference(name, run, other, other - run, percentiles(resampled, count), p)
