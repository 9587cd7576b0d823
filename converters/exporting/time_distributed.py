"""Lets a TimeDistributed do all times at once: rows of one batch, instead of one time after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def is_row_by_row(layer: Any) -> bool:
    """Returns whether what is inside a TimeDistributed does with a row of a batch what it does with that row alone."""
    parts = layer.layer._flatten_layers()
    return all(_is_of_keras(each) and not getattr(each, "stateful", False) for each in parts)


def _is_of_keras(layer: Any) -> bool:
    return type(layer).__module__.startswith("keras.")


def all_times_at_once(layer: Any) -> Callable[..., Any]:
    """Returns what is to be called instead of a TimeDistributed."""
    own, inner = layer.call, layer.layer

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if mask is not None or training:
            return own(inputs, training=training, mask=mask)
        sizes = [tf.shape(inputs)[axis] if each is None else each for axis, each in enumerate(inputs.shape)]
        rows = tf.reshape(inputs, [-1, *sizes[2:]])
        found = inner.call(rows, **({"training": False} if inner._call_has_training_arg else {}))
        if keras.tree.is_nested(found) or found.shape.rank is None:
            return own(inputs)
        rest = [tf.shape(found)[axis] if each is None else each for axis, each in enumerate(found.shape)][1:]
        batch = -1 if inputs.shape[0] is None and inputs.shape[1] is not None else sizes[0]
        return tf.reshape(found, [batch, sizes[1], *rest])

    return call
