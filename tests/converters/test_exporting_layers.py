"""Layers for which ONNX has an operator leave as that operator, and come back as the layers that they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from zoo.converters import keras_to_onnx, onnx_to_keras

from zoo.errors import IntegrityError

PATH = Path("model.onnx")


def exported(model: keras.Model, **options: object) -> onnx.ModelProto:
    """Exports a model with random weights, of which none is zero or one: what is left out, or mixed up, would not show.

    The exporter compares it with the model itself.
    """
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype.startswith("float"):
            low = 0.5 if "variance" in weight.path else -1.0
            weight.assign(rng.uniform(low, 1.0, weight.shape))
    keras_to_onnx(model, PATH, **options)  # type: ignore[arg-type]
    return onnx.load(PATH)


def counts(proto: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)


def numbers(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def chain(shape: tuple[int | None, ...], *parts: keras.Layer, dtype: str = "float32") -> keras.Model:
    return keras.Sequential([keras.Input(shape, dtype=dtype), *parts])


# --- recurrent layers ---


def with_states() -> keras.Model:
    """An encoder that hands its last states to a decoder, and a layer that is given its first states."""
    x, h, c = keras.Input((None, 5)), keras.Input((4,)), keras.Input((4,))
    y, *states = layers.LSTM(4, return_sequences=True, return_state=True)(x)
    z = layers.LSTM(4)(y, initial_state=states)
    return keras.Model(
        [x, h, c], [z, layers.LSTM(4, return_sequences=True, go_backwards=True)(y, initial_state=[h, c])]
    )


def both_ways_with_states() -> keras.Model:
    x = keras.Input((None, 5))
    y, *states = layers.Bidirectional(layers.LSTM(4, return_sequences=True, return_state=True))(x)
    return keras.Model(x, [layers.Bidirectional(layers.LSTM(4))(y, initial_state=states), y, *states])


RECURRENT: dict[str, tuple[Callable[[], keras.Model], dict[str, int], set[str]]] = {
    # what is to be there of ONNX, and which layers come back
    "LSTM": (lambda: chain((7, 5), layers.LSTM(4), layers.Dense(2)), {"LSTM": 1, "Transpose": 1}, {"LSTM"}),
    "stacked": (
        lambda: chain((None, 5), layers.LSTM(4, return_sequences=True, dropout=0.2, recurrent_dropout=0.1),
                      layers.GRU(3, return_sequences=True), layers.Dense(2, activation="softmax")),
        {"LSTM": 1, "GRU": 1, "Transpose": 2}, {"LSTM", "GRU"},
    ),
    "a cell": (lambda: chain((7, 5), layers.RNN(layers.LSTMCell(4)), layers.Dense(2)), {"LSTM": 1}, {"LSTM"}),
    "reset before": (lambda: chain((7, 5), layers.GRU(4, reset_after=False)), {"GRU": 1}, {"GRU"}),
    "simple": (
        lambda: chain((7, 5), layers.SimpleRNN(4, return_sequences=True), layers.SimpleRNN(3, activation="relu")),
        {"RNN": 2}, {"SimpleRNN"},
    ),
    "backwards": (
        lambda: chain((7, 5), layers.GRU(4, go_backwards=True, return_sequences=True),
                      layers.LSTM(3, go_backwards=True)),
        {"GRU": 1, "LSTM": 1, "Slice": 1}, {"GRU", "LSTM"},
    ),
    "other activations": (
        lambda: chain((7, 5), layers.LSTM(4, activation="relu", recurrent_activation="softsign")), {"LSTM": 1}, {"LSTM"}
    ),
    "states": (with_states, {"LSTM": 3}, {"LSTM"}),
    "both ways": (
        lambda: chain((None, 5), layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
                      layers.Bidirectional(layers.GRU(3))),
        {"LSTM": 1, "GRU": 1}, {"Bidirectional"},
    ),
    "both ways with states": (both_ways_with_states, {"LSTM": 2}, {"Bidirectional"}),
    "sum of both ways": (
        lambda: chain((7, 5), layers.Bidirectional(layers.LSTM(4, return_sequences=True), merge_mode="sum")),
        {"LSTM": 2, "Slice": 0}, {"LSTM"},
    ),
    "at all times": (
        lambda: chain((3, 7, 5), layers.TimeDistributed(layers.LSTM(4)), layers.LSTM(2)), {"LSTM": 2}, {"LSTM"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_are_operators_and_come_back(name: str) -> None:
    build, wanted, kinds = RECURRENT[name]
    model = build()
    found = counts(exported(model))
    back, _ = onnx_to_keras(PATH)

    assert {each: found[each] for each in wanted} == wanted
    assert not found["Loop"]
    assert kinds <= {type(layer).__name__ for layer in back.layers}
    assert numbers(back) == numbers(model)
    rng = np.random.default_rng(1)
    shapes = [[each or (6 if axis else 2) for axis, each in enumerate(x.shape)] for x in model.inputs]
    examples = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    for one, other in zip(
        *(keras.tree.flatten(each(examples if examples[1:] else examples[0])) for each in (model, back)), strict=True
    ):
        assert np.abs(one - other).max() < 1e-5


class Own(layers.LSTM):
    """A layer of which nobody knows what it does."""


ORDINARY_NO_MORE = {
    "an activation that ONNX does not have": lambda: chain((7, 5), layers.LSTM(4, activation="elu")),
    "a class of its own": lambda: chain((7, 5), Own(4)),
    "masks": lambda: chain((7,), layers.Embedding(9, 4, mask_zero=True), layers.LSTM(3), dtype="int32"),
    "states that stay": lambda: keras.Sequential([keras.Input(batch_shape=(2, 7, 5)), layers.LSTM(4, stateful=True)]),
}


@pytest.mark.parametrize("name", ORDINARY_NO_MORE)
def test_what_the_operator_would_not_do_is_left_in_pieces(name: str) -> None:
    found = counts(exported(ORDINARY_NO_MORE[name]()))

    assert (found["LSTM"], found["Loop"]) == (0, 1)


def test_half_precision_is_left_in_pieces() -> None:
    found = counts(exported(chain((7, 5), layers.LayerNormalization(dtype="mixed_float16")), limit=2e-3))

    assert not found["LayerNormalization"]


def test_weights_are_named_after_those_that_they_come_of() -> None:
    x = keras.Input((7, 4))
    inner = layers.LSTM(4, return_sequences=True, name="inner")
    y = layers.Bidirectional(layers.GRU(3), name="both")(inner(inner(x)))
    proto = exported(keras.Model(x, y))
    shapes = {each.name: tuple(each.dims) for each in proto.graph.initializer if "number" not in each.name}

    assert shapes == {  # those of a layer that is called twice once
        "inner/lstm_cell/kernel": (1, 16, 4), "inner/lstm_cell/recurrent_kernel": (1, 16, 4),
        "inner/lstm_cell/bias": (1, 32), "both/kernel": (2, 9, 4), "both/recurrent_kernel": (2, 9, 3),
        "both/bias": (2, 18),
    }  # fmt: skip
    assert {"inner", "both"} <= {node.name for node in proto.graph.node}


def test_layers_are_called_as_before_afterwards() -> None:
    model = chain((7, 5), layers.LayerNormalization(), layers.TimeDistributed(layers.Dense(2)), layers.LSTM(4))
    exported(model)
    with pytest.raises(IntegrityError):
        exported(model, limit=1e-12)

    assert not any("call" in vars(layer) for layer in model._flatten_layers())


# --- normalizations ---


def test_normalization_over_the_last_axes() -> None:
    model = chain(
        (6, 7, 5),
        layers.LayerNormalization(name="last"),
        layers.LayerNormalization(axis=[2, 3], center=False, name="two"),
        layers.LayerNormalization(scale=False, name="offset"),
        layers.LayerNormalization(axis=[1, -1], name="apart"),
    )
    proto = exported(model)
    nodes = {node.name: node.op_type for node in proto.graph.node}
    older = exported(model, opset=16)

    assert [nodes[each] for each in ("last", "two", "offset")] == ["LayerNormalization"] * 3
    assert counts(proto)["LayerNormalization"] == 3
    assert counts(older)["LayerNormalization"] == 0


def test_normalization_between_convolutions_takes_what_lies_channels_last() -> None:
    parts = [
        each
        for number in range(2)
        for each in (
            layers.DepthwiseConv2D(3, padding="same", name=f"deep_{number}"),
            layers.LayerNormalization(name=f"norm_{number}"),
            layers.Dense(5, activation="gelu", name=f"dense_{number}"),
        )
    ]
    model = chain((6, 7, 5), *parts)
    found = counts(exported(model))
    back, report = onnx_to_keras(PATH)

    assert (found["LayerNormalization"], found["Transpose"]) == (2, 4)  # into each convolution, and out of it
    assert report.transpositions == 0
    assert numbers(back) == numbers(model)
    assert sum(isinstance(layer, layers.LayerNormalization) for layer in back.layers) == 2


@pytest.mark.parametrize("side", [None, 8])
@pytest.mark.parametrize("groups", [2, -1])
def test_normalization_in_groups_of_channels(groups: int, side: int | None) -> None:
    model = chain(
        (side, side, 3), layers.Conv2D(4, 3), layers.GroupNormalization(groups, name="groups"), layers.Conv2D(2, 3)
    )
    found = counts(exported(model))
    back, report = onnx_to_keras(PATH)

    assert (found["InstanceNormalization"], found["Transpose"]) == (1, 2)  # where a picture comes in, and goes out
    assert found["ReduceMean"] == 0
    assert any(isinstance(layer, layers.GroupNormalization) for layer in back.layers)
    assert (numbers(back), report.transpositions) == (numbers(model), 0)


# --- others ---


def test_slopes_rows_and_unit_lengths() -> None:
    model = chain(
        (None,), layers.Embedding(9, 4), layers.PReLU(shared_axes=[1]), layers.UnitNormalization(), dtype="int32"
    )
    found = counts(exported(model))
    back, _ = onnx_to_keras(PATH)

    assert found == {"Gather": 1, "PRelu": 1, "LpNormalization": 1}
    assert [type(layer) for layer in back.layers[1:]] == [type(layer) for layer in model.layers]
    assert numbers(back) == numbers(model)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "strides", "added"), [(2, 1, None), (3, 2, None), (3, 2, 1), (2, 3, None), (4, 3, 2)])
def test_transposed_convolutions_of_pictures_of_any_size(
    size: int, strides: int, added: int | None, padding: str
) -> None:
    options = {"strides": strides, "padding": padding, "output_padding": added}
    model = chain((None, None, 3), layers.Conv2DTranspose(4, (size, size + 1), activation="relu", **options))

    assert counts(exported(model)) == {"Transpose": 2, "ConvTranspose": 1, "Relu": 1}


class Places(layers.Layer):
    """Adds learned numbers for each place, which are looked up as words are."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.count, self.table = count, layers.Embedding(count, width, name="table")

    def build(self, shape: object) -> None:
        self.table.build()

    def call(self, x: object) -> object:
        return x + self.table(keras.ops.arange(self.count))


def test_rows_that_are_always_looked_up_are_known() -> None:
    assert counts(exported(chain((7, 5), Places(7, 5)))) == {"Add": 1}


def test_sequences_are_not_pictures() -> None:
    model = chain(
        (40, 3),
        layers.Conv1D(4, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.SeparableConv1D(4, 3),
        layers.MaxPooling1D(),
        layers.Conv1DTranspose(4, 3, strides=2),
        layers.AveragePooling1D(2),
        layers.DepthwiseConv1D(2),
    )
    found = counts(exported(model))
    back, _ = onnx_to_keras(PATH)

    assert found == {"Transpose": 2, "Conv": 4, "BatchNormalization": 1, "MaxPool": 1, "ConvTranspose": 1,
                     "AveragePool": 1}  # fmt: skip
    assert Counter(type(layer) for layer in back.layers[1:]) == Counter(type(layer) for layer in model.layers)
    assert numbers(back) == numbers(model)


def test_open_lengths_are_tried_with_what_the_layers_need() -> None:
    parts = [each for _ in range(3) for each in (layers.Conv1D(4, 5), layers.MaxPooling1D())]
    found = counts(exported(chain((None, 3), *parts, layers.GlobalAveragePooling1D())))

    assert (found["Conv"], found["MaxPool"]) == (3, 3)


def test_an_axis_that_was_asked_for_stays() -> None:
    x = keras.Input((12, 3))
    y = layers.Conv2D(4, (1, 3), name="conv")(keras.ops.expand_dims(x, 1))
    proto = exported(keras.Model(x, keras.ops.squeeze(y, 1)))

    assert {tuple(each.dims) for each in proto.graph.initializer if "kernel" in each.name} == {(4, 3, 1, 3)}


@pytest.mark.parametrize("times", [None, 4])
def test_what_is_done_at_all_times_is_one_operator(times: int | None) -> None:
    inner = chain((8, 9, 3), layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(), layers.Flatten())
    found = counts(exported(chain((times, 8, 9, 3), layers.TimeDistributed(inner), layers.GRU(5))))

    assert (found["Conv"], found["BatchNormalization"], found["GRU"], found["Loop"]) == (1, 1, 1, 0)


def test_the_largest_of_classes() -> None:
    x = keras.Input((6, 5))
    proto = exported(keras.Model(x, [keras.ops.argmax(x, axis=-1), keras.ops.argmin(x, axis=1)]))

    assert counts(proto) == {"ArgMax": 1, "ArgMin": 1, "Cast": 2}


def test_an_operation_that_cannot_be_exported_is_named() -> None:
    x = keras.Input((6, 6))
    with pytest.raises(IntegrityError, match="layer 'svd' cannot be exported"):
        exported(keras.Model(x, keras.ops.svd(x)[1]))


def test_what_makes_tf2onnx_fail_is_an_error_of_ours() -> None:
    with pytest.raises(IntegrityError, match="cannot be exported"):
        exported(chain((None, 7, 5), layers.TimeDistributed(Own(4))))
