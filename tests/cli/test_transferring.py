"""`zoo transfer` and `zoo lr-find`: options that reach what they are for, and runs that go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result
from zoo.cli import options
from zoo.cli.main import cli

import zoo
from zoo.data import targets
from zoo.training import Checkpoint, checkpoints, fitting, settings
from zoo.training.tensorboard import TensorBoardLog

QUICK = ("--epochs", "2", "--train-per-class", "5")


def run(*words: str) -> Result:
    """Calls a command in this process; standard output and standard error apart."""
    return CliRunner().invoke(cli, words)


def test_the_choices_are_those_of_training() -> None:
    """The command line writes them out, so that help needs no TensorFlow."""
    assert (options.OPTIMIZERS, options.SCHEDULES) == (settings.OPTIMIZERS, settings.SCHEDULES)
    assert (options.REGRESSION_LOSSES, options.TASKS) == (settings.REGRESSION_LOSSES, targets.TASKS)


def settings_of(*words: str) -> Any:
    result = run("transfer", *QUICK, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["settings"]


def test_options_of_training_reach_it() -> None:
    found = settings_of(
        "--optimizer", "nesterov", "--momentum", "0.8", "--clip-norm", "1", "--weight-decay", "0.01", "--lr", "0.05",
        "--schedule", "cosine", "--warmup", "0.5", "--label-smoothing", "0.1", "--class-weights", "1=2,2=0.5",
        "--hidden", "8,4", "--activation", "gelu", "--dropout", "10%", "--batchnorm", "--calibrate",
        "--unfreeze", "2", "--gradual", "--unfreeze-lr", "0.001", "--unit-decay", "3", "--unfreeze-epochs", "1",
    )  # fmt: skip

    fit = found["fit"]
    assert fit["optimizer"]["name"] == "nesterov"
    assert [fit["optimizer"][name] for name in ("momentum", "clip_norm", "weight_decay")] == [0.8, 1.0, 0.01]
    assert (fit["schedule"]["name"], fit["schedule"]["warmup"], fit["learning_rate"]) == ("cosine", 0.5, 0.05)
    assert fit["loss"] == {"label_smoothing": 0.1, "class_weights": {"1": 2.0, "2": 0.5}, "regression": "mse"}
    assert (found["hidden"], found["activation"], found["dropout"], found["batchnorm"]) == ([8, 4], "gelu", 0.1, True)
    assert found["calibrate"] is True
    assert found["unfreeze"] == {"units": 2, "gradual": True, "learning_rate": 0.001, "decay": 3.0, "epochs": 1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optimizer", "adam", "--momentum", "0.5"], "belongs to momentum"),
        (["--clip-norm", "1", "--clip-value", "1"], "one way to clip"),
        (["--class-weights", "balance"], "cat=2,dog=1"),
        (["--class-weights", "zebra=2"], "got zebra"),
        (["--activation", "sinus"], "activation"),
        (["--unfreeze", "9"], "at most the 5 units"),
        (["--max-trials", "3"], "--reuse auto"),
        (["--force"], "--resume"),
        (["--reuse", "9"], "--reuse 0 to 5"),
        (["--reuse", "3", "--freeze", "4"], "--freeze 0 to 3"),
        (["--reuse", "-1"], "--reuse 0 to 5"),
        (["--freeze", "-2"], "--freeze 0 to 5"),
        (["--resume", "digits", "--plan"], "--plan"),
        (["--task", "regression"], "has classes"),
    ],
)
def test_t02_what_cannot_be_ends_with_2_and_leaves_nothing(words: list[str], message: str) -> None:
    result = run("transfer", *QUICK, *words)

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_t05_a_training_that_no_longer_improves_says_so() -> None:
    result = run("transfer", "--train-per-class", "5", "--patience", "1", "--lr", "0.3")

    assert result.exit_code == 0
    assert "no lower validation loss for 1 epochs" in result.stdout


def test_t04_a_model_that_always_says_the_same_is_warned_of() -> None:
    x = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    y = np.arange(400) % 20 == 0  # rare, and nothing tells it
    np.savez("data.npz", x=x, y=y.astype(int))
    model = _net_of_rows()

    found = zoo.transfer(model, "data.npz", epochs=30, lr=0.01)

    assert any("Every example is taken for" in warning for warning in found.record["warnings"])
    assert found.record["metrics"]["test"]["confusion"][1][1] == 0


def _net_of_rows() -> Any:
    import keras

    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), keras.layers.Dense(2)])


def test_a_killed_run_goes_on_and_t07_other_options_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    save = Checkpoint.save

    def saved_and_killed(self: Checkpoint, state: Any) -> None:
        save(self, state)
        raise KeyboardInterrupt

    words = ("--epochs", "4", "--train-per-class", "5")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "SECONDS", 0.0)
        patch.setattr(Checkpoint, "save", saved_and_killed)
        killed = run("transfer", *words)
    assert killed.exit_code in (1, 130)  # main() makes 130 of it
    assert "zoo transfer --resume runs/digits" in killed.stderr

    assert "Not finished: runs/digits.unfinished" in run("runs").stderr
    other = run("transfer", "--resume", "runs/digits", "--lr", "0.1")
    assert (other.exit_code, "lr 0.001 (now 0.1)" in other.stderr) == (2, True)
    named = run("transfer", "vgg16", "--resume", "runs/digits")
    assert (named.exit_code, "leave NAME away" in named.stderr) == (2, True)
    result = run("transfer", "--resume", "runs/digits", "--epochs", "4", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["training"]["epochs"] == 4
    assert not Path("runs/digits.unfinished").exists()


def test_what_was_searched_is_shown() -> None:
    result = run("transfer", "--reuse", "auto", "--freeze", "auto", "--max-trials", "2", *QUICK)

    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["reuse", "freeze", "hidden"]
    assert sum("chosen" in line for line in lines) == 1
    assert run("transfer", "--reuse", "auto", "--plan").exit_code == 0


def test_regression_and_labels_from_the_command_line(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 8, 8, 1))
    x = (255 * (x - x.min()) / np.ptp(x)).astype(np.uint8)
    np.savez("values.npz", x=x, y=x.mean(axis=(1, 2, 3)))
    np.savez("labels.npz", x=x, y=np.stack([x[:, 0, 0, 0] > 128, x[:, 7, 7, 0] > 128], axis=1).astype(int))

    values = run("transfer", "--data", "values.npz", "--task", "regression", "--epochs", "2")
    labels = run("transfer", "--data", "labels.npz", "--task", "multilabel", "--epochs", "2")

    assert (values.exit_code, "test error" in values.stdout) == (0, True), values.stderr
    assert (labels.exit_code, "test F1" in labels.stdout) == (0, True), labels.stderr
    assert {line.split()[-3] for line in run("runs").stdout.splitlines()[1:]} <= {"F1", "error"}


def test_a_regression_of_which_little_is_known() -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), np.uint8)
    np.savez("few.npz", x=x, y=1e-5 * np.arange(6))

    result = run("transfer", "--data", "few.npz", "--task", "regression", "--epochs", "1")

    assert result.exit_code == 0, result.stderr
    error = zoo.open_run("few").score
    assert f"{error:.4g}  (1 example)" in result.stdout  # one says nothing of an interval
    assert f"{error:.4g}" in run("runs").stdout


def test_t03_too_little_memory_says_what_to_do_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: Any) -> Any:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(fitting.Fitting, "_trained", exhausted)

    result = run("transfer", *QUICK)

    assert (result.exit_code, result.stdout) == (9, "")
    assert "Out of memory at batch size 32; try --batch-size 16" in " ".join(result.stderr.split())
    assert list(Path("runs").iterdir()) == []


def test_tensorboard_gets_every_epoch_once_also_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, epochs = tmp_path / "logs" / "digits", list[Any]()
    watched = TensorBoardLog.epoch

    def killed_at_the_third(self: TensorBoardLog, epoch: Any, **more: Any) -> None:
        watched(self, epoch, **more)
        epochs.append(epoch)
        if len(epochs) == 3:  # of which no checkpoint tells yet
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(TensorBoardLog, "epoch", killed_at_the_third)
        killed = run("transfer", "--epochs", "5", *QUICK[2:], "--tensorboard", str(tmp_path / "logs"))
    assert killed.exit_code in (1, 130)  # main() makes 130 of it
    result = run("transfer", "--resume", "digits")

    assert result.exit_code == 0, result.stderr
    for part in ("train", "validation"):
        steps = [
            event.step
            for file in sorted((log / part).glob("events.*"))
            for event in tf.compat.v1.train.summary_iterator(str(file))
            for value in event.summary.value
            if value.tag == "epoch_loss"
        ]
        assert steps == [0, 1, 2, 3, 4]


def test_lr_find_suggests_a_rate_and_draws_the_curve() -> None:
    result = run("lr-find", "--train-per-class", "20", "--html", "rates.html")
    found = json.loads(run("lr-find", "--train-per-class", "20", "--json").stdout)

    assert result.exit_code == 0, result.stderr
    assert 1e-4 < found["suggested"] < 1
    assert f"--lr {found['suggested']:.2g}" in result.stdout
    page = Path("rates.html").read_text()
    assert "default-src 'none'" in page
    assert page.count("<polyline") == 2
    assert not Path("runs").exists()  # nothing was trained
