"""What `--reuse auto --freeze auto` finds, beside every fixed choice; and what it costs, beside one plain transfer.

    python benchmarks/layer_search.py [--seeds 5] [--per-class 10]

The embedded model and the digits. Every fixed choice of units to reuse and to freeze is trained too, from the same
features, so that the best and the worst of them are known; they are judged on the same test part.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import zoo


def main() -> None:
    """Prints, seed by seed, what was chosen and how well it and the fixed choices do; then means and times."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--per-class", type=int, default=10)
    options = parser.parse_args()
    units = zoo.plan().units
    fixed = [(reuse, freeze) for reuse in range(units) for freeze in range(reuse + 1)]
    with tempfile.TemporaryDirectory() as place:
        _run(Path(place), warm=True, seed=0, per_class=options.per_class)  # loads what is loaded once
        print("| seed | chosen reuse, freeze, hidden | auto | best fixed | worst fixed | plain s | auto s | times |")
        print("|---|---|---|---|---|---|---|---|")
        rows = [_row(Path(place), seed, options.per_class, fixed) for seed in range(options.seeds)]
    found, best, worst, plain, auto = (mean(column) for column in zip(*rows, strict=True))
    print(
        f"\nmeans: auto {found:.4f}, the best fixed choice of each seed {best:.4f} ({100 * (best - found):.2f} points "
        f"above), the worst {worst:.4f}; {auto:.2f} s, {auto / plain:.1f} times one plain transfer ({plain:.2f} s)"
    )


def _row(place: Path, seed: int, per_class: int, fixed: list[tuple[int, int]]) -> tuple[float, ...]:
    plain, _ = _run(place / f"plain{seed}", seed=seed, per_class=per_class)
    auto, run = _run(place / f"auto{seed}", seed=seed, per_class=per_class, reuse="auto", freeze="auto")
    home = place / f"fixed{seed}"
    scores = {
        choice: _run(home, seed=seed, per_class=per_class, reuse=choice[0], freeze=choice[1])[1].accuracy
        for choice in fixed
    }
    best, worst = max(scores, key=lambda key: scores[key]), min(scores, key=lambda key: scores[key])
    hidden = run.record["settings"]["hidden"]
    print(
        f"| {seed} | {run.record['reuse']}, {run.record['freeze']}, {list(hidden) or 'none'} | {run.accuracy:.4f} | "
        f"{scores[best]:.4f} {best} | {scores[worst]:.4f} {worst} | {plain:.2f} | {auto:.2f} | {auto / plain:.1f} |",
        flush=True,
    )
    return run.accuracy, scores[best], scores[worst], plain, auto


def _run(home: Path, *, seed: int, per_class: int, warm: bool = False, **options: Any) -> tuple[float, zoo.Run]:
    """Returns the seconds of a transfer, from an empty home where it is new, and the run."""
    os.environ["ZOO_HOME"] = str(home)
    began = time.perf_counter()
    run = zoo.transfer(
        data="digits", train_per_class=per_class, seed=seed, out=home / "run", home=home,
        epochs=2 if warm else 100, **options,
    )  # fmt: skip
    return time.perf_counter() - began, run


if __name__ == "__main__":
    main()
