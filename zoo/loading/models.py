"""Loads a model of the registry, or one in a file, through the loader of its format."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from zoo.errors import NotFoundError, OfflineError, UsageError
from zoo.loading.building import build_architecture
from zoo.loading.from_archive import load_archived, saved_model_or_layer
from zoo.loading.from_caffe import load_caffe
from zoo.loading.from_onnx import converted_onnx, load_onnx
from zoo.loading.layer_weights import weighted_layers
from zoo.loading.unchanged import unchanged
from zoo.loading.weights import load_weights
from zoo.loading.whole import load_archive, load_whole_hdf5
from zoo.registry import Entry, find_loadable
from zoo.registry.architectures import ARCHITECTURES
from zoo.store import Artifact, pull_entry
from zoo.store.guards.places import kind_of, missing
from zoo.store.guards.saved_models import GRAPHS
from zoo.store.policy import policy_from_environment
from zoo.store.unpacking import shown

if TYPE_CHECKING:
    from zoo.converters import ConversionReport

_LOADERS = {".keras": load_archive, ".h5": load_whole_hdf5, ".hdf5": load_whole_hdf5, ".onnx": load_onnx}
_PATHS = (*_LOADERS, ".prototxt", ".caffemodel")  # what is a path whatever the registry knows


def load_model(name: str | os.PathLike[str]) -> keras.Model:
    """Returns a model with its weights: one that the registry knows, or one in a file.

    Args:
        name: A model's name, or the path of a `.keras`, whole `.h5` or `.onnx` file, whose weights may be in files
            beside it, or of the folder of a SavedModel. The two files of a Caffe net become one by `zoo.convert`, or a
            name by `zoo.add`; so do checkpoints.

    Raises:
        UsageError: This version cannot load it; nothing is pulled then.
        NotFoundError: The registry knows no such model, or its files are not here.
        IntegrityError: A file of it is damaged, another model's, or needs a class that is not here.
        UnsafeFileError: A file of it could do harm.

    >>> load_model("letters-cnn").input_shape
    (None, 28, 28, 1)
    """
    if isinstance(name, os.PathLike) or Path(name).suffix.casefold() in _PATHS or _is_saved_model(Path(name)):
        return _load_file(Path(name))
    return load_artifact(pull_entry(find_loadable(name)))


def _is_saved_model(path: Path) -> bool:
    return any(kind_of(path / name) == "file" for name in GRAPHS)


def _load_file(path: Path) -> keras.Model:
    if _is_saved_model(path):
        return _saved_model(path)
    loader = _LOADERS.get(path.suffix.casefold())
    if path.suffix.casefold() in (".prototxt", ".caffemodel"):
        raise UsageError(
            f"A Caffe net is two files, and {shown(str(path))} is one of them. Give both a name: zoo add "
            "deploy.prototxt net.caffemodel; or make one file of them: zoo convert deploy.prototxt net.caffemodel "
            "net.keras"
        )
    if loader is None:
        raise UsageError(f"Expected a file that ends with {', '.join(_LOADERS)}; got {shown(str(path))}.")
    if loader is load_onnx:
        return load_onnx_file(path)[0]
    _refuse_no_file(path)
    with unchanged(path):
        return loader(path, path.name)


def _saved_model(folder: Path) -> keras.Model:
    try:
        return saved_model_or_layer(folder, str(folder))
    except UsageError as error:
        raise UsageError(
            f"{error} By its path alone it is not loaded, then. Give it a name, and say it there: zoo add "
            f"{shlex.quote(str(folder))} --name NAME, with --signature or --output (Python: zoo.add)"
        ) from error


def load_onnx_file(
    path: Path,
    *,
    limit: float = 1e-4,
    until: str | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
) -> tuple[keras.Model, ConversionReport]:
    """Returns the model in an ONNX file, and how well it was converted.

    Args:
        path: The file; its weights may be in files beside it.
        limit: The largest error that passes, relative to the largest value of an output.
        until: The name of the last node to convert.
        shapes: The sizes of inputs, as ONNX has them; None for one that varies.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is damaged, has an operator that is not known, or the converted model differs from it.
        UnsafeFileError: It could do harm.
    """
    _refuse_no_file(path)
    with unchanged(path):
        return converted_onnx(path, limit=limit, until=until, shapes=shapes)


def _refuse_no_file(path: Path) -> None:
    kind = kind_of(path)
    if kind is None:
        raise missing(path)
    if kind == "folder":
        raise UsageError(f"Expected a file; {shown(str(path))} is a folder.")


def load_artifact(artifact: Artifact) -> keras.Model:
    """Returns the model in a pulled artifact; where it has headless weights alone, the model ends below its classifier.

    Raises:
        UsageError: This version does not load its format.
        IntegrityError: A file of it is damaged, another model's, or needs a class that is not here.
        UnsafeFileError: A file of it could do harm.
    """
    entry = artifact.entry
    with artifact.reading():
        if path := artifact.files.get("model"):
            name = _published_name(entry, "model")
            if loader := _LOADERS.get(Path(name).suffix.casefold()):
                return loader(path, name)
        elif {"definition", "weights"} <= set(artifact.files):
            return load_caffe(artifact)
        elif artifact.folder is not None:
            return load_archived(artifact)
        elif artifact.unpublished:
            raise NotFoundError(_lacking(artifact))
        elif entry.arch in ARCHITECTURES:
            role = "weights" if "weights" in artifact.files else "weights_notop"
            if role in artifact.files:
                return load_weights(
                    artifact.files[role],
                    entry.arch,
                    entry.input.size if entry.input else None,
                    entry.output.classes,
                    headless=role == "weights_notop",
                    lacks=entry.lacks,
                    name=_published_name(entry, role),
                )
    raise UsageError(
        f"Model {entry.name!r} has no file of a format that this version loads. See: zoo show {entry.name}"
    )


def _lacking(artifact: Artifact) -> str:
    """Returns what to do where nobody published the address of a file that a model needs."""
    name, files = artifact.entry.name, artifact.unpublished
    told = "; ".join(f"{file.name} ({file.reported or file.role})" for file in files)
    here = " ".join(map(str, artifact.files.values()))
    return (
        f"{name} needs more than could be pulled, for nobody published an address of {told}. If you have it, add both "
        f"as a model of yours: zoo add {files[0].name} {here} --name my-{name.rpartition('/')[2]}"
    )


def _published_name(entry: Entry, role: str) -> str:
    return next(file.name for file in entry.files if file.role == role)


def load_what_is_here(entry: Entry) -> keras.Model:
    """Returns a model of which only the files tell what it is made of; nothing is fetched.

    Raises:
        NotFoundError: Its files are not here.
    """
    try:
        return load_artifact(pull_entry(entry, policy=policy_from_environment(offline=True)))
    except OfflineError as error:
        raise NotFoundError(
            f"What {entry.name} is made of stands in its file alone, which is not here. Fetch it: zoo pull {entry.name}"
        ) from error


def bare_net(entry: Entry) -> keras.Model | None:
    """Returns the net of an entry without weights, which takes no file; None where only its files tell what it is."""
    has_net = entry.source == "embedded" or ("load" in entry.can and _has_model(entry))
    if entry.arch not in ARCHITECTURES or has_net:
        return None
    return build_architecture(entry.arch, entry.input.size if entry.input else None, entry.output.classes)


def _has_model(entry: Entry) -> bool:
    return any(file.role in ("model", "definition") for file in entry.files)


def headless_layers(entry: Entry) -> frozenset[str]:
    """Returns the layers whose weights are in an entry's headless file; none where it has no such file to fetch."""
    if entry.arch not in ARCHITECTURES or not any(each.role == "weights_notop" and each.urls for each in entry.files):
        return frozenset()
    size: Sequence[int | None] | None = entry.input.size if entry.input else None
    return frozenset(layer.name for layer in weighted_layers(build_architecture(entry.arch, size, top=False)))


def absent_layers(entry: Entry) -> tuple[str, ...]:
    """Returns the layers of an entry's net whose weights are in none of its files, such as a headless classifier."""
    roles = {file.role for file in entry.files}
    if entry.arch not in ARCHITECTURES or "weights" in roles or "weights_notop" not in roles:
        return entry.lacks
    size = entry.input.size if entry.input else None
    known = {layer.name for layer in weighted_layers(build_architecture(entry.arch, size, top=False))}
    whole = build_architecture(entry.arch, size)
    return tuple(layer.name for layer in weighted_layers(whole) if layer.name not in known)


def nonfinite_layers(model: keras.Model) -> list[str]:
    """Returns the names of the layers that have a weight which is NaN or infinite."""
    return [layer.name for layer in weighted_layers(model) if not all(map(_is_finite, layer.weights))]


def _is_finite(variable: keras.Variable) -> bool:
    if np.dtype(keras.backend.standardize_dtype(variable.dtype)).kind != "f" and variable.dtype != "bfloat16":
        return True
    return bool(keras.ops.all(keras.ops.isfinite(variable.value)))
