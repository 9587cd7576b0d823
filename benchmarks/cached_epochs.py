"""Features on disk at scale: how fast an epoch is read, and what a training epoch over 1,000,000 rows takes.

    python benchmarks/cached_epochs.py [--rows 1000000] [--rounds 5] [--folder /tmp]

1. `--rows` rows of 1,280 float32 (5.1 GB) are written as shards, class by class. Then a process of its own opens them
   for the first time (each file is hashed), and another one opens them again and trains a Dense head for an epoch.
   It may have 1 GB of private memory (RLIMIT_DATA: the system refuses more), and the most that it had in memory at
   all, with TensorFlow's code and what was mapped, is VmHWM.
2. Bytes per second of a shuffled epoch, read as training reads it (with shuffling, the reading threads and all), over
   `numpy.memmap` taking the same rows in the same order into the same memory; and over `numpy.memmap` taking rows
   that are shuffled one by one. 80 % of 200,000 rows, at random, as a split leaves them. First from the page cache,
   then with the files dropped from it (`posix_fadvise`). Rounds alternate; medians are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

WIDTH, CLASSES, BATCH, SHARD_ROWS = 1_280, 10, 32, 13_107  # 64 MB
READ_ROWS = 200_000
CAP = 1 << 30


def main() -> None:
    """Writes features, reads and trains on them, prints what that took, and leaves nothing behind."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where 5 GB are free")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "ROOT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], Path(arguments.child[1]), arguments.rows)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        root = Path(folder)
        began = time.perf_counter()
        write_features(root, arguments.rows)
        size = arguments.rows * WIDTH * 4
        print(f"written: {arguments.rows:,} rows, {size / 1e9:.2f} GB, in {time.perf_counter() - began:.0f} s")
        for what in ("open", "train"):
            command = [sys.executable, __file__, "--rows", str(arguments.rows), "--child", what, folder]
            subprocess.run(command, check=True)
        compare_reading(root, min(READ_ROWS, arguments.rows), arguments.rounds)


def labels_of(rows: int) -> np.ndarray:
    """Returns the class of each row: one class after the other, as a folder of pictures has them."""
    return np.arange(rows) * CLASSES // rows


def keys_of(rows: int) -> np.ndarray:
    """Returns identities: random bytes, as hashes are."""
    return np.random.default_rng(0).integers(0, 256, (rows, 32), dtype=np.uint8)


def feature_folder(root: Path) -> Any:
    """Returns the folder of the feature cache that the features are in."""
    from zoo.features.folder import FeatureFolder
    from zoo.features.keys import FeatureSpec

    spec = FeatureSpec(
        model="generated",
        unit=1,
        unit_name="generated",
        digest="0" * 64,
        tap="avg",
        shape=(WIDTH,),
        dtype="float32",
        input_shape=(224, 224, 3),
        preprocessing={},
    )
    return FeatureFolder(root, spec)


def write_features(root: Path, rows: int) -> None:
    """Writes features that tell their class a little, in shards of 64 MB."""
    from zoo.features.shards import write_shard

    folder = feature_folder(root).path
    folder.mkdir()
    labels, keys, random = labels_of(rows), keys_of(rows), np.random.default_rng(1)
    for begin in range(0, rows, SHARD_ROWS):
        chosen = labels[begin : begin + SHARD_ROWS]
        x = random.standard_normal((len(chosen), WIDTH), dtype=np.float32)
        x[np.arange(len(chosen)), chosen] += 2
        write_shard(folder, keys[begin : begin + SHARD_ROWS], x, {})


def opened(root: Path, rows: int) -> tuple[Any, ...]:
    """Returns the features of the first `rows` examples, the shards that they are in, and where in them."""
    from zoo.features import Features, FeatureStats

    class Recorded(Features):
        """Features that remember which rows were asked for."""

        def read_into(self, rows: np.ndarray, out: np.ndarray) -> None:
            asked.append(rows)
            super().read_into(rows, out)

    asked: list[np.ndarray] = []
    folder = feature_folder(root)
    folder.open()
    shard, row = folder.locate(keys_of(rows))
    stats = FeatureStats(rows, 0, 0.0, rows * WIDTH * 4)
    features = Recorded([each.features for each in folder.shards], shard, row, stats, "generated")
    return features, asked, folder.shards, shard, row


def compare_reading(root: Path, rows: int, rounds: int) -> None:
    """Prints bytes per second of an epoch's reading, ours and that of memory-mapped arrays."""
    from zoo.training import FitSettings, Part
    from zoo.training.chunks import Chunks

    features, asked, shards, shard, row = opened(root, rows)
    chosen = np.flatnonzero(np.random.default_rng(2).random(rows) < 0.8)
    chunks = Chunks(Part(features, labels_of(rows), chosen), BATCH, "float32", whole=False)

    def ours() -> None:
        for x, _, order, _ in chunks.epoch(1, FitSettings()):
            assert len(x) == len(order)

    ours()
    same = list(asked)
    shuffled = np.split(np.random.default_rng(3).permutation(chosen), np.cumsum([len(each) for each in same])[:-1])
    buffer = np.empty((max(len(each) for each in same), WIDTH), np.float32)
    ways: dict[str, Callable[[], None]] = {
        "as training reads": ours,
        "memmap, same rows and order": lambda: gather(same, shards, shard, row, buffer),
        "memmap, rows shuffled singly": lambda: gather(shuffled, shards, shard, row, buffer),
    }
    size = len(chosen) * WIDTH * 4
    for state, files in (("in the page cache", []), ("dropped from the page cache", [each.path for each in shards])):
        seconds = {name: list[float]() for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                drop(files)
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
        medians = {name: statistics.median(each) for name, each in seconds.items()}
        print(f"{len(chosen):,} of {rows:,} rows, {size / 1e9:.2f} GB, {state}, medians of {rounds}:")
        for name, median in medians.items():
            print(f"  {name:30s} {size / median / 1e9:6.2f} GB/s {median:6.2f} s")
        mine, theirs, singly = medians.values()
        print(f"  ratio to memmap {theirs / mine:.2f}, to rows shuffled singly {singly / mine:.2f}")


def gather(wanted: list[np.ndarray], shards: Any, shard: np.ndarray, row: np.ndarray, buffer: np.ndarray) -> None:
    """Takes rows from memory-mapped files into `buffer`, in the fastest way that NumPy has."""
    maps = [np.memmap(each.path, np.float32, "r", each.features.offset, each.features.shape) for each in shards]
    for some in wanted:
        numbers, rows = shard[some], row[some]
        by_shard = np.argsort(numbers, kind="stable")
        cuts = np.flatnonzero(np.diff(numbers[by_shard])) + 1
        for at in np.split(by_shard, cuts):
            if at[-1] - at[0] + 1 == len(at):
                np.take(maps[numbers[at[0]]], rows[at], axis=0, out=buffer[at[0] : at[-1] + 1], mode="clip")
            else:
                buffer[at] = np.take(maps[numbers[at[0]]], rows[at], axis=0)


def drop(files: list[Path]) -> None:
    """Asks the system to forget the files' pages."""
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def child(what: str, root: Path, rows: int) -> None:
    """Opens the features, and trains on them, with a cap on private memory."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (CAP, CAP))
    import zoo.training  # noqa: F401 - so that its memory and time are known

    imported = peak()
    began = time.perf_counter()
    features = opened(root, rows)[0]
    seconds = time.perf_counter() - began
    name = {"open": "opened for the first time, hashing all", "train": "opened again"}[what]
    print(f"{name}: {seconds:.2f} s; memory at most {imported} MB after import, {peak()} MB after opening")
    if what == "train":
        train(features, rows)


def train(features: Any, rows: int) -> None:
    """Trains a head for an epoch, a tenth of the rows kept for validation, and prints what that took."""
    import keras

    from zoo.training import FitSettings, Part, fit

    validation = np.random.default_rng(4).random(rows) < 0.1
    labels = labels_of(rows)
    parts = [Part(features, labels, np.flatnonzero(chosen)) for chosen in (~validation, validation)]
    head = keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(CLASSES)])
    history = fit(head, *parts, FitSettings(epochs=1, batch_size=BATCH))
    (epoch,) = history.epochs
    print(
        f"one epoch: {epoch.seconds:.1f} s, {rows * WIDTH * 4 / epoch.seconds / 1e9:.2f} GB/s with validation, "
        f"validation accuracy {epoch.val_score:.4f}"
    )
    print(f"memory at most (VmHWM): {peak()} MB, with private memory capped at {CAP >> 20} MB by RLIMIT_DATA")


def peak() -> int:
    """Returns the most that this process had in memory, in MB (of 2**20 bytes)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


if __name__ == "__main__":
    main()
