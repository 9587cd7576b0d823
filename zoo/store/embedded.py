"""Artifacts of the models that ship inside the package: verified where they lie, never copied."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import IntegrityError, NotFoundError
from zoo.files import sha256_of
from zoo.registry import Entry
from zoo.store.artifact import Artifact

_FOLDER = Path(__file__).parent.parent / "embedded"


def embedded_artifact(entry: Entry) -> Artifact:
    """Returns the verified files of an embedded `entry`.

    Raises:
        NotFoundError: A file is missing from the package.
        IntegrityError: A file is not the one that the registry describes.
    """
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
