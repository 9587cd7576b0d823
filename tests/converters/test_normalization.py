"""Normalizations: layers that train, with weights in the order of what they read. onnxruntime judges them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_graphs import convert, graph, kinds, node, rand
from zoo.converters.importing.map_layers import LocalResponseNormalization

from zoo.errors import IntegrityError

PICTURE = ("n", 6, 5, 7)
W = rand(6, 6, 3, 3)
CONV = node("Conv", "x w", "c")
TURNED = [node("MaxPool", "x", "s", kernel_shape=[1]), node("Transpose", "s", "t", perm=[0, 2, 1])]


def batch(channels: int) -> dict[str, Any]:
    """Returns the weights of a BatchNormalization."""
    names = {"scale": rand(channels, seed=1), "bias": rand(channels, seed=2), "mean": rand(channels, seed=3)}
    return {**names, "variance": 0.5 + np.abs(rand(channels, seed=4))}


@pytest.mark.parametrize(
    ("nodes", "sizes", "channels", "axis"),
    [
        ([], PICTURE, 6, -1),
        ([], ("n", 4, 9), 4, -1),
        ([], ("n", 4), 4, -1),
        ([], ("n", 2, 3, 4, 5), 2, -1),
        (TURNED, ("n", 4, 9), 9, 1),  # channels lie where Keras has places
        ([CONV, node("Flatten", "c", "t")], PICTURE, 6 * 3 * 5, -1),  # in an order of their own
    ],
)
def test_statistics_follow_the_channels(nodes: list[Any], sizes: Any, channels: int, axis: int, tmp_path: Path) -> None:
    made = node(
        "BatchNormalization", f"{'t' if nodes else 'x'} scale bias mean variance", "b", momentum=0.8, epsilon=1e-4
    )
    arrays = {"w": W} if "w" in (name for each in nodes for name in each.input) else {}
    last = node("Relu", "b")
    if len(sizes) == 2 or arrays:
        last, arrays["k"] = node("MatMul", "b k"), rand(channels, 4)
    model, report = convert(graph([*nodes, made, last], {"x": sizes}, **batch(channels), **arrays), tmp_path)

    (layer,) = [each for each in model.layers if isinstance(each, keras.layers.BatchNormalization)]
    assert (layer.axis, layer.epsilon, layer.momentum) == (axis, 1e-4, 0.8)
    assert (len(layer.trainable_weights), len(layer.non_trainable_weights)) == (2, 2)
    assert report.transpositions == 0


def test_statistics_of_the_batch_are_refused() -> None:
    made = node("BatchNormalization", "x scale bias mean variance", "y m v", training_mode=1)
    with pytest.raises(IntegrityError, match="it trains"):
        convert(graph([made], {"x": (2, 6, 5, 7)}, **batch(6)))


@pytest.mark.parametrize(
    ("made", "opset", "expected", "weights"),
    [
        (node("InstanceNormalization", "x six more"), 17, "GroupNormalization", 12),
        (node("GroupNormalization", "x six more", num_groups=2), 21, "GroupNormalization", 12),
        (node("GroupNormalization", "x two also", num_groups=2), 18, "GroupNormalization", 12),
        (node("LayerNormalization", "x seven"), 17, "LayerNormalization", 7),
        (node("LayerNormalization", "x seven last"), 17, "LayerNormalization", 14),
        (node("LayerNormalization", "x map map", axis=1), 17, "LayerNormalization", 2 * 6 * 5 * 7),
        (node("LayerNormalization", "x channels channels", axis=1), 17, "LayerNormalization Scale Offset", 12),
        (node("RMSNormalization", "x seven"), 23, "RMSNormalization", 7),
        (node("RMSNormalization", "x map", axis=1, epsilon=1e-3), 23, "RMSNormalization", 6 * 5 * 7),
        (node("LRN", "x", size=3, alpha=0.1, beta=0.6, bias=2.0), 13, "LocalResponseNormalization", 0),
        (node("LRN", "x", size=11), 13, "LocalResponseNormalization", 0),
        (node("LpNormalization", "x"), 1, "UnitNormalization", 0),
        (node("LpNormalization", "x", axis=1, p=1), 1, "Absolute Sum DivideNoNan", 0),
        (node("MeanVarianceNormalization", "x", axes=[1, 2]), 13, "Mean Std Subtract Add Divide", 0),
        (node("PRelu", "x channels"), 16, "PReLU", 6),
        (node("PRelu", "x seven"), 16, "PReLU", 7),
        (node("PRelu", "x one"), 16, "PReLU", 1),
    ],
)
@pytest.mark.parametrize("is_picture", [False, True])
def test_a_normalization_is_the_layer_that_keras_has(
    made: Any, opset: int, expected: str, weights: int, is_picture: bool, tmp_path: Path
) -> None:
    sizes = {"six": 6, "more": 6, "two": 2, "also": 2, "seven": 7, "last": 7, "map": (6, 5, 7), "channels": (6, 1, 1)}
    arrays = {name: rand(*np.atleast_1d(sizes.get(name, 1)), seed=len(name)) for name in made.input[1:]}
    nodes = [made]
    if is_picture:  # which Keras holds channels_last, also for who does not care
        nodes = [node("MaxPool", "in", "x", kernel_shape=[1, 1]), made]
    proto = graph(nodes, {"in" if is_picture else "x": PICTURE}, opset, **arrays)
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    model, report = convert(proto, tmp_path)

    assert [each for each in kinds(model) if each not in ("MaxPooling2D", "Permute")] == expected.split()
    assert sum(int(np.prod(each.shape)) for each in model.trainable_weights) == weights
    assert report.transpositions <= (2 if made.op_type == "RMSNormalization" else 0)


def test_a_layer_normalization_puts_out_its_statistics() -> None:
    made = node("LayerNormalization", "x seven", "y mean inverse", axis=-2)
    convert(graph([made], {"x": PICTURE}, outputs="y mean inverse", seven=rand(5, 7)))


def test_weights_follow_features_that_lie_in_another_order() -> None:
    nodes = [
        CONV,
        node("Flatten", "c", "f"),
        node("LayerNormalization", "f scale bias", "l"),
        node("PRelu", "l scale", "p"),
        node("MatMul", "p k"),
    ]
    arrays = {"k": rand(90, 4), "scale": rand(90, seed=5), "bias": rand(90, seed=6)}
    model, report = convert(graph(nodes, {"x": PICTURE}, w=W, **arrays))
    assert kinds(model)[-3:] == ["LayerNormalization", "PReLU", "Dense"]
    assert report.transpositions == 0


def test_slopes_that_are_computed_are_a_function() -> None:
    model, _ = convert(graph([node("PRelu", "x s")], {"x": PICTURE, "s": ("n", 6, 1, 1)}))
    assert kinds(model) == ["Less", "Multiply", "Where"]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_neighbours_are_summed_up_as_the_formula_says(size: int) -> None:
    layer = LocalResponseNormalization(size, alpha=0.3, beta=0.7, bias=1.5)
    x, expected = rand(2, 4, 6), np.zeros((2, 4, 6), "float32")
    for at in range(6):
        near = x[..., max(0, at - (size - 1) // 2) : at + size // 2 + 1]
        expected[..., at] = x[..., at] / (1.5 + 0.3 / size * (near**2).sum(-1)) ** 0.7
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5)
