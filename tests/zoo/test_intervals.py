"""Intervals and paired tests, against formulas written out, published figures, and what they claim to hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from zoo import intervals
from zoo.intervals import (
    RESAMPLES,
    centered,
    chance_of,
    macro_f1_of,
    mcnemar,
    newcombe_interval,
    percentiles,
    resampled_counts,
    resampled_means,
    wider,
    wilson_interval,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(("right", "count"), [(0, 10), (10, 10), (1, 30), (81, 263), (9999, 10000)])
def test_wilsons_interval_is_scipys(right: int, count: int) -> None:
    expected = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson_interval(right, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_wilsons_interval_holds_the_share_and_of_nothing_is_everything() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    for count in range(1, 200):
        assert wilson_interval(0, count)[0] == 0.0
        assert wilson_interval(count, count)[1] == 1.0


def newcombe(r: int, s: int, t: int, u: int) -> tuple[float, float]:
    """Returns the interval as the paper's formulas have it, r to u being the cells of the table."""
    n = r + s + t + u
    p1, p2 = (r + s) / n, (r + t) / n
    ci1, ci2 = (binomtest(right, n).proportion_ci(method="wilson") for right in (r + s, r + t))
    product, margins = r * u - s * t, (r + s) * (t + u) * (r + t) * (s + u)
    if 0 < product <= n / 2:
        product = 0
    elif product > n / 2:
        product -= n / 2  # type: ignore[assignment]
    phi = product / math.sqrt(margins) if margins else 0.0
    dl1, du1, dl2, du2 = p1 - ci1.low, ci1.high - p1, p2 - ci2.low, ci2.high - p2
    delta = math.sqrt(dl1**2 - 2 * phi * dl1 * du2 + du2**2)
    epsilon = math.sqrt(du1**2 - 2 * phi * du1 * dl2 + dl2**2)
    return p1 - p2 - delta, p1 - p2 + epsilon


@pytest.mark.parametrize(
    "counts",
    [(36, 12, 2, 0), (14, 5, 0, 22), (20, 12, 2, 16), (53, 0, 0, 1), (0, 29, 1, 0), (54, 0, 0, 0), (2, 1, 1, 3)],
)
def test_newcombes_interval_of_paired_shares(counts: tuple[int, int, int, int]) -> None:
    found = newcombe_interval(*counts)
    both, first, second, neither = counts
    assert found == pytest.approx(newcombe(*counts), abs=1e-6)
    assert found[0] < (first - second) / sum(counts) < found[1]
    assert newcombe_interval(both, second, first, neither) == pytest.approx((-found[1], -found[0]))


def test_mcnemars_test_is_the_binomial_one() -> None:
    for first, second in ((5, 0), (0, 5), (3, 8), (40, 60), (2000, 2100)):
        assert mcnemar(first, second) == pytest.approx(binomtest(first, first + second).pvalue)
    assert mcnemar(0, 0) == mcnemar(7, 7) == 1.0


def test_resampled_means_are_as_far_apart_as_theory_says() -> None:
    values = rng().exponential(size=(500, 2))
    means = resampled_means(values, rng())
    assert means.shape == (RESAMPLES, 2)
    assert means.mean(axis=0) == pytest.approx(values.mean(axis=0), abs=0.01)
    assert means.std(axis=0) == pytest.approx(values.std(axis=0) / math.sqrt(500), rel=0.1)
    assert np.array_equal(means, resampled_means(values, rng()))
    assert resampled_means(values[:, 0], rng()).shape == (RESAMPLES,)


def test_means_of_many_are_drawn_from_the_same_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    one = rng().exponential(size=300)
    values = np.stack([one, 1 - one], axis=1)
    resampled = resampled_means(values, rng())
    monkeypatch.setattr(intervals, "_MANY", 100)
    drawn = resampled_means(values, rng())
    assert drawn.shape == resampled.shape
    assert np.quantile(drawn, [0.025, 0.975], axis=0) == pytest.approx(
        np.quantile(resampled, [0.025, 0.975], axis=0), abs=0.02
    )
    assert drawn.sum(axis=1) == pytest.approx(np.ones(RESAMPLES))  # the columns are drawn together


def test_resampled_counts_in_pieces_are_2000_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_AT_ONCE", 999)
    drawn = resampled_counts(np.array([30, 0, 70]), rng())
    assert len(drawn) > 1
    joined = np.concatenate(drawn)
    assert joined.shape == (RESAMPLES, 3)
    assert (joined.sum(axis=1) == 100).all()
    assert joined.mean(axis=0) == pytest.approx([30, 0, 70], abs=0.5)


def test_macro_f1_of_resamples_is_scikit_learns() -> None:
    true, said = np.array([0, 0, 2, 2, 3, 3]), np.array([0, 2, 2, 0, 3, 1])
    drawn = rng().multinomial(40, np.full(6, 1 / 6), size=20)
    found = macro_f1_of(drawn, true, said)
    for row, score in zip(drawn, found, strict=True):
        drawn_true = np.repeat(true, row)
        expected = f1_score(drawn_true, np.repeat(said, row), labels=np.unique(drawn_true), average="macro")
        assert score == pytest.approx(expected)


def test_few_examples_widen_percentiles_as_students_t_does() -> None:
    values = rng().normal(size=100_000)
    low, high = percentiles(values, 1_000_000)
    assert (low, high) == pytest.approx((-1.96, 1.96), abs=0.03)
    few = percentiles(values, 5)
    assert few[1] == pytest.approx(2.776 * math.sqrt(5 / 4), rel=0.05)  # t of 4 degrees of freedom
    assert all(map(math.isnan, percentiles(values, 1)))


def test_an_interval_of_a_mean_holds_it_as_often_as_it_says() -> None:
    held = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        low, high = percentiles(resampled_means(generator.normal(3, 1, size=12), generator), 12)
        held += low <= 3 <= high
    assert 0.91 <= held / 300 <= 0.98


def test_small_helpers() -> None:
    assert wider((0.1, 0.5), (0.2, 0.6)) == (0.1, 0.6)
    assert centered(np.array([0.0, 1.0]), 0.9).tolist() == pytest.approx([0.4, 1.4])
    assert chance_of(np.zeros(RESAMPLES)) == 1.0
    assert chance_of(np.ones(RESAMPLES)) == pytest.approx(2 / (RESAMPLES + 1))
    assert chance_of(np.array([-1.0] * 50 + [1.0] * 1950)) == pytest.approx(102 / 2001)
