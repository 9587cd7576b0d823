"""Units: the smallest parts of a network that can be kept or cut off as a whole.

A *cut point* is a tensor through which every path from the model's input to its output passes. A *kernel layer* has a
weight of two or more dimensions that was created trainable, or is a SavedModel. A unit runs from one kernel layer (or
from a block that branches, with all its kernel layers) up to the last cut point before the next.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import keras

from zoo.errors import CutError
from zoo.loading.saved_model_layer import SavedModelLayer
from zoo.surgery.graph import Call, Graph, Ref, Shape, read_graph, sublayers

# Layers whose weights may have two dimensions and yet are no kernels: slopes, normalization, scales, positions.
_NO_KERNEL = re.compile(r".*(PReLU|Norm|Normalization|Scale|Affine|Position(al)?(Embedding|Encoding))(\dD|V\d)?")


@dataclass(frozen=True)
class Unit:
    """One unit of a model.

    Attributes:
        index: Its number, counted from 1 at the input.
        name: Its kernel layer; where it has several, the layer that joins them.
        layers: Names of all layers in it, in order.
        output_shape: Shape of what it puts out for one example.
        params: Number of its parameters.
        multiply_adds: Multiply-adds in kernels, for one example; None where they depend on its size.
        feature_bytes: Bytes of what it puts out for one example, as float32.
        legal: Whether the model can be cut above it.
        reason: Why not, or what else is worth knowing; empty where there is nothing.
    """

    index: int
    name: str
    layers: tuple[str, ...]
    output_shape: tuple[int | None, ...]
    params: int
    multiply_adds: int | None
    feature_bytes: int | None
    legal: bool
    reason: str


class Units(Sequence[Unit]):
    """The units of a model, from the input up.

    Attributes:
        model: The model.
        graph: Its graph.
        calls: For each unit, its calls.
        ends: For each unit, the tensor it puts out.
        headless: Whether the last unit is no classifier, and can be reused as the others.
    """

    def __init__(self, model: keras.Model, graph: Graph, groups: Sequence[_Segment], headless: bool = False) -> None:
        self.model = model
        self.graph = graph
        self.headless = headless
        self.calls = tuple(group.calls for group in groups)
        self.ends = tuple(group.end for group in groups)
        seen: set[int] = set()
        crossed = _crossed_by_masks(graph, groups)
        self._units = tuple(
            _describe(number, group, graph, seen, number in crossed, headless) for number, group in enumerate(groups, 1)
        )

    @overload
    def __getitem__(self, index: int) -> Unit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Unit]: ...
    def __getitem__(self, index: int | slice) -> Unit | Sequence[Unit]:
        return self._units[index]

    def __len__(self) -> int:
        return len(self._units)

    @property
    def most(self) -> int:
        """How many of them can be reused."""
        return len(self) if self.headless else len(self) - 1

    def unit_of(self, layer: str) -> int | None:
        """Returns the number of the unit with the layer called `layer`, or None."""
        return next((unit.index for unit in self._units if layer in unit.layers), None)


def split_units(model: keras.Model, *, headless: bool | None = None) -> Units:
    """Returns the units of `model`, a built functional or sequential Keras model of one input and one output.

    Args:
        model: The model.
        headless: Whether its last unit is no classifier, as of a model that puts out features; None: where the last
            unit is a SavedModel, it is none.

    Raises:
        CutError: The model is of another kind, or nothing in it has a kernel.

    >>> net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.ReLU(), keras.layers.Dense(2)])
    >>> [(unit.index, unit.output_shape, unit.params) for unit in split_units(net)]
    [(1, (3,), 15), (2, (2,), 8)]
    """
    graph = read_graph(model)
    groups: list[_Segment] = []
    for segment in _segments(graph):
        if not groups or (segment.kernels and groups[-1].kernels):
            groups.append(segment)
        else:
            groups[-1] = groups[-1].joined(segment)
    if not groups or not groups[-1].kernels:
        raise CutError(f"Model {model.name!r} has no layer with a kernel (Dense, Conv...): there is nothing to reuse.")
    if headless is None:
        headless = any(is_opaque(call.layer) for call in groups[-1].kernels)
    return Units(model, graph, groups, headless)


def is_kernel_layer(layer: Any) -> bool:
    """Returns whether `layer`, or one inside it, has a weight of two or more dimensions made to train, or is opaque."""
    return is_opaque(layer) or any(
        len(weight.shape) >= 2
        for part in sublayers(layer)
        if not _NO_KERNEL.fullmatch(type(part).__name__)
        for weight in created_trainable(part)
    )


def is_opaque(layer: Any) -> bool:
    """Returns whether `layer`, or a layer inside it, is a SavedModel: frozen, and kept whole."""
    return any(isinstance(part, SavedModelLayer) for part in sublayers(layer))


def opaque_parameters(layer: Any) -> int:
    """Returns how many numbers the SavedModels in `layer` hold: they are no weights of Keras."""
    return sum(part.parameters for part in sublayers(layer) if isinstance(part, SavedModelLayer))


def created_trainable(layer: Any) -> list[Any]:
    """Returns the layer's own weights that were created trainable, whatever its flag says now."""
    # `trainable_weights` is empty while a layer is frozen; only this list remembers what it was made with.
    return list(getattr(layer, "_trainable_variables", []))


@dataclass(frozen=True)
class _Segment:
    """The calls between two neighbouring cut points (or several such stretches, joined)."""

    calls: tuple[Call, ...]
    kernels: tuple[Call, ...]
    name: str
    end: Ref

    def joined(self, after: _Segment) -> _Segment:
        name = self.name if self.kernels else after.name
        return _Segment(self.calls + after.calls, self.kernels + after.kernels, name, after.end)


def _segments(graph: Graph) -> Iterator[_Segment]:
    """Yields the stretches between cut points, in order.

    In an order that can be run, a tensor is a cut point when it alone is still needed by calls further on. Masks, which
    Keras passes beside the data, are left out here and make cuts illegal instead.
    """
    data = _data_calls(graph)
    last_use = {graph.output: len(graph.calls)}
    for number, call in reversed(list(enumerate(graph.calls))):
        for ref in _data_inputs(call) if call.key in data else ():
            last_use.setdefault(ref, number)
    needed: dict[Ref, int] = {}
    stretch: list[Call] = []
    for number, call in enumerate(graph.calls):
        if number:
            stretch.append(call)
        needed |= {ref: last for ref, last in last_use.items() if ref.call == call.key}
        needed = {ref: last for ref, last in needed.items() if last > number}
        (end, *others) = needed
        if number and not others and end.call == call.key:
            yield _segment(stretch, end)
            stretch = []


def _data_inputs(call: Call) -> tuple[Ref, ...]:
    masks = call.masks
    return tuple(ref for ref in call.inputs if ref not in masks)


def _data_calls(graph: Graph) -> set[str]:
    """Returns the calls on whose outputs the result depends other than as a mask."""
    wanted = {graph.output.call}
    for call in reversed(graph.calls):
        if call.key in wanted:
            wanted |= {ref.call for ref in _data_inputs(call)}
    return wanted


def _segment(calls: list[Call], end: Ref) -> _Segment:
    kernels = tuple(call for call in calls if is_kernel_layer(call.layer))
    return _Segment(tuple(calls), kernels, kernels[0].key if len(kernels) == 1 else calls[-1].key, end)


def _crossed_by_masks(graph: Graph, groups: Sequence[_Segment]) -> set[int]:
    """Returns the units above which a cut would part a mask from the layer that it is for."""
    unit_of = {call.key: number for number, group in enumerate(groups, 1) for call in group.calls}
    data = _data_calls(graph)
    origin = {graph.calls[0].key: 0}  # the lowest unit on which a mask depends
    crossed: set[int] = set()
    for call in graph.calls[1:]:
        lowest = min((origin.get(ref.call, 0) for ref in call.inputs), default=0)
        origin[call.key] = unit_of[call.key] if call.key in data else lowest
        for ref in call.masks:
            crossed |= set(range(origin[ref.call], unit_of[call.key]))
    masked = _masked(graph)
    return crossed | {number for number, group in enumerate(groups, 1) if group.end in masked}


def _masked(graph: Graph) -> set[Ref]:
    """Returns the tensors [batch, steps, ...] that carry a mask unseen, as attention and pooling take it."""
    masked: set[Ref] = set()
    for call in graph.calls:
        starts = any(
            isinstance(part, keras.layers.Masking) or getattr(part, "mask_zero", False)
            for part in sublayers(call.layer)
        )
        passes = getattr(call.layer, "supports_masking", False) and any(ref in masked for ref in call.inputs)
        ref = Ref(call.key)
        if (starts or passes) and len(graph.shapes.get(ref, ())) > 2:
            masked.add(ref)
    return masked


def _describe(index: int, group: _Segment, graph: Graph, seen: set[int], masked: bool, headless: bool) -> Unit:
    shape = graph.shapes[group.end][1:]
    params = 0
    for call in group.calls:
        if id(call.layer) not in seen:
            seen.add(id(call.layer))
            params += sum(math.prod(weight.shape) for weight in getattr(call.layer, "weights", []))
            params += opaque_parameters(call.layer)
    reason = ""
    if masked:
        reason = "a Keras mask crosses this cut"
    elif graph.output == group.end and not headless:
        reason = "the classifier, always replaced"
    elif whole := [call.key for call in group.calls if isinstance(call.layer, keras.Model)]:
        reason = f"nested model kept whole: {', '.join(whole)}"
    elif opaque := [call.key for call in group.calls if is_opaque(call.layer)]:
        reason = f"a SavedModel, frozen and kept whole: {', '.join(opaque)}"
    return Unit(
        index=index,
        name=group.name,
        layers=tuple(call.key for call in group.calls),
        output_shape=shape,
        params=params,
        multiply_adds=_total([_multiply_adds(call, graph) for call in group.calls]),
        feature_bytes=None if None in shape else 4 * math.prod(size or 1 for size in shape),
        legal=not masked and (headless or graph.output != group.end),
        reason=reason,
    )


def _multiply_adds(call: Call, graph: Graph) -> int | None:
    if isinstance(call.layer, keras.layers.Embedding) or not is_kernel_layer(call.layer):
        return 0
    if is_opaque(call.layer):
        return None
    if isinstance(call.layer, keras.Model):
        try:
            inner = read_graph(call.layer)
        except CutError:  # of several outputs: whole, and not counted
            return None
        return _total([_multiply_adds(each, inner) for each in inner.calls])
    repeats = _kernel_shape(call, graph)[1:-1]
    if None in repeats:
        return None
    kernels = [weight for part in sublayers(call.layer) for weight in created_trainable(part) if len(weight.shape) >= 2]
    return int(sum(math.prod(weight.shape) for weight in kernels) * math.prod(size or 1 for size in repeats))


def _total(counts: Sequence[int | None]) -> int | None:
    return None if None in counts else sum(count or 0 for count in counts)


def _kernel_shape(call: Call, graph: Graph) -> Shape:
    """Returns the shape [batch, ..., channels] of the tensor at each of whose positions a kernel is used once."""
    goes_in = graph.shapes[call.inputs[0]]
    transposed = type(call.layer).__name__.endswith("Transpose")
    if transposed or isinstance(call.layer, keras.layers.RNN | keras.layers.Bidirectional):
        return goes_in
    return graph.shapes.get(Ref(call.key), goes_in)
