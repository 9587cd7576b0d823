"""Cuts a model into a frozen trunk, a tail that trains and a new head, without touching the model itself."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from zoo.errors import CutError
from zoo.registry import InputSpec
from zoo.surgery.digests import unit_digests
from zoo.surgery.graph import Call, Ref, read_graph, replay, sublayers
from zoo.surgery.heads import Head, Tap, apply_tap
from zoo.surgery.selection import Depth, select_units
from zoo.surgery.units import Units, split_units

_SCRATCH_MOMENTUM = 0.9


@dataclass(frozen=True)
class Trunk:
    """The frozen units of a model, with a tap on the last of them.

    Attributes:
        name: Of the model that the units come from.
        unit_names: Names of the units, from the input up.
        cuts: The input and the tensor that each unit puts out (symbolic, one graph).
        output: What the tap takes of the last of `cuts`.
        tap: `map` for all of it, or the pooling that makes it a vector.
        preprocessing: What examples become before they enter; None: they enter as they are.
    """

    name: str
    unit_names: tuple[str, ...]
    cuts: tuple[Any, ...] = field(repr=False)
    output: Any = field(repr=False)
    tap: Tap
    preprocessing: InputSpec | None = None

    @property
    def depth(self) -> int:
        """The number of units."""
        return len(self.cuts) - 1

    def starts_from(self, depth: int) -> bool:
        """Returns whether its output can be computed from unit `depth`'s: no layer is called on both sides."""
        try:
            _between(self.cuts[depth], self.output, "from")
        except ValueError:
            return False
        return True

    @property
    def model(self) -> keras.Model:
        """The trunk as a model: preprocessed examples in, features out."""
        return _between(self.cuts[0], self.output, f"trunk_{self.depth}")

    def digests(self) -> tuple[str, ...]:
        """Returns the digest of the input and of each unit (hex), of the weights as they are now."""
        lower = keras.Model(self.cuts[0], self.cuts[-1])
        return unit_digests(split_units(lower), self.depth)

    def at(self, depth: int, tap: Tap = "map") -> Trunk:
        """Returns the lowest `depth` of the trunk's units, with another tap.

        Raises:
            CutError: `depth` is not 1 to the trunk's own.
        """
        if not 1 <= depth <= self.depth:
            raise CutError(f"Expected a depth of 1 to {self.depth} units; got {depth}.")
        output = apply_tap(self.cuts[depth], tap, f"unit{depth}")
        return Trunk(self.name, self.unit_names[:depth], self.cuts[: depth + 1], output, tap, self.preprocessing)

    def __call__(self, x: Any) -> Any:
        """Returns the features [batch, ...] of preprocessed examples `x` [batch, ...]."""
        return self.model(x, training=False)


class Surgery:
    """A model cut into trunk, tail and head.

    Everything that is reused is copied, so the caller's model is never changed. Frozen units run in inference mode
    always; in the tail, BatchNormalization trains gamma and beta and keeps its statistics, unless `train_batchnorm`.

    Args:
        model: A built functional or sequential model of one input and one output.
        reuse: How many of its lowest units to keep, or what names them (see `select_units`).
        freeze: How many of those to freeze; None: all.
        head: The new layers.
        preprocessing: What examples become before they enter the model.
        train_batchnorm: Whether BatchNormalization in the tail updates its statistics.
        random: Whether to start from random weights instead of the model's: a fair rival trained from scratch. Its
            BatchNormalization has momentum 0.9, so that the statistics keep up with few steps.

    Attributes:
        units: The model's units.
        reuse: N, the number of reused units.
        freeze: K, the number of frozen ones.
        trunk: The frozen units; None where K is 0.
        tail: `keras.Model` of the reused units that train; passes its input on where there are none.
        head: `keras.Model` of the new layers: class probabilities.
        trainable: `keras.Model` of tail and head together: features in, class probabilities out.
        logits: The same up to the logits: what is fitted on features.

    Raises:
        CutError: The model cannot be cut so.

    >>> net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    >>> surgery = Surgery(net, reuse=1, freeze=1, head=Head(classes=5))
    >>> surgery.stitch().output_shape
    (None, 5)
    """

    def __init__(
        self,
        model: keras.Model,
        reuse: Depth = "all",
        freeze: Depth | None = None,
        head: Head | None = None,
        *,
        preprocessing: InputSpec | None = None,
        train_batchnorm: bool = False,
        random: bool = False,
    ) -> None:
        head = head or Head(classes=2)
        self.units = split_units(model)
        self.reuse, self.freeze = select_units(self.units, reuse, freeze)
        _refuse_unsupported(self.units, self.reuse, self.freeze)
        copies = _Copies(self.units, self.freeze, head.seed, train_batchnorm, random)
        cuts = copies.cuts(self.reuse)
        prefix = _free_prefix(self.units, self.reuse)
        pooled = apply_tap(cuts[-1], head.pool, prefix)
        logits, probabilities = head.build(pooled, prefix)
        pooled_trunk = self.freeze == self.reuse > 0
        tap: Tap = head.pool if pooled_trunk and pooled is not cuts[-1] else "map"
        frozen = pooled if pooled_trunk else cuts[self.freeze]
        names = tuple(unit.name for unit in self.units[: self.freeze])
        self.trunk = (
            Trunk(model.name, names, cuts[: self.freeze + 1], frozen, tap, preprocessing) if self.freeze else None
        )
        self._input, self._output = cuts[0], probabilities
        top = pooled if pooled_trunk else cuts[self.reuse]
        self.tail = _between(frozen, top, "tail")
        self.head = _between(top, probabilities, "head")
        self.trainable = _between(frozen, probabilities, "trainable")
        self.logits = _between(frozen, logits, "logits")

    def stitch(self) -> keras.Model:
        """Returns trunk, tail and head as one model of preprocessed examples; its layers are those that train."""
        return keras.Model(self._input, self._output, name="stitched")

    def parameters(self) -> dict[str, int]:
        """Returns the number of parameters `frozen` (in the trunk), `trained` (in the tail) and `new` (in the head)."""
        return {
            "frozen": self.trunk.model.count_params() if self.trunk else 0,
            "trained": self.tail.count_params(),
            "new": self.head.count_params(),
        }


def whole_trunk(model: keras.Model, preprocessing: InputSpec | None = None) -> Trunk:
    """Returns all of `model` as a trunk: its own output is the features."""
    units = split_units(model)
    _refuse_unsupported(units, len(units), len(units))
    cuts = _Copies(units, len(units), seed=0, train_batchnorm=False, random=False).cuts(len(units))
    names = tuple(unit.name for unit in units)
    return Trunk(model.name, names, cuts, cuts[-1], "map", preprocessing)


def put_before(first: Any, tensor: Any, model: keras.Model) -> keras.Model:
    """Returns `model` behind what leads from the input `first` to `tensor`, as one flat model of the same layers."""
    graph = read_graph(model)
    output = replay(graph, {graph.input: tensor}, graph.output, lambda call, args, kwargs: call.layer(*args, **kwargs))
    return keras.Model(first, output, name=model.name)


def _between(first: Any, last: Any, name: str) -> keras.Model:
    if first is last:
        first = last = keras.Input(batch_shape=first.shape, dtype=first.dtype)
    return keras.Model(first, last, name=name)


class _Copies:
    """Copies of a model's layers, called anew as trunk or tail wants them."""

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

    def _call(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        original = call.layer
        # A layer without weights is copied anew for each call: Keras cannot cut between two calls of one layer.
        layer = self._copies.get(id(original)) if getattr(original, "weights", None) else None
        if not self._train_batchnorm and any(_is_batchnorm(part) for part in sublayers(original)):
            kwargs = {**kwargs, "training": False}  # `training_call` keeps to this
        if layer is not None:
            return layer(*args, **kwargs)
        layer = self._copies[id(original)] = self._copy(call)
        outputs = layer(*args, **kwargs)
        if getattr(original, "weights", None) and not self._random:
            layer.set_weights(original.get_weights())
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
            if _is_batchnorm(layer):
                config["momentum"] = _SCRATCH_MOMENTUM
        with keras.saving.custom_object_scope({type(part).__name__: type(part) for part in sublayers(layer)}):
            return type(layer).from_config(config)


def _seeded(config: Any, salt: str) -> Any:
    """Returns a layer's configuration with every seed set, so that copies need no global random state."""
    if isinstance(config, Mapping):
        return {
            key: zlib.crc32(f"{salt} {key}".encode()) if key == "seed" else _seeded(item, f"{salt} {key}")
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


def _is_batchnorm(layer: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _free_prefix(units: Units, count: int) -> str:
    """Returns how names of new layers begin: `head`, or `head2`... where reused layers have such names already."""
    used = {layer.split("_")[0] for unit in units[:count] for layer in unit.layers}
    number = 1
    while (prefix := "head" if number == 1 else f"head{number}") in used:
        number += 1
    return prefix


def _refuse_unsupported(units: Units, reuse: int, freeze: int) -> None:
    below = {id(call.layer): call for calls in units.calls[:freeze] for call in calls}
    for calls in units.calls[freeze:reuse]:
        for call in calls:
            if id(call.layer) in below and getattr(call.layer, "weights", None):
                raise CutError(
                    f"Layer {call.layer.name!r} of {units.model.name} is called below and above the freeze boundary "
                    f"(units {units.unit_of(below[id(call.layer)].key)} and {units.unit_of(call.key)}): its one set of "
                    f"weights cannot be frozen and trained. Freeze all that is reused: --freeze {reuse}, or --freeze 0."
                )
    for calls in units.calls[:reuse]:
        for call in calls:
            if any(getattr(part, "stateful", False) for part in sublayers(call.layer)):
                raise CutError(
                    f"Layer {call.layer.name!r} of {units.model.name} is a stateful recurrent layer: its output "
                    "depends on the batches before, so its features cannot be kept. Rebuild it with stateful=False."
                )
