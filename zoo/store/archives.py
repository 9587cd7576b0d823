"""Unpacks archives of models, which may be hostile: wholly and only into a new folder, or not at all.

Regular files and folders are all that comes out. Whatever else an archive holds has the whole of it refused, for a
publisher of models has no use for it. `tarballs` and `zips` read the formats, `unpacking` counts, `target` writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NoReturn

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.progress import Progress, Silent
from zoo.store.tarballs import gzipped_tar_entries, tar_entries
from zoo.store.target import new_target
from zoo.store.unpacking import CHUNK, Limits, Member, Meter, Source, nested_kind, opened
from zoo.store.zips import has_end_record, zip_entries

__all__ = ["USUAL_LIMITS", "Kind", "Limits", "Member", "archive_kind", "extract"]

Kind = Literal["tar", "tar.gz", "zip"]
USUAL_LIMITS = Limits()
_FETCH_AGAIN = "Fetch it again; if it stays so, its publisher's copy is broken."

_READERS = {"tar": tar_entries, "tar.gz": gzipped_tar_entries, "zip": zip_entries}


def archive_kind(path: Path) -> Kind | None:
    """Returns which kind of archive a file is by how it begins, whatever its name; None where `extract` reads none.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is a folder, a pipe or a device.
        DiskError: It cannot be read.
    """
    with opened(path) as source:
        return _kind(source)


def extract(
    archive: Path,
    folder: Path,
    limits: Limits = USUAL_LIMITS,
    progress: Progress | None = None,
    name: str = "",
    remedy: str = _FETCH_AGAIN,
) -> tuple[Member, ...]:
    """Unpacks an archive into a new folder and returns its files, sorted by path.

    Every file has its final content and mode 0644, and is durable, when this returns; the folder (mode 0700) has still
    to be given its final name by the caller. After a failure there is no folder.

    Args:
        archive: A tar, a gzipped tar or a zip, told by content.
        folder: Must not exist; its parent must.
        limits: What the archive may ask for at most.
        progress: Told about the bytes of the archive that have been read.
        name: What the archive is called in messages; empty: its path.
        remedy: What to do where it is damaged.

    Raises:
        UnsafeFileError: The archive holds links, devices, paths that lead elsewhere, more than `limits` allow, other
            archives, or contradicts itself.
        IntegrityError: It is damaged, cut short, without a file, or no archive at all.
        NotFoundError: There is no such archive.
        DiskError: `folder` exists, the disk is full or not ours to write, or the archive cannot be read.
    """
    progress = progress or Silent()
    name = name or str(archive)
    hint = f"to unpack {name}, free some space or choose another folder (ZOO_HOME)"
    with opened(archive, progress) as source, _explained(name, remedy):
        read = _READERS[_kind(source) or _refuse(source)]
        meter = Meter(limits.unpacked(source.size), "for its size it unpacks to")
        with new_target(folder, limits, hint) as target:
            progress.start(source.size, "packed bytes")
            try:
                for entry in read(source, meter, limits):
                    target.add(entry)
            finally:
                progress.close()
            return target.finish()


@contextmanager
def _explained(archive: str, remedy: str) -> Iterator[None]:
    """Adds to the cause of a refusal which archive it is about, what became of it, and what to do."""
    try:
        yield
    except UnsafeFileError as error:
        raise UnsafeFileError(
            f"Refused to unpack {archive}: {error}. Nothing of it was kept. Get another copy from the publisher; "
            "if it is the same, look into it by hand before you use any of it."
        ) from error
    except IntegrityError as error:
        raise IntegrityError(f"Cannot unpack {archive}: {error}. Nothing of it was kept. {remedy}") from error


def _kind(source: Source) -> Kind | None:
    head = source.read_at(0, min(source.size, CHUNK))
    match nested_kind("", head):
        case "tar":
            return "tar"
        case "zip":
            return "zip"
        case "gzip" if nested_kind("", _gunzipped_head(head)) == "tar":
            return "tar.gz"
        case _:
            return None


def _gunzipped_head(head: bytes) -> bytes:
    import zlib  # here, for the sake of a quick import

    try:
        return zlib.decompressobj(31).decompress(head, 512)
    except zlib.error:
        return b""


def _refuse(source: Source) -> NoReturn:
    if has_end_record(source):
        raise UnsafeFileError("other data stands before the zip in it")
    found = nested_kind("", source.read_at(0, min(source.size, CHUNK))) or "something else"
    if found == "gzip":
        found = "gzip with no tar in it, or cut short"
    raise IntegrityError(f"expected a tar, a gzipped tar or a zip, found {found}")
