"""Keeping the user's own files: copied into the store, checked there, and only then anything speaks of them.

Two steps. `copied` gives private copies, so that what is checked is what is kept, whatever becomes of the originals.
`keep` makes them blobs, then writes the entry, then the record. A process that is killed leaves at worst files that
nothing speaks of, or an entry whose record the next pull makes anew from its blobs.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from zoo.errors import BusyError, DiskError, IntegrityError, NotFoundError, UnsafeFileError, UsageError
from zoo.files import disk_errors, make_folder, temporary_name
from zoo.names import folded
from zoo.progress import Progress, Silent
from zoo.registry import Entry, FileSpec, all_entries
from zoo.registry.index import own_entries
from zoo.registry.text import entry_record
from zoo.store.archives import extract
from zoo.store.artifact import Artifact
from zoo.store.blobs import About, Blobs
from zoo.store.extracted import ensure_extracted
from zoo.store.layout import Layout, layout, prepare, refuse_newer, refuse_without_room, warn_of_other_writers
from zoo.store.locks import in_use, locked
from zoo.store.planning import wanted_file
from zoo.store.records import record_of, write_record
from zoo.store.registering import put_entry
from zoo.store.tarring import tar_pieces
from zoo.store.unpacking import shown

_PIECE = 1 << 20
_TRIES = 5
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not block
_HINT = "free some space (zoo gc --all, zoo rm NAME), or set ZOO_HOME to a larger disk"


@dataclass(frozen=True)
class Own:
    """A file to be kept, or several that are kept as one archive.

    Attributes:
        name: What the file is called in the entry.
        paths: The file; of an archive, its members by their paths in it.
    """

    name: str
    paths: Path | dict[str, Path]

    @property
    def sources(self) -> list[Path]:
        """Returns all files that it consists of."""
        return [self.paths] if isinstance(self.paths, Path) else list(self.paths.values())


@dataclass(frozen=True)
class Copy:
    """A private copy of a file of the user's.

    Attributes:
        name: What it is called in the entry.
        path: Where the copy is.
        sha256: Its digest (hex).
        bytes: Its size.
        folder: Of an archive: its members, as they come out of it.
    """

    name: str
    path: Path
    sha256: str
    bytes: int
    folder: Path | None = None

    def spec(self, role: str, member: str | None = None) -> FileSpec:
        """Returns how an entry speaks of the file."""
        return FileSpec(role, self.name, (), f"sha256:{self.sha256}", "user", self.bytes, member)


@contextlib.contextmanager
def copied(files: Sequence[Own], progress: Progress | None = None) -> Iterator[tuple[Copy, ...]]:
    """Copies files into the store's own folder of what is not finished, for as long as the context lasts.

    Args:
        files: What to copy.
        progress: Told about bytes as they are copied, and as archives are read back.

    Raises:
        NotFoundError: A file is not there.
        UnsafeFileError: A file is no regular file; a member of an archive is a link, or could do harm when unpacked.
        IntegrityError: A file changed while it was copied.
        DiskError: A file cannot be read, or there is no room for the copies.
    """
    progress, paths = progress or Silent(), layout()
    refuse_newer(paths)
    warn_of_other_writers(paths)
    sizes = {file.name: sum(_size(path) for path in file.sources) for file in files}
    archives = sum(sizes[file.name] for file in files if not isinstance(file.paths, Path))
    with disk_errors(paths.home, _HINT):
        prepare(paths)
        refuse_without_room(sum(sizes.values()) + archives, " and ".join(sizes), paths.home)
        folder = temporary_name(paths.tmp / "added")
        folder.mkdir(mode=0o700)
    try:
        progress.start(sum(sizes.values()), "bytes")
        try:
            copies = [_copy(file, make_folder(folder / str(number)), progress) for number, file in enumerate(files)]
        finally:
            progress.close()
        yield tuple(_unpacked(file, copy, progress) for file, copy in zip(files, copies, strict=True))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def artifact(entry: Entry, copies: Sequence[Copy]) -> Artifact:
    """Returns the copies as the files of `entry`, to be loaded before they are kept."""
    by_name = {copy.name: copy for copy in copies}
    files = {file.role: by_name[file.name].path for file in entry.files}
    folder = next((by_name[file.name].folder for file in entry.files if file.role == "archive"), None)
    return Artifact(entry, files, folder)


def keep(entry: Entry, copies: Sequence[Copy], *, replace: bool = False, progress: Progress | None = None) -> None:
    """Makes the copies blobs, and `entry` one of the user's own registry, which then has them.

    Args:
        entry: The entry; its files are those of the copies.
        copies: The copies, which are moved.
        replace: Whether it may take the place of another entry of its name, or hide a shipped one.
        progress: Told about archives as they are unpacked, so that nothing is left for a pull to do.

    Raises:
        UsageError: The name is taken.
        DiskError: The disk does not take it; nothing speaks of the files then.
        IntegrityError: The user's registry cannot be read, or a newer version of zoo wrote the store.
    """
    paths = layout()
    entry_record(entry)  # refused where the registry could not be read again
    by_name = {copy.name: copy for copy in copies}
    with locked(paths.lock("model", entry.name), f"add {entry.name}"), contextlib.ExitStack() as held:
        if own_entries().get(entry.name) != entry:  # asked again: another process may have been quicker
            refuse_taken(entry.name, replace=replace)
        for file in entry.files:
            copy = by_name[file.name]
            _keep_blob(paths, copy, file, held)
            if copy.folder:
                shutil.rmtree(copy.folder)  # it was for the check, and takes the room of the lasting one
                ensure_extracted(paths, copy.sha256, progress or Silent(), f"{file.name} of {entry.name}")
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        put_entry(paths, entry)
        write_record(paths, record_of(entry, now))


def refuse_taken(name: str, *, replace: bool = False) -> None:
    """Raises `UsageError` where a model is called `name` already; the message has a name that is free.

    Args:
        name: The name for a new model.
        replace: Whether a model of exactly that name may be replaced; one that differs only in case never is.
    """
    entries = all_entries()
    taken = {folded(each): entry for each, entry in entries.items()}
    there = taken.get(folded(name))
    if there is None or (replace and there.name == name):
        return
    free = next(each for number in range(2, len(taken) + 3) if folded(each := f"{name}-{number}") not in taken)
    whose = "you added" if there.source == "local" else f"is known already (source {there.source})"
    or_else = "" if there.name != name else "; or put yours in its place: --replace"
    raise UsageError(
        f"The name {name!r} is taken by {there.name}, which {whose}. Choose another: --name {free}{or_else}"
    )


def _keep_blob(paths: Layout, copy: Copy, file: FileSpec, held: contextlib.ExitStack) -> None:
    """Sees to it that the blob is there, whole, and held against removal."""
    blobs = Blobs(paths)
    about = About(copy.bytes, 0, {"sha256": copy.sha256}, wanted_file(file).key)
    for _ in range(_TRIES):  # a removal may take it in the moment before it is held
        try:
            held.enter_context(in_use(blobs.path(copy.sha256)))
            if blobs.is_unchanged(copy.sha256) or blobs.verify(copy.sha256):
                return
        except FileNotFoundError:
            pass
        if copy.path.exists():
            blobs.commit(copy.path, about)
    raise BusyError(
        f"{file.name} was removed {_TRIES} times as soon as it was kept. See what else works on {paths.home}, then run "
        "the same command again."
    )


def _copy(file: Own, folder: Path, progress: Progress) -> Copy:
    """Copies one file, or writes the archive of several, and returns its name, place, digest and size."""
    import hashlib  # here, for the sake of a quick `zoo list`

    target = folder / file.name
    pieces = _pieces(file.paths, progress) if isinstance(file.paths, Path) else _archived(file.paths, progress)
    digest = hashlib.sha256()
    with disk_errors(target, _HINT), target.open("xb") as sink:
        for piece in pieces:
            digest.update(piece)
            sink.write(piece)
        sink.flush()
        os.fsync(sink.fileno())
        return Copy(file.name, target, digest.hexdigest(), sink.tell())


def _archived(paths: dict[str, Path], progress: Progress) -> Iterator[bytes]:
    return tar_pieces((name, _size(path), _pieces(path, progress, name)) for name, path in sorted(paths.items()))


def _unpacked(file: Own, copy: Copy, progress: Progress) -> Copy:
    """Returns the copy of an archive with its members, as a pull would unpack them; other copies as they are."""
    if isinstance(file.paths, Path):
        return copy
    folder = copy.path.with_name("members")
    extract(copy.path, folder, progress=progress, name=copy.name, remedy="Save it again.")
    return Copy(copy.name, copy.path, copy.sha256, copy.bytes, folder)


def _pieces(path: Path, progress: Progress, member: str = "") -> Iterator[bytes]:
    """Yields the whole of a file of the user's, and refuses one that somebody writes to meanwhile."""
    with _opened(path, member) as descriptor:
        before, place = os.fstat(descriptor), 0
        while piece := _read(descriptor, path, place):
            place += len(piece)
            progress.advance(len(piece))
            yield piece
        after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or place != before.st_size:
        raise IntegrityError(
            f"{shown(str(path))} changed while it was copied ({before.st_size:,} bytes before, {after.st_size:,} now); "
            "nothing was kept. Add it again when nobody writes to it any more."
        )


@contextlib.contextmanager
def _opened(path: Path, member: str) -> Iterator[int]:
    with _reading(path):
        descriptor = _open_member(path, member) if member else os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnsafeFileError(f"{shown(str(path))} is no regular file; only such are kept. Give the path of one.")
        yield descriptor
    finally:
        os.close(descriptor)


def _open_member(path: Path, member: str) -> int:
    """Opens a file of a folder by its path in it: neither it nor a folder on the way there may be a link.

    Nothing is looked at by its name first: what is there may be another thing a moment later.
    """
    parts = PurePosixPath(member).parts
    if path.parts[-len(parts) :] != parts:  # it is called otherwise in the archive
        parts = (path.name,)
    folder = os.open(path.parents[len(parts) - 1], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            outer = folder
            folder = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=outer)
            os.close(outer)
        return os.open(parts[-1], _FLAGS | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise UnsafeFileError(
            f"{shown(str(path))} is a symbolic link, or lies behind one, and of a folder only what lies in it is kept. "
            "Copy the folder with what its links lead to (cp -rL), and add the copy."
        ) from error
    finally:
        os.close(folder)


def _size(path: Path) -> int:
    with _reading(path):
        return path.stat().st_size


def _read(descriptor: int, path: Path, place: int) -> bytes:
    with _reading(path):
        return os.pread(descriptor, _PIECE, place)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {shown(str(path))}. Give the path of one that is there.") from error
    except OSError as error:
        if isinstance(error, DiskError):
            raise
        raise DiskError(
            f"Cannot read {shown(str(path))}: {error.strerror or error}. Let your user read it (chmod u+r), or check "
            "the disk."
        ) from error
