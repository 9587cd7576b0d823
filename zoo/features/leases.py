"""Leases: who uses a folder of features, so that nothing is removed while it is needed.

A lease is a small locked file in the folder. The kernel drops the lock of a holder that dies. Where a file system knows
no locks, it is asked whether the process that wrote it still lives.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.locking import is_at, try_lock

_log = logging.getLogger("zoo")
_NAME = ".lease"
_BELIEVED = 86_400.0  # a lease of another machine, where there are no locks, counts for so long (s)
_TRIES = 10


@dataclass(frozen=True)
class User:
    """A process that uses features: its number, since when (s since 1970), and on which machine."""

    pid: int
    since: float
    host: str

    def __str__(self) -> str:
        return f"process {self.pid} since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(self.since))}"


class Lease:
    """Holds a folder of features against removal until it is closed, collected, or its process ends.

    Args:
        folder: The folder; it is made where it is missing. Where it cannot be written, nothing is held.
    """

    def __init__(self, folder: Path) -> None:
        self._end: Any = None
        try:
            for _ in range(_TRIES):
                if self._take(folder):
                    return
        except OSError as error:
            _log.debug("No lease on %s: %s", folder, error)

    def _take(self, folder: Path) -> bool:
        """Returns whether the lease lies where others look: a folder that is being removed is moved aside first."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{_NAME}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:
            return False
        try_lock(descriptor)
        with contextlib.suppress(OSError):  # a full disk: the lock alone holds it
            os.write(descriptor, json.dumps(_myself()).encode())
        if not is_at(path, descriptor):
            os.close(descriptor)
            return False
        self._end = weakref.finalize(self, _release, path, descriptor, os.getpid())
        return True

    def close(self) -> None:
        """Lets go."""
        if self._end is not None:
            self._end()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def users(folder: Path) -> list[User]:
    """Returns who uses a folder of features now, those who came first before others."""
    found = [user for path in folder.glob(f"{_NAME}.*") if (user := _user(path)) is not None]
    return sorted(found, key=lambda user: user.since)


def is_lease(path: Path) -> bool:
    """Returns whether a file of a folder of features is a lease, held or not."""
    return path.name.startswith(f"{_NAME}.")


def _user(path: Path) -> User | None:
    """Returns who holds a lease; None where nobody does any more."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
    try:
        since = os.fstat(descriptor).st_mtime
        record = _record(descriptor)
        user = User(_whole(record.get("pid")) or _pid_in(path), since, str(record.get("host", "")))
        free = try_lock(descriptor)
        if free is False:
            return user
        if user.host == socket.gethostname():
            begun = _begun(user.pid)
            return user if begun and begun == record.get("begun") else None
        return user if free is None and time.time() - since < _BELIEVED else None
    finally:
        os.close(descriptor)


def _release(path: Path, descriptor: int, owner: int) -> None:
    if os.getpid() == owner:  # a forked child has a copy of the handle, and no say in it
        with contextlib.suppress(OSError):
            path.unlink()
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _myself() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "begun": _begun(os.getpid())}


def _begun(pid: int) -> str:
    """Returns when a process of this machine began, which tells it from a later one of its number; "" where none is."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return ""
    except PermissionError:
        return "lives"
    return "lives" if pid > 0 else ""


def _record(descriptor: int) -> dict[str, Any]:
    try:
        record = json.loads(os.pread(descriptor, 4096, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _pid_in(path: Path) -> int:
    number = path.name.split(".")[2]
    return int(number) if number.isascii() and number.isdecimal() else 0
