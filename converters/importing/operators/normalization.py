"""Normalizations: trainable layers of Keras, whose weights follow the layout of what they read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import layers, ops
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import PATTERN, Node
from zoo.converters.importing.map_layers import LocalResponseNormalization
from zoo.converters.importing.operators.elementwise import add, mul
from zoo.converters.importing.operators.operands import cast, combined, in_order, is_float, mapped
from zoo.converters.importing.operators.shaping import reshape, wanted_sizes
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import Array, Layout, Tensor, Value, is_number, same

_STASH = {1: "float32", 11: "float64", 10: "float16", 16: "bfloat16"}


def _number(node: Node, name: str, usual: float) -> float:
    """Returns an attribute of 32 bits as it was written: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(node.get(name, usual))))


def _last_or(place: int, rank: int) -> int:
    return -1 if place == rank - 1 else place


def _of_channels(b: Builder, x: Tensor, **arrays: Value) -> dict[str, Array]:
    """Returns weights that have a number for each channel, in the order in which the channels lie."""
    found = {}
    for name, value in arrays.items():
        if isinstance(value, Tensor):
            raise Unsupported(f"its {name} is computed from the input, and is no weight")
        array, shuffle = b.numbers(np.asarray(value)), x.layout.shuffle(1)
        found[name] = array if shuffle is None else array[list(shuffle)]
    return found


def _batch_first(b: Builder, x: Tensor) -> Tensor:
    """Returns a tensor that a layer takes for a batch of examples."""
    return x if x.layout.order[0] == 0 and not x.layout.shuffle(0) else b.channels_last(x)


# --- over a batch ---


@operator("BatchNormalization", newest=15)
def batch_normalization(
    b: Builder, node: Node, x: Tensor, scale: Value, bias: Value, mean: Value, variance: Value
) -> Tensor:
    """Returns a BatchNormalization along the axis of Keras that is ONNX's axis 1."""
    if node.get("training_mode", 0) or any(node.outputs[1:]):
        raise Unsupported("it trains: its statistics are those of the batch, and are put out")
    if x.rank < 2 or any(np.ndim(each) != 1 for each in (scale, bias, mean, variance) if not isinstance(each, Tensor)):
        raise Unsupported("it does not normalize channels, which lie along axis 1")
    weights = _of_channels(b, x, gamma=scale, beta=bias, moving_mean=mean, moving_variance=variance)
    config: dict[str, Any] = {}
    if x.dtype in ("float16", "bfloat16") and weights["moving_mean"].dtype == np.float32:
        config["dtype"] = f"mixed_{x.dtype}"
    config |= (unlearned := _unlearned(weights))
    b.notes.update(f"a normalization has no {name}: it is as it begins, and was not learned" for name in unlearned)
    return b.layer(
        layers.BatchNormalization, x, layout=x.layout, sizes=x.dims, weights=weights,
        axis=_last_or(x.layout.axis(1), x.rank), epsilon=_number(node, "epsilon", 1e-5),
        momentum=_number(node, "momentum", 0.9), **config,
    )  # fmt: skip


def _unlearned(weights: dict[str, Array]) -> dict[str, bool]:
    """Takes out a scale, or an offset, that was not learned: one that is as it begins where the other is not."""
    has_scale, has_offset = bool((weights["gamma"] != 1).any()), bool(weights["beta"].any())
    if has_scale == has_offset:
        return {}
    del weights["beta" if has_scale else "gamma"]
    return {"center": False} if has_scale else {"scale": False}


# --- over each example ---


@operator("InstanceNormalization", newest=22)
def instance_normalization(b: Builder, node: Node, x: Tensor, scale: Value, bias: Value) -> Tensor:
    """Returns a GroupNormalization with a group for each channel."""
    return _by_groups(b, node, x, -1, scale, bias)


@operator("GroupNormalization", newest=21)
def group_normalization(b: Builder, node: Node, x: Tensor, scale: Value, bias: Value) -> Tensor:
    """Returns a GroupNormalization; before version 21 there is a scale for each group, not for each channel."""
    groups = node.get("num_groups")
    x = in_order(b, x, [1])
    if 0 < node.version < 21 and is_number(x.dims[1]):
        each = int(x.dims[1]) // groups
        scale, bias = (v if isinstance(v, Tensor) else np.repeat(b.numbers(np.asarray(v)), each) for v in (scale, bias))
    return _by_groups(b, node, x, groups, scale, bias)


@operator("GroupNormalization", newest=0, domain=PATTERN)
def groups_in_pieces(
    b: Builder, node: Node, x: Tensor, shape: Value, scale: Value | None = None, bias: Value | None = None
) -> Tensor:
    """Returns a GroupNormalization of what others write as an InstanceNormalization between two Reshapes."""
    groups = node.get("num_groups")
    if _is_by_channels(b, x, groups, shape, [each for each in (scale, bias) if each is not None]):
        scale, bias = (None if each is None else np.asarray(each).reshape(-1) for each in (scale, bias))
        return _by_groups(b, node, in_order(b, x, [1]), groups, scale, bias)
    rows = reshape(b, node, x, np.array([node.get("batch"), groups, -1]))
    found: Tensor = reshape(b, node, _by_groups(b, node, rows, -1), shape)
    found = found if scale is None else mul(b, node, found, scale)
    return found if bias is None else add(b, node, found, bias)


def _is_by_channels(b: Builder, x: Tensor, groups: int, shape: Value, arrays: Sequence[Value]) -> bool:
    """Returns whether a tensor normalized in groups becomes what it was, and arrays have a number for each channel."""
    if x.rank < 3 or isinstance(shape, Tensor) or not is_number(x.dims[1]) or int(x.dims[1]) % groups:
        return False
    sizes = wanted_sizes(b, x, shape)
    return (
        len(sizes) == x.rank
        and all(map(same, sizes, x.dims))
        and all(np.asarray(each).shape[1 - x.rank :] == (x.dims[1], *[1] * (x.rank - 2)) for each in arrays)
    )


def _by_groups(
    b: Builder, node: Node, x: Tensor, groups: int, scale: Value | None = None, bias: Value | None = None
) -> Tensor:
    if not is_number(x.dims[1]):
        raise Unsupported("the number of channels varies")
    x = _batch_first(b, x)
    given = {name: each for name, each in {"gamma": scale, "beta": bias}.items() if each is not None}
    return b.layer(
        layers.GroupNormalization, x, layout=x.layout, sizes=x.dims, weights=_of_channels(b, x, **given),
        groups=groups, axis=_last_or(x.layout.axis(1), x.rank), epsilon=_number(node, "epsilon", 1e-5),
        scale=scale is not None, center=bias is not None,
    )  # fmt: skip


@operator("LayerNormalization", newest=17)
def layer_normalization(
    b: Builder, node: Node, x: Tensor, scale: Value | None = None, bias: Value | None = None
) -> Any:
    """Returns a LayerNormalization, and the mean and the inverse of the deviation where they are wanted."""
    axes = list(range(node.get("axis", -1) % x.rank, x.rank))
    found = _over_axes(b, node, x, axes, scale, bias)
    return (found, *_statistics(b, node, x, axes)) if any(node.outputs[1:]) else found


@operator("LayerNormalization", newest=0, domain=PATTERN)
def layer_in_pieces(b: Builder, node: Node, x: Tensor, scale: Value | None = None, bias: Value | None = None) -> Tensor:
    """Returns a LayerNormalization over axes that may be any."""
    return _over_axes(b, node, x, sorted({each % x.rank for each in node.get("axes")}), scale, bias)


def _over_axes(
    b: Builder, node: Node, x: Tensor, axes: Sequence[int], scale: Value | None, bias: Value | None
) -> Tensor:
    gamma, beta = _over(b, x, axes, scale), _over(b, x, axes, bias)
    beta = None if gamma is None and scale is not None else beta  # the offset comes behind the scale
    weights = {name: each for name, each in {"gamma": gamma, "beta": beta}.items() if each is not None}
    found = b.layer(
        layers.LayerNormalization, x, layout=x.layout, sizes=x.dims, weights=weights, axis=_places(x, axes),
        epsilon=_number(node, "epsilon", 1e-5), scale=gamma is not None, center=beta is not None,
    )  # fmt: skip
    if gamma is None and scale is not None:
        found = mul(b, node, found, scale)
    if beta is None and bias is not None:
        found = add(b, node, found, bias)
    return found


def _over(b: Builder, x: Tensor, axes: Sequence[int], value: Value | None) -> Array | None:
    """Returns a weight as a layer has it that normalizes over axes; None where it is of other sizes, or no weight."""
    if value is None or isinstance(value, Tensor):
        return None
    array = b.numbers(np.asarray(value))
    if array.ndim > x.rank:
        return None
    array = array.reshape((1,) * (x.rank - array.ndim) + array.shape)
    if any(size != (x.dims[axis] if axis in axes else 1) for axis, size in enumerate(array.shape)):
        return None
    array = array.reshape([array.shape[axis] for axis in axes])
    for place, axis in enumerate(axes):
        if shuffle := x.layout.shuffle(axis):
            array = array.take(shuffle, axis=place)
    return np.asarray(array.transpose(np.argsort([x.layout.axis(axis) for axis in axes])))


def _places(x: Tensor, axes: Sequence[int]) -> int | list[int]:
    places = sorted(x.layout.axis(axis) for axis in axes)
    return places if len(places) > 1 else _last_or(places[0], x.rank)


def _statistics(b: Builder, node: Node, x: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
    stash = _STASH[node.get("stash_type", 1)]
    x = in_order(b, cast(b, x, stash), axes)
    over: dict[str, Any] = {"axis": sorted(x.layout.axis(axis) for axis in axes), "keepdims": True, "layout": x.layout}
    over["sizes"] = [1 if axis in axes else each for axis, each in enumerate(x.dims)]
    mean = b.function(ops.mean, x, suffix="mean", **over)
    spread = b.function(ops.var, x, suffix="variance", is_positive=True, **over)
    moved = mapped(b, ops.add, spread, _number(node, "epsilon", 1e-5), suffix="moved")
    return mean, mapped(b, ops.rsqrt, moved, suffix="inverse", is_positive=True)


@operator("RMSNormalization", newest=23)
def rms_normalization(b: Builder, node: Node, x: Tensor, scale: Value | None = None) -> Tensor:
    """Returns an RMSNormalization over the last axes."""
    axes = list(range(node.get("axis", -1) % x.rank, x.rank))
    places, kind = sorted(x.layout.axis(axis) for axis in axes), x.dtype
    if places != list(range(x.rank - len(axes), x.rank)):
        x = b.plain(x)
    epsilon, gamma = _number(node, "epsilon", 1e-5), _over(b, x, axes, scale)
    if gamma is not None:
        found = b.layer(
            layers.RMSNormalization, x, layout=x.layout, sizes=x.dims, axis=_places(x, axes), epsilon=epsilon
        )
        found.keras._keras_history.operation.scale.assign(gamma)  # the layer takes no initializer
        return cast(b, found, kind)
    places = sorted(x.layout.axis(axis) for axis in axes)
    found = mapped(b, ops.rms_normalization, x, axis=places, epsilon=epsilon)
    return found if scale is None else mul(b, node, found, scale)


@operator("MeanVarianceNormalization", newest=13)
def mean_variance_normalization(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a tensor less its mean, and over its deviation, over any axes: the batch too, as a rule."""
    axes = sorted({axis % x.rank for axis in node.get("axes") or [0, 2, 3]})
    over: dict[str, Any] = {"axis": sorted(x.layout.axis(axis) for axis in axes), "keepdims": True}
    layout = Layout(x.layout.order, tuple(each for each in x.layout.shuffles if each[0] not in axes))
    over |= {"layout": layout, "sizes": [1 if axis in axes else each for axis, each in enumerate(x.dims)]}
    centred = mapped(b, ops.subtract, x, b.function(ops.mean, x, suffix="mean", **over), suffix="centred")
    deviation = b.function(ops.std, x, suffix="deviation", is_positive=True, **over)
    return mapped(b, ops.divide, centred, mapped(b, ops.add, deviation, 1e-9, suffix="moved"))


# --- along an axis ---


@operator("LRN", newest=13)
def local_response_normalization(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a LocalResponseNormalization, a layer of ours."""
    return _by_channels_around(b, node, b.channels_last(x))


@operator("LRN", newest=0, domain=PATTERN)
def local_response_in_pieces(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns the same of what PyTorch writes, which counts the odd channel of an even number before, not behind."""
    layout = Layout.channels_last(x.rank)
    if node.get("is_mirrored"):
        if not is_number(x.dims[1]):
            raise Unsupported("the number of channels varies")
        layout = layout.with_shuffle(1, range(int(x.dims[1]))[::-1])
    return _by_channels_around(b, node, b.arranged(x, layout))


def _by_channels_around(b: Builder, node: Node, x: Tensor) -> Tensor:
    usual = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    config: dict[str, Any] = {name: _number(node, name, each) for name, each in usual.items()}
    kind, layout = LocalResponseNormalization, x.layout
    return b.layer(kind, x, layout=layout, sizes=x.dims, is_positive=x.is_positive, size=node.get("size"), **config)


@operator("LpNormalization", newest=22)
def lp_normalization(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a UnitNormalization, or what divides by the sum of all magnitudes."""
    axis, order = node.get("axis", -1) % x.rank, node.get("p", 2)
    place = _last_or(x.layout.axis(axis), x.rank)
    if order == 2:
        return b.layer(
            layers.UnitNormalization, x, layout=x.layout, sizes=x.dims, is_positive=x.is_positive, axis=place
        )
    if order != 1:
        raise Unsupported(f"its power is {order}; 1 and 2 are known")
    kept: dict[str, Any] = {"layout": x.layout.with_shuffle(axis, None), "keepdims": True, "suffix": "total"}
    kept["sizes"] = [1 if at == axis else each for at, each in enumerate(x.dims)]
    total = b.function(ops.sum, mapped(b, ops.abs, x, suffix="abs"), axis=place, **kept)
    return mapped(b, ops.divide_no_nan, x, total, is_positive=x.is_positive)


# --- a learned slope ---


@operator("PRelu", newest=16)
def prelu(b: Builder, node: Node, x: Tensor, slope: Value) -> Tensor:
    """Returns a PReLU, whose slopes are shared along axes; a function where they are computed."""
    if not isinstance(slope, Tensor):
        slope = b.numbers(np.asarray(slope))
        if 0 < node.version < 7 and slope.ndim == 1:  # which has a slope for each channel
            slope = slope.reshape(-1, *[1] * (x.rank - 2))
        slope = slope.reshape((1,) * (x.rank - slope.ndim) + slope.shape)
        if is_float(x.dtype) and x.rank > 1 and slope.shape[0] == 1:
            return _prelu(b, _batch_first(b, x), slope)
    is_low = mapped(b, ops.less, x, 0.0 if is_float(x.dtype) else 0, suffix="is_low")
    return combined(b, ops.where, is_low, combined(b, ops.multiply, x, slope, suffix="line"), x)


def _prelu(b: Builder, x: Tensor, slope: Array) -> Tensor:
    alpha = x.layout.arrange(slope)[0]
    shared = [place for place, each in enumerate(alpha.shape, start=1) if each == 1]
    return b.layer(
        layers.PReLU, x, layout=x.layout, sizes=x.dims, is_positive=x.is_positive, weights={"alpha": alpha},
        shared_axes=shared or None,
    )  # fmt: skip
