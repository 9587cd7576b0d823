"""Patterns of nodes that are one layer: found in every spelling, and not found where they are something else.

onnxruntime judges each conversion as a whole.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from onnx_graphs import convert, graph, kinds, node, rand

F = np.float32
FLAT = {"x": ("n", 5)}
PICTURE = {"x": ("n", 3, 6, 8)}
SIGMOID = [node("Sigmoid", "x", "s"), node("Mul", "s x")]
CLIPPED = [node("Add", "three x", "a"), node("Clip", "a zero six", "c")]
NUMBERS = {"three": F(3), "zero": F(0), "six": F(6), "sixth": F(1 / 6), "half": F(0.5), "one": F(1), "two": F(2)}
ERF = [node("Div", "x r", "q"), node("Erf", "q", "e"), node("Add", "e one", "f")]
TANH = [
    *(node("Mul", "x x", "x2"), node("Mul", "x2 x", "x3"), node("Mul", "x3 k", "kx"), node("Add", "x kx", "i")),
    *(node("Mul", "i p", "j"), node("Tanh", "j", "t"), node("Add", "t one", "f")),
]
POWER = [
    *(node("Pow", "x cube", "x3"), node("Mul", "k x3", "kx"), node("Add", "kx x", "i")),
    *(node("Mul", "p i", "j"), node("Tanh", "j", "t"), node("Add", "one t", "f")),
]
FACTORED = [
    *(node("Mul", "x x", "x2"), node("Mul", "x2 k", "kx"), node("Add", "kx one", "i"), node("Mul", "x i", "m")),
    *(node("Mul", "m p", "j"), node("Tanh", "j", "t"), node("Add", "t one", "f")),
]


@pytest.mark.parametrize(
    ("nodes", "activation"),
    [
        (SIGMOID, "silu"),
        ([*CLIPPED, node("Div", "c six", "h"), node("Mul", "x h")], "hard_silu"),
        ([*CLIPPED, node("Mul", "x c", "h"), node("Div", "h six")], "hard_silu"),
        ([*CLIPPED, node("Mul", "x c", "h"), node("Mul", "sixth h")], "hard_silu"),
        ([*CLIPPED, node("Div", "c six")], "hard_sigmoid"),
        ([node("HardSigmoid", "x", "h", alpha=1 / 6), node("Mul", "h x")], "hard_silu"),
        ([node("Softplus", "x", "p1"), node("Tanh", "p1", "t"), node("Mul", "x t")], "mish"),
        ([*ERF, node("Mul", "x f", "g"), node("Mul", "g half")], "gelu"),
        ([*ERF, node("Mul", "x half", "g"), node("Mul", "g f")], "gelu"),
        ([*ERF, node("Mul", "f half", "g"), node("Mul", "g x")], "gelu"),
        ([*ERF, node("Mul", "x f", "g"), node("Div", "g two")], "gelu"),
    ],
)
def test_an_activation_in_pieces_is_one_layer(nodes: Any, activation: str) -> None:
    model, _ = convert(graph(nodes, FLAT, **NUMBERS, r=F(math.sqrt(2))))

    assert kinds(model) == ["Activation"]
    assert keras.activations.serialize(model.layers[-1].activation) == activation


@pytest.mark.parametrize("inner", [TANH, POWER, FACTORED])
@pytest.mark.parametrize("outer", [["x half", "g f"], ["x f", "g half"], ["f half", "x g"]])
def test_the_approximate_gelu_is_one_operation_in_every_spelling(inner: Any, outer: list[str]) -> None:
    nodes = [*inner, node("Mul", outer[0], "g"), node("Mul", outer[1])]
    model, _ = convert(graph(nodes, FLAT, **NUMBERS, k=F(0.044715), p=F(math.sqrt(2 / math.pi)), cube=F(3)))

    assert len(kinds(model)) == 1


@pytest.mark.parametrize(
    ("nodes", "least"),
    [
        ([node("Sigmoid", "x", "s"), node("Mul", "s x", "y"), node("Neg", "s", "z")], 3),  # the gate is wanted too
        ([*CLIPPED, node("Mul", "x c", "h"), node("Mul", "h half")], 3),  # not a sixth
        ([node("Neg", "x", "m"), node("Sigmoid", "m", "s"), node("Mul", "s m", "t"), node("Mul", "t x")], 3),
        ([*ERF, node("Mul", "x f", "g"), node("Mul", "g two")], 4),  # twice, not half
    ],
)
def test_what_is_nearly_an_activation_is_none(nodes: Any, least: int) -> None:
    outputs = "y z" if nodes[-1].output[0] == "z" else "y"
    model, _ = convert(graph(nodes, FLAT, **NUMBERS, r=F(math.sqrt(2)), outputs=outputs))

    assert len(kinds(model)) >= least


CONV = node("Conv", "x w", "c", pads=[1, 1, 1, 1])
W = rand(4, 3, 3, 3)


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (4, 1, 1)])
def test_an_offset_of_channels_is_the_bias(shape: Any) -> None:
    model, report = convert(graph([CONV, node("Add", "b c")], PICTURE, w=W, b=rand(*shape)))

    assert kinds(model) == ["Conv2D"]
    assert model.layers[-1].use_bias
    assert report.transpositions == 0


@pytest.mark.parametrize("shape", [(8,), (1, 1, 1, 8), (6, 8), (1,)])
def test_an_offset_of_places_is_no_bias(shape: Any) -> None:
    model, _ = convert(graph([CONV, node("Add", "c b")], PICTURE, w=W, b=rand(*shape)))

    assert not model.layers[1].use_bias


def test_a_scale_and_an_offset_of_channels_stay_these_and_train() -> None:
    """A BatchNormalization computes the same in inference, but is not the same where it trains: it has statistics."""
    nodes = [CONV, node("Mul", "c g", "m"), node("Add", "m b")]
    model, _ = convert(graph(nodes, PICTURE, w=W, g=rand(4, 1, 1), b=rand(1, 4, 1, 1, seed=1)))

    assert kinds(model) == ["Conv2D", "Scale", "Offset"]
    assert [each.path for each in model.trainable_weights] == ["c/kernel", "m/scale", "y/offset"]
    x = rand(2, 6, 8, 3)
    np.testing.assert_array_equal(model(x, training=True), model(x, training=False))


def test_what_is_wanted_between_stays() -> None:
    model, _ = convert(graph([CONV, node("Add", "c b")], PICTURE, outputs="y c", w=W, b=rand(4, 1, 1)))

    assert not model.layers[1].use_bias


LAYER_NORM = [
    *(node("ReduceMean", "x", "m", axes=[-1]), node("Sub", "x m", "d")),
    *(node("ReduceMean", "p", "v", axes=[-1]), node("Add", "v e", "ve"), node("Sqrt", "ve", "r")),
]
POW, SQUARE = node("Pow", "d two", "p"), node("Mul", "d d", "p")
DIVIDED = [node("Div", "d r", "n")]
MULTIPLIED = [node("Reciprocal", "r", "i"), node("Mul", "d i", "n")]


@pytest.mark.parametrize("square", [POW, SQUARE])
@pytest.mark.parametrize("end", [DIVIDED, MULTIPLIED])
def test_a_layer_normalization_in_pieces_is_one_layer(square: Any, end: Any) -> None:
    nodes = [*LAYER_NORM[:2], square, *LAYER_NORM[2:], *end, node("Mul", "n g", "s"), node("Add", "b s")]
    model, _ = convert(graph(nodes, {"x": ("n", 7, 5)}, e=F(1e-5), g=rand(5), b=rand(5, seed=1), **NUMBERS))

    assert kinds(model) == ["LayerNormalization"]
    assert len(model.layers[-1].trainable_weights) == 2


@pytest.mark.parametrize("bias", ["Add", "Sub"])
def test_a_layer_normalization_as_tensorflow_computes_it_is_one_layer(bias: str) -> None:
    """With channels along axis 1, as tf2onnx leaves it between convolutions."""
    inner = [*LAYER_NORM[:2], SQUARE, *LAYER_NORM[2:], node("Reciprocal", "r", "i"), node("Mul", "i g", "a")]
    inner[0], inner[3] = node("ReduceMean", "x", "m", axes=[1]), node("ReduceMean", "p", "v", axes=[1])
    shift = [node("Neg", "m", "n"), node("Mul", "n a", "na"), node("Add", "na b", "s")]
    if bias == "Sub":
        shift = [node("Mul", "m a", "ma"), node("Sub", "b ma", "s")]
    nodes = [node("Conv", "picture w", "x"), *inner, node("Mul", "x a", "l"), *shift, node("Add", "l s")]
    arrays = {"g": rand(1, 4, 1, 1), "b": rand(1, 4, 1, 1, seed=1), "w": W}
    model, report = convert(graph(nodes, {"picture": PICTURE["x"]}, e=F(1e-5), **arrays))

    assert kinds(model) == ["Conv2D", "LayerNormalization"]
    np.testing.assert_array_equal(model.layers[2].gamma, arrays["g"].ravel())
    assert report.transpositions == 0


GROUPS = [
    node("Reshape", "x rows", "r"),
    node("InstanceNormalization", "r ones zeros", "n"),
    node("Shape", "x", "sizes"),
]
GROUPED = {"rows": np.array([0, 3, -1]), "ones": np.ones(3, "float32"), "zeros": np.zeros(3, "float32")}


def test_groups_in_pieces_are_one_layer() -> None:
    nodes = [*GROUPS, node("Reshape", "n sizes", "g"), node("Mul", "g a", "s"), node("Add", "s b")]
    model, report = convert(
        graph(nodes, {"x": ("n", 6, "h", "w")}, a=rand(6, 1, 1), b=rand(6, 1, 1, seed=1), **GROUPED)
    )

    assert kinds(model) == ["GroupNormalization"]
    assert (model.layers[-1].groups, len(model.layers[-1].trainable_weights)) == (3, 2)
    assert report.transpositions == 0


def test_groups_that_become_something_else_stay_in_pieces() -> None:
    nodes = [*GROUPS[:2], node("Reshape", "n flat", "g"), node("Mul", "g a")]
    model, _ = convert(graph(nodes, {"x": ("n", 6, 4, 4)}, flat=np.array([0, 96]), a=rand(96), **GROUPED))

    assert kinds(model)[-2:] == ["Reshape", "Scale"]


def _windows(rows: int, height: int, stride: int) -> Any:
    places = np.arange(rows)[:, None] * stride + np.arange(height)
    down, right = np.broadcast_arrays(places[:, :, None, None], places)
    return np.stack([down, right], axis=-1)


@pytest.mark.parametrize(("rows", "height", "stride"), [(3, 3, 3), (3, 5, 2), (1, 9, 1)])
def test_adaptive_pooling_as_pytorch_writes_it_is_a_pool(rows: int, height: int, stride: int) -> None:
    nodes = [
        *(node("Transpose", "x", "f", perm=[2, 3, 0, 1]), node("GatherND", "f places", "g")),
        *(node("Transpose", "g", "w", perm=[4, 5, 0, 1, 2, 3]), node("ReduceMean", "w", axes=[3, -1], keepdims=0)),
    ]
    model, report = convert(graph(nodes, {"x": ("n", 4, 9, 9)}, places=_windows(rows, height, stride)))

    assert kinds(model) == ["AveragePooling2D"]
    assert report.transpositions == 0


def test_a_normalization_by_another_mean_is_none() -> None:
    nodes = [*LAYER_NORM[:2], node("Mul", "x x", "p"), *LAYER_NORM[2:], *DIVIDED]
    model, _ = convert(graph(nodes, {"x": ("n", 7, 5)}, outputs="n", e=F(1e-5)))

    assert "LayerNormalization" not in kinds(model)


DEPTH = node("Conv", "x d", "c", group=3, pads=[1, 1, 1, 1], strides=[2, 2])


@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_of_depth_and_one_of_points_are_a_separable_one(bias: bool) -> None:
    nodes = [DEPTH, node("Conv", "c w b" if bias else "c w")]
    model, _ = convert(graph(nodes, PICTURE, d=rand(6, 1, 3, 3), w=rand(5, 6, 1, 1), b=rand(5)))

    assert kinds(model)[-1] == "SeparableConv2D"
    assert len(model.layers[-1].trainable_weights) == 2 + bias


def test_they_are_two_where_the_first_has_a_bias_of_its_own() -> None:
    deep = node("Conv", "x d b", "c", group=3, pads=[1, 1, 1, 1])
    model, _ = convert(graph([deep, node("Conv", "c w")], PICTURE, d=rand(3, 1, 3, 3), w=rand(5, 3, 1, 1), b=rand(3)))

    assert kinds(model) == ["DepthwiseConv2D", "Conv2D"]
