"""Digests of units: equal for what computes the same, different for any real change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

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


def scale_by(number: int) -> keras.Layer:
    """A layer of a class of one name, and of another code for each number."""
    source = f"class Scale(keras.layers.Layer):\n    def call(self, x):\n        return x * {number}\n"
    scope = {"keras": keras, "__name__": "somewhere"}
    exec(source, scope)
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
