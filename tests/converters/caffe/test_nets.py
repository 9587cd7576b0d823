"""Whole nets of Caffe: those whose files are here, and the others of its zoo with fewer channels.

OpenCV, which reads Caffe's files by itself, judges them before their softmax, and so does NumPy by Caffe's own rules.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import onnx
import pytest
from caffe_nets import DATA, Net, alive, converted, difference, ran, written
from caffe_zoo import NETS
from zoo.converters import caffe_to_onnx, onnx_to_keras

from zoo.surgery import split_units

FILES = {
    "lenet": (1, 28, 28), "cifar10_full": (3, 32, 32), "bvlc_reference_caffenet": (3, 227, 227),
    "bvlc_googlenet": (3, 224, 224),
}  # fmt: skip
CLOSE = 1e-5


def logits(net: Net) -> str:
    """Returns the last layer before the softmax."""
    return [name for name, kind in net.types.items() if kind != "Softmax"][-1]


def picture(*shape: int, batch: int = 1) -> dict[str, Any]:
    return {"data": np.random.default_rng(3).normal(size=(batch, *shape))}


def opencv(prototxt: Path, caffemodel: Path, x: Any, layer: str) -> Any:
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(caffemodel))
    net.setInput(x)
    return net.forward(layer)


def judged(net: Net, folder: Path, form: str) -> tuple[float, float]:
    """Returns how far what comes before the softmax is from OpenCV, and from NumPy."""
    paths, last, x = written(folder, net.prototxt, net.file(form)), logits(net), net.inputs["data"]
    (found,) = ran(caffe_to_onnx(*paths, outputs=[last]), x)
    assert np.std(net.values[last]) > 1e-2, "what flows through it has died"
    if found.ndim == 2:
        net.values[last] = net.values[last].reshape(found.shape)
    return difference(found, opencv(*paths, x, last).reshape(found.shape)), difference(found, net.values[last])


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[pytest.mark.slow] * (each == "bvlc_reference_caffenet")) for each in FILES]
)
def test_nets_whose_files_are_here(name: str, tmp_path: Path) -> None:
    net = alive((DATA / f"{name}.prototxt").read_text(), picture(*FILES[name]))
    for form in ("v2", "v1"):
        by_opencv, by_numpy = judged(net, tmp_path, form)
        print(f"{name} {form}: OpenCV {by_opencv:.1e}, NumPy {by_numpy:.1e}")
        assert max(by_opencv, by_numpy) < CLOSE


@pytest.mark.parametrize(("name", "units"), [
    ("lenet", 4), ("cifar10_full", 4), pytest.param("bvlc_reference_caffenet", 8, marks=pytest.mark.slow),
    ("bvlc_googlenet", 13),
])  # fmt: skip
def test_as_keras_models_they_are_the_same_and_can_be_cut(name: str, units: int, tmp_path: Path) -> None:
    net = alive((DATA / f"{name}.prototxt").read_text(), picture(*FILES[name]))
    last, x = logits(net), net.inputs["data"]
    paths = written(tmp_path, net.prototxt, net.file("v1"))
    model, report = onnx_to_keras(caffe_to_onnx(*paths))
    below = keras.Model(model.inputs[0], model.get_layer(last.replace("/", "_")).output)
    found = np.asarray(below(x.transpose(0, 2, 3, 1), training=False))
    expected = opencv(*paths, x, last).reshape(found.shape)

    print(f"{name} as Keras: OpenCV {difference(found, expected):.1e}, {report}")
    assert difference(found, expected) < CLOSE
    assert report.transpositions == 0
    assert len(split_units(model)) == units


@pytest.mark.parametrize("form", ["v2", "legacy"])
@pytest.mark.parametrize("name", NETS)
def test_nets_of_the_model_zoo(name: str, form: str, tmp_path: Path) -> None:
    build, shape = NETS[name]
    net = alive(build(), picture(*shape, batch=2))
    by_opencv, by_numpy = judged(net, tmp_path, form)
    print(f"{name} {form}: OpenCV {by_opencv:.1e}, NumPy {by_numpy:.1e}")
    assert max(by_opencv, by_numpy) < CLOSE


@pytest.mark.parametrize("name", NETS)
def test_whole_nets_come_out_as_caffe_computes_them(name: str, tmp_path: Path) -> None:
    build, shape = NETS[name]
    net = alive(build(), picture(*shape))
    model = converted(tmp_path, net.prototxt, net.file())
    onnx.checker.check_model(model, full_check=True)
    (found,) = ran(model, net.inputs["data"])
    last = list(net.values)[-1]
    assert difference(found, net.values[last].reshape(found.shape)) < CLOSE
    assert found.ndim == (4 if name == "fcn8s" else 2)


def test_norms_and_scales_of_a_residual_net_are_single_nodes(tmp_path: Path) -> None:
    build, shape = NETS["resnet50"]
    net = alive(build(), picture(*shape))
    kinds = [each.op_type for each in converted(tmp_path, net.prototxt, net.file()).graph.node]
    assert kinds.count("BatchNormalization") == list(net.types.values()).count("BatchNorm")
    assert not {"Mul", "Sub", "Div"} & set(kinds)


def test_grouped_convolutions_stay_whole(tmp_path: Path) -> None:
    build, shape = NETS["alexnet"]
    net = alive(build(), picture(*shape))
    nodes = {each.name: each for each in converted(tmp_path, net.prototxt, net.file()).graph.node}
    for name, groups in {"conv1": 1, "conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2}.items():
        assert {each.name: each for each in nodes[name].attribute}["group"].i == groups
