"""Reads whole files that may be anything: never a pipe or a device, never more than a bound, and again after EIO."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from zoo.errors import DataError

MAX_BYTES = 1 << 30
_PIECE = 1 << 20


def read_file(path: str | Path, told: Callable[[], object] | None = None) -> bytes:
    """Returns the bytes of a regular file.

    Args:
        path: The file; a link is followed.
        told: Called after each piece that was read.

    Raises:
        OSError: It cannot be opened or read; an input/output error twice in a row.
        DataError: It is a pipe, a socket or a device, or has more than 1 GiB.
    """
    try:
        return _read(path, told)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return _read(path, told)


def read_head(path: str | Path, size: int) -> bytes:
    """Returns the first bytes of a regular file; the errors are those of `read_file`."""
    descriptor = _opened(path)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def _read(path: str | Path, told: Callable[[], object] | None) -> bytes:
    descriptor = _opened(path)
    try:
        size = os.fstat(descriptor).st_size
        if size > MAX_BYTES:
            raise DataError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read.")
        pieces, total = [], 0
        while piece := os.read(descriptor, min(_PIECE, max(size + 1 - total, 1))):
            pieces.append(piece)
            total += len(piece)
            if told:
                told()
            if total > MAX_BYTES:
                raise DataError(f"{path} grows while it is read; at most {MAX_BYTES:,} bytes are read.")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    finally:
        os.close(descriptor)


def _opened(path: str | Path) -> int:
    """Returns the descriptor of a regular file. Anything else is left unopened: to open a pipe waits, a device acts."""
    _refuse_special(path, Path(path).stat().st_mode)
    # It may be another file by now: not to wait even then, and to look again.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    try:
        _refuse_special(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_special(path: str | Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is no picture but a pipe, a socket or a device.")
