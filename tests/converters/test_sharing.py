"""Nodes that read the same arrays: one layer that is called several times, where that is no chance.

onnxruntime judges each conversion as a whole.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from onnx_graphs import convert, graph, kinds, node, rand

BOTH = {"a": ("n", 3, 6, 8), "b": ("n", 3, 6, 8)}
CONVS = [node("Conv", "a w", "ca"), node("Conv", "b w", "cb")]
W = rand(4, 3, 3, 3)
ONES, ZEROS = np.ones(4, "float32"), np.zeros(4, "float32")
FRESH = {"s": ONES, "o": ZEROS, "m": ZEROS, "v": ONES}
LEARNED = {**FRESH, "m": rand(4), "v": np.abs(rand(4, seed=1)) + 0.5}


def _calls(model: keras.Model, kind: str) -> list[int]:
    """Returns how often each layer of a class is called."""
    return [len(each._inbound_nodes) for each in model.layers if type(each).__name__ == kind]


def _normalized(convs: list[Any]) -> list[Any]:
    norms = [node("BatchNormalization", f"{each.output[0]} s o m v", f"n{each.output[0]}") for each in convs]
    return [*convs, *norms, node("Add", " ".join(each.output[0] for each in norms))]


def test_an_array_by_another_name_is_the_same_array() -> None:
    nodes = [
        *(node("Identity", "w", "w1"), node("Identity", "w1", "w2"), node("Identity", "o", "o1")),
        *(node("Conv", "a w o", "ca"), node("Conv", "b w2 o1", "cb"), node("Add", "ca cb")),
    ]
    model, _ = convert(graph(nodes, BOTH, w=W, o=rand(4)))

    assert _calls(model, "Conv2D") == [2]


def test_an_array_that_is_wanted_by_another_name_is_put_out() -> None:
    nodes = [node("Identity", "w", "z"), node("Conv", "a z", "y")]
    model, _ = convert(graph(nodes, {"a": BOTH["a"]}, outputs="y z", w=W))

    assert len(model.outputs) == 2


def test_a_learned_normalization_is_one_layer() -> None:
    model, _ = convert(graph(_normalized(CONVS), BOTH, w=W, **LEARNED))

    assert _calls(model, "Conv2D") == _calls(model, "BatchNormalization") == [2]


def test_one_that_is_as_it_begins_is_one_layer_behind_a_shared_one() -> None:
    model, _ = convert(graph(_normalized(CONVS), BOTH, w=W, **FRESH))

    assert _calls(model, "Conv2D") == _calls(model, "BatchNormalization") == [2]


def test_normalizations_that_are_as_they_begin_are_several_layers_elsewhere() -> None:
    others = [CONVS[0], node("Conv", "b u", "cb")]
    model, _ = convert(graph(_normalized(others), BOTH, w=W, u=rand(4, 3, 3, 3, seed=1), **FRESH))

    assert _calls(model, "Conv2D") == _calls(model, "BatchNormalization") == [1, 1]


def test_two_that_read_the_same_tensor_are_two_layers() -> None:
    nodes = [
        *(node("BatchNormalization", "a s o m v", "p"), node("BatchNormalization", "a s o m v", "q")),
        node("Mul", "p q"),
    ]
    fresh = {name: each[:3] for name, each in FRESH.items()}
    model, _ = convert(graph(nodes, {"a": BOTH["a"]}, **fresh))

    assert _calls(model, "BatchNormalization") == [1, 1]


def test_kernels_that_are_as_they_begin_are_several_layers() -> None:
    model, _ = convert(graph([*CONVS, node("Add", "ca cb")], BOTH, w=np.zeros_like(W)))

    assert _calls(model, "Conv2D") == [1, 1]


@pytest.mark.parametrize("shape", [(4,), (1, 4)])
def test_a_product_and_an_offset_are_one_layer_whenever_they_are_so(shape: Any) -> None:
    steps = [each for at in range(3) for each in _step(at)]
    model, _ = convert(graph([*steps, node("Tanh", "h3")], {"h0": ("n", 4)}, w=rand(4, 4), o=rand(*shape)))

    assert _calls(model, "Dense") == [3]
    assert len(model.trainable_weights) == 2


def _step(at: int) -> list[Any]:
    return [node("MatMul", f"h{at} w", f"p{at}"), node("Add", f"p{at} o", f"h{at + 1}")]


def test_a_convolution_and_an_offset_are_one_layer_whenever_they_are_so() -> None:
    nodes = [*CONVS, node("Add", "ca o", "ya"), node("Add", "cb o", "yb"), node("Mul", "ya yb")]
    model, _ = convert(graph(nodes, BOTH, w=W, o=rand(1, 4, 1, 1)))

    assert _calls(model, "Conv2D") == [2]
    assert model.layers[2].use_bias


def test_a_matrix_behind_features_in_another_order_is_another_layer() -> None:
    """Flattened feature maps of Keras have their channels last, and the rows of the matrix lie as they do."""
    nodes = [
        *(node("Conv", "a w", "c"), node("Flatten", "c", "f"), node("Gemm", "f g", "p")),
        *(node("Gemm", "b g", "q"), node("Add", "p q")),
    ]
    model, _ = convert(graph(nodes, {"a": ("n", 3, 4, 4), "b": ("n", 16)}, w=W, g=rand(16, 5)))

    assert kinds(model).count("Dense") == 2


def _named(made: Any, name: str, scopes: str = "") -> Any:
    made.name = name
    if scopes:
        made.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    return made


@pytest.mark.parametrize(("second", "layers"), [("/net/c_1/Conv", 1), ("/net.1/c/Conv", 2), ("Conv_7", 2)])
def test_modules_that_begin_with_the_same_kernels_are_layers_of_their_own(second: str, layers: int) -> None:
    """As the older exporter names them: a copy of a module that has not trained yet has its arrays."""
    nodes = [
        _named(node("Conv", "a w", "ca"), "/net/c/Conv"),
        _named(node("Conv", "b w2", "cb"), second),
        node("Add", "ca cb"),
    ]
    model, _ = convert(graph([node("Identity", "w", "w2"), *nodes], BOTH, w=W))

    assert len(_calls(model, "Conv2D")) == layers


@pytest.mark.parametrize(("second", "layers"), [("net.0", 1), ("net.1", 2)])
def test_they_are_so_where_the_newer_exporter_tells_the_modules(second: str, layers: int) -> None:
    nodes = [
        _named(node("Conv", "a w", "ca"), "p", "['', 'net', 'net.0', 'conv2d']"),
        _named(node("Conv", "b w", "cb"), "q", f"['', 'net', '{second}', 'conv2d_1']"),
    ]
    model, _ = convert(graph([*nodes, node("Add", "ca cb")], BOTH, w=W))

    assert len(_calls(model, "Conv2D")) == layers
