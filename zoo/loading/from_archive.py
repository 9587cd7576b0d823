"""Loads what came in an archive: a SavedModel of TF Hub, or a checkpoint, as the entry says."""

from __future__ import annotations

from pathlib import Path

import keras

from zoo.errors import NotConvertible, UsageError
from zoo.loading.from_checkpoint import load_slim
from zoo.loading.from_tensorflow import load_saved_model
from zoo.loading.saved_model_layer import opaque_model
from zoo.store.artifact import Artifact
from zoo.store.guards.saved_models import GRAPHS


def load_archived(artifact: Artifact) -> keras.Model:
    """Returns the model in the extracted archive of an artifact.

    A SavedModel becomes layers where it can, and else one frozen layer.

    Raises:
        UsageError: This version loads no such thing.
        NotFoundError: A file of it is missing.
        IntegrityError: A file of it is damaged.
        UnsafeFileError: It could do harm.
    """
    entry, folder = artifact.entry, artifact.folder
    if entry.source == "slim" and folder is not None:
        return load_slim(folder, entry)
    if folder is not None and (found := saved_model_in(folder)) is not None:
        return saved_model_or_layer(found, entry.name, keep=_digest(artifact))
    raise UsageError(f"The archive of {entry.name!r} holds nothing that this version loads. See: zoo show {entry.name}")


def saved_model_or_layer(folder: Path, name: str, *, keep: str | None = None) -> keras.Model:
    """Returns the SavedModel in a folder as a model of layers, or of one frozen layer where none can be made.

    Args:
        folder: Its folder.
        name: What it is called in messages.
        keep: The sha256 of the file of the store that it came out of, to keep what becomes of it beside that.

    Raises:
        IntegrityError: It is damaged, or takes or gives something else than one tensor.
        UnsafeFileError: It could do harm.
    """
    try:
        return load_saved_model(folder, name, keep=keep)[0]
    except NotConvertible:
        return opaque_model(folder, name=name)


def saved_model_in(folder: Path) -> Path | None:
    """Returns the folder of the one SavedModel in a folder: itself, or one below it; None where there is none."""
    found = {graph.parent for name in GRAPHS for graph in folder.rglob(name)}
    if folder in found:
        return folder
    return found.pop() if len(found) == 1 else None


def _digest(artifact: Artifact) -> str | None:
    path = artifact.files.get("archive")
    return path.name if path is not None else None
