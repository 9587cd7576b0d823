"""Nets of TF-Slim with random values, their checkpoints, and what TF-Slim itself computes with them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


@dataclass(frozen=True)
class SlimCheckpoint:
    """A checkpoint, and the logits that its graph puts out for some pictures."""

    prefix: Path
    pictures: Any
    logits: Any


def saved_slim(
    folder: Path, name: str, classes: int, *, size: int = 224, alpha: float = 1.0, version: int = 2, count: int = 2
) -> SlimCheckpoint:
    """Returns the checkpoint of a net whose values are all random, statistics too.

    Args:
        folder: Where its files go.
        name: What TF-Slim calls it.
        classes: How many its classifier tells apart.
        size: Height and width of its pictures.
        alpha: The factor on the widths of a MobileNet.
        version: Of the format of checkpoints; 1: all in one file.
        count: How many pictures are looked at.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = np.random.default_rng(2).uniform(-1, 1, (count, size, size, 3)).astype("float32")
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(5)
        inputs = v1.placeholder(tf.float32, (None, size, size, 3))
        logits = _logits(name, inputs, classes, alpha)
        v1.train.get_or_create_global_step()
        session.run(v1.global_variables_initializer())
        session.run([v1.assign(each, _values(each)) for each in v1.global_variables() if len(each.shape)])
        told = session.run(logits, {inputs: pictures})
        prefix = v1.train.Saver(write_version=version).save(
            session, str(folder / f"{name}.ckpt"), write_meta_graph=False
        )
    return SlimCheckpoint(Path(prefix), pictures, told.reshape(count, classes))


def _values(variable: Any) -> Any:
    """Returns random values about as they are in use, so that pictures still differ at the other end of the net."""
    name, shape = variable.op.name, variable.shape
    if name.endswith(("gamma", "moving_variance")):
        return tf.random.uniform(shape, 0.5, 1.5)
    inputs = math.prod(shape[:2] if name.endswith("depthwise_weights") else shape[:-1])
    return tf.random.normal(shape, stddev=0.1 if len(shape) == 1 else math.sqrt(2 / inputs))


def _logits(name: str, inputs: Any, classes: int, alpha: float) -> Any:
    import tf_keras.src.legacy_tf_layers.normalization as normalization

    sys.modules["tf_keras.legacy_tf_layers.normalization"] = normalization  # where TensorFlow still looks for it
    import tf_slim
    from tf_slim.nets import inception, resnet_v1, vgg

    if name == "mobilenet_v1":
        return _mobilenet(tf_slim, inputs, classes, alpha)
    modules = {"vgg": vgg, "resnet": resnet_v1, "inception": inception}
    scopes: dict[str, Callable[[], Any]] = {
        "vgg": vgg.vgg_arg_scope,
        "resnet": resnet_v1.resnet_arg_scope,
        "inception": inception.inception_v3_arg_scope,
    }
    family = name.split("_")[0]
    with tf_slim.arg_scope(scopes[family]()):
        return getattr(modules[family], name)(inputs, num_classes=classes, is_training=False)[0]


_MOBILENET = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]


def _mobilenet(slim: Any, x: Any, classes: int, alpha: float) -> Any:
    """Returns the logits of research/slim/nets/mobilenet_v1.py, said again with the layers of TF-Slim."""

    def depth(width: int) -> int:
        return max(int(width * alpha), 8)

    normalization = {"center": True, "scale": True, "epsilon": 0.001, "is_training": False}
    options = {"activation_fn": tf.nn.relu6, "normalizer_fn": slim.batch_norm, "normalizer_params": normalization}
    with v1.variable_scope("MobilenetV1"):
        with slim.arg_scope([slim.conv2d, slim.separable_conv2d], padding="SAME", **options):
            x = slim.conv2d(x, depth(32), [3, 3], stride=2, scope="Conv2d_0")
            for number, (width, stride) in enumerate(_MOBILENET, 1):
                name = f"Conv2d_{number}_depthwise"
                x = slim.separable_conv2d(x, None, [3, 3], depth_multiplier=1, stride=stride, scope=name)
                x = slim.conv2d(x, depth(width), [1, 1], scope=f"Conv2d_{number}_pointwise")
        with v1.variable_scope("Logits"):
            x = tf.reduce_mean(x, [1, 2], keepdims=True)
            return slim.conv2d(x, classes, [1, 1], activation_fn=None, normalizer_fn=None, scope="Conv2d_1c_1x1")
