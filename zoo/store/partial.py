"""A download that is not finished: a private folder with the bytes so far, and what they are bytes of.

Its name says who works on it, so that the next process can tell a download in progress from one whose process died, and
take that over with one rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from zoo.files import disk_errors, make_folder, write_bytes

_SUFFIX = ".partial"
_READ = 1 << 20
_ABANDONED = 3600.0
_own: set[Path] = set()  # what other threads of this process work on


@dataclass(frozen=True)
class Origin:
    """What the bytes so far are bytes of.

    Attributes:
        url: Where they came from.
        etag: The strong validator that the server gave; None where it gave none.
        total: Size of the whole (bytes), where the server said it.
    """

    url: str
    etag: str | None = None
    total: int | None = None


class Partial:
    """The bytes of a file that came so far, and their digests.

    Args:
        folder: A private folder, that this process alone writes to.
        kinds: Names of the hashes to compute, as `hashlib` knows them.
    """

    def __init__(self, folder: Path, kinds: frozenset[str]) -> None:
        self.folder = folder
        self.size = 0
        self.origin: Origin | None = None
        self._kinds = kinds
        self._hashes = {kind: hashlib.new(kind) for kind in kinds}
        _own.add(folder)
        try:
            with disk_errors(folder):
                self._file = (folder / "data").open("ab+", buffering=0)
            self._read_what_is_there()
        except BaseException:
            _own.discard(folder)
            raise

    def __enter__(self) -> Partial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self.size:
            self.remove()  # nothing came, or nothing of use
        _own.discard(self.folder)

    @property
    def data(self) -> Path:
        """The file of the bytes."""
        return self.folder / "data"

    def describe(self, origin: Origin) -> None:
        """Notes, durably, what the bytes are bytes of, before any is written."""
        if origin != self.origin:
            write_bytes(self.folder / "origin.json", json.dumps(asdict(origin)).encode())
            self.origin = origin

    def append(self, data: bytes) -> None:
        """Writes more bytes.

        Raises:
            DiskError: There is no room; what came before is kept.
        """
        with disk_errors(self.data, "free some space and run the same command again: what has come is kept"):
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        for digest in self._hashes.values():
            digest.update(data)
        self.size += len(data)

    def digests(self) -> dict[str, str]:
        """Returns the digests of the bytes so far, in hex, by the name of the hash."""
        return {kind: digest.hexdigest() for kind, digest in self._hashes.items()}

    def start_again(self) -> None:
        """Throws the bytes away."""
        self._file.truncate(0)
        self.size, self.origin = 0, None
        self._hashes = {kind: hashlib.new(kind) for kind in self._kinds}
        (self.folder / "origin.json").unlink(missing_ok=True)

    def flush(self) -> None:
        """Makes the bytes durable.

        Raises:
            DiskError: The disk does not take them.
        """
        with disk_errors(self.data):
            os.fsync(self._file.fileno())

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read_what_is_there(self) -> None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            self.origin = _parse(json.loads((self.folder / "origin.json").read_bytes()))
        if self.origin is None:
            self.start_again()
            return
        self._file.seek(0)
        while data := self._file.read(_READ):
            self.size += len(data)
            for digest in self._hashes.values():
                digest.update(data)


def _parse(record: dict[str, Any]) -> Origin:
    origin = Origin(**record)
    if not isinstance(origin.url, str) or not isinstance(origin.etag, str | None):
        raise TypeError
    if origin.total is not None and type(origin.total) is not int:
        raise TypeError
    return origin


def open_partial(tmp: Path, key: str, kinds: frozenset[str]) -> Partial:
    """Returns the download called `key`: one that a dead process left behind, or a new one."""
    make_folder(tmp)
    mine = tmp / f"{key}.{os.getpid()}.{_machine()}.{os.urandom(4).hex()}{_SUFFIX}"
    left = sorted((path for path in tmp.glob(f"{key}.*{_SUFFIX}") if is_abandoned(path)), key=_bytes_in)
    while left:
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            left.pop().rename(mine)
            break
    else:
        with disk_errors(mine):
            mine.mkdir(mode=0o700)
    return Partial(mine, kinds)


def is_abandoned(folder: Path) -> bool:
    """Returns whether nobody works on a partial download any more."""
    if folder.is_symlink() or folder in _own:
        return False
    try:
        _, pid, machine, *_ = folder.name.split(".")
        number = int(pid)
    except ValueError:
        return False
    if machine != _machine():  # a home shared by several machines: their processes cannot be seen from here
        return _age(folder) > _ABANDONED
    if number == os.getpid():
        return True  # of this process, and none of its threads works on it
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _age(folder: Path) -> float:
    try:
        return time.time() - max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except OSError:
        return 0.0


def _bytes_in(folder: Path) -> int:
    try:
        return (folder / "data").stat().st_size
    except OSError:
        return 0


def _machine() -> str:
    """Returns a name of this machine since it was started: process numbers mean something there only."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return hashlib.sha256(f"{platform.node()} {boot}".encode()).hexdigest()[:10]
