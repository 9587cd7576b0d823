"""What lies at the paths that a user offers, and beside them. No file is opened here, and no format known.

ACCEPTED, what may be offered, stands here in words alone.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Literal

from zoo.errors import DiskError, NotFoundError, UsageError, nearest_names
from zoo.files import disk_errors
from zoo.store.unpacking import shown

ACCEPTED = (
    "a .keras file, an .h5 or .hdf5 file, an .onnx file, an .npz or .safetensors file, the folder of a SavedModel, a "
    "frozen graph (.pb), a .prototxt with its .caffemodel, or a TensorFlow checkpoint (its prefix, or any file of it)"
)
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_MOST_NEIGHBOURS = 10_000


def kind_of(path: Path) -> Literal["file", "folder", None]:
    """Returns what lies at a path, links followed; None where nothing does.

    Raises:
        UsageError: Something that is neither file nor folder, or the path can be none.
        DiskError: That cannot be told.
    """
    try:
        status = _status(path)
    except ValueError as error:  # a zero byte
        raise UsageError(f"Expected a path; got {shown(str(path))} ({error}).") from error
    if status is None:
        return None
    if stat.S_ISREG(status.st_mode):
        return "file"
    if stat.S_ISDIR(status.st_mode):
        return "folder"
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    raise UsageError(f"Expected {ACCEPTED}; {path} is {kinds.get(stat.S_IFMT(status.st_mode), 'a device')}.")


def file_size(path: Path) -> int | None:
    """Returns the size of a regular file, links followed; None where there is none.

    Raises:
        DiskError: That cannot be told.
    """
    status = _status(path)
    return status.st_size if status and stat.S_ISREG(status.st_mode) else None


def _status(path: Path) -> os.stat_result | None:
    try:
        with disk_errors(path, "check its permissions and the disk", "read"):
            return path.stat()
    except DiskError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NOWHERE:
            return None
        raise


def missing(path: Path) -> NotFoundError:
    """Returns the error for a path of nothing: where its link leads, or what is called nearly so beside it."""
    if os.path.islink(path):  # noqa: PTH114  Path.is_symlink() raises where a name is too long
        return NotFoundError(f"{path} is a link to {shown(os.fspath(path.readlink()))}, where nothing is.")
    folder = path.parent
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST_NEIGHBOURS), strict=False)]
    except OSError:
        return NotFoundError(f"There is no {_told(str(path))}, nor can its folder {folder} be listed.")
    alike = [name for name in names if name.isprintable() and nearest_names(path.stem, [Path(name).stem])]
    where = "this folder" if folder == Path() else str(folder.resolve())
    return NotFoundError(f"There is no {_told(path.name)} in {where}.{nearest_names(path.name, alike)}")


def _told(name: str) -> str:
    return name if name.isprintable() and len(name) <= 255 else shown(name)
