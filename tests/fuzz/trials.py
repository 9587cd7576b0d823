"""Tries mutated files on the guards, in a process that may die of them: what `fuzz_guards.py` runs.

It tells each file on its standard output, before (`case NUMBER PATH`) and after (`done SECONDS OUTCOME`) it is tried.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from guards import GUARDS

HERE = Path(__file__).resolve().parent
SECONDS = 90  # for one file; the guard of HDF5 may take 20 of processor time twice
MEMORY = 4 << 30  # bytes more than the process has to begin with
LONGEST_MESSAGE = 2000
CASES = 500  # of a process that has TensorFlow in it, which never forgets all of a model


@dataclass(frozen=True)
class Target:
    """A file that is mutated, and the paths of the model that it belongs to."""

    file: Path
    data: bytes
    offered: list[Path]


class Trial:
    """Tries one file after the other, and tells each before and after on a pipe that nothing else writes to."""

    def __init__(self, name: str, folder: Path, out: Path) -> None:
        self.name, self.guard, self.out = name, GUARDS[name], out
        self.originals, self.temporary = folder / "originals", folder / "tmp"
        self.targets = [each for kind in self.guard.kinds for each in _targets(self.originals / kind, folder / kind)]
        self.forbidden: list[str] = []
        self.pipe = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        sys.addaudithook(self._watch)

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        is_lister = event == "subprocess.Popen" and any("hdf5_lister" in str(each) for each in arguments[1])
        forbidden = ("socket.connect", "socket.getaddrinfo", "socket.bind", "os.system", "pickle.find_class")
        if event in forbidden or (event == "subprocess.Popen" and not is_lister):
            self.forbidden.append(f"{event}{arguments}")
            raise AssertionError(f"{event}{arguments}")

    def run(self, number: int, target: Target, data: bytes) -> None:
        target.file.write_bytes(data)
        print("case", number, target.file, file=self.pipe)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        began = time.perf_counter()
        outcome, trace = self._outcome(target)
        seconds = time.perf_counter() - began
        faulthandler.cancel_dump_traceback_later()
        if faults := self._broken_rules():
            outcome, trace = f"finding {faults[0]}", f"{faults}\n{trace}"
        if outcome.startswith("finding"):
            save_finding(self.out, f"{self.name} {outcome}", target.file, trace)
        print("done", f"{seconds:.3f}", outcome, file=self.pipe)
        target.file.write_bytes(target.data)

    def _outcome(self, target: Target) -> tuple[str, str]:
        from zoo.errors import ZooError

        try:
            refusal = self.guard.run(target.offered)
        except ZooError as error:
            message = str(error)
            if len(message) >= LONGEST_MESSAGE or not message.replace("\n", "").isprintable():
                return f"finding message {_place(error)}", f"{message!r}\n{traceback.format_exc()}"
            return type(error).__name__, ""
        except Exception as error:
            return f"finding {type(error).__name__} {_place(error)}", traceback.format_exc()
        return f"pass, {refusal}" if refusal else "pass", ""

    def _broken_rules(self) -> list[str]:
        """Returns which traces a file has left, and wipes them."""
        from hostile_hdf5 import PAST

        told, self.forbidden = self.forbidden, []
        if left := list(self.temporary.iterdir()):
            told += ["left files behind", *map(str, left)]
        for path in left:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if (touched := self.originals / "touched").exists():
            touched.rmdir() if touched.is_dir() else touched.unlink()
            told.insert(0, "touched the canary")
        if (secret := self.originals / "secret").stat().st_atime != PAST:
            os.utime(secret, (PAST, PAST))
            told.insert(0, "read the canary")
        return told


def _targets(kind: Path, folder: Path) -> list[Target]:
    """Copies the originals of a kind to `folder`, and returns each file of theirs as one to mutate."""
    shutil.copytree(kind, folder)
    found = []
    for place in sorted(folder.iterdir()):
        files = sorted(path for path in place.rglob("*") if path.is_file())
        checkpoint = [path for path in files if path.suffix in (".index", ".ckpt")]
        offered = {"savedmodel": [place / "net"], "checkpoint": checkpoint[:1]}.get(kind.name, files)
        found += [Target(path, path.read_bytes(), offered) for path in files]
    return found


def _place(error: BaseException) -> str:
    """Returns the innermost line of ours that an error came from."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "/zoo/" in each.filename] or [None]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames[-1] else "nowhere"


def save_finding(out: Path, title: str, file: Path, trace: str) -> None:
    """Keeps the first finding of a kind: the mutated file, those beside it, and the traceback."""
    place = out / re.sub(r"[^\w.:-]+", "-", title)[:120]
    if not place.exists():
        shutil.copytree(file.parent, place)
        (place / "traceback.txt").write_text(f"{title}\n{file}\n{trace}", errors="backslashreplace")


class ForkedLister:
    """Stands in for the process that lists HDF5 files: the same code, with h5py imported before it is forked."""

    def __init__(self, command: Sequence[str], **_: Any) -> None:
        spec = importlib.util.spec_from_file_location("hdf5_lister", command[2])
        assert spec and spec.loader
        spec.loader.exec_module(lister := importlib.util.module_from_spec(spec))
        reading, writing = os.pipe()
        self._status: int | None = None
        self._pid = os.fork()
        if not self._pid:
            try:
                os.dup2(writing, 1)
                os.closerange(3, 256)
                lister.main(*command[3:])
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writing)
        self.stdout = os.fdopen(reading, "rb")

    def __enter__(self) -> ForkedLister:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.wait()

    def wait(self) -> int:
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status

    def kill(self) -> None:
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)


def work(name: str, folder: Path, out: Path, seed: str, first: int, until: float, coverage: bool) -> None:
    """Tries files for a guard until the time is over."""
    sys.path[:0] = [str(HERE.parent / "support")]
    if coverage:
        import atheris

        atheris.instrument_imports(include=["zoo.store"]).__enter__()
    import h5py  # noqa: F401
    from mutations import mutated

    if GUARDS[name].has_tensorflow:
        import zoo.loading  # noqa: F401
    else:
        subprocess.Popen = ForkedLister  # type: ignore[misc, assignment]
    trial = Trial(name, folder, out)
    chance = random.Random(f"{seed} {name} {first}")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))
    if coverage:
        _follow_coverage(trial, folder, first, until)
    for number in range(first, first + (CASES if trial.guard.has_tensorflow else 1 << 40)):
        if time.time() > until:
            break
        target, other = chance.choice(trial.targets), chance.choice(trial.targets)
        trial.run(number, target, mutated(target.data, other.data, chance))


def _follow_coverage(trial: Trial, folder: Path, first: int, until: float) -> NoReturn:
    """Lets atheris choose what to mutate: the first two bytes are the file's number, the others its content."""
    import atheris
    from mutations import mutated

    numbers = iter(range(first, 1 << 40))
    corpus = folder / "corpus"
    for number, target in enumerate(trial.targets):
        (corpus / str(number)).write_bytes(number.to_bytes(2) + target.data)

    def test(data: bytes) -> None:
        target = trial.targets[int.from_bytes(data[:2]) % len(trial.targets)]
        trial.run(next(numbers), target, data[2:])

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.3:
            return bytes(data[:2]) + bytes(atheris.Mutate(data[2:], most - 2))
        return bytes(data[:2]) + mutated(data[2:], chance.choice(trial.targets).data, chance)[: most - 2]

    seconds = max(1, int(until - time.time()))
    limits = [f"-max_total_time={seconds}", "-max_len=65536", f"-timeout={SECONDS}", "-rss_limit_mb=0"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/", str(corpus)], test, custom_mutator=mutate)
    atheris.Fuzz()
    sys.exit()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("guard", choices=GUARDS)
    for name, kind in (("folder", Path), ("out", Path), ("seed", str), ("first", int), ("until", float)):
        parser.add_argument(name, type=kind)
    parser.add_argument("--coverage", action="store_true")
    given = parser.parse_args()
    work(given.guard, given.folder, given.out, given.seed, given.first, given.until, given.coverage)
