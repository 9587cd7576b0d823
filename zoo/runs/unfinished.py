"""A run that is not finished: the folder `NAME.unfinished`, from which what was killed is continued.

It holds `job.json` (what was asked for, and digests of what it works on), a checkpoint of each training, and the files
of the run as they come. When all of these are there they become the folder `NAME` at one stroke.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo.errors import BusyError, IntegrityError, NotFoundError, UsageError
from zoo.files import disk_errors, flush, remove_leftovers, temporary_name, write_bytes
from zoo.locking import try_lock
from zoo.runs.record import Kind, as_bytes, kind_of

SUFFIX = ".unfinished"
_SCHEMA = 1
_JOB, _LOCK, _RESULT = "job.json", "lock", "run"
_log = logging.getLogger("zoo")


class UnfinishedRun:
    """A run that is being made; nobody else works on it.

    Attributes:
        path: Its folder, `NAME.unfinished`.
        wanted: Where the run is to be.
        result: The folder for the run's own files.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path, self._lock = path, lock
        self.wanted = path.with_name(path.name.removesuffix(SUFFIX))
        self.result = path / _RESULT

    def checkpoint(self, name: str) -> Path:
        """Returns where the checkpoint of a training is to be."""
        return self.path / f"checkpoint-{name}.safetensors"

    def write_job(self, job: Mapping[str, Any]) -> None:
        """Writes what the run is to be continued with."""
        text = json.dumps({"schema": _SCHEMA, **job}, indent=2, ensure_ascii=False)
        write_bytes(self.path / _JOB, as_bytes(f"{text}\n"))

    def publish(self) -> Path:
        """Gives the run's files their name, `wanted` or the next that is free, and returns that."""
        for file in [*self.result.iterdir(), self.result]:
            flush(file)
        while True:
            path = free_name(self.wanted)
            try:
                self.result.rename(path)  # a folder that appeared meanwhile and is not empty is never replaced
            except OSError:
                if path.exists():
                    continue
                raise
            flush(path.parent)
            return path

    def close(self, *, keep: bool) -> None:
        """Ends the work; without `keep` the folder is removed."""
        if not keep:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


@contextlib.contextmanager
def new_run(wanted: Path) -> Iterator[UnfinishedRun]:
    """Gives the folder of a new run to work in; `publish` makes it a run.

    On an error it is kept where there is something to go on from, a checkpoint or a search, and else removed.

    Raises:
        DiskError: The folder cannot be written: known before any work is done.
    """
    with disk_errors(wanted, "free some space, or choose another folder with --out"):
        wanted.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(wanted.parent)
        run = _begun(wanted)
    with _ended(run, keep=False):
        yield run


@contextlib.contextmanager
def continued_run(wanted: Path) -> Iterator[UnfinishedRun]:
    """Gives the folder of a run that was killed, to go on with it; on an error it stays.

    Raises:
        NotFoundError: There is none.
        BusyError: Somebody works on it.
        UsageError: It was finished, but for this folder, which is removed then.
    """
    path = unfinished_path(wanted)
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    is_free = try_lock(lock)
    if is_free is False:
        os.close(lock)
        raise BusyError(f"Another process works on {path}. Wait for it to end.")
    if is_free is None:
        _log.warning("Whether another process works on %s cannot be told: its file system has no locks.", path)
    run = UnfinishedRun(path, lock)
    if not run.result.exists():  # it has its name already
        run.close(keep=False)
        raise UsageError(f"The run {run.wanted} was finished when it was killed; nothing is left to do. See: zoo runs")
    _empty(run.result)
    with _ended(run, keep=True):
        yield run


def _empty(folder: Path) -> None:
    """Removes what is in a folder, which is there at every moment."""
    for file in folder.iterdir():
        shutil.rmtree(file) if file.is_dir() else file.unlink()


def read_job(wanted: Path, kind: Kind = "transfer") -> dict[str, Any]:
    """Returns what the unfinished run `wanted` was asked for.

    Args:
        wanted: Where it is to be.
        kind: What is to be gone on with.

    Raises:
        NotFoundError: There is none.
        IntegrityError: What it says cannot be read.
        UsageError: It is to be something else.
    """
    file = unfinished_path(wanted) / _JOB
    try:
        job = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{file} cannot be read ({error}); remove {file.parent} and begin anew.") from error
    if not isinstance(job, dict) or job.get("schema") != _SCHEMA:
        found = job.get("schema") if isinstance(job, dict) else job
        raise IntegrityError(f"{file} has schema {found!r}; this version of zoo reads schema {_SCHEMA}.")
    if (found := kind_of(job)) != kind:
        raise UsageError(f"{wanted} is a {found} that was not finished. To go on with it: {how_to_go_on(wanted)}")
    return job


def how_to_go_on(run: Path) -> str:
    """Returns the command that goes on with an unfinished run, given by its folder or by where it is to be."""
    wanted = run.with_name(run.name.removesuffix(SUFFIX))
    command = "transfer"
    with contextlib.suppress(OSError, ValueError, AttributeError):
        job = json.loads((wanted.with_name(wanted.name + SUFFIX) / _JOB).read_bytes())
        command = "pretrain" if kind_of(job) == "pretraining" else command
    return f"zoo {command} --resume {wanted}"


def unfinished_path(run: Path) -> Path:
    """Returns the folder of an unfinished run, given by that, by where it is to be, or by its name in `runs/`.

    Raises:
        NotFoundError: There is none; UsageError where it is finished.
    """
    run = run if run.name else run.resolve()
    name = run.name.removesuffix(SUFFIX)
    places = [run.with_name(name + SUFFIX), Path("runs", run.with_name(name + SUFFIX))]
    found = next((each for each in places if each.is_dir()), None)
    if found:
        return found
    if any((each.with_name(name) / "run.json").is_file() for each in places):
        raise UsageError(f"The run {run} is finished; there is nothing to resume. See: zoo runs")
    beside = [str(each) for each in unfinished_runs(Path("runs"))]
    there = f" Unfinished: {', '.join(beside)}." if beside else ""
    raise NotFoundError(f"No unfinished run at {places[0]}.{there}")


def unfinished_runs(folder: Path) -> list[Path]:
    """Returns the folders of unfinished runs in `folder`, the newest first."""
    found = [file.parent for file in folder.glob(f"*{SUFFIX}/{_JOB}")]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def has_progress(path: Path) -> bool:
    """Returns whether there is something to go on from in an unfinished run's folder: a checkpoint, or a search."""
    if any(path.glob("checkpoint-*.safetensors")):
        return True
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return json.loads((path / _JOB).read_bytes()).get("search") is not None
    return False


def free_name(wanted: Path) -> Path:
    """Returns `wanted`, or the first of `wanted-2`, `wanted-3`... that does not exist."""
    return next(path for path in _names(wanted) if not path.exists())


def _names(wanted: Path) -> Iterator[Path]:
    yield wanted
    yield from (wanted.with_name(f"{wanted.name}-{number}") for number in itertools.count(2))


def _begun(wanted: Path) -> UnfinishedRun:
    """Makes the folder under the first free name; it is locked before it has that name."""
    temporary = temporary_name(wanted)
    temporary.mkdir()
    lock = os.open(temporary / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try_lock(lock)
    (temporary / _RESULT).mkdir()
    for name in _names(wanted):
        path = name.with_name(name.name + SUFFIX)
        if name.exists() or (path.exists() and not _is_given_up(path)):
            continue
        try:
            temporary.rename(path)
        except OSError:
            if path.exists():
                continue  # somebody was quicker
            raise
        return UnfinishedRun(path, lock)
    raise AssertionError("there are infinitely many names")


def _is_given_up(path: Path) -> bool:
    """Removes what a killed run left without anything to go on from; says so of one that has something."""
    try:
        lock = os.open(path / _LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        if not try_lock(lock):
            return False
        if has_progress(path):
            _log.warning(
                "%s is a run that was not finished. To go on with it: %s. Or remove it.", path, how_to_go_on(path)
            )  # fmt: skip
            return False
        shutil.rmtree(path, ignore_errors=True)
        return not path.exists()
    finally:
        os.close(lock)


@contextlib.contextmanager
def _ended(run: UnfinishedRun, *, keep: bool) -> Iterator[None]:
    try:
        yield
    except BaseException:
        keep = keep or has_progress(run.path)
        run.close(keep=keep)
        if keep:
            _log.warning("What was done is kept. To go on: %s", how_to_go_on(run.path))
        raise
    run.close(keep=False)
