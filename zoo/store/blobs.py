"""Blobs: verified files named by their sha256, and what is known of each.

A blob appears under its name by one rename, after its bytes are on the disk and were found to be what its name says.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import DiskError, IntegrityError, UnsafeFileError
from zoo.files import disk_errors, flush, make_folder, temporary_name, write_bytes
from zoo.progress import Progress, Silent
from zoo.store.documents import parsed, read_json
from zoo.store.layout import Layout, refuse_link
from zoo.store.locks import in_use, locked

_log = logging.getLogger("zoo")
_READ = 1 << 20


@dataclass(frozen=True)
class About:
    """What is known of a blob. Losing it costs time, but nothing else.

    Attributes:
        bytes: Its size.
        mtime_ns: When the file was last changed, at the moment it was last found to match its name.
        hashes: Its digests (hex) by kind: sha256, and those that publishers gave.
        key: What stands for the file as it was published, see `Wanted.key`.
        url: Where it came from.
    """

    bytes: int
    mtime_ns: int
    hashes: dict[str, str] = dataclasses.field(default_factory=dict)
    key: str | None = None
    url: str | None = None


class Blobs:
    """The verified files of a store.

    Args:
        paths: Where they are.
    """

    def __init__(self, paths: Layout) -> None:
        self._paths = paths

    def path(self, digest: str) -> Path:
        """Returns where the blob with this sha256 (hex) is, or would be."""
        return self._paths.blobs / digest

    def size(self, digest: str) -> int | None:
        """Returns the blob's size in bytes; None where it is not there, or has another size than it had.

        Raises:
            UnsafeFileError: A link, a pipe or the like stands in its place.
        """
        path = self.path(digest)
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        refuse_link(path)
        if not stat.S_ISREG(status.st_mode):
            raise UnsafeFileError(f"{path} is no regular file, where the store keeps files. Look at it, and remove it.")
        known = self.about(digest)
        return status.st_size if known is None or known.bytes == status.st_size else None

    def all(self) -> list[str]:
        """Returns the digests of all blobs that are there."""
        if not self._paths.blobs.is_dir():
            return []
        return sorted(path.name for path in self._paths.blobs.iterdir() if is_digest(path.name))

    def about(self, digest: str) -> About | None:
        """Returns what is known of a blob, if anything is."""
        try:
            return parsed(About, read_json(self._about(digest)))
        except ValueError:
            return None

    def find(self, published: str | None, key: str, size: int | None = None) -> str | None:
        """Returns the sha256 of a blob that is the file with this published hash or, without one, with this `key`.

        Args:
            published: Such as `md5:<hex>`.
            key: What stands for the file, see `Wanted.key`.
            size: Its size in bytes, where that is known.
        """
        kind, _, wanted = (published or "").partition(":")
        for digest in [wanted] if kind == "sha256" else self.all():
            found = self.size(digest)
            if found is None or size not in (None, found):
                continue
            if kind == "sha256" or (self._hash(digest, kind) == wanted if kind else self._key(digest) == key):
                return digest
        return None

    def _key(self, digest: str) -> str | None:
        known = self.about(digest)
        return known.key if known else None

    def _hash(self, digest: str, kind: str) -> str | None:
        """Returns another digest of a blob; where what is known of it was lost, the blob is read."""
        known = self.about(digest)
        if known is not None:
            return known.hashes.get(kind)
        with contextlib.suppress(OSError, DiskError), in_use(self.path(digest)) as descriptor:
            hashes = _digests(descriptor, frozenset({"sha256", kind}), Silent())
            if hashes["sha256"] == digest:
                self._write_about(digest, _seen(About(0, 0, hashes), os.fstat(descriptor)))
                return hashes[kind]
        return None

    def is_unchanged(self, digest: str) -> bool:
        """Returns whether the blob is there, and was not touched since it was last found to match its name."""
        known = self.about(digest)
        try:
            status = self.path(digest).lstat()
        except OSError:
            return False
        return known is not None and (known.bytes, known.mtime_ns) == (status.st_size, status.st_mtime_ns)

    def verify(self, digest: str, progress: Progress | None = None) -> bool:
        """Returns whether the blob is what its name says, reading all of it; moves it aside where it is not.

        Raises:
            FileNotFoundError: It is not there.
            IntegrityError: The disk cannot give its bytes.
        """
        with in_use(self.path(digest)) as descriptor:
            before = os.fstat(descriptor)
            try:
                found = _digests(descriptor, frozenset({"sha256"}), progress or Silent())["sha256"]
            except OSError as error:
                raise IntegrityError(
                    f"{self.path(digest)} cannot be read: {error.strerror}. Check the disk, then: zoo verify"
                ) from error
            if found != digest:
                with contextlib.suppress(DiskError):  # on a read-only disk it stays where it is
                    self._quarantine(digest, before)
                return False
        known = self.about(digest) or About(0, 0, {"sha256": digest})
        if (checked := _seen(known, before)) != known:
            with contextlib.suppress(DiskError):  # a store may be read on a full or read-only disk
                self._write_about(digest, checked)
        return True

    def set_aside_if_resized(self, digest: str) -> None:
        """Moves a blob aside that has another size than it had, without reading it."""
        if self.size(digest) is None:
            with contextlib.suppress(FileNotFoundError), in_use(self.path(digest)) as descriptor:
                self._quarantine(digest, os.fstat(descriptor))

    def _quarantine(self, digest: str, status: os.stat_result) -> None:
        """Moves the damaged file of this `status` aside; not one that a pull has put in its place meanwhile."""
        path, aside = self.path(digest), make_folder(self._paths.corrupt) / f"{digest}.{time.time_ns()}"
        with locked(self._paths.lock("blob", digest), "set a damaged file aside"), disk_errors(aside):
            try:
                same = os.path.samestat(path.lstat(), status)
            except FileNotFoundError:
                return
            if same:
                _log.warning("%s is damaged; moved to %s", path, aside)
                move(path, aside)

    def commit(self, file: Path, about: About) -> str:
        """Makes `file`, whose bytes are flushed, a blob, and returns its sha256.

        Raises:
            DiskError: The disk does not take it; there is no blob then.
            UnsafeFileError: A link stands in its place.
        """
        digest = about.hashes["sha256"]
        target = self.path(digest)
        refuse_link(target)
        make_folder(target.parent)
        with locked(self._paths.lock("blob", digest), "keep a file"), disk_errors(target):
            self._write_about(digest, _seen(about, file.stat()))
            move(file, target)
        return digest

    def remove(self, digest: str) -> None:
        """Removes a blob and what is known of it."""
        with disk_errors(self.path(digest)):
            self.path(digest).unlink(missing_ok=True)
            self._about(digest).unlink(missing_ok=True)

    def _about(self, digest: str) -> Path:
        return self._paths.about / f"{digest}.json"

    def _write_about(self, digest: str, about: About) -> None:
        write_bytes(self._about(digest), json.dumps(dataclasses.asdict(about)).encode())


def _seen(about: About, status: os.stat_result) -> About:
    return dataclasses.replace(about, bytes=status.st_size, mtime_ns=status.st_mtime_ns)


def is_digest(text: str) -> bool:
    """Returns whether `text` is a sha256 in hex, as blobs are named."""
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def _digests(descriptor: int, kinds: frozenset[str], progress: Progress) -> dict[str, str]:
    """Returns the digests (hex) of what a descriptor reads from its beginning."""
    import hashlib  # here, for the sake of a quick `zoo list`

    hashes, place = {kind: hashlib.new(kind) for kind in kinds}, 0
    while data := os.pread(descriptor, _READ, place):
        for digest in hashes.values():
            digest.update(data)
        progress.advance(len(data))
        place += len(data)
    return {kind: digest.hexdigest() for kind, digest in hashes.items()}


def move(file: Path, target: Path) -> None:
    """Renames durably, by way of a copy where `target` is in another file system."""
    try:
        file.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(file, target)
    flush(target.parent)


def _copy(file: Path, target: Path) -> None:
    temporary = temporary_name(target)
    try:
        with file.open("rb") as source, temporary.open("xb") as sink:
            shutil.copyfileobj(source, sink, _READ)
            sink.flush()
            os.fsync(sink.fileno())
        shutil.copystat(file, temporary)  # what is known of it holds the time of its last change
        temporary.replace(target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    file.unlink()
