"""What the original is asked, to compare: random inputs, and values inside it that tell more than its outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from zoo.converters.importing.graph import Array, Graph
from zoo.converters.importing.values import is_number

from zoo.errors import UnsafeFileError

_SATURATING = {"Softmax", "LogSoftmax", "Sigmoid", "Tanh", "HardSigmoid"}
_SHAPING = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Cast"}
_BATCH, _LENGTH, _SIDE = 2, 8, 64  # for sizes that vary: a batch, a length, and the side of a picture, halved often

_MOST_NUMBERS = 1 << 28  # of an input: 1 GiB of float32


def probes(graph: Graph, outputs: Sequence[str]) -> list[str]:
    """Returns what goes into a last softmax and its like, behind which a mistake may not show any more."""
    producers, found = graph.producers(), []
    for name in outputs:
        node = producers.get(name)
        while node is not None and node.operator in _SHAPING:
            node = producers.get(node.inputs[0])
        if node is not None and node.operator in _SATURATING and node.inputs[0] in producers:
            found.append(node.inputs[0])
    return [name for name in dict.fromkeys(found) if name not in outputs]


def random_inputs(graph: Graph, dims: Mapping[str, Sequence[Any]], seed: int) -> dict[str, Array]:
    """Returns an array for each input: normal numbers, or integers that are places in what they are looked up in."""
    rng = np.random.default_rng(seed)
    sizes: dict[Any, int] = {}
    found = {}
    for name, info in graph.inputs.items():
        shape, places = [], _SIDE if len(dims[name]) > 3 else _LENGTH
        for axis, each in enumerate(dims[name]):
            shape.append(int(each) if is_number(each) else sizes.setdefault(each, _BATCH if axis == 0 else places))
        if math.prod(shape) > _MOST_NUMBERS:
            raise UnsafeFileError(
                f"Refused the model: its input {name!r} has the shape {tuple(shape)}, more than {_MOST_NUMBERS:,} "
                "numbers. Say another: onnx_to_keras(..., shapes={...})"
            )
        kind = np.dtype(info.dtype)
        if kind.kind in "iu":
            found[name] = rng.integers(0, _rows(graph, name), shape).astype(kind)
        elif kind.kind == "b":
            found[name] = rng.integers(0, 2, shape).astype(bool)
        else:
            found[name] = rng.standard_normal(shape).astype(kind)
    return found


def _rows(graph: Graph, name: str) -> int:
    """Returns below which number all integers may be that are looked up in tables."""
    tables = [
        node.inputs[0]
        for node in graph.nodes
        if node.operator == "Gather" and len(node.inputs) > 1 and node.inputs[0] in graph.shapes
    ]
    return min((graph.shapes[table][0] for table in tables if graph.shapes[table]), default=2)
