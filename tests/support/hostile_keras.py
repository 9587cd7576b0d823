"""Keras files for the tests of guards: ordinary models of ordinary users, and hostile ones made from real files."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import layers, ops

Record = dict[str, Any]


# --- ordinary models ---


def _augmented() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Rescaling(1 / 255, offset=[0.1, 0.2, 0.3]),
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.1),
            layers.RandomZoom(0.1),
            layers.RandomContrast(0.2),
            layers.RandomTranslation(0.1, 0.1),
            layers.RandomBrightness(0.1, value_range=(0, 1)),
            layers.RandomCrop(14, 14),
            layers.Resizing(12, 12),
            layers.CenterCrop(8, 8),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.SpatialDropout2D(0.1),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.GaussianNoise(0.1),
            layers.Dropout(0.5, seed=7),
            layers.Dense(3, activation="softmax"),
        ]
    )


def _pipeline() -> keras.Model:
    inputs = keras.Input((16, 16, 3))
    x = layers.Pipeline([layers.RandomFlip(), layers.Rescaling(1 / 127.5, offset=-1)])(inputs)
    x = layers.RandAugment((-1, 1))(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2)(x))


def _residual() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    y = layers.Conv2D(4, 3, padding="same", use_bias=False)(ops.relu(x))
    x = (x + y) * 2 - 0.5
    x = ops.concatenate([x, ops.exp(-x) / 3], axis=-1)
    x = x[:, 1:-1, ..., ::2] ** 2
    x = ops.mean(x, axis=(1, 2), keepdims=False)
    x = ops.where(x > 0, x, ops.zeros_like(x)) @ ops.convert_to_tensor(np.eye(4, dtype="float32"))
    x = x * np.linspace(0.5, 1, 4, dtype="float32")
    x = ops.reshape(x, (-1, 2, 2))[:, 0]
    return keras.Model(inputs, layers.Dense(1)(ops.clip(x, -3.0, 3.0)))


def _convolutions() -> keras.Model:
    inputs = keras.Input((12, 12, 4))
    x = layers.SeparableConv2D(4, 3, padding="same")(inputs)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x)
    x = layers.UpSampling2D(interpolation="bilinear")(layers.AveragePooling2D(2)(x))
    x = layers.Cropping2D(2)(layers.ZeroPadding2D(1)(x))
    line = layers.Reshape((-1, 4))(x)
    line = layers.Conv1D(2, 3, dilation_rate=2)(line)
    line = layers.SeparableConv1D(2, 3)(layers.Conv1DTranspose(2, 3)(line))
    cube = layers.Reshape((22, 22, 4, 1))(x)
    cube = layers.Conv3D(2, 2)(cube)
    return keras.Model(inputs, [layers.GlobalMaxPooling1D()(line), layers.GlobalAveragePooling3D()(cube)])


def _recurrent() -> keras.Model:
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(20, 4, mask_zero=True)(inputs)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True, dropout=0.1))(x)
    back = layers.GRU(3, return_sequences=True, go_backwards=True)
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True), backward_layer=back)(x)
    x = layers.TimeDistributed(layers.Dense(4, activation="tanh"))(x)
    x = layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True)(x)
    x = layers.SimpleRNN(3)(layers.Masking(mask_value=-1.0)(x))
    return keras.Model(inputs, layers.Dense(2)(x))


def _attention() -> keras.Model:
    inputs = keras.Input((6, 8))
    x = layers.MultiHeadAttention(2, 4)(inputs, inputs)
    x = layers.Add()([x, inputs])
    x = layers.LayerNormalization()(x)
    x = layers.GroupQueryAttention(4, 4, 2)(x, x)
    x = layers.Attention(use_scale=True)([x, x])
    x = layers.AdditiveAttention()([x, x])
    x = layers.EinsumDense("abc,cd->abd", output_shape=(None, 3), bias_axes="d")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling1D()(x))


def _normalized() -> keras.Model:
    adapted = layers.Normalization()
    adapted.adapt(np.random.default_rng(0).normal(3, 2, (50, 8)).astype("float32"))
    inputs = keras.Input((8,))
    x = layers.SpectralNormalization(layers.Dense(8))(adapted(inputs))
    x = layers.UnitNormalization()(layers.RMSNormalization()(x))
    x = layers.GroupNormalization(groups=2)(layers.Reshape((2, 4))(x))
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(layers.Permute((2, 1))(x))))


def _objects() -> keras.Model:
    """Initializers, regularizers, constraints and activations in all the ways in which they are given."""
    inputs = keras.Input((4,))
    x = layers.Dense(
        4,
        kernel_initializer=keras.initializers.HeNormal(seed=keras.random.SeedGenerator(3)),
        bias_initializer=keras.initializers.Constant(0.1),
        kernel_regularizer=keras.regularizers.L1L2(1e-4, 1e-4),
        activity_regularizer="l2",
        kernel_constraint=keras.constraints.MaxNorm(2),
        bias_constraint="non_neg",
        activation=keras.activations.gelu,
    )(inputs)
    x = layers.Dense(4, kernel_initializer="orthogonal", activation=layers.LeakyReLU(0.3))(x)
    x = layers.PReLU()(layers.ELU(0.5)(layers.LeakyReLU()(x)))
    x = layers.Activation("swish")(layers.ReLU(max_value=6)(layers.ActivityRegularization(l2=1e-3)(x)))
    x = keras.activations.relu(x, negative_slope=0.1)
    return keras.Model(inputs, layers.Softmax()(layers.Dense(3, activation=keras.ops.silu)(x)))


def _mixed() -> keras.Model:
    policy = keras.DTypePolicy("mixed_float16")
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(2, 3, dtype=policy)(inputs)
    x = layers.Flatten(dtype="mixed_bfloat16")(x)
    return keras.Model(inputs, layers.Dense(2, dtype="float32")(x))


def _nested() -> keras.Model:
    """A model in a model, compiled with a loss of the user's own, and called twice; two outputs by name."""

    def loss_of_mine(y: Any, x: Any) -> Any:
        return ops.mean(ops.square(y - x))

    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, activation="relu"), layers.Dense(4)], name="inner")
    inner.compile("adam", loss=loss_of_mine, metrics=["mae"])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, {"a": inner(inner(inputs)), "b": layers.Dense(2)(inputs)})
    model.compile("sgd", loss=loss_of_mine)
    return model


def _two_inputs() -> keras.Model:
    picture, numbers = keras.Input((8, 8, 1), name="picture"), keras.Input((3,), name="numbers")
    x = layers.Concatenate()([layers.Flatten()(picture), numbers])
    x = layers.Dot(axes=1, normalize=True)([x, x])
    y = layers.Maximum()([layers.Dense(2)(numbers), layers.Dense(2)(numbers)])
    return keras.Model([picture, numbers], [x, layers.Multiply()([y, y])])


def _categories() -> keras.Model:
    inputs = keras.Input((1,))
    x = layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0])(inputs)
    x = layers.CategoryEncoding(num_tokens=4, output_mode="one_hot")(x)
    return keras.Model(inputs, layers.Dense(2)(x))


def _quantized() -> keras.Model:
    model = keras.Sequential([keras.Input((8,)), layers.Dense(8, activation="relu"), layers.Dense(2)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the InputLayer, which has nothing to quantize
        model.quantize("int8")
    return model


ORDINARY: dict[str, Callable[[], keras.Model]] = {
    "augmentation": _augmented,
    "pipeline": _pipeline,
    "residual operations": _residual,
    "convolutions": _convolutions,
    "recurrent": _recurrent,
    "attention": _attention,
    "normalization": _normalized,
    "initializers and other objects": _objects,
    "mixed precision": _mixed,
    "nested and compiled": _nested,
    "two inputs, two outputs": _two_inputs,
    "categories": _categories,
    "quantized to int8": _quantized,
}


def inputs_of(model: keras.Model, examples: int = 2) -> Any:
    """Returns fixed inputs for a model of `ORDINARY`: one array, or a list of several."""
    random = np.random.default_rng(1)
    found = [random.integers(1, 9, (examples, *each.shape[1:])).astype(each.dtype) for each in model.inputs]
    return found if len(found) > 1 else found[0]


# --- hostile ones ---


def config_of(archive: Path) -> Record:
    """Returns the config in a `.keras` archive."""
    with zipfile.ZipFile(archive) as file:
        found: Record = json.loads(file.read("config.json"))
    return found


def rewritten(archive: Path, config: Record | str | None = None, **members: bytes) -> Path:
    """Puts another config, and other or further members, into a real `.keras` archive."""
    with zipfile.ZipFile(archive) as file:
        content = {name: file.read(name) for name in file.namelist()}
    if config is not None:
        content["config.json"] = (config if isinstance(config, str) else json.dumps(config)).encode()
    content |= members
    with zipfile.ZipFile(archive, "w") as file:
        for name, data in content.items():
            file.writestr(name, data)
    return archive


def legacy_config(path: Path) -> str:
    """Returns what an `.h5` file says that its model is made of."""
    with h5py.File(path) as file:
        found: str = file.attrs["model_config"]
    return found


def touching(canary: Path) -> Callable[[Any], Any]:
    """Returns a lambda, as `Lambda` layers store them, that makes the file `canary` when it runs."""
    found: Callable[[Any], Any] = eval(f"lambda x: (__import__('pathlib').Path({str(canary)!r}).touch(), x)[1]")
    return found


def with_lambda(canary: Path) -> keras.Model:
    """Returns a model whose Lambda layer makes the file `canary` when it runs; it is not there yet."""
    model = keras.Sequential([keras.Input((2,)), layers.Lambda(touching(canary), name="evil"), layers.Dense(1)])
    canary.unlink()
    return model


def small_model() -> keras.Model:
    """Returns a net with a place for every kind of record: wrapper, initializer, activation, node, nested model."""
    inputs = keras.Input((4, 3))
    x = layers.Bidirectional(layers.LSTM(2), name="both")(inputs)
    x = layers.Dense(4, name="dense")(x)
    x = layers.Activation("relu", name="activation")(x)
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="inside")], name="inner")
    inner.compile("adam", "mse")
    return keras.Model(inputs, inner(x))


def _layer(config: Record, name: str) -> Record:
    return next(each for each in config["config"]["layers"] if each["config"]["name"] == name)


def _in_layers(config: Record, record: Record) -> None:
    place = config["config"]["layers"].index(_layer(config, "dense"))
    nodes = config["config"]["layers"][place]["inbound_nodes"]
    config["config"]["layers"][place] = {"name": "dense", "inbound_nodes": nodes} | record


def _without_module(config: Record, record: Record) -> None:
    """As `.h5` files have it: Keras reads layers without module in another way."""
    _layer(config, "both").pop("module")
    _layer(config, "both")["config"]["layer"] = record


def _in_initializer(config: Record, record: Record) -> None:
    _layer(config, "dense")["config"]["kernel_initializer"]["config"]["seed"] = record


def _at_the_top(config: Record, record: Record) -> None:
    config.clear()
    config.update(record)


# Where a hostile record is put into the config of `small_model`.
SPOTS: dict[str, Callable[[Record, Record], None]] = {
    "among the layers": _in_layers,
    "in a Sequential": lambda config, record: _layer(config, "inner")["config"]["layers"].append(record),
    "in a Bidirectional": lambda config, record: _layer(config, "both")["config"].update(layer=record),
    "in a wrapper without module": _without_module,
    "as an initializer": lambda config, record: _layer(config, "dense")["config"].update(kernel_initializer=record),
    "inside an initializer": _in_initializer,
    "as an activation": lambda config, record: _layer(config, "activation")["config"].update(activation=record),
    "as a dtype": lambda config, record: _layer(config, "dense")["config"].update(dtype=record),
    "in a build_config": lambda config, record: _layer(config, "dense")["build_config"].update(input_shape=[record]),
    "in a node": lambda config, record: _layer(config, "dense")["inbound_nodes"][0]["kwargs"].update(training=record),
    "in a list that looks inert": lambda config, record: _layer(config, "dense")["config"].update(notes=[[record]]),
    "at the top": _at_the_top,
}
