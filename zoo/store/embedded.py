"""Artifacts of the models that ship inside the package: verified where they lie, never copied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zoo.errors import IntegrityError, NotFoundError
from zoo.files import sha256_of
from zoo.registry import Entry

_FOLDER = Path(__file__).parent.parent / "embedded"


@dataclass(frozen=True)
class Artifact:
    """The verified files of one entry on this machine, by role."""

    entry: Entry
    files: dict[str, Path]


def pull(entry: Entry) -> Artifact:
    """Returns the verified files of `entry`.

    Raises:
        NotFoundError: The entry's files are not on this machine.
        IntegrityError: A file is not the one that the registry describes.
    """
    if entry.source != "embedded":
        raise NotFoundError(
            f"Model {entry.name!r} comes from {entry.source!r}, which this version cannot fetch. See: zoo list"
        )
    files = {}
    for spec in entry.files:
        path = _FOLDER / spec.name
        if not path.exists():
            raise NotFoundError(f"Model {entry.name!r} lacks its file {path}. Reinstall zoo-transfer.")
        found = f"sha256:{sha256_of(path)}"
        if found != spec.hash:
            raise IntegrityError(f"{path} is damaged: expected {spec.hash}, found {found}. Reinstall zoo-transfer.")
        files[spec.role] = path
    return Artifact(entry, files)
