"""What is in the store: what was pulled, where it lies, and whether it is still what it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.errors import IntegrityError, NotFoundError, nearest_names
from zoo.progress import Progress, Silent
from zoo.registry import find_entry
from zoo.store.blobs import Blobs
from zoo.store.embedded import embedded_artifact
from zoo.store.extracted import extracted_bytes, is_extracted, verify_extracted
from zoo.store.layout import Layout, layout, readable, refuse_newer
from zoo.store.records import DamagedRecordError, Record, StoredFile, read_record, record_names

State = Literal["whole", "damaged", "missing"]


@dataclass(frozen=True)
class Place:
    """Where a file of a model is.

    Attributes:
        model: The model.
        role: What the file is for.
        name: The file's published name.
        path: Where it is.
        folder: For an archive, the folder with what was in it.
        bytes: The file's size.
        digest: The file's sha256 (hex).
        vouched: Who vouches for its bytes.
        url: Where it came from.
        state: `whole`, or `missing` where it, or what was in it, is not there in its size. Nothing is read through.
    """

    model: str
    role: str
    name: str
    path: Path
    folder: Path | None
    bytes: int
    digest: str
    vouched: str
    url: str | None
    state: State


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
    with readable(paths):
        return _locate(paths, name)


def _locate(paths: Layout, name: str) -> list[Place]:
    if name not in record_names(paths):
        entry = find_entry(name)
        if entry.source == "embedded":
            found = embedded_artifact(entry).files
            return [
                Place(entry.name, file.role, file.name, found[file.role], None, file.bytes or 0,
                      (file.hash or "").removeprefix("sha256:"), "sha256 by its publisher", None, "whole")
                for file in entry.files
            ]  # fmt: skip
        name = pulled_name(paths, name)
    record = read_record(paths, name)
    return [_place(paths, record, file) for file in record.files] if record else []


def _place(paths: Layout, record: Record, file: StoredFile) -> Place:
    is_archive = file.role == "archive"
    is_here = Blobs(paths).size(file.blob) == file.bytes and (not is_archive or is_extracted(paths, file.blob))
    return Place(
        model=record.name,
        role=file.role,
        name=file.name,
        path=Blobs(paths).path(file.blob),
        folder=paths.extracted / file.blob if is_archive else None,
        bytes=file.bytes,
        digest=file.blob,
        vouched=file.vouched,
        url=file.url,
        state="whole" if is_here else "missing",
    )


def pulled_models() -> list[Record]:
    """Returns what was pulled, by model. One whose record cannot be read stands there without files.

    >>> pulled_models()
    []
    """
    paths = layout()
    return _records(paths, record_names(paths))


def _records(paths: Layout, names: Iterable[str]) -> list[Record]:
    """Returns the records of models, in any case those that are there; one that is damaged has no files."""
    found = []
    for name in names:
        try:
            found.append(read_record(paths, name))
        except DamagedRecordError:
            found.append(Record(name, ()))
    return [record for record in found if record is not None]


def verify(names: str | Sequence[str] = (), *, progress: Progress | None = None) -> list[Finding]:
    """Reads every byte of the store, and returns what was found, file by file.

    Damaged blobs are moved to `corrupt/`; the next pull of their model fetches them again.

    Args:
        names: Models; none: all that were pulled or added, and the blobs of no model.
        progress: Told about bytes as they are read.

    Raises:
        NotFoundError: A model has not been pulled.
        IntegrityError: A newer version of zoo wrote the store, or a file that ships with zoo is damaged.
    """
    paths = layout()
    refuse_newer(paths)
    names = [names] if isinstance(names, str) else names
    with readable(paths):
        shipped = [name for name in names if _is_embedded(paths, name)]
        places = [place for name in dict.fromkeys(shipped) for place in _locate(paths, name)]
        found = [Finding(place.model, place.name, place.path, place.state, place.bytes) for place in places]
        others = [name for name in names if name not in shipped]
        return found + (_verify(paths, others, progress or Silent()) if others or not names else [])


def _is_embedded(paths: Layout, name: str) -> bool:
    return name not in record_names(paths) and find_entry(name).source == "embedded"


def _verify(paths: Layout, names: Sequence[str], progress: Progress) -> list[Finding]:
    wanted = [pulled_name(paths, name) for name in names] if names else record_names(paths)
    records = _records(paths, dict.fromkeys(wanted))
    blobs = Blobs(paths)
    mentioned = {file.blob for record in records for file in record.files}
    read = sorted(mentioned if names else mentioned | set(blobs.all()))
    if not read and not records:
        return []
    progress.start(sum(blobs.size(digest) or 0 for digest in read) + _extracted_bytes(paths, records), "bytes")
    try:
        states = {digest: _state(blobs, digest, progress) for digest in read}
        findings = [each for record in records for each in _findings(paths, record, states, progress)]
    finally:
        progress.close()
    spare = (digest for digest in read if digest not in mentioned)
    return findings + [
        Finding("", digest, blobs.path(digest), states[digest], blobs.size(digest) or 0) for digest in spare
    ]


def _extracted_bytes(paths: Layout, records: Iterable[Record]) -> int:
    return sum(extracted_bytes(paths, file.blob) for record in records for file in _archives(record))


def _archives(record: Record) -> list[StoredFile]:
    return [file for file in record.files if file.role == "archive"]


def pulled_name(paths: Layout, name: str) -> str:
    """Returns the name under which a model was pulled.

    Raises:
        UsageError: It cannot be a model's name.
        NotFoundError: It was not pulled, or there is no such model.
    """
    here = record_names(paths)
    if name in here:
        return name
    entry = find_entry(name)
    found = entry.name
    if found in here:
        return found
    if entry.source == "local":
        raise NotFoundError(f"The record of {found}, which you added, is not there. Mend it: zoo pull {found}")
    near = nearest_names(name, here) or (f" Here are: {', '.join(here)}." if here else "")
    raise NotFoundError(f"{found} has not been pulled.{near} Fetch it: zoo pull {found}")


def _state(blobs: Blobs, digest: str, progress: Progress) -> State:
    if blobs.size(digest) is None:
        if not blobs.path(digest).exists():
            return "missing"
        blobs.set_aside_if_resized(digest)  # of another size than it had: there is no need to read it
        return "damaged"
    try:
        return "whole" if blobs.verify(digest, progress) else "damaged"
    except FileNotFoundError:  # removed, or replaced by a pull, since it was looked for
        return "missing"
    except IntegrityError:  # the disk cannot give its bytes: the others are looked at all the same
        return "damaged"


def _findings(paths: Layout, record: Record, states: dict[str, State], progress: Progress) -> Iterator[Finding]:
    if not record.files:
        yield Finding(record.name, "record", paths.artifact(record.name), "damaged", 0)
    for file in record.files:
        yield Finding(record.name, file.name, Blobs(paths).path(file.blob), states[file.blob], file.bytes)
    for file in _archives(record):
        folder = paths.extracted / file.blob
        found = list(verify_extracted(paths, file.blob, progress))
        if not found:
            yield Finding(record.name, f"{file.name}, extracted", folder, "missing", 0)
        for member, is_whole in found:
            state: State = "missing" if is_whole is None else "whole" if is_whole else "damaged"
            yield Finding(record.name, f"{file.name}: {member.path}", folder / member.path, state, member.bytes)
