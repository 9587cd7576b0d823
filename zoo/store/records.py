"""Records: which blobs are a model's, and who vouches for them. One small JSON file a model."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import IntegrityError
from zoo.files import disk_errors, flush, write_bytes
from zoo.names import name_fault, path_fault
from zoo.registry import Entry
from zoo.store.blobs import is_digest
from zoo.store.documents import parsed, read_json
from zoo.store.layout import SCHEMA, Layout, layout, refuse_link, short_key

_log = logging.getLogger("zoo")
_VOUCHED = {"publisher": "by its publisher", "third_party": "by a third party", "user": "of what was added"}


@dataclass(frozen=True)
class StoredFile:
    """One file of a model, as it was pulled.

    Attributes:
        role: What it is for.
        name: Its name, as published.
        blob: Its sha256 (hex), which is the name of its blob.
        bytes: Its size.
        published: The hash that it was checked by, such as `md5:...`; None where nobody published one.
        hash_from: Who published that hash: `publisher` or `third_party`; `user`: it is that of what was added here.
        key: What stands for the file as it was published, see `Wanted.key`.
        url: Where it came from.
        fetched: When, as an ISO time.
    """

    role: str
    name: str
    blob: str
    bytes: int
    published: str | None = None
    hash_from: str | None = None
    key: str | None = None
    url: str | None = None
    fetched: str | None = None

    @property
    def vouched(self) -> str:
        """Returns who vouches for the bytes, for people."""
        if self.published is None:
            return "unverified by publisher"
        kind = self.published.partition(":")[0]
        return f"{kind} {_VOUCHED.get(self.hash_from or '', 'by nobody knows whom')}"


@dataclass(frozen=True)
class Record:
    """What was pulled of one model.

    Attributes:
        name: The model's name in the registry.
        files: Its files.
    """

    name: str
    files: tuple[StoredFile, ...]

    @property
    def bytes(self) -> int:
        """Returns the size of its files, as they were fetched."""
        return sum(file.bytes for file in self.files)

    def file(self, name: str) -> StoredFile | None:
        """Returns its file of that name."""
        return next((file for file in self.files if file.name == name), None)


def write_record(paths: Layout, record: Record) -> None:
    """Writes a record, wholly or not at all."""
    document = {"schema": SCHEMA, **dataclasses.asdict(record)}
    path = paths.artifact(record.name)
    refuse_link(path)
    write_bytes(path, json.dumps(document, indent=1).encode() + b"\n")


class DamagedRecordError(IntegrityError):
    """A record that cannot be read, and that a pull makes anew."""


def read_record(paths: Layout, name: str, *, mend: bool = False) -> Record | None:
    """Returns what was pulled of the model `name`, or None.

    Args:
        paths: The store.
        name: The model.
        mend: Take a damaged record for none, because it is written anew.

    Raises:
        IntegrityError: A newer version of zoo wrote the record; `DamagedRecordError` where it is damaged.
        UnsafeFileError: The record is a link.
    """
    path = paths.artifact(name)
    refuse_link(path)
    document = read_json(path)
    if document is None and not path.exists():
        return None
    schema = document.get("schema") if isinstance(document, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise IntegrityError(
            f"{path} has schema {schema}; this version of zoo reads schema {SCHEMA}. "
            "Upgrade zoo: pip install --upgrade zoo-transfer"
        )
    try:
        return _parse(name, document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if mend:
            _log.debug("%s is damaged; it is made anew.", path)
            return None
        raise DamagedRecordError(f"{path} is damaged: it is no record of a model. Mend it: zoo pull {name}") from error


def _parse(name: str, document: dict[str, Any]) -> Record:
    files = tuple(parsed(StoredFile, each) for each in document["files"])
    if (
        document["name"] != name
        or not files
        or any(not is_digest(file.blob) or path_fault(file.name) for file in files)
    ):
        raise ValueError(name)
    return Record(name, files)


def record_of(entry: Entry, when: str | None = None) -> Record:
    """Returns the record of a model that was added here, as its entry tells it; files without a sha256 are left out."""
    files = (
        StoredFile(
            role=file.role,
            name=file.name,
            blob=file.hash.removeprefix("sha256:"),
            bytes=file.bytes or 0,
            published=file.hash,
            hash_from=file.hash_from,
            key=short_key(file.hash),
            fetched=when,
        )
        for file in entry.files
        if file.hash and file.hash.startswith("sha256:")
    )
    return Record(entry.name, tuple(files))


def record_names(paths: Layout) -> list[str]:
    """Returns the names of all models of which something was pulled; their records may yet be damaged."""
    with disk_errors(paths.artifacts, "look at its permissions", "read"):
        if not paths.artifacts.exists():
            return []
        next(paths.artifacts.iterdir(), None)  # refused where rglob would find nothing without a word
        found = [path.relative_to(paths.artifacts).as_posix() for path in paths.artifacts.rglob("*.json")]
    names = (name.removesuffix(".json") for name in found)
    return sorted(name for name in names if name_fault(name) is None)


def pulled_names() -> frozenset[str]:
    """Returns the names of all models of which something was pulled into `$ZOO_HOME`.

    >>> "vgg16" in pulled_names()
    False
    """
    return frozenset(record_names(layout()))


def remove_record(paths: Layout, name: str) -> None:
    """Removes a model's record, and the folders that only it kept."""
    path = paths.artifact(name)
    with disk_errors(path):
        if path.exists():
            path.unlink()
            flush(path.parent)  # the record goes before what it speaks of, also if the power does
    for folder in path.parents:
        if folder == paths.artifacts or _has_names(folder):
            return
        with contextlib.suppress(OSError):  # another process has just put something there
            folder.rmdir()


def _has_names(folder: Path) -> bool:
    return next(folder.iterdir(), None) is not None
