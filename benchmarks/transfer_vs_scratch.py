"""Test accuracy on handwritten digits with few labels: transfer from `letters-cnn` against the same net from scratch.

    python benchmarks/transfer_vs_scratch.py [--seeds 5] [--per-class 5 10 50]

Every figure is a mean over seeds; a seed decides the split, the new weights and the order of the examples, and all
rows of a seed see the same training, validation and test examples. Scratch is the net reused to the same depth with
random weights, all of it trained, for as many steps as it wants (see `FitSettings.from_scratch`).
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np

import zoo

DEPTHS = [(3, 2), (5, 5), (4, 4), (4, 3), (4, 2), (5, 4), (5, 3)]


def main() -> None:
    """Runs every depth for every number of labels and every seed, and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--per-class", type=int, nargs="+", default=[5, 10, 50])
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    scores: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for (column, count), seed in itertools.product(enumerate(options.per_class), seeds):
            for reuse, freeze in DEPTHS:
                run = zoo.transfer(
                    reuse=reuse, freeze=freeze, train_per_class=count, seed=seed, home=folder,
                    compare_scratch=(reuse, freeze) in ((3, 2), (5, 5)), out=Path(folder) / "run",
                )  # fmt: skip
                name = f"reuse {reuse}, freeze {freeze}" + (" (default)" if freeze == 5 else "")
                _add(scores, name, column, run.accuracy)
                if run.record["scratch"]:
                    accuracy = run.record["scratch"]["metrics"]["test"]["accuracy"]
                    _add(scores, f"scratch, depth {reuse}", column, accuracy)
            print(f"{count} a class, seed {seed}: done", flush=True)
    print("| labelled pictures per class |", " | ".join(map(str, options.per_class)), "|")
    print("|---|" + "---|" * len(options.per_class))
    for name, columns in scores.items():
        cells = (f"{np.mean(column):.3f} ± {np.std(column) / max(1, len(column) - 1) ** 0.5:.3f}" for column in columns)
        print(f"| {name} |", " | ".join(cells), "|")


def _add(scores: dict[str, list[list[float]]], name: str, column: int, accuracy: float) -> None:
    columns = scores.setdefault(name, [])
    while len(columns) <= column:
        columns.append([])
    columns[column].append(accuracy)


if __name__ == "__main__":
    main()
