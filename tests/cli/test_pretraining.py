"""`zoo pretrain`: options that reach the method, what people and machines are told, and going on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from zoo.cli import pretraining
from zoo.cli.main import cli

from zoo import making
from zoo.errors import DiskError
from zoo.pretraining.auxiliary import AUXILIARY_LOSSES, AUXILIARY_TASKS
from zoo.pretraining.losses import PAIR_LOSSES
from zoo.pretraining.methods import METHODS, option_names
from zoo.pretraining.pairs import IDENTITIES
from zoo.pretraining.stack import LOSSES


def run(*words: str) -> Result:
    """Calls a command in this process; standard output and standard error apart."""
    return CliRunner().invoke(cli, words)


def choices(option: str) -> tuple[str, ...]:
    found: Any = next(each.type for each in pretraining.pretrain.params if each.name == option)
    return tuple(found.choices)


def test_the_command_line_has_all_that_python_has() -> None:
    """It writes choices out, so that help needs no TensorFlow."""
    assert tuple(METHODS) == pretraining.METHODS
    assert choices("task") == AUXILIARY_TASKS
    assert choices("loss") == (*LOSSES, *AUXILIARY_LOSSES, *PAIR_LOSSES)
    assert choices("identity") == IDENTITIES
    options = {each.name for each in pretraining.pretrain.params}
    assert set.union(*(option_names(method) for method in METHODS.values())) <= options


def test_options_reach_the_method() -> None:
    result = run(
        "pretrain", "autoencoder", "--conv", "4", "--units", "12,6", "--mask", "20%", "--noise", "0.1", "--tied",
        "--sparsity", "0.1", "--sparsity-weight", "0.2", "--finetune", "--loss", "crossentropy", "--epochs", "1",
        "--batch-size", "64", "--lr", "1/500", "--patience", "3", "--optimizer", "sgd", "--seed", "4", "--name", "mine",
        "--json",
    )  # fmt: skip

    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    settings, fit = document["settings"], document["settings"]["fit"]
    assert (settings["conv"], settings["units"], settings["tied"], settings["finetune"]) == ([4], [12, 6], True, True)
    assert settings["corruption"] == {"mask": 0.2, "noise": 0.1}
    assert (settings["sparsity"], settings["sparsity_weight"], settings["loss"]) == (0.1, 0.2, "crossentropy")
    assert (fit["epochs"], fit["batch_size"], fit["learning_rate"], fit["patience"]) == (1, 64, 0.002, 3)
    assert (fit["optimizer"]["name"], fit["seed"], document["split"]["seed"]) == ("sgd", 4, 4)
    assert (document["model"], document["path"]) == ("mine", "runs/mine")


def test_what_people_are_told_and_what_they_do_next() -> None:
    result = run("pretrain", "rbm", "--units", "24,12", "--epochs", "2", "--name", "mine")

    assert result.exit_code == 0, result.stderr
    for words in ("2 units learned from digits", "left aside", "runs/mine/report.html", "zoo transfer mine --data D"):
        assert words in result.stdout
    for words, shown in (
        (("list", "mine"), "local"), (("show", "mine"), "A deep belief network of digits"),
        (("layers", "mine"), "the classifier, always replaced"), (("runs",), "rbm"),
    ):  # fmt: skip
        found = run(*words)
        assert found.exit_code == 0, found.stderr
        assert shown in found.stdout
    (document,) = json.loads(run("runs", "--json").stdout)
    assert (document["kind"], document["method"]) == ("pretraining", "rbm")
    again = run("transfer", "mine", "--epochs", "1", "--train-per-class", "3")
    assert again.exit_code == 0, again.stderr
    assert [each["kind"] for each in json.loads(run("runs", "--json").stdout)] == ["transfer", "pretraining"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "Expected a method"),
        (("rbm",), 2, "--units 300,100"),
        (("rbm", "--units", "8", "--mask", "0.1"), 2, "'mask' is of autoencoder"),
        (("autoencoder", "--units", "8", "--size", "0x3"), 2, "height x width"),
        (("rbm", "--units", "8", "--data", "nowhere"), 3, "nowhere"),
        (("--resume", "nowhere"), 3, "No unfinished run"),
        (("rbm", "--resume", "nowhere"), 2, "leave METHOD away"),
        (("--resume", "nowhere", "--batch-size", "3"), 2, "leave --batch-size away"),
        (("--resume", "nowhere", "--name", "other"), 3, "No unfinished run"),
        (("rbm", "--units", "8", "--mask", "0.1", "--data", "nowhere"), 2, "'mask' is of autoencoder"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], code: int, message: str) -> None:
    result = run("pretrain", *words)

    assert result.exit_code == code
    assert message in result.stderr


def test_a_killed_one_is_told_of_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).random((60, 6)))
    with monkeypatch.context() as patch:
        patch.setattr("zoo.training.checkpoints.SECONDS", 0.0)
        patch.setattr(making, "write_pretraining", lambda *_: (_ for _ in ()).throw(DiskError("stands for a kill")))
        words = ("rbm", "--data", str(tmp_path / "rows.npz"), "--units", "4", "--epochs", "2", "--name", "mine")
        assert run("pretrain", *words).exit_code == 6
    assert "zoo pretrain --resume runs/mine" in run("runs").stderr
    assert "zoo pretrain --resume runs/mine" in run("transfer", "--resume", "runs/mine").stderr

    result = run("pretrain", "--resume", "runs/mine")

    assert result.exit_code == 0, result.stderr
    assert "zoo transfer mine" in result.stdout
