"""Conv and ConvTranspose: one layer each, and a padding only where Keras has no word for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from onnx_graphs import convert, graph, kinds, node, rand

from zoo.errors import IntegrityError


@pytest.mark.parametrize(
    ("attributes", "kernel", "sizes", "expected"),
    [
        ({}, (4, 6, 2, 1), ("n", 6, "h", "w"), "Conv2D"),
        ({"pads": [1, 1, 1, 1]}, (4, 6, 3, 3), ("n", 6, "h", "w"), "Conv2D"),
        ({"pads": [0, 1, 1, 1], "strides": [2, 1]}, (4, 6, 3, 3), ("n", 6, 6, 7), "Conv2D"),
        ({"pads": [1, 1, 1, 1], "strides": [2, 2]}, (4, 6, 3, 3), ("n", 6, 6, 8), "ZeroPadding2D Conv2D"),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 3]}, (4, 6, 3, 2), ("n", 6, "h", "w"), "Conv2D"),
        ({"auto_pad": "SAME_LOWER"}, (4, 6, 2, 4), ("n", 6, 5, 7), "ZeroPadding2D Conv2D"),
        ({"auto_pad": "VALID", "dilations": [2, 1]}, (4, 6, 2, 3), ("n", 6, 5, 7), "Conv2D"),
        ({"group": 3}, (9, 2, 3, 2), ("n", 6, 5, 7), "Conv2D"),
        ({"group": 6}, (12, 1, 3, 2), ("n", 6, 5, 7), "DepthwiseConv2D"),
        ({"group": 6, "strides": [2, 1]}, (12, 1, 3, 2), ("n", 6, 5, 7), "Conv2D"),  # TensorFlow has no kernel for it
        ({"group": 6}, (6, 1, 3), ("n", 6, 7), "DepthwiseConv1D"),
        ({"pads": [2, 0], "dilations": [2]}, (4, 6, 2), ("n", 6, "t"), "ZeroPadding1D Conv1D"),
        ({"strides": [2, 1, 1]}, (4, 6, 2, 3, 1), ("n", 6, 4, 5, 6), "Conv3D"),
    ],
)
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_convolution_is_a_layer(
    attributes: Any, kernel: Any, sizes: Any, expected: str, has_bias: bool, tmp_path: Path
) -> None:
    arrays = {"w": rand(*kernel), **({"b": rand(kernel[0])} if has_bias else {})}
    model, report = convert(
        graph([node("Conv", " ".join(["x", *arrays]), **attributes)], {"x": sizes}, **arrays), tmp_path
    )

    assert kinds(model) == expected.split()
    assert len(model.trainable_weights) == 1 + has_bias
    assert model.count_params() == sum(each.size for each in arrays.values())
    assert report.transpositions == 0


@pytest.mark.parametrize(
    ("attributes", "kernel", "sizes", "expected"),
    [
        ({}, (6, 4, 3, 2), ("n", 6, "h", "w"), "Conv2DTranspose"),
        ({"strides": [2, 2], "pads": [1, 1, 1, 1]}, (6, 4, 4, 4), ("n", 6, "h", "w"), "Conv2DTranspose"),  # "same"
        ({"strides": [3, 2]}, (6, 4, 2, 1), ("n", 6, "h", "w"), "Conv2DTranspose"),  # with gaps
        (
            {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}, (6, 4, 3, 3), ("n", 6, "h", "w"),
            "Conv2DTranspose Cropping2D",
        ),
        ({"strides": [2, 3], "output_padding": [1, 2]}, (6, 4, 3, 3), ("n", 6, 5, 7), "Conv2DTranspose"),
        ({"strides": [2, 3], "pads": [0, 1, 2, 1]}, (6, 4, 3, 4), ("n", 6, 5, 7), "Conv2DTranspose Cropping2D"),
        ({"strides": [2, 3], "output_shape": [10, 20]}, (6, 4, 3, 3), ("n", 6, 5, 7), "Conv2DTranspose Cropping2D"),
        ({"strides": [2, 2], "auto_pad": "SAME_UPPER"}, (6, 4, 3, 3), ("n", 6, "h", "w"), "Conv2DTranspose"),
        ({"strides": [2, 2], "auto_pad": "SAME_LOWER"}, (6, 4, 3, 3), ("n", 6, 5, 7), "Conv2DTranspose Cropping2D"),
        ({"strides": [2], "pads": [1, 0]}, (6, 4, 3), ("n", 6, "t"), "Conv1DTranspose Cropping1D"),
        ({"strides": [2, 1, 1]}, (6, 4, 2, 3, 1), ("n", 6, 4, 5, 6), "Conv3DTranspose"),
        (
            {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 1, 0, 1]}, (6, 4, 3, 2), ("n", 6, "h", "w"),
            "Spread ZeroPadding2D Conv2D",
        ),
        ({"strides": [2, 2], "group": 3}, (6, 2, 3, 2), ("n", 6, 5, 7), "Spread ZeroPadding2D Conv2D"),
        (
            {"strides": [2, 2], "group": 6, "pads": [1] * 4}, (6, 1, 4, 4), ("n", 6, 5, 7),
            "Spread ZeroPadding2D DepthwiseConv2D",
        ),
        ({"strides": [2, 2], "group": 3, "pads": [2] * 4}, (6, 2, 2, 2), ("n", 6, 5, 7), "Spread Cropping2D Conv2D"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_transposed_convolution_is_a_layer(
    attributes: Any, kernel: Any, sizes: Any, expected: str, has_bias: bool, tmp_path: Path
) -> None:
    arrays = {"w": rand(*kernel)}
    if has_bias:
        arrays["b"] = rand(kernel[1] * attributes.get("group", 1))
    made = node("ConvTranspose", " ".join(["x", *arrays]), **attributes)
    model, report = convert(graph([made], {"x": sizes}, **arrays), tmp_path)

    assert kinds(model) == expected.split()
    assert len(model.trainable_weights) == 1 + has_bias
    assert model.count_params() == sum(each.size for each in arrays.values())
    assert report.transpositions == 0


@pytest.mark.parametrize("attributes", [{"strides": [2, 2]}, {"strides": [2, 1], "group": 3}, {"dilations": [2, 2]}])
def test_a_transposed_convolution_learns(attributes: Any) -> None:
    w = rand(6, 4, 3, 2)
    model, _ = convert(graph([node("ConvTranspose", "x w", **attributes)], {"x": ("n", 6, 5, 7)}, w=w))
    before = [np.array(each) for each in model.trainable_weights]
    x = rand(4, 5, 7, 6)
    y = rand(*model(x).shape, seed=1)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    first, *_, last = model.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert last < first
    assert all((np.array(each) != old).all() for each, old in zip(model.trainable_weights, before, strict=True))


def test_a_kernel_that_is_computed_is_refused() -> None:
    for operator in ("Conv", "ConvTranspose"):
        with pytest.raises(IntegrityError, match="is no weight"):
            convert(graph([node(operator, "x w")], {"x": (2, 3, 5, 7), "w": (3, 3, 2, 2)}))


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_a_transposed_convolution_whose_steps_are_longer_than_its_kernel(auto_pad: str, tmp_path: Path) -> None:
    made = node("ConvTranspose", "x w", strides=[3, 4], auto_pad=auto_pad)
    model, _ = convert(graph([made], {"x": ("n", 6, 5, 7)}, w=rand(6, 4, 1, 3)), tmp_path)
    assert model.output_shape == (None, 13, 27, 4)


@pytest.mark.parametrize(
    ("attributes", "sizes"),
    [
        ({"strides": [2, 3], "dilations": [2, 1], "pads": [2, 1, 0, 1]}, ("n", 4, 8, 9)),
        ({"strides": [2, 2], "dilations": [2, 2], "group": 4}, ("n", 4, 7, 6)),
    ],
)
def test_steps_and_dilations_together(attributes: Any, sizes: Any, tmp_path: Path) -> None:
    w = rand(8, 4 // attributes.get("group", 1), 3, 2)
    model, _ = convert(graph([node("Conv", "x w b", **attributes)], {"x": sizes}, w=w, b=rand(8)), tmp_path)
    assert kinds(model)[-1] == "GetItem"
    assert len(model.trainable_weights) == 2


def test_steps_over_places_of_volumes_begin_where_onnx_begins(tmp_path: Path) -> None:
    made = node("Conv", "x w", strides=[3, 3, 3], auto_pad="SAME_UPPER")
    convert(graph([made], {"x": ("n", 2, 3, 4, 3)}, w=rand(3, 2, 3, 3, 1)), tmp_path)
