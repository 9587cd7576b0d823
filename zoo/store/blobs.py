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
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import DiskError, IntegrityError
from zoo.files import disk_errors, flush, make_folder, sha256_of, temporary_name, write_bytes
from zoo.progress import Progress
from zoo.store.layout import Layout, refuse_link

_log = logging.getLogger("zoo")
_READ = 1 << 20


@dataclass(frozen=True)
class About:
    """What is known of a blob. Losing it costs time, or a second download, but nothing else.

    Attributes:
        bytes: Its size.
        mtime_ns: When the file was last changed, at the moment it was last found to match its name.
        hashes: Its digests (hex) by kind: those that publishers gave, and sha256.
        url: Where it came from; None for a file of the user's own.
        etag: The validator that the server gave for it.
    """

    bytes: int
    mtime_ns: int
    hashes: dict[str, str] = dataclasses.field(default_factory=dict)
    url: str | None = None
    etag: str | None = None


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
        """Returns the blob's size in bytes; None where it is not there, or empty after a power loss.

        Raises:
            UnsafeFileError: A link stands in its place.
        """
        path = self.path(digest)
        refuse_link(path)
        try:
            found = path.stat().st_size
        except OSError:
            return None
        known = self.about(digest)
        return found if known is None or known.bytes == found else None

    def all(self) -> list[str]:
        """Returns the digests of all blobs that are there."""
        if not self._paths.blobs.is_dir():
            return []
        return sorted(path.name for path in self._paths.blobs.iterdir() if is_digest(path.name))

    def about(self, digest: str) -> About | None:
        """Returns what is known of a blob, if anything is."""
        try:
            return _parse(json.loads((self._paths.about / f"{digest}.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def find(self, published: str | None, urls: Mapping[str, object]) -> str | None:
        """Returns the sha256 of a blob that is the file with this published hash or, without one, from these `urls`."""
        kind, _, wanted = (published or "").partition(":")
        if kind == "sha256":
            return wanted if self.size(wanted) is not None else None
        for digest in self.all():
            known = self.about(digest)
            matches = known and (known.hashes.get(kind) == wanted if published else known.url in urls)
            if matches and self.size(digest) is not None:
                return digest
        return None

    def trusted(self, digest: str, progress: Progress | None = None) -> bool:
        """Returns whether the blob is there and is what its name says.

        It is read only where it was changed since it was last read; one that does not match is moved aside.
        """
        if self.size(digest) is None:
            return False
        known, status = self.about(digest), self.path(digest).stat()
        if known and (known.bytes, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
            return True
        return self.verify(digest, progress)

    def verify(self, digest: str, progress: Progress | None = None) -> bool:
        """Returns whether the blob is what its name says, reading all of it; moves it aside where it is not."""
        path = self.path(digest)
        refuse_link(path)
        status = path.stat()
        if digest_of(path, progress) != digest:
            self.quarantine(digest)
            return False
        known = self.about(digest) or About(0, 0, {"sha256": digest})
        checked = dataclasses.replace(known, bytes=status.st_size, mtime_ns=status.st_mtime_ns)
        if checked != known:
            with contextlib.suppress(DiskError):  # a store may be read on a full or read-only disk
                self._write_about(digest, checked)
        return True

    def quarantine(self, digest: str) -> Path:
        """Moves a damaged blob aside, so that it is fetched again, and returns where it is now."""
        aside = make_folder(self._paths.corrupt) / f"{digest}.{time.time_ns()}"
        _log.warning("%s is damaged; moved to %s", self.path(digest), aside)
        with disk_errors(aside):
            _move(self.path(digest), aside)
        return aside

    def commit(self, file: Path, about: About) -> str:
        """Makes `file`, whose bytes are flushed, a blob, and returns its sha256.

        Raises:
            DiskError: The disk does not take it; there is no blob then.
            UnsafeFileError: A link stands in its place.
        """
        digest = about.hashes["sha256"]
        target = self.path(digest)
        refuse_link(target)
        self._write_about(digest, dataclasses.replace(about, mtime_ns=file.stat().st_mtime_ns))
        make_folder(target.parent)
        with disk_errors(target):
            _move(file, target)
        return digest

    def remove(self, digest: str) -> None:
        """Removes a blob and what is known of it."""
        with disk_errors(self.path(digest)):
            self.path(digest).unlink(missing_ok=True)
            (self._paths.about / f"{digest}.json").unlink(missing_ok=True)

    def _write_about(self, digest: str, about: About) -> None:
        write_bytes(self._paths.about / f"{digest}.json", json.dumps(dataclasses.asdict(about)).encode())


def is_digest(text: str) -> bool:
    """Returns whether `text` is a sha256 in hex, as blobs are named."""
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def digest_of(path: Path, progress: Progress | None = None) -> str:
    """Returns the sha256 (hex) of a file.

    Raises:
        IntegrityError: The disk cannot give its bytes.
    """
    import hashlib  # here, for the sake of a quick `zoo list`

    try:
        if progress is None:
            return sha256_of(path)
        digest = hashlib.sha256()
        for data in _read(path):
            digest.update(data)
            progress.advance(len(data))
        return digest.hexdigest()
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}. Check the disk, then: zoo verify") from error


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while data := file.read(_READ):
            yield data


def _move(file: Path, target: Path) -> None:
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


def _parse(record: Any) -> About:
    about = About(**record)
    if type(about.bytes) is not int or type(about.mtime_ns) is not int or not isinstance(about.hashes, dict):
        raise TypeError
    return about
