"""What every imported model keeps: names that TensorFlow takes, notes of what was decided, a batch that is proved."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx
import pytest
from onnx_graphs import compiled, convert, graph, node, rand
from zoo.converters import onnx_to_keras

from zoo.errors import IntegrityError


@pytest.mark.parametrize("name", ["conv:0", "conv/BiasAdd:0", "café", "卷积", ":x", "-conv", "a b"])
def test_names_of_any_kind_become_names_that_tensorflow_takes(name: str) -> None:
    made = onnx.helper.make_node("Conv", ["images:0", "w"], [f"{name}_out"], name=name)
    last = onnx.helper.make_node("GlobalAveragePool", [f"{name}_out"], ["y"])
    model, _ = convert(graph([made, last], {"images:0": ("n", 3, 6, 6)}, w=rand(4, 3, 2, 2)))
    x = rand(2, 6, 6, 3)

    np.testing.assert_allclose(compiled(model, x), model(x), rtol=1e-5)
    model.compile("sgd", "mse")
    model.fit(x, np.zeros(model.output_shape[1:])[None].repeat(2, 0), verbose=0)


def test_examples_open_no_batch_that_is_not_proved() -> None:
    """What is left of the mean over the batch is zero for a batch of one, and not for others."""
    net = graph([node("ReduceMean", "x", "m", axes=[0]), node("Sub", "x m")], {"x": (1, 4)})
    model, report = convert(net, examples={"x": rand(1, 4)})

    assert model.input_shape == (1, 4)
    assert "The batch size stays 1" in report.notes[0]


def test_what_was_decided_is_noted() -> None:
    mask = np.where(np.triu(np.ones((4, 4)), 1) > 0, -1e9, 0).astype("float32")
    ones = {"g": np.ones(4), "b": rand(4), "m": rand(4), "v": np.ones(4)}
    nodes = [node("Add", "x mask", "a"), node("BatchNormalization", "a g b m v")]
    _, report = convert(
        graph(nodes, {"x": ("n", 4, 4)}, mask=mask, **{k: v.astype("float32") for k, v in ones.items()})
    )

    assert [note.partition(" ")[0] for note in report.notes] == ["An", "A"]
    assert "does not train" in report.notes[0]
    assert "no scale" in report.notes[1]


def test_nothing_is_proved_by_what_is_no_number() -> None:
    _, report = convert(graph([node("Log", "x", "l"), node("Mul", "l zero")], {"x": ("n", 4)}, zero=np.float32(0)))

    assert "'y' is not finite" in report.notes[-1]


def test_sizes_that_vary_differ_where_they_may() -> None:
    """A product with the transposed picture would pass for height and width alike."""
    net = graph([node("Transpose", "x", perm=[0, 1, 3, 2])], {"x": ("n", 3, "h", "w")})
    asked: list[Any] = []
    original = keras.Model.__call__

    def call(self: Any, x: Any, *args: Any, **named: Any) -> Any:
        asked.append(x[0].shape if isinstance(x, list) else x.shape)
        return original(self, x, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "__call__", call)
        onnx_to_keras(net)

    assert len(set(asked[0])) == 4


def test_sizes_that_must_be_equal_are() -> None:
    net = graph([node("Add", "x z")], {"x": ("n", "a"), "z": ("n", "b")})
    onnx_to_keras(net)


def test_an_unknown_operator_tells_the_operator_set_of_the_model() -> None:
    with pytest.raises(IntegrityError, match=r"'y' \(Bogus\) of operator set 17: .*not known.*until='r'.*--until r"):
        onnx_to_keras(graph_with_unknown())


def graph_with_unknown() -> onnx.ModelProto:
    nodes = [node("Relu", "x", "r"), node("Bogus", "r")]
    proto = onnx.helper.make_graph(
        nodes, "net", [onnx.helper.make_tensor_value_info("x", 1, ["n", 3])], [onnx.ValueInfoProto(name="y")]
    )
    return onnx.helper.make_model(proto, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def test_nodes_of_one_name_are_layers_of_two() -> None:
    """Which onnxruntime refuses, and other runtimes do not."""
    nodes = [
        onnx.helper.make_node("Abs", ["x"], ["a"], name="same"),
        onnx.helper.make_node("Abs", ["a"], ["y"], name="same"),
    ]
    model, _ = convert(graph(nodes, {"x": ("n", 3)}))

    assert len({each.name for each in model.operations}) == 3
