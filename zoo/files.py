"""Durable files: where they live, and writes that happen wholly or not at all.

Every write goes to a private temporary name in the same file system, is flushed to the disk, then renamed, and the
folder is flushed (the order that survives a power loss). Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from zoo.errors import DiskError, UsageError

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
_DISK_ERRORS |= {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}
_DISK_ERRORS |= {errno.EFBIG, errno.ENFILE, errno.ELOOP}
_FREE_SPACE = "free some space, or choose another folder (ZOO_HOME; --out for a run)"
_HINTS = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EMFILE: "close some programs, or allow more open files with ulimit -n",
    errno.ENFILE: "close some programs",
    errno.EIO: "check the disk",
}


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
def disk_errors(path: Path, hint: str | None = None, doing: str = "write") -> Iterator[None]:
    """Turns the operating system's refusals to use `path` into a `DiskError` that says what to do.

    Args:
        path: What is written or read.
        hint: What to do; None: by the kind of refusal.
        doing: What is tried.
    """
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        what_to_do = hint or _HINTS.get(error.errno, "choose another folder (ZOO_HOME; --out for a run)")
        raise DiskError(f"Cannot {doing} {path}: {error.strerror or error}; {what_to_do}.") from error


def make_folder(path: Path) -> Path:
    """Returns `path`, created with its parents where it was missing."""
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def temporary_name(path: Path) -> Path:
    """Returns a private name beside `path`; it starts with a dot, so that readers of the folder pass over it."""
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")


def remove_leftovers(folder: Path, older_than: float = 86_400.0) -> None:
    """Removes what killed processes left in `folder` under temporary names, untouched for `older_than` seconds."""
    for path in folder.glob(".*.tmp"):
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


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file, in hex."""
    import hashlib  # here, for the sake of a quick `zoo list`

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
