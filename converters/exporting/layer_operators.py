"""Embedding, ELU, PReLU and the transposed convolutions as ONNX has them."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from zoo.converters.exporting.net import Dims, Net, Op
from zoo.converters.exporting.putting import Putter, channels_first

ACTIVATIONS = {
    keras.activations.tanh: "Tanh",
    keras.activations.sigmoid: "Sigmoid",
    keras.activations.relu: "Relu",
    keras.activations.softsign: "Softsign",
    keras.activations.softplus: "Softplus",
}


def is_float(layer: Any, x: Any) -> bool:
    """Returns whether a layer computes in float32, as it keeps its weights."""
    return bool(layer.compute_dtype == layer.variable_dtype == "float32" and x.dtype == tf.float32)


def same_sizes(layer: Any, x: Any) -> list[Dims]:
    """Returns the sizes of what a layer puts out that changes none."""
    return [tuple(x.shape)]


def prelu_weights(layer: Any) -> dict[str, Any]:
    """Returns the slopes of a PReLU."""
    return {"alpha": layer.alpha}


def write_prelu(net: Net, op: Op, layer: Any, given: dict[str, str]) -> list[Op]:
    """Returns a PRelu, whose slopes lie as what they are for."""
    return [Op("PRelu", op.name, [given["x"], given["alpha"]], op.outputs)]


def write_elu(net: Net, op: Op, layer: Any, given: dict[str, str]) -> list[Op]:
    """Returns an Elu."""
    return [Op("Elu", op.name, [given["x"]], op.outputs).put(alpha=float(layer.alpha))]


# --- tables ---


def is_table(layer: Any, x: Any) -> bool:
    """Returns whether an Embedding looks whole numbers up in a table of float32."""
    kinds = layer.compute_dtype, layer.variable_dtype
    return kinds == ("float32", "float32") and x.dtype in (tf.int32, tf.int64) and not _is_changed(layer)


def _is_changed(layer: Any) -> bool:
    """Returns whether the table is not the one that was learned at first: one in few bits, or with what LoRA adds."""
    return bool(getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None))


def table(layer: Any) -> dict[str, Any]:
    """Returns the table of an Embedding."""
    return {"embeddings": layer.embeddings}


def sizes_of_rows(layer: Any, x: Any) -> list[Dims]:
    """Returns the sizes of the rows that an Embedding looks up."""
    return [(*x.shape, layer.output_dim)]


def write_embedding(net: Net, op: Op, layer: Any, given: dict[str, str]) -> list[Op]:
    """Returns a Gather; numbers below zero count from the end, as with Keras."""
    return [Op("Gather", op.name, [given["embeddings"], given["x"]], op.outputs).put(axis=0)]


# --- convolutions ---


def is_transposed_convolution(layer: Any, x: Any) -> bool:
    """Returns whether a convolution is followed by an activation that ONNX has, if by any."""
    return is_float(layer, x) and (_is_linear(layer) or layer.activation in ACTIVATIONS)


def _is_linear(layer: Any) -> bool:
    return layer.activation in (None, keras.activations.linear)


def convolution_weights(layer: Any) -> dict[str, Any]:
    """Returns the kernel of a convolution, and its bias if it has one."""
    return {"kernel": layer.kernel, **({"bias": layer.bias} if layer.use_bias else {})}


def convolution_sizes(layer: Any, x: Any) -> list[Dims]:
    """Returns the sizes of what a convolution puts out."""
    return [tuple(layer.compute_output_shape(tuple(x.shape)))]


def write_transposed_convolution(net: Net, op: Op, layer: Any, given: dict[str, str]) -> list[Op]:
    """Returns a ConvTranspose, which is told what to cut off, not how large to become: so sizes may vary."""
    put, rank = Putter(net, op), layer.rank + 2
    order = channels_first(rank, -1 if layer.data_format == "channels_last" else 1)
    kernel = net.constants[given["kernel"]]  # [..., out, in]; for ONNX [in, out, ...]
    turned = net.constant(kernel.transpose(rank - 1, rank - 2, *range(layer.rank)), given["kernel"])
    cut, added = zip(*(_cut_and_added(layer, axis) for axis in range(layer.rank)), strict=True)
    attributes: dict[str, Any] = {
        "kernel_shape": list(kernel.shape[:-2]),
        "strides": list(layer.strides),
        "dilations": list(layer.dilation_rate),
        "pads": [*(each // 2 for each in cut), *(each - each // 2 for each in cut)],
        "output_padding": list(added),
    }
    inputs = [put.moved(given["x"], order), turned, *([given["bias"]] if layer.use_bias else [])]
    dims = tuple(net.dims[op.outputs[0]][axis] for axis in order)
    found = put("ConvTranspose", inputs, dims, **attributes)
    if not _is_linear(layer):
        found = put(ACTIVATIONS[layer.activation], [found], dims)
    put.last(found, order)
    return put.ops


def _cut_and_added(layer: Any, axis: int) -> tuple[int, int]:
    """Returns how much of the whole is cut off along an axis, and how much is added behind."""
    stride, size = layer.strides[axis], (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
    given = layer.output_padding
    added = given[axis] if isinstance(given, tuple | list) else given
    if layer.padding == "valid":
        return 0, max(stride - size, 0) if added is None else added
    cut = size - stride if added is None else size - size % 2 - added
    return max(cut, 0), max(-cut, 0)
