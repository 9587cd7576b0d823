"""Digests of units: equal for what computes the same, different for any real change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from zoo.converters.importing.layers import Offset, Scale
from zoo.converters.importing.map_layers import LocalResponseNormalization, Resampling, Spread, WindowPooling

import zoo
from zoo.surgery import Head, Surgery, split_units, whole_trunk
from zoo.surgery.digests import unit_digests


def net(
    prefix: str = "a", *, activation: str = "relu", strides: int = 1, epsilon: float = 1e-3, rate: float = 0.5,
    momentum: float = 0.99, channels: int = 3, size: int = 8, dtype: str = "float32", classes: int = 2,
) -> keras.Model:  # fmt: skip
    """A small net whose weights depend on nothing but their shapes."""
    model = keras.Sequential([
        keras.Input((size, size, channels), dtype=dtype),
        layers.Conv2D(4, 3, strides, activation=activation, name=f"{prefix}_conv", kernel_regularizer="l2"),
        layers.BatchNormalization(epsilon=epsilon, momentum=momentum, name=f"{prefix}_bn"),
        layers.Dropout(rate, name=f"{prefix}_drop"),
        layers.Conv2D(5, 3, name=f"{prefix}_conv2"),
        layers.GlobalMaxPooling2D(name=f"{prefix}_pool"),
        layers.Dense(classes, name=f"{prefix}_out"),
    ])  # fmt: skip
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 1, weight.shape) for weight in model.get_weights()])
    return model


def digests(model: keras.Model) -> tuple[str, ...]:
    units = split_units(model)
    return unit_digests(units, len(units))


def test_digests_are_what_they_always_were() -> None:
    """Where this fails, all features that people have are computed anew: is that meant? Keras' configurations count."""
    assert digests(net())[-1] == "3c875357e563de66f0b835b4c9f5b03b72d430b791d2e62f00768b3a093c8672"


@pytest.mark.parametrize(
    "change",
    [{"prefix": "b"}, {"rate": 0.1}, {"momentum": 0.5}, {"size": 10}],
    ids=["names", "dropout", "momentum", "size"],
)
def test_what_changes_no_inference_changes_no_digest(change: dict[str, Any]) -> None:
    """The size is part of the feature cache's key, not of the digest."""
    assert digests(net(**change)) == digests(net())


def test_trainable_flags_change_no_digest() -> None:
    model = net()
    model.trainable = False
    assert digests(model) == digests(net())


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"activation": "tanh"}, 1), ({"strides": 2}, 1), ({"epsilon": 1e-5}, 1), ({"channels": 1}, 0),
        ({"dtype": "uint8"}, 0), ({"classes": 3}, 3),
    ],
    ids=["activation", "strides", "epsilon", "channels", "dtype", "classes"],
)  # fmt: skip
def test_a_real_change_changes_every_digest_from_there_up(change: dict[str, Any], first: int) -> None:
    old, new = digests(net()), digests(net(**change))
    assert [a == b for a, b in zip(old, new, strict=True)] == [number < first for number in range(4)]


def test_one_flipped_bit_of_a_weight_changes_the_digest() -> None:
    model, layer = net(), 3
    weights = model.layers[layer].get_weights()
    weights[0].view(np.uint32).ravel()[0] ^= 1
    model.layers[layer].set_weights(weights)
    assert [a == b for a, b in zip(digests(net()), digests(model), strict=True)] == [True, True, False, False]


def branch(merge: Callable[[Any, Any], Any]) -> keras.Model:
    vector = keras.Input((4,))
    a, b = layers.Dense(3, name="a")(vector), layers.Dense(3, name="b")(vector)
    model = keras.Model(vector, layers.Dense(2, name="out")(merge(a, b)))
    rng = np.random.default_rng(0)
    for name in ("a", "b", "out"):
        layer = model.get_layer(name)
        layer.set_weights([rng.uniform(size=weight.shape) for weight in layer.get_weights()])
    return model


def test_wiring_counts() -> None:
    kinds = [lambda a, b: a - b, lambda a, b: b - a, lambda a, b: a + b, lambda a, b: (a + b)[:, ::-1]]
    assert len({digests(branch(kind))[1] for kind in kinds}) == len(kinds)


def test_a_copy_in_a_trunk_has_the_digests_of_the_model() -> None:
    model = net()
    trunk = Surgery(model, 2, 2, Head(classes=2)).trunk
    assert trunk is not None
    assert trunk.digests() == digests(model)[:3]
    assert whole_trunk(model).digests() == digests(model)


def test_nested_models_count_by_what_they_do() -> None:
    def nested(name: str, activation: str) -> keras.Model:
        block = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation, name=f"{name}1")], name=name)
        model = keras.Sequential([keras.Input((4,)), block, layers.Dense(2)])
        model.set_weights([np.ones(weight.shape) for weight in model.get_weights()])
        return model

    assert digests(nested("x", "relu")) == digests(nested("y", "relu"))
    assert digests(nested("x", "relu")) != digests(nested("x", "tanh"))


def one_layer(layer: keras.Layer) -> str:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, use_bias=False), layer, layers.Dense(2)])
    model.set_weights([np.ones(weight.shape) for weight in model.get_weights()])
    return digests(model)[-2]  # of all below the classifier


def scale_by(number: int, code: str = "x * {}", file: str = "here.py", line: int = 1) -> keras.Layer:
    """A layer of a class of one name, and of another code for each number."""
    source = f"class Scale(keras.layers.Layer):\n    def call(self, x):\n        return {code.format(number)}\n"
    scope = {"keras": keras, "__name__": "somewhere"}
    exec(compile("\n" * (line - 1) + source, file, "exec"), scope)
    return scope["Scale"]()  # type: ignore[operator]


class Dropout(keras.layers.Layer):
    """Somebody's own, with a name that Keras has too."""

    def call(self, x: Any) -> Any:
        return x * 5


class Seeded(keras.layers.Layer):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}

    def call(self, x: Any) -> Any:
        return x


def test_layers_of_ones_own_count_by_their_code_and_all_their_arguments() -> None:
    assert one_layer(scale_by(2)) == one_layer(scale_by(2))
    assert one_layer(scale_by(2)) != one_layer(scale_by(3))
    assert one_layer(Dropout()) != one_layer(layers.Dropout(0.5))
    assert one_layer(Seeded(1)) != one_layer(Seeded(2))


@pytest.mark.parametrize(
    "code",
    ["x * {}", "(lambda y: y * {})(x)", "sum([x * n for n in ({}, 1)])", "x * (7 if x.ndim in {{{}, 9}} else 2)"],
)
def test_code_counts_wherever_it_stands_and_however_deep(code: str) -> None:
    """A moved or a longer file is no other code."""
    assert one_layer(scale_by(2, code)) == one_layer(scale_by(2, code, "/elsewhere/net.py", 70))
    assert one_layer(scale_by(2, code)) != one_layer(scale_by(3, code))


def test_what_code_calls_counts() -> None:
    assert one_layer(scale_by(2, "keras.ops.sin(x) * {}")) != one_layer(scale_by(2, "keras.ops.cos(x) * {}"))


def test_layers_of_ours_count_by_their_arguments_and_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their code does not: it has other bytes in each version of Python."""
    made = one_layer(Scale((4,), name="one"))
    assert one_layer(Scale((4,), name="other")) == made
    assert len({made, one_layer(Scale((4,), is_divisor=True)), one_layer(Scale((1,))), one_layer(Offset((4,)))}) == 4
    with monkeypatch.context() as patch:
        patch.setattr(Scale, "call", lambda _, x: x)
        assert one_layer(Scale((4,))) == made
    monkeypatch.setattr("zoo.surgery.digests.VERSION", 2)
    assert one_layer(Scale((4,))) != made


def test_the_version_of_layers_of_ours_counts_inside_others_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrapped(layer: keras.Layer) -> str:
        inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layer])
        model = keras.Sequential([keras.Input((4,)), inner, layers.Dense(2)])
        model.set_weights([np.ones(weight.shape) for weight in model.get_weights()])
        return digests(model)[-1]

    before = [wrapped(Scale((4,))), wrapped(layers.Dense(4)), one_layer(scale_by(2))]
    monkeypatch.setattr("zoo.surgery.digests.VERSION", 2)
    after = [wrapped(Scale((4,))), wrapped(layers.Dense(4)), one_layer(scale_by(2))]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, True]


def test_a_saved_model_with_layers_of_ours_has_the_same_digests(tmp_path: Path) -> None:
    model = keras.Sequential([
        keras.Input((8, 8, 3)),
        layers.Conv2D(4, 3),
        LocalResponseNormalization(3),
        WindowPooling("average", [2, 2], [1, 1], [1, 1], [(0, 1), (1, 0)]),
        Spread([2, 2]),
        Resampling([{"axis": 1, "scale": 2.0, "size": None}], {"mode": "linear"}),
        Scale((4,)),
        layers.GlobalMaxPooling2D(),
        layers.Dense(2),
    ])  # fmt: skip
    model.save(tmp_path / "net.keras")

    assert digests(zoo.load_model(tmp_path / "net.keras")) == digests(model)


def test_what_a_layer_computes_in_counts() -> None:
    assert one_layer(layers.Dense(4, dtype="mixed_float16")) != one_layer(layers.Dense(4))


def test_an_activation_of_ones_own_counts_by_its_code() -> None:
    def activation(number: int) -> Callable[[Any], Any]:
        scope: dict[str, Any] = {"__name__": "somewhere"}
        exec(f"def act(x):\n    return x * {number}\n", scope)
        return keras.saving.register_keras_serializable("test", f"act{number}")(scope["act"])  # type: ignore[no-any-return]

    twice = activation(2)
    assert one_layer(layers.Dense(4, activation=twice)) == one_layer(layers.Dense(4, activation=twice))
    assert one_layer(layers.Dense(4, activation=twice)) != one_layer(layers.Dense(4, activation=activation(3)))


@pytest.mark.parametrize("how", ["closure", "default", "keyword", "array", "function", "object"])
def test_an_activation_counts_by_what_it_was_made_with(how: str) -> None:
    """Two that one function made have the same code."""

    def made(number: float) -> Callable[[Any], Any]:
        array, inner, thing = np.full(3, number, "f4"), lambda x: x * number, type("Thing", (), {"number": number})()
        known: dict[str, Callable[..., Any]] = {
            "closure": lambda x: x * number,
            "default": lambda x, by=number: x * by,
            "keyword": lambda x, *, by=number: x * by,
            "array": lambda x: x * array[0],
            "function": lambda x: inner(x),
            "object": lambda x: x * thing.number,
        }
        known[how].__name__ = how
        return known[how]

    digests = [one_layer(layers.Dense(4, activation=made(number))) for number in (2.0, 2.0, 3.0)]
    assert digests[0] != digests[2]
    assert (digests[0] == digests[1]) == (how != "object")  # of which nothing tells that they are the same
