"""Nets of Caffe for tests: weights of every age and form for a prototxt, and an independent run of it.

`caffe_forward.py` says what the layers compute, from Caffe's own rules; it shares nothing with the converter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from caffe_forward import outputs
from google.protobuf import text_format
from model_files import field, varint
from zoo.converters.caffe.importer import caffe_to_onnx
from zoo.converters.caffe.schema import NetParameter, V1LayerParameter

Weights = dict[str, list[Any]]
DATA = Path(__file__).parents[1] / "data" / "caffe"
V1_NAMES = {name.replace("_", "").lower(): number for name, number in V1LayerParameter.LayerType.items()} | {
    "softmaxwithloss": V1LayerParameter.LayerType.Value("SOFTMAX_LOSS")
}
V0_NAMES = {
    "Convolution": "conv", "InnerProduct": "innerproduct", "Pooling": "pool", "ReLU": "relu", "LRN": "lrn",
}  # fmt: skip
FORMS = ("v2", "v1", "v0", "unpacked", "double", "legacy", "text")


# --- caffemodels ---


def caffemodel(weights: Mapping[str, Sequence[Any]], types: Mapping[str, str], form: str = "v2") -> bytes:
    """Returns the file that holds weights, one of `FORMS`: with all layers, as Caffe's have."""
    weights = {name: weights.get(name, ()) for name in types}
    if form == "text":
        return text_format.MessageToString(_message(weights, types)).encode()
    layers = []
    for name, arrays in weights.items():
        blobs = [_blob(np.asarray(array, "f4"), form) for array in arrays]
        if form == "v1":
            kind = field(5, V1_NAMES.get(types[name].lower(), 0))
            layers.append(field(2, b"".join(field(6, each) for each in blobs) + field(4, name) + kind))
        elif form == "v0":
            inner = field(1, name) + field(2, V0_NAMES.get(types[name], types[name].lower()))
            layers.append(field(2, field(1, inner + b"".join(field(50, each) for each in blobs))))
        else:
            layers.append(
                field(100, field(1, name) + field(2, types[name]) + b"".join(field(7, each) for each in blobs))
            )
    return field(1, "net") + b"".join(layers)


def _blob(array: Any, form: str) -> bytes:
    if form in ("v1", "v0", "legacy"):  # the first axes are 1, as before 2015
        sizes = [1] * (4 - array.ndim) + list(array.shape)
        shape = b"".join(field(1 + place, size) for place, size in enumerate(sizes))
    else:
        shape = field(7, field(1, b"".join(varint(size) for size in array.shape)))
    if form == "double":
        return shape + field(8, array.astype("<f8").tobytes())
    if form == "unpacked":
        rows = np.empty(array.size, [("tag", "u1"), ("number", "<f4")])
        rows["tag"], rows["number"] = 5 << 3 | 5, array.ravel()
        return rows.tobytes() + shape  # as Caffe writes it: by the numbers of the fields
    return shape + field(5, array.astype("<f4").tobytes())


def _message(weights: Mapping[str, Sequence[Any]], types: Mapping[str, str]) -> Any:
    net = NetParameter(name="net")
    for name, arrays in weights.items():
        layer = net.layer.add(name=name, type=types[name])
        for array in arrays:
            blob = layer.blobs.add(data=np.ravel(array).tolist())
            blob.shape.dim.extend(np.shape(array))
            blob.shape.SetInParent()
    return net


# --- weights that keep what flows alive ---


@dataclass(frozen=True)
class Net:
    """A net with weights, and what it computes from some inputs.

    Attributes:
        prototxt: As in its file.
        weights: Arrays by the names of layers.
        types: Of the layers.
        inputs: By their names.
        values: What each layer puts out, or each last of its tops, by the names of layers.
    """

    prototxt: str
    weights: Weights
    types: dict[str, str]
    inputs: dict[str, Any]
    values: dict[str, Any]

    def file(self, form: str = "v2") -> bytes:
        """Returns the caffemodel."""
        return caffemodel(self.weights, self.types, form)


def alive(
    prototxt: str, inputs: Mapping[str, Any], weights: Mapping[str, Sequence[Any]] | None = None, seed: int = 0
) -> Net:
    """Returns a net in today's form, and what it computes by Caffe's rules.

    Weights that are not given are random, at the scale of He, so that what flows through neither dies nor explodes.
    """
    layers = [
        each
        for each in text_format.Parse(prototxt, NetParameter(), allow_unknown_field=True).layer
        if each.type != "Input"
    ]
    chance = np.random.default_rng(seed)
    made: Weights = {}
    latest = {name: np.asarray(value, "f8") for name, value in inputs.items()}
    values = {}
    for layer in layers:
        bottoms = [latest[name] for name in layer.bottom]
        arrays = (weights or {}).get(layer.name) or _weights(layer, bottoms[0].shape, chance)
        if arrays:
            made[layer.name] = [np.asarray(each, "f4") for each in arrays]
        tops = outputs(layer, [each.astype("f8") for each in made.get(layer.name, [])], bottoms)
        latest |= dict(zip(layer.top, tops, strict=True))
        values[layer.name] = tops[-1]
    types = {layer.name: layer.type for layer in layers}
    return Net(prototxt, made, types, {name: np.asarray(each, "f4") for name, each in inputs.items()}, values)


def _weights(layer: Any, shape: tuple[int, ...], chance: np.random.Generator) -> list[Any]:
    match layer.type:
        case "Convolution" | "Deconvolution":
            given = layer.convolution_param
            kernel = list(given.kernel_size) * (2 if len(given.kernel_size) == 1 else 1)
            kernel = kernel or [given.kernel_h, given.kernel_w]
            ends = (given.num_output, shape[1] // given.group)
            if layer.type == "Deconvolution":
                ends = (shape[1], given.num_output // given.group)
            return _he(chance, (*ends, *kernel), given)
        case "InnerProduct":
            given = layer.inner_product_param
            axis = given.axis % len(shape)
            size = int(np.prod(shape[axis:]))
            arrays = _he(chance, (given.num_output, size), given)
            return [arrays[0].T, *arrays[1:]] if given.transpose else arrays
        case "BatchNorm":
            factor = 3.0
            mean, variance = chance.normal(size=shape[1]), chance.uniform(0.5, 2, shape[1])
            return [mean * 0.3 * factor, variance * factor, np.array([factor])]
        case "Scale" if len(layer.bottom) == 1:
            arrays = [chance.uniform(0.5, 1.5, shape[1]), chance.normal(size=shape[1]) * 0.2]
            return arrays[: 1 + layer.scale_param.bias_term]
        case "PReLU":
            return [chance.uniform(0.1, 0.4, () if layer.prelu_param.channel_shared else shape[1])]
    return []


def _he(chance: np.random.Generator, shape: tuple[int, ...], given: Any) -> list[Any]:
    kernel = chance.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
    return [kernel, chance.normal(size=given.num_output) * 0.1][: 1 + given.bias_term]


# --- runs ---


def written(folder: Path, prototxt: str, weights: bytes, name: str = "net") -> tuple[Path, Path]:
    """Writes a net's two files, and returns their paths."""
    paths = folder / f"{name}.prototxt", folder / f"{name}.caffemodel"
    paths[0].write_text(prototxt)
    paths[1].write_bytes(weights)
    return paths


def ran(model: Any, *inputs: Any) -> list[Any]:
    """Returns what onnxruntime computes: of the inputs in their order."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return list(session.run(None, dict(zip(names, (np.asarray(x, "f4") for x in inputs), strict=True))))


def converted(folder: Path, prototxt: str, weights: bytes, **options: Any) -> Any:
    """Returns the ONNX model of a net whose files are written to a folder."""
    return caffe_to_onnx(*written(folder, prototxt, weights), **options)


def difference(found: Any, expected: Any) -> float:
    """Returns the largest difference, relative to the largest element."""
    assert found.shape == expected.shape, f"{found.shape} instead of {expected.shape}"
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))
