"""Copies of a model's layers that compute what the originals do, whose weights then may change."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.errors import CutError
from zoo.loading.saved_model_layer import SavedModelLayer
from zoo.surgery.digests import foreign_functions, is_from_keras
from zoo.surgery.graph import Call, Ref, has_batchnorm, replay, sublayers
from zoo.surgery.units import Units

_SCRATCH_MOMENTUM = 0.9


class Copies:
    """Copies of a model's layers, called anew as trunk or tail wants them.

    Args:
        units: The model's units.
        freeze: How many of them are frozen.
        seed: Of what is random in the copies.
        train_batchnorm: Whether BatchNormalization above the frozen units updates its statistics.
        random: Whether the copies keep the weights that they were initialized with.
    """

    def __init__(self, units: Units, freeze: int, seed: int, train_batchnorm: bool, random: bool) -> None:
        self._units = units
        self._seed = seed
        self._train_batchnorm = train_batchnorm
        self._random = random
        self._frozen = {call.key for calls in units.calls[:freeze] for call in calls}
        self._copies: dict[int, Any] = {}

    def cuts(self, count: int) -> tuple[Any, ...]:
        """Returns the input and the tensor that each of the lowest `count` units puts out."""
        graph = self._units.graph
        shape = graph.shapes[graph.input]
        source = graph.calls[0].layer
        tensors: dict[Ref, Any] = {
            graph.input: keras.Input(batch_shape=(None, *shape[1:]), dtype=source.dtype, name=source.name)
        }
        ends = self._units.ends[:count]
        return (tensors[graph.input], *(replay(graph, tensors, end, self._call) for end in ends))

    def layers(self, unit: int) -> list[Any]:
        """Returns the copies of the layers that unit number `unit` (from 0) calls, once they were called."""
        found = {id(copy): copy for call in self._units.calls[unit] if (copy := self._copies.get(id(call.layer)))}
        return [copy for copy in found.values() if isinstance(copy, keras.Layer)]

    def _call(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        original = call.layer
        # A layer without weights is copied anew for each call: Keras cannot cut between two calls of one layer.
        layer = self._copies.get(id(original)) if getattr(original, "weights", None) else None
        if not self._train_batchnorm and has_batchnorm(original):
            kwargs = {**kwargs, "training": False}  # `training_call` keeps to this
        if layer is not None:
            return layer(*args, **kwargs)
        layer = self._copies[id(original)] = self._copy(call)
        outputs = layer(*args, **kwargs)
        if not self._random:
            _copy_state(original, layer)
        if isinstance(layer, keras.Layer):
            layer.trainable = call.key not in self._frozen
        return outputs

    def _copy(self, call: Call) -> Any:
        layer = call.layer
        config = layer.get_config()
        if call.key != layer.name:
            config["name"] = call.key
        config = _seeded(config, f"{self._seed} {call.key}")
        if self._random:
            config = _quicker_statistics(config)
            if isinstance(layer, keras.layers.BatchNormalization):
                config["momentum"] = _SCRATCH_MOMENTUM
        if isinstance(layer, keras.layers.Lambda):
            return type(layer).from_config(config, safe_mode=False)  # the caller's own code, already running
        with keras.saving.custom_object_scope({type(part).__name__: type(part) for part in sublayers(layer)}):
            return type(layer).from_config(config)


def check_copies(units: Units, cuts: tuple[Any, ...]) -> None:
    """Refuses copies that compute something else: layers may keep state outside of configuration and weights.

    Those of Keras do not; a net of nothing else is not computed here, which would take longer than to copy it.
    """
    graph, ends = units.graph, units.ends[: len(cuts) - 1]
    if all(_is_plain(call.layer) for calls in units.calls[: len(ends)] for call in calls):
        return
    shape = [1, *(size or 64 for size in cuts[0].shape[1:])]
    try:
        x = _made_up(shape, cuts[0].dtype)
        tensors = {graph.input: x}
        for end in ends:
            replay(graph, tensors, end, lambda call, args, kwargs: call.layer(*args, **kwargs))
        found = keras.tree.flatten(keras.Model(cuts[0], list(cuts[1:]))(x)) if ends else []
    except (ValueError, TypeError, tf.errors.OpError):  # a layer wants other input than can be made up here
        return
    for unit, end, output in zip(units, ends, found, strict=False):
        if not _equal(output, tensors[end]):
            raise CutError(
                f"A copy of unit {unit.index} ({unit.name}) of {units.model.name} computes something else than the "
                "unit itself. A layer in it is random, or keeps state neither in its get_config() nor in its weights: "
                "put it there."
            )


def _made_up(shape: Sequence[int], dtype: str) -> Any:
    """Returns an input of random numbers, or of texts."""
    rng = np.random.default_rng(0)
    if dtype == "string":
        return keras.ops.convert_to_tensor(np.full(shape, "made up"), dtype)
    return keras.ops.cast(rng.integers(0, 2, shape) if "int" in dtype else rng.normal(size=shape), dtype)


def _is_plain(layer: Any) -> bool:
    return all(is_from_keras(part) for part in sublayers(layer)) and not foreign_functions(layer)


def _equal(got: Any, expected: Any) -> bool:
    left, right = (np.asarray(keras.ops.cast(each, "float32")) for each in (got, expected))
    scale = np.abs(np.nan_to_num(right)).max(initial=0)
    return bool(np.allclose(left, right, rtol=1e-3, atol=1e-3 * scale, equal_nan=True))


def _copy_state(original: Any, copy: Any) -> None:
    """Gives a copy the weights of its original, and what layers make of theirs: statistics, vocabularies."""
    if not isinstance(original, keras.Layer):
        return
    copy.set_weights(original.get_weights())
    for old, new in zip(sublayers(original), sublayers(copy), strict=True):
        if isinstance(old, keras.layers.Normalization) and new.built:
            store: dict[str, Any] = {}
            old.save_own_variables(store)
            new.load_own_variables(store)
        if isinstance(old, SavedModelLayer):
            new.take_of(old)
        elif hasattr(old, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                old.save_assets(folder)
                new.load_assets(folder)


def _seeded(config: Any, salt: str) -> Any:
    """Returns a layer's configuration with every open seed set, so that copies need no global random state."""
    if isinstance(config, Mapping):
        return {
            key: zlib.crc32(f"{salt} {key}".encode())
            if key == "seed" and item is None
            else _seeded(item, f"{salt} {key}")
            for key, item in config.items()
        }
    if isinstance(config, list):
        return [_seeded(item, f"{salt} {number}") for number, item in enumerate(config)]
    return config


def _quicker_statistics(config: Any) -> Any:
    """Returns configuration in which BatchNormalization inside nested models follows its batches quickly."""
    if isinstance(config, Mapping):
        changed = {key: _quicker_statistics(item) for key, item in config.items()}
        if changed.get("class_name") == "BatchNormalization":
            changed["config"]["momentum"] = _SCRATCH_MOMENTUM
        return changed
    return [_quicker_statistics(item) for item in config] if isinstance(config, list) else config
