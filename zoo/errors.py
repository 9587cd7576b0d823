"""The tree of errors, each with the exit code that the command line ends with.

    ZooError                 1
    ├── UsageError           2    an argument that cannot be right
    │   └── CutError         2    a cut that the model does not allow
    ├── NotFoundError        3    no such model, run or file
    │   └── OfflineError     3    it would need the network
    ├── IntegrityError       4    a file that is not what it should be
    ├── UnsafeFileError      5    a file that is refused unread
    ├── DiskError            6    no space, no permission
    ├── BusyError            7    another process holds it
    ├── DataError            8    examples that cannot be used
    └── TrainingError        9    training failed

A message says what was expected, what was found, and what to try next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Anything that this package refuses or fails to do."""

    exit_code = 1


class UsageError(ZooError, ValueError):
    """An argument that cannot be right."""

    exit_code = 2


class CutError(UsageError):
    """A model that cannot be cut, or not there."""


class NotFoundError(ZooError, LookupError):
    """No such model, run, data set or file."""

    exit_code = 3


class OfflineError(NotFoundError):
    """Not on this machine, and the network may not be used."""


class IntegrityError(ZooError):
    """A file that is damaged, or not the file that was meant."""

    exit_code = 4


class UnsafeFileError(ZooError):
    """A file that could do harm, refused before it is opened."""

    exit_code = 5


class DiskError(ZooError, OSError):
    """The disk is full, read-only, or not ours to write."""

    exit_code = 6


class BusyError(ZooError):
    """Another process holds what is needed."""

    exit_code = 7


class DataError(ZooError, ValueError):
    """Examples that cannot be used."""

    exit_code = 8


class TrainingError(ZooError, ArithmeticError):
    """Training failed."""

    exit_code = 9


def nearest_names(wanted: str, known: Iterable[str]) -> str:
    """Returns " Did you mean a, b?" for the known names like `wanted`, or "" where none is."""
    near = difflib.get_close_matches(wanted, list(known), n=3, cutoff=0.5)
    return f" Did you mean {', '.join(near)}?" if near else ""
