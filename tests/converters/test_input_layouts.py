"""How inputs are held: pictures `channels_last`, whatever is done to them first; all else as ONNX has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_graphs import convert, graph, node, rand

PICTURE = {"x": ("n", 3, 6, 8)}
CONV = node("Conv", "c w")
W = rand(4, 3, 3, 3)
PLACES = {f"i{at}": np.array(at) for at in range(3)}


def _channel(at: int) -> list[Any]:
    return [
        *(node("Gather", f"x i{at}", f"g{at}", axis=1), node("Unsqueeze", f"g{at} axes", f"u{at}")),
        node("Mul", f"u{at} k{at}", f"m{at}"),
    ]


def test_a_picture_whose_channels_are_scaled_one_by_one_is_one() -> None:
    """As torchvision does where weights come from TensorFlow."""
    nodes = [*(each for at in range(3) for each in _channel(at)), node("Concat", "m0 m1 m2", "c", axis=1), CONV]
    numbers = {f"k{at}": np.float32(at + 0.5) for at in range(3)}
    model, report = convert(graph(nodes, PICTURE, w=W, axes=np.array([1]), **PLACES, **numbers))

    assert model.input_shape == (None, 6, 8, 3)
    assert report.transpositions == 0


@pytest.mark.parametrize("axis", [1, -3])
def test_a_picture_whose_channels_are_turned_around_is_one(axis: int) -> None:
    nodes = [node("Gather", "x order", "c", axis=axis), CONV]
    model, report = convert(graph(nodes, PICTURE, w=W, order=np.array([2, 1, 0])))

    assert model.input_shape == (None, 6, 8, 3)
    assert report.transpositions == 0


@pytest.mark.parametrize(
    ("nodes", "shape"),
    [
        ([node("Gather", "x order", "y", axis=2)], (None, 3, 6, 8)),  # rows
        ([node("Gather", "x i0", "c", axis=1), node("MatMul", "c m")], (None, 3, 6, 8)),
        ([node("Gather", "x i0", "c", axis=1), node("Unsqueeze", "c two", "y")], (None, 3, 6, 8)),
    ],
)
def test_what_is_no_picture_stays(nodes: Any, shape: Any) -> None:
    arrays = {"order": np.array([2, 1, 0]), "m": rand(8, 2), "two": np.array([2])}
    model, _ = convert(graph(nodes, PICTURE, **PLACES, **arrays))

    assert model.input_shape == shape


def test_sequences_of_which_a_feature_is_taken_stay() -> None:
    nodes = [node("Gather", "x order", "c", axis=1), node("MatMul", "c m")]
    model, _ = convert(graph(nodes, {"x": ("n", 3, 8)}, order=np.array([2, 1, 0]), m=rand(8, 2)))

    assert model.input_shape == (None, 3, 8)
