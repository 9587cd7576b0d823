"""A run becomes a model like any other: found, cut and transferred from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_runs import digit, small_run

import zoo
from zoo.data.preprocessing import preprocessing_model
from zoo.errors import IntegrityError, UsageError
from zoo.registry.index import own_entries
from zoo.runs.parts import recorded_spec
from zoo.surgery import unit_digests


def test_a_run_tells_what_its_model_is() -> None:
    run = small_run()
    added = zoo.add(run.path, name="mine", license="MIT")
    entry = added.entry

    assert added.notes == ()
    assert entry == zoo.find_entry("mine")
    assert (entry.source, entry.task, entry.license, entry.can) == ("local", "image-classification", "MIT", ("load",))
    assert (entry.output.classes, entry.output.labels, entry.units) == (10, "digits", 4)
    assert entry.input == recorded_spec(run.record)
    assert entry.summary.startswith("letters-cnn for digits: accuracy 0.")
    assert str(run.path.resolve()) in (entry.origin or "")
    labels = next(path for role, path in zoo.pull("mine").files.items() if role == "definition")
    assert json.loads(labels.read_text())["classes"] == list(run.classes)


def test_its_net_takes_preprocessed_pictures_and_says_what_the_run_says() -> None:
    run = small_run()
    zoo.add(run.path, name="mine")
    net = zoo.load_model("mine")
    picture = digit(3, (12, 9))[None, ..., None].astype(np.float32)
    seen = preprocessing_model(zoo.find_entry("mine").input, (None, None, 1))(picture)

    assert net.input_shape == (None, 28, 28, 1)
    assert net.layers[1].name == "conv1"
    np.testing.assert_allclose(np.asarray(net(seen))[0], run.predict(picture)[0].probabilities, atol=1e-6)


def test_its_frozen_units_are_those_of_the_model_that_it_was_made_of() -> None:
    """So features that were computed for that one are found again: the trunk has the same digests and the same key."""
    first = zoo.transfer(reuse=3, freeze=2, epochs=1, train_per_class=3)
    zoo.add(first.path, name="mine")
    original, mine = (zoo.split_units(zoo.load_model(name)) for name in ("letters-cnn", "mine"))
    again = zoo.transfer("mine", reuse=3, freeze=2, epochs=1, train_per_class=3)

    assert unit_digests(original, 2) == unit_digests(mine, 2)
    assert again.record["features"]["misses"] == 0
    assert again.record["features"]["hits"] == sum(again.record["examples"].values())
    assert again.record["features"]["key"] == first.record["features"]["key"]


def test_the_same_run_is_the_same_bytes_and_is_added_once() -> None:
    run = small_run()
    first = zoo.add(run.path, name="mine")
    again = zoo.add(run.path, name="mine")
    other = zoo.add(run.path, name="other")

    assert again.entry == first.entry
    assert again.notes == ("mine is here already, as it is: nothing was changed.",)
    assert other.entry.files == first.entry.files
    assert any("shares its file with mine" in note for note in other.notes)


def test_it_is_called_as_the_run_and_found_in_the_folder_of_runs() -> None:
    shutil.copytree(small_run().path, "runs/my digits")
    added = zoo.add("my digits")
    assert added.entry.name == "my-digits"
    assert zoo.load_model("my-digits").count_params() == added.entry.params


def test_a_run_of_rows() -> None:
    run = small_run("regression")
    entry = zoo.add(run.path, name="mine").entry
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)

    assert (entry.input, entry.output.features, entry.output.labels) == (None, 1, run.record["data"])
    assert "mae" in entry.summary
    np.testing.assert_allclose(np.asarray(zoo.load_model("mine")(x)), [each.values for each in run.predict(x)])


def test_what_a_run_knows_itself_is_not_told() -> None:
    with pytest.raises(UsageError, match=r"is a run, which tells itself .* Leave preprocess, scale away"):
        zoo.add(small_run().path, name="mine", preprocess="unit", scale=1.0)
    assert own_entries() == {}


def test_a_damaged_run_is_not_added(home: Path) -> None:
    shutil.copytree(small_run().path, "copy")
    record = json.loads(Path("copy/run.json").read_text())
    record["input"]["preprocessing"]["scale"] = 0.5
    Path("copy/run.json").write_text(json.dumps(record))
    with pytest.raises(IntegrityError, match="does not begin with the preprocessing"):
        zoo.add("copy")
    Path("copy/model.keras").write_bytes(b"another")
    with pytest.raises(IntegrityError, match="not the file that the run wrote"):
        zoo.add("copy")
    assert own_entries() == {}
    assert not (home / "tmp").exists() or list((home / "tmp").iterdir()) == []


def test_what_a_run_was_trained_on_is_no_fair_test_of_what_is_made_of_it() -> None:
    zoo.transfer(data="digits:0-3", epochs=1, reuse=2, out="runs/first")
    zoo.add("runs/first", name="mine")

    fair = zoo.transfer("mine", "digits:0-3", epochs=1)
    other = zoo.transfer("mine", "digits:0-3", epochs=1, seed=5)

    assert not any("was trained on" in each for each in fair.record["warnings"])
    (warning,) = [each for each in other.record["warnings"] if "was trained on" in each]
    assert warning.startswith("mine was trained on ")
    count, total = (int(word) for word in warning.split() if word.isdigit())
    assert 0.5 < count / total < 0.85  # 0.7 of all are trained on
