"""What is drawn of convolutions, pools and normalizations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from random_draft import Array, Draft, Drawn, Refused


def _windows(g: Draft, x: Drawn, most: int = 4) -> dict[str, Any]:
    """Returns the attributes of windows over feature maps that are not larger than those."""
    places = x.rank - 2
    sizes = [min(each) for each in zip(x.samples[0].shape[2:], x.samples[1].shape[2:], strict=True)]
    kernel = [g.number(1, min(most, size)) for size in sizes]
    found: dict[str, Any] = {"kernel_shape": kernel}
    if g.any(0.5):
        found["strides"] = [g.number(1, 3)] * places if g.any(0.6) else [g.number(1, 3) for _ in range(places)]
    if g.any(0.25):
        dilations = [g.number(1, 2)] * places if g.any(0.6) else [g.number(1, 3) for _ in range(places)]
        reach = zip(dilations, kernel, sizes, strict=True)
        found["dilations"] = [each if (many - 1) * each < size else 1 for each, many, size in reach]
    how = g.number(0, 9)
    if how < 2:
        found["auto_pad"] = g.one(["SAME_UPPER", "SAME_LOWER", "VALID"])
    elif how < 5:  # as frameworks pad
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, found.get("dilations") or [1] * places, strict=True)]
        found["pads"] = [(each - 1) // 2 for each in extents] * 2
    elif how < 8:
        found["pads"] = [g.number(0, each - 1) for each in kernel * 2]
    return found


def _channels(g: Draft, x: Drawn) -> tuple[int, int, int]:
    """Returns how many channels come in and out, and in how many groups."""
    channels = int(x.dims[1] or 0)
    groups = g.one([1, 1, 1, channels, *(each for each in range(1, channels + 1) if channels % each == 0)])
    return channels, groups * g.number(1, 3 if groups > 1 else 6), groups


def conv(g: Draft) -> None:
    x = g.pictures()
    _conv(g, x, _windows(g, x, 3 if x.rank == 5 else 4), g.any(0.6))


def computed(g: Draft, w: Array) -> Any:
    """Returns a weight as files have it, or computed from others that nothing goes into."""
    how = g.number(0, 19)
    if how == 0 and w.ndim > 1:
        return g.node("Transpose", np.ascontiguousarray(w.T))
    if how == 1:
        return g.node("Mul", w, np.float32(1.5))
    return g.node("Identity", w) if how == 2 else w


def _conv(g: Draft, x: Drawn, windows: dict[str, Any], has_bias: bool = True) -> Drawn:
    channels, out, groups = _channels(g, x)
    kernel = windows["kernel_shape"]
    scale = 1 / math.sqrt(channels / groups * math.prod(kernel))
    w = g.weight(out, channels // groups, *kernel, scale=round(scale, 3))
    if g.any(0.3):
        windows = {key: each for key, each in windows.items() if key != "kernel_shape"}
    bias = g.weight(out) if has_bias else None
    return g.node("Conv", x, computed(g, w), bias, group=groups if groups > 1 or g.any(0.3) else None, **windows)


def conv_and_more(g: Draft) -> None:
    """As exporters write a bias, a scale, or a pad of its own."""
    x = g.pictures()
    made = _conv(g, x, _windows(g, x, 3), False)
    shape = [made.dims[1], *[1] * (made.rank - 2)]
    shape = [1, *shape] if g.any(0.3) else shape
    for operator in g.some(["Mul", "Add", "Relu"]):
        made = g.node("Relu", made) if operator == "Relu" else g.node(operator, made, g.weight(*shape))


def separable(g: Draft) -> None:
    x = g.pictures(3, 4)
    channels = x.dims[1]
    windows = _windows(g, x, 3)
    w = g.weight(channels * g.number(1, 2), 1, *windows["kernel_shape"], scale=0.5)
    x = g.node("Conv", x, w, group=channels, **windows)
    out = g.number(1, 5)
    g.node("Conv", x, g.weight(out, x.dims[1], *[1] * (x.rank - 2)), g.weight(out) if g.any(0.5) else None)


def residual(g: Draft) -> None:
    """Branches that keep sizes, and join again."""
    x = g.pictures(3, 4, 4)
    channels = int(x.dims[1] or 0)
    size = g.one([1, 3])
    w = g.weight(channels, channels, *[size] * (x.rank - 2), scale=0.3)
    y = g.node("Conv", x, w, g.weight(channels), pads=[size // 2] * 2 * (x.rank - 2))
    y = g.node(g.one(["Relu", "Sigmoid", "Tanh", "Identity"]), y)
    if g.any(0.3):
        y = g.node("Conv", y, w, pads=[size // 2] * 2 * (x.rank - 2))  # a weight that two share
    if g.any(0.2):
        g.node("Concat", *g.some([x, y, y], 2), axis=1)
    else:
        g.node(g.one(["Add", "Mul", "Sub", "Max"]), *(g.rng.sample([x, y], 2)))


def squeeze_excite(g: Draft) -> None:
    x = g.pictures(3, 4, 4)
    channels = int(x.dims[1] or 0)
    axes = list(range(2, x.rank))
    keeps = g.any(0.5)
    if g.any(0.5):
        y = g.node("GlobalAveragePool", x)
        keeps = True
    else:
        y = reduced(g, "ReduceMean", x, axes, keeps)
    if keeps and g.any(0.6):
        y = g.node("Conv", y, g.weight(2, channels, *[1] * len(axes)), g.weight(2))
        y = g.node("Conv", g.node("Relu", y), g.weight(channels, 2, *[1] * len(axes)))
    else:
        y = g.node("Flatten", y) if keeps else y
        y = g.node("Gemm", y, g.weight(channels, channels), g.weight(channels))
        y = g.node("Reshape", y, np.array([0, channels, *[1] * len(axes)]))
    g.node("Mul", x, g.node(g.one(["Sigmoid", "HardSigmoid"]), y))


def reduced(g: Draft, operator: str, x: Drawn, axes: list[int] | None, keeps: bool | None = None) -> Drawn:
    """Returns what a reduction makes, with its axes where the operator set has them."""
    settings: dict[str, Any] = {} if keeps is None else {"keepdims": int(keeps)}
    if axes is not None:
        axes = [each - x.rank if g.any(0.3) else each for each in axes]
    if g.has(operator, "axes"):
        return g.node(operator, x, axes=axes, **settings)
    return g.node(operator, x, None if axes is None else np.array(axes), **settings)


def conv_transpose(g: Draft) -> None:
    x = g.pictures(3, 4, 4, 4, 5)
    places, windows = x.rank - 2, _windows(g, x, 3)
    channels, _, groups = _channels(g, x)
    strides = windows.get("strides") or [1] * places
    if g.any(0.3):
        windows["output_padding"] = [g.number(0, max(0, each - 1)) for each in strides]
    if g.any(0.15) and None not in x.dims:
        windows["output_shape"] = [
            int(each or 0) * s + g.number(-1, 1) for each, s in zip(x.dims[2:], strides, strict=True)
        ]
    out = g.number(1, 3)
    w = g.weight(channels, out, *windows["kernel_shape"], scale=0.4)
    bias = g.weight(out * groups) if g.any(0.5) else None
    g.node("ConvTranspose", x, w, bias, group=groups, **windows)


def pool(g: Draft) -> None:
    x, operator = g.pictures(), g.one(["MaxPool", "MaxPool", "AveragePool", "AveragePool", "LpPool"])
    windows = _windows(g, x)
    if not g.has(operator, "dilations"):
        windows.pop("dilations", None)
    if g.has(operator, "ceil_mode") and g.any(0.4):
        windows["ceil_mode"] = 1
    if operator == "AveragePool" and g.any(0.4):
        windows["count_include_pad"] = 1
    if operator == "LpPool" and g.any(0.5):
        windows["p"] = g.number(1, 3)
    if "pads" in windows and operator != "LpPool":  # all of a window may not be pads
        windows["pads"] = [
            min(each, k - 1) for each, k in zip(windows["pads"], windows["kernel_shape"] * 2, strict=True)
        ]
    g.node(operator, x, **windows)


def global_pool(g: Draft) -> None:
    operator = g.one(["GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
    g.node(operator, g.pictures(), **({"p": g.number(1, 3)} if operator == "GlobalLpPool" else {}))


def batch_normalization(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and each.rank >= 2 and each.dims[1] is not None)
    many = int(x.dims[1] or 0)
    scale = g.weight(many) if g.any(0.8) else np.ones(many, np.float32)
    bias = g.weight(many) if g.any(0.8) else np.zeros(many, np.float32)
    epsilon = g.one([None, 1e-3, 1e-5])
    g.node("BatchNormalization", x, scale, bias, g.weight(many), g.weight(many, low=0.3), epsilon=epsilon)


def normalization(g: Draft) -> None:
    x = g.pictures(3, 4, 5)
    many = int(x.dims[1] or 0)
    operator = g.one(["InstanceNormalization", "GroupNormalization", "LRN", "LRN"])
    if operator == "LRN":
        g.node(
            "LRN", x, size=g.number(1, 5), alpha=g.one([None, 0.5]), beta=g.one([None, 0.6]), bias=g.one([None, 2.0])
        )
    elif x.dims[2:] == [1] * (x.rank - 2):
        raise Refused("what it normalizes may be a single number")
    elif operator == "InstanceNormalization":
        g.node(operator, x, g.weight(many), g.weight(many))
    else:
        groups = g.one([each for each in range(1, many + 1) if many % each == 0])
        count = many if g.version(operator) >= 21 else groups
        g.node(operator, x, g.weight(count), g.weight(count), num_groups=groups)


def layer_normalization(g: Draft) -> None:
    x = g.value(lambda each: each.is_float and each.rank > 1)
    axis = g.number(1, x.rank - 1) if g.any(0.4) else x.rank - 1
    shape = x.dims[axis:]
    if None in shape or shape == [1] * len(shape):
        raise Refused("what it normalizes is open, or a single number")
    axis = axis - x.rank if g.any(0.6) else axis
    if g.any(0.7):
        g.node("LayerNormalization", x, g.weight(*shape), g.weight(*shape) if g.any(0.7) else None, axis=axis)
    elif g.any(0.5):
        g.node("RMSNormalization", x, g.weight(*shape), axis=axis)
    else:
        g.node("LpNormalization", x, axis=g.number(-x.rank, x.rank - 1), p=g.number(1, 2))


def layer_normalization_in_parts(g: Draft) -> None:
    x = g.floats(2, 3, 4)
    axes = [-1] if g.any(0.7) else [-2, -1]
    centred = g.node("Sub", x, reduced(g, "ReduceMean", x, axes, True))
    square = g.node("Mul", centred, centred) if g.any(0.4) else g.node("Pow", centred, np.float32(2))
    root = g.node("Sqrt", g.node("Add", reduced(g, "ReduceMean", square, axes, True), np.float32(1e-3)))
    y = g.node("Div", centred, root) if g.any(0.6) else g.node("Mul", centred, g.node("Reciprocal", root))
    if x.dims[-1] is not None and g.any(0.7):
        y = g.node("Mul", y, g.weight(x.dims[-1]))
        g.node("Add", y, g.weight(x.dims[-1]))


LAYERS = {
    conv: 6, conv_and_more: 2, separable: 1, residual: 3, squeeze_excite: 1, conv_transpose: 2, pool: 4, global_pool: 1,
    batch_normalization: 3, normalization: 2, layer_normalization: 2, layer_normalization_in_parts: 1,
}  # fmt: skip
