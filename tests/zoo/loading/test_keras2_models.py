"""Whole models that Keras 2 saved as .h5: what people have in their folders. Keras 2 itself says what they said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
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
    base = tf_keras.applications.MobileNet(weights=None, include_top=False, input_shape=(64, 64, 3), alpha=0.25)
    return tf_keras.Sequential([base, layers.GlobalAveragePooling2D(), layers.Dense(2)])


def with_slashes() -> Any:
    """DenseNet's names have slashes, which Keras 3 forbids."""
    return tf_keras.applications.DenseNet121(weights=None, input_shape=(64, 64, 3), classes=3)


def with_layers_of_its_own() -> Any:
    return tf_keras.applications.ConvNeXtTiny(weights=None, input_shape=(64, 64, 3), classes=3)


MODELS = [
    augmented, with_operators, recurrent, attentive, on_a_base, in_a_sequence, with_slashes, with_layers_of_its_own,
]  # fmt: skip


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
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


def test_x03_other_functions_of_tensorflow_stay_refused(tmp_path: Path) -> None:
    with_operators().save(path := tmp_path / "old.h5")
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layer = next(each for each in config["config"]["layers"] if each["class_name"] == "TFOpLambda")
        layer["config"]["function"] = "io.read_file"
        file.attrs["model_config"] = json.dumps(config)

    with pytest.raises(UnsafeFileError, match="TFOpLambda"):
        zoo.load_model(path)


def test_an_argument_that_has_gone_and_meant_something_is_not_passed_over(tmp_path: Path) -> None:
    """Only where it stands at the value that meant nothing may it be left out."""
    recurrent().save(path := tmp_path / "old.h5")
    with h5py.File(path, "r+") as file:
        text = file.attrs["model_config"]
        assert '"time_major": false' in text
        file.attrs["model_config"] = text.replace('"time_major": false', '"time_major": true')

    with pytest.raises(IntegrityError, match="time_major"):
        zoo.load_model(path)
