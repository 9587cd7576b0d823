"""LayerNormalization, GroupNormalization and UnitNormalization as ONNX has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from zoo.converters.exporting.layer_operators import is_float
from zoo.converters.exporting.net import Net, Op
from zoo.converters.exporting.putting import Putter, channels_first


def affine_weights(layer: Any) -> dict[str, Any]:
    """Returns the scale and the offset of a layer, as far as it has them."""
    return {name: getattr(layer, name) for name in ("gamma", "beta") if getattr(layer, name) is not None}


# --- over the last axes ---


def is_over_last_axes(layer: Any, x: Any) -> bool:
    """Returns whether a LayerNormalization is over the last axes, as the operator is."""
    axes, rank = _axes(layer, len(x.shape)), len(x.shape)
    return is_float(layer, x) and not layer.rms_scaling and axes == list(range(rank - len(axes), rank))


def _axes(layer: Any, rank: int) -> list[int]:
    return sorted(axis % rank for axis in np.atleast_1d(layer.axis).tolist())


def write_layer_normalization(net: Net, op: Op, layer: Any, given: dict[str, str]) -> list[Op]:
    """Returns a LayerNormalization; a scale that the layer does not have is one, for ONNX has it always."""
    count = len(np.atleast_1d(layer.axis))
    sizes = tuple(each or 1 for each in net.dims[given["x"]][-count:])
    scale = given.get("gamma") or net.constant(np.ones(sizes, np.float32), f"{op.name}/ones")
    inputs = [given["x"], scale, *([given["beta"]] if "beta" in given else [])]
    return [Op("LayerNormalization", op.name, inputs, op.outputs).put(axis=-count, epsilon=float(layer.epsilon))]


# --- over groups of channels ---


def is_over_groups(layer: Any, x: Any) -> bool:
    """Returns whether a GroupNormalization has more than channels to normalize."""
    return is_float(layer, x) and len(x.shape) > 2


def write_group_normalization(net: Net, op: Op, layer: Any, given: dict[str, str]) -> list[Op]:
    """Returns an InstanceNormalization of groups, or of channels: ONNX has no better before 21."""
    put = Putter(net, op)
    dims = net.dims[given["x"]]
    order = channels_first(len(dims), layer.axis)
    x = put.moved(given["x"], order)
    channels, groups, epsilon = net.dims[x][1], int(layer.groups), float(layer.epsilon)
    one, zero = (net.constant(np.full(groups, each, np.float32), f"{put.scope}/number") for each in (1, 0))
    if groups == channels:
        scale, offset = given.get("gamma", one), given.get("beta", zero)
        found = put("InstanceNormalization", [x, scale, offset], net.dims[x], epsilon=epsilon)
    else:
        rows = put("Reshape", [x, put.numbers(0, groups, -1)], (dims[0], groups, None))
        found = put("InstanceNormalization", [rows, one, zero], net.dims[rows], epsilon=epsilon)
        found = _affine(put, put("Reshape", [found, put.sizes_of(x)], net.dims[x]), given)
    put.last(found, order)
    return put.ops


def _affine(put: Putter, x: str, given: dict[str, str]) -> str:
    """Returns a scaled and moved value of [batch, channels, ...]."""
    dims = put.net.dims[x]
    for role, operator in (("gamma", "Mul"), ("beta", "Add")):
        if role in given:
            array = put.net.constants[given[role]].reshape(-1, *[1] * (len(dims) - 2))
            x = put(operator, [x, put.net.constant(array, given[role])], dims)
    return x


# --- to length 1 ---


def is_along_one_axis(layer: Any, x: Any) -> bool:
    """Returns whether a UnitNormalization is along one axis, as the operator is."""
    return is_float(layer, x) and np.size(layer.axis) == 1


def write_unit_normalization(net: Net, op: Op, layer: Any, given: dict[str, str]) -> list[Op]:
    """Returns an LpNormalization."""
    (axis,) = np.atleast_1d(layer.axis).tolist()
    return [Op("LpNormalization", op.name, [given["x"]], op.outputs).put(axis=axis, p=2)]
