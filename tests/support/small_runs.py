"""Small runs, made once a process: of pictures, and of rows with several labels or values."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import zoo

SIDE = 8  # of a picture of the digits


@cache
def _root() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="zoo-runs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _digits() -> Path:
    made = zoo.transfer(
        reuse=3, freeze=2, train_per_class=10, epochs=2, out=_root() / "digits", home=_root() / "home", seed=1
    )
    return made.path


@cache
def _rows(task: Any) -> Path:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 4)).astype(np.float32)
    y = (x[:, :3] > 0).astype(np.uint8) if task == "multilabel" else 1000 + 50 * x[:, :1]
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4,)), keras.layers.Dense(8, "tanh", name="lower"), keras.layers.Dense(2, name="upper")]
    net = keras.Sequential(layers, name="net")
    data = zoo.open_data((x, y), task=task)
    return zoo.transfer(net, data, epochs=2, out=_root() / task, home=_root() / "home").path


def small_run(task: str = "classification") -> zoo.Run:
    """Returns a run, read anew: of the digits, or of rows of 4 numbers (`multilabel` of 3 labels, `regression`)."""
    return zoo.Run(_digits() if task == "classification" else _rows(task))


def digit(number: int, size: tuple[int, int] = (SIDE, SIDE)) -> NDArray[np.uint8]:
    """Returns a picture of the digits at a size (height and width), [h, w]."""
    picture = zoo.open_data("digits").read(np.array([number]))[0][..., 0]
    return np.asarray(Image.fromarray(picture).resize(size[::-1]))


def save_digit(path: Path, number: int, size: tuple[int, int] = (SIDE, SIDE)) -> Path:
    """Writes a picture of the digits to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(digit(number, size)).save(path)
    return path
