"""Hands damaged files of models to the guards, and what passes them to h5py, NumPy and Keras; for maintainers.

    python tests/fuzz/fuzz_guards.py --minutes 20 [--seed 1] [--guard hdf5 load_model] [--coverage] [--out FOLDER]

Small real files of every format (`originals.py`) are mutated (`mutations.py`) one at a time. A guard may let one pass,
or refuse it by a `ZooError` with a sane message. All else is a finding: another error, a process that dies, too much
time or memory, use of the network, a canary read or touched, a file left behind. A finding's input lies with its
traceback in a folder below `--out`, and the exit code is 1. The work is done by processes that may die of it.

With `--coverage`, and atheris installed (pip install atheris), mutations follow the coverage of the guards in Python.
Without it the same seed makes the same mutations, of originals that are the same but for dates in them.
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from guards import GUARDS, IN_PYTHON
from trials import save_finding

HERE = Path(__file__).resolve().parent


class Tally:
    """What came of the files that one guard was given."""

    def __init__(self, name: str) -> None:
        self.name, self.outcomes = name, collections.Counter[str]()
        self.cases, self.slowest, self.minutes = 0, (0.0, ""), 0.0

    def __str__(self) -> str:
        told = ", ".join(f"{count:,} {outcome}" for outcome, count in self.outcomes.most_common())
        return f"{self.name}: {self.cases:,} files in {self.minutes:.1f} minutes: {told}; slowest {self.slowest}"


def watch(name: str, folder: Path, options: argparse.Namespace, minutes: float) -> Tally:
    """Runs processes that try a guard, one after the other's death, until its time is over."""
    tally, began = Tally(name), time.time()
    until = began + 60 * minutes
    while time.time() < until:
        place = Path(tempfile.mkdtemp(dir=folder))
        for each in ("tmp", "corpus"):
            (place / each).mkdir()
        (place / "originals").symlink_to(folder / "originals")
        words = [name, str(place), str(options.out), options.seed, str(tally.cases), str(until)]
        words += ["--coverage"] if options.coverage and name in IN_PYTHON else []
        quiet = {"TMPDIR": str(place / "tmp"), "ZOO_HOME": str(place / "home"), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-X", "faulthandler", str(HERE / "trials.py"), *words]
        with (place / "stderr").open("w+") as errors, subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | quiet, cwd=place
        ) as child:  # fmt: skip
            case = _followed(child, tally)
        if child.returncode:
            trace = (place / "stderr").read_text(errors="replace")[-8000:]
            if case is None:
                sys.exit(f"The process for {name} did not begin:\n{trace}")
            tally.outcomes["finding: the process died"] += 1
            place_of_death = re.search(r'/([^/"]+)", line (\d+)', trace)
            where = ":".join(place_of_death.groups()) if place_of_death else "nowhere"
            save_finding(options.out, f"{name} died {child.returncode} {where}", case, trace)
        shutil.rmtree(place)
    tally.minutes = (time.time() - began) / 60
    return tally


def _followed(child: subprocess.Popen[str], tally: Tally) -> Path | None:
    """Counts what a process tells, and returns the file that it was given last."""
    path = None
    for line in child.stdout or ():
        kind, value, rest = line.rstrip("\n").split(" ", 2)
        if kind == "case":
            path = Path(rest)
            tally.cases += 1
        else:
            tally.outcomes[rest] += 1
            tally.slowest = max(tally.slowest, (float(value), f"case {tally.cases - 1}, {path}: {rest}"))
    return path


def main() -> int:
    """Runs what the command line says, prints a line for each guard, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="for all guards together")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--guard", nargs="+", choices=GUARDS, default=list(GUARDS))
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args()
    if options.coverage and not importlib.util.find_spec("atheris"):
        parser.error("--coverage needs atheris: pip install atheris")
    options.out = options.out.absolute()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        support = os.environ | {"PYTHONPATH": str(HERE.parent / "support"), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, str(HERE / "originals.py"), f"{folder}/originals"]
        subprocess.run(command, check=True, env=support, stderr=subprocess.DEVNULL)
        tallies = [watch(name, Path(folder), options, options.minutes / len(options.guard)) for name in options.guard]
    for tally in tallies:
        print(tally)
    return int(any(outcome.startswith("finding") for tally in tallies for outcome in tally.outcomes))


if __name__ == "__main__":
    sys.exit(main())
