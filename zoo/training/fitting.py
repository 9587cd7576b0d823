"""Fits a model on features with whole epochs in compiled code.

A small head costs less than the Python call that would train it, so the loop over mini-batches runs inside the
compiled function: one call an epoch, or one a chunk where the features are many.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.compiled import compiled, trace
from zoo.errors import DataError, TrainingError
from zoo.garbage import without_collection
from zoo.progress import Progress, Silent
from zoo.surgery import training_call
from zoo.training import chunks
from zoo.training.chunks import Buffer, Chunks, Part
from zoo.training.history import Epoch, FitSettings, History

_EVALUATION_BATCH = 512


def fit(
    model: keras.Model,
    train: Part,
    validation: Part,
    settings: FitSettings | None = None,
    progress: Progress | None = None,
) -> History:
    """Trains `model` (logits out) with Adam and leaves it with its best weights.

    The best weights are those with the lowest validation loss; without validation examples, the last. The same seed
    gives the same result on the same CPU.

    Raises:
        TrainingError: A loss or weight is not finite; the model has the best weights from before. Or memory ran out.
        DataError: There are no training examples.

    >>> x, y = np.eye(4, dtype="float32"), np.arange(4)
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    >>> whole, none = Part(x, y, np.arange(4)), Part(x, y, np.arange(0))
    >>> history = fit(model, whole, none, FitSettings(epochs=3, batch_size=2))
    >>> history.steps, len(history.epochs)
    (6, 3)
    """
    settings, progress = settings or FitSettings(), progress or Silent()
    if not len(train):
        raise DataError("Expected training examples; got none.")
    progress.start(settings.epochs, "epochs")
    try:
        with without_collection():
            fitting = _Fit(model, train, validation, settings)
        return fitting.run(progress)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise TrainingError(
            f"Out of memory at batch size {settings.batch_size}; try --batch-size {max(1, settings.batch_size // 2)}."
        ) from error
    finally:
        progress.close()


def predict(model: keras.Model, part: Part) -> NDArray[np.float32]:
    """Returns what `model` puts out for the examples of `part`, in inference mode: float32 [n, ...]."""
    run, dtype = compiled(model), model.inputs[0].dtype
    outputs = []
    if len(part):
        for x, _, order in Chunks(replace(part, versions=1), _EVALUATION_BATCH, dtype, whole=False).once():
            for begin in range(0, len(order), _EVALUATION_BATCH):
                batch = tf.gather(x, order[begin : begin + _EVALUATION_BATCH])
                outputs.append(np.asarray(run(tf.cast(batch, dtype))))
    return np.concatenate(outputs) if outputs else np.empty((0, *model.output_shape[1:]), np.float32)


class _Fit:
    """One training: the compiled functions, the best weights so far, and the history."""

    def __init__(self, model: keras.Model, train: Part, validation: Part, settings: FitSettings) -> None:
        self._began = time.perf_counter()
        self._model, self._settings = model, settings
        self._train, self._validation = train, validation
        self._optimizer = keras.optimizers.Adam(settings.learning_rate)
        self._optimizer.build(model.trainable_variables)
        self._forward = training_call(model)
        self._dtype = model.inputs[0].dtype
        unchanged = replace(validation, versions=1)
        whole = train.bytes + unchanged.bytes <= chunks.WHOLE_BYTES
        buffers = Buffer(), Buffer()
        self._chunks = Chunks(train, settings.batch_size, self._dtype, whole=whole, buffers=buffers)
        self._train_chunk = trace(self._loop, *_specs(model, self._chunks))
        if len(validation):
            self._validation_chunks = Chunks(unchanged, _EVALUATION_BATCH, self._dtype, whole=whole, buffers=buffers)
            self._evaluate_chunk = trace(self._evaluation, *_specs(model, self._validation_chunks))

    def run(self, progress: Progress) -> History:
        settings, epochs = self._settings, list[Epoch]()
        best, best_epoch, best_weights = float("inf"), 0, self._model.get_weights()
        stopped = "all epochs were run"
        for number in range(1, settings.epochs + 1):
            epoch = self._epoch(number, best_weights)
            epochs.append(epoch)
            figures = {"loss": epoch.loss, "accuracy": epoch.accuracy}
            progress.advance(
                1,
                **figures,
                **({"val_accuracy": epoch.val_accuracy} if epoch.val_accuracy is not None else {}),
            )
            if epoch.val_loss is None:
                best_epoch, best_weights = number, self._model.get_weights()
            elif epoch.val_loss < best:
                best, best_epoch, best_weights = epoch.val_loss, number, self._model.get_weights()
            elif number - best_epoch >= settings.patience:
                stopped = f"no lower validation loss for {settings.patience} epochs"
                break
        if len(epochs) == best_epoch == settings.epochs > 1:
            stopped = "all epochs were run, and the last was the best: more may do better"
        if epochs[-1].val_loss is not None:
            self._model.set_weights(best_weights)
        steps = len(epochs) * -(-len(self._train) * settings.passes // settings.batch_size)
        return History(tuple(epochs), best_epoch, steps, time.perf_counter() - self._began, stopped)

    def _epoch(self, number: int, best_weights: list[NDArray[Any]]) -> Epoch:
        began = time.perf_counter()
        loss, accuracy = self._trained(number, best_weights)
        val_loss, val_accuracy = self._evaluate() if len(self._validation) else (None, None)
        if val_loss is not None and not math.isfinite(val_loss):
            self._give_up(f"The validation loss is {val_loss} after epoch {number}", best_weights)
        if not all(np.isfinite(weight).all() for weight in self._model.get_weights()):
            self._give_up(f"The weights are not finite after epoch {number}", best_weights)
        return Epoch(number, loss, accuracy, val_loss, val_accuracy, time.perf_counter() - began)

    def _trained(self, number: int, best_weights: list[NDArray[Any]]) -> tuple[float, float]:
        """Takes the steps of an epoch; returns the means of loss and hits."""
        sums, steps = np.zeros(2), 0
        for x, y, order in self._chunks.epoch(number, self._settings):
            loss, hits, bad = (float(value) for value in self._train_chunk(x, y, order))
            if bad >= 0:
                what = "A gradient is not finite" if math.isfinite(loss) else f"The loss is {loss}"
                self._give_up(f"{what} at step {steps + int(bad) + 1} of epoch {number}", best_weights)
            sums += loss, hits
            steps += -(-len(order) // self._settings.batch_size)
        count = len(self._train) * self._settings.passes
        return float(sums[0] / count), float(sums[1] / count)

    def _give_up(self, what: str, best_weights: list[NDArray[Any]]) -> NoReturn:
        self._model.set_weights(best_weights)
        rate = self._settings.learning_rate
        raise TrainingError(
            f"{what}, with learning rate {rate:g}; the best weights from before are kept. Try --lr {rate / 10:g}, "
            "and look for features or labels that are not finite."
        )

    def _evaluate(self) -> tuple[float, float]:
        sums = np.zeros(2)
        for x, y, order in self._validation_chunks.once():
            sums += [float(value) for value in self._evaluate_chunk(x, y, order)]
        return float(sums[0] / len(self._validation)), float(sums[1] / len(self._validation))

    def _loop(self, x: Any, y: Any, order: Any) -> tuple[Any, Any, Any]:
        """Takes a step for each batch of `order`; returns sums of loss and hits, and the first step that went wrong."""
        total, hits, bad = tf.constant(0.0), tf.constant(0.0), tf.constant(-1)
        size = self._settings.batch_size
        for begin in tf.range(0, tf.shape(order)[0], size):
            rows = order[begin : begin + size]
            loss, right, count, finite = self._step(tf.cast(tf.gather(x, rows), self._dtype), tf.gather(y, rows))
            total += loss * count
            hits += right
            if not finite:
                total, bad = loss, begin // size
                break
        return total, hits, bad

    def _step(self, x: Any, y: Any) -> tuple[Any, Any, Any, Any]:
        with tf.GradientTape() as tape:
            logits = tf.cast(self._forward(x), tf.float32)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
            penalized = tf.add_n([loss, *(tf.cast(each, tf.float32) for each in self._model.losses)])
        gradients = tape.gradient(penalized, self._model.trainable_variables)
        self._optimizer.apply(gradients, self._model.trainable_variables)
        return loss, _hits(y, logits), tf.cast(tf.shape(y)[0], tf.float32), _finite([loss, *gradients])

    def _evaluation(self, x: Any, y: Any, order: Any) -> tuple[Any, Any]:
        total, hits = tf.constant(0.0), tf.constant(0.0)
        for begin in tf.range(0, tf.shape(order)[0], _EVALUATION_BATCH):
            rows = order[begin : begin + _EVALUATION_BATCH]
            labels = tf.gather(y, rows)
            batch = tf.cast(tf.gather(x, rows), self._dtype)
            logits = tf.cast(self._model(batch, training=False), tf.float32)
            total += tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            hits += _hits(labels, logits)
        return total, hits


def _specs(model: keras.Model, source: Chunks) -> tuple[Any, Any, Any]:
    """Returns what compiled code takes of `source`."""
    x = tf.TensorSpec((None, *model.input_shape[1:]), source.dtype)
    return x, tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None,), tf.int32)


def _hits(y: Any, logits: Any) -> Any:
    return tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == y, tf.float32))


def _finite(tensors: list[Any]) -> Any:
    """Returns whether all are finite. The loss alone would not tell: on some CPUs, ReLU makes 0 of a NaN."""
    values = [getattr(tensor, "values", tensor) for tensor in tensors if tensor is not None]
    # A sum keeps what is not finite, and costs less than a look at each value.
    return tf.math.is_finite(tf.add_n([tf.reduce_sum(tf.cast(value, tf.float32)) for value in values]))
