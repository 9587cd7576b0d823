"""Layers of ours in saved models: `zoo.load_model` knows them, and its guards let them pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from onnx_graphs import convert, graph, node, rand

import zoo


def test_a_converted_model_with_layers_of_ours_is_loaded_by_zoo(tmp_path: Path) -> None:
    nodes = [
        node("LRN", "x", "l", size=3, alpha=0.1),
        node("Add", "l p", "a"),
        node("AveragePool", "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
    ]
    model, _ = convert(graph(nodes, {"x": ("n", 4, 5, 7)}, p=rand(1, 4, 5, 7)))
    model.save(tmp_path / "net.keras")
    x = rand(2, 5, 7, 4)

    loaded = zoo.load_model(tmp_path / "net.keras")

    np.testing.assert_array_equal(loaded(x), model(x))


def test_loading_models_needs_no_runtime_of_onnx() -> None:
    code = "import sys, zoo.loading; print({'onnx', 'onnxruntime', 'tf2onnx'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
