"""`zoo evaluate` and `zoo compare` as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from zoo.cli.main import cli

from zoo.pipeline import transfer


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on the same data: one that learned, and one that hardly did."""
    folder = tmp_path_factory.mktemp("runs")
    transfer(data="digits:2-5", train_per_class=20, epochs=4, lr=0.01, out=folder / "good", home=folder / "home")
    transfer(data="digits:2-5", train_per_class=1, epochs=1, out=folder / "bad", home=folder / "home")
    return folder


def test_compare_says_which_is_better_and_whether_that_is_real(folder: Path) -> None:
    result = run("compare", str(folder / "bad"), str(folder / "good"))
    assert result.exit_code == 0, result.output
    head, accuracy, *_ = result.stdout.splitlines()
    assert head.split()[0] == "figure"
    assert accuracy.split()[0] == "accuracy"
    assert accuracy.split()[-2:] == ["<0.001", "real"]
    assert f"{folder / 'good'} is better than {folder / 'bad'}" in result.stdout
    assert result.stdout.rstrip().endswith("The difference is real.")


def test_compare_as_json(folder: Path) -> None:
    result = run("compare", str(folder / "good"), str(folder / "bad"), "--json")
    document = json.loads(result.stdout)
    assert document["is_real"] is True
    assert [each["name"] for each in document["differences"]] == ["accuracy", "loss", "macro_f1"]
    assert document["differences"][0]["difference"] < 0


def test_evaluate_shows_figures_classes_and_mistakes(folder: Path) -> None:
    result = run("evaluate", str(folder / "good"), "--data", "digits:2-3")
    assert result.exit_code == 0, result.output
    assert "accuracy" in result.stdout
    assert "95 % interval" in result.stdout
    assert "class  examples  precision  recall" in result.stdout
    assert "flatter" in result.stderr
    assert "No example is of the class '4', '5'" in result.stderr


def test_evaluate_as_json_is_what_the_run_says_of_its_test_part(folder: Path) -> None:
    result = run("evaluate", str(folder / "good"), "--data", "digits:2-5", "--part", "test", "--json")
    document = json.loads(result.stdout)
    record = json.loads((folder / "good" / "run.json").read_text())
    assert document["accuracy"] == record["metrics"]["test"]["accuracy"]
    assert (document["part"], document["data"]) == ("test", "digits:2-5")
    assert document["warnings"] == []


def test_what_is_wrong_ends_with_its_exit_code(folder: Path) -> None:
    good = str(folder / "good")
    assert run("compare", good, good).exit_code == 2
    assert run("compare", good, "nowhere").exit_code == 3
    assert run("evaluate", good).exit_code == 2
    assert run("evaluate", good, "--data", "nowhere").exit_code == 3
    assert run("evaluate", "nowhere", "--data", "digits").exit_code == 3
    assert run("evaluate", good, "--data", "digits", "--part", "some").exit_code == 2
