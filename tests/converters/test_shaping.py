"""Reshape and Flatten where several sizes vary: what stays is taken from the input when the model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_graphs import convert, graph, kinds, node, rand

PICTURE = {"x": ("n", 3, "h", "w")}


@pytest.mark.parametrize(
    "made",
    [
        node("Flatten", "x"),
        node("Reshape", "x pixels"),
        node("Reshape", "x whole"),
    ],
)
def test_places_of_pictures_of_any_size_become_one_axis(made: Any, tmp_path: Path) -> None:
    arrays = {"pixels": np.array([0, 3, -1]), "whole": np.array([0, -1])}
    arrays = {name: each for name, each in arrays.items() if name in made.input}
    model, _ = convert(graph([made], PICTURE, **arrays))
    x = rand(5, 3, 7, 4)
    np.testing.assert_array_equal(np.asarray(model(x)), x.reshape(5, *arrays.get("pixels", [0, -1])[1:]))


def test_patches_of_pictures_of_any_size_are_tokens(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "c", strides=[2, 2]),
        node("Reshape", "c s", "r"),
        node("Transpose", "r", "t", perm=[0, 2, 1]),
        node("MatMul", "t k"),
    ]
    arrays = {"w": rand(4, 3, 2, 2), "s": np.array([0, 4, -1]), "k": rand(4, 6)}
    model, report = convert(graph(nodes, PICTURE, **arrays), tmp_path)
    assert kinds(model) == ["Conv2D", "ReshapeLike", "Dense"]
    assert report.transpositions == 0


@pytest.mark.parametrize("turned", [0, 1])
def test_weights_tell_how_long_an_axis_is_that_varies(turned: int) -> None:
    """What is cut out of an axis that varies may be shorter; a matrix of weights says that it is not."""
    nodes = [
        node("Slice", "x a b c", "s"),
        node("MatMul", "s k" if not turned else "l s", "m"),
        node("Transpose", "s", "t", perm=[0, 2, 1]),
        node("Conv", "s" + " w" if turned else "t w", "z"),
    ]
    arrays = {"a": np.array([1]), "b": np.array([4]), "c": np.array([1 if turned else 2])}
    arrays |= {"l": rand(2, 3)} if turned else {"k": rand(3, 5)}
    inputs = {"x": ("n", "t", 6) if turned else ("n", 6, "t")}
    convert(graph(nodes, inputs, outputs="m z", **arrays, w=rand(4, 3, 2)))
