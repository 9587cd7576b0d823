"""A restricted Boltzmann machine on the digits: zoo beside scikit-learn's `BernoulliRBM`, settings equal, in one run.

    python benchmarks/rbm.py [--hidden 256] [--batch 10,100] [--epochs 20] [--rounds 3]

All 1,797 digits, 64 gray pixels 0..1, float32. *Equal settings*: persistent chains, one step, as many as a batch has
examples, visible units drawn, no momentum and no weight decay, the same learning rate, the same kind of beginning;
only the order of the examples is another one every epoch with zoo. *CD-1, momentum* is what zoo does by itself, with
the learning rate of each method.
Rounds alternate; medians are shown. Both are judged by scikit-learn's code, `free_energy` of the machines put into a
`BernoulliRBM`: the log pseudo-likelihood over all pixels of all digits. An epoch's seconds are those of updates alone;
figures of an epoch (zoo), of which scikit-learn takes none, are shown beside them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.neural_network import BernoulliRBM

from zoo.pretraining.contrastive_divergence import RBMSettings
from zoo.pretraining.rbm import RBM
from zoo.pretraining.rbm_training import Seen, train_rbm
from zoo.training import Part

RATE = 0.1

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Measured:
    """One training: the log pseudo-likelihood at its end, seconds an epoch, and seconds beside the epochs."""

    score: float
    epoch: float
    beside: float


def main() -> None:
    """Trains with each, alternating, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--batch", default="10,100")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    x = (load_digits().data / 16).astype(np.float32)
    blank = RBM(np.zeros((64, options.hidden)), np.zeros(64), np.zeros(options.hidden))
    print(f"{len(x)} digits, {options.hidden} hidden units, {options.epochs} epochs; untrained: {judged(blank, x):.2f}")
    for batch in map(int, options.batch.split(",")):
        ways: dict[str, Callable[[int], Measured]] = {
            "scikit-learn": lambda seed, size=batch: theirs(x, options.hidden, size, options.epochs, seed),
            "zoo, equal settings": lambda seed, size=batch: ours(x, options.hidden, size, options.epochs, seed),
            "zoo, CD-1, momentum": lambda seed, size=batch: ours(
                x, options.hidden, size, options.epochs, seed, own=True
            ),
        }
        found = {name: list[Measured]() for name in ways}
        for seed in range(options.rounds):
            for name, way in ways.items():
                found[name].append(way(seed))
        base = statistics.median(each.epoch for each in found["scikit-learn"])
        for name, rounds in found.items():
            score, epoch, beside = (statistics.median(getattr(each, of) for each in rounds) for of in FIGURES)
            print(
                f"batch {batch:4}  {name:20} log pseudo-likelihood {score:7.2f}   {epoch * 1000:7.1f} ms an epoch "
                f"({base / epoch:4.1f} x), {beside:4.1f} s beside",
                flush=True,
            )


FIGURES = ("score", "epoch", "beside")


def theirs(x: Floats, hidden: int, batch: int, epochs: int, seed: int) -> Measured:
    """Returns what scikit-learn does."""
    machine = BernoulliRBM(hidden, learning_rate=RATE, batch_size=batch, n_iter=epochs, random_state=seed)
    began = time.perf_counter()
    machine.fit(x)
    seconds = time.perf_counter() - began
    found = RBM(machine.components_.T, machine.intercept_visible_, machine.intercept_hidden_)
    return Measured(judged(found, x), seconds / epochs, 0.0)


def ours(x: Floats, hidden: int, batch: int, epochs: int, seed: int, *, own: bool = False) -> Measured:
    """Returns what zoo does: with scikit-learn's settings, or with its own."""
    equal = {"persistent": True, "sample_visible": True, "momentum": 0.0, "weight_decay": 0.0, "learning_rate": RATE}
    settings = RBMSettings((hidden,), batch_size=batch, epochs=epochs, seed=seed, **({} if own else equal))  # type: ignore[arg-type]
    weights = np.random.default_rng(seed).normal(0, 0.01, (64, hidden))
    first = RBM(weights, np.zeros(64), np.zeros(hidden))
    part, none = (Part(x, np.zeros(len(x), np.int64), np.arange(count)) for count in (len(x), 0))
    began = time.perf_counter()
    machine, history = train_rbm(first, Seen(part, none), settings)
    seconds = time.perf_counter() - began
    epoch = statistics.median(each.seconds for each in history.epochs)
    return Measured(judged(machine, x), epoch, seconds - sum(each.seconds for each in history.epochs))


def judged(rbm: RBM, x: Floats) -> float:
    """Returns the mean log pseudo-likelihood over all pixels, by scikit-learn's free energies."""
    judge = BernoulliRBM()
    judge.components_ = rbm.weights.T.astype(np.float64)
    judge.intercept_hidden_ = rbm.hidden_bias.astype(np.float64)
    judge.intercept_visible_ = rbm.visible_bias.astype(np.float64)
    v = x.astype(np.float64)
    before, total = judge._free_energy(v), 0.0
    for unit in range(v.shape[1]):
        moved = v.copy()
        moved[:, unit] = 1 - moved[:, unit]
        total -= float(np.logaddexp(0, before - judge._free_energy(moved)).mean())
    return total


if __name__ == "__main__":
    main()
