"""Finds the files below a folder, without opening one: what is hidden, special or a link is told from the rest."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_LITTER = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information"}
)


@dataclass(frozen=True)
class FoundFile:
    """A regular file, or why what is there is passed over.

    Attributes:
        path: Relative to the folder, parts between slashes; bytes that are no UTF-8 are surrogates (`os.fsdecode`).
        status: Of the file; None where `fault` says why there is none.
        fault: Why it is passed over: it, or its folder, cannot be read.
    """

    path: str
    status: os.stat_result | None
    fault: str | None = None


def is_litter(name: str) -> bool:
    """Returns whether a name is passed over in silence: hidden, or left by a system's file manager."""
    return name.startswith(".") or name.casefold() in _LITTER


def files_under(folder: str, *, follow_links: bool = False, links: list[str] | None = None) -> Iterator[FoundFile]:
    """Yields the files below a folder, sorted by name within each; pipes, sockets and devices are passed over.

    Args:
        folder: Where; it may itself be a link.
        follow_links: Whether links to files and folders are followed, wherever they lead. A folder is entered only
            once on any way from the top, so that links cannot go round for ever.
        links: The names of links that are not followed are added to it.
    """
    status = Path(folder).stat()
    top = _Level("", ((status.st_dev, status.st_ino),))
    levels = [(top, iter(_entries(folder, "")))]
    while levels:  # not by recursion: folders may lie deeper than that goes
        level, entries = levels[-1]
        entry = next(entries, None)
        if entry is None:
            levels.pop()
        elif isinstance(entry, FoundFile):
            yield entry
        elif is_litter(entry.name):
            continue
        elif not follow_links and entry.is_symlink():
            if links is not None:
                links.append(entry.name)
        else:
            found = _looked_at(entry, level, follow_links)
            if isinstance(found, _Level):
                levels.append((found, iter(_entries(folder, found.prefix))))
            elif found:
                yield found


@dataclass(frozen=True)
class _Level:
    """A folder on the way down: its path relative to the top, and the identities of it and all above."""

    prefix: str
    identities: tuple[tuple[int, int], ...]


def _entries(folder: str, prefix: str) -> Sequence[os.DirEntry[str] | FoundFile]:
    try:
        with os.scandir(Path(folder, prefix)) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        return [FoundFile(prefix or ".", None, f"the folder cannot be read: {error.strerror}")]


def _looked_at(entry: os.DirEntry[str], level: _Level, follow: bool) -> FoundFile | _Level | None:
    """Returns what an entry is: a file, a folder that is not above itself, or nothing to look at."""
    path = f"{level.prefix}/{entry.name}" if level.prefix else entry.name
    try:
        status = entry.stat(follow_symlinks=follow)
    except OSError as error:  # gone since, or a link to nothing
        return FoundFile(path, None, f"it cannot be looked at: {error.strerror}")
    if stat.S_ISREG(status.st_mode):
        return FoundFile(path, status)
    identity = (status.st_dev, status.st_ino)
    if not stat.S_ISDIR(status.st_mode) or identity in level.identities:
        return None
    return _Level(path, (*level.identities, identity))
