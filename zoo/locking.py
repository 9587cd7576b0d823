"""Whole-file locks that the kernel drops when their holder dies. What they guard is for those who ask to know."""

from __future__ import annotations

import logging
import os
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path

_log = logging.getLogger("zoo")


def try_lock(descriptor: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Returns whether the lock of an open file is ours now; None where the file system knows no locks."""
    try:
        flock(descriptor, (LOCK_SH if shared else LOCK_EX) | (0 if wait else LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        _log.debug("No locks here: %s", error)
        return None
    return True


def is_at(path: Path, descriptor: int) -> bool:
    """Returns whether an open file still is what lies at `path`: not removed, and not replaced."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
