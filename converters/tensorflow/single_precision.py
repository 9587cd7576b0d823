"""Makes graphs that compute in 16 bits compute in 32: what runs and trains the layers has those everywhere.

Weights keep their values, of which each has its equal there. What comes out differs from the original by what that
rounds on its way, which no conversion can repeat.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from zoo.converters.tensorflow.graphs import Array, Message, PlainGraph, Weight, by_name, copy_of, maker

# How far a whole net's outputs may be from the original's, of the largest: the type's own step is 1e-3, and 8e-3.
_ROUNDING = {tf.float16: 1e-2, tf.bfloat16: 6e-2}
_HALF = {each.as_datatype_enum: allowed for each, allowed in _ROUNDING.items()}
_SINGLE = tf.float32.as_datatype_enum


def in_single_precision(plain: PlainGraph) -> PlainGraph:
    """Returns a graph that computes in 32 bits wherever it did in 16; the same graph, where it did so nowhere."""
    found = {each for node in _nodes(plain.graph) for value in node.attr.values() for each in _types(value)}
    if not (halves := sorted(found & set(_HALF), key=_HALF.__getitem__)):
        return plain
    names = " and ".join(tf.as_dtype(each).name for each in halves)
    inputs = {name: _dtype_of_input(plain.graph, tensor) for name, tensor in plain.inputs.items()}
    graph = type(plain.graph)()
    graph.CopyFrom(plain.graph)
    for node in _nodes(graph):
        for value in node.attr.values():
            _widen(value)
        if node.op == "Cast" and node.attr["SrcT"].type == node.attr["DstT"].type == _SINGLE:
            node.CopyFrom(copy_of(node.input[0], node.name, tf.float32))
    return dataclasses.replace(
        plain,
        graph=graph,
        weights={name: Weight(each.path, _wide(each.array)) for name, each in plain.weights.items()},
        run=_run(plain.run, inputs),
        notes=(*plain.notes, f"It computes in {names}, and layers made of it in float32."),
        rounding=_HALF[halves[-1]],
    )


def _nodes(graph: Message) -> Iterator[Message]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _types(value: Message) -> Iterator[int]:
    if value.HasField("tensor"):
        yield value.tensor.dtype
    yield from (value.type, *value.list.type)


def _widen(value: Message) -> None:
    """Makes the types in an attribute of a node those of 32 bits, and its numbers too."""
    if value.HasField("tensor") and value.tensor.dtype in _HALF:
        value.tensor.CopyFrom(tf.make_tensor_proto(_wide(tf.make_ndarray(value.tensor))))
    if value.type in _HALF:
        value.type = _SINGLE
    for number, each in enumerate(value.list.type):
        if each in _HALF:
            value.list.type[number] = _SINGLE


def _wide(array: Array) -> Array:
    is_half = array.dtype.name in {each.name for each in _ROUNDING}
    return array.astype(np.float32) if is_half else array


def _dtype_of_input(graph: Message, tensor: str) -> Any:
    return tf.as_dtype(by_name(graph)[maker(tensor)].attr["dtype"].type)


def _run(
    run: Callable[[Mapping[str, Array]], dict[str, Array]], inputs: Mapping[str, Any]
) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """Returns what runs the original on numbers of 32 bits, and gives such out."""

    def wide(given: Mapping[str, Array]) -> dict[str, Array]:
        found = run({name: np.asarray(each).astype(inputs[name].as_numpy_dtype) for name, each in given.items()})
        return {name: _wide(np.asarray(each)) for name, each in found.items()}

    return wide
