"""The embedded model's making: letters only, reproducible from a seed, and as good as the registry says."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import zoo
from zoo.pretraining import letters

TINY = """
import sys
from zoo.pretraining import letters
letters.FONTS, letters.PER_EPOCH, letters.VALIDATION = letters.FONTS[:2], 256, 104
sys.argv = ["letters", "--out", sys.argv[1], "--epochs", "1", "--seed", sys.argv[2]]
letters.main()
"""


def made(folder: Path, name: str, seed: int) -> bytes:
    """A net trained for two steps in a process of its own: the training makes all of TensorFlow deterministic."""
    path = folder / name
    subprocess.run([sys.executable, "-c", TINY, str(path), str(seed)], capture_output=True, check=True)
    return path.read_bytes()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    first = made(tmp_path, "first.keras", 1)
    assert made(tmp_path, "second.keras", 1) == first
    assert made(tmp_path, "other.keras", 2) != first


def test_only_letters_are_drawn() -> None:
    assert len(letters.LETTERS) == 52
    assert letters.LETTERS.isalpha()


@pytest.mark.slow
def test_the_registry_tells_the_true_accuracy() -> None:
    """On 1,040 new renderings of all fonts, within four standard errors of what the registry says."""
    entry, model = zoo.find_entry("letters-cnn"), zoo.load_model("letters-cnn")
    x, y = letters.examples(letters.distances(), 1040, np.random.default_rng(99))
    accuracy = float((np.asarray(model(x)).argmax(axis=1) == y).mean())
    claimed = entry.metrics["letters_top1"]
    assert abs(accuracy - claimed) < 4 * math.sqrt(claimed * (1 - claimed) / len(y))
    assert entry.params == model.count_params()
    assert entry.units == len(zoo.split_units(model))
