"""Where the store keeps what: the folders below `$ZOO_HOME`, and whether this version may write there.

blobs/sha256/<hex>     verified files, named by their content; shared by all models
about/<hex>.json       what is known of a blob: its other digests, where it came from, when it was last checked
artifacts/<name>.json  which blobs are a model's
extracted/<hex>/       the members of an archive, in their folders
converted/<hex>/       what became of weights in another format: one folder for each definition
corrupt/               blobs that did not match their names, kept for a look
locks/, tmp/           advisory locks, and what is not finished
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import DiskError, IntegrityError, UnsafeFileError, ZooError
from zoo.files import make_folder, write_bytes, zoo_home
from zoo.names import folded
from zoo.store.documents import read_json

SCHEMA = 1

_ROOM = 1 << 20  # what else is written beside a file

_log = logging.getLogger("zoo")


@dataclass(frozen=True)
class Layout:
    """The paths of one store.

    Attributes:
        home: The folder of all that `zoo` keeps.
    """

    home: Path

    @property
    def blobs(self) -> Path:
        """The folder of verified files."""
        return self.home / "blobs" / "sha256"

    @property
    def about(self) -> Path:
        """The folder of what is known of blobs."""
        return self.home / "about"

    @property
    def artifacts(self) -> Path:
        """The folder of what was pulled, by model."""
        return self.home / "artifacts"

    @property
    def extracted(self) -> Path:
        """The folder of extracted archives."""
        return self.home / "extracted"

    @property
    def converted(self) -> Path:
        """The folder of what other formats became."""
        return self.home / "converted"

    @property
    def corrupt(self) -> Path:
        """The folder of damaged blobs."""
        return self.home / "corrupt"

    @property
    def tmp(self) -> Path:
        """The folder of what is not finished; in the same file system as the blobs, unless a user moved those."""
        return self.home / "tmp"

    def artifact(self, name: str) -> Path:
        """Returns where the record of the model `name` is."""
        return self.artifacts / f"{name}.json"

    def lock(self, *words: str) -> Path:
        """Returns the lock file for what `words` name."""
        return self.home / "locks" / f"{short_key(*words)}.lock"


def layout() -> Layout:
    """Returns the paths of the store in `$ZOO_HOME`. Nothing is created or looked at."""
    return Layout(zoo_home())


def short_key(*words: str) -> str:
    """Returns a file name for what `words` name, the same whatever their case."""
    return hashlib.sha256("\0".join(folded(word) for word in words).encode()).hexdigest()[:20]


def prepare(paths: Layout) -> None:
    """Makes the store's folders, and refuses one that is not this version's to write.

    Raises:
        IntegrityError: A newer version of zoo wrote the store.
        DiskError: It cannot be written.
    """
    refuse_newer(paths)
    for folder in (paths.blobs, paths.about, paths.artifacts, paths.tmp):
        make_folder(folder)
    marker = paths.home / "store.json"
    if not marker.exists():
        write_bytes(marker, json.dumps({"schema": SCHEMA}).encode() + b"\n")


def refuse_newer(paths: Layout) -> None:
    """Raises `IntegrityError` where a newer version of zoo wrote the store."""
    record = read_json(paths.home / "store.json")  # None is not there yet; the records say their version too
    found = record.get("schema") if isinstance(record, dict) else None
    if type(found) is int and found > SCHEMA:
        raise IntegrityError(
            f"The store {paths.home} has schema {found}; this version of zoo writes schema {SCHEMA}. "
            "Upgrade zoo (pip install --upgrade zoo-transfer), or set ZOO_HOME to another folder."
        )


def refuse_without_room(needed: int, what: str, folder: Path) -> None:
    """Raises `DiskError` where `needed` more bytes have no room in the file system of `folder`."""
    free = shutil.disk_usage(folder).free
    if needed > 0 and needed + _ROOM > free:
        raise DiskError(
            f"{what} needs {needed:,} bytes more below {folder}, where {free:,} are free. "
            "Free some (zoo gc --all, zoo rm NAME), or set ZOO_HOME to a larger disk."
        )


def warn_of_other_writers(paths: Layout) -> None:
    """Says once a process that others could put files here: what is loaded from the store is trusted."""
    for folder in (paths.home, paths.blobs, paths.about):
        if folder.is_dir():
            _warn_of_other_writers(folder)


@functools.cache
def _warn_of_other_writers(home: Path) -> None:
    status = home.stat()
    if status.st_uid != os.getuid():
        _log.warning("The store %s belongs to another user (uid %d), who can change its files.", home, status.st_uid)
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        _log.warning("Everybody can write to the store %s. Mend it: chmod o-w %s", home, home)


@contextlib.contextmanager
def readable(paths: Layout) -> Iterator[None]:
    """Turns refusals to read the store, for instance one of another user, into a `DiskError`."""
    try:
        yield
    except ZooError:
        raise
    except PermissionError as error:
        raise DiskError(
            f"Cannot read {error.filename or paths.home}: {error.strerror}; look at its permissions, or set ZOO_HOME "
            "to another folder."
        ) from error


def refuse_link(path: Path) -> None:
    """Raises `UnsafeFileError` where `path` is a symbolic link: the store makes none, so somebody planted it."""
    if path.is_symlink():
        raise UnsafeFileError(
            f"{path} is a symbolic link; the store makes none. Look at where it leads, remove it, and run the same "
            "command again."
        )
