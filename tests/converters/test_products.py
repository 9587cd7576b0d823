"""MatMul, Gemm and Einsum: weights become Dense and EinsumDense, and nothing is moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_graphs import convert, graph, kinds, node, rand

CONV = node("Conv", "x w", "c")
W = rand(4, 3, 2, 2)
X = {"x": ("n", 3, 6, 8)}


@pytest.mark.parametrize("sizes", [("n", 5), ("n", 7, 5), ("n", 2, 7, 5)])
def test_a_matrix_of_weights_is_a_dense(sizes: Any, tmp_path: Path) -> None:
    model, _ = convert(graph([node("MatMul", "x k")], {"x": sizes}, k=rand(5, 6)), tmp_path)
    assert kinds(model) == ["Dense"]
    assert model.layers[-1].name == "y"
    nodes = [node("MatMul", "x k", "m"), node("Add", "b m")]
    model, _ = convert(graph(nodes, {"x": sizes}, k=rand(5, 6), b=rand(6)), tmp_path)
    assert kinds(model) == ["Dense"]
    assert model.layers[-1].use_bias


def test_weights_on_either_side_of_a_picture_leave_it_where_it_lies(tmp_path: Path) -> None:
    nodes = [CONV, node("MatMul", "c k", "m"), node("MatMul", "l m")]
    model, report = convert(graph(nodes, X, w=W, k=rand(7, 6), l=rand(9, 5)), tmp_path)
    assert kinds(model) == ["Conv2D", "EinsumDense", "EinsumDense"]
    assert report.transpositions == 0
    assert all(layer.trainable_weights for layer in model.layers[1:])


def test_weights_over_the_channels_of_tokens_are_a_dense(tmp_path: Path) -> None:
    nodes = [CONV, node("Reshape", "c s", "r"), node("Transpose", "r", "t", perm=[0, 2, 1]), node("MatMul", "t k")]
    model, _report = convert(graph(nodes, X, w=W, s=np.int64([0, 4, -1]), k=rand(4, 6)), tmp_path)
    assert kinds(model)[-1] == "Dense"


@pytest.mark.parametrize("beta", [1.0, 0.3])
@pytest.mark.parametrize("bias", [(6,), (1, 6), (1,), (), (3, 6), (3, 1), None])
def test_gemm_is_a_dense(beta: float, bias: Any, tmp_path: Path) -> None:
    for turned in (0, 1):
        made = node("Gemm", "x k b" if bias is not None else "x k", alpha=0.7, beta=beta, transB=turned, transA=turned)
        arrays = {"k": rand(6, 5) if turned else rand(5, 6), **({} if bias is None else {"b": rand(*bias)})}
        x = (5, 3) if turned else (3, 5)
        model, _ = convert(graph([made], {"x": x}, 13, **arrays), tmp_path)
        assert "Dense" in kinds(model)
        assert ("Offset" in kinds(model)) == (bias in ((3, 6), (3, 1)))


def test_gemm_behind_a_flatten_follows_its_elements(tmp_path: Path) -> None:
    nodes = [CONV, node("Flatten", "c", "f"), node("Gemm", "f k b", transB=1)]
    model, report = convert(graph(nodes, X, w=W, k=rand(6, 140), b=rand(6)), tmp_path)
    assert kinds(model)[-1] == "Dense"
    assert report.transpositions == 0


def test_gemm_of_tensors_and_of_weights_first(tmp_path: Path) -> None:
    made = node("Gemm", "x z c", transA=1, alpha=0.5, beta=2.0)
    convert(graph([made], {"x": (5, 3), "z": (5, 6), "c": (3, 1)}), tmp_path)
    convert(graph([node("Gemm", "k x", transB=1)], {"x": (3, 5)}, k=rand(4, 5)), tmp_path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((2, 3, 4, 5), (2, 3, 5, 6)),
        ((2, 1, 4, 5), (3, 5, 6)),
        ((4, 5), (2, 5, 3)),
        ((5,), (2, 5, 3)),
        ((2, 4, 5), (5,)),
    ],
)
def test_products_of_tensors(one: Any, other: Any, tmp_path: Path) -> None:
    convert(graph([node("MatMul", "x z")], {"x": one, "z": other}), tmp_path)
    convert(graph([node("MatMul", "x z")], {"x": one}, z=rand(*other)), tmp_path)
    convert(graph([node("MatMul", "x z")], {"z": other}, x=rand(*one)), tmp_path)


def test_a_stack_of_matrices_is_a_weight(tmp_path: Path) -> None:
    model, _ = convert(graph([node("MatMul", "x k")], {"x": ("n", 3, 4, 5)}, k=rand(3, 5, 6)), tmp_path)
    assert kinds(model) == ["EinsumDense"]
    assert model.count_params() == 90


def test_attention_moves_nothing(tmp_path: Path) -> None:
    heads, back = np.int64([0, 0, 3, 4]), np.int64([0, 0, 12])
    nodes = []
    for name, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [node("MatMul", f"x w{name}", f"{name}1"), node("Reshape", f"{name}1 heads", f"{name}2")]
        nodes += [node("Transpose", f"{name}2", f"{name}3", perm=perm)]
    nodes += [
        node("MatMul", "q3 k3", "s"),
        node("Mul", "s half", "h"),
        node("Softmax", "h", "p"),
        node("MatMul", "p v3", "o"),
    ]
    nodes += [node("Transpose", "o", "t", perm=[0, 2, 1, 3]), node("Reshape", "t back", "r"), node("MatMul", "r wo")]
    weights = {f"w{name}": rand(12, 12, seed=at) for at, name in enumerate("qkvo")}
    for length in (7, "t"):
        model = graph(nodes, {"x": ("n", length, 12)}, heads=heads, back=back, half=np.float32(0.5), **weights)
        converted, report = convert(model, tmp_path)
        assert report.transpositions == 0
        assert kinds(converted).count("Dense") == 4
        assert kinds(converted).count("Einsum") == 2


@pytest.mark.parametrize(
    ("equation", "sizes"),
    [
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]), ("...ij,...jk", [(2, 3, 4), (2, 4, 5)]), ("ij->ji", [(3, 4)]),
        ("...ii->...i", [(2, 3, 3)]), ("bnij,bnkj->bnik", [(2, 2, 3, 4), (2, 2, 5, 4)]), ("ij->", [(3, 4)]),
        ("abc,cd->abd", [(2, 3, 4), (4, 5)]), ("bchw,bkc->bkhw", [(2, 3, 4, 5), (2, 6, 3)]),
        ("bhwc,hkc->bhwk", [(2, 3, 4, 5), (3, 6, 5)]),
    ],
)  # fmt: skip
def test_formulas(equation: str, sizes: Any, tmp_path: Path) -> None:
    names = [f"x{at}" for at in range(len(sizes))]
    made = node("Einsum", " ".join(names), equation=equation)
    convert(graph([made], dict(zip(names, sizes, strict=True))), tmp_path)
    if len(sizes) > 1:
        model, _ = convert(graph([made], {"x0": sizes[0]}, x1=rand(*sizes[1])), tmp_path)
        assert ("EinsumDense" in kinds(model)) == (equation in ("abc,cd->abd", "bhwc,hkc->bhwk"))


@pytest.mark.parametrize("masked", [False, True])
def test_the_operator_attention(masked: bool, tmp_path: Path) -> None:
    inputs = {"q": ("n", 5, 12), "k": ("n", 7, 6), "v": ("n", 7, 8)}
    made = node("Attention", "q k v m" if masked else "q k v", q_num_heads=4, kv_num_heads=2, is_causal=int(not masked))
    arrays = {"m": np.random.default_rng(0).integers(0, 2, (5, 7)).astype(bool)} if masked else {}
    _, report = convert(graph([made], inputs, 23, **arrays), tmp_path)
    assert report.transpositions == 0


@pytest.mark.parametrize("columns", [4, 5, 9])
def test_the_bias_of_a_product_along_another_axis_than_the_last_stays_there(columns: int, tmp_path: Path) -> None:
    nodes = [CONV, node("MatMul", "c k", "m"), node("Add", "m b")]
    model, report = convert(graph(nodes, X, w=W, k=rand(7, columns), b=rand(columns)), tmp_path)
    assert kinds(model) == ["Conv2D", "EinsumDense", "Offset"]
    assert report.transpositions == 0


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_to_as_many_keys_as_are_told(causal: int, tmp_path: Path) -> None:
    made = node("Attention", "q k v m _ _ l", is_causal=causal)
    inputs = {"q": (2, 3, 4, 8), "k": (2, 3, 6, 8), "v": (2, 3, 6, 5), "l": (2,)}
    examples = {name: rand(*sizes, seed=len(name)) for name, sizes in inputs.items()} | {"l": np.array([5, 4])}
    convert(graph([made], inputs, 24, types={"l": "int64"}, m=rand(4, 6)), examples=examples)
