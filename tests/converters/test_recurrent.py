"""LSTM, GRU and RNN: the order of gates, directions and axes, and what comes out of them. onnxruntime judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_graphs import convert, graph, kinds, node, rand

from zoo.errors import IntegrityError

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
UNITS, FEATURES = 4, 3


def arrays(operator: str, directions: int, *, bias: bool = True) -> dict[str, Any]:
    width = GATES[operator] * UNITS
    found = {"w": rand(directions, width, FEATURES), "r": rand(directions, width, UNITS, seed=1)}
    return {**found, "b": rand(directions, 2 * width, seed=2)} if bias else found


@pytest.mark.parametrize(
    ("operator", "outputs"),
    [
        *((each, "y h") for each in sorted(GATES)),
        ("LSTM", "y"),
        pytest.param("GRU", "y", marks=pytest.mark.slow),
        pytest.param("RNN", "y", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_a_recurrent_layer_and_its_states(operator: str, direction: str, outputs: str, tmp_path: Path) -> None:
    made = node(operator, "x w r b", outputs, hidden_size=UNITS, direction=direction)
    directions = 2 if direction == "bidirectional" else 1
    model = graph([made], {"x": (6, "n", FEATURES)}, outputs=outputs, **arrays(operator, directions))

    converted, _ = convert(model, tmp_path)

    assert ("Bidirectional" if directions == 2 else {"RNN": "SimpleRNN"}.get(operator, operator)) in kinds(converted)


@pytest.mark.parametrize("reset", [0, 1])
def test_a_gru_resets_before_or_after(reset: int) -> None:
    made = node("GRU", "x w r b", hidden_size=UNITS, linear_before_reset=reset)
    converted, _ = convert(graph([made], {"x": (6, "n", FEATURES)}, **arrays("GRU", 1)))

    (layer,) = (each for each in converted.layers if type(each).__name__ == "GRU")
    assert layer.reset_after == bool(reset)


def test_states_of_an_lstm_go_in_and_come_out() -> None:
    made = node("LSTM", "x w r b _ h0 c0", "y h c", hidden_size=UNITS, direction="bidirectional")
    inputs = {"x": (6, 2, FEATURES), "h0": (2, 2, UNITS), "c0": (2, 2, UNITS)}

    convert(graph([made], inputs, outputs="y h c", **arrays("LSTM", 2)))


def test_both_directions_side_by_side_are_only_reshaped_once() -> None:
    nodes = [
        node("LSTM", "x w r b", "l", hidden_size=UNITS, direction="bidirectional"),
        node("Transpose", "l", "t", perm=[0, 2, 1, 3]),
        node("Reshape", "t s"),
    ]
    model = graph(nodes, {"x": (6, "n", FEATURES)}, s=np.int64([0, 0, -1]), **arrays("LSTM", 2))
    converted, _ = convert(model)

    assert "Reshape" not in kinds(converted)


def test_peepholes_and_other_activations_are_refused() -> None:
    peeping = node("LSTM", "x w r b _ _ _ p", hidden_size=UNITS)
    with pytest.raises(IntegrityError, match="peepholes"):
        convert(graph([peeping], {"x": (6, 1, FEATURES)}, p=rand(1, 3 * UNITS), **arrays("LSTM", 1)))
    clipped = node("GRU", "x w r b", hidden_size=UNITS, clip=0.5)
    with pytest.raises(IntegrityError, match="clips"):
        convert(graph([clipped], {"x": (6, 1, FEATURES)}, **arrays("GRU", 1)))
