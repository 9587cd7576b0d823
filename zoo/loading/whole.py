"""Loads whole models in files of Keras. Every file passes the guards first, and its configuration our own allow-list.

What comes out of a configuration is built without memory at first, and must be as large as the weights that are there:
so a small file cannot ask for terabytes.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import keras

from zoo.errors import IntegrityError, UnsafeFileError, UsageError
from zoo.loading.building import without_memory
from zoo.loading.layer_weights import fill_from, paired, saved_layers
from zoo.loading.variables import explained, other_variables, saved_shapes, shapes
from zoo.store.guards.hdf5 import hdf5_outline
from zoo.store.guards.keras_archive import keras_archive
from zoo.store.guards.keras_config import checked_config

_LARGEST_TENSOR = 1 << 32  # numbers in one layer's output for one example


def is_whole_model(path: Path, name: str = "") -> bool:
    """Returns whether an HDF5 file has a model in it, and not only weights.

    Raises:
        IntegrityError: It is damaged, or no HDF5.
        UnsafeFileError: It could do harm.
    """
    return "model_config" in hdf5_outline(path, name).attributes.get("", {})


def load_archive(path: Path, name: str = "") -> keras.Model:
    """Returns the model in a `.keras` file.

    Raises:
        IntegrityError: The file is damaged, of a newer Keras, or needs a class that is not here.
        UnsafeFileError: It could do harm.
    """
    name = name or path.name
    with keras_archive(path, name, registered=_registered()) as archive, explained(name, "model"):
        if archive.outline is None:
            raise IntegrityError(f"{name} has no weights in it. Save the model again: model.save({name!r})")
        # Keras takes apart the dictionary that it is given.
        config = copy.deepcopy(archive.config)
        _refuse_larger(
            lambda: keras.saving.deserialize_keras_object(config, safe_mode=True), saved_shapes(archive.outline), name
        )
        return keras.saving.load_model(archive.folder, compile=False, safe_mode=True)


def load_whole_hdf5(path: Path, name: str = "") -> keras.Model:
    """Returns the model in an `.h5` file that has its configuration.

    Raises:
        UsageError: It has only weights.
        IntegrityError: The file is damaged, or needs a class that is not here.
        UnsafeFileError: It could do harm.
    """
    name = name or path.name
    outline = hdf5_outline(path, name)
    text = outline.attributes.get("", {}).get("model_config")
    if not isinstance(text, str):
        raise UsageError(
            f"{name} has weights, but no model that they belong to. Say which: zoo add {name} --arch vgg16"
        )
    version = outline.attributes[""].get("keras_version")
    config = checked_config(
        text, name, registered=_registered(), saved_by=version if isinstance(version, str) else None
    )
    saved = saved_layers(outline, name)
    shapes = Counter(shape for layer in saved for shape in layer.shapes)
    with explained(name, "model"):
        bare = _refuse_larger(lambda: _from_old_config(config), shapes, name)
        found = paired(saved, bare, name)
        model = _from_old_config(config)
    fill_from(path, model, found, name)
    return model


def _registered() -> Collection[str]:
    return frozenset(keras.saving.get_custom_objects())


def _from_old_config(config: dict[str, Any]) -> keras.Model:
    known = {"Sequential": keras.Sequential, "Functional": keras.Model, "Model": keras.Model}
    kind = known.get(config["class_name"]) or keras.saving.get_registered_object(config["class_name"])
    return kind.from_config(copy.deepcopy(config["config"]))


def _refuse_larger(build: Callable[[], Any], found: Counter[tuple[int, ...]], name: str) -> keras.Model:
    """Returns what `build` makes, without memory, if its weights are all `found` and its tensors are of a sane size."""
    bare = without_memory(build)
    if not isinstance(bare, keras.Model):
        raise IntegrityError(f"{name} has no model in it, but a {type(bare).__name__}.")
    missing = shapes(bare) - found
    if missing:
        raise IntegrityError(other_variables(found, shapes(bare), bare, name))
    for layer in bare.layers:
        if (size := _largest_output(layer)) > _LARGEST_TENSOR:
            raise UnsafeFileError(
                f"{name}: layer {layer.name!r} puts out {size:,} numbers for one example, {layer.output.shape}; "
                f"more than {_LARGEST_TENSOR:,} are refused."
            )
    return bare


def _largest_output(layer: Any) -> int:
    """Returns how many numbers a layer puts out for one example, where sizes that vary count as 1."""
    try:
        tensors = keras.tree.flatten(layer.output)
    except (AttributeError, ValueError):  # a layer that is called several times, or never
        return 0
    return max((math.prod(each or 1 for each in tensor.shape[1:]) for tensor in tensors), default=0)
