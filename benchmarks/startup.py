"""Wall time of `zoo --help`, `zoo list` and `zoo show` over that of a Python that imports click and rich only.

    python benchmarks/startup.py [--rounds 15]

Each round runs all in turn; medians are compared. At most 2 is the aim, with the whole registry read and checked.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import zoo

ZOO = str(Path(sys.executable).with_name("zoo"))
COMMANDS = {
    "floor": [sys.executable, "-c", "import click, rich.table, rich.console"],
    "zoo --help": [ZOO, "--help"],
    "zoo list": [ZOO, "list"],
    "zoo show": [ZOO, "show", "vgg16"],
}


def seconds(command: list[str]) -> float:
    """Returns the wall time of a process."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Runs the rounds and prints medians and ratios, and how many models the registry has."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(parser.parse_args().rounds)]
    medians = {name: statistics.median(each[name] for each in rounds) for name in COMMANDS}
    print(f"{len(zoo.list_models())} models in the registry")
    for name, median in medians.items():
        print(f"{name:12} {median * 1000:6.0f} ms  {median / medians['floor']:5.2f} x")


if __name__ == "__main__":
    main()
