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


def test_a_single_number_is_the_bias_of_a_single_unit() -> None:
    model, _ = convert(graph([node("MatMul", "x w", "m"), node("Add", "m b")], {"x": ("n", 3)}, w=rand(3, 1), b=rand()))

    assert kinds(model) == ["Dense"]


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


def _responses(size: int, before: int, wide: list[Any], narrow: list[Any]) -> list[Any]:
    """Returns what PyTorch writes for the normalization by the channels around."""
    after = size - 1 - before
    return [
        *(node("Mul", "x x", "q"), *wide),
        node("Pad", "w", "p", pads=[0, 0, before, 0, 0, 0, 0, after, 0, 0], mode="constant"),
        node("AveragePool", "p", "a", kernel_shape=[size, 1, 1], strides=[1, 1, 1]),
        *narrow,
        *(node("Mul", "n alpha", "m"), node("Add", "m bias", "k"), node("Pow", "k beta", "d"), node("Div", "x d")),
    ]


LRN = {"alpha": F(0.3), "beta": F(0.6), "bias": F(1.5), "shape": np.array([0, 1, 8, 6, -1])}
WIDE, NARROW = [node("Reshape", "q shape", "w")], [node("Squeeze", "a", "n", axes=[1])]


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_normalization_by_the_channels_around_is_one_layer(size: int) -> None:
    nodes = [*_responses(size, size // 2, WIDE, NARROW)[:-1], node("Div", "x d", "r"), node("Conv", "r w8")]
    model, report = convert(graph(nodes, {"x": ("n", 8, 6, 7)}, opset=9, w8=rand(4, 8, 3, 3), **LRN))

    assert kinds(model) == ["LocalResponseNormalization", "Conv2D"]
    assert report.transpositions == 0
    assert (model.layers[1].size, model.layers[1].bias) == (size, 1.5)


def test_it_is_so_where_the_odd_channel_of_an_even_number_lies_before() -> None:
    nodes = [node("Conv", "picture w8", "x", pads=[1, 1, 1, 1]), *_responses(4, 2, WIDE, NARROW)]
    model, report = convert(graph(nodes, {"picture": ("n", 3, 6, 7)}, opset=9, w8=rand(8, 3, 3, 3), **LRN))

    assert kinds(model)[1:3] == ["Take", "LocalResponseNormalization"]
    assert report.error < 1e-6


def test_it_is_so_where_sizes_are_looked_at_first() -> None:
    """As the older exporter writes it: an axis is taken away only if it has one element."""
    then = graph([node("Squeeze", "a", "s", axes=[1])], {"a": (1,)}, opset=11, outputs="s").graph
    other = graph([node("Identity", "a", "i")], {"a": (1,)}, opset=11, outputs="i").graph
    del then.input[:], other.input[:]
    narrow = [
        *(node("Shape", "a", "sizes"), node("Gather", "sizes first", "size"), node("Equal", "size first", "is_one")),
        node("If", "is_one", "s1", then_branch=then, else_branch=other),
        *(node("Shape", "x", "own"), node("Reshape", "s1 own", "n")),
    ]
    nodes = [*_responses(5, 2, WIDE, narrow)]
    nodes[2] = node("Pad", "w pads", "p", mode="constant")
    pads = np.array([0, 0, 2, 0, 0, 0, 0, 2, 0, 0])
    model, _ = convert(graph(nodes, {"x": ("n", 8, 6, 7)}, opset=11, pads=pads, first=np.array([1]), **LRN))

    assert kinds(model) == ["LocalResponseNormalization"]


def test_of_sequences_it_is_one_layer_too() -> None:
    nodes = _responses(3, 1, [node("Unsqueeze", "q", "w", axes=[1])], NARROW)
    nodes[2] = node("Pad", "w", "p", pads=[0, 0, 1, 0, 0, 0, 1, 0], mode="constant")
    nodes[3] = node("AveragePool", "p", "a", kernel_shape=[3, 1], strides=[1, 1])
    model, _ = convert(graph(nodes, {"x": ("n", 8, 6)}, opset=9, **LRN))

    assert "LocalResponseNormalization" in kinds(model)


@pytest.mark.parametrize("change", ["places", "number", "another"])
def test_what_is_nearly_such_a_normalization_is_none(change: str) -> None:
    nodes = _responses(3, 1, WIDE, NARROW)
    if change == "places":
        nodes[2] = node("Pad", "w", "p", pads=[0, 0, 0, 1, 0, 0, 0, 0, 1, 0], mode="constant")
        nodes[3] = node("AveragePool", "p", "a", kernel_shape=[1, 3, 1], strides=[1, 1, 1])
    elif change == "number":
        nodes[2] = node("Pad", "w", "p", pads=[0, 0, 1, 0, 0, 0, 0, 1, 0, 0], mode="constant", value=2.0)
    else:
        nodes[0] = node("Mul", "z z", "q")
    inputs = {"x": ("n", 8, 6, 7)} | ({"z": ("n", 8, 6, 7)} if change == "another" else {})
    model, _ = convert(graph(nodes, inputs, opset=9, **LRN))

    assert "LocalResponseNormalization" not in kinds(model)


def _regrouped(parts: list[int], permutation: list[int], shape: list[int]) -> tuple[list[Any], dict[str, Any]]:
    """Returns what moves axes between two Reshapes."""
    nodes = [
        *(node("Reshape", "c parts", "p"), node("Transpose", "p", "t", perm=permutation)),
        node("Reshape", "t shape", "r"),
    ]
    return nodes, {"parts": np.array(parts), "shape": np.array(shape)}


@pytest.mark.parametrize("ends", ["split", "conv", "out"])
def test_channels_that_are_shuffled_are_one_operation(ends: str) -> None:
    nodes, arrays = _regrouped([0, 2, 3, 4, 5], [0, 2, 1, 3, 4], [-1, 6, 4, 5])
    last = {
        "split": [node("Split", "r", "h1 h2", axis=1), node("Mul", "h1 h2", "y")],
        "conv": [node("Conv", "r w6", "y")],
        "out": [node("Identity", "r", "y")],
    }
    first = node("Conv", "x w", "c")
    arrays |= {"w": rand(6, 3, 3, 3), "w6": rand(4, 6, 2, 2)}
    model, report = convert(graph([first, *nodes, *last[ends]], {"x": ("n", 3, 6, 7)}, opset=13, **arrays))

    assert kinds(model)[1] == "Take"
    assert not {"Permute", "Reshape"} & set(kinds(model))
    assert report.transpositions == 0


def test_channels_are_shuffled_twice_in_any_order_they_lie_in() -> None:
    one, arrays = _regrouped([0, 2, 3, 4, 4], [0, 2, 1, 3, 4], [0, 6, 4, 4])
    nodes = [node("SpaceToDepth", "x", "u", blocksize=2), node("Conv", "u w", "c"), *one]
    model, _ = convert(graph(nodes, {"x": ("n", 1, 10, 10)}, outputs="r", w=rand(6, 4, 2, 2), **arrays))

    assert kinds(model)[-1] == "Take"


def test_channels_of_pictures_whose_sizes_vary_are_shuffled() -> None:
    nodes, _ = _regrouped([], [0, 2, 1, 3, 4], [])
    sizes = [
        *(node("Shape", "c", "shape"), node("Gather", "shape two", "h"), node("Gather", "shape three", "w1")),
        node("Concat", "zero groups each h w1", "parts", axis=0),
    ]
    numbers = {"zero": 0, "groups": 3, "each": 2, "two": 2, "three": 3}
    arrays = {name: np.array([each]) for name, each in numbers.items()}
    first = node("Conv", "x w", "c")
    model, _ = convert(
        graph([first, *sizes, *nodes], {"x": ("n", 3, "h", "w")}, outputs="r", w=rand(6, 3, 3, 3), **arrays),
        shapes={"x": (None, 3, None, None)},
    )

    assert kinds(model) == ["Conv2D", "Take"]


@pytest.mark.parametrize("permutation", [[0, 1, 3, 5, 2, 4], [0, 3, 5, 1, 2, 4]])
def test_blocks_that_become_channels_are_one_operation(permutation: list[int]) -> None:
    nodes, arrays = _regrouped([-1, 3, 4, 2, 3, 2], permutation, [-1, 12, 4, 3])
    nodes[0] = node("Reshape", "x parts", "p")
    arrays |= {"w": rand(5, 12, 3, 3)}
    model, _ = convert(graph([*nodes, node("Conv", "r w")], {"x": ("n", 3, 8, 6)}, **arrays))

    assert kinds(model)[0] == "SpaceToDepth"
    assert model.input_shape == (None, 8, 6, 3)


@pytest.mark.parametrize(
    ("parts", "permutation"), [([-1, 3, 2, 2, 4, 5], [0, 1, 4, 2, 5, 3]), ([-1, 2, 2, 3, 4, 5], [0, 3, 4, 1, 5, 2])]
)
def test_channels_that_become_blocks_are_one_operation(parts: list[int], permutation: list[int]) -> None:
    nodes, arrays = _regrouped(parts, permutation, [-1, 3, 8, 10])
    first = node("Conv", "x w", "c")
    model, _ = convert(graph([first, *nodes], {"x": ("n", 3, 6, 7)}, outputs="r", w=rand(12, 3, 3, 3), **arrays))

    assert kinds(model)[-1] == "DepthToSpace"


@pytest.mark.parametrize(
    ("parts", "permutation", "shape"),
    [
        ([-1, 2, 3, 4, 5], [0, 2, 1, 3, 4], [-1, 3, 8, 5]),  # becomes something else
        ([-1, 2, 6, 2, 5], [0, 2, 1, 3, 4], [-1, 6, 4, 5]),  # rows are among the channels
        ([-1, 6, 2, 2, 5, 1], [0, 1, 3, 5, 2, 4], [-1, 12, 2, 5]),  # blocks of 2 x 1
        ([-1, 6, 1, 1, 4, 5], [0, 1, 4, 2, 5, 3], [-1, 6, 5, 4]),  # blocks of one place, and turned
    ],
)
def test_what_moves_otherwise_stays_in_pieces(parts: Any, permutation: Any, shape: Any) -> None:
    nodes, arrays = _regrouped(parts, permutation, shape)
    first = node("Conv", "x w", "c")
    model, _ = convert(graph([first, *nodes], {"x": ("n", 3, 6, 7)}, outputs="r", w=rand(6, 3, 3, 3), **arrays))

    assert not {"Take", "SpaceToDepth", "DepthToSpace"} & set(kinds(model))


@pytest.mark.parametrize("axis", [1, 2])
def test_a_place_whose_axis_is_put_back_keeps_it(axis: int) -> None:
    nodes = [node("Gather", "x i", "g", axis=axis), node("Unsqueeze", "g axes")]
    model, _ = convert(graph(nodes, {"x": ("n", 4, 5)}, i=np.array(-2), axes=np.array([axis])))

    assert kinds(model) == ["Take"]


@pytest.mark.parametrize("between", [[], [node("Relu", "c", "r")]])
def test_kernels_lie_as_their_channels_become_blocks(between: list[Any]) -> None:
    """Keras takes channels for blocks in another order than PyTorch."""
    nodes = [node("Conv", "x w b", "c"), *between]
    nodes.append(node("DepthToSpace", nodes[-1].output[0], blocksize=2, mode="CRD"))
    model, report = convert(graph(nodes, {"x": ("n", 3, 6, 7)}, w=rand(12, 3, 3, 3), b=rand(12)))

    assert kinds(model) == ["Conv2D", *(["ReLU"] if between else []), "DepthToSpace"]
    assert report.transpositions == 0


@pytest.mark.parametrize("other", ["wanted", "read", "groups"])
def test_kernels_stay_where_others_read_their_channels(other: str) -> None:
    nodes = [node("Conv", "x w", "c", group=3 if other == "groups" else 1)]
    nodes.append(node("DepthToSpace", "c", blocksize=2, mode="CRD"))
    if other == "read":
        nodes.append(node("GlobalAveragePool", "c", "z"))
    outputs = {"wanted": "y c", "read": "y z", "groups": "y"}[other]
    kernel = rand(12, 1 if other == "groups" else 3, 3, 3)
    model, _ = convert(graph(nodes, {"x": ("n", 3, 6, 7)}, outputs=outputs, w=kernel))

    assert "Take" in kinds(model)


def test_a_shared_convolution_stays_one_layer_where_its_channels_become_blocks() -> None:
    nodes = [
        *(node("Conv", "x w", "c"), node("DepthToSpace", "c", "p", blocksize=2, mode="CRD")),
        *(node("Conv", "z w", "d"), node("DepthToSpace", "d", "q", blocksize=2, mode="CRD"), node("Add", "p q")),
    ]
    model, _ = convert(graph(nodes, {"x": ("n", 3, 6, 7), "z": ("n", 3, 6, 7)}, w=rand(12, 3, 3, 3)))

    assert kinds(model).count("Conv2D") == 1


def test_weights_that_come_first_in_a_formula_train() -> None:
    """As capsules multiply what they see by a matrix each."""
    made = node("Einsum", "w x", equation="jiop,bip->bjio")
    model, _ = convert(graph([made], {"x": ("n", 5, 4)}, w=rand(3, 5, 6, 4)))

    assert kinds(model) == ["EinsumDense"]
    assert model.count_params() == len(model.trainable_weights) * 3 * 5 * 6 * 4
