"""Transfers that are killed, and go on; settings, data and models that are no longer the same then."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zoo
from zoo import pipeline, searching
from zoo.errors import BusyError, NotFoundError, TrainingError, UsageError
from zoo.runs import unfinished
from zoo.runs.unfinished import continued_run, unfinished_runs
from zoo.training import Checkpoint, checkpoints

LONG: dict[str, Any] = {"reuse": 4, "freeze": 2, "epochs": 40, "patience": 40, "train_per_class": 8, "dropout": 0.2}

CHILD = """
import sys, zoo
from zoo.training import checkpoints
checkpoints.SECONDS = 0.0
zoo.transfer(**eval(sys.argv[1]))
"""


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.fixture
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes a checkpoint after every epoch, however short it was."""
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)


def stop_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the next training stop once so many checkpoints were written."""
    save, written = Checkpoint.save, []

    def counting(self: Checkpoint, state: Any) -> None:
        save(self, state)
        written.append(state)
        if len(written) == epochs:
            raise StoppedError

    monkeypatch.setattr(Checkpoint, "save", counting)


def killed(monkeypatch: pytest.MonkeyPatch, written: int = 3, **options: Any) -> None:
    """Begins a transfer that comes no further than so many checkpoints."""
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "SECONDS", 0.0)
        stop_after(written, patch)
        with pytest.raises(StoppedError):
            zoo.transfer(**options)


def weights(run: zoo.Run) -> list[Any]:
    return [np.asarray(each) for each in run.load().get_weights()]


def same(one: zoo.Run, other: zoo.Run) -> None:
    """Asserts that two runs have the same weights and the same figures of every epoch."""
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)
    lines = [(run.path / "history.csv").read_text().splitlines() for run in (one, other)]
    assert [line.rsplit(",", 1)[0] for line in lines[0]] == [line.rsplit(",", 1)[0] for line in lines[1]]  # but seconds
    assert one.record["metrics"] == other.record["metrics"]


def test_k09_a_process_that_is_killed_in_an_epoch_goes_on_to_the_same_result(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, repr(LONG)])
    folder = Path("runs/digits.unfinished")
    try:
        deadline = time.monotonic() + 120
        while not list(folder.glob("checkpoint-1.*")):
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.01)
        time.sleep(random.random())
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert not Path("runs/digits/run.json").exists()
    done = Checkpoint(next(folder.glob("checkpoint-1.*"))).load()
    assert done is not None
    assert len(done.epochs) < LONG["epochs"]  # or nothing was left to do

    run = zoo.resume("runs/digits")

    assert run.path == Path("runs/digits")
    assert not folder.exists()
    same(run, zoo.transfer(**LONG, out=tmp_path / "never-killed"))


@pytest.mark.slow
@pytest.mark.usefixtures("every_epoch")
def test_later_phases_go_on_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 4, "train_per_class": 5, "unfreeze": zoo.Unfreeze(2, gradual=True)}
    killed(monkeypatch, 6, **options)  # in the second of three phases

    run = zoo.resume("digits")

    assert [each["phase"] for each in run.record["phases"]] == [1, 2, 3]
    same(run, zoo.transfer(**options, out=tmp_path / "never-killed"))


def test_t07_other_settings_are_refused_and_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    killed(monkeypatch, **LONG)

    with pytest.raises(UsageError, match=r"lr 0\.001 \(now 0\.1\); epochs 40 \(now 41\).*--force"):
        zoo.resume("digits", lr=0.1, epochs=41, reuse=4)
    run = zoo.resume("digits", lr=0.1, epochs=41, force=True)

    assert run.record["training"]["learning_rate"] == 0.1
    assert run.record["training"]["most_epochs"] == 41


@pytest.mark.slow
def test_other_data_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = zoo.open_data("digits:0-3")
    x, y = digits.read(np.arange(len(digits))), digits.labels
    killed(monkeypatch, data=(x, y), **LONG)

    with pytest.raises(UsageError, match=r"data=\.\.\."):
        zoo.resume("arrays")
    with pytest.raises(UsageError, match=r"No longer what the run began with: train.*--force"):
        zoo.resume("arrays", data=(255 - x, y))
    assert zoo.resume("arrays", data=(x, y)).record["examples"]["train"] == 32


def test_only_one_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    killed(monkeypatch, **LONG)

    with continued_run(Path("runs/digits")), pytest.raises(BusyError, match="Another process"):
        zoo.resume("digits")


@pytest.mark.slow
def test_what_there_is_nothing_to_go_on_with_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError, match="No unfinished run"):
        zoo.resume("digits")
    zoo.transfer(epochs=1, train_per_class=5)
    with pytest.raises(UsageError, match="is finished"):
        zoo.resume("digits")
    killed(monkeypatch, **LONG)
    with pytest.raises(NotFoundError, match=r"Unfinished: runs/digits-2\.unfinished"):
        zoo.resume("flowers")


def test_a_new_run_leaves_an_unfinished_one_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    killed(monkeypatch, **LONG)

    run = zoo.transfer(epochs=1, train_per_class=5)

    assert run.path == Path("runs/digits-2")
    assert "zoo transfer --resume runs/digits" in caplog.text
    assert unfinished_runs(Path("runs")) == [Path("runs/digits.unfinished")]


def test_what_was_killed_before_any_checkpoint_is_cleared_away() -> None:
    folder = Path("runs/digits.unfinished")
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    (folder / "job.json").write_text("{}")

    assert zoo.transfer(epochs=1, train_per_class=5).path == Path("runs/digits")
    assert list(Path("runs").iterdir()) == [Path("runs/digits")]


def test_t01_a_loss_that_is_not_finite_names_step_rate_and_files(tmp_path: Path) -> None:
    random_pixels = np.random.default_rng(0)
    for number in range(60):
        path = tmp_path / "shapes" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_pixels.integers(0, 256, (16, 16), np.uint8)).save(path)

    with pytest.raises(
        TrainingError, match=r"step \d+ of epoch \d+, with learning rate 1e\+30.*The batch: ./\d+\.png"
    ) as caught:
        zoo.transfer(data=tmp_path / "shapes", lr=1e30, hidden=50)

    assert caught.value.exit_code == 9
    assert list(Path("runs").iterdir()) == []


@pytest.mark.slow
def test_t06_the_same_seed_gives_the_same_run_to_the_bit(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 3, "train_per_class": 5, "unfreeze": 1, "dropout": 0.3, "hidden": 8}

    same(zoo.transfer(**options, out=tmp_path / "one"), zoo.transfer(**options, out=tmp_path / "other"))


def test_phases_begin_with_what_the_one_before_left() -> None:
    run = zoo.transfer(epochs=5, train_per_class=10, unfreeze=1)

    first, second = run.record["phases"]
    assert (first["freeze"], second["freeze"]) == (5, 4)
    assert second["learning_rate"] == pytest.approx(0.0001)
    states = [unit["state"] for unit in run.record["units"]]
    assert states == ["frozen", "frozen", "frozen", "frozen", "trained", "dropped"]
    history = (run.path / "history.csv").read_text().splitlines()
    assert history[0] == "epoch,phase,loss,accuracy,val_loss,val_accuracy,seconds"
    losses = {line.split(",")[1]: float(line.split(",")[4]) for line in history[1:]}
    assert losses["2"] <= losses["1"]  # the last epochs of both: further training began where the first ended


def test_what_a_search_found_outlives_what_comes_before_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"reuse": "auto", "epochs": 2, "train_per_class": 5, "search": zoo.Search(1)}

    def stopped(*_: Any) -> Any:
        raise StoppedError

    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(pipeline, "train", stopped)
        zoo.transfer(**options)
    with pytest.raises(UsageError, match="--force"):
        zoo.resume("digits", lr=0.1)  # which costs nothing
    monkeypatch.setattr(searching, "search", stopped)

    assert zoo.resume("digits").record["search"]["trials"]


def test_without_locks_no_run_is_taken_from_another_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unfinished, "try_lock", lambda _: None)
    with unfinished.new_run(Path("runs/digits")) as one, unfinished.new_run(Path("runs/digits")) as other:
        assert one.result.is_dir()
        assert other.path == Path("runs/digits-2.unfinished")
        with continued_run(Path("runs/digits-2")):
            assert "cannot be told" in caplog.text


def test_a_phase_that_makes_nothing_better_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"epochs": 30, "train_per_class": 5, "unfreeze": zoo.Unfreeze(1, learning_rate=10.0)}

    run = zoo.transfer(**options)

    assert [each["best_epoch"] > 0 for each in run.record["phases"]] == [True, False]
    assert [each["state"] for each in run.record["units"]] == ["frozen"] * 5 + ["dropped"]
    assert run.record["parameters"]["trained"] == 0
    assert "made nothing better" in run.report.read_text()
