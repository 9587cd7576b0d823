"""The layers of a stacked autoencoder: each an encoder, and the decoder that it is trained with.

Layers of ours serve training alone. What is left of a block is made of layers of Keras.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError

Shape = tuple[int, ...]

_KERNEL, _POOL = 3, 2


@dataclass(frozen=True)
class BlockSpec:
    """What a block is to be.

    Attributes:
        number: Of the block, from 1 at the input.
        width: Units of a dense layer, or filters of a convolution.
        activation: Of the encoder.
        output: Activation of the decoder.
        tied: Whether the decoder has the encoder's kernel, transposed.
        seed: Of the initial weights.
    """

    number: int
    width: int
    activation: str
    output: str
    tied: bool
    seed: int

    def initial(self, what: str) -> keras.initializers.Initializer:
        """Returns how the kernel of the encoder or the decoder begins."""
        seed = zlib.crc32(f"{self.seed} {what} {self.number}".encode())
        return keras.initializers.GlorotUniform(seed=seed)


class Block:
    """A layer and its decoder.

    Args:
        spec: What it is to be.
        shape: Of what it encodes, for one example.

    Attributes:
        spec: As above.
        shape: As above.
        kernel: The layer that has the encoder's kernel.
    """

    kernel: Any

    def __init__(self, spec: BlockSpec, shape: Shape) -> None:
        self.spec, self.shape = spec, shape

    def encode(self, x: Any) -> Any:
        """Returns the code of `x` [n, *shape]."""
        raise NotImplementedError

    def decode(self, code: Any) -> Any:
        """Returns what a code is taken for, [n, *shape], before the decoder's activation."""
        raise NotImplementedError

    def plain_decoder(self) -> list[keras.layers.Layer]:
        """Returns layers of Keras that decode as the trained decoder does, its activation among them; not yet built."""
        raise NotImplementedError

    def decoder_weights(self) -> list[NDArray[Any]]:
        """Returns the kernel and the bias of the decoder."""
        raise NotImplementedError


class DenseBlock(Block):
    """A dense layer; pictures and maps are flattened for it."""

    def __init__(self, spec: BlockSpec, shape: Shape) -> None:
        super().__init__(spec, shape)
        self.kernel = keras.layers.Dense(
            spec.width, spec.activation, kernel_initializer=spec.initial("encoder"), name=f"layer{spec.number}"
        )
        self._size = math.prod(shape)
        if spec.tied:
            self._decoder: Any = _Tied(lambda: keras.ops.transpose(self.kernel.kernel), keras.ops.matmul, self._size)
        else:
            self._decoder = keras.layers.Dense(self._size, kernel_initializer=spec.initial("decoder"))

    def encode(self, x: Any) -> Any:
        """Returns the code [n, width]."""
        if len(self.shape) > 1:
            x = keras.layers.Flatten(name=f"flatten{self.spec.number}")(x)
        return self.kernel(x)

    def decode(self, code: Any) -> Any:
        """Returns what a code [n, width] is taken for."""
        decoded = self._decoder(code)
        return keras.layers.Reshape(self.shape)(decoded) if len(self.shape) > 1 else decoded

    def plain_decoder(self) -> list[keras.layers.Layer]:
        """Returns a dense layer, and what gives its output the shape of a picture or map."""
        name = f"decoder{self.spec.number}"
        dense = keras.layers.Dense(self._size, self.spec.output, name=name)
        return [dense, keras.layers.Reshape(self.shape, name=f"{name}_shape")] if len(self.shape) > 1 else [dense]

    def decoder_weights(self) -> list[NDArray[Any]]:
        """Returns the kernel [width, size] and the bias [size]."""
        if not self.spec.tied:
            return [np.asarray(each) for each in self._decoder.get_weights()]
        return [np.asarray(self.kernel.kernel).T, np.asarray(self._decoder.bias)]


class ConvBlock(Block):
    """A 3x3 convolution, and max pooling that halves height and width; decoded by repetition and a transposed one.

    Raises:
        UsageError: What it gets is no map, or too small to be halved.
    """

    def __init__(self, spec: BlockSpec, shape: Shape) -> None:
        super().__init__(spec, shape)
        if len(shape) != 3:
            raise UsageError(f"Convolutions want pictures; the examples have shape {list(shape)}. Use units (--units).")
        if min(shape[:2]) < _POOL:
            raise UsageError(
                f"Convolution {spec.number} gets maps of {shape[0]}x{shape[1]}, which cannot be halved. Use at most "
                f"{spec.number - 1} of them."
            )
        self.kernel = keras.layers.Conv2D(
            spec.width, _KERNEL, padding="same", activation=spec.activation,
            kernel_initializer=spec.initial("encoder"), name=f"layer{spec.number}",
        )  # fmt: skip
        if spec.tied:
            self._decoder: Any = _Tied(lambda: self.kernel.kernel, _transposed, shape[2])
        else:
            self._decoder = self._convolution("linear", None)

    def encode(self, x: Any) -> Any:
        """Returns the code [n, height / 2, width / 2, filters], halves rounded up."""
        return keras.layers.MaxPooling2D(_POOL, padding="same", name=f"pool{self.spec.number}")(self.kernel(x))

    def decode(self, code: Any) -> Any:
        """Returns what a code is taken for."""
        for layer in self._enlarging():
            code = layer(code)
        return self._decoder(code)

    def plain_decoder(self) -> list[keras.layers.Layer]:
        """Returns what enlarges maps, and a transposed convolution."""
        return [*self._enlarging(), self._convolution(self.spec.output, f"decoder{self.spec.number}")]

    def decoder_weights(self) -> list[NDArray[Any]]:
        """Returns the kernel [3, 3, channels, filters] and the bias [channels]."""
        if not self.spec.tied:
            return [np.asarray(each) for each in self._decoder.get_weights()]
        return [np.asarray(self.kernel.kernel), np.asarray(self._decoder.bias)]

    def _convolution(self, activation: str, name: str | None) -> keras.layers.Layer:
        return keras.layers.Conv2DTranspose(
            self.shape[2], _KERNEL, padding="same", activation=activation,
            kernel_initializer=self.spec.initial("decoder"), name=name,
        )  # fmt: skip

    def _enlarging(self) -> list[keras.layers.Layer]:
        odd = tuple((0, -size % _POOL) for size in self.shape[:2])
        crop = [keras.layers.Cropping2D(odd)] if any(after for _, after in odd) else []
        return [keras.layers.UpSampling2D(_POOL), *crop]


class _Tied(keras.layers.Layer):  # type: ignore[misc]
    """A decoder with the kernel of an encoder and a bias of its own.

    Args:
        kernel: Returns the kernel; the encoder's own variable, which is trained as such.
        apply: Called with the code and the kernel.
        width: Of the bias.
    """

    def __init__(self, kernel: Callable[[], Any], apply: Callable[[Any, Any], Any], width: int) -> None:
        super().__init__()
        self._kernel, self._apply, self._width = kernel, apply, width

    def build(self, input_shape: Any) -> None:
        """Makes the bias."""
        self.bias = self.add_weight(shape=(self._width,), initializer="zeros", name="bias")

    def call(self, code: Any) -> Any:
        """Returns what a code is taken for."""
        return self._apply(code, self._kernel()) + self.bias

    def get_config(self) -> dict[str, Any]:
        """Returns what can be told as plain data: it is never made again from that."""
        return {**super().get_config(), "width": self._width}


def _transposed(code: Any, kernel: Any) -> Any:
    return keras.ops.conv_transpose(code, kernel, strides=1, padding="same", data_format="channels_last")
