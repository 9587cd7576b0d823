"""Advisory locks, so that two processes do not do the same work and nothing is removed while it is read.

The kernel drops them when their holder dies. Where a file system knows no locks, work goes on without them: commits are
renames of private files, so the worst is that something is done twice.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import BusyError, UnsafeFileError
from zoo.files import disk_errors, make_folder
from zoo.locking import is_at, try_lock
from zoo.store.layout import refuse_link

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
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    try:
        _wait(descriptor, path, work, timeout)
        _sign(descriptor, work)
        yield
    finally:
        os.close(descriptor)  # which drops the lock


@contextlib.contextmanager
def in_use(path: Path) -> Iterator[int]:
    """Holds the blob `path` against removal while it is read; gives a descriptor to read it by.

    Raises:
        FileNotFoundError: It is not there.
        UnsafeFileError: It is a link.
    """
    descriptor = _open_blob(path)
    try:
        try_lock(descriptor, shared=True, wait=True)
        if not is_at(path, descriptor):  # removed, or replaced, between opening and locking
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Claim:
    """What is known of a blob that is to be removed.

    Attributes:
        path: The blob.
        descriptor: What was there, open; None where nothing was.
        free: Whether nobody reads it: it is held against that as long as the claim lasts.
    """

    path: Path
    descriptor: int | None
    free: bool

    def still_holds(self) -> bool:
        """Returns whether what is there now is what was claimed: a pull may have put another in its place."""
        if self.descriptor is None:
            return not os.path.lexists(self.path)
        return self.free and is_at(self.path, self.descriptor)


@contextlib.contextmanager
def for_removal(path: Path, patience: float = 0.0) -> Iterator[Claim]:
    """Claims the blob `path` for removal, waiting `patience` seconds for those who read it."""
    try:
        descriptor = _open_to_lock(path)
    except FileNotFoundError:
        yield Claim(path, None, True)
        return
    try:
        until = time.monotonic() + patience
        while not (free := try_lock(descriptor) is not False) and time.monotonic() < until:
            time.sleep(_POLL)
        yield Claim(path, descriptor, free)
    finally:
        os.close(descriptor)


def _open_to_lock(path: Path) -> int:
    """Opens a blob so that it can be locked alone: on NFS, for writing; where that may not be, there is no removal."""
    try:
        return _open_blob(path, os.O_RDWR)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        return _open_blob(path)


def _open_blob(path: Path, mode: int = os.O_RDONLY) -> int:
    try:
        descriptor = os.open(path, mode | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would else be waited for
    except OSError:
        refuse_link(path)
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafeFileError(f"{path} is no regular file, where the store keeps files. Look at it, and remove it.")
    return descriptor


def _wait(descriptor: int, path: Path, work: str, timeout: float | None) -> None:
    began, told = time.monotonic(), False
    while try_lock(descriptor) is False:
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


def _sign(descriptor: int, work: str) -> None:
    """Writes who holds the lock into it, for those who wait."""
    with contextlib.suppress(OSError):  # a full disk keeps nobody from working
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "since": time.time(), "work": work}).encode(), 0)


def _holder(descriptor: int) -> str:
    try:
        record = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(record['pid'])} (to {record['work']}, for {time.time() - record['since']:.0f} s)"
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return "another process"
