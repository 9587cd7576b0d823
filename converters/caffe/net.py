"""A net of Caffe as it computes: each value has one writer, each layer its weights, and what only trains is gone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from zoo.converters.caffe.reading import CaffeFile
from zoo.converters.caffe.upgrading import CaffeLayer, layers_of, shown
from zoo.converters.caffe.wire import Array

from zoo.errors import IntegrityError, UsageError

Shape = tuple[int, ...]

_DATA = {"Data", "ImageData", "HDF5Data", "WindowData", "MemoryData", "DummyData", "Python"}
_HEADS = {"SoftmaxWithLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}  # losses, and what they compute first
_GONE = {"Accuracy", "Silence", "ArgMax", "HDF5Output"}
LARGEST_VALUE = (1 << 31) - 1  # elements of what flows between layers, for one example
_MOST_AXES = 32  # of what goes in
_NAMES_TOLD = 5  # of a net, in a message


@dataclass(frozen=True)
class Step:
    """One layer, ready to compute.

    Attributes:
        layer: As Caffe has it.
        inputs: The values that it takes.
        outputs: The values that it makes: named after the layer, for a name of Caffe may be written again and again.
        blobs: Its weights.
    """

    layer: CaffeLayer
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    blobs: tuple[Array, ...] = ()


@dataclass(frozen=True)
class CaffeNet:
    """A net.

    Attributes:
        name: As it calls itself.
        inputs: What goes in, with its shape: [batch, channels, height, width] mostly.
        steps: The layers, in order.
        outputs: Values that come out.
        notes: What was left away, for people.
    """

    name: str
    inputs: dict[str, Shape]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Wiring:
    """Who wrote what last, while layers are walked."""

    inputs: dict[str, Shape] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    latest: dict[str, str] = field(default_factory=dict)  # the value behind a name of Caffe
    heads: dict[str, float] = field(default_factory=dict)  # what losses look at, and what they weigh
    names: Counter[str] = field(default_factory=Counter)
    unread: dict[str, None] = field(default_factory=dict)
    beside: set[str] = field(default_factory=set)  # labels, and what else layers of data give
    silenced: dict[str, None] = field(default_factory=dict)  # what is made and wanted by nobody
    shapeless: dict[str, str] = field(default_factory=dict)  # inputs of no known shape, and what to say of one
    notes: list[str] = field(default_factory=list)
    default_shape: Sequence[int] | None = None

    def fresh(self, name: str) -> str:
        found = name
        while found in self.names:
            self.names[name] += 1
            found = f"{name}:{self.names[name]}"
        self.names[found] += 1
        return found


def net_of(
    definition: CaffeFile,
    weights: CaffeFile,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    default_shape: Sequence[int] | None = None,
    outputs: Sequence[str] | None = None,
) -> CaffeNet:
    """Returns the net that a definition describes, with its weights.

    Args:
        definition: What it computes.
        weights: Its weights, by the names of layers; those of other layers are left there.
        shapes: Those of inputs, without the batch, where the definition does not say them, as one for training.
        default_shape: That of inputs of which neither says it.
        outputs: Names of layers, or of values as Caffe calls them, that come out; None: what nobody reads, and of
            several losses that which weighs most.

    Raises:
        IntegrityError: A layer reads what nobody writes, or has no weights.
        UsageError: A shape is needed, or `shapes` or `outputs` names nothing in the net.
    """
    wiring = _Wiring(default_shape=default_shape)
    for layer in layers_of(definition):
        _wire(wiring, layer, dict(shapes or {}))
    if odd := sorted(set(shapes or {}) - set(wiring.inputs)):
        raise UsageError(f"Expected shapes for {', '.join(map(shown, wiring.inputs))}; got one for {shown(odd[0])}.")
    found = _outputs(wiring, definition, outputs)
    steps, used = _needed(wiring.steps, found)
    for name, message in wiring.shapeless.items():
        if name in used:
            raise UsageError(message)
    inputs = {name: shape for name, shape in wiring.inputs.items() if name in used}
    if not inputs:
        raise IntegrityError(f"{definition.name} computes nothing from an input. Give a deploy.prototxt.")
    notes = [*wiring.notes, *(f"left away: {name}" for name in wiring.heads if name not in used)]
    shared = _shared(wiring.steps, weights)
    whole = tuple(_with_weights(each, weights, shared) for each in steps)
    return CaffeNet(definition.net.name, inputs, whole, found, tuple(notes))


def _wire(wiring: _Wiring, layer: CaffeLayer, shapes: Mapping[str, Sequence[int]]) -> None:
    message = layer.message
    if layer.type == "Input" or (layer.type in _DATA and not message.bottom):
        _wire_input(wiring, layer, shapes)
        return
    if layer.type in _GONE:
        if layer.type == "Silence":
            for value in (wiring.latest.get(name, "") for name in message.bottom):
                if value in wiring.unread:
                    wiring.silenced |= {value: wiring.unread.pop(value)}
        elif layer.type == "ArgMax":
            wiring.notes.append(f"left away: {layer.name} (ArgMax); what it chooses from comes out")
        return
    if layer.type in _HEADS or layer.type.endswith("Loss"):
        _wire_loss(wiring, layer)
        return
    inputs = tuple(_value(wiring, layer, name) for name in message.bottom)
    name = layer.name or next(iter(message.top), "") or layer.type
    names = [name if len(message.top) == 1 else f"{name}:{at}" for at in range(len(message.top))]
    values = tuple(wiring.fresh(name) for name in names)
    for each in inputs:
        wiring.unread.pop(each, None)
    wiring.steps.append(Step(layer, inputs, values))
    wiring.latest |= dict(zip(message.top, values, strict=True))
    wiring.unread |= dict.fromkeys(values)


def _value(wiring: _Wiring, layer: CaffeLayer, name: str) -> str:
    if name in wiring.beside:
        raise IntegrityError(
            f"{layer.place} computes with {shown(name)}, which a layer of data gives: no net to use has it."
        )
    if name not in wiring.latest:
        raise IntegrityError(f"{layer.place} reads {shown(name)}, which no layer before it writes.")
    return wiring.latest[name]


def _wire_input(wiring: _Wiring, layer: CaffeLayer, shapes: Mapping[str, Sequence[int]]) -> None:
    tops = list(layer.message.top)
    told = [tuple(each.dim) for each in layer.message.input_param.shape]
    for place, name in enumerate(tops):
        if layer.type != "Input" and place:
            wiring.beside.add(name)
            continue
        known = told[min(place, len(told) - 1)] if told else None
        if name in shapes:
            known = (known[0] if known else 1, *(int(each) for each in shapes[name]))
        if known is None and wiring.default_shape is not None:
            known = (1, *(int(each) for each in wiring.default_shape))
        if known is None:
            wiring.shapeless[wiring.fresh(name)] = (
                f"{layer.place} does not say what shape its pictures have. Give the deploy.prototxt, which does; or "
                f"say it: zoo add --input 227x227x3, zoo convert --shape {shown(name)}=?,3,227,227 (Python: shapes="
                f"{{{shown(name)}: (3, 227, 227)}})."
            )
            wiring.latest[name] = list(wiring.shapeless)[-1]
            continue
        if not known or len(known) > _MOST_AXES or min(known) < 1 or math.prod(known[1:]) > LARGEST_VALUE:
            raise IntegrityError(
                f"{layer.place} has the shape {known[:_MOST_AXES]}; sizes from 1 on, and {LARGEST_VALUE:,} elements at "
                "most, were expected."
            )
        value = wiring.fresh(name)
        wiring.inputs[value] = tuple(int(each) for each in known)
        wiring.latest[name] = value


def _wire_loss(wiring: _Wiring, layer: CaffeLayer) -> None:
    """Lets what a loss compares with the labels come out: after a softmax, where the loss has one in it."""
    message = layer.message
    if not message.bottom:
        raise IntegrityError(f"{layer.place} has no bottom.")
    source = _value(wiring, layer, message.bottom[0])
    weight = message.loss_weight[0] if message.loss_weight else 1.0
    value = source
    if kind := _HEADS.get(layer.type):
        made = type(message)(name=layer.name, type=kind, bottom=[message.bottom[0]], top=[layer.name])
        made.softmax_param.CopyFrom(message.softmax_param)
        value = wiring.fresh(layer.name or layer.type)
        wiring.steps.append(Step(replace(layer, message=made), (source,), (value,)))
    wiring.unread.pop(source, None)
    wiring.heads[value] = weight


def _outputs(wiring: _Wiring, definition: CaffeFile, wanted: Sequence[str] | None) -> tuple[str, ...]:
    if wanted is not None:
        by_layer = {step.layer.name: step.outputs[-1] for step in wiring.steps if step.outputs}
        tops = {name: value for name, value in wiring.latest.items() if value not in wiring.inputs}
        by_layer |= {name: value for name, value in tops.items() if name not in by_layer}
        if (odd := [each for each in wanted if each not in by_layer]) or not wanted:
            last = ", ".join(shown(step.layer.name) for step in wiring.steps[-_NAMES_TOLD:])
            raise UsageError(
                f"Expected names of layers of {definition.name} as outputs; got {shown(odd[0]) if odd else 'none'}. "
                f"Last: {last}."
            )
        return tuple(dict.fromkeys(by_layer[each] for each in wanted))
    most = max(wiring.heads.values(), default=0)
    main = [each for each, weight in wiring.heads.items() if weight == most]
    found = main or list(wiring.unread) or list(wiring.silenced)
    if not found:
        raise IntegrityError(f"Nothing comes out of {definition.name}: it has no layer that computes.")
    return tuple(found)


def _needed(steps: Sequence[Step], outputs: Sequence[str]) -> tuple[list[Step], set[str]]:
    used, found = set(outputs), []
    for step in reversed(steps):
        if used & set(step.outputs):
            used |= set(step.inputs)
            found.append(step)
    return found[::-1], used


def _weight_count(step: Step) -> int | None:
    """Returns how many arrays of weights a layer has; None for layers of which nothing is known."""
    message, kind = step.layer.message, step.layer.type
    match kind:
        case "Convolution" | "DepthwiseConvolution" | "Deconvolution":
            return 1 + int(message.convolution_param.bias_term)
        case "InnerProduct":
            return 1 + int(message.inner_product_param.bias_term)
        case "BatchNorm":
            return 3
        case "PReLU":
            return 1
        case "Scale":
            return int(len(step.inputs) == 1) + int(message.scale_param.bias_term)
        case "Bias":
            return int(len(step.inputs) == 1)
    return None


def _shared(steps: Sequence[Step], weights: CaffeFile) -> dict[str, Array]:
    """Returns the weights that layers share, by the names of `param`: the last that the file has of each counts."""
    names = {step.layer.name: _param_names(step) for step in steps}
    pairs = (
        pair for layer, arrays in weights.blobs.items() for pair in zip(names.get(layer, ()), arrays, strict=False)
    )
    return {name: array for name, array in pairs if name}


def _param_names(step: Step) -> list[str]:
    return [str(each.name) for each in step.layer.message.param]


def _with_weights(step: Step, weights: CaffeFile, shared: Mapping[str, Array]) -> Step:
    blobs, count = list(weights.blobs.get(step.layer.name, [])), _weight_count(step)
    for place, name in enumerate(_param_names(step)):
        if name in shared and place <= len(blobs):
            blobs[place : place + 1] = [shared[name]]
    if count and not blobs:
        known = ", ".join(map(shown, list(weights.blobs)[:_NAMES_TOLD])) or "none"
        raise IntegrityError(
            f"{step.layer.place} has no weights in {weights.name}, whose layers with weights are {known}... Are the "
            "two files of one net?"
        )
    if count is not None and len(blobs) != count:
        raise IntegrityError(
            f"{step.layer.place} should have {count} arrays of weights, and has {len(blobs)} in {weights.name}. Are "
            "the two files of one net?"
        )
    return replace(step, blobs=tuple(blobs))
