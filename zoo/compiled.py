"""Keras models as compiled TensorFlow functions, traced once."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def compiled(model: keras.Model) -> Any:
    """Returns `model` as a compiled function of one tensor [batch, ...], in inference mode."""
    source = model.inputs[0]
    return trace(lambda x: model(x, training=False), tf.TensorSpec(source.shape, source.dtype))


def trace(function: Any, *specs: Any) -> Any:
    """Returns `function` compiled for tensors like `specs`."""
    return tf.function(function).get_concrete_function(*specs)
