"""Pools: layers of Keras where its padding is ONNX's, the same layers behind a padding, or a layer of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from keras import layers, ops
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import Node
from zoo.converters.importing.map_layers import WindowPooling, lowest_number
from zoo.converters.importing.operators.convolution import pads_of, same_pads, zero_padded
from zoo.converters.importing.operators.operands import mapped
from zoo.converters.importing.operators.reductions import reduction
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import Tensor, is_number

_MAXIMA = {1: layers.MaxPooling1D, 2: layers.MaxPooling2D, 3: layers.MaxPooling3D}
_AVERAGES = {1: layers.AveragePooling1D, 2: layers.AveragePooling2D, 3: layers.AveragePooling3D}
_FLOATS = ("float32", "float16", "float64", "bfloat16")


@dataclass(frozen=True)
class _Windows:
    """Over what a pool goes, along each axis.

    Attributes:
        pads: Pairs, before and behind; None where "same" pads and sizes vary.
        extra: How many places more `ceil_mode` takes behind, which are never counted.
        is_same: Whether pads and what is extra are what Keras calls "same".
    """

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...] | None
    extra: tuple[int, ...]
    is_same: bool

    @property
    def around(self) -> list[tuple[int, int]]:
        """Returns pairs: how many places must be put before and behind each axis.

        Raises:
            Unsupported: That varies.
        """
        if self.pads is None:
            raise Unsupported("its pads depend on sizes that vary")
        return [(low, high + more) for (low, high), more in zip(self.pads, self.extra, strict=True)]

    @property
    def is_bare(self) -> bool:
        """Returns whether nothing is put around."""
        return self.pads is not None and not any(map(any, self.around))

    def suits(self, kinds: dict[int, Any], x: Tensor) -> bool:
        """Returns whether Keras has a layer for such windows."""
        is_known = x.dtype in (_FLOATS if len(self.size) < 3 else ("float32",))  # of which TensorFlow has them all
        return len(self.size) in kinds and set(self.dilations) == {1} and is_known

    def config(self) -> dict[str, Any]:
        """Returns what the layers of Keras take."""
        return {"pool_size": self.size, "strides": self.strides}


def _windows(node: Node, x: Tensor) -> _Windows:
    size, places = tuple(node.get("kernel_shape")), x.rank - 2
    strides = tuple(node.get("strides") or [1] * places)
    dilations = tuple(node.get("dilations") or [1] * places)
    if node.get("auto_pad", "NOTSET").startswith("SAME") and (
        set(dilations) != {1} or any(map(int.__lt__, size, strides))
    ):
        raise Unsupported("it pads as it sees fit, and is dilated or leaves places out, which runtimes do differently")
    extents = [(each - 1) * dilation + 1 for each, dilation in zip(size, dilations, strict=True)]
    if node.get("auto_pad", "NOTSET") == "SAME_UPPER" and None in map(same_pads, x.dims[2:], extents, strides):
        return _Windows(size, strides, dilations, None, (0,) * places, is_same=True)
    pads = tuple(zip(*pads_of(node, x.dims[2:], extents, strides), strict=True))
    extra = (0,) * places
    if node.get("ceil_mode", 0) and not node.get("auto_pad", "NOTSET").startswith("SAME"):
        extra = tuple(map(_extra, x.dims[2:], extents, strides, pads))
    found = _Windows(size, strides, dilations, pads, extra, is_same=False)
    # In 3-D, TensorFlow's "same" begins elsewhere than ONNX's where windows leave places out.
    is_exact = not found.is_bare and (places < 3 or all(map(int.__ge__, extents, strides)))
    return replace(found, is_same=is_exact and found.around == list(map(same_pads, x.dims[2:], extents, strides)))


def _extra(size: Any, extent: int, stride: int, pads: tuple[int, int]) -> int:
    """Returns how many places rounding up takes behind an axis; no window begins behind the input and its first pads.

    >>> _extra(112, 3, 2, (0, 0)), _extra(113, 3, 2, (0, 0))
    (1, 0)
    """
    before, after = pads
    if not is_number(size):
        if stride > 1 and after + stride > extent:
            raise Unsupported("it rounds up how many windows there are, and sizes vary")
        return stride - 1  # which gives as many windows, whatever remains
    room = int(size) + before + after - extent
    windows = -(-room // stride) + 1
    if (windows - 1) * stride >= int(size) + before:
        windows -= 1
    return max(0, (windows - 1) * stride - room)


@operator("MaxPool", newest=22)
def max_pool(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a MaxPooling; pads are zeros where nothing is below zero, and the lowest number elsewhere."""
    if len(node.outputs) > 1 and node.outputs[1]:
        raise Unsupported("it puts out where the largest elements were")
    x, windows = b.channels_last(x), _windows(node, x)
    if not windows.suits(_MAXIMA, x):
        return _by_windows(b, x, windows, "max")
    padding = "same" if windows.is_same else "valid"
    if not windows.is_same and not windows.is_bare:
        x = _surrounded(b, x, windows.around)
    kind = _MAXIMA[len(windows.size)]
    return b.layer(kind, x, layout=x.layout, is_positive=x.is_positive, padding=padding, **windows.config())


def _surrounded(b: Builder, x: Tensor, around: Sequence[tuple[int, int]]) -> Tensor:
    """Returns a tensor with numbers around it that are larger than none."""
    if x.is_positive:
        return zero_padded(b, x, [low for low, _ in around], [high for _, high in around])
    widths = [(0, 0), *around, (0, 0)]
    return b.function(ops.pad, x, widths, constant_values=lowest_number(x.dtype), layout=x.layout, suffix="pad")


@operator("AveragePool", newest=22)
def average_pool(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns an AveragePooling; that of Keras does not count its own padding."""
    x, windows = b.channels_last(x), _windows(node, x)
    counts_pads = bool(node.get("count_include_pad", 0))
    settings = {"layout": x.layout, "is_positive": x.is_positive, **windows.config()}
    if windows.suits(_AVERAGES, x):
        kind = _AVERAGES[len(windows.size)]
        if windows.is_bare:
            return b.layer(kind, x, padding="valid", **settings)
        if windows.is_same and not counts_pads:
            return b.layer(kind, x, padding="same", **settings)
        if counts_pads and not any(windows.extra):
            around = windows.around
            x = zero_padded(b, x, [low for low, _ in around], [high for _, high in around])
            return b.layer(kind, x, padding="valid", **settings)
    return _by_windows(b, x, windows, "average", counted=windows.pads if counts_pads else None)


@operator("LpPool", newest=22)
def lp_pool(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns the norm of each window."""
    x, windows = b.channels_last(x), _windows(node, x)
    return _by_windows(b, x, windows, "norm", power=float(node.get("p", 2)))


def _by_windows(b: Builder, x: Tensor, windows: _Windows, pooling: str, **config: Any) -> Tensor:
    return b.layer(
        WindowPooling, x, layout=x.layout, is_positive=x.is_positive or pooling == "norm", pooling=pooling,
        dilation_rate=windows.dilations, padding=windows.around, **windows.config(), **config,
    )  # fmt: skip


@operator("GlobalAveragePool", "GlobalMaxPool", newest=22)
def global_pool(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns a GlobalAveragePooling or GlobalMaxPooling that keeps its axes."""
    name = "ReduceMean" if node.operator == "GlobalAveragePool" else "ReduceMax"
    return _over_places(b, node, name, x)


@operator("GlobalLpPool", newest=22)
def global_lp_pool(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Returns the norm of each feature map."""
    power = float(node.get("p", 2))
    if power in (1, 2):
        return _over_places(b, node, f"ReduceL{power:.0f}", x)
    powers = mapped(b, ops.power, mapped(b, ops.abs, x, suffix="abs"), power, suffix="power", is_positive=True)
    return mapped(b, ops.power, _over_places(b, node, "ReduceSum", powers), 1 / power, suffix="root", is_positive=True)


def _over_places(b: Builder, node: Node, name: str, x: Tensor) -> Tensor:
    meaning = replace(node, operator=name, attributes={"axes": list(range(2, x.rank))})
    return reduction(b, meaning, x)  # type: ignore[no-any-return]
