"""Paths in which TensorFlow sees no pattern: it takes `*`, `?`, `[` and `\\` in one to stand for other names.

A file whose path has such a sign is not found, or another is opened in its place. So it is given another path.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import UsageError

_SIGNS = frozenset("*?[") if os.sep == "\\" else frozenset("*?[\\")


@contextlib.contextmanager
def literal_folder(folder: Path) -> Iterator[Path]:
    """Gives a path of a folder that is no pattern: its own, or that of a link as long as the context lasts.

    Raises:
        UsageError: Its path is a pattern, and no link to it can be made.
    """
    if not _is_pattern(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="zoo-") as private:
        link = Path(private) / "folder"
        _link(link, folder)
        yield link


@contextlib.contextmanager
def literal_prefix(prefix: Path) -> Iterator[Path]:
    """Gives a prefix of a checkpoint that is no pattern: its own, or that of links as long as the context lasts.

    Raises:
        UsageError: The prefix is a pattern, and no links to its files can be made.
    """
    if not _is_pattern(prefix):
        yield prefix
        return
    with tempfile.TemporaryDirectory(prefix="zoo-") as private:
        made = Path(private) / "checkpoint"
        for path in prefix.parent.iterdir() if prefix.parent.is_dir() else ():
            rest = path.name.removeprefix(prefix.name)
            if path.is_file() and (path.name == prefix.name or (rest != path.name and rest.startswith("."))):
                _link(made.with_name(f"{made.name}{rest}"), path)
        yield made


def _is_pattern(path: Path) -> bool:
    return not _SIGNS.isdisjoint(os.fspath(path))


def _link(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target.absolute(), target_is_directory=target.is_dir())
    except OSError as error:  # Windows asks for a right that few have
        raise UsageError(
            f"Expected a path without *, ?, [ and \\, which TensorFlow takes for a pattern; got {target}, and no link "
            f"to it can be made ({error.strerror}). Move it to where no name has such a sign."
        ) from error
