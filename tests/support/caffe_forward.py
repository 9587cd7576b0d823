"""What the layers of Caffe compute, by its own rules, in NumPy and double precision: the judge of the converter.

Written from Caffe's rules, with loops where they say the rule best; nothing of the converter is used here. Messages are
`LayerParameter`s of any class that has Caffe's field names.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def outputs(layer: Any, blobs: list[Any], bottoms: list[Any]) -> list[Any]:
    """Returns the tops of one layer."""
    rule = _RULES.get(layer.type)
    assert rule, f"no rule for {layer.type}"
    found = rule(layer, blobs, *bottoms)
    return found if isinstance(found, list) else [found]


def _pair(given: Any, name: str, short: str, usual: int) -> tuple[int, int]:
    for_axes = [f"{short}_h", f"{short}_w"]
    if all(hasattr(given, each) for each in for_axes) and any(given.HasField(each) for each in for_axes):
        return getattr(given, for_axes[0]), getattr(given, for_axes[1])
    told = getattr(given, name)
    told = [told] if isinstance(told, int) else list(told) or [usual]
    return (told[0], told[0]) if len(told) == 1 else (told[0], told[1])


def _windows(given: Any) -> Any:
    return [
        _pair(given, "kernel_size", "kernel", 0), _pair(given, "stride", "stride", 1), _pair(given, "pad", "pad", 0),
        _pair(given, "dilation", "dilation", 1) if hasattr(given, "dilation") else (1, 1),
    ]  # fmt: skip


def convolution(layer: Any, blobs: list[Any], x: Any) -> Any:
    given = layer.convolution_param
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = _windows(given)
    group = given.group if layer.type != "DepthwiseConvolution" else x.shape[1]
    n, channels, h, w = x.shape
    count = given.num_output
    wide = np.zeros((n, channels, h + 2 * ph, w + 2 * pw))
    wide[:, :, ph : ph + h, pw : pw + w] = x
    oh, ow = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    kernel = blobs[0].reshape(count, channels // group, kh, kw)
    out = np.zeros((n, count, oh, ow))
    ins, outs = channels // group, count // group
    for g in range(group):
        for i in range(kh):
            for j in range(kw):
                part = wide[:, g * ins : (g + 1) * ins, i * dh : i * dh + sh * oh : sh, j * dw : j * dw + sw * ow : sw]
                part = part[:, :, :oh, :ow]
                out[:, g * outs : (g + 1) * outs] += np.einsum(
                    "ncyx,oc->noyx", part, kernel[g * outs : (g + 1) * outs, :, i, j], optimize=True
                )
    return out + blobs[1].reshape(1, -1, 1, 1) if given.bias_term else out


def deconvolution(layer: Any, blobs: list[Any], x: Any) -> Any:
    given = layer.convolution_param
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = _windows(given)
    n, channels, h, w = x.shape
    count, group = given.num_output, given.group
    ins, outs = channels // group, count // group
    kernel = blobs[0].reshape(channels, outs, kh, kw)
    wide = np.zeros((n, count, sh * (h - 1) + dh * (kh - 1) + 1, sw * (w - 1) + dw * (kw - 1) + 1))
    for c in range(channels):
        first = c // ins * outs
        for y in range(h):
            for z in range(w):
                for i in range(kh):
                    for j in range(kw):
                        wide[:, first : first + outs, y * sh + i * dh, z * sw + j * dw] += (
                            x[:, c, y, z][:, None] * kernel[c, :, i, j]
                        )
    out = wide[:, :, ph : wide.shape[2] - ph, pw : wide.shape[3] - pw]
    return out + blobs[1].reshape(1, -1, 1, 1) if given.bias_term else out


def inner_product(layer: Any, blobs: list[Any], x: Any) -> Any:
    given = layer.inner_product_param
    axis = given.axis % x.ndim
    rows = x.reshape(*x.shape[:axis], -1)
    size = rows.shape[-1]
    kernel = blobs[0].reshape((size, given.num_output) if given.transpose else (given.num_output, size))
    out = rows @ (kernel if given.transpose else kernel.T)
    return out + blobs[1].ravel() if given.bias_term else out


def pooling(layer: Any, blobs: list[Any], x: Any) -> Any:
    given = layer.pooling_param
    n, channels, h, w = x.shape
    (kh, kw), (sh, sw), (ph, pw), _ = _windows(given)
    if given.global_pooling:
        kh, kw = h, w
    rounded = math.floor if given.round_mode == 1 else math.ceil
    oh, ow = int(rounded((h + 2 * ph - kh) / sh)) + 1, int(rounded((w + 2 * pw - kw) / sw)) + 1
    if ph or pw:
        oh -= (oh - 1) * sh >= h + ph
        ow -= (ow - 1) * sw >= w + pw
    out = np.zeros((n, channels, oh, ow))
    for y in range(oh):
        for z in range(ow):
            top, left = y * sh - ph, z * sw - pw
            bottom, right = min(top + kh, h + ph), min(left + kw, w + pw)
            size = (bottom - top) * (right - left)  # of an average: with the padding
            part = x[:, :, max(top, 0) : min(bottom, h), max(left, 0) : min(right, w)]
            out[:, :, y, z] = part.max((2, 3)) if given.pool == 0 else part.sum((2, 3)) / size
    return out


def lrn(layer: Any, blobs: list[Any], x: Any) -> Any:
    given = layer.lrn_param
    size, half = given.local_size, (given.local_size - 1) // 2
    out = np.empty_like(x)
    if given.norm_region == 0:
        for c in range(x.shape[1]):
            near = x[:, max(0, c - half) : c + half + 1]
            out[:, c] = x[:, c] * (given.k + given.alpha / size * (near**2).sum(1)) ** -given.beta
        return out
    for y in range(x.shape[2]):
        for z in range(x.shape[3]):
            near = x[:, :, max(0, y - half) : y + half + 1, max(0, z - half) : z + half + 1]
            mean = (near**2).sum((2, 3)) / size**2
            out[:, :, y, z] = x[:, :, y, z] * (1 + given.alpha * mean) ** -given.beta
    return out


def batch_norm(layer: Any, blobs: list[Any], x: Any) -> Any:
    factor = blobs[2].ravel()[0]
    factor = 0 if factor == 0 else 1 / factor
    shape = (1, -1, *[1] * (x.ndim - 2))
    mean, variance = (blobs[0] * factor).reshape(shape), (blobs[1] * factor).reshape(shape)
    return (x - mean) / np.sqrt(variance + layer.batch_norm_param.eps)


def _spread(given: Any, x: Any, blobs: list[Any], others: tuple[Any, ...], place: int = 0) -> Any:
    """Returns an array with the axes of x, of one element where it has none of its own."""
    axis = given.axis % x.ndim
    array = others[0] if others else blobs[0]
    own = x.ndim - axis if given.num_axes == -1 else given.num_axes
    count = others[0].ndim if others else own
    sizes = x.shape[axis : axis + count]
    return array.reshape(*[1] * axis, *sizes, *[1] * (x.ndim - axis - count))


def scale(layer: Any, blobs: list[Any], x: Any, *others: Any) -> Any:
    given = layer.scale_param
    out = x * _spread(given, x, blobs, others)
    if given.bias_term:
        at = blobs[-1]
        out = out + at.reshape(_spread(given, x, blobs, others).shape)
    return out


def bias(layer: Any, blobs: list[Any], x: Any, *others: Any) -> Any:
    return x + _spread(layer.bias_param, x, blobs, others)


def eltwise(layer: Any, blobs: list[Any], *bottoms: Any) -> Any:
    given = layer.eltwise_param
    if given.operation == 0:
        return np.prod(bottoms, 0)
    if given.operation == 2:
        return np.max(bottoms, 0)
    factors = list(given.coeff) or [1] * len(bottoms)
    return sum(factor * each for factor, each in zip(factors, bottoms, strict=True))


def concat(layer: Any, blobs: list[Any], *bottoms: Any) -> Any:
    given = layer.concat_param
    return np.concatenate(bottoms, given.concat_dim if given.HasField("concat_dim") else given.axis)


def slices(layer: Any, blobs: list[Any], x: Any) -> list[Any]:
    given = layer.slice_param
    axis = given.slice_dim if given.HasField("slice_dim") else given.axis
    return np.split(x, list(given.slice_point) or len(layer.top), axis)


def reshape(layer: Any, blobs: list[Any], x: Any) -> Any:
    given = layer.reshape_param
    start = given.axis if given.axis >= 0 else x.ndim + 1 + given.axis
    stop = x.ndim if given.num_axes == -1 else start + given.num_axes
    middle = [x.shape[start + place] if each == 0 else each for place, each in enumerate(given.shape.dim)]
    sizes = [*x.shape[:start], *middle, *x.shape[stop:]]
    return x.reshape(sizes)


def flatten(layer: Any, blobs: list[Any], x: Any) -> Any:
    start, stop = layer.flatten_param.axis % x.ndim, layer.flatten_param.end_axis % x.ndim
    return x.reshape(*x.shape[:start], -1, *x.shape[stop + 1 :])


def crop(layer: Any, blobs: list[Any], x: Any, like: Any) -> Any:
    given = layer.crop_param
    axis = given.axis % x.ndim
    offsets = list(given.offset) or [0]
    for place in range(axis, x.ndim):
        offset = offsets[0] if len(offsets) == 1 else offsets[place - axis]
        x = np.take(x, range(offset, offset + like.shape[place]), place)
    return x


def reduction(layer: Any, blobs: list[Any], x: Any) -> Any:
    given = layer.reduction_param
    rows = x.reshape(*x.shape[: given.axis % x.ndim], -1)
    found = {1: rows.sum(-1), 2: np.abs(rows).sum(-1), 3: (rows**2).sum(-1), 4: rows.mean(-1)}
    return given.coeff * found[given.operation]


def mvn(layer: Any, blobs: list[Any], x: Any) -> Any:
    given = layer.mvn_param
    axes = (1, 2, 3) if given.across_channels else (2, 3)
    x = x - x.mean(axes, keepdims=True)
    return x / (np.sqrt((x**2).mean(axes, keepdims=True)) + given.eps) if given.normalize_variance else x


def prelu(layer: Any, blobs: list[Any], x: Any) -> Any:
    slope = blobs[0] if layer.prelu_param.channel_shared else blobs[0].reshape(1, -1, *[1] * (x.ndim - 2))
    return np.maximum(x, 0) + slope * np.minimum(x, 0)


def power(layer: Any, blobs: list[Any], x: Any) -> Any:
    given = layer.power_param
    return (given.shift + given.scale * x) ** given.power


def exponential(layer: Any, blobs: list[Any], x: Any) -> Any:
    given = layer.exp_param
    return (math.e if given.base == -1 else given.base) ** (given.shift + given.scale * x)


def logarithm(layer: Any, blobs: list[Any], x: Any) -> Any:
    given = layer.log_param
    return np.log(given.shift + given.scale * x) / (1 if given.base == -1 else math.log(given.base))


def softmax(layer: Any, blobs: list[Any], x: Any) -> Any:
    axis = layer.softmax_param.axis
    large = np.exp(x - x.max(axis, keepdims=True))
    return large / large.sum(axis, keepdims=True)


def _elu(layer: Any, blobs: list[Any], x: Any) -> Any:
    return np.where(x > 0, x, layer.elu_param.alpha * (np.exp(np.minimum(x, 0)) - 1))


_RULES: dict[str, Any] = {
    "Convolution": convolution, "DepthwiseConvolution": convolution, "Deconvolution": deconvolution,
    "InnerProduct": inner_product, "Pooling": pooling, "LRN": lrn, "BatchNorm": batch_norm, "Scale": scale,
    "Bias": bias, "Eltwise": eltwise, "Concat": concat, "Slice": slices, "Reshape": reshape, "Flatten": flatten,
    "Crop": crop, "Reduction": reduction, "MVN": mvn, "PReLU": prelu, "Power": power, "Exp": exponential,
    "Log": logarithm, "Softmax": softmax, "ELU": _elu,
    "Split": lambda layer, blobs, x: [x] * len(layer.top),
    "Dropout": lambda layer, blobs, x: x,
    "ReLU": lambda layer, blobs, x: np.where(x > 0, x, layer.relu_param.negative_slope * x),
    "Sigmoid": lambda layer, blobs, x: 1 / (1 + np.exp(-x)),
    "TanH": lambda layer, blobs, x: np.tanh(x),
    "AbsVal": lambda layer, blobs, x: np.abs(x),
    "BNLL": lambda layer, blobs, x: np.log(1 + np.exp(x)),
    "Swish": lambda layer, blobs, x: x / (1 + np.exp(-layer.swish_param.beta * x)),
    "Clip": lambda layer, blobs, x: np.clip(x, layer.clip_param.min, layer.clip_param.max),
    "Tile": lambda layer, blobs, x: np.concatenate([x] * layer.tile_param.tiles, layer.tile_param.axis),
}  # fmt: skip
