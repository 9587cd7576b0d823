"""Reduce*, Softmax and its like, ArgMax, CumSum, TopK: on any axes, in the order in which Keras holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_graphs import convert, graph, kinds, node, rand

CONV = node("Conv", "x w", "c")
W = rand(4, 3, 2, 2)
X = {"x": ("n", 3, 6, 8)}


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(
    ("operator", "kind"), [("ReduceMean", "GlobalAveragePooling2D"), ("ReduceMax", "GlobalMaxPooling2D")]
)
def test_over_all_places_of_a_picture_is_pooling(operator: str, kind: str, keepdims: int, tmp_path: Path) -> None:
    made = node(operator, "c", axes=[2, -1], keepdims=keepdims)
    model, report = convert(graph([CONV, made], X, 13, w=W), tmp_path)
    assert kinds(model) == ["Conv2D", kind]
    assert model.output_shape == ((None, 1, 1, 4) if keepdims else (None, 4))
    assert report.transpositions == 0


@pytest.mark.parametrize("axes", [[1], [-1, 1], [2], [3, 2, 1], None, [0, 2]])
@pytest.mark.parametrize(
    "operator",
    ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare"],
)
def test_over_any_axes_of_a_picture(operator: str, axes: Any, tmp_path: Path) -> None:
    for keepdims in (0, 1):
        made = node(f"Reduce{operator}", "c a" if axes else "c", keepdims=keepdims)
        model = graph([CONV, made], {"x": (2, 3, 6, 8)}, 18, w=W, **({"a": np.int64(axes)} if axes else {}))
        turned = axes == [0, 2] and not keepdims  # Keras has [places, channels] then, and nobody asks for it so
        assert convert(model)[1].transpositions == turned


def test_over_elements_that_lie_in_another_order(tmp_path: Path) -> None:
    nodes = [CONV, node("Flatten", "c", "f"), node("ReduceMax", "f", "m", axes=[1]), node("Sub", "f m", "s")]
    nodes += [node("Softmax", "s", "p"), node("ArgMax", "p", "i", axis=1, keepdims=0), node("CumSum", "p one", "q")]
    nodes += [node("TopK", "p k", "v t", axis=-1)]
    model = graph(nodes, X, 13, "i q v t", w=W, one=np.int64(1), k=np.int64([5]))
    convert(model, tmp_path)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(("opset", "axis"), [(11, 1), (11, 2), (11, -1), (13, 1), (13, -1), (13, 2)])
def test_softmax_has_two_meanings(operator: str, opset: int, axis: int, tmp_path: Path) -> None:
    model, report = convert(graph([CONV, node(operator, "c", axis=axis)], X, opset, w=W), tmp_path)
    if operator == "Softmax":
        layer = model.layers[-1]
        assert kinds(model) == ["Conv2D", "Softmax"]
        assert list(np.atleast_1d(layer.axis)) == {
            (11, 1): [1, 2, 3], (11, 2): [1, 2], (11, -1): [2], (13, 1): [-1], (13, -1): [2], (13, 2): [1],
        }[opset, axis]  # fmt: skip
        assert report.transpositions == 0


@pytest.mark.parametrize("operator", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
def test_of_equal_elements_the_first_or_the_last(operator: str, last: int, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 6, 8)).astype("float32")
    for axis in (1, -1):
        made = node(operator, "r", axis=axis, select_last_index=last, keepdims=axis % 2)
        model, _ = convert(graph([made], {"r": (2, 3, 6, 8)}, 13), tmp_path, examples={"r": x})
        assert model.outputs[0].dtype == "int64"


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [1, -1])
def test_cumulative_sums(exclusive: int, reverse: int, axis: int, tmp_path: Path) -> None:
    made = node("CumSum", "c a", exclusive=exclusive, reverse=reverse)
    convert(graph([CONV, made], X, 14, w=W, a=np.int64(axis)), tmp_path)


@pytest.mark.parametrize("largest", [0, 1])
def test_the_largest_along_channels(largest: int, tmp_path: Path) -> None:
    _model, report = convert(
        graph([CONV, node("TopK", "c k", "y i", axis=1, largest=largest)], X, 13, "y i", w=W, k=np.int64([3]))
    )
    assert report.transpositions == 0
    convert(graph([node("TopK", "x", "y i", k=2)], {"x": ("n", 5)}, 9, "y i"), tmp_path)
