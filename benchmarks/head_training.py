"""Microseconds a step of training a head on features: whole epochs in compiled code against `keras.Model.fit`.

    python benchmarks/head_training.py [--rounds 5]

5,000 x 2,048 features, 10 classes, batch 32, Adam 0.001, the same initial weights and the same order of examples, so
both must end with the same loss. Compiling is left out of both (a first epoch is run before the clock starts);
rounds alternate, and medians are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from zoo.training import FitSettings, Part, fit

EXAMPLES, WIDTH, CLASSES, BATCH, EPOCHS = 5_000, 2_048, 10, 32, 5
STEPS = -(-EXAMPLES // BATCH)


def head() -> keras.Model:
    """Returns logits of features; always the same initial weights."""
    kernel = keras.initializers.GlorotUniform(seed=0)
    return keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(CLASSES, kernel_initializer=kernel)])


def ours(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Returns microseconds a step and the last epoch's loss."""
    everything, nothing = Part(x, y, np.arange(EXAMPLES)), Part(x, y, np.arange(0))
    history = fit(head(), everything, nothing, FitSettings(epochs=EPOCHS + 1, batch_size=BATCH, shuffle=False))
    seconds = sum(epoch.seconds for epoch in history.epochs[1:])
    return seconds / (EPOCHS * STEPS) * 1e6, history.epochs[-1].loss


def keras_fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Returns microseconds a step and the last epoch's loss."""
    model = head()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.001), loss)
    model.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
    began = time.perf_counter()
    history = model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0)
    return (time.perf_counter() - began) / (EPOCHS * STEPS) * 1e6, history.history["loss"][-1]


def main() -> None:
    """Runs both, alternating, and prints medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(EXAMPLES, WIDTH)).astype(np.float32)
    y = rng.integers(0, CLASSES, EXAMPLES)
    rounds = [(ours(x, y), keras_fit(x, y)) for _ in range(parser.parse_args().rounds)]
    mine, theirs = (statistics.median(each[side][0] for each in rounds) for side in (0, 1))
    print(f"zoo        {mine:8.0f} us a step, final loss {rounds[0][0][1]:.6f}")
    print(f"keras fit  {theirs:8.0f} us a step, final loss {rounds[0][1][1]:.6f}")
    print(f"ratio      {theirs / mine:8.1f} times fewer")


if __name__ == "__main__":
    main()
