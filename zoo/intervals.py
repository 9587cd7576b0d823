"""How far figures of few examples can be trusted: 95 % intervals, and whether two figures differ by more than chance.

Examples are taken as drawn one by one from all that there could be. Nothing here knows of models.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]

RESAMPLES = 2000
UNKNOWN: Interval = (math.nan, math.nan)

_Z = 1.959964
_AT_ONCE = 2_000_000  # numbers
_MANY = 20_000  # examples; the mean of more is drawn from a normal distribution, which nobody can tell from resampling


def wilson_interval(right: float, count: int) -> Interval:
    """Returns the interval of a share, good for few examples and shares near 0 and 1 too (Wilson 1927).

    For a mean of numbers in 0..1, `right` being their sum, it is wide enough: none vary more than zeros and ones.

    >>> [round(end, 3) for end in wilson_interval(10, 10)]
    [0.722, 1.0]
    """
    if not count:
        return 0.0, 1.0
    share = right / count
    middle = share + _Z**2 / (2 * count)
    reach = _Z * math.sqrt(max(0.0, share * (1 - share)) / count + _Z**2 / (4 * count**2))
    scale = 1 + _Z**2 / count
    low, high = max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
    return min(low, share), max(high, share)  # of which rounding may take a little away


def newcombe_interval(both: int, first: int, second: int, neither: int) -> Interval:
    """Returns the interval of the difference between two shares of the same examples: the first's minus the second's.

    Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions based on paired data",
    method 10: the intervals of the two shares, put together as far as the two go together.

    Args:
        both: Examples that count for both shares.
        first: Those that count for the first only.
        second: Those that count for the second only.
        neither: The others.
    """
    count = both + first + second + neither
    one, two = (both + first) / count, (both + second) / count
    (low1, high1), (low2, high2) = wilson_interval(both + first, count), wilson_interval(both + second, count)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    together: float = both * neither - first * second
    if together > 0:
        together = max(0, together - count / 2)
    phi = together / math.sqrt(margins) if margins else 0.0

    def reach(near: float, far: float) -> float:
        return math.sqrt(max(0.0, near**2 - 2 * phi * near * far + far**2))

    return one - two - reach(one - low1, high2 - two), one - two + reach(high1 - one, two - low2)


def wider(one: Interval, other: Interval) -> Interval:
    """Returns what holds both intervals."""
    return min(one[0], other[0]), max(one[1], other[1])


def percentiles(values: Floats, count: int) -> Interval:
    """Returns the interval that resampled figures of `count` examples give.

    The bootstrap's percentiles (Efron 1979), a little further out for few examples, as Student's t is (Hesterberg
    2015, "expanded percentile interval"): resamples vary less than samples do. Of a single example nothing is known.
    """
    from scipy.special import ndtr, stdtrit

    if count < 2:
        return UNKNOWN
    share = float(ndtr(-math.sqrt(count / (count - 1)) * stdtrit(count - 1, 0.975)))
    low, high = np.quantile(values, [share, 1 - share])
    return float(low), float(high)


def resampled_means(values: NDArray[Any], rng: np.random.Generator) -> Floats:
    """Returns the means of 2,000 resamples of values [n] or [n, columns]: as many rows, each [] or [columns]."""
    values = np.asarray(values, np.float64)
    table = values.reshape(len(values), -1)
    count, columns = table.shape
    if count > _MANY:
        spread = np.atleast_2d(np.cov(table, rowvar=False, bias=True)) / count
        means = [rng.multivariate_normal(table.mean(axis=0), spread, RESAMPLES)]
    else:
        step, means = max(1, _AT_ONCE // (count * columns)), list[Floats]()
        for begin in range(0, RESAMPLES, step):
            rows = rng.integers(count, size=(min(step, RESAMPLES - begin), count), dtype=np.int32)
            means.append(table[rows].mean(axis=1))
    return np.concatenate(means).reshape(RESAMPLES, *values.shape[1:])


def resampled_counts(counts: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Returns how often each kind of example is in 2,000 resamples: arrays [resamples, kinds], some resamples each.

    Args:
        counts: How many examples there are of each kind.
        rng: Draws.
    """
    total, step = int(counts.sum()), max(1, _AT_ONCE // len(counts))
    sizes = [min(step, RESAMPLES - begin) for begin in range(0, RESAMPLES, step)]
    return [rng.multinomial(total, counts / total, size=size) for size in sizes]


def macro_f1_of(drawn: NDArray[np.int64], true: NDArray[np.int64], said: NDArray[np.int64]) -> Floats:
    """Returns the mean F1 of the classes that have examples, of each resample: [resamples].

    Args:
        drawn: [resamples, kinds]: how often each kind of example was drawn.
        true: [kinds]: the class of each kind.
        said: [kinds]: what it is taken for.
    """
    from scipy.sparse import csr_array

    kinds = np.arange(len(true))
    shape = len(true), int(max(true.max(), said.max())) + 1
    of_true, of_said = (csr_array((np.ones(len(kinds)), (kinds, each)), shape) for each in (true, said))
    sizes, hits = drawn @ of_true, np.where(true == said, drawn, 0) @ of_true
    there = sizes > 0
    f1 = np.divide(2 * hits, sizes + drawn @ of_said, out=np.zeros_like(hits), where=there)
    return np.asarray(f1.sum(axis=1) / there.sum(axis=1))


def centered(resampled: Floats, figure: float) -> Floats:
    """Returns resampled figures with their mean where the figure of the examples themselves is.

    That of resamples lies lower for an F1 of many classes, for a class of few examples drops out of many.
    """
    return np.asarray(resampled - (resampled.mean() - figure), np.float64)


def chance_of(differences: Floats) -> float:
    """Returns how probable it is that a difference is chance: two-sided, of resampled differences.

    >>> chance_of(np.array([1.0] * 1999)), chance_of(np.array([-1.0, 1.0]))
    (0.001, 1.0)
    """
    beyond = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(differences) + 1))


def mcnemar(first: int, second: int) -> float:
    """Returns how probable so uneven a count, or a more uneven one, is where each example falls to either side alike.

    The exact test of McNemar (1947), two-sided.

    Args:
        first: Examples that only the one got right.
        second: Those that only the other did.

    >>> round(mcnemar(5, 0), 4), mcnemar(0, 0)
    (0.0625, 1.0)
    """
    from scipy.special import bdtr

    tosses = first + second
    return min(1.0, 2 * float(bdtr(min(first, second), tosses, 0.5))) if tosses else 1.0
