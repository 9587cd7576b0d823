"""Layers that Keras has not, small and registered under "zoo"; a model that has one needs this module to be loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from zoo.converters.importing import map_layers  # noqa: F401  has more of them

# Of what layers of ours compute. Raise it when one of them, here or elsewhere in `converters`, puts out other numbers
# for the same configuration and weights: features that are kept on disks of what it put out are then computed anew.
VERSION = 1


@keras.saving.register_keras_serializable(package="zoo")
class Constant(keras.layers.Layer):  # type: ignore[misc]
    """Puts out an array of its own, whatever it is given: a causal mask, anchors, a grid.

    Args:
        shape: That of the array, of which nothing varies.
        element_type: The type of its elements, which may be one that a layer cannot compute in.
        config: What every layer takes.
    """

    def __init__(self, shape: Sequence[int], element_type: str = "float32", **config: Any) -> None:
        super().__init__(**config)
        self.shape = tuple(shape)
        self.element_type = element_type

    def build(self, _: Any) -> None:  # noqa: D102
        self.value = self.add_weight(
            self.shape, initializer="zeros", dtype=self.element_type, trainable=False, autocast=False, name="value"
        )

    def call(self, _: Any) -> Any:  # noqa: D102
        return ops.convert_to_tensor(self.value)

    def compute_output_spec(self, _: Any) -> keras.KerasTensor:  # noqa: D102
        return keras.KerasTensor(self.shape, self.element_type)

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        return {**super().get_config(), "shape": self.shape, "element_type": self.element_type}


@keras.saving.register_keras_serializable(package="zoo")
class ReshapeLike(keras.layers.Layer):  # type: ignore[misc]
    """Reshapes to sizes of which several vary.

    Args:
        target_shape: A number, or -1 for what remains, or the axis of the input whose size it is, as a text: "2".
        config: What every layer takes.
    """

    def __init__(self, target_shape: Sequence[int | str], **config: Any) -> None:
        super().__init__(**config)
        self.target_shape = tuple(target_shape)

    def call(self, inputs: Any) -> Any:  # noqa: D102
        sizes = ops.shape(inputs)
        return ops.reshape(inputs, [sizes[int(each)] if isinstance(each, str) else each for each in self.target_shape])

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:  # noqa: D102
        sizes = [inputs.shape[int(each)] if isinstance(each, str) else each for each in self.target_shape]
        return keras.KerasTensor([None if each == -1 else each for each in sizes], inputs.dtype)

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        return {**super().get_config(), "target_shape": self.target_shape}


class _Weighted(keras.layers.Layer):  # type: ignore[misc]
    """What Scale and Offset share: a weight that is broadcast against the input.

    Args:
        shape: That of the weight.
        config: What every layer takes.
    """

    def __init__(self, shape: Sequence[int], **config: Any) -> None:
        super().__init__(**config)
        self.shape = tuple(shape)

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        rank = max(len(inputs.shape), len(self.shape))
        pairs = zip(_widened(inputs.shape, rank), _widened(self.shape, rank), strict=True)
        return keras.KerasTensor([one if other == 1 else other for one, other in pairs], self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": self.shape}


def _widened(shape: Sequence[int | None], rank: int) -> tuple[int | None, ...]:
    return (1,) * (rank - len(shape)) + tuple(shape)


@keras.saving.register_keras_serializable(package="zoo")
class Scale(_Weighted):
    """Multiplies by a weight, or divides by it.

    Args:
        shape: That of the weight, which is broadcast against the input.
        is_divisor: Whether it divides.
        config: What every layer takes.
    """

    def __init__(self, shape: Sequence[int], is_divisor: bool = False, **config: Any) -> None:
        super().__init__(shape, **config)
        self.is_divisor = is_divisor
        self.scale_initializer = keras.initializers.get("ones")

    def build(self, _: Any) -> None:  # noqa: D102
        self.scale = self.add_weight(self.shape, initializer=self.scale_initializer, name="scale")

    def call(self, inputs: Any) -> Any:  # noqa: D102
        return inputs / self.scale if self.is_divisor else inputs * self.scale

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        return {**super().get_config(), "is_divisor": self.is_divisor}


@keras.saving.register_keras_serializable(package="zoo")
class Offset(_Weighted):
    """Adds a weight, which is broadcast against the input: a learned position, a bias of other sizes than a layer's."""

    def __init__(self, shape: Sequence[int], **config: Any) -> None:
        super().__init__(shape, **config)
        self.offset_initializer = keras.initializers.get("zeros")

    def build(self, _: Any) -> None:  # noqa: D102
        self.offset = self.add_weight(self.shape, initializer=self.offset_initializer, name="offset")

    def call(self, inputs: Any) -> Any:  # noqa: D102
        return inputs + self.offset


@keras.saving.register_keras_serializable(package="zoo")
class Token(keras.layers.Layer):  # type: ignore[misc]
    """Puts out a weight of its own, repeated along axes as often as its input is long: a class token for each example.

    Args:
        shape: That of the weight.
        repeats: Pairs of an axis of the weight, which has one element there, and the axis of the input that is as long.
        element_type: The type of the weight; one of whole numbers does not train.
        config: What every layer takes.
    """

    def __init__(
        self, shape: Sequence[int], repeats: Sequence[Sequence[int]] = (), element_type: str = "float32", **config: Any
    ) -> None:
        super().__init__(**{**config, "dtype": element_type if element_type.startswith(("float", "bfloat")) else None})
        self.shape = tuple(shape)
        self.repeats = tuple((int(axis), int(source)) for axis, source in repeats)
        self.element_type = element_type
        self.token_initializer = keras.initializers.get("zeros")

    def build(self, _: Any) -> None:  # noqa: D102
        is_whole = not self.element_type.startswith(("float", "bfloat"))
        self.token = self.add_weight(
            self.shape, initializer=self.token_initializer, dtype=self.element_type, trainable=not is_whole,
            autocast=not is_whole, name="token",
        )  # fmt: skip

    def call(self, inputs: Any) -> Any:  # noqa: D102
        sizes, times = ops.shape(inputs), dict(self.repeats)
        token = ops.convert_to_tensor(self.token)
        return ops.tile(token, [sizes[times[axis]] if axis in times else 1 for axis in range(len(self.shape))])

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:  # noqa: D102
        times = dict(self.repeats)
        shape = [inputs.shape[times[axis]] if axis in times else each for axis, each in enumerate(self.shape)]
        return keras.KerasTensor(shape, self.element_type)

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        own = {"shape": self.shape, "repeats": self.repeats, "element_type": self.element_type}
        config = super().get_config()
        config.pop("dtype")
        return {**config, **own}


@keras.saving.register_keras_serializable(package="zoo")
class Positions(keras.layers.Layer):  # type: ignore[misc]
    """Puts out the whole numbers from one on, up to how long an axis of its input is.

    Args:
        axis: The axis of the input.
        start: The first number.
        element_type: The type of the numbers.
        config: What every layer takes.
    """

    def __init__(self, axis: int, start: int = 0, element_type: str = "int64", **config: Any) -> None:
        super().__init__(**config)
        self.axis, self.start, self.element_type = axis, start, element_type

    def call(self, inputs: Any) -> Any:  # noqa: D102
        return ops.arange(self.start, ops.shape(inputs)[self.axis], dtype=self.element_type)

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:  # noqa: D102
        size = inputs.shape[self.axis]
        return keras.KerasTensor([None if size is None else size - self.start], self.element_type)

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        return {**super().get_config(), "axis": self.axis, "start": self.start, "element_type": self.element_type}
