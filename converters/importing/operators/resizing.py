"""Resize, Upsample, and what moves channels to places and back: layers of Keras where they are exactly that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy
from keras import layers, ops
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import Array, Node
from zoo.converters.importing.map_layers import Resampling
from zoo.converters.importing.operators.operands import in_order, is_float
from zoo.converters.importing.registry import operator
from zoo.converters.importing.resampling import Rule, positions, resized, taps
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import OPEN_BATCH, Dim, Layout, Tensor, Value, is_number

_REPEATS = {3: layers.UpSampling1D, 4: layers.UpSampling2D, 5: layers.UpSampling3D}
_CENTRED = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
_CROPS = "tf_crop_and_resize"


@dataclass(frozen=True)
class _Axis:
    """How one axis changes.

    Attributes:
        scale: How much larger it is to be; not a number where that varies.
        size: What comes out: a number, or an expression.
        is_told: Whether the size was told, not the scale.
        roi: The part of the input that is wanted.
        like: A tensor that is as long as comes out, where that varies otherwise than the input does, and its axis.
    """

    scale: float
    size: Dim
    is_told: bool = False
    roi: tuple[float, float] = (0.0, 1.0)
    like: tuple[Tensor, int] | None = None


@operator("Upsample", newest=10)
def upsample(b: Builder, node: Node, x: Tensor, scales: Value | None = None) -> Tensor:
    """Returns feature maps that are larger by factors."""
    if scales is None and "scales" not in node.attributes:  # as the first version had them
        scales = np.asarray([1, 1, node.get("height_scale", 1), node.get("width_scale", 1)], np.float32)
    given = np.asarray(node.get("scales")) if scales is None else _constant(b, scales)
    return _resampled(b, x, _by_scales(x, range(x.rank), given), _old_rule(node))


@operator("Resize", newest=19)
def resize(b: Builder, node: Node, x: Tensor, *given: Value | None) -> Tensor:
    """Returns a tensor of other sizes, along any axes; sizes or scales must be known."""
    if node.version == 10:
        (scales,) = given
        assert scales is not None
        return _resampled(b, x, _by_scales(x, range(x.rank), _constant(b, scales)), _old_rule(node))
    roi, scales, sizes = (*given, None, None, None)[:3]
    which = [each % x.rank for each in node.get("axes") or range(x.rank)]
    coordinates = node.get("coordinate_transformation_mode", "half_pixel")
    rule = Rule(
        node.get("mode", "nearest"), coordinates, node.get("nearest_mode", "round_prefer_floor"),
        float(str(np.float32(node.get("cubic_coeff_a", -0.75)))), bool(node.get("antialias", 0)),
        bool(node.get("exclude_outside", 0)),
    )  # fmt: skip
    if scales is not None and np.size(scales if not isinstance(scales, Tensor) else 1):
        axes = _by_scales(x, which, _constant(b, scales))
    elif sizes is not None:
        axes = _by_sizes(b, x, which, sizes, node.get("keep_aspect_ratio_policy", "stretch"))
    else:
        raise Unsupported("it has neither scales nor sizes")
    if coordinates == _CROPS:
        part = _constant(b, roi) if roi is not None else np.zeros(0)
        if len(part) != 2 * len(which):
            raise Unsupported("it resizes a part of its input, and does not say which")
        ends = dict(zip(which, zip(part[: len(which)], part[len(which) :], strict=True), strict=True))
        axes = {axis: replace(each, roi=(float(ends[axis][0]), float(ends[axis][1]))) for axis, each in axes.items()}
    return _resampled(b, x, axes, rule, float(node.get("extrapolation_value", 0.0)))


def _old_rule(node: Node) -> Rule:
    mode = node.get("mode", "nearest")
    return Rule("linear" if mode == "bilinear" else mode, "asymmetric", "simple" if node.version > 9 else "floor")


def _constant(b: Builder, value: Value) -> Array:
    if isinstance(value, Tensor):
        raise Unsupported("how much it resizes is computed from the input")
    return b.numbers(np.asarray(value)).reshape(-1)


# --- how each axis changes ---


def _by_scales(x: Tensor, which: Sequence[int], scales: Array) -> dict[int, _Axis]:
    return {axis: _scaled(x.dims[axis], float(scale)) for axis, scale in zip(which, scales, strict=True)}


def _scaled(size: Dim, scale: float) -> _Axis:
    if is_number(size):
        return _Axis(scale, resized(int(size), scale))
    if scale == int(scale):
        return _Axis(scale, size * int(scale))
    return _Axis(scale, sympy.floor(size * sympy.Rational(str(scale))))


def _by_sizes(b: Builder, x: Tensor, which: Sequence[int], sizes: Value, policy: str) -> dict[int, _Axis]:
    if isinstance(sizes, Tensor):
        raise Unsupported("the sizes that it resizes to are computed from the input")
    wanted = list(np.asarray(sizes, object).reshape(-1))
    if b.batch is not None and x.dims[0] == OPEN_BATCH and which[0] == 0:  # the file writes its own batch size
        wanted[0] = x.dims[0] if wanted[0] == b.batch else wanted[0]
    ratios = [size / x.dims[axis] for axis, size in zip(which, wanted, strict=True)]
    if policy != "stretch":
        if not all(map(is_number, [*wanted, *(x.dims[axis] for axis in which)])):
            raise Unsupported("it keeps the ratio of sizes that vary")
        scale = float(min(ratios) if policy == "not_larger" else max(ratios))
        return {axis: _Axis(scale, int(np.floor(scale * int(x.dims[axis]) + 0.5))) for axis in which}
    found = {}
    for axis, size, ratio in zip(which, wanted, ratios, strict=True):
        simple = sympy.nsimplify(sympy.simplify(ratio)) if not is_number(size) else ratio
        if not is_number(size) and not getattr(simple, "is_number", False):
            like, at = _like(b, x.dims[axis], [each for each in wanted if not is_number(each)])
            found[axis] = _Axis(float("nan"), size, is_told=True, like=(like, at[size]))
            continue
        varies = is_number(size) and not is_number(x.dims[axis])  # the scale does too, and is what the sizes say
        scale = float("nan") if varies else float(simple)
        found[axis] = _Axis(scale, int(size), is_told=True) if is_number(size) else _Axis(scale, size)
    return found


def _like(b: Builder, have: Dim, sizes: Sequence[Dim]) -> tuple[Tensor, dict[Dim, int]]:
    """Returns a tensor that has sizes which are wanted, and along which of its axes as Keras holds it."""
    try:
        like, axes = b.source(sizes)
    except Unsupported as error:
        raise Unsupported(
            f"it resizes from {have} to {', '.join(map(str, sizes))}, and {error}. Say what they are: {b.shapes_hint()}"
        ) from error
    return like, {size: like.layout.axis(axis) for size, axis in axes.items()}


# --- layers ---


def _resampled(b: Builder, x: Tensor, axes: dict[int, _Axis], rule: Rule, outside: float = 0.0) -> Tensor:
    is_part = rule.coordinates == _CROPS
    changed = {
        axis: each
        for axis, each in axes.items()
        if each.scale != 1 or each.size != x.dims[axis] or (is_part and each.roi != (0, 1))
    }
    if not changed:
        return x
    if rule.mode not in ("nearest", "linear", "cubic"):
        raise Unsupported(f"its mode {rule.mode!r} is not known")
    sizes = [changed[axis].size if axis in changed else each for axis, each in enumerate(x.dims)]
    if x.rank in _REPEATS and set(changed) <= set(range(2, x.rank)) and is_float(x.dtype):
        picture = x if x.layout.order == Layout.channels_last(x.rank).order else b.channels_last(x)
        found = _as_keras_has_it(b, picture, changed, rule, sizes)
        if found is not None:
            return found
    if rule.is_antialiased and any(np.isnan(each.scale) for each in changed.values()):
        raise Unsupported("it smooths an axis by how much smaller it becomes, which varies")
    x = in_order(b, x, list(changed))
    usual = Rule()
    told = {name: each for name, each in vars(rule).items() if each != getattr(usual, name)}
    ways = [
        {
            "axis": x.layout.axis(axis),
            "scale": None if each.is_told else each.scale,
            "size": int(each.size) if is_number(each.size) else None,
            **({"start": each.roi[0], "end": each.roi[1]} if is_part else {}),
            **({"like": each.like[1]} if each.like else {}),
        }
        for axis, each in changed.items()
    ]
    positive = x.is_positive and rule.mode != "cubic" and outside >= 0
    like = next((each.like[0] for each in changed.values() if each.like), None)
    tensors = [x] if like is None else [x, like]
    return b.layer(
        Resampling, *tensors, layout=x.layout, sizes=sizes, is_positive=positive, axes=ways, rule=told, outside=outside
    )


def _as_keras_has_it(
    b: Builder, x: Tensor, changed: dict[int, _Axis], rule: Rule, sizes: Sequence[Dim]
) -> Tensor | None:
    """Returns what a layer of Keras makes that does exactly this; None where there is none."""
    if rule.coordinates == _CROPS or rule.is_antialiased:
        return None
    kept: dict[str, Any] = {"layout": x.layout, "sizes": sizes, "is_positive": x.is_positive}
    factors = [changed[axis].scale if axis in changed else 1.0 for axis in range(2, x.rank)]
    is_centred = rule.mode == "linear" and rule.coordinates in _CENTRED and x.rank == 4
    if all(each >= 1 and each == int(each) for each in factors):
        whole = [int(each) for each in factors]
        if rule.mode == "nearest" and all(_repeats(x.dims[axis], each, rule) for axis, each in changed.items()):
            return b.layer(_REPEATS[x.rank], x, size=whole if x.rank > 3 else whole[0], **kept)
        if is_centred and all(is_number(each) for each in x.dims[2:]):  # or else TensorFlow cannot compile the layer
            return b.layer(layers.UpSampling2D, x, size=whole, interpolation="bilinear", **kept)
    if is_centred and all(_is_ratio(x.dims[axis], each) for axis, each in changed.items()):
        height, width = (int(sizes[axis]) if is_number(sizes[axis]) else None for axis in (2, 3))
        if height is not None and width is not None:
            return b.layer(layers.Resizing, x, height=height, width=width, **kept)
    return None


def _repeats(size: Dim, axis: _Axis, rule: Rule) -> bool:
    """Returns whether every place comes out as often as the scale says, whatever the size is."""
    for each in (int(size),) if is_number(size) else (1, 2, 5, 16):
        out = each * int(axis.scale)
        have, scale = np.float32(each), np.float32(axis.scale)
        at = positions(np, rule, np.arange(out, dtype=np.float32), have, np.float32(out), scale)
        ((place, _),) = taps(np, rule, at, have, axis.scale)
        if not np.array_equal(place, np.arange(out) // int(axis.scale)):
            return False
    return True


def _is_ratio(size: Dim, axis: _Axis) -> bool:
    """Returns whether an axis is scaled by exactly the ratio of its sizes, and comes out with more than one place."""
    if not is_number(axis.size) or int(axis.size) < 2:
        return False
    return bool(np.isnan(axis.scale)) if not is_number(size) else abs(axis.scale * int(size) / axis.size - 1) < 1e-6


# --- channels as places ---


@operator("DepthToSpace", newest=28)
def depth_to_space(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns feature maps whose channels have become blocks of places."""
    block = node.get("blocksize")
    if not is_number(x.dims[1]):
        raise Unsupported("the number of channels varies")
    if block == 1:
        return x
    shuffle = None
    if node.get("mode", "DCR") == "CRD":  # a channel of Keras is [row, column, depth], and of ONNX [depth, row, column]
        shuffle = np.arange(int(x.dims[1])).reshape(-1, block * block).T.reshape(-1).tolist()
    x = b.arranged(x, Layout.channels_last(x.rank).with_shuffle(1, shuffle))
    sizes = [x.dims[0], int(x.dims[1]) // block**2, *(each * block for each in x.dims[2:])]
    return b.function(
        ops.depth_to_space, x, block, layout=Layout.channels_last(x.rank), sizes=sizes, is_positive=x.is_positive
    )


@operator("SpaceToDepth", newest=28)
def space_to_depth(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns feature maps whose blocks of places have become channels."""
    block = node.get("blocksize")
    if not is_number(x.dims[1]):
        raise Unsupported("the number of channels varies")
    if block == 1:
        return x
    x, channels = b.channels_last(x), int(x.dims[1]) * block**2
    layout = Layout.channels_last(x.rank)
    if node.get("mode", "DCR") == "CRD":
        layout = layout.with_shuffle(1, np.arange(channels).reshape(-1, block * block).T.reshape(-1).tolist())
    sizes = [x.dims[0], channels, *(each / block if not is_number(each) else int(each) // block for each in x.dims[2:])]
    return b.function(ops.space_to_depth, x, block, layout=layout, sizes=sizes, is_positive=x.is_positive)
