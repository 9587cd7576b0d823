"""A batch size that a file has fixed is open afterwards, wherever the file writes it among its sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_graphs import convert, graph, node, rand
from zoo.converters.importing.batches import with_open_batch
from zoo.converters.importing.values import OPEN_BATCH


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_heads_of_attention_as_pytorch_writes_them_leave_the_batch_open(batch: int) -> None:
    """[length, batch, size], with the batch as second axis, and heads beside it; all sizes are numbers in the file."""
    sizes = {
        "q": (5, batch, 3, 8), "heads": (5, batch * 2, 4), "whole": (5 * batch, 8), "back": (5, batch, 8),
    }  # fmt: skip
    nodes = [
        *(node("Transpose", "x", "t", perm=[1, 0, 2]), node("MatMul", "t w", "m"), node("Reshape", "m q", "r")),
        *(node("Gather", "r one", "g", axis=2), node("Reshape", "g heads", "h")),
        *(node("Transpose", "h", "a", perm=[1, 0, 2]), node("Transpose", "h", "b", perm=[1, 2, 0])),
        *(node("MatMul", "a b", "s"), node("Softmax", "s", "p", axis=-1), node("MatMul", "p a", "o")),
        *(node("Transpose", "o", "u", perm=[1, 0, 2]), node("Reshape", "u whole", "e"), node("Gemm", "e v", "k")),
        *(node("Reshape", "k back", "z"), node("Transpose", "z", perm=[1, 0, 2])),
    ]
    shapes: dict[str, Any] = {name: np.array(each) for name, each in sizes.items()}
    net = graph(nodes, {"x": (batch, 5, 8)}, w=rand(8, 24), v=rand(8, 8), one=np.int64(1), **shapes)
    model, _ = convert(net)

    assert model.input_shape == (None, 5, 8)
    assert model.output_shape == (None, 5, 8)


def test_a_token_that_is_repeated_for_the_batch_is_one_weight() -> None:
    token = np.repeat(rand(1, 1, 8), 4, axis=0)
    model, _ = convert(graph([node("Concat", "t x", axis=1)], {"x": (4, 5, 8)}, t=token))

    assert model.input_shape == (None, 5, 8)
    assert model.count_params() == 8


B = OPEN_BATCH


@pytest.mark.parametrize(
    ("dims", "written", "expected"),
    [
        ((B, 4, 6), (2, 24), [B, 24]),
        ((B, 4, 6), (8, 6), [4 * B, 6]),
        ((65, B, 96), (65, 2, 3, 32), [65, B, 3, 32]),
        ((65 * B, 32), (65, 2, 32), [65, B, 32]),
        ((8 * B, 65, 4), (2, 8, 65, 4), [B, 8, 65, 4]),
        ((B, 4, 6), (48,), [24 * B]),
        ((4, 6), (24,), [24]),
    ],
)
def test_where_the_batch_is_among_sizes(dims: Any, written: Any, expected: Any) -> None:
    assert with_open_batch(dims, written, 2) == expected
