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
from collections.abc import Iterator
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
from zoo.store.locks import locked


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
    return known is not None and all(_is_untouched(folder, member) for member in known)


def _is_untouched(folder: Path, member: Extracted) -> bool:
    path = folder / member.path
    try:
        status = path.lstat()
        is_there = Path(os.path.realpath(path)) == Path(os.path.realpath(folder)) / member.path  # by no link
    except OSError:
        return False
    return is_there and (status.st_size, status.st_mtime_ns) == (member.bytes, member.mtime_ns)


def ensure_extracted(paths: Layout, digest: str, progress: Progress, name: str) -> None:
    """Extracts the archive with this sha256 (hex), called `name`, unless its members are there.

    Raises:
        UnsafeFileError: It holds something that could do harm.
        IntegrityError: It is damaged.
        DiskError: There is no room.
    """
    with locked(paths.lock("extracted", digest), f"extract {name}"):
        if is_extracted(paths, digest):
            return
        make_folder(paths.extracted)
        new = temporary_name(paths.tmp / digest)
        try:
            found = extract(Blobs(paths).path(digest), new, progress=progress, name=name)
            times = ((new / member.path).lstat().st_mtime_ns for member in found)
            listed = [{**dataclasses.asdict(each), "mtime_ns": time} for each, time in zip(found, times, strict=True)]
            _remove(paths, digest)
            write_bytes(_list(paths, digest), json.dumps(listed).encode())
            with disk_errors(paths.extracted):
                new.rename(paths.extracted / digest)
                flush(paths.extracted)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def verify_extracted(paths: Layout, digest: str, progress: Progress) -> Iterator[tuple[Extracted, bool | None]]:
    """Yields each member of an archive with whether it is what it was, reading all of it; None: it is missing.

    A folder with a wrong member is removed: the next pull extracts it again.
    """
    folder, whole = paths.extracted / digest, True
    refuse_link(folder)
    for member in members(paths, digest) or ():
        state: bool | None = None
        path = folder / member.path
        if Path(os.path.realpath(path)) == Path(os.path.realpath(folder)) / member.path and path.is_file():
            with contextlib.suppress(OSError):
                state = sha256_of(path) == member.sha256
            progress.advance(member.bytes)
        whole = whole and state is True
        yield member, state
    if not whole:
        with contextlib.suppress(DiskError):  # on a read-only disk it stays as it is
            remove_extracted(paths, digest)


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


def _list(paths: Layout, digest: str) -> Path:
    return paths.extracted / f"{digest}.json"
