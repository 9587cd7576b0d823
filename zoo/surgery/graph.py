"""A model's graph as plain data, read from its configuration, and the means to build parts of it again.

Keras describes a functional model as calls of layers upon one another's outputs. `read_graph` turns that description
into a list of calls in an order that can be run; `replay` runs some of them on other tensors or with other layers.
That is all that cutting needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Any

import keras

from zoo.errors import CutError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Ref:
    """The `output`-th tensor that the call `call` puts out."""

    call: str
    output: int = 0


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes:
        key: Names the call within its graph: the layer's name, with `:1`, `:2`... for later calls of that layer.
        layer: The layer, or the operation such as `keras.ops.add` that stands in a graph like one.
        args: Positional arguments, as configuration with `Ref` where a tensor goes.
        kwargs: Keyword arguments, likewise.
    """

    key: str
    layer: Any
    args: tuple[Any, ...] = field(repr=False)
    kwargs: Mapping[str, Any] = field(repr=False)

    @property
    def inputs(self) -> tuple[Ref, ...]:
        """The tensors that the call takes, in order."""
        return tuple(_refs((self.args, dict(self.kwargs))))

    @property
    def masks(self) -> tuple[Ref, ...]:
        """Those of them that say which steps of a sequence count: Keras passes them beside the data."""
        return tuple(_refs(self.kwargs.get("mask")))


@dataclass(frozen=True)
class Graph:
    """Calls in an order that can be run; the first is the input layer.

    Attributes:
        calls: The calls.
        output: The graph's result.
        shapes: Shape of each tensor, batch included.
    """

    calls: tuple[Call, ...]
    output: Ref
    shapes: Mapping[Ref, Shape]

    @property
    def input(self) -> Ref:
        """The tensor that goes in."""
        return Ref(self.calls[0].key)


def read_graph(model: keras.Model) -> Graph:
    """Returns the graph of `model`, a built functional or sequential model of one input and one output.

    Nested functional models that are called once are opened, so that they can be cut inside; nested `Sequential`
    models, and models called more than once, stay whole.

    Raises:
        CutError: The model is of another kind, or cannot be described as configuration; the message says which.
    """
    functional = _as_functional(model)
    try:
        config = functional.get_config()
    except NotImplementedError as error:
        raise CutError(f"Model {model.name!r} cannot be described layer by layer: {error}") from error
    graph = _parse(config, {operation.name: operation for operation in functional.operations}, functional)
    while nested := next((call for call in graph.calls if _can_be_opened(call, graph)), None):
        graph = _open(graph, nested)
    return graph


def replay(
    graph: Graph,
    tensors: dict[Ref, Any],
    until: Ref,
    apply: Callable[[Call, tuple[Any, ...], dict[str, Any]], Any],
) -> Any:
    """Runs the graph's calls on symbolic tensors and returns the tensor for `until`.

    Args:
        graph: What to run.
        tensors: Tensors known at the start, by place; those computed on the way are added.
        until: Where to stop.
        apply: Called as `apply(call, args, kwargs)` with tensors in place; returns what the layer puts out.
    """
    for call in graph.calls:
        if until in tensors:
            break
        if Ref(call.key) in tensors or any(ref not in tensors for ref in call.inputs) or not call.inputs:
            continue
        args, kwargs = _substitute((call.args, dict(call.kwargs)), tensors)
        outputs = apply(call, args, kwargs)
        for number, output in enumerate(keras.tree.flatten(outputs)):
            tensors[Ref(call.key, number)] = output
    return tensors[until]


def training_call(model: keras.Model) -> Callable[[Any], Any]:
    """Returns `model` as a function in training mode, in which layers called with `training=False` keep to that.

    Keras itself does not: `model(x, training=True)`, and so `fit`, overrides the mode that a call was recorded with.
    Of a nested model called so, the parts without BatchNormalization are in training mode all the same.
    """
    return _in_modes(read_graph(model), lambda call: call.kwargs.get("training") is not False)


def _in_modes(graph: Graph, trains: Callable[[Call], bool]) -> Callable[[Any], Any]:
    def apply(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        layer = call.layer
        if not isinstance(layer, keras.Layer):
            return layer(*args, **kwargs)
        if isinstance(layer, keras.Model) and not trains(call) and len(args) == 1:
            return _in_modes(read_graph(layer), lambda inner: not has_batchnorm(inner.layer))(args[0])
        return layer(*args, **{**kwargs, "training": trains(call)})

    return lambda x: replay(graph, {graph.input: x}, graph.output, apply)


def has_batchnorm(layer: Any) -> bool:
    """Returns whether `layer`, or a layer inside it, is a BatchNormalization."""
    return any(isinstance(part, keras.layers.BatchNormalization) for part in sublayers(layer))


def sublayers(layer: Any) -> Iterator[Any]:
    """Yields `layer` and all layers inside it."""
    yield layer
    inner = getattr(layer, "layers", None)
    # No public attribute lists the layers inside a wrapper or an attention layer.
    for child in inner if inner is not None else getattr(layer, "_layers", []):
        yield from sublayers(child)


def _as_functional(model: Any) -> Any:
    if not isinstance(model, keras.Model):
        raise CutError(f"Expected a keras.Model; got {type(model).__name__}.")
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise CutError(
            f"Model {model.name!r} ({type(model).__name__}) has no layer graph: it is a subclass with its own "
            "call(), or not built yet. Build it (model.build(shape)), or write it as keras.Model(inputs, outputs)."
        )
    for what, tensors in (("input", inputs), ("output", outputs)):
        if len(tensors) != 1:
            names = ", ".join(tensor.name for tensor in tensors)
            raise CutError(
                f"Model {model.name!r} has {len(tensors)} {what}s ({names}); a model with one {what} can be cut. "
                f"Take the part that you want: keras.Model(inputs, outputs)."
            )
    return keras.Model(inputs[0], outputs[0], name=model.name)


def _parse(config: Mapping[str, Any], layers: Mapping[str, Any], model: Any) -> Graph:
    shapes: dict[Ref, Shape] = {}
    calls: dict[str, Call] = {}
    for layer_config in config["layers"]:
        name = layer_config["name"]
        nodes = layer_config["inbound_nodes"] or [{"args": [], "kwargs": {}}]
        for number, node in enumerate(nodes):
            key = _call_key(name, number)
            args = _parse_tensors(node["args"], shapes)
            kwargs = _parse_tensors(node["kwargs"], shapes)
            calls[key] = Call(key, layers[name], tuple(args), kwargs)
    name, number, index = _flat_history(config["output_layers"])
    # In this place alone, Keras numbers the calls of a nested functional model from 1.
    number -= isinstance(layers[name], type(model))
    output = Ref(_call_key(name, number), index)
    shapes[output] = tuple(model.outputs[0].shape)
    sorter = TopologicalSorter({key: [ref.call for ref in call.inputs] for key, call in calls.items()})
    return Graph(tuple(calls[key] for key in sorter.static_order()), output, shapes)


def _call_key(name: str, number: int) -> str:
    return name if number == 0 else f"{name}:{number}"


def _flat_history(record: Any) -> tuple[str, int, int]:
    while isinstance(record[0], list | tuple):
        record = record[0]
    return (record[0], record[1], record[2])


def _parse_tensors(value: Any, shapes: dict[Ref, Shape]) -> Any:
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            name, number, index = value["config"]["keras_history"]
            ref = Ref(_call_key(name, number), index)
            shapes[ref] = tuple(value["config"]["shape"])
            return ref
        return {key: _parse_tensors(item, shapes) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_parse_tensors(item, shapes) for item in value)
    return value


def _refs(value: Any) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _refs(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _refs(item)


def _substitute(value: Any, tensors: Mapping[Ref, Any]) -> Any:
    """Returns `value` as arguments for a call: tensors for places, objects for their configurations."""
    if isinstance(value, Ref):
        return tensors[value]
    if isinstance(value, tuple):
        return tuple(_substitute(item, tensors) for item in value)
    if isinstance(value, list):
        return [_substitute(item, tensors) for item in value]
    if isinstance(value, dict):
        if value.get("class_name") == "__tuple__":
            return tuple(_substitute(item, tensors) for item in value["items"])
        if "class_name" in value and not any(True for _ in _refs(value)):
            return keras.saving.deserialize_keras_object(value)
        return {key: _substitute(item, tensors) for key, item in value.items()}
    return value


def _can_be_opened(call: Call, graph: Graph) -> bool:
    layer = call.layer
    return (
        isinstance(layer, keras.Model)
        and not isinstance(layer, keras.Sequential)
        and len(getattr(layer, "inputs", None) or ()) == len(getattr(layer, "outputs", None) or ()) == 1
        and len(call.inputs) == 1
        and sum(other.layer is layer for other in graph.calls) == 1
    )


def _open(graph: Graph, nested: Call) -> Graph:
    """Returns the graph with the calls inside the model `nested` in that call's place."""
    inner = read_graph(nested.layer)
    taken = {call.key for call in graph.calls}
    keys = {call.key: f"{nested.key}.{call.key}" if call.key in taken else call.key for call in inner.calls}

    def inside(ref: Ref) -> Ref:
        return nested.inputs[0] if ref == inner.input else Ref(keys[ref.call], ref.output)

    def outside(ref: Ref) -> Ref:
        return inside(inner.output) if ref.call == nested.key else ref

    calls: list[Call] = []
    for call in graph.calls:
        if call.key != nested.key:
            calls.append(_renamed(call, call.key, outside))
        else:
            calls += [_renamed(each, keys[each.key], inside) for each in inner.calls[1:]]
    shapes = {inside(ref): shape for ref, shape in inner.shapes.items() if ref != inner.input}
    shapes |= {ref: shape for ref, shape in graph.shapes.items() if ref.call != nested.key}
    return Graph(tuple(calls), outside(graph.output), shapes)


def _renamed(call: Call, key: str, rename: Callable[[Ref], Ref]) -> Call:
    def walk(value: Any) -> Any:
        if isinstance(value, Ref):
            return rename(value)
        if isinstance(value, dict):
            return {name: walk(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(walk(item) for item in value)
        return value

    return replace(call, key=key, args=walk(call.args), kwargs=walk(dict(call.kwargs)))
