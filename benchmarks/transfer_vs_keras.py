"""A whole transfer against the two ways of Keras' guide to transfer learning, on the same pictures and the same net.

    python benchmarks/transfer_vs_keras.py [--net MobileNetV2] [--pictures 512] [--rounds 5] [--slow-rounds 5]

The same job each time: train a new head for ten epochs (batch 32, Adam) on the same training pictures, look at the
validation pictures after each epoch, and at the test pictures once. The net is built before, and imports are done.

- *inside*: the frozen net inside the model, `image_dataset_from_directory` and `fit`, as the guide begins.
- *features*: `predict` over the pictures once, into memory, then `fit` on that, as the guide ends.
- *zoo*: `zoo.transfer`, with its run folder, saved model, parity check and report. Cold: an empty `$ZOO_HOME`, so every
  file is inspected, decoded and run through the trunk. Warm: the features are there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pictures as made

import zoo
from zoo.data import open_data
from zoo.surgery import Head, Surgery
from zoo.training import FitSettings, Part, fit

EPOCHS, BATCH = 10, 32
SCALE, MEAN = 1 / 127.5, 1.0
SPEC = zoo.InputSpec((224, 224, 3), scale=SCALE, mean=(MEAN,))
STEPS = ("data", "build", "features", "training", "save", "report")


def main() -> None:
    """Runs all ways in turn, several times, and prints medians, ratios and where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--net", default="MobileNetV2")
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=5, help="of the first way, which takes minutes; 0: none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "pictures"
        size = made.write_jpegs(data, options.pictures)
        print(f"{options.net}, {options.pictures} JPEGs of {size / 1000:.0f} kB", flush=True)
        net = made.calibrated(options.net, data, SCALE, MEAN)
        Ways(net, data, Path(place)).compare(options.rounds, options.slow_rounds)


class Ways:
    """The ways to do the same job."""

    def __init__(self, net: keras.Model, data: Path, place: Path) -> None:
        self._net, self._data, self._place = net, data, place
        self._base = keras.Model(net.input, net.layers[-2].output)  # up to the pooled features
        self._seconds: dict[str, list[float]] = {}
        self._accuracy: dict[str, float] = {}
        self._steps: dict[str, dict[str, float]] = {}

    def compare(self, rounds: int, slow_rounds: int) -> None:
        """Runs all of them in turn, and prints what is known after each round."""
        for number in range(rounds):
            if number < slow_rounds:
                self._measure("keras: inside", self._inside)
            self._measure("keras: features", self._features)
            for name, engine in (("tensorflow", "tensorflow"), ("onnxruntime", "onnxruntime")):
                home = self._place / f"home-{name}"
                shutil.rmtree(home, ignore_errors=True)
                self._measure(f"zoo: cold, {name}", lambda home=home, engine=engine: self._zoo(home, engine))
                if name == "onnxruntime":
                    for part in ("features", "contents.sqlite"):
                        self._remove(home / part)
                    self._measure(
                        "zoo: cold, onnxruntime, trunk stored", lambda home=home, engine=engine: self._zoo(home, engine)
                    )
                self._measure(f"zoo: warm ({name})", lambda home=home: self._zoo(home, "tensorflow"))
            self._cut, self._opened = Surgery(self._net, head=Head(2), preprocessing=SPEC), open_data(str(self._data))
            self._measure("zoo: features and fit alone, warm", self._alone)
            self._show()

    @staticmethod
    def _remove(path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def _measure(self, name: str, way: Callable[[], float]) -> None:
        began = time.perf_counter()
        accuracy = way()
        self._seconds.setdefault(name, []).append(time.perf_counter() - began)
        self._accuracy[name] = accuracy
        if name.startswith("zoo") and "alone" not in name:
            self._steps[name] = self._last.record["timings"]

    def _datasets(self) -> dict[str, object]:
        return {
            part: keras.utils.image_dataset_from_directory(
                self._data / part, image_size=(224, 224), batch_size=BATCH, shuffle=part == "train", seed=0, verbose=0
            )
            for part in ("train", "val", "test")
        }

    def _inside(self) -> float:
        data = self._datasets()
        self._base.trainable = False
        picture = keras.Input((224, 224, 3))
        scaled = keras.layers.Rescaling(SCALE, -MEAN)(picture)
        logits = keras.layers.Dense(2)(self._base(scaled, training=False))
        model = keras.Model(picture, logits)
        _compile(model)
        model.fit(data["train"], validation_data=data["val"], epochs=EPOCHS, verbose=0)
        return float(model.evaluate(data["test"], verbose=0, return_dict=True)["accuracy"])

    def _features(self) -> float:
        picture = keras.Input((224, 224, 3))
        scaled = keras.layers.Rescaling(SCALE, -MEAN)(picture)
        trunk = keras.Model(picture, self._base(scaled, training=False))
        parts = {}
        for part, data in self._datasets().items():
            batches = [(trunk.predict_on_batch(x), y) for x, y in data]
            parts[part] = tuple(np.concatenate(each) for each in zip(*batches, strict=True))
        head = keras.Sequential([keras.Input(trunk.output_shape[1:]), keras.layers.Dense(2)])
        _compile(head)
        head.fit(*parts["train"], batch_size=BATCH, validation_data=parts["val"], epochs=EPOCHS, verbose=0)
        return float(head.evaluate(*parts["test"], verbose=0, return_dict=True)["accuracy"])

    def _zoo(self, home: Path, engine: str) -> float:
        os.environ["ZOO_HOME"] = str(home)  # what is known of files, too
        self._last = zoo.transfer(
            self._net, self._data, epochs=EPOCHS, batch_size=BATCH, preprocessing=SPEC, engine=engine, home=home,
            out=self._place / "run",
        )  # fmt: skip
        shutil.rmtree(self._last.path)
        return self._last.accuracy

    def _alone(self) -> float:
        """The part of a warm transfer that repeats most: get the features, fit a head on them."""
        x = zoo.FeatureCache(self._place / "home-tensorflow").features(self._cut.trunk, self._opened)
        rows = [np.flatnonzero(self._opened.parts == part) for part in range(3)]
        train, validation = (Part(x, self._opened.labels, each) for each in rows[:2])
        fit(self._cut.logits, train, validation, FitSettings(EPOCHS, BATCH))
        return float("nan")

    def _show(self) -> None:
        medians = {name: statistics.median(values) for name, values in self._seconds.items()}
        print("\n| way | median s | runs | times faster than inside | than features | test accuracy |")
        print("|---|---|---|---|---|---|")
        for name, median in medians.items():
            slow = f"{medians['keras: inside'] / median:.1f}" if "keras: inside" in medians else "not run"
            print(
                f"| {name} | {median:.2f} | {len(self._seconds[name])} | {slow} | "
                f"{medians['keras: features'] / median:.1f} | {self._accuracy[name]:.3f} |"
            )
        names = list(dict.fromkeys(step for steps in self._steps.values() for step in steps))
        print("\n| where the time of the last run goes, s |", " | ".join(names), "|")
        print("|---" * (len(names) + 1) + "|")
        for way, steps in self._steps.items():
            print(f"| {way} |", " | ".join(f"{steps.get(name, 0):.2f}" for name in names), "|", flush=True)


def _compile(model: keras.Model) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.001), loss, metrics=["accuracy"])


if __name__ == "__main__":
    main()
