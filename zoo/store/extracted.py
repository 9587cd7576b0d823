"""What was in an archive, in its folders: `extracted/<sha256 of the archive>/`, and beside it what must be in there.

A folder appears whole, by one rename, after the list of its members. One that is not as its list says is made anew from
the archive, which stays.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import DiskError
from zoo.files import disk_errors, flush, make_folder, sha256_of, temporary_name, write_bytes
from zoo.names import path_fault
from zoo.progress import Progress
from zoo.store.archives import extract
from zoo.store.blobs import Blobs, is_digest
from zoo.store.documents import parsed, read_json
from zoo.store.layout import Layout, refuse_link
from zoo.store.locks import for_removal, locked


@dataclass(frozen=True)
class Extracted:
    """One file that came out of an archive.

    Attributes:
        path: Where it is below the folder.
        bytes: Its size.
        sha256: Its digest (hex).
        mtime_ns: When it was last changed, at the moment it was extracted.
    """

    path: str
    bytes: int
    sha256: str
    mtime_ns: int


def members(paths: Layout, digest: str) -> tuple[Extracted, ...] | None:
    """Returns what came out of the archive with this sha256 (hex); None where that is not known."""
    record = read_json(_list(paths, digest))
    try:
        found = tuple(parsed(Extracted, each) for each in record) if isinstance(record, list) else ()
    except ValueError:
        return None
    if not found or any(path_fault(each.path) or not is_digest(each.sha256) for each in found):
        return None
    return found


def is_extracted(paths: Layout, digest: str) -> bool:
    """Returns whether an archive's members are all there, untouched since they were extracted. Reads none of them.

    Raises:
        UnsafeFileError: A link stands in the folder's place.
    """
    folder, known = paths.extracted / digest, members(paths, digest)
    refuse_link(folder)
    if known is None or _extra_names(folder, known):
        return False
    return all(_is_there(folder, member) and _mtime(folder, member) == member.mtime_ns for member in known)


def _is_there(folder: Path, member: Extracted) -> bool:
    """Returns whether a member is there in its size, by no link."""
    path = folder / member.path
    if Path(os.path.realpath(path)) != Path(os.path.realpath(folder)) / member.path:
        return False
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == member.bytes


def _mtime(folder: Path, member: Extracted) -> int:
    return (folder / member.path).lstat().st_mtime_ns


def _extra_names(folder: Path, known: Sequence[Extracted]) -> list[str]:
    """Returns what lies in the folder and did not come out of the archive: TensorFlow reads some folders by listing."""
    found = (
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    )
    return sorted(set(found) - {member.path for member in known})


def ensure_extracted(paths: Layout, digest: str, progress: Progress, name: str) -> None:
    """Extracts the archive with this sha256 (hex), called `name`, unless its members are there.

    Raises:
        UnsafeFileError: It holds something that could do harm.
        IntegrityError: It is damaged.
        DiskError: There is no room.
    """
    with locked(paths.lock("extracted", digest), f"extract {name}"):
        if is_extracted(paths, digest) or _was_only_touched(paths, digest):
            return
        make_folder(paths.extracted)
        new = temporary_name(paths.tmp / digest)
        try:
            found = extract(Blobs(paths).path(digest), new, progress=progress, name=name)
            times = ((new / member.path).lstat().st_mtime_ns for member in found)
            listed = [
                Extracted(each.path, each.bytes, each.sha256, time) for each, time in zip(found, times, strict=True)
            ]
            _remove(paths, digest)
            _write_list(paths, digest, listed)
            with disk_errors(paths.extracted):
                new.chmod(stat.S_IMODE(paths.extracted.stat().st_mode))  # until now it was nobody else's
                new.rename(paths.extracted / digest)
                flush(paths.extracted)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _was_only_touched(paths: Layout, digest: str) -> bool:
    """Returns whether members have other times, but the bytes they had; a job may be reading them, so they stay."""
    folder, known = paths.extracted / digest, members(paths, digest)
    if known is None or _extra_names(folder, known):
        return False
    if not all(_is_there(folder, each) and sha256_of(folder / each.path) == each.sha256 for each in known):
        return False
    _write_list(paths, digest, [dataclasses.replace(each, mtime_ns=_mtime(folder, each)) for each in known])
    return True


def verify_extracted(paths: Layout, digest: str, progress: Progress) -> Iterator[tuple[Extracted, bool | None]]:
    """Yields each member of an archive with whether it is what it was, reading all of it; None: it is missing.

    A folder with a wrong member is removed, unless a process reads it: the next pull extracts it again.
    """
    folder, known, whole = paths.extracted / digest, members(paths, digest) or (), True
    refuse_link(folder)
    for member in known:
        state: bool | None = None
        path = folder / member.path
        if Path(os.path.realpath(path)) == Path(os.path.realpath(folder)) / member.path:
            with contextlib.suppress(OSError):
                state = sha256_of(path) == member.sha256
            progress.advance(member.bytes)
        whole = whole and state is True
        yield member, state
    for name in _extra_names(folder, known) if known else ():
        whole = False
        yield Extracted(name, 0, "", 0), False
    if not whole:
        with contextlib.suppress(DiskError):  # on a read-only disk it stays as it is
            _remove_if_still(paths, digest, known)


def _remove_if_still(paths: Layout, digest: str, judged: Sequence[Extracted]) -> None:
    """Removes what was judged, unless it is being read, or a pull has made it anew meanwhile."""
    with (
        for_removal(Blobs(paths).path(digest)) as claim,
        locked(paths.lock("extracted", digest), "remove what was extracted"),
    ):
        if claim.free and members(paths, digest) == judged:
            _remove(paths, digest)


def remove_extracted(paths: Layout, digest: str) -> None:
    """Removes what came out of an archive; nobody ever sees half of it."""
    with locked(paths.lock("extracted", digest), "remove what was extracted"):
        _remove(paths, digest)


def _remove(paths: Layout, digest: str) -> None:
    folder = paths.extracted / digest
    aside = temporary_name(paths.tmp / digest)
    with disk_errors(folder), contextlib.suppress(FileNotFoundError):
        _list(paths, digest).unlink(missing_ok=True)
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)  # which follows no links


def extracted_bytes(paths: Layout, digest: str) -> int:
    """Returns how much room the members of an archive take."""
    return sum(member.bytes for member in members(paths, digest) or ())


def _write_list(paths: Layout, digest: str, listed: Sequence[Extracted]) -> None:
    write_bytes(_list(paths, digest), json.dumps([dataclasses.asdict(each) for each in listed]).encode())


def _list(paths: Layout, digest: str) -> Path:
    return paths.extracted / f"{digest}.json"
