"""Names for what is written: operators are called after the layers of Keras, weights after their variables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import onnx
from zoo.converters.exporting.net import Net, Op

_SHAPING = {
    "Transpose",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Cast",
    "Shape",
    "Gather",
    "Slice",
    "Concat",
    "Expand",
    "Pad",
}
_NUMBERED = re.compile(r"__\d+$")


class Names:
    """Which layer a name in a graph of TensorFlow belongs to.

    Args:
        model: The model.
        scopes: What the scopes of the graph's names were asked to be called.
    """

    def __init__(self, model: keras.Model, scopes: Mapping[str, str]) -> None:
        self._model, self._scopes = model, scopes
        self._inside: dict[int, dict[str, Any]] = {}

    def __call__(self, name: str) -> str:
        """Returns the path of the layer, such as `stem/conv` of a nested model; "" where there is none."""
        return self.split(name)[0]

    def split(self, name: str) -> tuple[str, str]:
        """Returns the path of the layer, and what the name says besides."""
        parts = [_NUMBERED.sub("", part) for part in name.split(":")[0].split("/")]
        asked = [self._scopes.get("/".join(parts[: count + 1]), part) for count, part in enumerate(parts)]
        layers, count = self._layers(self._model), 0
        while count < len(asked) and asked[count] in layers:
            layers = self._layers(layers[asked[count]])
            count += 1
        return "/".join(asked[:count]), "/".join(asked[count:])

    def _layers(self, model: Any) -> dict[str, Any]:
        if id(model) not in self._inside:
            self._inside[id(model)] = {each.name: each for each in operations(model)}
        return self._inside[id(model)]


def operations(model: Any) -> list[Any]:
    """Returns the layers and operations in a model; none for what is no model."""
    if not isinstance(model, keras.Model):
        return []
    return list(getattr(model, "operations", None) or model.layers)


def all_layers(model: Any) -> Iterable[Any]:
    """Yields the layers of a model, and those of the models and layers in it."""
    for each in operations(model):
        yield each
        yield from all_layers(each)
        inner = getattr(each, "layer", None) or getattr(each, "forward_layer", None)
        if isinstance(inner, keras.Layer):
            yield inner
            yield from all_layers(inner)


def name_operators(net: Net, names: Names, inputs: list[str], outputs: Mapping[str, str]) -> None:
    """Names operators: the first that computes something in a layer as the layer; the others below it.

    Args:
        net: The graph.
        names: Tells the layers.
        inputs: What the inputs are to be called.
        outputs: What values that go out are to be called.
    """
    _name_scopeless(net, names)
    found = {op: names.split(op.name) for op in net.ops}
    firsts: dict[str, Op] = {}
    for shaping in (False, True):
        for op, (layer, _) in found.items():
            if layer and layer not in firsts and (op.operator in _SHAPING) <= shaping:
                firsts[layer] = op
    taken = set(firsts)
    for op, (layer, rest) in found.items():
        if layer and firsts[layer] is op:
            op.name = layer
            continue
        base = "/".join(each for each in (layer, rest or op.operator) if each)
        op.name, number = base, 1
        while op.name in taken:
            number += 1
            op.name = f"{base}_{number}"
        taken.add(op.name)
    _name_values(net, inputs, outputs)


def _name_scopeless(net: Net, names: Names) -> None:
    """Lets operators that were put in between belong to the layer behind them, or else to the one before."""
    consumers, producers = net.consumers(), net.producers()
    for op in reversed(net.ops):
        if names(op.name):
            continue
        after = [each for name in op.outputs for each in consumers.get(name, ()) if names(each.name)]
        before = [producers[name] for name in op.inputs if name in producers and names(producers[name].name)]
        if op.operator in _SHAPING and (after or before):
            near = (after or before)[0]
            scope = near.name.split("/")
            depth = names(near.name).count("/") + 1
            op.name = "/".join([*scope[:depth], op.operator.lower()])


def _name_values(net: Net, inputs: list[str], outputs: Mapping[str, str]) -> None:
    """Calls values after the operators that make them, the inputs and outputs as they are to be called."""
    captured = net.captured()
    names: dict[str, str] = dict(zip(net.inputs, inputs, strict=True))
    names |= {old: new for old, new in outputs.items() if old not in names}
    taken = {*names.values(), *captured}
    for op in net.ops:
        for number, name in enumerate(op.outputs):
            if name and name not in names and name not in captured:
                new = f"{op.name}:{number}"
                while new in taken:
                    new += "'"
                names[name] = new
                taken.add(new)
    _rename(net, {name: net.fresh(name) for name in net.constants if name in taken and name not in captured})
    _rename(net, names)


def name_constants(net: Net, paths: Mapping[str, str]) -> None:
    """Calls weights after their variables, `conv/kernel`, and other numbers after the operators that take them.

    Args:
        net: The graph.
        paths: The variables' paths by the names that the net has for them.
    """
    users = net.consumers()
    taken = {*net.inputs, *(name for op in net.ops for name in op.outputs)}
    names = {}
    for name in net.constants:
        known = name.split("~")[0]
        sources = net.sources.get(name, frozenset({known} if known in paths else ()))
        if sources and all(each in paths for each in sources):
            base = _joint_path([paths[each] for each in sources])
        elif name in users and users[name][0].name:
            base = f"{users[name][0].name}/number"
        else:
            base = known
        new, number = base, 1
        while new in taken:
            number += 1
            new = f"{base}_{number}"
        taken.add(new)
        names[name] = new
    _rename(net, names)


def _joint_path(paths: Sequence[str]) -> str:
    """Returns what weights are called together.

    >>> _joint_path(["both/forward/kernel", "both/backward/kernel"])
    'both/kernel'
    """
    if len(paths) == 1:
        return paths[0]
    parts = [each.split("/") for each in paths]
    count = next((n for n, some in enumerate(zip(*parts, strict=False)) if len(set(some)) > 1), 0)
    lasts = {each[-1] for each in parts}
    return "/".join([*parts[0][:count], "and".join(sorted(lasts)) if len(lasts) > 1 else lasts.pop()])


def _rename(net: Net, names: Mapping[str, str]) -> None:
    """Renames values everywhere, in the graphs inside operators too."""

    def new(name: str) -> str:
        return names.get(name, name)

    for op in net.ops:
        op.inputs, op.outputs = [new(each) for each in op.inputs], [new(each) for each in op.outputs]
        if op.graphs:
            op.attributes = {key: _renamed(each, names) for key, each in op.attributes.items()}
    net.inputs, net.outputs = [new(each) for each in net.inputs], [new(each) for each in net.outputs]
    net.constants = {new(name): array for name, array in net.constants.items()}
    net.dims = {new(name): dims for name, dims in net.dims.items()}
    net.types = {new(name): kind for name, kind in net.types.items()}
    net.sources = {new(name): kind for name, kind in net.sources.items()}


def _renamed(attribute: onnx.AttributeProto, names: Mapping[str, str]) -> onnx.AttributeProto:
    found = onnx.AttributeProto()
    found.CopyFrom(attribute)
    graphs = [found.g] if found.HasField("g") else list(found.graphs)
    for graph in graphs:
        own = {each.name for each in (*graph.input, *graph.initializer)}
        own |= {name for node in graph.node for name in node.output}
        mine = {old: new for old, new in names.items() if old not in own}
        for node in graph.node:
            for number, name in enumerate(node.input):
                node.input[number] = mine.get(name, name)
            inner = [_renamed(each, mine) for each in node.attribute]
            del node.attribute[:]
            node.attribute.extend(inner)
        for value in graph.output:
            value.name = mine.get(value.name, value.name)
    return found
