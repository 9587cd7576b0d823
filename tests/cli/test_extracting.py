"""`zoo features`, and a transfer on a folder of pictures, as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from zoo.cli.main import cli


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Twenty pictures of two classes, and one broken file."""
    rng = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / "flowers" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(path)
    (tmp_path / "flowers" / "class0" / "broken.jpg").write_bytes(b"\xff\xd8\xff but no more")
    return tmp_path / "flowers"


def test_features_are_computed_once_and_written(flowers: Path) -> None:
    words = ("features", "letters-cnn", "--data", str(flowers), "--max-bad", "10%")
    first = run(*words, "--json", "--out", "flowers.npz")
    assert first.exit_code == 0, first.output
    document = json.loads(first.stdout)
    assert (document["misses"], document["shape"][0], document["out"]) == (20, 20, "flowers.npz")
    assert [each["path"] for each in document["bad_files"]] == ["class0/broken.jpg"]
    with np.load("flowers.npz") as written:
        assert written["x"].shape == tuple(document["shape"])
    second = run(*words)
    assert "20 found, 0 computed" in second.stdout
    assert "1 file" in second.stdout


def test_b04_too_many_bad_files_end_with_8(flowers: Path) -> None:
    for command in (("features", "letters-cnn"), ("transfer", "letters-cnn")):
        result = run(*command, "--data", str(flowers))
        assert result.exit_code == 8
        assert "1 of 21 files" in result.stderr
        assert "--max-bad 5%" in result.stderr


def test_a_transfer_on_a_folder_says_what_it_passed_over(flowers: Path) -> None:
    result = run("transfer", "--data", str(flowers), "--max-bad", "5%", "--epochs", "1", "--views", "1")
    assert result.exit_code == 0, result.output
    assert "broken.jpg" in result.stderr or "1 file" in result.stderr
    assert Path("runs/flowers/bad_files.jsonl").read_text().count("\n") == 1
    plan = run("transfer", "--data", str(flowers), "--max-bad", "5%", "--plan", "--json")
    assert json.loads(plan.stdout)["cached"] == 20


def test_what_cannot_be_asked_for_ends_with_2(flowers: Path) -> None:
    assert run("features", "--engine", "torch").exit_code == 2
    assert run("features", "--precision", "bfloat16").exit_code == 2
    assert run("features", "--freeze", "0").exit_code == 2
    assert run("features", "--data", str(flowers.parent / "nothing")).exit_code == 3
