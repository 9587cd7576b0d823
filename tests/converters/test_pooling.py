"""Pools: which layers they become, whatever their padding. onnxruntime judges what these compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from onnx_graphs import convert, graph, kinds, node, rand
from zoo.converters.importing.map_layers import WindowPooling

from zoo.errors import IntegrityError

PICTURE = (2, 3, 5, 7)
EVEN = (2, 3, 8, 7)
VARYING = ("n", 3, "h", "w")
RELU = node("Relu", "x", "r")


def pool(operator: str, source: str, kernel: list[int], **attributes: Any) -> Any:
    return node(operator, source, kernel_shape=kernel, **attributes)


@pytest.mark.parametrize(
    ("made", "sizes", "expected"),
    [
        (pool("MaxPool", "x", [3, 2]), PICTURE, "MaxPooling2D"),
        (pool("MaxPool", "x", [3, 2], strides=[1, 3], auto_pad="VALID"), PICTURE, "MaxPooling2D"),
        (pool("MaxPool", "x", [2]), (2, 3, 7), "MaxPooling1D"),
        (pool("MaxPool", "x", [2, 3, 1], strides=[2, 1, 1]), (2, 3, 4, 5, 6), "MaxPooling3D"),
        (pool("MaxPool", "x", [3, 1, 1], strides=[3, 3, 3]), ("n", 3, 3, 4, 3), "MaxPooling3D"),
        # pads that are those of "same", exactly
        (pool("MaxPool", "x", [3, 3], pads=[1, 1, 1, 1]), PICTURE, "MaxPooling2D"),
        (pool("MaxPool", "x", [3, 2], strides=[2, 2], pads=[1, 0, 1, 1]), PICTURE, "MaxPooling2D"),
        (pool("MaxPool", "x", [3, 3], strides=[2, 2], auto_pad="SAME_UPPER"), VARYING, "MaxPooling2D"),
        (pool("MaxPool", "x", [2, 2], strides=[2, 2], ceil_mode=1), PICTURE, "MaxPooling2D"),
        # others: zeros are as good as nothing where all is above zero, and not elsewhere
        (pool("MaxPool", "r", [3, 3], strides=[2, 2], pads=[0, 1, 1, 0]), PICTURE, "ReLU ZeroPadding2D MaxPooling2D"),
        (pool("MaxPool", "x", [3, 3], strides=[2, 2], pads=[0, 1, 1, 0]), PICTURE, "Pad MaxPooling2D"),
        (pool("MaxPool", "x", [2, 2], auto_pad="SAME_LOWER"), PICTURE, "Pad MaxPooling2D"),
        (pool("MaxPool", "r", [3, 3], strides=[2, 2], ceil_mode=1), VARYING, "ReLU ZeroPadding2D MaxPooling2D"),
        (pool("MaxPool", "x", [4, 2], strides=[3, 3], pads=[2, 0, 1, 1], ceil_mode=1), EVEN, "Pad MaxPooling2D"),
        (pool("MaxPool", "x", [3, 2], dilations=[1, 3], pads=[1, 0, 1, 0]), PICTURE, "WindowPooling"),
        (pool("AveragePool", "x", [3, 3], pads=[1, 1, 1, 1]), PICTURE, "AveragePooling2D"),
        (pool("AveragePool", "x", [3, 3], strides=[2, 2], auto_pad="SAME_UPPER"), VARYING, "AveragePooling2D"),
        (
            pool("AveragePool", "x", [3, 2], pads=[1, 0, 0, 1], count_include_pad=1), PICTURE,
            "ZeroPadding2D AveragePooling2D",
        ),
        (pool("AveragePool", "x", [3, 2], pads=[1, 0, 0, 1]), PICTURE, "WindowPooling"),
        (pool("AveragePool", "x", [3, 2], strides=[2, 1], pads=[0, 1, 1, 0]), VARYING, "WindowPooling"),
        (pool("AveragePool", "x", [3, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1), EVEN, "WindowPooling"),
        (pool("AveragePool", "x", [2, 2], dilations=[2, 3]), PICTURE, "WindowPooling"),
        (pool("LpPool", "x", [3, 2], p=3, pads=[1, 0, 1, 1], strides=[2, 1]), PICTURE, "WindowPooling"),
        (node("GlobalAveragePool", "x"), VARYING, "GlobalAveragePooling2D"),
        (node("GlobalMaxPool", "x"), (2, 3, 4, 5, 6), "GlobalMaxPooling3D"),
        (node("GlobalLpPool", "x", p=3), PICTURE, "Absolute Power Sum Power"),
    ],
)  # fmt: skip
def test_a_pool_is_a_layer_of_keras_where_that_is_exact(made: Any, sizes: Any, expected: str, tmp_path: Path) -> None:
    nodes = [*([RELU] if "r" in made.input else []), made]
    model, report = convert(graph(nodes, {"x": sizes}, 21), tmp_path)

    assert kinds(model) == expected.split()
    assert report.transpositions == 0
    assert report.error <= 1e-5  # float32; means of thousands of numbers nearly cancel


@pytest.mark.parametrize("kind", ["float64", "int8", "uint8"])
def test_a_pool_keeps_the_type(kind: str) -> None:
    made = pool("MaxPool", "x", [3, 2], pads=[1, 1, 1, 1])
    x = (rand(*PICTURE) * 50).astype(kind)
    model, _ = convert(graph([made], {"x": PICTURE}, types={"x": kind}), examples={"x": x})
    assert model.outputs[0].dtype == kind


def test_padding_never_wins_against_what_is_below_zero() -> None:
    x = -1 - np.abs(rand(*PICTURE))
    made = pool("MaxPool", "x", [3, 3], strides=[2, 2], pads=[0, 1, 1, 0])
    model, _ = convert(graph([made], {"x": PICTURE}), examples={"x": x})
    assert np.asarray(model(x.transpose(0, 2, 3, 1))).max() <= -1


def test_where_the_largest_were_is_refused() -> None:
    made = node("MaxPool", "x", "y i", kernel_shape=[2, 2])
    with pytest.raises(IntegrityError, match="where the largest elements were"):
        convert(graph([made], {"x": PICTURE}, outputs="y i"))


@pytest.mark.parametrize("pooling", ["max", "average", "norm"])
def test_a_pool_of_ours_passes_gradients_on(pooling: str) -> None:
    import tensorflow as tf

    layer = WindowPooling(pooling, (2,), (1,), (2,), [(1, 0)])
    x = tf.constant(1 + np.abs(rand(2, 6, 3)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(tf.function(layer)(x))
    gradient = np.asarray(tape.gradient(total, x))
    assert np.isfinite(gradient).all()
    assert gradient.any()
    assert isinstance(keras.layers.deserialize(keras.layers.serialize(layer)), WindowPooling)
