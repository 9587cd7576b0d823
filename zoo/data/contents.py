"""Remembers what is in files, so that each is read once, ever: `$ZOO_HOME/contents.sqlite`.

Two tables: which content a file has, as long as it looks untouched (path, inode, size and times), and what is known of
a content. What is damaged is made anew; where nothing can be kept, everything is looked at each time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

RACY_NS = 2_000_000_000
"""A file that was changed so shortly before it was read may be changed again without that showing in its times."""

_VERSION = 1
_SCHEMA = f"""
PRAGMA user_version = {_VERSION};
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, inode INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER,
                                  sha256 BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents (sha256 BLOB, version TEXT, format TEXT, mode TEXT, width INTEGER, height INTEGER,
                                     frames INTEGER, orientation INTEGER, fault TEXT, thumbnail BLOB,
                                     PRIMARY KEY (sha256, version)) WITHOUT ROWID;
"""
_BIGGEST = (1 << 63) - 1
_WAIT_SECONDS = 5.0
_CACHE_KIB = 1 << 16

Fields = tuple[str, str, int, int, int, int, str | None, bytes]
"""format, mode, width, height, frames, orientation, fault, thumbnail."""


class Contents:
    """What is remembered of files and their contents; several threads may ask.

    Args:
        path: The database; its folder is made where it is missing.
        version: Of what looks at contents; what another version saw is not believed.
    """

    def __init__(self, path: Path, version: str) -> None:
        self._path, self._version = path, version
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open()

    def close(self) -> None:
        """Ends the use of the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def known(self, path: bytes, status: os.stat_result) -> tuple[bytes, Fields | None] | None:
        """Returns the sha256 of a file, and what is known of that content; None where the file is not known as it is.

        The sha256 of a file whose first bytes are no picture's is empty.
        """
        row = self._do(lambda connection: connection.execute(
            "SELECT f.inode, f.size, f.mtime, f.ctime, f.sha256, c.format, c.mode, c.width, c.height, c.frames,"
            " c.orientation, c.fault, c.thumbnail, c.sha256 IS NULL FROM files f"
            " LEFT JOIN contents c ON c.sha256 = f.sha256 AND c.version = ? WHERE f.path = ?", (self._version, path)
        ).fetchone())  # fmt: skip
        if row is None or row[:4] != _looks(status):
            return None
        return row[4], None if row[13] else row[5:13]

    @contextlib.contextmanager
    def asked_often(self) -> Iterator[None]:
        """Makes many questions quick: what others write meanwhile is not seen."""
        self._do(lambda connection: connection.execute("BEGIN"))
        try:
            yield
        finally:
            self._do(lambda connection: connection.rollback())

    def of_content(self, sha256: bytes) -> Fields | None:
        """Returns what is known of a content; None where it was never looked at."""
        fields: Fields | None = self._do(lambda connection: connection.execute(
            "SELECT format, mode, width, height, frames, orientation, fault, thumbnail FROM contents"
            " WHERE sha256 = ? AND version = ?", (sha256, self._version)
        ).fetchone())  # fmt: skip
        return fields

    def remember(
        self,
        files: Iterable[tuple[bytes, os.stat_result, bytes, int]],
        contents: Iterable[tuple[bytes, Fields]],
    ) -> None:
        """Keeps what was seen: files (path, status, sha256, time in ns when reading began), and contents.

        Files that were changed just before they were read are left out.
        """
        steady = [
            (path, *_looks(status), sha256)
            for path, status, sha256, began in files
            if began - max(status.st_mtime_ns, status.st_ctime_ns) > RACY_NS
        ]
        seen = [(sha256, self._version, *fields) for sha256, fields in contents]

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", steady)
                connection.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", seen)

        self._do(write)

    def _open(self) -> None:
        for _ in range(2):
            try:
                connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, check_same_thread=False)
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version not in (0, _VERSION):
                    raise sqlite3.DatabaseError(f"version {version}")
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                if version != _VERSION:
                    connection.executescript(_SCHEMA)
                self._connection = connection
                return
            except sqlite3.OperationalError:  # busy, or not ours to write
                return
            except sqlite3.DatabaseError:
                self._start_anew()

    def _start_anew(self) -> None:
        """Removes a damaged database: what it knew can be seen again."""
        self.close()
        for suffix in ("", "-journal", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _do(self, action: Callable[[sqlite3.Connection], Result]) -> Result | None:
        """Returns what `action` gives, or None where the database cannot be used."""
        with self._lock:
            if self._connection is None:
                return None
            try:
                return action(self._connection)
            except sqlite3.OperationalError:  # busy for long, the disk is full, or not ours to write
                self.close()
            except sqlite3.DatabaseError:
                self._start_anew()
                self._open()
            return None


def _looks(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_ino & _BIGGEST, status.st_size, status.st_mtime_ns, status.st_ctime_ns
