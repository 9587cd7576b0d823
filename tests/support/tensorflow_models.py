"""Nets as TensorFlow makes and saves them: of version 1, of version 2, of Keras 2 and 3, and hidden in functions."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
SIZES = {"hidden1": 300, "hidden2": 50, "hidden3": 50, "hidden4": 50, "hidden5": 50, "outputs": 10}
PIXELS = 784


@dataclass(frozen=True)
class Saved:
    """What was saved, what went in, and what the session made of it.

    Attributes:
        prefix: The checkpoint, or folder.
        given: What went in.
        made: What came out.
        weights: The variables' values by their names.
    """

    prefix: Path
    given: np.ndarray[Any, Any]
    made: np.ndarray[Any, Any]
    weights: dict[str, np.ndarray[Any, Any]]


def legacy_layers() -> Any:
    """Returns what was `tf.layers`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tf_keras.api._v1.keras.__internal__.legacy import layers
    return layers


def dense(x: Any, units: int, name: str, activation: Any = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return legacy_layers().dense(x, units, activation=activation, name=name)


def neuron_layer(x: Any, units: int, name: str, activation: Any = None) -> Any:
    """Returns a layer as people wrote it by hand."""
    with v1.name_scope(name):
        inputs = int(x.get_shape()[1])
        first = v1.truncated_normal((inputs, units), stddev=2 / np.sqrt(inputs), seed=1)
        kernel = v1.Variable(first, name="kernel")
        bias = v1.Variable(tf.zeros([units]) + 0.1, name="bias")
        z = tf.matmul(x, kernel) + bias
        return activation(z) if activation is not None else z


def book_net(layer: Callable[..., Any] = dense) -> tuple[Any, Any, Any]:
    """Returns the input, the labels and the logits of the net 784-300-50-50-50-50-10, in the current graph."""
    x = v1.placeholder(tf.float32, shape=(None, PIXELS), name="X")
    y = v1.placeholder(tf.int32, shape=(None,), name="y")
    with v1.name_scope("dnn"):
        found = x
        for name, units in SIZES.items():
            found = layer(found, units, name=name, activation=None if name == "outputs" else tf.nn.relu)
    return x, y, found


def train_and_save(
    build: Callable[[], tuple[Any, Any, Any]],
    prefix: Path,
    *,
    steps: int = 3,
    train: bool = True,
    resource: bool = False,
) -> Saved:
    """Builds a net in a graph of its own, trains it with Adam for some steps, and saves it as people did."""
    rng = np.random.default_rng(0)
    with (
        tf.Graph().as_default(),
        v1.Session() as session,
        v1.variable_scope(v1.get_variable_scope(), use_resource=resource),
    ):
        v1.set_random_seed(3)
        x, y, logits = build()
        shape = [each or 8 for each in x.shape.as_list()]
        given = rng.standard_normal(shape).astype("f4")
        feed = {x: given}
        if train:
            with v1.name_scope("loss"):
                entropy = v1.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
                loss = tf.reduce_mean(entropy, name="loss")
            with v1.name_scope("train"):
                step = v1.train.AdamOptimizer(0.01).minimize(loss, var_list=v1.trainable_variables())
            with v1.name_scope("eval"):
                correct = tf.math.in_top_k(targets=y, predictions=logits, k=1)
                tf.reduce_mean(tf.cast(correct, tf.float32), name="accuracy")
            updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
            feed[y] = rng.integers(0, logits.shape[-1], shape[0])
        session.run(v1.global_variables_initializer())
        for _ in range(steps if train else 0):
            session.run([step, *updates], feed)
        v1.train.Saver().save(session, os.fspath(prefix))
        weights = {each.op.name: session.run(each) for each in v1.global_variables()}
        return Saved(prefix, given, session.run(logits, {x: given}), weights)


def small_net(*, classes: int = 3) -> keras.Model:
    """Returns a net of Keras 3 with most of what nets of pictures have, its statistics no longer as they begin."""
    layers = keras.layers
    x = inputs = keras.Input((16, 12, 3), name="pictures")
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.ReLU(6.0, name="stem_relu")(x)
    skip = x
    x = layers.DepthwiseConv2D(3, padding="same", name="deep")(x)
    x = layers.BatchNormalization(name="deep_bn", scale=False)(x)
    x = layers.Activation("relu", name="deep_relu")(x)
    x = layers.Conv2D(6, 1, name="point")(x)
    x = layers.Add(name="join")([x, skip])
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dropout(0.4, name="drop")(x)
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax", name="head")(x), name="small")
    enliven(model.weights)
    return model


def enliven(weights: Sequence[Any]) -> None:
    """Gives weights values by which layers that are mixed up are told apart."""
    rng = np.random.default_rng(7)
    for each in weights:
        values = rng.uniform(0.5, 1.5, each.shape) if len(each.shape) < 2 else rng.normal(0, 0.4, each.shape)
        if str(each.dtype).endswith("float32") or getattr(each.dtype, "name", "") == "float32":
            each.assign(values.astype("f4"))


class HubStyle(tf.Module):
    """A feature vector as TF Hub has them: called with `trainable`, and without a signature."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(5)
        self.kernel = tf.Variable(rng.normal(0, 0.4, (3, 3, 3, 5)).astype("f4"), name="conv/kernel")
        self.mean = tf.Variable(rng.normal(0, 1, 5).astype("f4"), name="bn/mean", trainable=False)
        self.variance = tf.Variable(rng.uniform(0.5, 2, 5).astype("f4"), name="bn/variance", trainable=False)
        self.gamma = tf.Variable(rng.uniform(0.5, 2, 5).astype("f4"), name="bn/gamma")
        self.beta = tf.Variable(rng.normal(0, 1, 5).astype("f4"), name="bn/beta")
        self.dense = tf.Variable(rng.normal(0, 0.4, (5, 4)).astype("f4"), name="features/kernel")

    @tf.function
    def __call__(self, images: Any, trainable: bool = False) -> Any:
        with tf.name_scope("conv"):
            x = tf.nn.conv2d(images, self.kernel, 2, "SAME")
        with tf.name_scope("bn"):
            mean, variance = (tf.nn.moments(x, [0, 1, 2])) if trainable else (self.mean, self.variance)
            x = tf.nn.relu(tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, 1e-3))
        x = tf.nn.dropout(x, 0.5) if trainable else x
        with tf.name_scope("features"):
            return tf.nn.relu(tf.matmul(tf.reduce_mean(x, [1, 2]), self.dense))


def save_hub_style(folder: Path, size: int | None = 20) -> HubStyle:
    module = HubStyle()
    spec = tf.TensorSpec((None, size, size, 3), tf.float32, name="images")
    for trainable in (True, False):
        module.__call__.get_concrete_function(spec, trainable=trainable)
    tf.saved_model.save(module, os.fspath(folder))
    return module
