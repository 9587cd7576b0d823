"""The tree of errors, each with the exit code that the command line ends with.

    ZooError                  1
    ├── UsageError            2    an argument that cannot be right
    │   └── CutError          2    a cut that the model does not allow
    ├── NotFoundError         3    no such model, run or file
    │   └── OfflineError      3    it would need the network
    ├── IntegrityError        4    a file that is not what it should be
    │   ├── NotConvertible    4    a whole model that cannot be made one of layers
    │   └── MissingClassError 4    a file that needs a class which this process does not know
    ├── UnsafeFileError       5    a file that is refused unread
    ├── DiskError             6    no space, no permission
    ├── BusyError             7    another process holds it
    ├── DataError             8    examples that cannot be used
    └── TrainingError         9    training failed

A message says what was expected, what was found, and what to try next.
"""

from __future__ import annotations

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


class MissingClassError(IntegrityError):
    """A whole file of a model that needs a class, or function, which this process does not know."""


class NotConvertible(IntegrityError):  # noqa: N818  what is wrong is not the file
    """A whole model of TensorFlow that cannot be made one of layers: it may be used as it is, as one."""


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


_ALIKE = 0.6  # the least likeness (difflib's ratio) that is worth offering
_AS_GOOD = 0.1  # names so much less like than the best are not offered beside it
_UNSPOKEN = str.maketrans("", "", "-_.")


def nearest_names(wanted: str, known: Iterable[str]) -> str:
    """Returns " Did you mean a, b?" for the known names like `wanted`, or "" where none is.

    Case, `-`, `_`, `.` and other parts between slashes do not hide a near name.

    >>> nearest_names("VGG_61", ["vgg16", "slim/vgg_16", "resnet50"])
    ' Did you mean vgg16, slim/vgg_16?'
    """
    mine = _spellings(wanted)
    alike = {name: _likeness(mine, _spellings(name)) for name in known}
    least = max(_ALIKE, min(1.0, max(alike.values(), default=0.0)) - _AS_GOOD)
    near = sorted((-value, len(name), name) for name, value in alike.items() if value >= least)
    return f" Did you mean {', '.join(name for _, _, name in near[:3])}?" if near else ""


def _spellings(name: str) -> set[str]:
    """Returns the whole of a name and its parts, without what people write in one way or another."""
    whole = name.casefold().translate(_UNSPOKEN)
    _, *parts = whole.split("/")  # what comes first is a source, which many have
    return {whole, *(part for part in parts if len(part) > 2)}  # a version number is like any other


def _likeness(mine: set[str], theirs: set[str]) -> float:
    import difflib  # here, for the sake of a quick `zoo list`

    if same := mine & theirs:
        return 1.0 + (max(same, key=len) == max(mine, key=len))  # the whole name is better than a part of it
    matchers = [difflib.SequenceMatcher(None, one, other) for one in mine for other in theirs]
    return max(match.ratio() if match.quick_ratio() >= _ALIKE else 0.0 for match in matchers)
