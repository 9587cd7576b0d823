"""Loads an artifact as a Keras model, whatever its format was."""

from __future__ import annotations

import keras

from zoo.errors import IntegrityError, UsageError
from zoo.registry import find_entry
from zoo.store import Artifact, pull


def load_model(name: str) -> keras.Model:
    """Returns the model that the registry knows as `name`, with its weights.

    Raises:
        NotFoundError: The registry knows no such model, or its files are not here.
        IntegrityError: A file of it is damaged.

    >>> load_model("letters-cnn").input_shape
    (None, 28, 28, 1)
    """
    return load_artifact(pull(find_entry(name)))


def load_artifact(artifact: Artifact) -> keras.Model:
    """Returns the model in a pulled artifact."""
    path = artifact.files.get("model")
    if path is None or path.suffix != ".keras":
        raise UsageError(f"Model {artifact.entry.name!r} has no .keras file; this version loads no other format.")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise IntegrityError(f"{path} cannot be loaded as a Keras model: {error}") from error
