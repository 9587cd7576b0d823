"""Hands damaged files of Caffe to its converter; for maintainers.

    python tests/fuzz/fuzz_caffe.py --minutes 10 [--seed 1] [--out FOLDER]

Small definitions and weights of every age and form are mutated one at a time. The converter may take one, or refuse it
by a `ZooError` with a sane message. All else is a finding: another error, a process that dies, more than 20 seconds or
2 GB. A finding's files lie with its traceback in a folder below `--out`, and the exit code is 1. The work is done by
processes that may die of it; the same seed makes the same mutations.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import itertools
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECONDS, MEMORY = 20, 2 << 30  # for one pair of files
LONGEST_MESSAGE = 2000
CASES = 20_000  # of one process
NUMBERS = (
    "0",
    "-1",
    "1",
    "2",
    "3",
    "7",
    "255",
    "65536",
    "2147483647",
    "-2147483648",
    "4294967295",
    "1e9",
    "-0.5",
    "nan",
)
WORDS = (
    "TEST",
    "MAX",
    "true",
    "false",
    '""',
    '"\\033[2J"',
    '"data"',
    "{",
    "}",
    "[",
    "]",
    ":",
    "<",
    ">",
    ";",
    "#",
    '"',
    "'",
    '"' + '\\"' * 20_000,  # never closed, and with many marks that may begin another
)


# --- files ---


def originals() -> list[tuple[str, bytes, bytes]]:
    """Returns names, definitions and weights."""
    sys.path.insert(0, str(HERE.parent / "support"))
    import numpy as np
    from caffe_nets import DATA, FORMS, alive
    from caffe_zoo import NETS

    found = []
    for name in ("alexnet", "resnet50", "squeezenet", "fcn8s", "nin"):
        build, shape = NETS[name]
        net = alive(build(), {"data": np.zeros((1, *shape))})
        found.append((name, net.prototxt.encode(), net.file()))
    text = (DATA / "lenet.prototxt").read_text()
    text = re.sub("num_output: (20|50|500)", "num_output: 4", text)
    net = alive(text, {"data": np.zeros((1, 1, 28, 28))})
    old = {"v1": "lenet_v1_2015-02", "v0": "lenet_v0_2014-03"}
    for form in FORMS:
        told = text
        if form in old:
            told = re.sub("num_output: (20|50|500)", "num_output: 4", (DATA / f"{old[form]}.prototxt").read_text())
        found.append((f"lenet-{form}", told.encode(), net.file(form)))
    layers = (HERE.parent / "converters" / "caffe" / "test_layers.py").read_text()
    kinds = re.findall(r'\("(\w+)", "(\w+_param \{ [^"]* \})"\)', layers)
    head = 'input: "data" input_dim: 1 input_dim: 4 input_dim: 6 input_dim: 5\n'
    body = "".join(
        f'layer {{ name: "l{at}" type: "{kind}" bottom: "data" top: "t{at}" {given} }}\n'
        for at, (kind, given) in enumerate(kinds)
    )
    return [*found, ("layers", (head + body).encode(), net.file())]


def mutated_text(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Returns a definition of which some words and lines are others."""
    if chance.random() < 0.2:
        from mutations import mutated

        return mutated(data, other, chance)
    words = re.findall(r'"[^"\n]*"|\w[\w.+-]*|\s+|.', data.decode("latin-1"))
    others = re.findall(r'"[^"\n]*"|\w[\w.+-]*|\s+|.', other.decode("latin-1"))[:5000] or ["x"]
    for _ in range(chance.choice((1, 1, 1, 2, 4, 12))):
        at = chance.randrange(len(words))
        match chance.randrange(7):
            case 0 | 1:
                numbers = [place for place, word in enumerate(words) if word[:1].isdigit()] or [at]
                words[chance.choice(numbers)] = chance.choice(NUMBERS)
            case 2:
                names = [place for place, word in enumerate(words) if word[:1] == '"'] or [at]
                words[chance.choice(names)] = words[chance.choice(names)]
            case 3:
                words[at] = chance.choice((chance.choice(NUMBERS), chance.choice(WORDS), chance.choice(words)))
            case 4:
                start, size = chance.randrange(len(words)), chance.randrange(1, 60)
                words[at:at] = words[start : start + size]
            case 5:
                del words[at : at + chance.choice((1, 2, 8, 60))]
                words = words or ["x"]
            case _:
                start = chance.randrange(len(others))
                words[at : at + chance.choice((0, 20))] = others[start : start + chance.randrange(1, 60)]
    return "".join(words).encode("latin-1")


# --- the process that may die ---


def work(folder: Path, out: Path, seed: str, first: int, until: float) -> None:
    """Tries one case after the other, and tells each before and after on its standard output."""
    pairs = originals()
    from mutations import mutated
    from zoo.converters.caffe.importer import caffe_to_onnx

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY,) * 2)
    paths = folder / "net.prototxt", folder / "net.caffemodel"
    for number in itertools.count(first):
        if time.time() > until or number - first >= CASES:
            return
        chance = random.Random(f"{seed} {number}")
        (name, text, weights), (_, *others) = chance.choice(pairs), chance.choice(pairs)
        if chance.random() < 0.5:
            text = mutated_text(text, others[0], chance)
        else:
            weights = mutated(weights, others[1], chance)
        paths[0].write_bytes(text)
        paths[1].write_bytes(weights)
        print("case", number, name, flush=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        began = time.perf_counter()
        outcome, trace = _outcome(caffe_to_onnx, paths)
        faulthandler.cancel_dump_traceback_later()
        if outcome.startswith("finding"):
            keep(out, outcome, folder, trace)
        print("done", f"{time.perf_counter() - began:.3f}", outcome, flush=True)


def _outcome(convert: Any, paths: tuple[Path, Path]) -> tuple[str, str]:
    from zoo.errors import ZooError

    try:
        convert(*paths)
    except ZooError as error:
        message = str(error)
        if len(message) >= LONGEST_MESSAGE or not message.replace("\n", "").isprintable():
            return f"finding message {_place(error)}", f"{message!r}\n{traceback.format_exc()}"
        if "report this" in message:
            return f"finding report {_place(error)}", traceback.format_exc()
        return type(error).__name__, ""
    except Exception as error:
        return f"finding {type(error).__name__} {_place(error)}", traceback.format_exc()
    return "converted", ""


def _place(error: BaseException) -> str:
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "/caffe/" in each.filename] or [None]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames[-1] else "nowhere"


def keep(out: Path, title: str, folder: Path, trace: str) -> None:
    """Keeps the first finding of a kind."""
    place = out / re.sub(r"[^\w.:-]+", "-", title)[:120]
    if not place.exists():
        shutil.copytree(folder, place)
        (place / "traceback.txt").write_text(trace, errors="backslashreplace")


# --- the process that watches ---


def watch(out: Path, seed: str, minutes: float) -> collections.Counter[str]:
    """Runs processes, one after the other's death, until the time is over; returns what came of their cases."""
    found, first, slowest = collections.Counter[str](), 0, 0.0
    until = time.time() + 60 * minutes
    while time.time() < until:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
            command = [
                sys.executable,
                "-X",
                "faulthandler",
                __file__,
                "--work",
                place,
                str(out),
                seed,
                str(first),
                str(until),
            ]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
            begun = first
            for line in child.stdout or ():
                kind, value, rest = line.rstrip("\n").split(" ", 2)
                if kind == "case":
                    first = int(value) + 1
                else:
                    found[rest] += 1
                    slowest = max(slowest, float(value))
            trace = (child.stderr.read() if child.stderr else "")[-8000:]
            if child.wait():
                if first == begun:
                    sys.exit(f"The process did not begin:\n{trace}")
                found["finding: the process died"] += 1
                keep(out, f"died {child.returncode} {first - 1}", Path(place), trace)
    print(f"{first:,} pairs of files in {minutes:g} minutes; slowest {slowest:.1f} s")
    return found


def main() -> int:
    """Runs what the command line says, and returns the exit code."""
    if sys.argv[1:2] == ["--work"]:
        folder, out, seed, first, until = sys.argv[2:]
        work(Path(folder), Path(out), seed, int(first), float(until))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found = watch(options.out.absolute(), options.seed, options.minutes)
    for outcome, count in found.most_common():
        print(f"{count:,} {outcome}")
    return int(any(outcome.startswith("finding") for outcome in found))


if __name__ == "__main__":
    sys.exit(main())
