"""Small random nets in ONNX files, written as those wrote whose files people have: MXNet, Caffe2, CNTK, tf2onnx."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from loopback import Web
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import Array, graph, node, rand
from published import shipped

_HUB = "https://huggingface.co/"


def weights(*shape: int, seed: int = 0) -> Array:
    """Returns random weights that neither grow nor vanish from layer to layer."""
    return rand(*shape, seed=seed) / np.float32(np.sqrt(max(np.prod(shape[1:]), 1)))


def picture_net(
    channels: int = 3, size: Any = 12, classes: int = 5, *, batch: Any = "n", softmax: bool = True
) -> onnx.ModelProto:
    """A net of three units as PyTorch writes it: two convolutions, one with normalization, and a classifier."""
    nodes = [
        node("Conv", "x k1 b1", "c1"),
        node("BatchNormalization", "c1 scale offset mean var", "n1"),
        node("Relu", "n1", "r1"),
        node("Conv", "r1 k2 b2", "c2", pads=[1, 1, 1, 1]),
        node("Relu", "c2", "r2"),
        node("GlobalAveragePool", "r2", "pooled"),
        node("Flatten", "pooled", "flat"),
        node("Gemm", "flat k3 b3", "scores" if softmax else "y", transB=1),
        *([node("Softmax", "scores", "y", axis=1)] if softmax else []),
    ]
    return graph(
        nodes, {"x": [batch, channels, size, size]},
        k1=weights(4, channels, 3, 3), b1=rand(4, seed=1), scale=1 + rand(4, seed=2) ** 2, offset=rand(4, seed=3),
        mean=rand(4, seed=4), var=1 + rand(4, seed=5) ** 2, k2=weights(8, 4, 3, 3, seed=6), b2=rand(8, seed=7),
        k3=3 * weights(classes, 8, seed=8), b3=rand(classes, seed=9),
    )  # fmt: skip


def quantized_net() -> onnx.ModelProto:
    """A convolution as onnxruntime quantizes it: kernels and pictures of 8 bits."""
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("QLinearConv", "q s z k ks kz s z", "c"),
        node("DequantizeLinear", "c s z", "y"),
    ]
    one = np.float32(0.05)
    return graph(
        nodes, {"x": [1, 3, 12, 12]}, opset=12, s=one, z=np.uint8(128), ks=one, kz=np.int8(0),
        k=np.arange(4 * 27).reshape(4, 3, 3, 3).astype("int8"),
    )  # fmt: skip


def beside(path: Path, model: onnx.ModelProto) -> Path:
    """Writes a model whose weights lie in a file beside it, as PyTorch writes all today; returns the model's path."""
    onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=16)
    return path


# --- nets of the ONNX model zoo: the layers of their makers, and the ports that the zoo published; few channels ---


def _old(nodes: Sequence[onnx.NodeProto], port: tuple[str, list[Any]], out: str, opset: int, **arrays: Any) -> bytes:
    """Returns a model as they were in 2018: initializers are listed as inputs too, and no shapes between are told."""
    inits = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    inputs = [helper.make_tensor_value_info(port[0], TensorProto.FLOAT, port[1])]
    inputs += [helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in inits]
    output = helper.make_tensor_value_info(out, TensorProto.FLOAT, None)
    proto = helper.make_graph(list(nodes), "net", inputs, [output], inits)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)
    data: bytes = model.SerializeToString()
    return data


def mobilenetv2() -> bytes:
    """MXNet's: a batch of one, depthwise convolution, normalization, Clip for ReLU6, a classifier by convolution."""
    nodes = [
        node("Conv", "data k1", "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[4, 4]),
        node("BatchNormalization", "conv g b m v", "bn", epsilon=1e-5, momentum=0.9),
        node("Clip", "bn", "relu6", min=0.0, max=6.0),
        node("Conv", "relu6 k2", "dw", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[4, 4], group=8),
        node("GlobalAveragePool", "dw", "pool"),
        node("Conv", "pool k3", "pred", kernel_shape=[1, 1]),
        node("Reshape", "pred shape", "mobilenetv20_output_flatten0_reshape0"),
    ]
    return _old(
        nodes, ("data", [1, 3, 224, 224]), nodes[-1].output[0], 7, k1=weights(8, 3, 3, 3), g=1 + rand(8) ** 2,
        b=rand(8, seed=1), m=rand(8, seed=2), v=1 + rand(8, seed=3) ** 2, k2=weights(8, 1, 3, 3, seed=4),
        k3=weights(1000, 8, 1, 1, seed=5), shape=np.array([0, -1]),
    )  # fmt: skip


def squeezenet() -> bytes:
    """Caffe2's: two branches that are joined, Dropout, and a softmax over channels of maps of one pixel."""
    nodes = [
        node("Conv", "data_0 k1 b1", "conv1_1", kernel_shape=[3, 3], strides=[4, 4]),
        node("Relu", "conv1_1", "conv1_2"),
        node("MaxPool", "conv1_2", "pool1_1", kernel_shape=[3, 3], strides=[2, 2]),
        node("Conv", "pool1_1 k2 b2", "expand1x1", kernel_shape=[1, 1]),
        node("Conv", "pool1_1 k3 b3", "expand3x3", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Concat", "expand1x1 expand3x3", "concat", axis=1),
        node("Dropout", "concat", "drop unused", ratio=0.5),
        node("Conv", "drop k4 b4", "conv10", kernel_shape=[1, 1]),
        node("GlobalAveragePool", "conv10", "pool10"),
        node("Softmax", "pool10", "softmaxout_1"),
    ]
    return _old(
        nodes, ("data_0", [1, 3, 224, 224]), "softmaxout_1", 9, k1=weights(4, 3, 3, 3), b1=rand(4),
        k2=weights(4, 4, 1, 1), b2=rand(4), k3=weights(4, 4, 3, 3), b3=rand(4), k4=weights(1000, 8, 1, 1),
        b4=rand(1000),
    )  # fmt: skip


def mnist() -> bytes:
    """CNTK's: gray pictures, padding told by a word, biases as sums, and weights that are reshaped in the graph."""
    nodes = [
        node("Reshape", "Parameter193 shape193", "times_weights"),
        node("Conv", "Input3 Parameter5", "Convolution28", kernel_shape=[5, 5], auto_pad="SAME_UPPER", strides=[1, 1],
             dilations=[1, 1], group=1),
        node("Add", "Convolution28 Parameter6", "Plus30"),
        node("Relu", "Plus30", "ReLU32"),
        node("MaxPool", "ReLU32", "Pooling66", kernel_shape=[2, 2], strides=[2, 2], auto_pad="NOTSET"),
        node("Reshape", "Pooling66 shape212", "flat"),
        node("MatMul", "flat times_weights", "Times212"),
        node("Add", "Times212 Parameter194", "Plus214_Output_0"),
    ]  # fmt: skip
    return _old(
        nodes, ("Input3", [1, 1, 28, 28]), "Plus214_Output_0", 8, Parameter5=weights(8, 1, 5, 5),
        Parameter6=rand(8, 1, 1), Parameter193=weights(8, 14, 14, 10), Parameter194=rand(1, 10),
        shape193=np.array([8 * 14 * 14, 10]), shape212=np.array([1, 8 * 14 * 14]),
    )  # fmt: skip


def efficientnet_lite() -> bytes:
    """Of TensorFlow by tf2onnx: pictures come in channels last, and are turned for every convolution's sake."""
    nodes = [
        node("Transpose", "images:0", "t1", perm=[0, 3, 1, 2]),
        node("Conv", "t1 k1 b1", "stem", kernel_shape=[3, 3], strides=[8, 8]),
        node("Clip", "stem low high", "relu6"),
        node("GlobalAveragePool", "relu6", "pool"),
        node("Squeeze", "pool", "squeezed", axes=[2, 3]),
        node("MatMul", "squeezed k2", "product"),
        node("Add", "product b2", "logits"),
        node("Softmax", "logits", "Softmax:0", axis=1),
    ]
    return _old(
        nodes, ("images:0", [1, 224, 224, 3]), "Softmax:0", 11, k1=weights(8, 3, 3, 3), b1=rand(8),
        low=np.float32(0), high=np.float32(6), k2=weights(8, 1000), b2=rand(1000),
    )  # fmt: skip


def mirrored(home: Path, web: Web, name: str, data: bytes) -> str:
    """Has `data` on a server as the file of the shipped entry `name`; returns what `--mirror` takes."""
    entry = shipped(name)
    (file,) = entry.files
    web.put("/" + file.urls[0].removeprefix(_HUB), data)
    file = dataclasses.replace(file, hash=f"sha256:{hashlib.sha256(data).hexdigest()}", bytes=len(data))
    record = dataclasses.replace(entry, files=(file,)).to_json()
    del record["name"]
    home.mkdir(exist_ok=True)
    (home / "registry.json").write_text(json.dumps({"schema": 1, "models": {name: record}}))
    return f"{_HUB}={web.url}/"
