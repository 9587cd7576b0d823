"""Durable files: where they live, and writes that happen wholly or not at all.

Every write goes to a private temporary name in the same file system, is flushed to the disk, then renamed, and the
folder is flushed (the order that survives a power loss). Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from zoo.errors import DiskError, UsageError

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
_DISK_ERRORS |= {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}
_DISK_ERRORS |= {errno.EFBIG, errno.ENFILE, errno.ELOOP, errno.EBUSY}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ELSEWHERE = "another folder (ZOO_HOME; --out for a run)"
_HINTS = {
    errno.EMFILE: "close some programs, or allow more open files with ulimit -n",
    errno.ENFILE: "close some programs",
    errno.EIO: "check the disk",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_FROM_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_BEFORE = "before"  # the name of what gives way, as long as nothing is in its place


def zoo_home() -> Path:
    """Returns the folder of all that `zoo` keeps: `$ZOO_HOME`, or the user's data folder. It may not exist yet.

    Raises:
        UsageError: It begins with the home folder of a user (`~`, `~name`) who has none.
    """
    home = os.environ.get("ZOO_HOME")
    if not home:
        import platformdirs  # here, for the sake of a quick `zoo list`

        home = platformdirs.user_data_dir("zoo", appauthor=False)
    try:
        return Path(home).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"Expected a folder to keep things in; got {home!r}, and this system knows no such home folder ({error}). "
            "Set ZOO_HOME to a whole path."
        ) from error


@contextlib.contextmanager
def disk_errors(
    path: Path, hint: str | None = None, doing: str = "write", elsewhere: str = _ELSEWHERE
) -> Iterator[None]:
    """Turns the operating system's refusals to use `path` into a `DiskError` that says what to do.

    Args:
        path: What is written or read.
        hint: What to do; None: by the kind of refusal.
        doing: What is tried.
        elsewhere: What else may be chosen, where no hint is given.
    """
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        what_to_do = hint or _what_to_do(error.errno, elsewhere)
        raise DiskError(f"Cannot {doing} {path}: {error.strerror or error}; {what_to_do}.") from error


def _what_to_do(number: int | None, elsewhere: str) -> str:
    if number in _FULL:
        return f"free some space, or choose {elsewhere}"
    return _HINTS.get(number or 0, f"choose {elsewhere}")


def make_folder(path: Path) -> Path:
    """Returns `path`, created with its parents where it was missing."""
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


_TEMPORARY = re.compile(r"\..+\.\d+\.[0-9a-f]{8}\.tmp", re.S)


def temporary_name(path: Path) -> Path:
    """Returns a private name beside `path`; it starts with a dot, so that readers of the folder pass over it."""
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")


def remove_leftovers(folder: Path, older_than: float = 86_400.0) -> None:
    """Removes what killed processes left in `folder` under temporary names, untouched for `older_than` seconds."""
    for path in folder.glob(".*.tmp"):
        if not _TEMPORARY.fullmatch(path.name):
            continue  # it may be anybody's
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime <= older_than:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def flush(path: Path) -> None:
    """Makes a file's bytes, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def private_folder(path: Path, elsewhere: str = _ELSEWHERE) -> Iterator[Path]:
    """Gives a folder beside `path` to write in what `put_in_place` is to put there; it is removed on leaving.

    It stays only where it has what was at `path`, and that could not be put back.

    Raises:
        DiskError: It cannot be written there.
    """
    folder = temporary_name(path)
    with disk_errors(path, elsewhere=elsewhere):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            if os.path.lexists(path) or not os.path.lexists(folder / _BEFORE):
                shutil.rmtree(folder, ignore_errors=True)


def put_in_place(written: Path, path: Path) -> None:
    """Gives a file or a folder in a private folder the name `path`, durably.

    Of two folders the earlier one is there until the other is: a process that is killed leaves one of them whole. Where
    the system cannot exchange them, there is a moment between; what goes wrong then puts the earlier one back.
    """
    for each in [*sorted(written.rglob("*")), written] if written.is_dir() else [written]:
        flush(each)
    if not (path.is_dir() and _exchange(written, path)):
        _replace(written, path, written.with_name(_BEFORE))
    flush(path.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Gives two folders each other's names at one stroke, and returns whether that could be done.

    Linux can, on most file systems: https://man7.org/linux/man-pages/man2/rename.2.html
    """
    import ctypes  # here, for the sake of a quick `zoo list`

    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    return rename is not None and rename(_FROM_HERE, names[0], _FROM_HERE, names[1], _EXCHANGE) == 0


def _replace(written: Path, path: Path, before: Path) -> None:
    try:
        if path.is_dir():
            path.rename(before)
        written.replace(path)
    except BaseException as error:  # an interruption too
        if os.path.lexists(before) and not os.path.lexists(path):
            _put_back(before, path, error)
        raise


def _put_back(before: Path, path: Path, reason: BaseException) -> None:
    try:
        before.rename(path)
    except OSError as error:
        raise DiskError(
            f"Cannot write {path}: {str(reason) or type(reason).__name__}; nor can what was there be put back: "
            f"{error.strerror or error}. It is whole in {before}: move it to its place."
        ) from reason


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> Path:
    """Writes a file through `write(file)`, wholly or not at all, and returns `path`.

    Raises:
        DiskError: The disk is full, read-only or not ours; nothing of the file is left behind.
    """
    make_folder(path.parent)
    temporary = temporary_name(path)
    with disk_errors(path):
        try:
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def write_bytes(path: Path, data: bytes) -> Path:
    """Writes `data` to `path`, wholly or not at all."""
    return write_whole(path, lambda file: file.write(data))


def open_regular(path: Path) -> IO[bytes]:
    """Returns a file, opened for reading; no link is followed, and no pipe waited for.

    Raises:
        OSError: It is not there, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file, in hex."""
    import hashlib  # here, for the sake of a quick `zoo list`

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
