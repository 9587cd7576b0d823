"""Computes what depends on no input while converting: constants, and the arithmetic of shapes, symbols and all.

Numbers are computed by ONNX's own reference implementation. Shapes in which sizes vary are arrays of objects, with
expressions of sympy among the numbers; NumPy computes with those as it does with numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import sympy
from onnx.reference import ReferenceEvaluator
from zoo.converters.importing.graph import Array, Graph, Node
from zoo.converters.importing.unsupported import HugeConstant, Unsupported
from zoo.converters.importing.values import Tensor, Value, known, settled

from zoo.errors import UnsafeFileError

_LARGEST = 1 << 27  # elements of one constant that a graph may compute: 512 MiB of float32
_RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}
_NUMBERS = (int, float, np.number, np.bool_, sympy.Basic)
_MULTIPLYING = {"MatMul", "Gemm", "Einsum", "Gather", "GatherND", "Conv", "ConvTranspose", "Compress"}


def folded(node: Node, values: Sequence[Value | None]) -> tuple[Array, ...] | None:
    """Returns what a node puts out where that depends on no input; None where it does.

    Raises:
        Unsupported: It would be too large, or computes with sizes that vary in a way that is not known.
    """
    if node.operator in ("Shape", "Size") and node.domain == "" and isinstance(values[0], Tensor):
        return (_shape(node, values[0]),)
    if any(isinstance(value, Tensor) for value in values) or node.operator in _RANDOM:
        return None
    if any(isinstance(each, Graph) for each in node.attributes.values()):
        return None
    arrays = [value if value is None else settled(np.asarray(value)) for value in values]
    if any(array is not None and _has_texts(array) for array in arrays):
        raise Unsupported("it computes with texts")
    if all(array is None or known(array) for array in arrays):
        _refuse_huge(node, arrays)
        return _evaluated(node, arrays)
    if node.operator not in _SYMBOLIC:
        return None
    return (settled(np.asarray(_SYMBOLIC[node.operator](node, *arrays), dtype=object)),)


def _has_texts(array: Array) -> bool:
    """Returns whether there is something in an array that sympy would read as a formula, and run."""
    return array.dtype.kind in "USO" and not all(isinstance(each, _NUMBERS) for each in array.reshape(-1))


def refuse_huge_constants(graph: Graph) -> None:
    """Refuses a graph that makes more of small constants than any model has, before anybody runs it.

    Raises:
        UnsafeFileError: It does.
    """
    constants, total = dict(graph.constants), 0
    for node in graph.nodes:
        if all(not name or name in constants for name in node.inputs):
            try:
                arrays = folded(node, [constants[name] if name else None for name in node.inputs])
            except HugeConstant as error:
                raise UnsafeFileError(f"Refused the model: {node} would be too large: {error}.") from error
            except Exception:  # a fault of the graph, which whoever converts or runs it will tell of
                arrays = None
            constants |= dict(zip(node.outputs, arrays or (), strict=False))
            total += sum(array.size for array in arrays or ())
            if total > _LARGEST:
                raise UnsafeFileError(
                    f"Refused the model: up to {node} it computes {total:,} constants, and {_LARGEST:,} are accepted."
                )


def _shape(node: Node, x: Tensor) -> Array:
    if node.operator == "Size":
        return settled(np.array(sympy.prod(x.dims), dtype=object))
    dims = x.dims[slice(node.get("start", 0), node.get("end"))]
    shape = np.empty(len(dims), object)
    shape[:] = [each if isinstance(each, sympy.Expr) else int(each) for each in dims]
    return settled(shape)


def _evaluated(node: Node, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
    attributes = {
        key: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for key, value in node.attributes.items()
    }
    names = ["" if array is None else f"i{number}" for number, array in enumerate(arrays)]
    proto = onnx.helper.make_node(node.operator, names, list(node.outputs), domain=node.domain, **attributes)
    inputs = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in names if name]
    outputs = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in node.outputs if name]
    graph = onnx.helper.make_graph([proto], "folded", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(node.domain, max(node.version, 1))])
    given = {name: array for name, array in zip(names, arrays, strict=True) if name}
    with np.errstate(all="ignore"):
        found = iter(ReferenceEvaluator(model).run(None, given))
    return tuple(np.asarray(next(found)) if name else np.zeros(0) for name in node.outputs)


def _refuse_huge(node: Node, arrays: Sequence[Array | None]) -> None:
    given = [array for array in arrays if array is not None]
    count = _GROWING[node.operator](node, *arrays) if node.operator in _GROWING else _most(node, given)
    if count > _LARGEST and count > max((array.size for array in given), default=0):
        raise HugeConstant(f"it makes a constant of {count:,} elements; more than {_LARGEST:,} are refused")


def _most(node: Node, arrays: Sequence[Array]) -> int:
    """Returns how many elements come out at most: all, or every one of one array with every one of another."""
    sizes = [array.size for array in arrays if array.size > 1]
    return math.prod(sizes) if node.operator in _MULTIPLYING else sum(sizes)


def _count(sizes: Array | None) -> int:
    return math.prod(max(0, int(each)) for each in sizes.reshape(-1)) if sizes is not None else 1


def _expanded_count(node: Node, x: Array, shape: Array) -> int:
    rank = max(x.ndim, shape.size)
    ours, wanted = [1] * (rank - x.ndim) + list(x.shape), [1] * (rank - shape.size) + [int(each) for each in shape]
    return math.prod(map(max, ours, wanted))


def _range_count(node: Node, *given: Array) -> int:
    start, stop, step = (float(each.reshape(-1)[0]) for each in given)
    return max(0, math.ceil((stop - start) / step)) if step else 0


def _padded_count(node: Node, x: Array, pads: Array | None = None, *_: Array | None) -> int:
    told = [int(each) for each in (node.get("pads", node.get("paddings", ())) if pads is None else pads)]
    return math.prod(size + max(0, sum(sorted(told)[-2:])) for size in x.shape)


def _resized_count(node: Node, x: Array, *given: Array | None) -> int:
    scales = [float(each) for array in given if array is not None and array.dtype.kind == "f" for each in array]
    sizes = [_count(array) for array in given if array is not None and array.dtype.kind in "iu"]
    return max([math.ceil(x.size * math.prod(max(1.0, each) for each in (*scales, *node.get("scales", ())))), *sizes])


_GROWING: dict[str, Callable[..., int]] = {
    "ConstantOfShape": lambda node, shape: _count(shape),
    "Expand": _expanded_count,
    "Tile": lambda node, x, repeats: x.size * _count(repeats),
    "Range": _range_count,
    "Pad": _padded_count,
    "Resize": _resized_count,
    "Upsample": _resized_count,
    "OneHot": lambda node, places, depth, *_: places.size * _count(depth),
}


# --- shapes with symbols ---


def _gather(node: Node, data: Array, indices: Array) -> Array:
    return np.take(data, indices.astype(np.int64), axis=node.get("axis", 0))


def _slice(node: Node, data: Array, *given: Array | None) -> Array:
    starts, stops, axes, steps = [*given, None, None, None, None][:4]
    starts = np.asarray(node.get("starts") if starts is None else starts)
    stops = np.asarray(node.get("ends") if stops is None else stops)
    axes = np.asarray(node.get("axes", range(len(starts))) if axes is None else axes)
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    where = [slice(None)] * data.ndim
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        low = -(data.shape[int(axis)]) - 1
        where[int(axis)] = slice(int(start), None if step < 0 and stop < low else int(stop), int(step))
    return data[tuple(where)]


def _concat(node: Node, *parts: Array) -> Array:
    return np.concatenate([np.asarray(each, dtype=object) for each in parts], axis=node.get("axis", 0))


def _unsqueeze(node: Node, data: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(data, tuple(int(each) for each in (node.get("axes") if axes is None else axes)))


def _squeeze(node: Node, data: Array, axes: Array | None = None) -> Array:
    given = node.get("axes") if axes is None else axes
    return np.squeeze(data, None if given is None else tuple(int(each) for each in given))


def _reshape(node: Node, data: Array, shape: Array | None = None) -> Array:
    return data.reshape([int(each) for each in (node.get("shape") if shape is None else shape)])


def _cast(node: Node, data: Array) -> Array:
    return data


def _divide(node: Node, one: Array, other: Array) -> Array:
    return np.asarray(np.frompyfunc(_quotient, 2, 1)(one, other), dtype=object)


def _quotient(one: Any, other: Any) -> Any:
    exact = _exact(one) / _exact(other)
    return exact if exact.is_integer else sympy.floor(exact)


def _exact(number: Any) -> Any:
    """Returns a number as sympy has it, which would run a text."""
    if isinstance(number, sympy.Basic):
        return number
    return sympy.Integer(int(number)) if isinstance(number, (int, np.integer)) else sympy.Float(float(number))


def _prod(node: Node, data: Array, axes: Array | None = None) -> Array:
    found = np.array(sympy.prod(data.reshape(-1).tolist()), dtype=object)
    return found.reshape((1,) * data.ndim) if node.get("keepdims", 1) else found


def _elementwise(function: Callable[..., Any]) -> Callable[..., Array]:
    def compute(_: Node, *arrays: Array) -> Array:
        return np.asarray(np.frompyfunc(function, len(arrays), 1)(*arrays), dtype=object)

    return compute


_SYMBOLIC: dict[str, Callable[..., Any]] = {
    "Shape": lambda node, data: np.array(data.shape[slice(node.get("start", 0), node.get("end"))]),
    "Size": lambda node, data: np.array(data.size),
    "Transpose": lambda node, data: np.transpose(data, node.get("perm")),
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Cast": _cast,
    "Identity": _cast,
    "Div": _divide,
    "ReduceProd": _prod,
    "Add": _elementwise(lambda one, other: one + other),
    "Sub": _elementwise(lambda one, other: one - other),
    "Mul": _elementwise(lambda one, other: one * other),
    "Neg": _elementwise(lambda one: -one),
    "Equal": _elementwise(lambda one, other: bool(one == other)),
    "Where": _elementwise(lambda condition, one, other: one if condition else other),
    "Floor": _elementwise(lambda one: sympy.floor(one)),
    "Ceil": _elementwise(lambda one: sympy.ceiling(one)),
    "Min": _elementwise(lambda *each: sympy.Min(*each)),
    "Max": _elementwise(lambda *each: sympy.Max(*each)),
}
