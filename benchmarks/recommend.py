"""How well `zoo recommend` orders models, against how well they do once they are transferred.

    python benchmarks/recommend.py [--seeds 5] [--per-class 10 20] [--epochs 3]

Nine nets are made on the spot, of one shape in several widths: trained on letters wholly, half and hardly at all; on
letters whose pixels are shuffled; on textures; on random labels; not at all, twice. With the embedded letters-cnn they
are transferred to handwritten digits, and the accuracy on the test part is compared with what was said before, from
training examples alone. For each score: Kendall's tau (tau-b; 1: the same order, 0: none, -1: the reverse) between the
score and the accuracy, and how much accuracy one loses by taking the model that it puts first. A seed decides the
split, the new weights and the order of the examples; the nets are the same for all seeds.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray
from scipy.stats import kendalltau

import zoo
from zoo.pretraining.letters import LETTERS, distances, examples
from zoo.recommending import recommend

Array = NDArray[Any]

COUNT = 20_000  # pictures of each task
SCORES: dict[str, Callable[[Any], float]] = {
    "zoo recommend: mean of four ranks": lambda each: -each.rank,
    "linear probe, log-loss": lambda each: -each.loss,
    "linear probe, accuracy": lambda each: each.score,
    "nearest neighbour": lambda each: each.nearest,
    "H-score, shrunk": lambda each: each.h_score,
    "LogME": lambda each: each.log_me,
    "static: number of parameters": lambda each: each.params,
}


def net(name: str, width: int, classes: int) -> keras.Model:
    """Returns an untrained net: three convolutions and a dense layer below the classifier."""
    keras.utils.set_random_seed(len(name) + width)
    stack: list[Any] = [keras.Input((28, 28, 1)), layers.Rescaling(1 / 255)]
    for number, factor in enumerate((1, 2, 4), 1):
        stack += [
            layers.Conv2D(width * factor, 3, strides=2, padding="same", use_bias=False, name=f"conv{number}"),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
        ]
    stack += [layers.Flatten(), layers.Dense(width * 8, activation="relu"), layers.Dense(classes)]
    return keras.Sequential(stack, name=name)


def textures(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Returns waves of ten frequencies, in any direction and phase, in noise: pictures 0..255, and the frequency."""
    y, x = np.mgrid[:28, :28] / 28.0
    labels, turn, phase = rng.integers(10, size=count), rng.uniform(0, np.pi, count), rng.uniform(0, 2 * np.pi, count)
    along = np.cos(turn)[:, None, None] * x + np.sin(turn)[:, None, None] * y
    waves = np.sin(2 * np.pi * (1 + labels)[:, None, None] * along + phase[:, None, None])
    pictures = 128 + 60 * waves + rng.normal(0, 50, waves.shape)
    return np.clip(pictures, 0, 255).astype(np.float32)[..., None], labels


def make_nets(epochs: int) -> list[keras.Model]:
    """Returns the nets, trained."""
    rng = np.random.default_rng(0)
    x, y = examples(distances(), COUNT, rng)
    x = x * np.float32(255)
    shuffled = x.reshape(len(x), -1)[:, rng.permutation(28 * 28)].reshape(x.shape)
    waves, frequency = textures(COUNT, rng)
    count = len(LETTERS)
    noise = rng.integers(10, size=len(y))
    plan: list[tuple[str, int, int, Array, Array, int]] = [
        ("letters", 16, count, x, y, COUNT * epochs),
        ("letters-half", 16, count, x, y, COUNT // 2),
        ("letters-hardly", 16, count, x, y, 2000),
        ("letters-narrow", 6, count, x, y, COUNT * epochs),
        ("letters-shuffled", 24, count, shuffled, y, COUNT * epochs),
        ("textures", 24, 10, waves, frequency, COUNT * epochs),
        ("random-labels", 16, 10, x[:2000], noise[:2000], COUNT * epochs),
        ("random", 16, count, x, y, 0),
        ("random-wide", 40, count, x, y, 0),
    ]
    nets = []
    for name, width, classes, pictures, labels, seen in plan:
        model = net(name, width, classes)
        if seen:
            train(model, pictures, labels, seen)
        else:
            settle(model, pictures)
        nets.append(model)
    return nets


def train(model: keras.Model, x: Array, y: Array, seen: int) -> None:
    """Trains a net until it has seen so many pictures."""
    began = time.perf_counter()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.002), loss, metrics=["accuracy"])
    done = model.fit(x[:seen], y[:seen], batch_size=64, epochs=max(1, seen // len(x)), verbose=0)
    accuracy = done.history["accuracy"][-1]
    print(f"{model.name}: {accuracy:.3f} right in training, {time.perf_counter() - began:.0f} s", flush=True)


def settle(model: keras.Model, x: Array) -> None:
    """Gives BatchNormalization the statistics of pictures, so that an untrained net puts out numbers of usual size."""
    for begin in range(0, 64 * 50, 64):
        model(x[begin : begin + 64], training=True)


def main() -> None:
    """Makes the nets, ranks and transfers them for every seed, and prints Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--per-class", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    models: list[str | keras.Model] = ["letters-cnn", *make_nets(options.epochs)]
    taus: dict[tuple[str, int], list[float]] = {}
    losses: dict[tuple[str, int], list[float]] = {}
    accuracies: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as home:
        for count, seed in itertools.product(options.per_class, range(options.seeds)):
            began = time.perf_counter()
            found = recommend("digits", models, train_per_class=count, seed=seed, home=home)
            seconds = time.perf_counter() - began
            true = {}
            for model in models:
                run = zoo.transfer(model, train_per_class=count, seed=seed, home=home, out=Path(home) / "run")
                name = model if isinstance(model, str) else model.name
                true[name] = run.accuracy
                accuracies.setdefault((name, count), []).append(run.accuracy)
            reached = [true[each.name] for each in found.candidates]
            for score, of in SCORES.items():
                said = [of(each) for each in found.candidates]
                taus.setdefault((score, count), []).append(float(kendalltau(said, reached).statistic))
                losses.setdefault((score, count), []).append(max(reached) - reached[int(np.argmax(said))])
            whole = time.perf_counter() - began
            print(f"{count} a class, seed {seed}: ranked in {seconds:.1f} s, transferred in {whole - seconds:.1f} s")
    _table("Kendall's tau, and accuracy lost by the first", options.per_class, [taus, losses], list(SCORES))
    names = [model if isinstance(model, str) else model.name for model in models]
    _table("test accuracy after transfer", options.per_class, [accuracies], names)


def _table(title: str, counts: list[int], figures: list[dict[tuple[str, int], list[float]]], names: list[str]) -> None:
    print(f"\n| {title} |", " | ".join(f"{count} a class" for count in counts), "|")
    print("|---|" + "---|" * len(counts))
    for name in names:
        cells = ["; ".join(_mean(each[name, count]) for each in figures) for count in counts]
        print(f"| {name} |", " | ".join(cells), "|")


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values) / max(1, len(values) - 1) ** 0.5:.3f}"


if __name__ == "__main__":
    main()
