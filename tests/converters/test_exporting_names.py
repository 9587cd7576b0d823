"""What inputs, operators and weights are called, whatever their layers are; and what both runtimes are asked about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from zoo.converters import keras_to_onnx
from zoo.converters.exporting.comparing import examples_of

PATH = Path("model.onnx")


@pytest.mark.parametrize("name", ["é", "卷积", "a:b", "a b", "_x", "-y", ".z", "a~1", "x__1"])
def test_layers_and_models_of_any_name(name: str) -> None:
    image = keras.Input((8, 9, 3), name=f"{name} in")
    inner = keras.Sequential([layers.Conv2D(4, 3, name=name), layers.BatchNormalization(name="norm")], name=name)
    x = layers.Flatten()(inner(layers.Conv2D(4, 3, name="first")(image)))
    model = keras.Model(image, layers.Dense(2, name=f"{name} out")(x), name=name)
    before = [each.name for each in model._flatten_layers()]
    keras_to_onnx(model, PATH)
    graph = onnx.load(PATH).graph
    names = {node.name for node in graph.node}

    assert [each.name for each in (*graph.input, *graph.output)] == [f"{name} in", f"{name} out"]
    assert {f"{name}/{name}", f"{name}/norm", "first", f"{name} out"} <= names
    assert f"{name}/{name}/kernel" in {each.name for each in graph.initializer}
    assert [each.name for each in model._flatten_layers()] == before


def test_names_inside_of_loops() -> None:
    cell = layers.StackedRNNCells([layers.LSTMCell(4, name="é")], name="_cells")
    keras_to_onnx(keras.Sequential([keras.Input((7, 3)), layers.RNN(cell, name="环")]), PATH)

    assert "环" in {node.name.split("/")[0] for node in onnx.load(PATH).graph.node}


def test_names_are_given_back_after_a_failure() -> None:
    image = keras.Input((9, 9, 3))
    model = keras.Model(image, layers.Resizing(4, 4, interpolation="lanczos3", name="é")(image), name="ü")
    with pytest.raises(Exception, match="layer 'é' cannot be exported"):
        keras_to_onnx(model, PATH)

    assert (model.name, model.layers[-1].name) == ("ü", "é")


EXPORT = """
import sys, keras
from zoo.converters import keras_to_onnx
for _ in range(int(sys.argv[1])):
    keras.Input((2,)) + 1
keras_to_onnx(keras.models.load_model("model.keras"), sys.argv[2])
"""


@pytest.mark.slow
def test_inputs_are_called_as_their_layers_in_any_process() -> None:
    a, b, named = keras.Input((3,)), keras.Input((3,)), keras.Input((3,), name="named")
    model = keras.Model([b, named, a], layers.Add()([a, b, named]))
    model.save("model.keras")
    for number in ("0", "5"):
        subprocess.run([sys.executable, "-c", EXPORT, number, f"{number}.onnx"], check=True, capture_output=True)
    wanted = [b._keras_history.operation.name, "named", a._keras_history.operation.name]

    for number in ("0", "5"):
        assert [each.name for each in onnx.load(f"{number}.onnx").graph.input] == wanted
    assert Path("0.onnx").read_bytes() == Path("5.onnx").read_bytes()


def test_what_a_cut_takes_has_no_number() -> None:
    x = keras.Input((4,))
    y = layers.Dense(3)(x)
    keras_to_onnx(keras.Model(y, layers.Dense(2)(y)), PATH)

    assert [each.name for each in onnx.load(PATH).graph.input] == ["input"]


# --- what goes in to compare ---


def shapes(model: keras.Model) -> list[tuple[int, ...]]:
    return [each.shape for each in examples_of(model).values()]


def test_open_sizes_are_each_another() -> None:
    image = keras.Input((None, None, 3))
    assert shapes(keras.Model(image, layers.Conv2D(2, 3)(image))) == [(2, 64, 96, 3)]
    deep = keras.Input((None, None, None, 2))
    assert shapes(keras.Model(deep, layers.Conv3D(2, 3)(deep))) == [(2, 8, 12, 16, 2)]
    row = keras.Input((None, 3))
    assert shapes(keras.Model(row, layers.Conv1D(2, 3)(row))) == [(2, 8, 3)]


def test_open_sizes_are_equal_where_a_model_takes_no_others() -> None:
    image = keras.Input((None, None, 3))
    turned = layers.Permute((2, 1, 3))(image)

    class Sum(layers.Layer):  # type: ignore[misc]
        def call(self, one: object, other: object) -> object:
            return one + other  # type: ignore[operator]

        def compute_output_spec(self, one: keras.KerasTensor, other: keras.KerasTensor) -> keras.KerasTensor:
            if one.shape != other.shape:
                raise ValueError("They differ.")
            return keras.KerasTensor(one.shape)

    assert shapes(keras.Model(image, Sum()(image, turned))) == [(2, 64, 64, 3)]


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_pictures_have_all_numbers_that_pictures_have(kind: str) -> None:
    image = keras.Input((32, 32, 3), dtype=kind)
    model = keras.Model(image, layers.Conv2D(2, 3)(layers.Rescaling(1 / 255)(image)))
    (found,) = examples_of(model).values()

    assert (found.dtype, found.min() < 10, found.max() > 245) == (kind, True, True)


def test_what_is_not_read_as_a_picture_is_around_zero() -> None:
    image = keras.Input((32, 32, 3))
    (found,) = examples_of(keras.Model(image, layers.Rescaling(2.0)(layers.Conv2D(2, 3)(image)))).values()
    assert np.abs(found).max() < 10
