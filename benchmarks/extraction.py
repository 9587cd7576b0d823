"""Features of JPEG files: pictures per second into shards, beside `Model.predict`, and beside the bare engine.

    python benchmarks/extraction.py [--net MobileNetV2] [--pictures 512] [--rounds 5] [--only files,taps]

*files*: `zoo` from files to shards with each engine (the files are inspected before, as they are once ever), against
`predict` over `image_dataset_from_directory`, and against the same engine on tensors in memory, which is the limit: the
time that it takes there to compute what it computed in the run, decoding left out.
*taps*: all units of VGG16, average-pooled and kept in one pass, over a single plain pass.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pictures as made

import zoo
from zoo.data import ArrayExamples, open_data
from zoo.data.reading import Reader
from zoo.features.engines import Engines, openvino_engine
from zoo.surgery import Head, Surgery

SCALE, MEAN = 1 / 127.5, 1.0
SPEC = zoo.InputSpec((224, 224, 3), scale=SCALE, mean=(MEAN,))


def main() -> None:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--net", default="MobileNetV2")
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="files,taps")
    options = parser.parse_args()
    if "files" in options.only:
        _files(options.net, options.pictures, options.rounds)
    if "taps" in options.only:
        _taps(options.rounds)


def _files(name: str, count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "pictures"
        print(f"{name}, {count} JPEGs of {made.write_jpegs(data, count) / 1000:.0f} kB", flush=True)
        net = made.calibrated(name, data, SCALE, MEAN)
        trunk = Surgery(net, head=Head(2), preprocessing=SPEC).trunk
        examples = open_data(str(data))
        x = Reader(examples.seen_by(SPEC), SPEC)[np.arange(min(count, 128))]
        engines = [("tensorflow", "float32"), ("onnxruntime", "float32")]
        if openvino_engine.is_installed():
            engines.append(("openvino", "float32"))
            if openvino_engine.computes_in_bfloat16():
                engines.append(("openvino", "bfloat16"))
        ways: dict[str, Callable[[], int]] = {"predict": lambda: _predict(net, data)}
        for engine, precision in engines:
            home = Path(place) / f"{engine}-{precision}"
            bare = Engines(engine, precision, home / "trunks").start(trunk.model, "bench", x[:32], count)[0]
            ways[f"{engine} {precision}: bare"] = lambda bare=bare: len(bare.run(x)[0])
            ways[f"{engine} {precision}: zoo"] = lambda home=home, engine=engine, precision=precision: _extract(
                trunk, examples, home, engine, precision
            )
        _print_rates(_medians(ways, rounds))


def _predict(net: keras.Model, data: Path) -> int:
    picture = keras.Input((224, 224, 3))
    scaled = keras.layers.Rescaling(SCALE, -MEAN)(picture)
    base = keras.Model(net.input, net.layers[-2].output)
    files = [
        keras.utils.image_dataset_from_directory(
            data / part, image_size=(224, 224), batch_size=32, shuffle=False, verbose=0
        )
        for part in ("train", "val", "test")
    ]
    model = keras.Model(picture, base(scaled, training=False))
    return len(model.predict(files[0].concatenate(files[1]).concatenate(files[2]), verbose=0))


def _extract(trunk: Any, examples: Any, home: Path, engine: str, precision: str) -> int:
    shutil.rmtree(home / "features", ignore_errors=True)
    features = zoo.FeatureCache(home, engine=engine, precision=precision).features(trunk, examples)
    if features.stats.engine != engine:
        raise SystemExit(f"{features.stats.engine} ran instead of {engine}")
    return features.stats.misses


def _taps(rounds: int, count: int = 64) -> None:
    keras.utils.set_random_seed(0)
    trunk = Surgery(keras.applications.VGG16(weights=None), head=Head(2), preprocessing=SPEC).trunk
    pictures = np.random.default_rng(0).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)
    examples = ArrayExamples(pictures)
    with tempfile.TemporaryDirectory() as place:

        def run(cuts: list[Any]) -> int:
            shutil.rmtree(place, ignore_errors=True)
            return zoo.FeatureCache(place).features_of_each(cuts, examples)[0].stats.misses

        units = [trunk.at(depth, "avg") for depth in range(1, trunk.depth + 1)]
        ways = {"one cut": lambda: run([units[-1]]), f"all {len(units)} cuts": lambda: run(units)}
        seconds = {name: count / rate for name, rate in _medians(ways, rounds).items()}
    one, every = seconds.values()
    print(
        f"\nVGG16, {count} pictures: one cut {one:.2f} s, all {len(units)} in one pass {every:.2f} s: {every / one:.3f}"
    )


def _medians(ways: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Returns examples per second of each way, the median of several rounds in turn after one to warm up."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            done = way()
            if number:
                rates[name].append(done / (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in rates.items()}


def _print_rates(rates: dict[str, float]) -> None:
    print("\n| way | pictures/s | over predict | over the bare engine |\n|---|---|---|---|")
    for name, rate in rates.items():
        bare = rates.get(name.replace(": zoo", ": bare"), rate)
        print(f"| {name} | {rate:.1f} | {rate / rates['predict']:.2f} | {rate / bare:.2f} |", flush=True)


if __name__ == "__main__":
    main()
