"""Follows the sizes of values through a graph, so that a Reshape to computed sizes becomes one to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from zoo.converters.exporting.net import Dims, Net, Op, known_size


@dataclass(frozen=True)
class Size:
    """A size that varies: that of a value along an axis."""

    value: str
    axis: int


Sizes = list["int | Size | None"]  # a vector of sizes; None for one of which nothing is known

_BROADCASTING = {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Where"}
_ALIKE = {
    "Abs", "Cast", "Clip", "Elu", "Erf", "Exp", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log",
    "LogSoftmax", "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Tanh",
}  # fmt: skip


def follow_sizes(net: Net) -> None:
    """Learns sizes that the net did not know, and gives Reshape numbers: -1 for the one size that varies."""
    vectors: dict[str, Sizes] = {}
    for op in net.ops:
        vector = _vector(net, op, vectors)
        if vector is not None:
            vectors[op.outputs[0]] = vector
            _note_numbers(net, op.outputs[0], vector)
        dims = _dims(net, op, vectors)
        if dims is not None:
            known = net.dims.get(op.outputs[0])
            same = known is not None and len(known) == len(dims)
            net.dims[op.outputs[0]] = tuple(
                one if one is not None else other
                for one, other in zip(dims, known if same and known else dims, strict=True)
            )
        wanted = net.sizes(op.outputs[0])
        if op.operator == "Reshape" and op.inputs[1] not in net.constants and wanted and wanted.count(None) <= 1:
            numbers = np.array([-1 if each is None else each for each in wanted], np.int64)
            op.inputs[1] = net.constant(numbers, f"{op.name}/sizes")


def _note_numbers(net: Net, name: str, vector: Sizes) -> None:
    """Makes a known value of sizes that do not vary."""
    numbers = [each for each in vector if isinstance(each, int)]
    shape = net.dims.get(name)
    if len(numbers) == len(vector) and name in net.types and shape is not None and known_size(shape) == len(numbers):
        kind = onnx.helper.tensor_dtype_to_np_dtype(net.types[name])
        if kind.kind in "iu":
            known = net.constant(np.array(numbers, kind).reshape([each or 0 for each in shape]), name)
            net.use_instead({name: known})


def asked_sizes(net: Net, op: Op) -> Sizes | None:
    """Returns the sizes that a Reshape asks for; None where not even their number is known."""
    vectors: dict[str, Sizes] = {}
    for each in net.ops:
        if each is op:
            break
        vector = _vector(net, each, vectors)
        if vector is not None:
            vectors[each.outputs[0]] = vector
    return _known(net, op.inputs[1], vectors)


def _known(net: Net, name: str, vectors: dict[str, Sizes]) -> Sizes | None:
    if name in net.constants and net.constants[name].ndim <= 1 and net.constants[name].dtype.kind in "iu":
        return [int(each) for each in net.constants[name].reshape(-1)]
    return vectors.get(name)


def _vector(net: Net, op: Op, vectors: dict[str, Sizes]) -> Sizes | None:
    """Returns what an operator computes of sizes."""
    if op.operator == "Shape" and not op.attributes:
        dims = net.sizes(op.inputs[0])
        return (
            None if dims is None else [Size(op.inputs[0], n) if each is None else each for n, each in enumerate(dims)]
        )
    found = [_known(net, name, vectors) for name in op.inputs]
    first = found[0] if found else None
    if op.operator == "Concat":
        return [each for part in found for each in part or []] if all(part is not None for part in found) else None
    if first is None or op.inputs[0] in net.constants:
        return None
    if op.operator in ("Cast", "Unsqueeze", "Squeeze", "Identity", "Reshape"):
        return first
    if op.operator == "Gather" and op.inputs[1] in net.constants:
        return [first[int(each)] for each in net.constants[op.inputs[1]].reshape(-1)]
    if op.operator == "Slice" and all(name in net.constants for name in op.inputs[1:]):
        start, end, *_ = (int(net.constants[name].reshape(-1)[0]) for name in op.inputs[1:3])
        step = int(net.constants[op.inputs[4]].reshape(-1)[0]) if len(op.inputs) > 4 else 1
        return first[start : min(end, len(first)) if end > 0 else end : step]
    if op.operator == "ReduceProd":
        numbers = [each for each in first if isinstance(each, int)]
        return [int(np.prod(numbers))] if len(numbers) == len(first) else [None]
    return None


def _dims(net: Net, op: Op, vectors: dict[str, Sizes]) -> Dims | None:
    """Returns the sizes of what an operator computes, where they follow from those of what it takes."""
    inputs = [net.sizes(name) for name in op.inputs if name]
    first = inputs[0] if inputs else None
    if op.operator == "Reshape":
        asked = _known(net, op.inputs[1], vectors)
        if asked is None or 0 in asked:
            return None
        return tuple(each if isinstance(each, int) and each > 0 else None for each in asked)
    if op.operator in _BROADCASTING:
        return _broadcast(inputs)
    if first is None:
        return None
    if op.operator in _ALIKE:
        return first
    if op.operator == "Transpose" and "perm" in op.attributes:
        return tuple(first[axis] for axis in op.get("perm"))
    if op.operator == "MatMul" and op.inputs[1] in net.constants and net.constants[op.inputs[1]].ndim == 2:
        return (*first[:-1], net.constants[op.inputs[1]].shape[1])
    return None


def _broadcast(inputs: Sequence[Dims | None]) -> Dims | None:
    if any(each is None for each in inputs):
        return None
    known = [each for each in inputs if each is not None]
    rank = max(map(len, known))
    wide = [(1,) * (rank - len(each)) + each for each in known]
    found: list[int | None] = []
    for sizes in zip(*wide, strict=True):
        more = [each for each in sizes if each != 1]
        numbers = [each for each in more if each is not None]
        found.append(numbers[0] if numbers else None if more else 1)
    return tuple(found)
