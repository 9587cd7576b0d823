"""Advisory locks, so that two processes do not do the same work and nothing is removed while it is read.

The kernel drops them when their holder dies. Where a file system knows no locks, work goes on without them: commits are
renames of private files, so the worst is that something is done twice.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import BusyError, UnsafeFileError
from zoo.files import disk_errors, make_folder
from zoo.store.layout import refuse_link

if sys.platform != "win32":
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
else:
    LOCK_EX = LOCK_NB = LOCK_SH = 0

    def flock(fd: int, operation: int) -> None:
        """Does nothing: there are no such locks here."""


_log = logging.getLogger("zoo")
_POLL = 0.05


@contextlib.contextmanager
def locked(path: Path, work: str, timeout: float | None = None) -> Iterator[None]:
    """Holds the lock file `path` alone while `work` (as in "pull vgg16") is done.

    Args:
        path: The lock file; it is made where it is missing, and stays.
        work: What is done under it, told to those who wait.
        timeout: Seconds to wait for another holder; None: as long as it lives.

    Raises:
        BusyError: Another process held it for longer than `timeout`.
        UnsafeFileError: The lock file is a link.
    """
    make_folder(path.parent)
    refuse_link(path)
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        _wait(descriptor, path, work, timeout)
        _sign(descriptor, work)
        yield
    finally:
        os.close(descriptor)  # which drops the lock


@contextlib.contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Holds the blob `path` against removal while it is read.

    Raises:
        FileNotFoundError: It is not there.
        UnsafeFileError: It is a link.
    """
    descriptor = _open_blob(path)
    try:
        _try_lock(descriptor, shared=True, wait=True)
        if os.fstat(descriptor).st_nlink == 0:  # removed between opening and locking
            raise FileNotFoundError(path)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def for_removal(path: Path) -> Iterator[bool]:
    """Holds the blob `path` for removal, and says whether that may be: nobody reads it."""
    try:
        descriptor = _open_blob(path)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _try_lock(descriptor, shared=False)
    finally:
        os.close(descriptor)


def is_in_use(path: Path) -> bool:
    """Returns whether somebody reads the blob `path` at this moment."""
    with for_removal(path) as free:
        return not free and path.exists()


def _open_blob(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        if path.is_symlink():
            raise UnsafeFileError(f"{path} is a symbolic link, where the store keeps files. Remove it.") from error
        raise


def _wait(descriptor: int, path: Path, work: str, timeout: float | None) -> None:
    began, told = time.monotonic(), False
    while not _try_lock(descriptor):
        waited = time.monotonic() - began
        if timeout is not None and waited >= timeout:
            raise BusyError(
                f"Cannot {work}: {_holder(descriptor)} holds {path} and did not let go within {timeout:g} s. "
                "Wait for it, end it, or allow more with --lock-timeout."
            )
        if not told and waited >= 1:
            _log.warning("Waiting to %s: %s is at it.", work, _holder(descriptor))
            told = True
        time.sleep(_POLL)


def _try_lock(descriptor: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Returns False where somebody else holds the lock; True where it is ours, or there are no locks here."""
    try:
        flock(descriptor, (LOCK_SH if shared else LOCK_EX) | (0 if wait else LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        _log.debug("No locks here: %s", error)
    return True


def _sign(descriptor: int, work: str) -> None:
    """Writes who holds the lock into it, for those who wait."""
    with contextlib.suppress(OSError):  # a full disk keeps nobody from working
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "since": time.time(), "work": work}).encode(), 0)


def _holder(descriptor: int) -> str:
    try:
        record = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(record['pid'])} (to {record['work']}, for {time.time() - record['since']:.0f} s)"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
