"""Activations, arithmetic, comparison and types: which layers they become. onnxruntime judges what these compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from onnx_graphs import convert, graph, kinds, node, rand

from zoo.errors import IntegrityError

PICTURE = ("n", 3, 5, 7)
CONV = node("Conv", "x w", "c")
W = rand(4, 3, 3, 3)


@pytest.mark.parametrize(
    ("made", "opset", "kind", "config"),
    [
        (node("Relu", "x"), 17, "ReLU", {"max_value": None}),
        (node("Clip", "x", min=0.0, max=6.0), 10, "ReLU", {"max_value": 6.0}),
        (node("Clip", "x zero six"), 13, "ReLU", {"max_value": 6.0}),
        (node("Clip", "x _ six"), 13, "Minimum", {}),
        (node("Clip", "x one six"), 13, "Clip", {}),
        (node("Clip", "x six one"), 13, "Maximum Minimum", {}),
        (node("Max", "x zero"), 13, "ReLU", {"max_value": None}),
        (node("LeakyRelu", "x", alpha=0.3), 16, "LeakyReLU", {"negative_slope": pytest.approx(0.3)}),
        (node("Elu", "x", alpha=0.7), 6, "ELU", {"alpha": pytest.approx(0.7)}),
        (node("Selu", "x"), 6, "Activation", {"activation": "selu"}),
        (node("Selu", "x", alpha=2.0, gamma=3.0), 6, "ELU Multiply", {}),
        (node("Celu", "x", alpha=0.5), 12, "Celu", {}),
        (node("Sigmoid", "x"), 13, "Activation", {"activation": "sigmoid"}),
        (node("HardSigmoid", "x", alpha=1 / 6), 6, "Activation", {"activation": "hard_sigmoid"}),
        (node("HardSigmoid", "x"), 6, "Rescaling Clip", {}),
        (node("HardSwish", "x"), 14, "Activation", {"activation": "hard_silu"}),
        (node("Gelu", "x"), 20, "Activation", {"activation": "gelu"}),
        (node("Gelu", "x", approximate="tanh"), 20, "Gelu", {}),
        (node("Mish", "x"), 18, "Activation", {"activation": "mish"}),
        (node("ThresholdedRelu", "x", alpha=0.4), 10, "ReLU", {"threshold": pytest.approx(0.4)}),
        (node("Shrink", "x", bias=0.2), 9, "Add Add Multiply Greater Less Where Where", {}),
        (node("Shrink", "x", bias=0.5), 9, "SoftShrink", {}),
        (node("Softsign", "x"), 1, "Activation", {"activation": "softsign"}),
    ],
)
def test_an_activation_is_the_layer_that_keras_has(
    made: Any, opset: int, kind: str, config: dict[str, Any], tmp_path: Path
) -> None:
    numbers = {"zero": 0, "one": 0.5, "six": 6}
    arrays = {name: np.float32(each) for name, each in numbers.items() if name in made.input}
    model, report = convert(graph([made], {"x": PICTURE}, opset, **arrays), tmp_path)

    assert sorted(kinds(model)) == sorted(kind.split())
    found = model.layers[-1].get_config()
    assert {key: found[key] for key in config} == config
    assert report.error <= 1e-6


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("Add", "Add"),
        ("Sub", "Subtract"),
        ("Mul", "Multiply"),
        ("Max", "Maximum"),
        ("Min", "Minimum"),
        ("Mean", "Average"),
    ],
)
@pytest.mark.parametrize("other", [("n", 3, 5, 7), ("n", 3, 1, 1), ("n", 1, 5, 7)])
def test_two_tensors_meet_in_a_merging_layer(operator: str, kind: str, other: Any, tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "c"), node("Conv", "z w", "d"), node(operator, "c d")]
    w = rand(3, 3, 1, 1) if other[1] == 3 else None
    inputs = {"x": ("n", 3, 5, 7), "z": other}
    if w is None:
        nodes, w = [node("Conv", "x w", "c"), node("Relu", "z", "d"), node(operator, "c d")], rand(3, 3, 1, 1)
    model, report = convert(graph(nodes, inputs, w=w), tmp_path)

    assert isinstance(model.layers[-1], getattr(keras.layers, kind))
    assert model.layers[-1].name == "y"
    assert report.transpositions == 0


def test_tensors_of_unequal_ranks_and_batches_meet_in_a_function(tmp_path: Path) -> None:
    model, _ = convert(graph([node("Add", "x z")], {"x": ("n", 3, 5), "z": (5,)}), tmp_path)
    assert "Add" in kinds(model)
    model, _ = convert(graph([node("Mul", "x z")], {"x": ("n", 3, 5), "z": (1, 3, 5)}), tmp_path)
    assert "Multiply" in kinds(model)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 3, 5), (5,), ()])
def test_an_array_is_a_weight_that_trains_and_a_number_none(
    operator: str, is_first: bool, shape: Any, tmp_path: Path
) -> None:
    array = rand(*shape, seed=1) + 2 if shape else np.float32(2.5)
    made = node(operator, "a r" if is_first else "r a")  # an Add to a convolution itself would be its bias
    model, report = convert(graph([CONV, node("Softplus", "c", "r"), made], {"x": PICTURE}, w=W, a=array), tmp_path)

    weights = [each for layer in model.layers[2:] for each in layer.trainable_weights]
    is_weight = bool(shape) and not (operator == "Div" and is_first)
    assert len(weights) == is_weight
    assert report.transpositions == 0
    if is_weight:
        assert weights[0].shape[-1] in (1, 4)


def test_a_weight_behind_a_flatten_follows_its_elements(tmp_path: Path) -> None:
    nodes = [CONV, node("Flatten", "c", "f"), node("Mul", "f a", "m"), node("Add", "m b")]
    model, report = convert(graph(nodes, {"x": PICTURE}, w=W, a=rand(60), b=rand(1, 60)), tmp_path)
    assert kinds(model)[2:4] == ["Scale", "Offset"]
    assert report.transpositions == 1  # the output's own, which is to be as ONNX has it


def test_two_arrays_of_one_node_are_two_weights() -> None:
    model, _ = convert(graph([node("Sum", "x a b")], {"x": ("n", 5)}, a=rand(5), b=rand(5, seed=1)))
    assert kinds(model) == ["Offset", "Offset"]
    assert len({id(each) for each in model.layers}) == 3


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "int64", "uint32", "uint64", "float16", "float64"])
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Mod", "Max"])
def test_types_stay_what_they_are(operator: str, kind: str) -> None:
    is_float = kind.startswith("float")
    if operator != "Mod" and kind in ("int8", "uint8", "int16", "uint32"):
        pytest.skip("onnxruntime has no kernel")
    made = node(operator, "x z", **({"fmod": 1} if operator == "Mod" else {}))
    x = (rand(4, 5) * 20).astype("int64" if not is_float else kind)
    x = np.abs(x).astype(kind) + 30 if kind.startswith("u") else x.astype(kind)
    z = (np.abs(rand(4, 5, seed=1)) * 5 + 1).astype(kind)
    model, _report = convert(
        graph([made], {"x": ("n", 5), "z": ("n", 5)}, types={"x": kind, "z": kind}),
        examples={"x": x, "z": z},
        limit=2e-3,
    )
    assert model.outputs[0].dtype == kind


def test_whole_numbers_are_divided_towards_zero_and_remain_as_asked() -> None:
    x, z = np.array([-7, 7, -8, 8, -1]), np.array([2, -2, -3, 3, 5])
    for made in (
        node("Div", "x z"),
        node("Mod", "x z"),
        node("Mod", "x z", fmod=1),
        node("Div", "x k"),
        node("Mod", "x k"),
    ):
        arrays = {"k": np.int64(-3)} if "k" in made.input else {}
        inputs = {name: (5,) for name in ("x", "z") if name in made.input}
        model = graph([made], inputs, types=dict.fromkeys(inputs, "int64"), **arrays)
        assert (
            convert(model, examples={name: each for name, each in {"x": x, "z": z}.items() if name in inputs})[1].error
            == 0
        )


@pytest.mark.parametrize("base", ["float32", "int64", "int32"])
@pytest.mark.parametrize("exponent", [np.float32(3), np.int64(2), np.float32(0.5), rand(5) > 0])
def test_a_power_has_the_type_of_its_base(base: str, exponent: Any) -> None:
    exponent = np.asarray(exponent).astype("float32") + 1 if np.asarray(exponent).dtype == bool else exponent
    model, _report = convert(
        graph([node("Pow", "x e")], {"x": (5,)}, types={"x": base}, e=exponent),
        examples={"x": np.arange(5).astype(base)},
    )
    assert model.outputs[0].dtype == base


@pytest.mark.parametrize("to", [1, 6, 7, 9, 10, 11, 2])
def test_a_cast_truncates_and_any_number_is_true(to: int) -> None:
    x = np.array([[-0.5, 0, 2.7, 1e-9, 200]], "float32") if to != 2 else np.array([[0.0, 2.7, 200.2, 1, 7]], "float32")
    convert(graph([node("Cast", "x", to=to)], {"x": ("n", 5)}), examples={"x": x}, limit=1e-3)


def test_a_cast_to_texts_is_refused() -> None:
    with pytest.raises(IntegrityError, match=r"node 'y' \(Cast\).*makes texts"):
        convert(graph([node("Cast", "x", to=8)], {"x": ("n", 5)}))


def test_where_and_comparisons_in_the_order_of_pictures(tmp_path: Path) -> None:
    nodes = [
        CONV,
        node("Greater", "c t", "g"),
        node("Not", "g", "h"),
        node("Where", "h c low", "i"),
        node("Where", "g i a"),
    ]
    arrays = {"w": W, "t": np.float32(0.3), "low": np.float32(-np.inf), "a": rand(4, 1, 1)}
    _, report = convert(graph(nodes, {"x": PICTURE}, **arrays), tmp_path)
    assert report.transpositions == 0


def test_a_mask_does_not_train() -> None:
    hidden = np.triu(np.full((5, 5), -1e9, "float32"), 1)
    model, _ = convert(
        graph(
            [node("Mul", "x m", "y1"), node("Add", "y1 h")], {"x": ("n", 5, 5)}, m=np.tri(5, dtype="float32"), h=hidden
        )
    )
    assert kinds(model) == ["Scale", "Offset"]
    assert not model.trainable_weights


@pytest.mark.parametrize("operator", ["Add", "Sum", "Mean"])
@pytest.mark.parametrize(
    ("sizes", "axes"),
    [(("n", 2), [1]), (("n", 2, 2, 2), [1, 3]), (("n", 3, 8, 8), [1, 2]), ((2, 2, 2), [1, 2]), (("n", 8, 1), [1])],
)
def test_what_is_added_is_not_taken_for_a_bias_along_another_axis(
    operator: str, sizes: Any, axes: list[int], tmp_path: Path
) -> None:
    """Keras' own `add` does so where what is long along one axis is as long as the channels by chance."""
    nodes = [node("ReduceMean", "x", "m", axes=axes), node(operator, "x m", "a"), node(operator, "m x", "b")]
    if operator != "Add":
        nodes.append(node(operator, "a m b"))
    convert(graph([*nodes, node("Sub", "a b", "z")], {"x": sizes}, outputs="z" if operator == "Add" else "y"), tmp_path)
    convert(graph(nodes[:2], {"x": sizes}, outputs="a"), tmp_path)


def test_an_array_of_whole_numbers_is_added_along_its_own_axis() -> None:
    array = np.arange(4).reshape(4, 1)
    convert(graph([node("Add", "x a")], {"x": ("n", 4, 4)}, types={"x": "int64"}, a=array))


@pytest.mark.parametrize("operator", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
@pytest.mark.parametrize("other", [np.int64(6), np.arange(5)])
def test_bits_meet_those_of_a_number(operator: str, other: Any) -> None:
    examples = {"x": np.arange(10).reshape(2, 5)}
    for names in ("x k", "k x"):
        convert(graph([node(operator, names)], {"x": ("n", 5)}, 18, types={"x": "int64"}, k=other), examples=examples)
