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
_BATCH, _LENGTH, _SIDE = 2, 8, 64  # for sizes that vary: a batch, a first length, and a first side, halved often

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


def random_inputs(graph: Graph, dims: Mapping[str, Sequence[Any]], seed: int, equal: bool = False) -> dict[str, Array]:
    """Returns an array for each input: normal numbers, or integers that are places in what they are looked up in.

    Sizes that vary are all different, so that axes that are mixed up show; `equal` makes them equal: some must be.
    """
    rng = np.random.default_rng(seed)
    sizes: dict[Any, int] = {}
    found = {}
    for name, info in graph.inputs.items():
        shape = [_size(each, axis, len(dims[name]), sizes, equal) for axis, each in enumerate(dims[name])]
        if math.prod(shape) > _MOST_NUMBERS:
            raise UnsafeFileError(
                f"Refused the model: its input {name!r} has the shape {tuple(shape)}, more than {_MOST_NUMBERS:,} "
                f"numbers. Say another: onnx_to_keras(..., shapes={{{name!r}: ...}}); zoo convert --shape {name}=..."
            )
        kind = np.dtype(info.dtype)
        if kind.kind in "iu":
            found[name] = rng.integers(0, _places(graph, name, kind), shape).astype(kind)
        elif kind.kind == "b":
            found[name] = rng.integers(0, 2, shape).astype(bool)
        else:
            found[name] = rng.standard_normal(shape).astype(kind)
    return found


def _size(dim: Any, axis: int, rank: int, known: dict[Any, int], equal: bool) -> int:
    if is_number(dim):
        return int(dim)
    if dim not in known:
        step = 0 if equal else sum(each != _BATCH for each in known.values())
        known[dim] = _BATCH if axis == 0 else _SIDE + _SIDE // 2 * step if rank > 3 else _LENGTH + _LENGTH // 2 * step
    return known[dim]


def _places(graph: Graph, name: str, kind: np.dtype[Any]) -> int:
    """Returns below which number all integers may be: those of the smallest table that they are looked up in."""
    consumers, names, tables, seen = graph.consumers(), [name], [], {name}
    while names:
        value = names.pop()
        for node in consumers.get(value, []):
            if node.operator == "Gather" and len(node.inputs) > 1 and node.inputs[1] == value:
                tables.append(graph.shapes.get(node.inputs[0]) or (2,))
            elif node.operator in _SHAPING and node.outputs[0] not in seen:
                seen.add(node.outputs[0])
                names.append(node.outputs[0])
    if tables:
        return min(int(each[0]) for each in tables)
    return 256 if kind == np.uint8 else 2
