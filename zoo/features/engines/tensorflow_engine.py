"""TensorFlow as an engine: the trunk as one compiled function, without what `Model.predict` adds."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.compiled import compiled
from zoo.errors import TrainingError
from zoo.features.engines.engine import Array, fitting_batch, in_pieces


class TensorflowEngine:
    """Runs a trunk in TensorFlow.

    Args:
        model: The trunk: one input, one or more outputs.
        example: Shape of one preprocessed example.
    """

    name = "tensorflow"

    def __init__(self, model: keras.Model, example: tuple[int, ...]) -> None:
        self._run = compiled(model)
        self._dtype = model.inputs[0].dtype
        self._size = fitting_batch(model, example)

    def run(self, batch: Array) -> list[Array]:
        """Returns each output for a batch; where memory is short, computed in halves."""
        return in_pieces(self._piece, batch, self._size)

    def _piece(self, batch: Any) -> list[Array]:
        try:
            outputs = keras.tree.flatten(self._run(tf.cast(batch, self._dtype)))
            return [np.asarray(output) for output in outputs]
        except tf.errors.ResourceExhaustedError as error:
            if len(batch) == 1:
                raise TrainingError("Out of memory while computing the features of a single example.") from error
        self._size = max(1, len(batch) // 2)
        return in_pieces(self._piece, batch, self._size)
