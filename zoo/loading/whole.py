"""Loads whole models in files of Keras. Every file passes the guards first, and its configuration our own allow-list.

What comes out of a configuration is built without memory at first, and must be as large as the weights that are there:
so a small file cannot ask for terabytes.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import keras

import zoo.loading.saved_model_layer  # noqa: F401  registers the layer that a file may have
from zoo.errors import IntegrityError, UnsafeFileError, UsageError
from zoo.loading.bounds import BARE, bare_config, refuse_costly, refuse_endless
from zoo.loading.building import without_memory
from zoo.loading.layer_weights import fill_from, paired, saved_layers
from zoo.loading.variables import explained, other_variables, refuse_other_numbers, saved_shapes, shapes
from zoo.store.guards.hdf5 import hdf5_outline
from zoo.store.guards.keras_archive import WEIGHTS, keras_archive
from zoo.store.guards.keras_assets import refuse_saved_models
from zoo.store.guards.keras_config import checked_config
from zoo.store.guards.keras_json import parsed
from zoo.store.unpacking import opened

_MOST_TEXT = 64 << 20
_MOST_WEIGHTS = 1 << 30  # of float32 that is 4 GiB


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
        _refuse_larger(archive.config, _from_config, saved_shapes(archive.outline), name)
        model = keras.saving.load_model(archive.folder, compile=False, safe_mode=True)
        refuse_other_numbers(archive.folder / WEIGHTS, archive.outline, model, name)
        return model


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
    refuse_saved_models(config, name)
    saved = saved_layers(outline, name)
    shapes = Counter(shape for layer in saved for shape in layer.shapes)
    with explained(name, "model"):
        _refuse_larger(config, _from_old_config, shapes, name)
        model = _from_old_config(config)
        found = paired(saved, model, name)
    fill_from(path, model, found, name)
    return model


def load_definition(path: Path, name: str = "") -> keras.Model:
    """Returns the model that a `.json` file describes (`model.to_json()`), with random weights.

    Raises:
        IntegrityError: The file is no such description, of a newer Keras, or needs a class that is not here.
        UnsafeFileError: It could do harm, or asks for more than any model does.
    """
    name = name or path.name
    with opened(path) as source:
        text = source.read_at(0, min(source.size, _MOST_TEXT + 1))
    version = parsed(text, name).get("keras_version")
    config = checked_config(
        text, name, registered=_registered(), saved_by=version if isinstance(version, str) else None
    )
    refuse_saved_models(config, name)
    build = _from_config if "module" in config else _from_old_config
    refuse_endless(config, name)
    with explained(name, "model"):
        without_memory(lambda: _refuse_large(_bare(config, build), config, name))
        return build(config)


def _refuse_large(bare: Any, config: dict[str, Any], name: str) -> None:
    """Refuses what is no model, or one of more weights than a description alone may ask for."""
    is_model = isinstance(bare, keras.Model)
    _refuse_bare(bare, config, shapes(bare) if is_model else Counter(), name)
    if (count := bare.count_params()) > _MOST_WEIGHTS:
        raise UnsafeFileError(f"{name} asks for {count:,} weights; a description may ask for {_MOST_WEIGHTS:,}.")


def _registered() -> Collection[str]:
    return frozenset(keras.saving.get_custom_objects())


def _from_config(config: dict[str, Any]) -> Any:
    # Keras takes apart the dictionary that it is given.
    return keras.saving.deserialize_keras_object(copy.deepcopy(config), safe_mode=True)


def _from_old_config(config: dict[str, Any]) -> Any:
    known = {"Sequential": keras.Sequential, "Functional": keras.Model, "Model": keras.Model}
    kind = known.get(config["class_name"]) or keras.saving.get_registered_object(config["class_name"])
    return kind.from_config(copy.deepcopy(config["config"]))


def _refuse_larger(
    config: dict[str, Any], build: Callable[[dict[str, Any]], Any], found: Counter[tuple[int, ...]], name: str
) -> None:
    """Builds a model without memory; refuses it if its weights are not all `found`, or it asks for more than any does.

    Raises:
        IntegrityError: The weights are another model's, or the configuration is of none.
        UnsafeFileError: It would take more memory or time than any model does.
    """
    refuse_endless(config, name)
    without_memory(lambda: _refuse_bare(_bare(config, build), config, found, name))


def _bare(config: dict[str, Any], build: Callable[[dict[str, Any]], Any]) -> Any:
    with keras.saving.custom_object_scope(BARE):
        return build(bare_config(config))


def _refuse_bare(bare: Any, config: dict[str, Any], found: Counter[tuple[int, ...]], name: str) -> None:
    if not isinstance(bare, keras.Model):
        raise IntegrityError(f"{name} has no model in it, but a {type(bare).__name__}.")
    if not bare.built:
        raise IntegrityError(
            f"{name} was saved before its model was built: it has no weights, and does not tell what it takes. Begin "
            "the model with keras.Input(shape), or call it once on examples; then save it again."
        )
    if shapes(bare) - found:
        raise IntegrityError(other_variables(found, bare, name))
    refuse_costly(bare, config, name)
