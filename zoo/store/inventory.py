"""What is in the store: what was pulled, where it lies, and whether it is still what it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.errors import IntegrityError, NotFoundError, nearest_names
from zoo.progress import Progress, Silent
from zoo.registry import find_entry
from zoo.store.blobs import Blobs, digest_of
from zoo.store.embedded import embedded_artifact
from zoo.store.layout import Layout, layout, refuse_newer
from zoo.store.records import Record, StoredFile, read_record, record_names

State = Literal["whole", "damaged", "missing"]


@dataclass(frozen=True)
class Place:
    """Where a file of a model is.

    Attributes:
        model: The model.
        role: What the file is for.
        name: The file's published name.
        path: Where it is; for an archive, the folder with what was in it.
        bytes: Its size.
        digest: Its sha256 (hex).
        vouched: Who vouches for its bytes.
        url: Where it came from.
    """

    model: str
    role: str
    name: str
    path: Path
    bytes: int
    digest: str
    vouched: str
    url: str | None


@dataclass(frozen=True)
class Finding:
    """What verifying one file found.

    Attributes:
        model: The model; empty for a blob of no model.
        name: The file.
        path: Where it is, or was.
        state: `whole`, `damaged` (and moved aside) or `missing`.
        bytes: Its size.
    """

    model: str
    name: str
    path: Path
    state: State
    bytes: int


def locate(name: str) -> list[Place]:
    """Returns where the files of a pulled model are.

    Raises:
        NotFoundError: It has not been pulled, or there is no such model.
        IntegrityError: The record of what was pulled is damaged.

    >>> [place.name for place in locate("letters-cnn")]
    ['letters-cnn.keras']
    """
    paths = layout()
    record = read_record(paths, name) if name in record_names(paths) else None
    if record is not None:
        return [_place(paths, record, file) for file in record.files]
    entry = find_entry(name)
    if entry.source == "embedded":
        found = embedded_artifact(entry).files
        return [
            Place(entry.name, file.role, file.name, found[file.role], file.bytes or 0, (file.hash or "")[7:],
                  "sha256 by its publisher", None)
            for file in entry.files
        ]  # fmt: skip
    if entry.name != name:
        return locate(entry.name)
    raise NotFoundError(f"{name} has not been pulled. Fetch it: zoo pull {name}")


def _place(paths: Layout, record: Record, file: StoredFile) -> Place:
    path = Blobs(paths).path(file.blob) if file.members is None else paths.extracted / file.blob
    return Place(record.name, file.role, file.name, path, file.bytes, file.blob, file.vouched, file.url)


def pulled_models() -> list[Record]:
    """Returns what was pulled, by model. A damaged record stands there without files.

    >>> pulled_models()
    []
    """
    paths = layout()
    found = []
    for name in record_names(paths):
        try:
            found.append(read_record(paths, name) or Record(name, ()))
        except IntegrityError:
            found.append(Record(name, ()))
    return found


def verify(names: Sequence[str] = (), *, progress: Progress | None = None) -> list[Finding]:
    """Reads every byte of the store, and returns what was found, file by file.

    Damaged blobs are moved to `corrupt/`; the next pull of their model fetches them again.

    Args:
        names: Pulled models; none: all, and the blobs of no model.
        progress: Told about bytes as they are read.

    Raises:
        NotFoundError: A model has not been pulled.
        IntegrityError: A newer version of zoo wrote the store.
    """
    paths, progress = layout(), progress or Silent()
    refuse_newer(paths)
    wanted = [pulled_name(paths, name) for name in names] or record_names(paths)
    records: dict[str, Record | None] = {}
    for name in wanted:
        try:
            records[name] = read_record(paths, name)
        except IntegrityError:
            records[name] = None
    blobs = Blobs(paths)
    mentioned = {file.blob for record in records.values() if record for file in record.files}
    read = sorted(mentioned if names else mentioned | set(blobs.all()))
    if not read and not records:
        return []
    progress.start(sum(blobs.size(digest) or 0 for digest in read) + _extracted_bytes(records.values()), "bytes")
    try:
        states = {digest: _state(blobs, digest, progress) for digest in read}
        findings = [
            finding for name, record in records.items()
            for finding in (_findings(paths, record, states, progress) if record else [_damaged_record(paths, name)])
        ]  # fmt: skip
    finally:
        progress.close()
    spare = (digest for digest in read if digest not in mentioned)
    return findings + [
        Finding("", digest, blobs.path(digest), states[digest], blobs.size(digest) or 0) for digest in spare
    ]


def _extracted_bytes(records: Iterable[Record | None]) -> int:
    files = (file for record in records if record for file in record.files)
    return sum(member.bytes for file in files for member in file.members or ())


def pulled_name(paths: Layout, name: str) -> str:
    """Returns the name under which a model was pulled.

    Raises:
        NotFoundError: It was not.
    """
    here = record_names(paths)
    if name in here:
        return name
    with contextlib.suppress(NotFoundError):
        if (found := find_entry(name).name) in here:
            return found
    near = nearest_names(name, here)
    listed = f" Here are: {', '.join(here)}." if here else " Nothing has been pulled yet."
    raise NotFoundError(f"{name!r} has not been pulled.{near}{listed}")


def _state(blobs: Blobs, digest: str, progress: Progress) -> State:
    path = blobs.path(digest)
    if path.is_file() and blobs.size(digest) is None:
        blobs.quarantine(digest)  # of another size than it had: there is no need to read it
        return "damaged"
    if blobs.size(digest) is None:
        return "missing"
    return "whole" if blobs.verify(digest, progress) else "damaged"


def _findings(paths: Layout, record: Record, states: dict[str, State], progress: Progress) -> Iterator[Finding]:
    for file in record.files:
        yield Finding(record.name, file.name, Blobs(paths).path(file.blob), states[file.blob], file.bytes)
        folder = paths.extracted / file.blob
        for member in file.members or ():
            path = folder / member.path
            state: State = "whole"
            if path.is_symlink() or not path.is_file():
                state = "missing"
            elif digest_of(path, progress) != member.sha256:
                state = "damaged"
            yield Finding(record.name, f"{file.name}: {member.path}", path, state, member.bytes)
            if state == "damaged":
                path.unlink()  # the archive is here: the next pull extracts it again


def _damaged_record(paths: Layout, name: str) -> Finding:
    return Finding(name, "record", paths.artifact(name), "damaged", 0)
