"""Pretraining as users have it: from examples to a model of their own registry, killed and gone on with."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
from PIL import Image

import zoo
from zoo import making
from zoo.data.split import split_of
from zoo.errors import DataError, NotFoundError, UsageError
from zoo.registry.index import own_entries
from zoo.runs import unfinished
from zoo.runs.unfinished import unfinished_runs

QUICK: dict[str, Any] = {"units": (24, 12), "epochs": 2}
CHILD = """
import sys, zoo
from zoo.training import checkpoints
checkpoints.SECONDS = 0.0
zoo.pretrain(**eval(sys.argv[1]))
"""


def weights(made: zoo.Pretrained) -> list[Any]:
    return [np.asarray(each) for each in made.load().get_weights()]


def same(one: zoo.Pretrained, other: zoo.Pretrained) -> None:
    """Asserts that two pretrainings have the same weights and the same figures of every epoch."""
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)
    lines = [(each.path / "history.csv").read_text().splitlines() for each in (one, other)]
    assert [line.rsplit(",", 1)[0] for line in lines[0]] == [line.rsplit(",", 1)[0] for line in lines[1]]  # but seconds
    assert one.figures == other.figures


@pytest.mark.parametrize(
    ("method", "options", "units"),
    [
        ("autoencoder", {"conv": 4, "units": 12, "mask": 0.2, "finetune": True}, ["layer1", "layer2", "decoder"]),
        ("rbm", {"units": (24, 12), "persistent": True}, ["layer1", "layer2", "decoder"]),
        ("auxiliary", {"units": (24, 12), "task": "shuffled", "loss": "margin"}, ["layer1", "layer2", "task"]),
        ("pairs", {"units": (24, 12), "loss": "triplet"}, ["layer1", "layer2", "embedding"]),
    ],
)
def test_every_method_leaves_a_model_that_works_like_any_other(
    method: str, options: dict[str, Any], units: list[str], tmp_path: Path
) -> None:
    made = zoo.pretrain(method, epochs=2, name="mine", **options)

    assert (made.name, made.method, made.path) == ("mine", method, Path("runs/mine"))
    assert [each.name for each in zoo.list_models("mine")] == ["mine"]
    entry = zoo.find_entry("mine")
    assert (entry.source, entry.units, entry.input and entry.input.scale) == ("local", 3, 1 / 255)
    assert [unit.name for unit in zoo.split_units(zoo.load_model("mine"))] == units
    assert [each.exit_code for each in zoo.verify_outputs("mine")] == [0]

    run = zoo.transfer("mine", epochs=2, train_per_class=3)
    assert (run.record["reuse"], run.record["freeze"]) == (2, 2)
    assert not run.record["warnings"]  # the split leaves aside what a transfer with the same seed tests on

    zoo.export("mine", tmp_path / "net.onnx")
    made.export(tmp_path / "net.keras")
    x = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(found, np.asarray(made.load()(x)), atol=1e-5)


def test_what_the_folder_tells() -> None:
    made = zoo.pretrain("autoencoder", "digits", **{**QUICK, "epochs": 12}, name="mine")

    digits = zoo.open_data("digits", unlabelled=True)
    split = split_of(digits)
    record = made.record
    assert record["examples"] == {"train": len(split.train), "validation": len(split.validation),
                                  "test": len(split.test)}  # fmt: skip
    assert record["settings"]["units"] == [24, 12]
    # The second layer is trained on features of the first: of each example that is learned from or judged by, once.
    assert record["features"]["misses"] == len(split.train) + len(split.validation)
    assert record["labels_used"] is False
    assert made.figures["explained"] > 0.2  # of the variance; a net that learned nothing restores the mean: 0
    page = made.report.read_text()
    assert page.count("<img") >= 24 + 2 * 12  # filters, examples and their reconstructions
    assert "http" not in page.replace("http-equiv", "")
    assert [each.path for each in zoo.list_pretrainings()] == [made.path]
    assert zoo.list_runs() == []
    assert zoo.open_pretraining("mine").name == "mine"


def test_a_transfer_and_a_pretraining_are_not_taken_for_each_other() -> None:
    made = zoo.pretrain("rbm", **QUICK, name="mine")
    run = zoo.transfer("mine", epochs=1, train_per_class=2, out="runs/one")

    with pytest.raises(UsageError, match=r"is that of a pretraining .*zoo transfer mine"):
        zoo.open_run(made.path)
    with pytest.raises(UsageError, match="is that of a transfer"):
        zoo.open_pretraining(run.path)


def test_its_folder_can_be_added_again_under_another_name() -> None:
    made = zoo.pretrain("rbm", **QUICK, name="mine")

    added = zoo.add(made.path, name="other")

    assert added.entry.input == zoo.find_entry("mine").input
    np.testing.assert_array_equal(zoo.load_model("other").get_weights()[0], weights(made)[0])


def test_pictures_without_classes_and_a_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(30):
        picture = rng.integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    data = zoo.open_data(tmp_path, unlabelled=True, max_bad=0.1)

    made = zoo.pretrain("auxiliary", data, conv=(4, 4), size=(16, 16), epochs=1, name="mine")

    assert made.load().input_shape == (None, 16, 16, 3)
    assert made.record["bad_files"] == 1
    assert "broken.png" in (made.path / "bad_files.jsonl").read_text()


def test_rows_of_numbers_are_transferred_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((200, 3))
    x = (hidden @ rng.standard_normal((3, 12)) * 50 + 7).astype(np.float32)  # which must be standardized
    np.savez(tmp_path / "rows.npz", x=x)

    made = zoo.pretrain("autoencoder", tmp_path / "rows.npz", units=8, epochs=30, name="mine", activation="tanh")

    assert made.figures["explained"] > 0.5
    run = zoo.transfer("mine", (x, (hidden[:, 0] > 0).astype(int)), epochs=100, lr=0.01)
    assert run.accuracy > 0.8


def test_what_cannot_be_is_refused_before_any_work() -> None:
    zoo.pretrain("rbm", **QUICK, name="mine")
    for options, message in [
        ({"method": "gan"}, "Expected a method of autoencoder, rbm, auxiliary, pairs"),
        ({"method": "rbm", "units": 8, "tied": True}, "no 'tied'.*is of autoencoder"),
        ({"method": "rbm", "units": 8, "patience": 3}, "no 'patience'"),
        ({"method": "rbm", "units": 8, "frobnicate": 3}, "no 'frobnicate'"),
        ({"method": "rbm", "units": "300,100"}, "Expected units as whole numbers"),
        ({"method": "rbm", "units": 8, "seed": -1}, "Expected a seed of 0 or more"),
        ({"method": "rbm", "units": 8, "name": "mine", "data": "nowhere/"}, "taken by mine"),  # before data are opened
        ({"method": "rbm"}, "--units 300,100"),
        ({"method": "autoencoder"}, "--units 300,100"),
        ({"method": "rbm", "units": 8, "name": "mine"}, "taken by mine"),
        ({"method": "rbm", "units": 8, "name": "vgg16"}, "taken by vgg16"),
        ({"method": "rbm", "units": 8, "name": "../up"}, "cannot be called"),
        ({"method": "rbm", "units": 8, "data": np.zeros((9, 4), "f4"), "size": (8, 8)}, "1 or 3 channels"),
        ({"method": "rbm", "units": 8, "data": np.zeros((9, 4, 4, 2), "u1"), "size": (8, 8)}, "1 or 3 channels"),
        ({"method": "pairs", "units": 8, "data": np.zeros((9, 4), "f4")}, "two classes or more"),
    ]:
        with pytest.raises(UsageError, match=message):
            zoo.pretrain(**options)
    with pytest.raises(NotFoundError):
        zoo.pretrain("rbm", "nowhere/", units=8)
    assert [each.name for each in Path("runs").iterdir()] == ["mine"]
    assert list(own_entries()) == ["mine"]


def test_pictures_of_one_size_and_colour_stay_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (6, 9), np.uint8)).save(tmp_path / f"{number}.png")

    made = zoo.pretrain("autoencoder", tmp_path, units=4, epochs=1, name="mine")

    assert made.load().input_shape == (None, 6, 9, 1)
    entry = zoo.find_entry("mine")
    assert entry.input is not None
    assert (entry.input.size, entry.input.color) == ((6, 9, 1), "gray")


def test_pairs_of_groups_need_no_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["path,person"]
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{number % 8}")
    (tmp_path / "faces.csv").write_text("\n".join(lines))
    data = zoo.open_data(tmp_path / "faces.csv", group_by="person", unlabelled=True)

    made = zoo.pretrain("pairs", data, units=6, epochs=1, identity="group", name="mine")

    assert made.record["labels_used"] is True


def test_changed_labels_are_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 6)), np.arange(60) % 3
    np.savez(tmp_path / "rows.npz", x=x, y=y)
    stopped_before_writing(monkeypatch, "pairs", tmp_path / "rows.npz")
    np.savez(tmp_path / "rows.npz", x=x, y=(y + (np.arange(60) < 9)) % 3)

    with pytest.raises(UsageError, match="no longer those"):
        zoo.resume_pretraining("runs/mine")


def test_a_name_that_was_taken_meanwhile_is_told_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_before_writing(monkeypatch, "rbm")
    zoo.pretrain("rbm", **QUICK, name="mine")

    with pytest.raises(UsageError, match="taken by mine"):
        zoo.resume_pretraining("runs/mine")
    made = zoo.resume_pretraining("runs/mine", name="other")

    assert (made.name, sorted(own_entries())) == ("other", ["mine", "other"])


def test_a_kill_after_its_folder_has_its_name_leaves_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(unfinished.UnfinishedRun, "close", lambda run, **_: os.close(run._lock))
        made = zoo.pretrain("rbm", **QUICK, name="mine")
    (left,) = unfinished_runs(Path("runs"))

    with pytest.raises(UsageError, match="was finished"):
        zoo.resume_pretraining(left)

    assert [each.name for each in Path("runs").iterdir()] == [made.path.name]


def test_examples_that_were_judged_by_count_as_seen() -> None:
    """Rare classes move examples into the test part that data without labels have elsewhere."""
    rng = np.random.default_rng(0)
    x, y = rng.random((150, 6)).astype(np.float32), np.arange(150) % 30

    zoo.pretrain("rbm", x, units=4, epochs=1, name="mine")

    run = zoo.transfer("mine", (x, y), epochs=1)
    seen = set(map(bytes, split_ids_of(Path("runs/mine"), "train", "validation")))
    tested = set(map(bytes, split_ids_of(run.path, "test")))
    (warning,) = [each for each in run.record["warnings"] if "was trained on" in each]
    assert f"trained on {len(seen & tested)} of these {len(tested)} test examples" in warning


def split_ids_of(folder: Path, *parts: str) -> Any:
    with np.load(folder / "split.npz") as file:
        return np.concatenate([file[part] for part in parts])


def stopped_before_writing(monkeypatch: pytest.MonkeyPatch, method: str, data: Any = "digits") -> None:
    """Begins a pretraining `mine` that is stopped when it is trained."""

    def stopped(*_: Any) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr("zoo.training.checkpoints.SECONDS", 0.0)
        patch.setattr(making, "write_pretraining", stopped)
        with pytest.raises(StoppedError):
            zoo.pretrain(method, data, **QUICK, name="mine")


def test_pictures_of_several_sizes_need_one(tmp_path: Path) -> None:
    for number in range(12):
        Image.new("RGB", (20 + number, 20), (number * 20, 0, 0)).save(tmp_path / f"{number}.png")

    with pytest.raises(DataError, match="--size 64x64"):
        zoo.pretrain("autoencoder", tmp_path, conv=4)


def test_a_name_is_made_of_data_and_method_and_may_be_replaced() -> None:
    made = zoo.pretrain("rbm", "digits:0-4", **QUICK)
    assert made.name == "digits-0-4-rbm"

    again = zoo.pretrain("rbm", "digits:0-4", **{**QUICK, "units": 8}, replace=True)

    assert again.path == Path("runs/digits-0-4-rbm-2")
    assert zoo.find_entry("digits-0-4-rbm").units == 2


@pytest.mark.parametrize(
    ("options", "checkpoint"),
    [
        ({"method": "autoencoder", "units": (64, 32), "epochs": 12, "patience": 12, "noise": 0.1}, "layer2"),
        pytest.param({"method": "rbm", "units": (256, 32), "epochs": 12}, "layer1", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_is_killed_goes_on_to_the_same_model(
    options: dict[str, Any], checkpoint: str, tmp_path: Path
) -> None:
    options |= {"name": "mine"}
    child = subprocess.Popen([sys.executable, "-c", CHILD, repr(options)])
    folder = Path("runs/mine.unfinished")
    try:
        deadline = time.monotonic() + 120
        while not list(folder.glob(f"checkpoint-{checkpoint}.*")):
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.005)
        time.sleep(random.random() / 5)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert own_entries() == {}
    assert not Path("runs/mine").exists()

    made = zoo.resume_pretraining("runs/mine")

    assert (made.path, list(own_entries())) == (Path("runs/mine"), ["mine"])
    assert unfinished_runs(Path("runs")) == []
    same(made, zoo.pretrain(**{**options, "name": "never-killed"}, home=tmp_path / "other"))


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("step", ["write_pretraining", "add", "publish"])
def test_a_kill_after_the_training_loses_nothing(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        owner: Any = making.UnfinishedRun if step == "publish" else making
        patch.setattr("zoo.training.checkpoints.SECONDS", 0.0)

        def stopped(*_: Any, **__: Any) -> None:
            raise StoppedError

        patch.setattr(owner, step, stopped)
        with pytest.raises(StoppedError):
            zoo.pretrain("rbm", **QUICK, name="mine")
    (left,) = unfinished_runs(Path("runs"))
    assert list(own_entries()) == (["mine"] if step == "publish" else [])

    made = zoo.resume_pretraining(left)

    assert made.path == Path("runs/mine")
    assert list(own_entries()) == ["mine"]
    np.testing.assert_array_equal(zoo.load_model("mine").get_weights()[0], weights(made)[0])


def test_what_no_longer_is_as_it_was_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "rows.npz"
    rng = np.random.default_rng(0)
    np.savez(data, x=rng.random((60, 6)))
    stopped_before_writing(monkeypatch, "rbm", data)
    with pytest.raises(UsageError, match="zoo pretrain --resume"):
        zoo.resume("runs/mine")
    np.savez(data, x=rng.random((60, 6)))

    with pytest.raises(UsageError, match="no longer those"):
        zoo.resume_pretraining("runs/mine")

    zoo.transfer(train_per_class=2, epochs=1)
    with pytest.raises(UsageError, match="is finished"):
        zoo.resume_pretraining("runs/digits")


def test_equal_settings_make_equal_files() -> None:
    one = zoo.pretrain("rbm", **QUICK, name="one")
    other = zoo.pretrain("rbm", **QUICK, name="other")

    assert one.record["files"]["model.keras"] == other.record["files"]["model.keras"]
    assert isinstance(one.load(), keras.Model)


def test_rows_have_an_auxiliary_task_too() -> None:
    x = np.random.default_rng(0).random((60, 6), np.float32)

    made = zoo.pretrain("auxiliary", x, units=8, epochs=1, name="mine")

    assert (made.figures["chance"], made.load().output_shape) == (0.5, (None, 2))
