"""Loads an artifact as a Keras model, whatever its format was; builds bare architectures."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import keras

from zoo.errors import IntegrityError, UsageError, nearest_names
from zoo.registry import find_loadable
from zoo.registry.architectures import ARCHITECTURES
from zoo.store import Artifact, pull_entry


def load_model(name: str) -> keras.Model:
    """Returns the model that the registry knows as `name`, with its weights.

    Raises:
        UsageError: This version cannot load it; nothing is pulled then.
        NotFoundError: The registry knows no such model, or its files are not here.
        IntegrityError: A file of it is damaged.

    >>> load_model("letters-cnn").input_shape
    (None, 28, 28, 1)
    """
    return load_artifact(pull_entry(find_loadable(name)))


def load_artifact(artifact: Artifact) -> keras.Model:
    """Returns the model in a pulled artifact."""
    path = artifact.files.get("model")
    if path is None or path.suffix != ".keras":
        raise UsageError(f"Model {artifact.entry.name!r} has no .keras file; this version loads no other format.")
    try:
        with artifact.reading():
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise IntegrityError(f"{path} cannot be loaded as a Keras model: {error}") from error


def build_architecture(arch: str, size: Sequence[int | None] | None = None, classes: int | None = None) -> keras.Model:
    """Returns a net of `keras.applications` with its classifier and without weights: to be looked at, not to be run.

    Its layers have the names and shapes of the real one, but no memory is taken for weights. EfficientNet's
    preprocessing inside is not that of the trained model, which Keras adds for its weights alone; its units are.

    Args:
        arch: A key of `zoo.registry.architectures.ARCHITECTURES`.
        size: Height, width and channels of the input; None, or None in it: as Keras has it.
        classes: How many the classifier tells apart; None: as Keras has it.

    Raises:
        UsageError: Keras has no such architecture.

    >>> build_architecture("vgg16").count_params()
    138357544
    """
    if arch not in ARCHITECTURES:
        near = nearest_names(arch, ARCHITECTURES)
        raise UsageError(f"Expected an architecture of keras.applications; got {arch!r}.{near}")
    options = {"input_shape": None if size is None or None in size else tuple(size), "classes": classes or 1000}

    def build() -> keras.Model:
        # Variables that are made in this scope get their values when it is left: it never is.
        keras.StatelessScope().__enter__()
        return getattr(keras.applications, ARCHITECTURES[arch].function)(weights=None, **options)

    # What Keras remembers by thread ends with a thread of its own: the open scope, and how layers' names were counted.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(build).result()
