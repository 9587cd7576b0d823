"""A download that is not finished: a private folder with the bytes so far, and what they are bytes of.

Its name says who works on it, so that the next process can tell a download in progress from one whose process died, and
take that over with one rename.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from zoo.files import disk_errors, make_folder, write_bytes
from zoo.store.documents import parsed, read_json
from zoo.store.policy import is_strong

_SUFFIX = ".partial"
_READ = 1 << 20
_ABANDONED = 3600.0
_HOST = 8  # letters of a name that are the machine's
_own: set[Path] = set()  # what other threads of this process work on


@dataclass(frozen=True)
class Origin:
    """What the bytes so far are bytes of.

    Attributes:
        url: Where they came from, as it may be shown.
        etag: The strong validator that the server gave; None where it gave none.
        total: Size of the whole (bytes), where the server said it.
    """

    url: str
    etag: str | None = None
    total: int | None = None


def _read_origin(path: Path) -> Origin | None:
    try:
        origin = parsed(Origin, read_json(path))
    except ValueError:
        return None
    return origin if origin.etag is None or is_strong(origin.etag) else None


class Partial:
    """The bytes of a file that came so far, and their digests.

    Args:
        folder: A private folder, that this process alone writes to.
        kinds: Names of the hashes to compute, as `hashlib` knows them.
        name: The file's name, for messages.
    """

    def __init__(self, folder: Path, kinds: frozenset[str], name: str) -> None:
        self.folder = folder
        self.size = 0
        self.origin = _read_origin(folder / "origin.json")
        self._kinds = kinds
        self._name = name
        self._hashes = {kind: hashlib.new(kind) for kind in kinds}
        with disk_errors(folder):
            self._file = (folder / "data").open("ab+", buffering=0)
        try:
            self._read_what_is_there()
        except BaseException:
            self._file.close()
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
        with disk_errors(
            self.data, f"free some space and run the same command again: what has come of {self._name} is kept"
        ):
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
        if self.origin is None:
            self.start_again()
            return
        self._file.seek(0)
        while data := self._file.read(_READ):
            self.size += len(data)
            for digest in self._hashes.values():
                digest.update(data)


def open_partial(tmp: Path, key: str, kinds: frozenset[str], name: str, *, pinned: bool) -> Partial:
    """Returns the download called `key`: one that a dead process left behind, or a new one.

    Args:
        tmp: The folder of what is not finished.
        key: What stands for the file.
        kinds: Hashes to compute.
        name: The file's name, for messages.
        pinned: Whether a hash will tell whether the bytes are right. Without one, those from before the machine was
            last started are not used: after a loss of power they may be other than what was written.
    """
    make_folder(tmp)
    mine = tmp / f"{key}.{os.getpid()}.{_machine()}.{os.urandom(4).hex()}{_SUFFIX}"
    _own.add(mine)
    try:
        left = [path for path in partials(tmp, key) if is_abandoned(path) and (pinned or _machine() in path.name)]
        while left:
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                left.pop().rename(mine)
                break
        else:
            with disk_errors(mine):
                mine.mkdir(mode=0o700)
        return Partial(mine, kinds, name)
    except BaseException:
        _own.discard(mine)
        raise


def partials(tmp: Path, key: str = "") -> list[Path]:
    """Returns the folders of all unfinished downloads, or those called `key`; those with the most bytes last."""
    return sorted(tmp.glob(f"{key or '*'}.*{_SUFFIX}"), key=bytes_in)


def is_abandoned(folder: Path) -> bool:
    """Returns whether nobody works on a partial download any more."""
    if folder.is_symlink() or folder in _own:
        return False
    try:
        _, pid, machine, *_ = folder.name.split(".")
        number = int(pid)
    except ValueError:
        return False
    if machine[:_HOST] != _machine()[:_HOST]:  # a home shared by machines: the others' processes cannot be seen here
        return _age(folder) > _ABANDONED
    if machine != _machine():
        return True  # of this machine, before it was last started
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


def bytes_in(folder: Path) -> int:
    """Returns how many bytes of its file a partial download has."""
    try:
        return (folder / "data").stat().st_size
    except OSError:
        return 0


@functools.cache
def _machine() -> str:
    """Returns a name of this machine and of its last start: process numbers mean something between those only."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return "".join(hashlib.sha256(each.encode()).hexdigest()[:_HOST] for each in (platform.node(), boot))
