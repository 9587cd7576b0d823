"""The commands: what they print where, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from zoo.cli.main import cli
from zoo.cli.output import plain, size

import zoo


def run(*words: str) -> Result:
    """Calls a command in this process; standard output and standard error apart."""
    return CliRunner().invoke(cli, words)


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in ("list", "show", "layers", "transfer", "predict", "runs"))


@pytest.mark.parametrize("command", ["list", "show", "layers", "transfer", "predict", "runs"])
def test_every_command_explains_its_options(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout


def test_list_and_show() -> None:
    assert "letters-cnn" in run("list").stdout
    entries = json.loads(run("list", "--json").stdout)
    assert [(entry["name"], entry["source"]) for entry in entries] == [("letters-cnn", "embedded")]
    nothing = run("list", "vgg*")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "No model matches" in nothing.stderr
    assert json.loads(run("list", "vgg*", "--json").stdout) == []
    shown = run("show", "letters-cnn").stdout
    assert "28x28x1 gray" in shown
    assert json.loads(run("show", "letters-cnn", "--json").stdout)["units"] == 6


def test_layers() -> None:
    units = json.loads(run("layers", "letters-cnn", "--json").stdout)
    assert [unit["index"] for unit in units] == [1, 2, 3, 4, 5, 6]
    assert {"index", "name", "layers", "output_shape", "params"} <= set(units[0])
    assert sum(unit["params"] for unit in units) == zoo.find_entry("letters-cnn").params
    table = run("layers").stdout
    assert "always replaced" in table
    assert "multiply-adds" in table


def test_transfer_predict_and_runs(tmp_path: Path) -> None:
    words = ("transfer", "--reuse", "4", "--freeze", "4", "--train-per-class", "10")
    made = run(*words)
    assert made.exit_code == 0, made.stderr
    assert "test accuracy" in made.stdout
    assert "runs/digits/report.html" in made.stdout
    assert Path("runs/digits/report.html").exists()
    record = json.loads(run(*words, "--json").stdout)
    assert record["features"]["misses"] == 0
    assert record["metrics"]["test"]["accuracy"] == zoo.open_run("runs/digits").accuracy

    pictures = zoo.open_data("digits")
    Image.fromarray(pictures.read(np.array([3]))[0][..., 0]).save(tmp_path / "seven.png")
    (answer,) = json.loads(run("predict", "runs/digits", str(tmp_path / "seven.png"), "--json").stdout)
    assert set(answer) == {"file", "label", "probability"}
    assert answer["file"].endswith("seven.png")
    assert 0 < answer["probability"] <= 1
    assert "seven.png" in run("predict", "digits", str(tmp_path)).stdout

    assert [Path(each["path"]).name for each in json.loads(run("runs", "--json").stdout)] == [
        "digits-2",
        "digits",
    ]
    assert "letters-cnn" in run("runs").stdout


def test_plan_does_nothing(home: Path) -> None:
    result = run("transfer", "--reuse", "3", "--freeze", "2", "--hidden", "20,10", "--plan")
    assert result.exit_code == 0
    assert "14,944 frozen" in result.stdout  # conv1 and conv2 with their normalization
    assert "to compute" in result.stdout
    plan = json.loads(run("transfer", "--reuse", "3", "--freeze", "2", "--plan", "--json").stdout)
    assert (plan["reuse"], plan["freeze"], plan["cached"]) == (3, 2, 0)
    assert "nothing is frozen" in run("transfer", "--freeze", "0", "--plan").stdout
    assert not Path("runs").exists()
    assert not home.exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("transfer --reuse 9", 2, "--reuse 0 to 5"),
        ("transfer --freeze 4 --reuse 3", 2, "--freeze 0 to 3"),
        ("transfer --reuse conv[13]", 2, "leaves out unit 2"),
        ("transfer --hidden ten", 2, "expected widths such as 20,10"),
        ("transfer --pool mean", 2, "'avg', 'max', 'avgmax', 'flatten'"),
        ("transfer --lr 0", 2, "--lr"),
        ("transfer leters-cnn", 3, "Did you mean letters-cnn?"),
        ("transfer --data digts", 3, "Did you mean digits"),
        ("transfer --data digits:4", 8, "at least two"),
        ("transfer --out /proc/run", 6, "--out"),
        ("show vgg61", 3, "zoo list"),
        ("layers nothing", 3, "zoo list"),
        ("predict nothing picture.png", 3, "zoo runs"),
        ("fly", 2, "No such command 'fly'"),
    ],
)
def test_wrong_use_answers_well(words: str, code: int, message: str) -> None:
    result = run(*words.split())
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_fault_of_ours_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "list_models", lambda pattern: 1 / 0, raising=False)
    result = run("list")
    assert result.exit_code == 1
    assert "fault of zoo" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in run("--debug", "list").stderr


def test_a_full_disk_ends_with_6_and_leaves_nothing(tmp_path: Path) -> None:
    """300 kB hold the digits' features at unit 5, but not the run beside them."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        result = run("transfer", "--train-per-class", "2", "--epochs", "1", "--out", str(disk / "run"))
        assert result.exit_code == 6
        assert str(disk) in result.stderr
        assert "space" in result.stderr
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_k14_an_interruption_leaves_nothing_half_written(number: int, code: int) -> None:
    script = Path(sys.executable).with_name("zoo")
    child = subprocess.Popen(
        [script, "transfer", "--reuse", "3", "--freeze", "0", "--epochs", "100000", "--patience", "100000"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    while not list(Path("runs").glob(".*")):  # the private folder: the work has begun
        assert child.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    child.send_signal(number)
    _, message = child.communicate()
    assert child.returncode == code
    assert number == signal.SIGTERM or "run the same command again" in message
    assert list(Path("runs").iterdir()) == []


def test_text_from_files_cannot_steer_the_terminal() -> None:
    assert plain("a\x1b[31mb\u202ec\nd") == "a�[31mb�c�d"


def test_sizes() -> None:
    assert [size(count) for count in (None, 999, 1_000, 528_000_000)] == ["?", "999 B", "1.0 kB", "528.0 MB"]
