"""Looking for how much to reuse and to freeze: what is found, within its budget, without a look at the test part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo import searching
from zoo.errors import CutError, TrainingError, UsageError
from zoo.preparing import prepare
from zoo.training.fitting import Fitting

WIDTH = 12


def net_that_forgets(above: int) -> keras.Model:
    """Returns a net of six dense units, of which those above number `above` no longer know what is asked for.

    The lower units rotate what comes in, which loses nothing; the next one loses the direction that the task is about.
    """
    random = np.random.default_rng(0)
    layers: list[Any] = [keras.Input((WIDTH,))]
    for number in range(1, 7):
        layers.append(keras.layers.Dense(WIDTH, use_bias=False, name=f"dense{number}"))
        if number > above:
            layers.append(keras.layers.Activation("relu6", name=f"act{number}"))
    model = keras.Sequential([*layers, keras.layers.Dense(2, name="classifier")])
    for number in range(1, 7):
        rotation, _ = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))
        if number == above + 1:  # the asked-for direction goes, the rest stays
            rotation = rotation - np.outer(_asked(model, above), _asked(model, above)) @ rotation
        model.get_layer(f"dense{number}").set_weights([rotation.astype(np.float32)])
    return model


def _asked(model: keras.Model, above: int) -> Any:
    """Returns the direction, in the output of unit `above`, that the first number of the input became."""
    direction = np.eye(WIDTH)[0]
    for number in range(1, above + 1):
        direction = direction @ model.get_layer(f"dense{number}").get_weights()[0]
    return direction


def task_of(count: int = 240) -> tuple[Any, Any]:
    x = np.random.default_rng(1).normal(size=(count, WIDTH)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)


@pytest.mark.parametrize("above", [1, 3])
def test_the_depth_that_a_task_needs_is_found(above: int) -> None:
    found = zoo.search(net_that_forgets(above), task_of(), freeze="auto", epochs=12, lr=0.02)

    assert found.freeze <= found.reuse <= above
    probes = {each.reuse: each.score for each in found.trials if each.kind == "probe"}
    assert list(probes) == [1, 2, 3, 4, 5, 6]
    assert min(probes[depth] for depth in range(1, above + 1)) > 0.85
    assert max(probes[depth] for depth in range(above + 1, 7)) < 0.75
    chosen = [each for each in found.trials if each.chosen]
    assert [(each.reuse, each.freeze, each.hidden) for each in chosen] == [(found.reuse, found.freeze, found.hidden)]


def test_a_transfer_takes_what_was_found_and_tells_what_was_tried() -> None:
    run = zoo.transfer(reuse="auto", freeze="auto", train_per_class=5, epochs=8, search=zoo.Search(max_trials=2))

    table = run.record["search"]["trials"]
    assert [each["kind"] for each in table] == ["probe"] * 5 + ["trained"] * 2
    assert (run.record["reuse"], run.record["freeze"]) == next(
        (each["reuse"], each["freeze"]) for each in table if each["chosen"]
    )
    assert run.record["timings"]["search"] > 0
    plan = zoo.plan(reuse="auto", freeze="auto")
    assert (plan.reuse, plan.search) == (5, True)  # as much as may be chosen


def test_test_examples_are_never_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    job = prepare("letters-cnn", "digits", train_per_class=5)
    test = {row.tobytes() for row in job.examples.ids[job.split.test]}
    digits = zoo.open_data("digits")
    rows = [row for row in range(len(digits)) if digits.ids[row].tobytes() in test]
    x, y = digits.read(np.arange(len(digits))), digits.labels.copy()
    known = zoo.search(data=(x, y), train_per_class=5, epochs=8, search=zoo.Search(3))

    y[rows] = (y[rows] + 1) % 10  # all test labels are wrong
    other = zoo.search(data=(x, y), train_per_class=5, epochs=8, search=zoo.Search(3))

    assert [(each.reuse, each.freeze, each.hidden, each.score, each.loss) for each in other.trials] == [
        (each.reuse, each.freeze, each.hidden, each.score, each.loss) for each in known.trials
    ]


@pytest.mark.slow
def test_no_more_is_tried_than_there_is_time_or_trials_for() -> None:
    options: dict[str, Any] = {"train_per_class": 5, "epochs": 8}

    few = zoo.search(**options, search=zoo.Search(max_trials=1))
    short = zoo.search(**options, search=zoo.Search(max_seconds=1e-6))

    assert sum(each.kind == "trained" for each in few.trials) == 1
    assert sum(each.kind == "trained" for each in short.trials) == 1
    assert short.stopped == "the time was over"


@pytest.mark.slow
def test_what_is_said_is_kept() -> None:
    options: dict[str, Any] = {"train_per_class": 5, "epochs": 4, "search": zoo.Search(4)}

    reuse = zoo.search(reuse=3, **options)
    freeze = zoo.search(freeze=1, hidden=7, **options)

    assert reuse.reuse == 3
    assert {each.reuse for each in reuse.trials} == {3}
    assert freeze.freeze == 1
    assert {each.hidden for each in freeze.trials if each.kind == "trained"} == {(7,)}


@pytest.mark.slow
def test_what_would_take_much_too_long_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "_CHEAP", 0.0)
    monkeypatch.setattr(searching, "_DEAREST", 0.0)

    found = zoo.search(train_per_class=5, epochs=4)

    assert all(each.reuse == each.freeze for each in found.trials)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reuse": 0, "freeze": "auto"}, "nothing to choose"),
        ({"search": zoo.Search(), "reuse": 2}, "--reuse auto or --freeze auto"),
    ],
)
def test_searches_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        zoo.transfer(**options)


def test_budgets_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="at least 1 trial"):
        zoo.Search(max_trials=0)
    with pytest.raises(UsageError, match="more than 0 seconds"):
        zoo.Search(max_seconds=0)


def test_every_depth_may_be_found_where_nothing_is_said_of_what_to_freeze() -> None:
    net = net_that_forgets(2)
    run = zoo.transfer(net, task_of(), reuse="auto", epochs=12, lr=0.02)

    assert run.record["reuse"] == run.record["freeze"] <= 2
    assert sum(each["kind"] == "probe" for each in run.record["search"]["trials"]) == 6
    assert run.record["features"]["misses"] == 0  # what the search had computed is what the transfer takes


def test_what_goes_with_later_phases_alone_is_tried() -> None:
    found = zoo.search(freeze="auto", train_per_class=5, epochs=2, unfreeze=3, search=zoo.Search(3))

    assert {each.freeze for each in found.trials if each.kind == "trained"} <= {3, 4, 5}
    with pytest.raises(CutError, match="at most the 5 units"):
        zoo.search(freeze="auto", train_per_class=5, epochs=2, unfreeze=6)


def test_what_cannot_be_cut_is_not_tried() -> None:
    words, layers = keras.Input((5,), dtype="int32"), keras.layers
    inside = layers.LSTM(4)(layers.Embedding(9, 4, mask_zero=True)(words))  # a mask crosses the first cut
    net = keras.Model(words, layers.Dense(2)(layers.Dense(6, "relu")(inside)))
    x = np.random.default_rng(0).integers(0, 9, (60, 5)).astype(np.int32)
    options: dict[str, Any] = {"freeze": "auto", "epochs": 2}

    found = zoo.search(net, (x, x[:, 0] > 4), **options)

    assert [each.reuse for each in found.trials if each.kind == "probe"] == [2, 3]
    assert {each.freeze for each in found.trials} == {2, 3}
    with pytest.raises(CutError, match="Nearest legal cut"):
        zoo.transfer(net, (x, x[:, 0] > 4), unfreeze=2)  # known before any training


def test_what_cannot_be_trained_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Fitting.run

    def diverging(self: Fitting, *arguments: Any, **options: Any) -> Any:
        if len(self._model.trainable_variables) > 2:  # more than one new layer
            raise TrainingError("The loss is nan")
        return trained(self, *arguments, **options)

    monkeypatch.setattr(Fitting, "run", diverging)
    found = zoo.search(train_per_class=5, epochs=2, search=zoo.Search(4))

    assert {(each.reuse - each.freeze, each.hidden) for each in found.trials if each.kind == "trained"} == {(0, ())}
    assert any("hidden 128: The loss is nan" in each for each in found.failed)
    with pytest.raises(TrainingError, match="Nothing that was tried could be trained"):
        zoo.search(train_per_class=5, epochs=2, hidden=5, search=zoo.Search(1))


@pytest.mark.slow
def test_whole_maps_are_kept_of_what_is_tried_alone(home: Path) -> None:
    found = zoo.search(train_per_class=5, epochs=2, pool="flatten", search=zoo.Search(1), home=home)

    specs = [json.loads(path.read_text()) for path in home.rglob("spec.json")]
    assert sorted(each["tap"] for each in specs).count("flatten") == 1, found
