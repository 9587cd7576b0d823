"""Layers over feature maps that ONNX has as they are, and that come back so: what is resized, pooled, normalized."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from zoo.converters import keras_to_onnx, onnx_to_keras
from zoo.converters.importing.map_layers import LocalResponseNormalization, Resampling, WindowPooling

PATH = Path("model.onnx")


def chain(shape: tuple[int | None, ...], *parts: keras.Layer, **options: Any) -> keras.Model:
    return keras.Sequential([keras.Input(shape, **options), *parts])


def between(layer: keras.Layer, side: int | None = 8) -> keras.Model:
    """A layer between two convolutions, whose operators lie channels first."""
    return chain((side, side and side + 1, 3), layers.Conv2D(6, 3), layer, layers.Conv2D(2, 1))


def counts(model: keras.Model, **options: Any) -> Counter[str]:
    keras_to_onnx(model, PATH, **options)
    return Counter(node.op_type for node in onnx.load(PATH).graph.node)


def back() -> list[keras.Layer]:
    """Returns the layers that come back, of a graph without a transposition left."""
    model, report = onnx_to_keras(PATH)
    assert not report.transpositions
    return list(model.layers[1:])


@pytest.mark.parametrize("side", [8, None])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_upsampling_of_pictures_is_a_resize(interpolation: str, side: int | None) -> None:
    model = between(layers.UpSampling2D((2, 3), interpolation=interpolation, name="larger"), side)

    assert counts(model) == {"Transpose": 2, "Conv": 2, "Resize": 1}
    first, found, last = back()
    assert type(first) is type(last) is layers.Conv2D
    if interpolation == "nearest" or side:  # TensorFlow cannot compile a bilinear layer for sizes that vary
        assert isinstance(found, layers.UpSampling2D)
        assert (found.name, found.size, found.interpolation) == ("larger", (2, 3), interpolation)


@pytest.mark.parametrize("opset", [13, 18])
def test_upsampling_in_one_and_three_dimensions(opset: int) -> None:
    row = chain((8, 3), layers.Conv1D(4, 3), layers.UpSampling1D(3), layers.Conv1D(2, 3))
    assert counts(row, opset=opset) == {"Transpose": 2, "Conv": 2, "Resize": 1}
    assert [type(layer) for layer in back()] == [layers.Conv1D, layers.UpSampling1D, layers.Conv1D]

    room = chain((6, 5, None, 3), layers.Conv3D(4, 3), layers.UpSampling3D((2, 1, 3)), layers.Conv3D(2, 1))
    assert counts(room, opset=opset) == {"Transpose": 2, "Conv": 2, "Resize": 1}
    assert [type(layer) for layer in back()] == [layers.Conv3D, layers.UpSampling3D, layers.Conv3D]


def test_upsampling_of_what_lies_channels_first_and_of_halves() -> None:
    model = chain((3, 8, 7), layers.UpSampling2D((2, 3), data_format="channels_first"), layers.Flatten())
    assert counts(model) == {"Resize": 1, "Reshape": 1}
    half = chain((8, 7, 3), layers.UpSampling2D(2, dtype="float16"), dtype="float16")
    assert counts(half)["Resize"] == 1


def test_a_curve_of_tensorflow_is_that_of_onnx() -> None:
    assert counts(between(layers.UpSampling2D(2, interpolation="bicubic")))["Resize"] == 1


@pytest.mark.parametrize("side", [32, None])
def test_resizing_keeps_its_name(side: int | None) -> None:
    counts(between(layers.Resizing(20, 24, name="smaller"), side))
    found = back()[1]

    assert isinstance(found, layers.Resizing)
    assert found.name == "smaller"


def test_a_net_that_goes_down_and_up_again_comes_back() -> None:
    image = keras.Input((None, None, 3))
    down = layers.Conv2D(4, 3, padding="same")(image)
    low = layers.Conv2D(6, 3, padding="same")(layers.MaxPooling2D()(down))
    up = layers.Concatenate()([layers.UpSampling2D()(layers.BatchNormalization()(low)), down])
    model = keras.Model(image, layers.Conv2D(2, 1)(up))

    assert counts(model)["Transpose"] == 2
    assert Counter(map(type, back())) == Counter(map(type, model.layers[1:]))


def test_normalization_by_neighbours_is_an_operator() -> None:
    model = between(LocalResponseNormalization(5, alpha=0.3, beta=0.6, bias=1.3))

    assert counts(model) == {"Transpose": 2, "Conv": 2, "LRN": 1}
    found = back()[1]
    assert isinstance(found, LocalResponseNormalization)
    assert (found.size, found.alpha, found.beta, found.bias) == pytest.approx((5, 0.3, 0.6, 1.3))


def test_normalization_by_an_even_number_of_neighbours_is_left_in_pieces() -> None:
    assert counts(between(LocalResponseNormalization(4)))["LRN"] == 0


POOLINGS: dict[str, tuple[dict[str, Any], str]] = {
    "dilated": ({"pooling": "max", "dilation_rate": (2, 1)}, "MaxPool"),
    "padded": ({"pooling": "max", "padding": ((1, 2), (0, 1))}, "MaxPool"),
    "not counted": ({"pooling": "average", "padding": ((1, 1), (1, 1))}, "AveragePool"),
    "counted": ({"pooling": "average", "padding": ((1, 2), (0, 1)), "counted": ((1, 2), (0, 1))}, "AveragePool"),
    "norm": ({"pooling": "norm", "padding": ((1, 1), (0, 1)), "power": 3.0}, "LpPool"),
    "some counted": ({"pooling": "average", "padding": ((1, 2), (0, 1)), "counted": ((1, 1), (0, 1))}, ""),
    "dilated average": ({"pooling": "average", "dilation_rate": (2, 1)}, ""),
    "far padding": ({"pooling": "average", "padding": ((3, 0), (0, 0)), "counted": ((3, 0), (0, 0))}, ""),
}


@pytest.mark.parametrize("side", [8, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", POOLINGS)
def test_pools_that_keras_has_not(name: str, side: int | None) -> None:
    options, operator = POOLINGS[name]
    usual = {"pool_size": (3, 3), "strides": (2, 1), "dilation_rate": (1, 1), "padding": ((0, 0), (0, 0))}
    found = counts(between(WindowPooling(**usual | options), side))

    assert {each for each in found if each.endswith("Pool")} == ({operator} if operator else set())


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"])
def test_resampling_as_onnx_has_it(mode: str, coordinates: str) -> None:
    axes = [{"axis": 1, "scale": 1.7, "size": 10}, {"axis": 2, "scale": 0.6, "size": 4}]
    model = between(Resampling(axes, {"mode": mode, "coordinates": coordinates}))
    found = counts(model)
    if coordinates == "half_pixel_symmetric":  # not in these opsets
        assert not found["Resize"]
        return

    assert found == {"Transpose": 2, "Conv": 2, "Resize": 1}
    (layer,) = (each for each in back() if isinstance(each, Resampling))
    assert [each["scale"] for each in layer.axes] == pytest.approx([1.7, 0.6])


def test_normalization_keeps_how_fast_it_learns() -> None:
    image = keras.Input((8, 9, 3))
    x = layers.BatchNormalization(momentum=0.97)(layers.Conv2D(4, 3)(image))
    x = layers.BatchNormalization(axis=1, momentum=0.8)(layers.Permute((3, 1, 2))(x))
    keras_to_onnx(keras.Model(image, x), PATH)
    model, _ = onnx_to_keras(PATH)
    found = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]

    assert [layer.momentum for layer in found] == pytest.approx([0.97, 0.8])
    assert all(np.isclose(layer.epsilon, 1e-3) for layer in found)
