"""The folder that an archive is unpacked to: the only place of unpacking that writes.

It writes below one folder that it made itself, through descriptors of folders, so that no link can lead it elsewhere.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.files import disk_errors
from zoo.names import folded, path_fault
from zoo.store.unpacking import Entry, Limits, Member, nested_kind, shown

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HEAD = 512  # enough to know an archive by


class Names:
    """The paths of an archive so far: each once, and none that another system would take for another of them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen: dict[str, tuple[str, str]] = {"": ("", "parent")}  # by folded path: as spelt, and what it is

    def claim(self, path: str, kind: Literal["file", "folder"]) -> list[str]:
        """Notes a member's path and returns the folders that are new with it, outermost first.

        Raises:
            UnsafeFileError: The path could lead out of the folder, is longer or deeper than allowed, means another
                file on another system, or is there already.
        """
        if (path or kind == "file") and (fault := path_fault(path)):
            raise UnsafeFileError(f"member {shown(path)}: {fault}")
        parts = path.split("/")
        if len(parts) > self._limits.depth:
            raise UnsafeFileError(f"member {shown(path)}: it lies more than {self._limits.depth} folders deep")
        above = ["/".join(parts[:count]) for count in range(1, len(parts))]
        new = [parent for parent in above if self._is_new(parent, "parent")]
        return [*new, path] if self._is_new(path, kind) and kind == "folder" else new

    def _is_new(self, path: str, kind: str) -> bool:
        spelt, was = self._seen.get(folded(path), (None, None))
        if spelt is None:
            self._seen[folded(path)] = path, kind
            if len(self._seen) > self._limits.members + 1:  # one is the folder itself
                raise UnsafeFileError(f"it holds more than {self._limits.members:,} files and folders")
            return True
        if spelt != path:
            raise UnsafeFileError(
                f"members {shown(spelt)} and {shown(path)} are one path on some systems (case, Unicode forms)"
            )
        if "file" in (kind, was) and kind != was:
            raise UnsafeFileError(f"member {shown(path)} is both a file and a folder")
        if kind == was != "parent":
            raise UnsafeFileError(f"member {shown(path)} is there twice")
        if kind == "folder":
            self._seen[folded(path)] = path, kind  # until now only a part of other paths
        return False


@contextmanager
def new_target(folder: Path, limits: Limits, hint: str) -> Iterator[Target]:
    """Makes `folder` to unpack to, and removes it again where anything fails; `hint` says what to do about the disk.

    Raises:
        DiskError: The folder is there already (and stays), or cannot be made.
    """
    with disk_errors(folder, hint):
        folder.mkdir(mode=0o700)
    try:
        with disk_errors(folder, hint):
            root = os.open(folder, _FOLDER_FLAGS)
        try:
            yield Target(root, folder, limits, hint)
        finally:
            os.close(root)
    except BaseException:  # also when interrupted
        shutil.rmtree(folder, ignore_errors=True)
        raise


class Target:
    """The folder that an archive is unpacked to."""

    def __init__(self, root: int, folder: Path, limits: Limits, hint: str) -> None:
        self._root, self._folder, self._hint = root, folder, hint
        self._names = Names(limits)
        self._folders = [""]
        self._members: list[Member] = []

    def add(self, entry: Entry) -> None:
        """Writes one file, with the folders above it, or one folder.

        Raises:
            UnsafeFileError: Its path or its content is refused.
            DiskError: The disk is full or not ours to write.
        """
        new = self._names.claim(entry.path, "folder" if entry.is_folder else "file")
        with disk_errors(self._folder / entry.path, self._hint):
            for folder in new:
                self._make_folder(folder)
            if not entry.is_folder:
                self._members.append(self._write_file(entry))
            for _ in entry.pieces:  # of a folder, the reader sees to it that there are none
                pass

    def finish(self) -> tuple[Member, ...]:
        """Makes all names durable and returns the files, sorted by path.

        Raises:
            IntegrityError: There is no file.
            DiskError: The disk refuses.
        """
        if not self._members:
            raise IntegrityError("it holds no file")
        with disk_errors(self._folder, self._hint):
            for path in self._folders:
                with self._below(path) as descriptor:
                    os.fsync(descriptor)
        return tuple(sorted(self._members, key=lambda member: member.path))

    def _make_folder(self, path: str) -> None:
        above, _, name = path.rpartition("/")
        with self._below(above) as descriptor:
            os.mkdir(name, 0o755, dir_fd=descriptor)
        self._folders.append(path)

    def _write_file(self, entry: Entry) -> Member:
        import hashlib  # here, for the sake of a quick `zoo list`

        above, _, name = entry.path.rpartition("/")
        digest, total = hashlib.sha256(), 0
        with self._below(above) as folder, os.fdopen(os.open(name, _FILE_FLAGS, 0o644, dir_fd=folder), "wb") as file:
            for piece in _not_nested(entry):
                digest.update(piece)
                total += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        return Member(entry.path, total, digest.hexdigest())

    @contextmanager
    def _below(self, path: str) -> Iterator[int]:
        descriptor = os.dup(self._root)
        try:
            for part in path.split("/") if path else ():
                inner = os.open(part, _FOLDER_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def _not_nested(entry: Entry) -> Iterator[bytes]:
    head = b""
    for piece in entry.pieces:
        head += piece[: _HEAD - len(head)]
        if kind := nested_kind(entry.path, head):
            raise UnsafeFileError(f"member {shown(entry.path)} is an archive or compressed file itself ({kind})")
        yield piece
