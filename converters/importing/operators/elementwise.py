"""What is computed element by element: unary functions, arithmetic, comparison, logic, bits, and types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from keras import layers, ops
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import Node
from zoo.converters.importing.layers import Offset, Scale
from zoo.converters.importing.operators.activations import relu
from zoo.converters.importing.operators.operands import (
    are_alike,
    cast,
    combined,
    dtype_of,
    is_float,
    is_scalar,
    mapped,
    merged,
    prepared,
    scalar,
    summands,
)
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import Array, Layout, Tensor, Value

_UNARY: dict[str, Callable[..., Any]] = {
    **{"Abs": ops.abs, "Neg": ops.negative, "Ceil": ops.ceil, "Floor": ops.floor, "Round": ops.round, "Exp": ops.exp},
    **{"Log": ops.log, "Sqrt": ops.sqrt, "Reciprocal": ops.reciprocal, "Erf": ops.erf, "Sign": ops.sign},
    **{"Sin": ops.sin, "Cos": ops.cos, "Tan": ops.tan, "Asin": ops.arcsin, "Acos": ops.arccos, "Atan": ops.arctan},
    **{"Sinh": ops.sinh, "Cosh": ops.cosh, "Asinh": ops.arcsinh, "Acosh": ops.arccosh, "Atanh": ops.arctanh},
    **{"Not": ops.logical_not, "IsNaN": ops.isnan, "BitwiseNot": ops.bitwise_not},
}  # fmt: skip
_BINARY: dict[str, Callable[..., Any]] = {
    **{"Equal": ops.equal, "Greater": ops.greater, "Less": ops.less, "GreaterOrEqual": ops.greater_equal},
    **{"LessOrEqual": ops.less_equal, "And": ops.logical_and, "Or": ops.logical_or, "Xor": ops.logical_xor},
    **{"BitwiseAnd": ops.bitwise_and, "BitwiseOr": ops.bitwise_or, "BitwiseXor": ops.bitwise_xor},
}
_POSITIVE = {"Abs", "Exp", "Sqrt", "Acos", "Acosh", "Cosh"}
_KEEPS_SIGN = {"Ceil", "Floor", "Round", "Reciprocal", "Erf", "Sign", "Sinh", "Asinh", "Asin", "Atan"}
_TYPES = {"bool", "float16", "float32", "float64", "bfloat16"}
_TYPES |= {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


@operator(*_UNARY, newest=22)
def unary(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns the function of that name."""
    if node.operator in ("Abs", "Sign") and x.dtype.startswith("uint"):
        return x if node.operator == "Abs" else cast(b, mapped(b, ops.not_equal, x, 0), x.dtype)
    is_positive = node.operator in _POSITIVE or (x.is_positive and node.operator in _KEEPS_SIGN)
    return mapped(b, _UNARY[node.operator], x, is_positive=is_positive)


@operator("IsInf", newest=20)
def is_inf(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns where infinity is, of both signs or of one."""
    if node.get("detect_negative", 1) and node.get("detect_positive", 1):
        return mapped(b, ops.isinf, x)
    if node.get("detect_positive", 1):
        return mapped(b, ops.equal, x, float("inf"))
    if node.get("detect_negative", 1):
        return mapped(b, ops.equal, x, float("-inf"))
    return mapped(b, ops.not_equal, mapped(b, ops.isinf, x, suffix="any"), mapped(b, ops.isinf, x, suffix="all"))


@operator(*_BINARY, newest=19)
def binary(b: Builder, node: Node, one: Value, other: Value) -> Tensor:
    """Returns a comparison, or what logic makes of bits, for which Keras takes no numbers of Python."""
    if node.operator.startswith("Bitwise"):
        like = one if isinstance(one, Tensor) else other
        assert isinstance(like, Tensor)
        one, other = b.tensor(one, like), b.tensor(other, like)
    return combined(b, _BINARY[node.operator], one, other)


@operator("BitShift", newest=28)
def bit_shift(b: Builder, node: Node, one: Value, other: Value) -> Tensor:
    """Returns numbers with their bits moved: by more places than there are, only the sign is left, or nothing."""
    function = ops.left_shift if node.get("direction") == "LEFT" else ops.right_shift
    kind = dtype_of(one)
    bits = int(kind.removeprefix("u").removeprefix("int"))
    if not isinstance(other, Tensor) and bool(((other >= 0) & (other < bits)).all()):
        return combined(b, function, one, other)
    limit, zero = np.asarray(bits, kind), np.asarray(0, kind)
    low = combined(b, ops.less, other, zero, suffix="is_negative")
    is_far = combined(
        b, ops.logical_or, low, combined(b, ops.greater_equal, other, limit, suffix="is_far"), suffix="is_out"
    )
    if function is ops.right_shift and not kind.startswith("u"):
        return combined(b, function, one, combined(b, ops.where, is_far, limit - 1, other, suffix="places"))
    near = combined(b, ops.where, is_far, zero, other, suffix="places")
    return combined(b, ops.where, is_far, zero, combined(b, function, one, near, suffix="moved"))


# --- arithmetic ---


@operator("Add", newest=14)
def add(b: Builder, node: Node, one: Value, other: Value) -> Tensor:
    """Returns an Add of tensors; an Offset, which trains, by an array."""
    x, array = _tensor_first(one, other)
    if _is_weight(x, array):
        return _weighted(b, Offset, "offset", x, array)
    return merged(b, layers.Add, ops.add, x, array, is_positive=_are_positive(x, array))


@operator("Sub", newest=14)
def sub(b: Builder, node: Node, one: Value, other: Value) -> Tensor:
    """Returns a Subtract of tensors; an Offset by an array: a - x is exactly (-x) + a."""
    if isinstance(one, Tensor) and _is_weight(one, other):
        return _weighted(b, Offset, "offset", one, -np.asarray(other))
    if isinstance(other, Tensor) and _is_weight(other, one):
        return _weighted(b, Offset, "offset", mapped(b, ops.negative, other, suffix="negative"), np.asarray(one))
    return merged(b, layers.Subtract, ops.subtract, one, other)


@operator("Mul", newest=14)
def mul(b: Builder, node: Node, one: Value, other: Value) -> Tensor:
    """Returns a Multiply of tensors; a Scale, which trains, by an array."""
    x, array = _tensor_first(one, other)
    if _is_weight(x, array):
        return _weighted(b, Scale, "scale", x, array)
    return merged(b, layers.Multiply, ops.multiply, x, array, is_positive=_are_positive(x, array))


@operator("Div", newest=14)
def div(b: Builder, node: Node, one: Value, other: Value) -> Tensor:
    """Returns a quotient; that of whole numbers is rounded towards zero."""
    if isinstance(one, Tensor) and _is_weight(one, other):
        return _weighted(b, Scale, "scale", one, other, is_divisor=True)
    if is_float(dtype_of(one)):
        return combined(b, ops.divide, one, other, is_positive=_are_positive(one, other))
    return _truncated(b, one, other)[0]


def _truncated(b: Builder, one: Value, other: Value) -> tuple[Tensor, Any, Any]:
    """Returns a quotient of whole numbers, rounded towards zero, and what was divided, and by what."""
    kind = dtype_of(one)
    wide = kind if kind in ("int32", "int64", "uint64") else "int64"  # of these alone TensorFlow is sure to know all
    one, other = (cast(b, each, wide) if isinstance(each, Tensor) else np.asarray(each, wide) for each in (one, other))
    (one, other), layout, sizes = prepared(b, one, other)
    settings: dict[str, Any] = {"layout": layout, "sizes": sizes}
    down = b.function(ops.floor_divide, one, other, **settings)
    if kind.startswith("uint"):
        return cast(b, down, kind), one, other
    back = b.function(ops.multiply, down, other, suffix="back", **settings)
    is_less = mapped(b, ops.less, down, 0, suffix="is_less")
    has_rest = b.function(ops.not_equal, back, one, suffix="has_rest", **settings)
    both = cast(b, b.function(ops.logical_and, is_less, has_rest, suffix="rounds", **settings), wide)
    return cast(b, b.function(ops.add, down, both, suffix="truncated", **settings), kind), one, other


@operator("Mod", newest=28)
def mod(b: Builder, node: Node, one: Value, other: Value) -> Tensor:
    """Returns what remains: with the sign of the divisor, or (`fmod`) of what is divided."""
    kind = dtype_of(one)
    if is_float(kind):
        return combined(b, ops.fmod if node.get("fmod", 0) else ops.mod, one, other)
    wide = kind if kind in ("int32", "int64") else "int64"
    one, other = (cast(b, each, wide) if isinstance(each, Tensor) else np.asarray(each, wide) for each in (one, other))
    if not node.get("fmod", 0):
        return cast(b, combined(b, ops.mod, one, other), kind)
    quotient, one, other = _truncated(b, one, other)
    settings: dict[str, Any] = {"layout": quotient.layout, "sizes": quotient.dims}
    back = b.function(ops.multiply, quotient, other, suffix="product", **settings)
    return cast(b, b.function(ops.subtract, one, back, suffix="rest", **settings), kind)


@operator("Pow", newest=15)
def pow_(b: Builder, node: Node, x: Value, exponent: Value) -> Tensor:
    """Returns a power, of the type of its base, whatever that of the exponent."""
    kind = dtype_of(x)
    if isinstance(x, Tensor) and is_scalar(exponent, x.rank) and scalar(b.numbers(np.asarray(exponent))) == 2:
        return cast(b, mapped(b, ops.square, x, is_positive=True), kind)
    wide = kind if is_float(kind) else "float64"
    is_exact = not is_float(kind) and not is_float(dtype_of(exponent))
    base, exponent = (
        cast(b, each, wide) if isinstance(each, Tensor) else b.numbers(np.asarray(each)).astype(wide)
        for each in (x, exponent)
    )
    found = combined(b, ops.power, base, exponent, is_positive=isinstance(x, Tensor) and x.is_positive)
    return cast(b, mapped(b, ops.round, found, suffix="round") if is_exact else found, kind)


@operator("Sum", newest=13)
def sum_(b: Builder, node: Node, *values: Value) -> Value:
    """Returns an Add of all tensors, and arrays added to it."""
    return _of_all(b, node, layers.Add, ops.add, add, values)


@operator("Max", newest=13)
def max_(b: Builder, node: Node, *values: Value) -> Value:
    """Returns a Maximum of all tensors; a ReLU where the other value is zero."""
    return _of_all(b, node, layers.Maximum, ops.maximum, _max, values)


@operator("Min", newest=13)
def min_(b: Builder, node: Node, *values: Value) -> Value:
    """Returns a Minimum of all tensors."""
    return _of_all(b, node, layers.Minimum, ops.minimum, lambda b, _, x, y: combined(b, ops.minimum, x, y), values)


@operator("Mean", newest=13)
def mean(b: Builder, node: Node, *values: Value) -> Value:
    """Returns an Average of all tensors; of arrays too, a sum that is divided."""
    if all(isinstance(each, Tensor) for each in values) and (len(values) == 2 or are_alike(values)):
        found, layout, sizes = b.together(*values)
        function, tensors = summands(b, found) if len(values) == 2 else (ops.add, list[Any](found))
        positive = _are_positive(*values)
        if function is ops.add and layout.rank > 1 and _has_one_batch(tensors, layout):
            return b.layer(layers.Average, *tensors, layout=layout, sizes=sizes, is_positive=positive)
    total = sum_(b, node, *values)
    return (
        total if len(values) == 1 or not isinstance(total, Tensor) else mapped(b, ops.divide, total, float(len(values)))
    )


def _has_one_batch(tensors: Sequence[Tensor], layout: Layout) -> bool:
    return len({each.dims[layout.order[0]] for each in tensors}) == 1


def _max(b: Builder, node: Node, x: Tensor, array: Array) -> Tensor:
    if is_float(x.dtype) and is_scalar(array, x.rank) and scalar(array) == 0:
        return relu(b, node, x)  # type: ignore[no-any-return]
    return combined(b, ops.maximum, x, array, is_positive=x.is_positive or bool((np.asarray(array) >= 0).all()))


def _of_all(
    b: Builder,
    node: Node,
    kind: Any,
    function: Callable[..., Any],
    with_array: Callable[..., Any],
    values: tuple[Value, ...],
) -> Value:
    """Returns what merges tensors with a layer, and arrays with the result."""
    tensors = [each for each in values if isinstance(each, Tensor)]
    positive = (any if node.operator == "Max" else all)(each.is_positive for each in tensors)
    result = tensors[0] if len(tensors) == 1 else merged(b, kind, function, *tensors, is_positive=positive)
    for each in values:
        if not isinstance(each, Tensor):
            result = with_array(b, node, result, each)
    return result


def _tensor_first(one: Value, other: Value) -> tuple[Tensor, Value]:
    if isinstance(one, Tensor):
        return one, other
    assert isinstance(other, Tensor)
    return other, one


def _is_weight(x: Tensor, array: Value) -> bool:
    """Returns whether an array is to be learned: more than one number, of floating point."""
    return not isinstance(array, Tensor) and is_float(x.dtype) and np.size(array) > 1


def _weighted(b: Builder, kind: Any, name: str, x: Tensor, array: Value, **config: Any) -> Tensor:
    """Returns a tensor with an array added to it, or multiplied by it, as a weight."""
    (x, array), layout, sizes = b.together(x, array)  # type: ignore[assignment]
    weight = np.asarray(array)
    while weight.ndim > 1 and weight.shape[0] == 1:
        weight = weight[0]
    if x.rank == 4 and weight.ndim == 1 and b.is_raw(x):  # of a picture: preprocessing, which was not learned
        numbers = weight.astype(np.float64)
        scaled = {"scale": 1.0, "offset": numbers.tolist()}
        if kind is Scale:
            scaled = {"scale": (1 / numbers if config.get("is_divisor") else numbers).tolist(), "offset": 0.0}
        return b.layer(layers.Rescaling, x, layout=layout, sizes=sizes, **scaled)
    is_mask = _is_mask(weight)
    settings = config if not is_mask else {**config, "trainable": False}
    if is_mask:
        b.notes["an array that hides places, as a mask does, does not train"] += 1
    return b.layer(kind, x, layout=layout, sizes=sizes, weights={name: weight}, shape=weight.shape, **settings)


def _is_mask(array: Array) -> bool:
    """Returns whether an array hides places, and was not learned: of two numbers, or of some that are very large."""
    numbers = array.astype(np.float64)
    return bool((~(np.abs(numbers) < 9e3)).any()) or (numbers.size > 8 and len(np.unique(numbers)) == 2)


def _are_positive(*values: Value) -> bool:
    return all(v.is_positive if isinstance(v, Tensor) else bool((np.asarray(v) >= 0).all()) for v in values)


# --- types and choice ---


@operator("Cast", newest=28)
def cast_(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a tensor of another type."""
    return _cast(b, x, node.get("to"))


@operator("CastLike", newest=28)
def cast_like(b: Builder, node: Node, x: Value, like: Value) -> Value:
    """Returns a value of another's type."""
    kind = dtype_of(like)
    return cast(b, x, kind, "") if isinstance(x, Tensor) else np.asarray(x).astype(kind)


def _cast(b: Builder, x: Tensor, kind: int) -> Tensor:
    if kind == onnx.TensorProto.STRING:
        raise Unsupported("it makes texts of numbers")
    name = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)).name
    if name not in _TYPES:
        raise Unsupported(f"it casts to {onnx.TensorProto.DataType.Name(kind)}, a type that Keras has not")
    return cast(b, x, name, "")


@operator("Where", newest=16)
def where(b: Builder, node: Node, condition: Value, one: Value, other: Value) -> Tensor:
    """Returns elements of one value or the other."""
    positive = _are_positive(one, other)
    return combined(b, ops.where, condition, one, other, is_positive=positive)
