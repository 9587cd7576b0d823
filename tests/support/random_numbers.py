"""What is drawn of operators that compute element by element, or along axes: activations, arithmetic, softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
from random_draft import Draft, Drawn, Refused
from random_layers import reduced

_PLAIN = (
    "Relu",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Softsign",
    "Mish",
    "HardSwish",
    "Abs",
    "Neg",
    "Erf",
    "Sin",
    "Cos",
    "Atan",
)
_PLAIN_TOO = ("Ceil", "Floor", "Round", "Sign", "Sinh", "Cosh", "Asinh", "Exp", "Tan", "Selu", "Gelu", "IsNaN", "IsInf")
_WITH = {
    "LeakyRelu": {"alpha": [None, 0.2, 1.5]}, "Elu": {"alpha": [None, 0.5]}, "Selu": {"alpha": [None, 2.0]},
    "Celu": {"alpha": [None, 0.5]}, "HardSigmoid": {"alpha": [None, 1 / 6, 0.5], "beta": [None, 0.4]},
    "ThresholdedRelu": {"alpha": [None, 0.2, -0.3]}, "Shrink": {"lambd": [0.3], "bias": [None, 0.3, 0.1]},
    "Gelu": {"approximate": ["tanh", "none"]},
}  # fmt: skip
_REDUCTIONS = (
    *("ReduceMean", "ReduceMean", "ReduceMean", "ReduceMax", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceSum"),
    *("ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceLogSum"),
)
_ABOVE_ZERO = ("Log", "Sqrt", "Reciprocal")
_INSIDE = ("Asin", "Acos", "Atanh")


def unary(g: Draft) -> None:
    x = g.floats()
    how = g.number(0, 9)
    if how < 5:
        g.node(g.one(_PLAIN if g.any(0.6) else _PLAIN_TOO), x)
    elif how < 8:
        operator = g.one(list(_WITH))
        g.node(operator, x, **{name: g.one(each) for name, each in _WITH[operator].items()})
    elif how < 9:
        y = g.node("Add", g.node("Abs", x), np.float32(0.5))
        y = g.node(g.one(_ABOVE_ZERO), y)
        if g.any(0.2):
            g.node("Acosh", g.node("Add", g.node("Abs", y), np.float32(1.2)))
    else:
        g.node(g.one(_INSIDE), g.node("Mul", g.node("Tanh", x), np.float32(0.8)))


def gates(g: Draft) -> None:
    """Activations as exporters write them, in parts."""
    x, how = g.floats(), g.number(0, 3)
    if how == 0:
        g.node("Mul", *g.rng.sample([x, g.node("Sigmoid", x)], 2))
    elif how == 1:
        clipped = _clip(g, g.node("Add", x, np.float32(3)), 0.0, 6.0)
        if g.any(0.5):
            g.node("Mul", x, g.node("Div", clipped, np.float32(6)))
        else:
            g.node("Div", g.node("Mul", x, clipped), np.float32(6))
    elif how == 2:
        curve = g.node("Erf", g.node("Div", x, np.float32(np.sqrt(2))))
        y = g.node("Mul", x, g.node("Add", curve, np.float32(1)))
        g.node("Mul", y, np.float32(0.5))
    else:
        g.node("Mul", x, g.node("Tanh", g.node("Softplus", x)))


def clip(g: Draft) -> None:
    low, high = g.one([(0.0, 6.0), (-1.0, 1.0), (None, 0.5), (0.3, None), (0.5, 2.0), (-2.0, -0.5), (None, None)])
    _clip(g, g.floats(), low, high)


def _clip(g: Draft, x: Drawn, low: float | None, high: float | None) -> Drawn:
    if g.has("Clip", "min"):
        return g.node("Clip", x, min=low, max=high)  # type: ignore[no-any-return]
    bounds = [None if each is None else np.float32(each) for each in (low, high)]
    return g.node("Clip", x, *bounds)  # type: ignore[no-any-return]


# --- with another value ---


def _other(g: Draft, x: Drawn, is_divisor: bool = False) -> Any:
    """Returns what x can be computed with: a number, a weight of any sizes that meet, or a tensor."""
    how = g.number(0, 9)
    low = 0.5 if is_divisor else None
    if how < 2:
        return g.weight(*g.one([(), (1,), (1, 1)]), low=low)
    if how < 6:
        shape = [
            1 if each is None or g.any(0.4) else g.number(2, 3) if each == 1 and g.any(0.2) else each for each in x.dims
        ]
        shape = shape[g.number(0, len(shape)) :] if g.any(0.6) else [1] * g.number(0, 1) * (x.rank < 5) + shape
        return g.weight(*shape, low=low)
    if how < 7 and x.rank > 1:
        y = reduced(g, g.one(["ReduceMean", "ReduceMax"]), x, g.some(range(x.rank)), True)
    else:
        y = g.value(lambda each: each.is_float and _meets(each.dims, x.dims))
    return g.node("Add", g.node("Abs", y), np.float32(0.5)) if is_divisor else y


def _meets(one: Any, other: Any) -> bool:
    return all(a == b or 1 in (a, b) for a, b in zip(one[::-1], other[::-1], strict=False))


def binary(g: Draft) -> None:
    x, operator = g.floats(), g.one(["Add", "Add", "Sub", "Mul", "Mul", "Div", "Max", "Min", "Mean", "Sum"])
    values = [x, _other(g, x, operator == "Div")]
    if operator in ("Max", "Min", "Mean", "Sum") and g.any(0.3):
        values.append(_other(g, x))
    if operator != "Div" and g.any(0.5):
        values = values[::-1]
    g.node(operator, *values)


def merge(g: Draft) -> None:
    """Two branches of the same sizes."""
    x = g.floats()
    others = [each for each in g.values if each.is_float and each.dims == x.dims and each.name != x.name]
    g.node(g.one(["Add", "Add", "Sub", "Mul", "Max", "Mean", "Sum"]), *g.rng.sample([x, g.one(others)], 2))


def scale_and_shift(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and each.rank > 1 and each.dims[1] is not None)
    shape = [x.dims[1], *[1] * (x.rank - 2)]
    g.node("Add", g.node("Mul", x, g.weight(*shape)), g.weight(*shape))


def power(g: Draft) -> None:
    x = g.floats()
    if g.any(0.5):
        g.node("Pow", x, np.float32(g.one([2, 3, 1])))
    elif g.any(0.5):
        g.node("Pow", g.node("Add", g.node("Abs", x), np.float32(0.5)), g.weight(*g.one([(), (1,)])))
    elif g.opset >= 12:
        g.node("Pow", x, np.int64(2))


def prelu(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and each.rank > 1)
    shape: list[Any] = [1]
    if x.dims[1] is not None and g.any(0.7):
        shape = [x.dims[1], *[1] * (x.rank - 2)]
    elif None not in x.dims[1:] and g.any(0.5):
        shape = list(x.dims[1:])
    g.node("PRelu", x, g.weight(*shape))


def choose(g: Draft) -> None:
    """Comparisons, logic, and what they choose."""
    x = g.value(lambda each: each.is_float and each.is_exact) if g.any(0.7) else g.floats()
    operators = ["Greater", "Less"] + (["GreaterOrEqual", "LessOrEqual"] if g.opset >= 12 else [])
    condition = g.node(g.one(operators), *g.rng.sample([x, _other(g, x)], 2))
    if g.any(0.3):
        condition = g.node("Not", condition)
    if g.any(0.3):
        other = g.node("Less", x, np.float32(0.2))
        condition = g.node(g.one(["And", "Or", "Xor"]), condition, other)
    y = g.value(lambda each: each.is_float and _meets(each.dims, condition.dims))
    g.node("Where", condition, *g.rng.sample([y, _other(g, y) if g.any(0.5) else np.float32(-1)], 2))


def mask(g: Draft) -> None:
    condition = g.value(lambda each: each.kind == "bool")
    how = g.number(0, 2)
    if how == 0:
        g.node("Mul", g.node("Cast", condition, to=1), g.value(lambda v: v.is_float and _meets(v.dims, condition.dims)))
    elif how == 1:
        g.node("Where", condition, g.weight(*g.one([(), (1,)])), g.weight(*g.one([(), (1,)])))
    else:
        g.node(g.one(["And", "Or", "Xor"]), condition, g.node("Not", condition))


def whole_numbers(g: Draft) -> None:
    x, how = g.value(lambda each: each.kind in ("int64", "int32")), g.number(0, 6)
    if how == 0:
        g.node("Cast", x, to=1)
    elif how == 1:
        g.node(g.one(["Add", "Mul", "Sub", "Div", "Mod"]), x, np.array(g.number(1, 5), x.kind))
    elif how == 2:
        g.node(g.one(["Equal", "Less", "Greater"]), x, np.array(g.number(0, 2), x.kind))
    elif how == 3:
        g.node("OneHot", x, np.array([4]), np.array(g.one([[0, 1], [-1, 2]]), np.float32), axis=g.number(-1, x.rank))
    elif how == 4:
        g.node(g.one(["BitwiseAnd", "BitwiseOr", "BitwiseXor"]), x, np.array(g.number(0, 6), x.kind))
    elif how == 5:
        moved = g.node("BitShift", g.node("Cast", x, to=13), np.array(1, np.uint64), direction=g.one(["LEFT", "RIGHT"]))
        g.node("Cast", moved, to=7)
    else:
        g.node(g.one(["Add", "Mul", "Max"]), x, g.value(lambda v: v.kind == x.kind and _meets(v.dims, x.dims)))


def cast(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and each.is_exact)
    y = g.node("Cast", x, to=g.one([6, 7, 9]))
    if g.any(0.2):
        g.node("CastLike", y, x)
    else:
        g.node("Cast", y, to=1)


def doubled(g: Draft) -> None:
    """A part of it all in 64 bits."""
    y = g.node("Cast", g.floats(), to=11)
    how = g.number(0, 4)
    if how == 0:
        y = g.node(g.one(["Add", "Mul", "Sub", "Div"]), y, np.array(g.one([2.0, -0.3])))
    elif how == 1:
        y = reduced(g, g.one(["ReduceMean", "ReduceSum", "ReduceMax"]), y, g.some(range(y.rank)), True)
    elif how == 2:
        y = g.node(g.one(["Tanh", "Exp", "Relu", "Abs", "Sigmoid"]), y)
    elif how == 3 and y.rank > 1 and y.dims[-1] is not None:
        y = g.node("MatMul", y, np.linspace(-1, 1, 2 * y.dims[-1]).reshape(-1, 2))
    else:
        y = g.node("Add", y, y)
    g.node("Cast", y, to=1)


# --- along axes ---


def reduce(g: Draft) -> None:
    x = g.floats()
    operator = g.one(_REDUCTIONS if None not in x.dims[1:] else _REDUCTIONS[:6])  # sums of many may be near zero
    if operator == "ReduceProd" and x.samples[1].size > 60:
        raise Refused("a product of many may be nothing")
    if operator == "ReduceLogSum":
        x = g.node("Add", g.node("Abs", x), np.float32(0.5))
    axes: list[int] | None = g.some(range(x.rank)) if x.rank and g.any(0.85) else None
    if x.rank > 2 and g.any(0.3):
        axes = list(range(2, x.rank))
    reduced(g, operator, x, axes, g.one([None, True, False, False]))


def softmax(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and each.rank > 0)
    operator = g.one(["Softmax", "Softmax", "LogSoftmax", "Hardmax"])
    axes = x.known() if operator == "Hardmax" and g.any(0.9) else range(x.rank)
    axis = g.one([None, *axes, *(each - x.rank for each in axes if g.opset >= 11)])
    if axis is None and g.opset < 13 and x.rank < 2:
        axis = 0
    g.node(operator, x, axis=axis)


def largest(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and each.rank > 0)
    axis, operator = g.number(0, x.rank - 1), g.one(["ArgMax", "ArgMin", "TopK", "CumSum"])
    size = x.dims[axis]
    axis = axis - x.rank if g.any(0.3) and g.opset >= 11 else axis
    if operator == "CumSum":
        g.node(operator, x, np.array(axis), exclusive=g.one([None, 1]), reverse=g.one([None, 1]))
    elif operator == "TopK":
        k = g.number(1, size or 1)
        if g.has("TopK", "k"):
            g.node("TopK", x, outputs=2, k=k, axis=axis)
        else:
            least = 0 if g.opset >= 11 and g.any(0.4) else None
            g.node("TopK", x, np.array([k]), outputs=2, axis=axis, largest=least)
    else:
        last = 1 if g.opset >= 12 and g.any(0.3) and size is not None else None
        g.node(operator, x, axis=axis, keepdims=g.one([None, 0, 1]), select_last_index=last)


def triangle(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and each.rank > 1)
    g.node("Trilu", x, g.one([None, np.array(1), np.array(-1)]), upper=g.one([None, 0, 1]))


def standardized(g: Draft) -> None:
    x = g.floats(2, 3, 4)
    axes = list(g.some(range(x.rank)))
    if x.dims[0] is None and 0 in axes and g.any(0.9):
        raise Refused("it goes over the batch")
    if np.prod([x.samples[0].shape[axis] for axis in axes]) < 12:
        raise Refused("what it normalizes may be all the same number")
    g.node("MeanVarianceNormalization", x, axes=axes)


def backwards(g: Draft) -> None:
    x = g.value(lambda each: each.rank > 1 and None not in each.dims[:2])
    batch, time = g.one([(0, 1), (1, 0)])
    size = int(x.dims[time] or 0)
    lengths = np.random.default_rng(g.number(0, 99)).integers(1, size + 1, int(x.dims[batch] or 0))
    lengths = np.full_like(lengths, size) if g.any(0.5) else lengths
    g.node("ReverseSequence", x, lengths, batch_axis=batch, time_axis=time)


NUMBERS = {
    unary: 6, gates: 2, clip: 1, binary: 6, merge: 4, scale_and_shift: 1, power: 1, prelu: 1, choose: 2, mask: 1,
    whole_numbers: 2, cast: 1, doubled: 1, reduce: 4, softmax: 3, largest: 2, triangle: 1, standardized: 1,
    backwards: 1,
}  # fmt: skip
