"""Layers of ours in saved models: `zoo.load_model` knows them, and its guards let them pass."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from onnx_graphs import convert, graph, node, rand
from zoo.converters.importing.map_layers import LocalResponseNormalization, Resampling, Spread, WindowPooling

import zoo
from zoo.errors import IntegrityError


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


VAST = 10**9


@pytest.mark.parametrize(
    ("layer", "changes"),
    [
        (WindowPooling("max", [2], [1], [1], [(0, 0)]), {"pool_size": [VAST], "padding": [[VAST, VAST]]}),
        (WindowPooling("max", [2], [1], [1], [(0, 0)]), {"padding": [[VAST, VAST]], "strides": [VAST]}),
        (LocalResponseNormalization(3), {"size": VAST}),
        (Spread([2]), {"strides": [VAST]}),
    ],
)
def test_x07_layers_of_ours_do_not_take_for_ever(layer: Any, changes: dict[str, Any], tmp_path: Path) -> None:
    """Each of these would loop, or take memory, as soon as the model is traced."""
    path = tmp_path / "net.keras"
    keras.Sequential([keras.Input((8, 4)), layer, keras.layers.Dense(2)]).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["config"] |= changes
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (members | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, data)

    with pytest.raises(IntegrityError, match="cannot be loaded as model of Keras") as caught:
        zoo.load_model(path)
    assert "of at most" in str(caught.value.__cause__)


def test_x07_resampling_does_not_count_a_billion_places_for_one() -> None:
    rule = {"mode": "linear", "is_antialiased": True}
    with pytest.raises(ValueError, match="at most 4,?096 places"):
        Resampling([{"axis": 1, "scale": 1e-9, "size": 1}], rule)(np.zeros((1, 8, 1), "float32"))
