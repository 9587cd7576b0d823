"""Conv and ConvTranspose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from keras import layers
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import PATTERN, Node
from zoo.converters.importing.map_layers import Spread
from zoo.converters.importing.operators.indexing import cut
from zoo.converters.importing.operators.operands import sized
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import Array, Layout, Tensor, Value, is_number

_CONVOLUTIONS = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}
_DEPTHWISE = {1: layers.DepthwiseConv1D, 2: layers.DepthwiseConv2D}
_TRANSPOSED = {1: layers.Conv1DTranspose, 2: layers.Conv2DTranspose, 3: layers.Conv3DTranspose}
_CROPPING = {1: layers.Cropping1D, 2: layers.Cropping2D, 3: layers.Cropping3D}
_SEPARABLE = {1: layers.SeparableConv1D, 2: layers.SeparableConv2D}
_ZERO_PADDING = {1: layers.ZeroPadding1D, 2: layers.ZeroPadding2D, 3: layers.ZeroPadding3D}


@operator("Conv", newest=22)
def conv(b: Builder, node: Node, x: Tensor, w: Value, bias: Value | None = None) -> Tensor:
    """Returns a convolution: of depth where each channel has kernels of its own."""
    if isinstance(w, Tensor) or isinstance(bias, Tensor):
        raise Unsupported("its kernel is computed from the input, and is no weight")
    w = b.numbers(w)
    places = w.ndim - 2
    if places not in _CONVOLUTIONS:
        raise Unsupported(f"it convolves over {places} axes; Keras has layers for 1 to 3")
    groups, channels = node.get("group", 1), w.shape[1]
    strides = node.get("strides") or [1] * places
    dilations = node.get("dilations") or [1] * places
    shuffle = x.layout.shuffle(1) if groups == 1 else None
    if shuffle:  # channels that lie in another order stay so: the kernel takes them as they are
        w = w[:, list(shuffle)]
    x = b.arranged(x, Layout.channels_last(x.rank).with_shuffle(1, shuffle))
    x, padding = padded(b, node, x, w.shape[2:], strides, dilations)
    x = sized(b, x, 1, channels * groups)
    if _is_thinned(strides, dilations):
        every = replace(node, attributes={"group": groups, "dilations": dilations})
        return _thinned(b, conv(b, every, x, w, bias), strides)
    settings: dict[str, Any] = {"kernel_size": w.shape[2:], "strides": strides, "padding": padding}
    settings["dilation_rate"] = dilations
    weights = {} if bias is None else {"bias": b.numbers(bias)}
    is_deep = groups == x.dims[1] and channels == 1 and groups > 1 and places in _DEPTHWISE
    if is_deep and _is_plain(strides, dilations):
        weights["depthwise"] = _of_depth(w, groups)
        return b.layer(
            _DEPTHWISE[places], x, layout=Layout.channels_last(x.rank), weights=weights,
            depth_multiplier=w.shape[0] // groups, use_bias=bias is not None, **settings,
        )  # fmt: skip
    kernel = np.moveaxis(w, (1, 0), (-2, -1))
    return b.layer(
        _CONVOLUTIONS[places], x, layout=Layout.channels_last(x.rank), weights={"kernel": kernel, **weights},
        filters=w.shape[0], groups=groups, use_bias=bias is not None, **settings,
    )  # fmt: skip


@operator("SeparableConv", newest=0, domain=PATTERN)
def separable_convolution(
    b: Builder, node: Node, x: Tensor, deep: Array, points: Array, bias: Value | None = None
) -> Tensor:
    """Returns a convolution of depth, and of points behind it, as one layer."""
    places, groups = deep.ndim - 2, node.get("group", 1)
    strides, dilations = node.get("strides") or [1] * places, node.get("dilations") or [1] * places
    x = sized(b, x, 1, groups)
    x, padding = padded(b, node, b.channels_last(x), deep.shape[2:], strides, dilations)
    weights = {"depthwise": _of_depth(deep, groups), "pointwise": np.moveaxis(points, (1, 0), (-2, -1))}
    if bias is not None:
        weights["bias"] = b.numbers(np.asarray(bias))
    return b.layer(
        _SEPARABLE[places], x, layout=Layout.channels_last(x.rank), weights=weights, filters=points.shape[0],
        kernel_size=deep.shape[2:], strides=strides, padding=padding, dilation_rate=dilations,
        depth_multiplier=deep.shape[0] // groups, use_bias=bias is not None,
    )  # fmt: skip


def _of_depth(kernel: Array, groups: int) -> Array:
    """Returns [channels * multiplier, 1, ...] of ONNX as Keras has it, [..., channels, multiplier]."""
    return np.moveaxis(kernel[:, 0].reshape(groups, -1, *kernel.shape[2:]), (0, 1), (-2, -1))


def _is_plain(strides: Sequence[int], dilations: Sequence[int]) -> bool:
    """Returns whether TensorFlow has a kernel for a convolution of depth: with one stride, or dilations, not both."""
    return len(set(strides)) == 1 and (max(strides) == 1 or max(dilations) == 1)


def _is_thinned(strides: Sequence[int], dilations: Sequence[int]) -> bool:
    """Returns whether a convolution goes on in steps, over places that lie apart: Keras does one of both."""
    return max(strides) > 1 and max(dilations) > 1


def _thinned(b: Builder, x: Tensor, strides: Sequence[int]) -> Tensor:
    """Returns every so many places of feature maps, along each axis."""
    parts = {axis: slice(None, None, step) for axis, step in enumerate(strides, start=2) if step > 1}
    steps = (1, 1, *strides)
    sizes = [-(-int(each) // step) if is_number(each) else None for each, step in zip(x.dims, steps, strict=True)]
    return cut(
        b, x, parts, [each if step == 1 else size for each, size, step in zip(x.dims, sizes, steps, strict=True)]
    )


def padded(
    b: Builder, node: Node, x: Tensor, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[Tensor, str]:
    """Returns what a convolution is to read, and its padding in Keras' words: "same" where that is exactly it."""
    spatial = x.dims[2:]
    extents = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    kind = node.get("auto_pad", "NOTSET")
    # TensorFlow begins elsewhere where it steps over places of volumes.
    is_exact = len(kernel) < 3 or all(size >= step for size, step in zip(extents, strides, strict=True))
    has_same = is_exact and not _is_thinned(strides, dilations)
    if kind == "SAME_UPPER" and has_same:
        return x, "same"
    before, after = pads_of(node, spatial, extents, strides)
    if not any(before) and not any(after):
        return x, "valid"
    if has_same and all(
        same_pads(size, extent, stride) == (low, high)
        for size, extent, stride, low, high in zip(spatial, extents, strides, before, after, strict=True)
    ):
        return x, "same"
    return zero_padded(b, x, before, after), "valid"


def zero_padded(b: Builder, x: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """Returns a tensor of feature maps, `channels_last`, with zeros around each."""
    if min(*before, *after) < 0:
        raise Unsupported(f"its pads are negative: {before}, {after}")
    pads = list(zip(before, after, strict=True))
    return b.layer(
        _ZERO_PADDING[len(pads)], x, layout=x.layout, suffix="pad", is_positive=x.is_positive,
        padding=pads[0] if len(pads) == 1 else pads,
    )  # fmt: skip


def pads_of(
    node: Node, spatial: Sequence[Any], extents: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Returns how many places a node pads before and after each axis."""
    kind, places = node.get("auto_pad", "NOTSET"), len(extents)
    if kind in ("NOTSET", ""):
        pads = node.get("pads") or [0] * 2 * places
        return list(pads[:places]), list(pads[places:])
    if kind == "VALID":
        return [0] * places, [0] * places
    found = [same_pads(*each) for each in zip(spatial, extents, strides, strict=True)]
    if None in found:
        raise Unsupported(f"it pads by {kind}, which depends on sizes that vary")
    before, after = [low for low, _ in found if True], [high for _, high in found]  # type: ignore[misc]
    return (after, before) if kind == "SAME_LOWER" else (before, after)


def same_pads(size: Any, extent: int, stride: int) -> tuple[int, int] | None:
    """Returns what "same" pads before and after an axis; None where that depends on a size that varies.

    >>> same_pads(112, 3, 2), same_pads(7, 3, 1)
    ((0, 1), (1, 1))
    """
    if not is_number(size):
        return ((extent - 1) // 2, extent // 2) if stride == 1 else None
    total = max(0, (-(-int(size) // stride) - 1) * stride + extent - int(size))
    return total // 2, total - total // 2


def as_list(array: Array) -> list[int]:
    """Returns the whole numbers of an array."""
    return [int(each) for each in np.asarray(array).reshape(-1)]


# --- ConvTranspose ---


@operator("ConvTranspose", newest=22)
def conv_transpose(b: Builder, node: Node, x: Tensor, w: Value, bias: Value | None = None) -> Tensor:
    """Returns a transposed convolution; with groups or dilations, a convolution of places that lie apart."""
    if isinstance(w, Tensor) or isinstance(bias, Tensor):
        raise Unsupported("its kernel is computed from the input, and is no weight")
    w = b.numbers(w)
    places, groups = w.ndim - 2, node.get("group", 1)
    if places not in _TRANSPOSED:
        raise Unsupported(f"it convolves over {places} axes; Keras has layers for 1 to 3")
    strides = node.get("strides") or [1] * places
    dilations = node.get("dilations") or [1] * places
    extents = [(size - 1) * dilation + 1 for size, dilation in zip(w.shape[2:], dilations, strict=True)]
    x, cuts = sized(b, b.channels_last(x), 1, w.shape[0]), _cuts(node, x.dims[2:], extents, strides)
    if groups > 1 or max(dilations) > 1:
        return _spread(b, node, x, w, bias, cuts)
    x, cuts = _widened(b, x, cuts, strides)
    is_same = all(
        extent >= stride and cut == ((extent - stride) // 2, (extent - stride + 1) // 2)
        for cut, extent, stride in zip(cuts, extents, strides, strict=True)
    )
    more = [max(0, -after) for _, after in cuts]
    is_usual = is_same or all(m == max(0, s - e) for m, e, s in zip(more, extents, strides, strict=True))
    found = b.layer(
        _TRANSPOSED[places], x, layout=x.layout, weights={"kernel": np.moveaxis(w, (1, 0), (-2, -1))}
        | ({} if bias is None else {"bias": b.numbers(bias)}), filters=w.shape[1], use_bias=bias is not None,
        kernel_size=w.shape[2:], strides=strides, padding="same" if is_same else "valid",
        output_padding=None if is_usual else more[0] if places == 1 else more,
    )  # fmt: skip
    return found if is_same else _cropped(b, found, [(low, max(0, high)) for low, high in cuts])


def _cuts(node: Node, spatial: Sequence[Any], extents: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Returns how much of all that a transposed convolution makes is cut off before and behind each axis.

    What `output_padding` adds counts as less that is cut off behind; below zero, there is more than it makes.
    """
    places = len(extents)
    more, kind = node.get("output_padding") or [0] * places, node.get("auto_pad", "NOTSET")
    wanted = node.get("output_shape")
    if not wanted and kind in ("NOTSET", "", "VALID"):
        pads = node.get("pads") if kind != "VALID" else None
        pads = pads or [0] * 2 * places
        return [(pads[axis], pads[axis + places] - more[axis]) for axis in range(places)]
    if wanted and not all(map(is_number, spatial)):
        raise Unsupported("it says what sizes come out, and those that go in vary")
    found = []
    for axis, (extent, stride) in enumerate(zip(extents, strides, strict=True)):
        total = extent + more[axis] - stride
        if wanted:
            total += stride * int(spatial[axis]) - wanted[axis - places]
        low, high = max(0, total) // 2, max(0, total) - max(0, total) // 2
        before, after = (low, high) if kind == "SAME_UPPER" else (high, low)
        short = min(0, total) if wanted else 0  # by sizes that are told; "same" leaves what is shorter than a stride
        found.append((before, after + short - more[axis]))
    return found


def _widened(
    b: Builder, x: Tensor, cuts: Sequence[tuple[int, int]], strides: Sequence[int]
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Returns feature maps with zeros behind them, so that a transposed convolution makes as much as is wanted."""
    short = [max(0, -(-(-after - (stride - 1)) // stride)) for (_, after), stride in zip(cuts, strides, strict=True)]
    if any(short):
        x = zero_padded(b, x, [0] * len(short), short)
    return x, [
        (before, after + places * stride) for (before, after), places, stride in zip(cuts, short, strides, strict=True)
    ]


def _spread(b: Builder, node: Node, x: Tensor, w: Array, bias: Value | None, cuts: Sequence[tuple[int, int]]) -> Tensor:
    """Returns the same as a convolution: by the kernel turned around, of places that lie apart by the strides."""
    groups, places = node.get("group", 1), w.ndim - 2
    strides, dilations = node.get("strides") or [1] * places, node.get("dilations") or [1] * places
    if max(strides) > 1:
        x = b.layer(Spread, x, layout=x.layout, is_positive=x.is_positive, suffix="spread", strides=strides)
    reach = [(size - 1) * dilation for size, dilation in zip(w.shape[2:], dilations, strict=True)]
    around = [(each - before, each - after) for each, (before, after) in zip(reach, cuts, strict=True)]
    x = _cropped(b, x, [(max(0, -low), max(0, -high)) for low, high in around], suffix="crop")
    pads = [max(0, low) for low, _ in around] + [max(0, high) for _, high in around]
    kernel = w.reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2)  # [group, out, in, ...]
    kernel = np.flip(kernel.reshape(-1, *kernel.shape[2:]), tuple(range(2, w.ndim)))
    meaning = replace(node, attributes={"group": groups, "dilations": dilations, "pads": pads})
    return conv(b, meaning, x, kernel, bias)  # type: ignore[no-any-return]


def _cropped(b: Builder, x: Tensor, cuts: Sequence[tuple[int, int]], suffix: str = "crop") -> Tensor:
    if not any(map(any, cuts)):
        return x
    cropping: Any = cuts[0] if len(cuts) == 1 else list(cuts)
    kind = _CROPPING[len(cuts)]
    return b.layer(kind, x, layout=x.layout, suffix=suffix, is_positive=x.is_positive, cropping=cropping)
