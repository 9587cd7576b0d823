"""How two models differ on the same examples, against scikit-learn, and on models that are known to be alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score, log_loss

from zoo.runs.differences import Difference, Said, differences_of, right_in_one_only


def classes(labels: Sequence[Any], said: Sequence[Any], probability: float = 0.5) -> list[Said]:
    return [Said(str(label), str(one), probability) for label, one in zip(labels, said, strict=True)]


def by_name(found: Sequence[Difference]) -> dict[str, Difference]:
    return {each.name: each for each in found}


def noisy(labels: Any, right: float, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(labels)) < right, labels, rng.integers(0, 4, len(labels)))


def test_the_figures_of_classes_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    shares = [rng.dirichlet(np.ones(4), 200) for _ in range(2)]
    sides = [
        [Said(str(label), str(row.argmax()), row[label]) for label, row in zip(labels, each, strict=True)]
        for each in shares
    ]
    found = differences_of(*sides, "classification")
    assert [each.name for each in found] == ["accuracy", "loss", "macro_f1"]
    for name, figure in (
        ("accuracy", lambda each: (each.argmax(axis=1) == labels).mean()),
        ("loss", lambda each: log_loss(labels, each)),
        ("macro_f1", lambda each: f1_score(labels, each.argmax(axis=1), average="macro")),
    ):
        one, other = (figure(each) for each in shares)
        difference = by_name(found)[name]
        assert (difference.run, difference.other) == pytest.approx((one, other))
        assert difference.difference == pytest.approx(other - one)
        assert difference.interval[0] < other - one < difference.interval[1]


def test_p_of_the_accuracy_is_mcnemars_and_what_each_alone_got_right_is_counted() -> None:
    labels = np.zeros(50, int)
    one, other = (np.arange(50) < 10).astype(int), (np.arange(50) >= 47).astype(int)
    sides = classes(labels, one), classes(labels, other)
    assert right_in_one_only(*sides) == (3, 10)
    accuracy = differences_of(*sides, "classification")[0]
    assert accuracy.p == pytest.approx(binomtest(3, 13).pvalue)
    assert accuracy.difference == pytest.approx(0.14)
    assert not accuracy.is_real
    assert accuracy.is_better


def test_a_clear_difference_is_real_and_the_other_way_round_it_is_the_negative() -> None:
    labels = np.arange(300) % 4
    good, bad = classes(labels, noisy(labels, 0.95, 1), 0.9), classes(labels, noisy(labels, 0.6, 2), 0.5)
    forth, back = (
        by_name(differences_of(bad, good, "classification")),
        by_name(differences_of(good, bad, "classification")),
    )
    for name, each in forth.items():
        assert each.is_real
        assert each.is_better
        assert not back[name].is_better
        assert back[name].difference == pytest.approx(-each.difference)
        assert back[name].interval == pytest.approx((-each.interval[1], -each.interval[0]), abs=0.02)


def test_equal_models_do_not_differ_yet_another_set_might_tell_them_apart() -> None:
    labels = np.arange(40) % 4
    same = classes(labels, labels)
    accuracy, loss, f1 = differences_of(same, same, "classification")
    assert (accuracy.difference, accuracy.p, accuracy.is_real, accuracy.is_better) == (0.0, 1.0, False, False)
    assert accuracy.interval[0] < -0.05 < 0.05 < accuracy.interval[1]
    assert (loss.difference, loss.p, f1.difference) == (0.0, 1.0, 0.0)


def test_models_that_are_equally_good_are_seldom_called_different() -> None:
    called = covered = 0
    for seed in range(100):
        labels = np.random.default_rng(seed).integers(0, 4, 80)
        accuracy = differences_of(
            classes(labels, noisy(labels, 0.8, 2 * seed + 1000)), classes(labels, noisy(labels, 0.8, 2 * seed + 1001)),
            "classification",
        )[0]  # fmt: skip
        called += accuracy.is_real
        covered += accuracy.interval[0] <= 0 <= accuracy.interval[1]
    assert called <= 9
    assert covered >= 91


def test_a_certain_mistake_has_a_finite_loss() -> None:
    sides = [Said("a", "b", 0.0)] * 5, [Said("a", "a", 1.0)] * 5
    loss = by_name(differences_of(*sides, "classification"))["loss"]
    assert loss.run == pytest.approx(-math.log(np.finfo(np.float32).tiny))


def test_a_single_example_settles_nothing() -> None:
    found = differences_of([Said("a", "b", 0.1)], [Said("a", "a", 0.9)], "classification")
    assert not any(each.is_real for each in found)
    assert math.isnan(by_name(found)["loss"].interval[0])


def test_labels_are_compared_as_sets() -> None:
    rng = np.random.default_rng(0)
    true = rng.random((120, 3)) < 0.4

    def side(flip: float) -> tuple[list[Said], Any]:
        said = true ^ (rng.random(true.shape) < flip)
        names = [["|".join(np.array(["a", "b", "c"])[row]) for row in each] for each in (true, said)]
        return [Said(*pair, 0.5) for pair in zip(*names, strict=True)], said

    (one, said), (other, better) = side(0.3), side(0.05)
    found = by_name(differences_of(one, other, "multilabel"))
    for name, each in (("run", said), ("other", better)):
        expected = f1_score(true, each, average="samples", zero_division=1)
        assert getattr(found["example_f1"], name) == pytest.approx(expected)
        assert getattr(found["subset_accuracy"], name) == pytest.approx((true == each).all(axis=1).mean())
    assert found["example_f1"].is_real
    assert found["example_f1"].is_better


def test_of_values_the_lower_error_is_better() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(100, 2))
    one, other = true + rng.normal(size=true.shape), true + 0.3 * rng.normal(size=true.shape)
    sides = [
        [Said(f"{a}|{b}", f"{c}|{d}", math.nan) for (a, b), (c, d) in zip(true, each, strict=True)]
        for each in (one, other)
    ]
    found = by_name(differences_of(*sides, "regression"))
    assert found["mae"].run == pytest.approx(np.abs(one - true).mean())
    assert found["rmse"].other == pytest.approx(np.sqrt(((other - true) ** 2).mean()))
    for each in found.values():
        assert each.is_real
        assert each.is_better
        assert each.interval[1] < 0
