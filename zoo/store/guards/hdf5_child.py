"""Asks a child process what an HDF5 file holds: runs `hdf5_lister.py` with limits of time, memory and words.

A file may have taken the child over, so that its words are trusted no more than the file. What they mean, once they
are an answer, is not known here.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from zoo.errors import IntegrityError, UnsafeFileError, ZooError
from zoo.store.guards.hdf5_told import nonsense, plain

_LISTER = Path(__file__).with_name("hdf5_lister.py")
_SECONDS = 20  # of processor time, and more for larger files
_PATIENCE = 60  # seconds that pass, besides twice those: the disk may be slower than the processor
_BYTES_A_SECOND = 2 << 20  # packed; a hundredth of what an ordinary processor unpacks
_MEMORY = 4 << 30
_LONGEST_ANSWER = 128 << 20


def answer(task: str, path: Path, size: int) -> dict[str, Any]:
    """Returns what the child says of a file of `size` bytes.

    Raises:
        UnsafeFileError: It crashed, took too much, or found too much.
        IntegrityError: It could not read the file.
        ZooError: It cannot be run.
    """
    seconds = _SECONDS + size // _BYTES_A_SECOND
    limits = [str(seconds), str(_MEMORY)]
    command = [sys.executable, "-I", str(_LISTER), task, *limits, str(path.absolute()), *_library_folders()]
    output, status = _output(command, 2 * seconds + _PATIENCE)
    if status != 0:
        raise UnsafeFileError(f"the program that reads it crashed on it ({_death(status)})")
    try:
        told = json.loads(output)
    except (ValueError, RecursionError):  # cut off, no UTF-8, no JSON, or nested like no answer
        told = None
    if not isinstance(told, dict):
        raise nonsense()
    if told.get("memory"):
        raise UnsafeFileError(f"reading it takes more than the {_MEMORY >> 20:,} MiB of memory that it may")
    if "excess" in told:
        raise UnsafeFileError(plain(told["excess"]))
    if "failure" in told:
        raise IntegrityError(plain(told["failure"]))
    return told


def _output(command: list[str], seconds: float) -> tuple[bytes, int]:
    """Returns what a program wrote, no more than an answer may have, and how it ended; it is killed after `seconds`."""
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, close_fds=True
        )
    except OSError as error:
        raise ZooError(
            f"Expected to run {command[0]} to look into an HDF5 file; the system refuses ({error.strerror or error}). "
            "Close some programs and try again."
        ) from error
    clock = threading.Timer(seconds, child.kill)
    clock.daemon = True
    clock.start()
    with child:
        try:
            assert child.stdout is not None
            output = child.stdout.read(_LONGEST_ANSWER + 1)
            if len(output) > _LONGEST_ANSWER:
                raise UnsafeFileError(f"it holds more than {_LONGEST_ANSWER >> 20} MiB of names and texts")
            return output, child.wait()
        finally:
            clock.cancel()
            child.kill()  # where it has not ended


def _library_folders() -> list[str]:
    """Returns where h5py and NumPy lie, which the child, deaf to the user's settings, may not find by itself."""
    places = [importlib.util.find_spec(name) for name in ("h5py", "numpy")]  # imports neither
    if not all(place and place.origin for place in places):
        raise ZooError("Expected h5py and NumPy, to look into an HDF5 file; found none. Try: pip install h5py numpy")
    return [str(Path(place.origin).parent.parent) for place in places if place and place.origin]


def _death(status: int) -> str:
    if status == -signal.SIGXCPU:
        return "it took more processor time than it may"
    if status == -signal.SIGKILL:
        return "it was ended, for it took too long or the system had no memory left"
    if status < 0:
        return signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"exit code {status}"
