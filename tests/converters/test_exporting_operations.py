"""Single operations: those that tf2onnx lacks, or writes so that something is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import onnx
import pytest
from keras import layers, ops
from zoo.converters import keras_to_onnx

from zoo.errors import IntegrityError, UsageError

PATH = Path("model.onnx")


def counts(function: Callable[[Any], Any], shape: tuple[int | None, ...] = (6, 4)) -> Counter[str]:
    x = keras.Input(shape)
    keras_to_onnx(keras.Model(x, function(x)), PATH)
    return Counter(node.op_type for node in onnx.load(PATH).graph.node)


OPERATIONS: dict[str, tuple[Callable[[Any], Any], dict[str, int]]] = {
    "expm1": (ops.expm1, {"Exp": 1, "Sub": 1}),
    "log1p": (lambda x: ops.log1p(ops.abs(x)), {"Abs": 1, "Add": 1, "Log": 1}),
    "isposinf": (ops.isposinf, {"Equal": 1}),
    "argmax of all": (ops.argmax, {"Reshape": 1, "ArgMax": 1, "Cast": 1}),
    "argmin that keeps axes": (
        lambda x: ops.argmin(x, axis=-1, keepdims=True), {"ArgMin": 1, "Cast": 1, "Unsqueeze": 1},
    ),
    "trapezoid": (ops.trapezoid, {"Slice": 2, "Add": 1, "Mul": 1, "ReduceSum": 1}),
    "ranges": (
        layers.Discretization([-1.0, 0.0, 0.5]), {"Unsqueeze": 1, "GreaterOrEqual": 1, "Cast": 1, "ReduceSum": 1},
    ),
    "elu": (layers.ELU(0.3), {"Elu": 1}),
    "not a number where it is not chosen": (
        lambda x: ops.where(x > 0, ops.log(x), 0.0), {"Log": 1, "Greater": 1, "Where": 1},
    ),
    "a choice of truths": (
        lambda x: ops.where(x > 0, x > 1, x < -1), {"Greater": 2, "Less": 1, "Cast": 3, "Where": 1},
    ),
    "a choice of bytes": (
        lambda x: ops.where(x > 0, ops.cast(3 * x, "int8"), ops.cast(3, "int8")),
        {"Greater": 1, "Mul": 1, "Cast": 3, "Where": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str) -> None:
    function, wanted = OPERATIONS[name]

    assert counts(function) == wanted


ACTIVATIONS = (
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "hard_silu", "mish", "glu", "exponential"),
    *("softplus", "softsign", "sigmoid", "hard_sigmoid", "log_sigmoid", "tanh", "hard_tanh", "tanh_shrink", "linear"),
    *("hard_shrink", "soft_shrink", "squareplus", "sparse_plus", "sparse_sigmoid", "sparsemax", "softmax"),
    "log_softmax",
)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_keras_pass(name: str) -> None:
    assert counts(layers.Activation(name))


def test_what_goes_into_a_last_softmax_is_compared_without_an_operator_for_its_sake() -> None:
    assert counts(lambda x: layers.Softmax(1)(layers.Dense(3)(x))) == {"MatMul": 1, "Add": 1, "Softmax": 1}


def test_an_output_that_hands_on_what_others_take_is_made_for_it() -> None:
    x = keras.Input((4,))
    y = layers.Dense(3)(x)
    keras_to_onnx(keras.Model(x, [y, layers.Activation("linear", name="same")(y), layers.Dense(2)(y)]), PATH)
    graph = onnx.load(PATH).graph

    assert [node.op_type for node in graph.node].count("Identity") == 1
    assert [each.name for each in graph.output][1] == "same"


def test_a_rank_that_is_not_known_is_an_error_of_ours() -> None:
    with pytest.raises(IntegrityError, match="no valid model of ONNX"):
        counts(ops.squeeze)  # which takes the batch away too, if it is one


def test_what_tensorflow_cannot_trace_is_an_error_of_ours() -> None:
    with pytest.raises(IntegrityError, match="TensorFlow cannot make a graph of it"):
        counts(layers.UpSampling2D(interpolation="lanczos3"), (None, None, 3))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "bfloat16"])
def test_bfloat16_is_refused_wherever_it_is(dtype: str) -> None:
    with pytest.raises(UsageError, match="layer 'half' computes in bfloat16"):
        counts(layers.Dense(3, dtype=dtype, name="half"))
    with pytest.raises(UsageError, match="operation 'cast.*/Cast' computes in bfloat16"):
        counts(lambda x: ops.cast(ops.cast(x, "bfloat16"), "float32"))


def test_loops_are_told() -> None:
    ids = keras.Input((7,), dtype="int32")
    rows = layers.Embedding(9, 4, mask_zero=True)(ids)
    report = keras_to_onnx(keras.Model(ids, layers.LSTM(3, name="slow")(rows)), PATH)

    assert any("Loop" in note and "'slow'" in note for note in report.notes)
    assert not any("Loop" in note for note in keras_to_onnx(keras.Model(ids, rows), PATH).notes)
