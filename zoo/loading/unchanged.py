"""Sees that what a guard has judged is still the same once a library has read it: both open it by its name."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from zoo.errors import IntegrityError, ZooError
from zoo.store.unpacking import shown

_MOST_FILES = 20_000  # of a folder; guards refuse those of fewer
Identity = tuple[int, ...] | None


def file_alone(path: Path) -> Iterable[Path]:
    """Returns a file, as all that is read by its name."""
    return (path,)


def files_below(folder: Path) -> Iterable[Path]:
    """Returns what lies in a folder, as all that is read by its name."""
    return itertools.islice(folder.rglob("*"), _MOST_FILES)


def checkpoint_parts(prefix: Path) -> Iterable[Path]:
    """Returns the files whose names begin with a checkpoint's prefix, as all that is read by its name."""
    with contextlib.suppress(OSError):
        return [each for each in prefix.parent.iterdir() if f"{each.name}.".startswith(f"{prefix.name}.")]
    return ()


@contextlib.contextmanager
def unchanged(path: Path, files: Callable[[Path], Iterable[Path]] = file_alone) -> Iterator[None]:
    """Refuses files that are others when the context is left, or were written to meanwhile.

    They are judged and then read, both by their names: a model that was made of what nobody had judged is not given
    out. What reading it did is not undone: a folder where others may write is no place to load models from.

    Args:
        path: What is read, by its name.
        files: Returns the files that this is.

    Raises:
        IntegrityError: They are others.
    """
    before, failure = _identities(files(path)), None
    try:
        yield
    except ZooError as error:
        failure = error
    if _identities(files(path)) != before:
        raise IntegrityError(
            f"{shown(str(path))} changed while it was read: what was judged may not be what was loaded. Load it again "
            "when nobody writes to it any more."
        ) from failure
    if failure:
        raise failure


def _identities(paths: Iterable[Path]) -> dict[Path, Identity]:
    return {path: _identity(path) for path in paths}


def _identity(path: Path) -> Identity:
    """Returns what tells a file from another one; of a folder, only that it is one: what lies in it is told apart."""
    try:
        status = path.stat()
    except OSError:
        return None
    if path.is_dir():
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
