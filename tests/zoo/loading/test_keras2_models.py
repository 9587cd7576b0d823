"""Whole models that Keras 2 saved as .h5: what people have in their folders. Keras 2 itself says what they said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import zoo
from zoo.errors import IntegrityError, UnsafeFileError

tf_keras = pytest.importorskip("tf_keras")
layers = tf_keras.layers

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


def augmented() -> Any:
    return tf_keras.Sequential([
        layers.InputLayer((8, 8, 3)), layers.RandomFlip(), layers.RandomRotation(0.1), layers.Rescaling(1 / 255),
        layers.SeparableConv2D(4, 3), layers.BatchNormalization(), layers.LeakyReLU(0.1),
        layers.Conv2DTranspose(3, 3), layers.GlobalAveragePooling2D(), layers.Dropout(0.5),
        layers.Dense(3, activation="softmax"),
    ])  # fmt: skip


def with_operators() -> Any:
    """Every operator became a layer that calls TensorFlow by name; so did each family's `preprocess_input`."""
    inputs = tf_keras.Input((8, 8, 3))
    x = tf_keras.applications.mobilenet_v2.preprocess_input(inputs)
    x = layers.Conv2D(3, 3, padding="same")(x)
    x = x + inputs
    x = 2.0 * x - 1.0
    x = 3.0 - x
    x = tf_keras.activations.relu(x) * layers.Conv2D(3, 1)(x)
    return tf_keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def recurrent() -> Any:
    inputs = tf_keras.Input((6,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True)(inputs)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
    return tf_keras.Model(inputs, layers.Dense(2)(layers.GRU(4)(x)))


def attentive() -> Any:
    inputs = tf_keras.Input((5, 8))
    x = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(inputs, inputs))
    return tf_keras.Model(inputs, layers.Dense(2)(x))


def on_a_base() -> Any:
    """As every tutorial has it: a base without its top, frozen and called; its calls were counted from 1."""
    base = tf_keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(64, 64, 3))
    base.trainable = False
    inputs = tf_keras.Input((64, 64, 3))
    x = layers.GlobalAveragePooling2D()(base(inputs, training=False))
    model = tf_keras.Model(inputs, layers.Dense(5, activation="softmax")(x))
    model.compile("adam", "categorical_crossentropy")
    return model


def in_a_sequence() -> Any:
    inputs = tf_keras.Input((16, 16, 3))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(4, 3, use_bias=False)(inputs)))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, use_bias=False)(x)))
    base = tf_keras.Model(inputs, layers.Conv2D(6, 1)(x))
    return tf_keras.Sequential([base, layers.GlobalAveragePooling2D(), layers.Dense(2)])


def with_slashes() -> Any:
    """DenseNet's names have slashes, which Keras 3 forbids; fewer blocks than are published have them too."""
    from tf_keras.src.applications.densenet import DenseNet

    return DenseNet([2, 1, 1, 1], weights=None, input_shape=(32, 32, 3), classes=3)


def densenet121() -> Any:
    return tf_keras.applications.DenseNet121(weights=None, input_shape=(64, 64, 3), classes=3)


def with_layers_of_its_own() -> Any:
    from tf_keras.src.applications.convnext import ConvNeXt

    return ConvNeXt([1, 1, 2, 1], [8, 16, 24, 32], input_shape=(32, 32, 3), classes=3)


def convnext_tiny() -> Any:
    return tf_keras.applications.ConvNeXtTiny(weights=None, input_shape=(64, 64, 3), classes=3)


def with_old_activations() -> Any:
    """Keras 3 has another function under the name hard_sigmoid, and no ThresholdedReLU."""
    return tf_keras.Sequential([
        layers.InputLayer((6, 4)), layers.GRU(4, recurrent_activation="hard_sigmoid", return_sequences=True),
        layers.Bidirectional(layers.LSTM(3, recurrent_activation="hard_sigmoid", activation="hard_sigmoid")),
        layers.Dense(8), layers.ThresholdedReLU(0.2), layers.Activation("hard_sigmoid"),
    ])  # fmt: skip


MODELS = [
    with_old_activations,
    augmented, with_operators, recurrent, attentive, on_a_base, in_a_sequence, with_slashes, with_layers_of_its_own,
    densenet121, convnext_tiny,
]  # fmt: skip
SLOW = (on_a_base, recurrent, densenet121, convnext_tiny)


@pytest.mark.parametrize(
    "make",
    [pytest.param(each, marks=[pytest.mark.slow] * (each in SLOW), id=each.__name__) for each in MODELS],
)
def test_a_model_of_keras_2_says_what_it_said(make: Callable[[], Any], tmp_path: Path) -> None:
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(0)
    source = make()
    source.save(path := tmp_path / "old.h5")
    rng = np.random.default_rng(0)
    shape = (2, *source.input_shape[1:])
    x = rng.integers(0, 10, shape) if source.inputs[0].dtype == "int32" else rng.uniform(0, 255, shape)

    loaded = zoo.load_model(path)

    expected = source(x.astype(source.inputs[0].dtype.name), training=False).numpy()
    found = np.asarray(loaded(x.astype(source.inputs[0].dtype.name), training=False))
    # Both run the same kernels, but x / 127.5 became x * (1 / 127.5): a few last bits of a float32, 2**-23 each.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert len(zoo.split_units(loaded)) >= 1


# --- what Keras 3 reads, but takes for something else ---


def said_alike(source: Any, path: Path, x: Any) -> keras.Model:
    """Asserts that a saved model says what Keras 2 says, and returns it."""
    source.save(path)
    loaded = zoo.load_model(path)
    np.testing.assert_allclose(np.asarray(loaded(x)), source(x).numpy(), rtol=1e-5, atol=1e-6)
    return loaded


def activations() -> list[str]:
    """Returns the names that Keras 2 knows for activations."""
    helpers = {"serialize", "deserialize", "get"}
    found = [name for name, each in vars(tf_keras.activations).items() if callable(each) and name not in helpers]
    return sorted([*found, "leaky_relu", "log_softmax", "relu6", "silu"])


@pytest.mark.parametrize("suffix", [".h5", pytest.param(".keras", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", activations())
def test_an_activation_is_what_keras_2_meant_by_its_name(name: str, suffix: str, tmp_path: Path) -> None:
    grid = np.linspace(-8, 8, 161, dtype="float32").reshape(1, 161)
    source = tf_keras.Sequential([layers.InputLayer((161,)), layers.Activation(name)])

    said_alike(source, tmp_path / f"old{suffix}", grid)


def test_all_activations_of_keras_2_are_swept() -> None:
    assert {"hard_sigmoid", "gelu", "mish", "swish", "softsign"} <= set(activations())


RECURRENT = {
    "SimpleRNN": (6, 4), "GRU": (6, 4), "LSTM": (6, 4),
    "ConvLSTM1D": (4, 6, 2), "ConvLSTM2D": (4, 6, 6, 2), "ConvLSTM3D": (4, 5, 5, 5, 2),
}  # fmt: skip


@pytest.mark.parametrize("lacking", [False, True])
@pytest.mark.parametrize(
    "kind",
    [pytest.param(each, marks=[pytest.mark.slow] * (each in ("ConvLSTM1D", "ConvLSTM3D"))) for each in RECURRENT],
)
def test_a_recurrent_layer_has_the_defaults_of_keras_2(kind: str, lacking: bool, tmp_path: Path) -> None:
    """Also where its configuration does not have them: ConvLSTM's is another in Keras 3."""
    tf_keras.utils.set_random_seed(0)
    layer = getattr(layers, kind)(3, 2) if kind.startswith("Conv") else getattr(layers, kind)(3)
    source = tf_keras.Sequential([layers.InputLayer(RECURRENT[kind]), layer])
    source.save(path := tmp_path / "old.h5")
    if lacking:
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            for key in ("activation", "recurrent_activation"):
                config["config"]["layers"][1]["config"].pop(key, None)
            file.attrs["model_config"] = json.dumps(config)
    x = 3 * np.random.default_rng(0).normal(size=(2, *RECURRENT[kind])).astype("float32")

    np.testing.assert_allclose(np.asarray(zoo.load_model(path)(x)), source(x).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_model_with_an_old_activation_is_saved_and_loaded_again(suffix: str, tmp_path: Path) -> None:
    x = np.linspace(-4, 4, 48, dtype="float32").reshape(2, 6, 4)
    loaded = said_alike(with_old_activations(), tmp_path / "old.h5", x)
    loaded.save(again := tmp_path / f"new{suffix}")

    np.testing.assert_array_equal(np.asarray(zoo.load_model(again)(x)), np.asarray(loaded(x)))


def test_layers_that_only_keras_2_has_are_refused_with_what_to_use(tmp_path: Path) -> None:
    for suffix in (".h5", ".keras"):
        source = tf_keras.Sequential([layers.InputLayer((6, 4)), layers.LocallyConnected1D(2, 3)])
        source.save(path := tmp_path / f"old{suffix}")
        with pytest.raises(IntegrityError, match="only Keras 2 had.*LocallyConnected1D.*Conv1D") as caught:
            zoo.load_model(path)
        assert "custom object" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_hashing_only_computes(suffix: str, tmp_path: Path) -> None:
    source = tf_keras.Sequential([layers.InputLayer((3,), dtype="int64"), layers.Hashing(5)])

    said_alike(source, tmp_path / f"old{suffix}", np.arange(6).reshape(2, 3))


# --- which weight is which ---


def squares(name: str, count: int = 3, kind: str = "Functional", **options: Any) -> Any:
    """Returns a base of layers with kernels of one shape: nothing but names can tell them apart."""
    inputs = tf_keras.Input((4,))
    x, made = inputs, []
    for _ in range(count):
        made += [layers.Dense(4, **options), layers.BatchNormalization()]
        x = made[-1](made[-2](x))
    return tf_keras.Model(inputs, x, name=name) if kind == "Functional" else tf_keras.Sequential(made, name=name)


def frozen_but_the_last(base: Any) -> None:
    base.trainable = False
    for layer in base.layers[-2:]:
        layer.trainable = True


def frozen_below(base: Any) -> None:
    for layer in base.layers[:3]:
        layer.trainable = False


def frozen_in_the_middle(base: Any) -> None:
    base.layers[3].trainable = False


def frozen_normalization(base: Any) -> None:
    for layer in base.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)


def all_but_normalization_frozen(base: Any) -> None:
    base.trainable = False
    for layer in base.layers:
        layer.trainable = isinstance(layer, layers.BatchNormalization)


FREEZING = [
    frozen_but_the_last, frozen_below, frozen_in_the_middle, frozen_normalization, all_but_normalization_frozen,
]  # fmt: skip


def filled(model: Any) -> Any:
    """Returns a model with weights that all differ."""
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    return model


def around(*bases: Any) -> Any:
    inputs = x = tf_keras.Input((4,))
    for base in bases:
        x = base(x)
    return tf_keras.Model(inputs, layers.Dense(2)(x))


@pytest.mark.parametrize("kind", ["Functional", "Sequential"])
@pytest.mark.parametrize("freeze", FREEZING, ids=lambda freeze: freeze.__name__)
def test_a04_the_weights_of_a_base_partly_frozen_go_where_they_belong(
    freeze: Callable[[Any], None], kind: str, tmp_path: Path
) -> None:
    """Keras 2 writes what is trainable first; Keras 3 freezes all layers of a frozen model."""
    base = squares("base", kind=kind)
    source = filled(around(base))
    freeze(base)

    said_alike(source, tmp_path / "old.h5", np.random.default_rng(1).uniform(size=(2, 4)).astype("float32"))


@pytest.mark.parametrize("freeze", FREEZING, ids=lambda freeze: freeze.__name__)
def test_a04_so_do_those_of_a_base_in_a_base_and_of_two(freeze: Callable[[Any], None], tmp_path: Path) -> None:
    inner, other = squares("inner"), squares("other", kind="Sequential")
    inputs = tf_keras.Input((4,))
    middle = tf_keras.Model(inputs, layers.Dense(4)(inner(layers.Dense(4)(inputs))), name="middle")
    source = filled(around(middle, other))
    freeze(inner)
    freeze(other)

    said_alike(source, tmp_path / "old.h5", np.random.default_rng(1).uniform(size=(2, 4)).astype("float32"))


@pytest.mark.parametrize("nested", [False, True])
def test_a04_so_do_those_of_a_layer_of_two_halves(nested: bool, tmp_path: Path) -> None:
    inputs, both = tf_keras.Input((3, 4)), layers.Bidirectional(layers.LSTM(2))
    base = tf_keras.Sequential([tf_keras.Input((3, 4)), both]) if nested else both
    source = filled(tf_keras.Model(inputs, layers.Dense(2)(base(inputs))))
    both.forward_layer.trainable = False

    said_alike(source, tmp_path / "old.h5", np.random.default_rng(1).uniform(size=(2, 3, 4)).astype("float32"))


def renamed_weights(path: Path, new: Callable[[int, str], str]) -> None:
    """Gives the weights of the layer `base` other names."""
    with h5py.File(path, "r+") as file:
        group = file["model_weights/base"]
        names = [name if isinstance(name, str) else name.decode() for name in group.attrs["weight_names"]]
        others = [new(number, name) for number, name in enumerate(names)]
        values = [group[name][()] for name in names]
        for name in {name.split("/")[0] for name in names}:
            del group[name]
        for other, value in zip(others, values, strict=True):
            group[other] = value
        group.attrs["weight_names"] = [other.encode() for other in others]


def test_a04_names_as_tensorflow_1_numbered_them_are_understood(tmp_path: Path) -> None:
    base = squares("base", use_bias=False)
    source = filled(around(base))
    frozen_but_the_last(base)
    source.save(path := tmp_path / "old.h5")
    renamed_weights(path, lambda _, name: name.replace("/", "_1/", 1))
    x = np.random.default_rng(1).uniform(size=(2, 4)).astype("float32")

    np.testing.assert_allclose(np.asarray(zoo.load_model(path)(x)), source(x).numpy(), rtol=1e-5)


def test_a04_names_that_tell_nothing_are_refused_where_shapes_tell_nothing_either(tmp_path: Path) -> None:
    base = squares("base", use_bias=False)
    source = filled(around(base))
    frozen_but_the_last(base)
    source.save(path := tmp_path / "old.h5")
    renamed_weights(path, lambda number, _: f"weight_{number}:0")

    with pytest.raises(IntegrityError, match=r"does not tell which weight is which in 'base'.*'weight_0:0'.*again"):
        zoo.load_model(path)
    x = np.random.default_rng(1).uniform(size=(2, 4)).astype("float32")
    said_alike(tf_keras.models.load_model(path), tmp_path / "again.h5", x)


def test_x03_other_functions_of_tensorflow_stay_refused(tmp_path: Path) -> None:
    with_operators().save(path := tmp_path / "old.h5")
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layer = next(each for each in config["config"]["layers"] if each["class_name"] == "TFOpLambda")
        layer["config"]["function"] = "io.read_file"
        file.attrs["model_config"] = json.dumps(config)

    with pytest.raises(UnsafeFileError, match="TFOpLambda"):
        zoo.load_model(path)


@pytest.mark.slow
def test_an_argument_that_has_gone_and_meant_something_is_not_passed_over(tmp_path: Path) -> None:
    """Only where it stands at the value that meant nothing may it be left out."""
    recurrent().save(path := tmp_path / "old.h5")
    with h5py.File(path, "r+") as file:
        text = file.attrs["model_config"]
        assert '"time_major": false' in text
        file.attrs["model_config"] = text.replace('"time_major": false', '"time_major": true')

    with pytest.raises(IntegrityError, match="time_major"):
        zoo.load_model(path)
