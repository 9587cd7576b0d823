"""Models are ranked by their features for the data, on training examples alone."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from zoo.data import split_of
from zoo.errors import DataError, NotFoundError, UsageError
from zoo.ranking import Candidate, Found, ranked
from zoo.recommending import recommend


def small_net(name: str, *, width: int = 8, seed: int = 0, size: int = 8) -> keras.Model:
    """Returns an untrained net of three units for gray pictures."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((size, size, 1)), layers.Rescaling(1 / 255), layers.Conv2D(width, 3, activation="relu"),
            layers.Conv2D(width, 3, activation="relu"), layers.Flatten(), layers.Dense(5),
        ],
        name=name,
    )  # fmt: skip


class Steps:
    """A progress that remembers its steps: unit, total and how much was done."""

    def __init__(self) -> None:
        self.steps: list[list[Any]] = []
        self.open = False

    def start(self, total: int | None, unit: str) -> None:
        assert not self.open
        self.open = True
        self.steps.append([unit, total, 0])

    def expect(self, total: int) -> None:
        self.steps[-1][1] = total

    def advance(self, n: int, **figures: float) -> None:
        assert self.open
        self.steps[-1][2] += n

    def close(self) -> None:
        assert self.open
        self.open = False


def test_the_trained_net_is_before_random_ones_and_a_dead_one_last() -> None:
    dead = small_net("dead")
    dead.set_weights([0 * weight for weight in dead.get_weights()])
    found = recommend("digits", [dead, small_net("random", width=64), "letters-cnn"], train_per_class=20)
    assert [each.name for each in found.candidates] == ["letters-cnn", "random", "dead"]
    first, _, last = found.candidates
    assert (first.rank, first.as_good, last.as_good) == (1, True, False)
    assert first.score is not None and first.score > 0.85
    assert last.score is not None and last.score < 0.3
    for score in ("nearest", "h_score", "log_me"):
        assert getattr(first, score) > getattr(last, score)
    assert [each.static_rank for each in found.candidates] == [1, 2, 3]
    assert (found.examples, found.of, found.best.source, last.source) == (200, 200, "embedded", "memory")
    assert first.multiply_adds and first.seconds and first.width == 192
    json.dumps(found.to_json(), allow_nan=False)


def judged(name: str, loss: float, *scores: float, others: float = 0.0) -> Found:
    losses = np.array([loss - 0.1, loss + 0.1, loss - others, loss + others])
    return Found(Candidate(name, "memory", None, None, 0.9, loss, False, *scores), losses, np.arange(4))


def test_the_order_is_that_of_the_mean_rank_and_what_may_be_equal_is_marked() -> None:
    """By loss, neighbour, H-score and LogME: a is 2 1 1 1, b is 1 2 2 3, c is 3 3 3 2."""
    found = [judged("c", 1.5, 0.7, 2.0, -0.1), judged("b", 0.4, 0.8, 3.0, -0.2), judged("a", 0.45, 0.9, 4.0, 0.3)]
    broken = Found(Candidate("broken", "memory", reason="why"), np.empty(0), np.empty(0, np.int64))
    order = ranked([broken, *found])
    assert [(each.name, each.rank, each.mean_rank) for each in order] == [
        ("a", 1, 1.25), ("b", 2, 2.0), ("c", 3, 2.75), ("broken", None, None)
    ]  # fmt: skip
    assert [each.as_good for each in order] == [True, True, False, False]


def test_only_training_examples_are_looked_at_and_a_transfer_finds_their_features() -> None:
    found = recommend("digits:0-2", max_examples=90)
    examples = zoo.open_data("digits:0-2")
    train = split_of(examples).train
    assert (found.examples, found.of) == (90, len(train))
    assert zoo.plan("letters-cnn", "digits:0-2").cached == 90
    again = recommend("digits:0-2", max_examples=90)
    assert again.best.seconds is None  # nothing was left to compute
    assert (again.best.loss, again.best.h_score) == (found.best.loss, found.best.h_score)


def test_a_model_that_fails_is_named_and_the_others_go_on() -> None:
    rows = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.Dense(2)], name="rows")
    single = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(2)], name="single")
    with pytest.warns(UserWarning, match="Pictures go into"):
        found = recommend("digits:0-1", [rows, single, "letters-cnn"], max_examples=40)
    assert [(each.name, each.rank) for each in found.candidates] == [
        ("letters-cnn", 1),
        ("rows", None),
        ("single", None),
    ]
    assert all(each.reason for each in found.candidates[1:])
    assert "classifier" in found.candidates[2].reason
    with pytest.warns(UserWarning, match="Pictures go into"), pytest.raises(DataError, match="None of 2 models"):
        recommend("digits:0-1", [rows, single], max_examples=40)


def test_what_is_left_is_told_over_all_models() -> None:
    steps = Steps()
    nets = [small_net(name, seed=seed) for seed, name in enumerate(("one", "two", "three"))]
    recommend("digits:0-1", nets[:1], max_examples=40)
    recommend("digits:0-1", [*nets[1:], nets[0]], max_examples=40, progress=steps)
    assert ([step for step in steps.steps if step[0] == "examples"], steps.open) == ([["examples", 120, 120]], False)


def test_labels_and_values_can_be_chosen_for() -> None:
    x = np.random.default_rng(0).integers(0, 255, (60, 8, 8, 1), dtype=np.uint8)
    bright = x.mean(axis=(1, 2, 3))
    data = zoo.data.ArrayExamples(x, bright, task="regression")
    found = recommend(data, [small_net("net")])
    assert (found.task, found.best.nearest, found.best.h_score) == ("regression", None, None)
    assert found.best.loss is not None and np.isfinite(found.best.loss)
    several = np.stack([bright > np.median(bright), x[:, 0, 0, 0] > 99], axis=1).astype(np.uint8)
    labels = recommend(zoo.data.ArrayExamples(x, several, task="multilabel"), [small_net("net")])
    assert labels.best.score is not None and 0 <= labels.best.score <= 1


def test_what_cannot_be_chosen_is_refused() -> None:
    with pytest.raises(NotFoundError):
        recommend("digits", ["no-such-net"])
    with pytest.raises(UsageError, match="at least one model"):
        recommend("digits", [])
    with pytest.raises(UsageError, match="more than one called net"):
        recommend("digits", [small_net("net"), small_net("net")])
    with pytest.raises(UsageError, match="at least 2 examples"):
        recommend("digits", max_examples=1)
    with pytest.raises(DataError, match="1 class"):
        recommend((np.zeros((9, 8, 8, 1), np.uint8), ["same"] * 9))
