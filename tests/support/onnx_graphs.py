"""Small ONNX graphs, and what they become: converted, judged by onnxruntime, saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from zoo.converters import onnx_to_keras
from zoo.converters.parity import relative_error

Array = np.ndarray[Any, Any]


def rand(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """Returns a node; "_" is an input that is left out, and its name is its first output's."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(operator, names, outputs.split(), name=outputs.split()[0], **attributes)


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[Any]],
    opset: int = 17,
    outputs: str = "y",
    types: Mapping[str, str] | None = None,
    **arrays: Any,
) -> onnx.ModelProto:
    """Returns a model: inputs by name with their sizes, weights as arrays."""
    kinds = dict.fromkeys(inputs, TensorProto.FLOAT)
    kinds |= {name: helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for name, kind in (types or {}).items()}
    proto = helper.make_graph(
        list(nodes), "net",
        [helper.make_tensor_value_info(name, kinds[name], list(sizes)) for name, sizes in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs.split()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )  # fmt: skip
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)  # which tells the types of the outputs


def convert(model: onnx.ModelProto, tmp_path: Path | None = None, **options: Any) -> tuple[keras.Model, Any]:
    """Returns what a graph becomes, which onnxruntime has judged.

    Saved and loaded it must compute the same; compiled, as for training, it may round otherwise.
    """
    converted, report = onnx_to_keras(model, **options)
    if tmp_path is not None:
        converted.save(tmp_path / "net.keras")
        loaded = keras.models.load_model(tmp_path / "net.keras")
        x = [rand(*(size or 2 for size in each.shape)).astype(each.dtype) for each in converted.inputs]
        x = x if len(x) > 1 else x[0]
        for one, other in zip(*(keras.tree.flatten(each(x)) for each in (converted, loaded)), strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
        for one, other in zip(
            *(keras.tree.flatten(each) for each in (converted(x), compiled(converted, x))), strict=True
        ):
            assert relative_error(np.asarray(other), np.asarray(one)) < 1e-5
    return converted, report


def compiled(model: keras.Model, x: Any) -> Any:
    """Returns what a model computes as TensorFlow compiles it, which is how it trains and predicts."""
    return tf.function(lambda each: model(each, training=False))(x)


def kinds(model: keras.Model) -> list[str]:
    """Returns the classes of a model's operations, without its inputs."""
    return [type(each).__name__ for each in model.operations if not isinstance(each, keras.layers.InputLayer)]
