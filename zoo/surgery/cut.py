"""Cuts a model into a frozen trunk, a tail that trains and a new head, without touching the model itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras

from zoo.errors import CutError
from zoo.registry import InputSpec
from zoo.surgery.copying import Copies, check_copies
from zoo.surgery.digests import unit_digests
from zoo.surgery.graph import read_graph, replay, sublayers
from zoo.surgery.heads import Head, Tap, apply_tap
from zoo.surgery.selection import Depth, refuse_to_train_opaque, select_units
from zoo.surgery.units import Units, opaque_parameters, split_units


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

    def output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the features of one preprocessed example of `input_shape`."""
        if None not in self.output.shape[1:]:
            return tuple(self.output.shape[1:])
        return tuple(self.model.compute_output_shape((1, *input_shape))[1:])

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
        known_as: Tap = "map" if output is self.cuts[depth] else tap  # of a vector nothing is pooled
        return Trunk(self.name, self.unit_names[:depth], self.cuts[: depth + 1], output, known_as, self.preprocessing)

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
        whole: The units of the net that `model` is the lower part of, where it ends below its classifier.
        name: What users call the model; None: as Keras does.

    Attributes:
        units: The model's units, or `whole`.
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
        whole: Units | None = None,
        name: str | None = None,
    ) -> None:
        head = head or Head(classes=2)
        present = split_units(model)
        self.units = whole or present
        self.reuse, self.freeze = select_units(self.units, reuse, freeze, name=name)
        _refuse_missing(self.units, present, self.reuse)
        _refuse_unsupported(present, self.reuse, self.freeze)
        refuse_to_train_opaque(present, self.reuse, self.freeze, random=random)
        copies = Copies(present, self.freeze, head.seed, train_batchnorm, random)
        cuts = copies.cuts(self.reuse)
        if not random:
            check_copies(present, cuts)
        prefix = _free_prefix(present, self.reuse)
        pooled = apply_tap(cuts[-1], head.pool, prefix)
        logits, probabilities = head.build(pooled, prefix)
        pooled_trunk = self.freeze == self.reuse > 0
        tap: Tap = head.pool if pooled_trunk and pooled is not cuts[-1] else "map"
        frozen = pooled if pooled_trunk else cuts[self.freeze]
        names = tuple(unit.name for unit in self.units[: self.freeze])
        self.trunk = (
            Trunk(name or model.name, names, cuts[: self.freeze + 1], frozen, tap, preprocessing)
            if self.freeze
            else None
        )
        self._input, self._output = cuts[0], probabilities
        top = pooled if pooled_trunk else cuts[self.reuse]
        self.tail = _between(frozen, top, "tail")
        self.head = _between(top, probabilities, "head")
        self.trainable = _between(frozen, probabilities, "trainable")
        self.logits = _between(frozen, logits, "logits")
        self._trained_units = [copies.layers(number) for number in range(self.freeze, self.reuse)]

    def stitch(self) -> keras.Model:
        """Returns trunk, tail and head as one model of preprocessed examples; its layers are those that train."""
        return keras.Model(self._input, self._output, name="stitched")

    def trained_variables(self) -> list[list[Any]]:
        """Returns the variables that train: those of the head, then those of each unit of the tail from the top down.

        A layer that several units call counts with the highest of them.
        """
        found = [list(self.head.trainable_variables)]
        seen = {id(variable) for variable in found[0]}
        for layers in self._trained_units[::-1]:
            variables = [each for layer in layers for each in layer.trainable_variables if id(each) not in seen]
            seen |= {id(each) for each in variables}
            found.append(variables)
        return found

    def take_weights(self, other: Surgery) -> None:
        """Takes over the weights of head and tail, as far as the other surgery of the same model has these layers."""
        theirs = {layer.name: layer for layer in other.logits.layers if layer.weights}
        for layer in self.logits.layers:
            if layer.weights and layer.name in theirs:
                layer.set_weights(theirs[layer.name].get_weights())

    def parameters(self) -> dict[str, int]:
        """Returns the number of parameters `frozen` (in the trunk), `trained` (in the tail) and `new` (in the head)."""
        return {
            "frozen": _parameters(self.trunk.model) if self.trunk else 0,
            "trained": self.tail.count_params(),
            "new": self.head.count_params(),
        }


def whole_trunk(model: keras.Model, preprocessing: InputSpec | None = None) -> Trunk:
    """Returns all of `model` as a trunk: its own output is the features."""
    units = split_units(model)
    _refuse_unsupported(units, len(units), len(units))
    cuts = Copies(units, len(units), seed=0, train_batchnorm=False, random=False).cuts(len(units))
    check_copies(units, cuts)
    names = tuple(unit.name for unit in units)
    return Trunk(model.name, names, cuts, cuts[-1], "map", preprocessing)


def _parameters(model: keras.Model) -> int:
    """Returns how many numbers a model holds, those of SavedModels in it too."""
    return int(model.count_params()) + sum(opaque_parameters(layer) for layer in model.layers)


def put_before(first: Any, tensor: Any, model: keras.Model) -> keras.Model:
    """Returns `model` behind what leads from the input `first` to `tensor`, as one flat model of the same layers."""
    graph = read_graph(model)
    output = replay(graph, {graph.input: tensor}, graph.output, lambda call, args, kwargs: call.layer(*args, **kwargs))
    return keras.Model(first, output, name=model.name)


def _between(first: Any, last: Any, name: str) -> keras.Model:
    if first is last:
        first = last = keras.Input(batch_shape=first.shape, dtype=first.dtype)
    return keras.Model(first, last, name=name)


def _free_prefix(units: Units, count: int) -> str:
    """Returns how names of new layers begin: `head`, or `head2`... where reused layers have such names already."""
    used = {layer.split("_")[0] for unit in units[:count] for layer in unit.layers}
    number = 1
    while (prefix := "head" if number == 1 else f"head{number}") in used:
        number += 1
    return prefix


def _refuse_missing(units: Units, present: Units, reuse: int) -> None:
    """Refuses to reuse units that are not all in the lower part of the net that is here."""
    for number, unit in enumerate(units[:reuse]):
        if number >= len(present) or present[number].layers != unit.layers:
            raise CutError(
                f"Unit {unit.index} ({unit.name}) of {units.model.name} is not in the weights that are here, which end "
                f"below its classifier. Nearest: --reuse {number}, or load the whole file."
            )


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
