"""Layers over feature maps that Keras has not, `channels_last`: pooling, resizing, normalization as ONNX defines them.

Each is registered under "zoo"; `layers` imports them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from zoo.converters.importing.resampling import MOST_TAPS, Rule, positions, resized, taps

_FARTHEST = 1 << 16  # of pads, strides and dilations: a side of a picture


@keras.saving.register_keras_serializable(package="zoo")
class WindowPooling(keras.layers.Layer):  # type: ignore[misc]
    """Pools over windows that Keras' own layers have not: with dilations, or pads of which only some are counted.

    Args:
        pooling: "max", "average" or "norm".
        pool_size: Of windows, along each axis between the first and the last.
        strides: From one window to the next.
        dilation_rate: From one place of a window to the next.
        padding: Pairs: how many places are put before and behind each axis.
        counted: Pairs: how many of them count as zeros in an average; the others are as if they were not there.
        power: That of the norm.
        config: What every layer takes.
    """

    def __init__(
        self,
        pooling: str,
        pool_size: Sequence[int],
        strides: Sequence[int],
        dilation_rate: Sequence[int],
        padding: Sequence[Sequence[int]],
        counted: Sequence[Sequence[int]] | None = None,
        power: float = 2.0,
        **config: Any,
    ) -> None:
        super().__init__(**config)
        self.pooling, self.power = pooling, power
        self.pool_size, self.strides, self.dilation_rate = tuple(pool_size), tuple(strides), tuple(dilation_rate)
        self.padding = tuple((low, high) for low, high in padding)
        self.counted = tuple((low, high) for low, high in counted or [(0, 0)] * len(self.padding))
        _refuse_beyond("pool_size", self.pool_size, MOST_TAPS)
        _refuse_beyond("strides and dilation_rate", [*self.strides, *self.dilation_rate], _FARTHEST)
        _refuse_beyond("padding", [each for pair in self.padding for each in pair], _FARTHEST)

    def call(self, inputs: Any) -> Any:  # noqa: D102
        kind = keras.backend.standardize_dtype(inputs.dtype)
        if self.pooling == "max":
            lowest = lowest_number(kind)
            x = ops.pad(inputs, [(0, 0), *self.padding, (0, 0)], constant_values=lowest)
            return self._over_windows(x, ops.maximum)
        x = ops.cast(inputs, "float32") if kind in ("float16", "bfloat16") else inputs
        if self.pooling == "norm":
            x = ops.power(ops.abs(x), self.power)
        x = self._over_windows(ops.pad(x, [(0, 0), *self.padding, (0, 0)]), ops.add)
        if self.pooling == "norm":
            x = ops.power(x, 1 / self.power)
        else:
            for axis in range(len(self.pool_size)):
                x = x / self._counts(ops.shape(inputs)[axis + 1], axis, x.dtype)
        return ops.cast(x, kind)

    def _over_windows(self, x: Any, combine: Callable[[Any, Any], Any]) -> Any:
        for axis in range(len(self.pool_size)):  # one after the other: that is the same for sums and for maxima
            x = self._along(x, axis, axis + 1, combine)
        return x

    def _along(self, x: Any, which: int, axis: int, combine: Callable[[Any, Any], Any]) -> Any:
        count, stride, dilation = self.pool_size[which], self.strides[which], self.dilation_rate[which]
        windows = (ops.shape(x)[axis] - (count - 1) * dilation - 1) // stride + 1
        found = None
        for first in range(0, count * dilation, dilation):
            part = x[(slice(None),) * axis + (slice(first, first + (windows - 1) * stride + 1, stride),)]
            found = part if found is None else combine(found, part)
        return found

    def _counts(self, size: Any, which: int, kind: Any) -> Any:
        """Returns how many places along an axis count in each window, shaped to divide sums by."""
        (low, high), (counted_low, counted_high) = self.padding[which], self.counted[which]
        ones = ops.ones([counted_low + size + counted_high], dtype=kind)
        ones = ops.pad(ones, [(low - counted_low, high - counted_high)])
        counts = self._along(ones, which, 0, ops.add)
        return ops.reshape(counts, [1] * (which + 1) + [-1] + [1] * (len(self.pool_size) - which))

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:  # noqa: D102
        sizes = []
        for axis, size in enumerate(inputs.shape[1:-1]):
            room = None if size is None else size + sum(self.padding[axis])
            extent = (self.pool_size[axis] - 1) * self.dilation_rate[axis] + 1
            sizes.append(None if room is None else (room - extent) // self.strides[axis] + 1)
        return keras.KerasTensor((inputs.shape[0], *sizes, inputs.shape[-1]), inputs.dtype)

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        names = ("pooling", "pool_size", "strides", "dilation_rate", "padding", "counted", "power")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _refuse_beyond(what: str, numbers: Sequence[int], most: int) -> None:
    """Refuses numbers that no model has, for a saved model may have been made to take for ever."""
    if any(each > most for each in numbers):
        raise ValueError(f"Expected {what} of at most {most:,}. Received: {max(numbers):,}")


def lowest_number(dtype: str) -> float:
    """Returns the lowest finite number of a type."""
    import ml_dtypes

    if dtype.startswith(("int", "uint")):
        return int(np.iinfo(dtype).min)
    return float(ml_dtypes.finfo(dtype).min)  # type: ignore[no-untyped-call]


@keras.saving.register_keras_serializable(package="zoo")
class LocalResponseNormalization(keras.layers.Layer):  # type: ignore[misc]
    """Divides by (bias + alpha / size * sum of squares of neighbours) ** beta; neighbours lie along the last axis.

    Args:
        size: How many neighbours are summed up; of an even number one more lies behind than before.
        alpha: How much the sum counts.
        beta: The power.
        bias: What the sum is added to.
        config: What every layer takes.

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, 2012, section 3.3.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, **config: Any) -> None:
        super().__init__(**config)
        self.size, self.alpha, self.beta, self.bias = size, alpha, beta, bias
        _refuse_beyond("size", [size], MOST_TAPS)

    def call(self, inputs: Any) -> Any:  # noqa: D102
        channels = ops.shape(inputs)[-1]
        around = [(0, 0)] * (len(inputs.shape) - 1) + [((self.size - 1) // 2, self.size // 2)]
        squares = ops.pad(ops.square(inputs), around)
        total = squares[..., :channels]
        for first in range(1, self.size):
            total = total + squares[..., first : first + channels]
        return inputs / ops.power(self.bias + self.alpha / self.size * total, self.beta)

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:  # noqa: D102
        return keras.KerasTensor(inputs.shape, inputs.dtype)

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        return {**super().get_config(), **{name: getattr(self, name) for name in ("size", "alpha", "beta", "bias")}}


@keras.saving.register_keras_serializable(package="zoo")
class Spread(keras.layers.Layer):  # type: ignore[misc]
    """Puts zeros between the places of feature maps: what a transposed convolution with strides reads.

    Args:
        strides: How far apart places come to lie, along each axis between the first and the last.
        config: What every layer takes.
    """

    def __init__(self, strides: Sequence[int], **config: Any) -> None:
        super().__init__(**config)
        self.strides = tuple(strides)
        _refuse_beyond("strides", self.strides, _FARTHEST)

    def call(self, inputs: Any) -> Any:  # noqa: D102
        x = inputs
        for axis, stride in enumerate(self.strides, start=1):
            sizes = list(ops.shape(x))
            after = [(0, 0)] * (len(sizes) + 1)
            after[axis + 1] = (0, stride - 1)
            wide = ops.pad(ops.expand_dims(x, axis + 1), after)
            x = ops.reshape(wide, [*sizes[:axis], sizes[axis] * stride, *sizes[axis + 1 :]])
            x = x[(slice(None),) * axis + (slice(0, (sizes[axis] - 1) * stride + 1),)]
        return x

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:  # noqa: D102
        pairs = zip(inputs.shape[1:-1], self.strides, strict=True)
        sizes = [None if size is None else (size - 1) * stride + 1 for size, stride in pairs]
        return keras.KerasTensor((inputs.shape[0], *sizes, inputs.shape[-1]), inputs.dtype)

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        return {**super().get_config(), "strides": self.strides}


@keras.saving.register_keras_serializable(package="zoo")
class Resampling(keras.layers.Layer):  # type: ignore[misc]
    """Resizes along any axes, as ONNX defines it: all modes, coordinates and ways to round.

    Args:
        axes: For each axis that changes: {"axis": 1, "scale": 2.0, "size": 14}. The size is None where it varies, the
            scale where the size alone is told; "start" and "end" tell which part is wanted, if it is not all. "like" is
            the axis of a second input that is as long as this is to be.
        rule: The attributes of a `resampling.Rule` that are not as usual.
        outside: The value of what lies outside the input, where a part is wanted.
        config: What every layer takes.
    """

    def __init__(
        self,
        axes: Sequence[Mapping[str, Any]],
        rule: Mapping[str, Any] | None = None,
        outside: float = 0.0,
        **config: Any,
    ) -> None:
        super().__init__(**config)
        self.axes = [dict(each) for each in axes]
        self.rule = dict(rule or {})
        self.outside = outside

    def call(self, inputs: Any) -> Any:  # noqa: D102
        inputs, sizes = (inputs[0], ops.shape(inputs[1])) if isinstance(inputs, (list, tuple)) else (inputs, ())
        kind = keras.backend.standardize_dtype(inputs.dtype)
        is_copied = self.rule.get("mode", "nearest") == "nearest"
        x = inputs if is_copied or kind in ("float32", "float64") else ops.cast(inputs, "float32")
        is_outside = None
        for each in self.axes:
            told = {name: value for name, value in each.items() if name != "like"}
            x, mask = self._along(x, **{**told, "size": sizes[each["like"]]} if "like" in each else told)
            if mask is not None:
                is_outside = mask if is_outside is None else ops.logical_or(is_outside, mask)
        if is_outside is not None:
            x = ops.where(is_outside, ops.cast(self.outside, x.dtype), x)
        return ops.cast(x, kind)

    def _along(
        self, x: Any, axis: int, scale: float | None, size: Any, start: float = 0.0, end: float = 1.0
    ) -> tuple[Any, Any]:
        rule, rank = Rule(**self.rule), len(x.shape)
        length = ops.shape(x)[axis]
        xp = np if isinstance(length, int) and (size is None or isinstance(size, int)) else ops
        have = np.float32(length) if xp is np else ops.cast(length, "float32")
        if size is None:
            out: Any = xp.floor(have * np.float32(scale))
        else:
            out = np.float32(size) if isinstance(size, int) else ops.cast(size, "float32")
        number = None if scale is None else np.float32(scale)
        shape = [-1 if each == axis else 1 for each in range(rank)]
        places = xp.arange(out, dtype="float32")
        at = positions(xp, rule, places, have, out, number, (np.float32(start), np.float32(end)))
        mask = None
        if rule.coordinates == "tf_crop_and_resize":
            mask = ops.reshape((at < 0) | (at > have - 1), shape)
        found = None
        for place, weight in taps(xp, rule, at, have, out / have if number is None else number):
            part = ops.take(x, ops.cast(place, "int32"), axis=axis)
            if weight is not None:
                part = part * ops.reshape(ops.cast(weight, x.dtype), shape)
            found = part if found is None else found + part
        return found, mask

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:  # noqa: D102
        inputs, like = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)
        shape = list(inputs.shape)
        for each in self.axes:
            have, size = shape[each["axis"]], like.shape[each["like"]] if "like" in each else each["size"]
            if "like" in each:
                shape[each["axis"]] = size
                continue
            shape[each["axis"]] = size if size is not None or have is None else resized(have, each["scale"])
        return keras.KerasTensor(shape, inputs.dtype)

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        return {**super().get_config(), "axes": self.axes, "rule": self.rule, "outside": self.outside}
