"""Wall time of `zoo --help` and `zoo list` over that of a Python that imports click and rich only.

    python benchmarks/startup.py [--rounds 15]

Each round runs the three in turn; medians are compared. At most 2 is the aim.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

ZOO = str(Path(sys.executable).with_name("zoo"))
COMMANDS = {
    "floor": [sys.executable, "-c", "import click, rich.table, rich.console"],
    "zoo --help": [ZOO, "--help"],
    "zoo list": [ZOO, "list"],
}


def seconds(command: list[str]) -> float:
    """Returns the wall time of a process."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Runs the rounds and prints medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(parser.parse_args().rounds)]
    medians = {name: statistics.median(each[name] for each in rounds) for name in COMMANDS}
    for name, median in medians.items():
        print(f"{name:12} {median * 1000:6.0f} ms  {median / medians['floor']:5.2f} x")


if __name__ == "__main__":
    main()
