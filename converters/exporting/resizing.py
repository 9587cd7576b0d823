"""UpSampling and Resampling layers as the Resize of ONNX, which works on what lies channels first.

Definition: https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from zoo.converters.exporting.net import Dims, Net, Op
from zoo.converters.exporting.putting import Putter, channels_first
from zoo.converters.importing.resampling import Rule, resized

# TensorFlow's bicubic curve, in which what lies outside of a picture does not count.
_CUBIC = {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}
_WAYS: dict[str, dict[str, Any]] = {
    "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    "bicubic": {**_CUBIC, "coordinate_transformation_mode": "half_pixel"},
}
# Of those that a Resampling may have, what onnxruntime has in all sets of operators that are written.
_COORDINATES = {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"}
_ROUNDINGS = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}


# --- whole factors ---


def is_upsampling(layer: Any, x: Any) -> bool:
    """Returns whether an UpSampling is of a kind that ONNX has, for numbers of the type that it computes in."""
    return _way(layer) in _WAYS and x.dtype.name == layer.compute_dtype and x.dtype in (tf.float32, tf.float16)


def _way(layer: Any) -> str:
    return str(getattr(layer, "interpolation", "nearest"))


def _factors(layer: Any) -> list[int]:
    return [int(each) for each in np.atleast_1d(layer.size)]


def _order(layer: Any, rank: int) -> list[int]:
    return channels_first(rank, 1 if getattr(layer, "data_format", None) == "channels_first" else -1)


def upsampled_sizes(layer: Any, x: Any) -> list[Dims]:
    """Returns the sizes of what an UpSampling puts out."""
    factors = dict(zip(_order(layer, len(x.shape))[2:], _factors(layer), strict=True))
    return [tuple(None if each is None else each * factors.get(axis, 1) for axis, each in enumerate(x.shape))]


def write_upsampling(net: Net, op: Op, layer: Any, given: dict[str, str]) -> list[Op]:
    """Returns a Resize."""
    put = Putter(net, op)
    order = _order(layer, len(net.dims[given["x"]]))
    scales = net.constant(np.array([1, 1, *_factors(layer)], np.float32), f"{put.scope}/scales")
    dims = tuple(net.dims[op.outputs[0]][axis] for axis in order)
    inputs = [put.moved(given["x"], order), "", scales]
    put.last(put("Resize", inputs, dims, **_WAYS[_way(layer)]), order)
    return put.ops


# --- as ONNX has it ---


def is_resampling(layer: Any, x: Any) -> bool:
    """Returns whether a Resampling, of pictures or the like, is one that onnxruntime has, by factors that are known."""
    rule, rank = Rule(**layer.rule), len(x.shape)
    plain = (
        not rule.is_antialiased
        and rule.coordinates in _COORDINATES
        and rule.rounding in _ROUNDINGS
        and (rule.mode in ("nearest", "linear") or (rule.mode == "cubic" and rank == 4))
        and x.dtype == tf.float32
        and 2 < rank < 6
    )
    return plain and all(each["scale"] and 0 < each["axis"] < rank - 1 for each in layer.axes)


def resampled_sizes(layer: Any, x: Any) -> list[Dims]:
    """Returns the sizes of what a Resampling puts out."""
    sizes = list(x.shape)
    for each in layer.axes:
        have = sizes[each["axis"]]
        sizes[each["axis"]] = None if have is None else resized(have, each["scale"])
    return [tuple(sizes)]


def write_resampling(net: Net, op: Op, layer: Any, given: dict[str, str]) -> list[Op]:
    """Returns a Resize."""
    put, rule = Putter(net, op), Rule(**layer.rule)
    order = channels_first(len(net.dims[given["x"]]), -1)
    factors = {each["axis"]: each["scale"] for each in layer.axes}
    numbers = np.array([factors.get(axis, 1) for axis in order], np.float32)
    scales = net.constant(numbers, f"{put.scope}/scales")
    attributes: dict[str, Any] = {"mode": rule.mode, "coordinate_transformation_mode": rule.coordinates}
    if rule.mode == "nearest":
        attributes["nearest_mode"] = rule.rounding
    if rule.mode == "cubic":
        attributes |= {"cubic_coeff_a": rule.cubic_a, "exclude_outside": int(rule.excludes_outside)}
    dims = tuple(net.dims[op.outputs[0]][axis] for axis in order)
    put.last(put("Resize", [put.moved(given["x"], order), "", scales], dims, **attributes), order)
    return put.ops
