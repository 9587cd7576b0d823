"""Fits a model on features with whole epochs in compiled code.

A small head costs less than the Python call that would train it, so the loop over mini-batches runs inside the
compiled function: one call an epoch, or one a chunk where the features are many.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.compiled import compiled, trace
from zoo.data import Rows
from zoo.errors import DataError, TrainingError
from zoo.garbage import without_collection
from zoo.progress import Progress, Silent
from zoo.surgery import training_call
from zoo.training import chunks
from zoo.training.checkpoints import Checkpoint, FitState, assign, values
from zoo.training.chunks import Buffer, Chunks, Part
from zoo.training.history import Epoch, History
from zoo.training.objectives import Objective
from zoo.training.optimizers import Group, Optimizers
from zoo.training.settings import FitSettings

Watch = Callable[[Epoch, float | None], None]

_EVALUATION_BATCH = 512
_NAMED = 5  # files of a batch that an error names


def fit(
    model: keras.Model,
    train: Part,
    validation: Part,
    settings: FitSettings | None = None,
    progress: Progress | None = None,
    *,
    objective: Objective | None = None,
    groups: Sequence[Group] | None = None,
    checkpoint: Checkpoint | None = None,
    beat_start: bool = False,
    watch: Watch | None = None,
) -> History:
    """Trains `model` and leaves it with its best weights.

    The best weights are those with the lowest validation loss; without validation examples, the last. The same seed
    gives the same result on the same CPU.

    Args:
        model: It puts out what the objective takes: logits, or scaled values.
        train: The examples to train on.
        validation: Those that say when to stop.
        settings: How to train.
        progress: Told about every epoch.
        objective: What is minimized; None: the cross-entropy of classes.
        groups: The variables that train, with what their learning rates are multiplied by; None: all that the model
            says can train, with the rate as it is.
        checkpoint: Where to go on, and what to go on from after a kill.
        beat_start: Whether the weights of the beginning are kept where no epoch has a lower validation loss than they.
        watch: Called after every epoch, with the learning rate of its end; and for each that the checkpoint tells of,
            with None.

    Raises:
        TrainingError: A loss or weight is not finite; the model has the best weights from before. Or memory ran out.
        DataError: There are no training examples.
        DiskError: A checkpoint cannot be written.
        IntegrityError: The checkpoint is damaged, or another model's.

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
        with memory_errors(settings):
            with without_collection():
                fitting = Fitting(model, train, validation, settings, objective, groups)
            return fitting.run(progress, checkpoint, watch, beat_start=beat_start)
    finally:
        progress.close()


@contextlib.contextmanager
def memory_errors(settings: FitSettings) -> Iterator[None]:
    """Turns a lack of memory into a `TrainingError` that says what to do."""
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise TrainingError(
            f"Out of memory at batch size {settings.batch_size}; try --batch-size {max(1, settings.batch_size // 2)}."
        ) from error


def predict(model: keras.Model, part: Part) -> NDArray[np.float32]:
    """Returns what `model` puts out for the examples of `part`, in inference mode: float32 [n, ...]."""
    run, dtype = compiled(model), model.inputs[0].dtype
    outputs = []
    if len(part):
        for chunk in Chunks(replace(part, versions=1), _EVALUATION_BATCH, dtype, whole=False).once():
            for begin in range(0, len(chunk.order), _EVALUATION_BATCH):
                batch = tf.gather(chunk.x, chunk.order[begin : begin + _EVALUATION_BATCH])
                outputs.append(np.asarray(run(tf.cast(batch, dtype))))
    return np.concatenate(outputs) if outputs else np.empty((0, *model.output_shape[1:]), np.float32)


class Fitting:
    """One training, which may pause between epochs: the compiled functions, the best weights so far, and the history.

    Arguments as of `fit`.
    """

    def __init__(
        self,
        model: keras.Model,
        train: Part,
        validation: Part,
        settings: FitSettings,
        objective: Objective | None = None,
        groups: Sequence[Group] | None = None,
    ) -> None:
        began = time.perf_counter()
        self._model, self._settings, self._objective = model, settings, objective or Objective()
        self._train, self._validation = train, validation
        groups = [Group(model.trainable_variables)] if groups is None else groups
        self._optimizers = Optimizers(groups, settings, settings.steps(len(train)))
        self._forward = training_call(model)
        self._dtype = model.inputs[0].dtype
        unchanged = replace(validation, versions=1)
        whole = train.bytes + unchanged.bytes <= chunks.WHOLE_BYTES
        buffers = Buffer(), Buffer()
        self._chunks = Chunks(train, settings.batch_size, self._dtype, whole=whole, buffers=buffers)
        self._train_chunk = trace(self._loop, *_specs(model, self._chunks, train))
        if len(validation):
            self._validation_chunks = Chunks(unchanged, _EVALUATION_BATCH, self._dtype, whole=whole, buffers=buffers)
            self._evaluate_chunk = trace(self._evaluation, *_specs(model, self._validation_chunks, validation))
        self._epochs: list[Epoch] = []
        self._stopped: str | None = None
        self._paused: list[NDArray[Any]] | None = None
        self._best, self._best_epoch, self._best_weights = math.inf, 0, model.get_weights()
        self._seconds = time.perf_counter() - began

    def run(
        self,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
        watch: Watch | None = None,
        *,
        beat_start: bool = False,
        until: int | None = None,
        deadline: float | None = None,
    ) -> History:
        """Trains, leaves the model with its best weights, and returns what was done since the beginning.

        It pauses after epoch number `until`, and (but for the first) before one that would begin after `deadline`, a
        time of `time.perf_counter`; a further call goes on from there, with the weights of its end. Other arguments are
        those of `fit`.
        """
        began, progress = time.perf_counter(), progress or Silent()
        if self._paused is not None:
            self._model.set_weights(self._paused)
        self._stopped = self._stopped or self._restored(checkpoint, progress, watch)
        if beat_start and not self._epochs and len(self._validation):
            self._best = self._evaluate()[0]
        until = self._settings.epochs if until is None else until
        self._train_on(progress, checkpoint, watch, until, math.inf if deadline is None else deadline)
        self._seconds += time.perf_counter() - began
        if len(self._validation):
            self._paused = self._model.get_weights() if self._stopped is None else None
            self._model.set_weights(self._best_weights)
        return History(
            tuple(self._epochs), self._best_epoch, len(self._epochs) * self._settings.steps(len(self._train)),
            self._seconds, self._stopped or "it is paused", self._objective.score_name,
        )  # fmt: skip

    def _train_on(
        self,
        progress: Progress,
        checkpoint: Checkpoint | None,
        watch: Watch | None,
        until: int,
        deadline: float,
    ) -> None:
        while self._stopped is None and len(self._epochs) < until:
            if self._epochs and time.perf_counter() >= deadline:
                break
            epoch = self._epoch(len(self._epochs) + 1)
            self._epochs.append(epoch)
            self._tell(progress, epoch)
            if watch:
                watch(epoch, self._optimizers.learning_rate)
            self._stopped = self._judged(epoch)
            if checkpoint and (checkpoint.is_due() or (self._stopped and checkpoint.path.exists())):
                checkpoint.save(self._state())

    def _restored(self, checkpoint: Checkpoint | None, progress: Progress, watch: Watch | None) -> str | None:
        """Goes back to what a checkpoint holds; returns why training had ended, if it had."""
        state = checkpoint.load() if checkpoint and not self._epochs else None
        if checkpoint is None or state is None:
            return None
        assign(self._model.variables, state.variables, checkpoint.path)
        assign(self._optimizers.variables, state.optimizer, checkpoint.path)
        self._best, self._best_epoch, self._best_weights = state.best_loss, state.best_epoch, state.best
        self._epochs = list(state.epochs)
        self._seconds += sum(each.seconds for each in self._epochs)
        for epoch in self._epochs:
            self._tell(progress, epoch)
            if watch:
                watch(epoch, None)
        return state.stopped

    def _state(self) -> FitState:
        return FitState(
            values(self._model.variables), values(self._optimizers.variables), self._best_weights,
            self._best_epoch, self._best, tuple(self._epochs), self._stopped,
        )  # fmt: skip

    def _judged(self, epoch: Epoch) -> str | None:
        """Keeps the weights where they are the best so far; returns why to stop, or None."""
        settings, number = self._settings, epoch.epoch
        if epoch.val_loss is None or epoch.val_loss < self._best:
            self._best = math.inf if epoch.val_loss is None else epoch.val_loss
            self._best_epoch, self._best_weights = number, self._model.get_weights()
        elif number - self._best_epoch >= settings.patience:
            return f"no lower validation loss for {settings.patience} epochs"
        if number < settings.epochs:
            return None
        goes_on = settings.schedule.name in ("constant", "exponential")  # others have ended with the last epoch
        improving = number == self._best_epoch > 1 and epoch.val_loss is not None and goes_on
        return "all epochs were run" + (", and the last was the best: more may do better" if improving else "")

    def _tell(self, progress: Progress, epoch: Epoch) -> None:
        name = self._objective.score_name
        figures = {"loss": epoch.loss, name: epoch.score}
        if epoch.val_score is not None:
            figures[f"val_{name}"] = epoch.val_score
        progress.advance(1, **figures)

    def _epoch(self, number: int) -> Epoch:
        began = time.perf_counter()
        loss, score = self._trained(number)
        val_loss, val_score = self._evaluate() if len(self._validation) else (None, None)
        if val_loss is not None and not math.isfinite(val_loss):
            self._give_up(f"The validation loss is {val_loss} after epoch {number}")
        if not all(np.isfinite(weight).all() for weight in self._model.get_weights()):
            self._give_up(f"The weights are not finite after epoch {number}")
        return Epoch(number, loss, score, val_loss, val_score, time.perf_counter() - began)

    def _trained(self, number: int) -> tuple[float, float]:
        """Takes the steps of an epoch; returns the means of loss and score."""
        sums, steps, size = np.zeros(2), 0, self._settings.batch_size
        for chunk in self._chunks.epoch(number, self._settings):
            loss, score, bad = (float(value) for value in self._train_chunk(*chunk[:3]))
            if bad >= 0:
                what = "A gradient is not finite" if math.isfinite(loss) else f"The loss is {loss}"
                rows = chunk.rows[int(bad) * size : (int(bad) + 1) * size]
                self._give_up(f"{what} at step {steps + int(bad) + 1} of epoch {number}", rows)
            sums += loss, score
            steps += -(-len(chunk.rows) // size)
        count = len(self._train) * self._settings.passes
        return float(sums[0] / count), float(sums[1] / count)

    def _give_up(self, what: str, rows: Rows | None = None) -> NoReturn:
        self._model.set_weights(self._best_weights)
        rate, files = self._optimizers.learning_rate, ""
        if rows is not None and self._train.paths is not None:
            shown = ", ".join(self._train.paths[int(row)] for row in rows[:_NAMED])
            files = f" The batch: {shown}" + (f" and {len(rows) - _NAMED} more." if len(rows) > _NAMED else ".")
        lower = self._settings.learning_rate / 10
        raise TrainingError(
            f"{what}, with learning rate {rate:g}; the best weights from before are kept. Try --lr {lower:.1g} (of a "
            f"later phase --unfreeze-lr) or --clip-norm 1, and look for features or labels that are not finite.{files}"
        )

    def _evaluate(self) -> tuple[float, float]:
        sums = np.zeros(2)
        for chunk in self._validation_chunks.once():
            sums += [float(value) for value in self._evaluate_chunk(*chunk[:3])]
        return float(sums[0] / len(self._validation)), float(sums[1] / len(self._validation))

    def _loop(self, x: Any, y: Any, order: Any) -> tuple[Any, Any, Any]:
        """Takes a step for each batch of `order`; returns the sums of loss and score, and the first bad step."""
        total, scores, bad = tf.constant(0.0), tf.constant(0.0), tf.constant(-1)
        size = self._settings.batch_size
        for begin in tf.range(0, tf.shape(order)[0], size):
            rows = order[begin : begin + size]
            loss, score, count, finite = self._step(tf.cast(tf.gather(x, rows), self._dtype), tf.gather(y, rows))
            total += loss * count
            scores += score
            if not finite:
                total, bad = loss, begin // size
                break
        return total, scores, bad

    def _step(self, x: Any, y: Any) -> tuple[Any, Any, Any, Any]:
        with tf.GradientTape() as tape:
            outputs = tf.cast(self._forward(x), tf.float32)
            loss = tf.reduce_mean(self._objective.losses(y, outputs))
            penalized = tf.add_n([loss, *(tf.cast(each, tf.float32) for each in self._model.losses)])
        gradients = tape.gradient(penalized, self._optimizers.trained)
        self._optimizers.apply(gradients)
        score = tf.reduce_sum(self._objective.scores(y, outputs))
        return loss, score, tf.cast(tf.shape(y)[0], tf.float32), _finite([loss, *gradients])

    def _evaluation(self, x: Any, y: Any, order: Any) -> tuple[Any, Any]:
        total, scores = tf.constant(0.0), tf.constant(0.0)
        for begin in tf.range(0, tf.shape(order)[0], _EVALUATION_BATCH):
            rows = order[begin : begin + _EVALUATION_BATCH]
            targets = tf.gather(y, rows)
            outputs = tf.cast(self._model(tf.cast(tf.gather(x, rows), self._dtype), training=False), tf.float32)
            total += tf.reduce_sum(self._objective.losses(targets, outputs))
            scores += tf.reduce_sum(self._objective.scores(targets, outputs))
        return total, scores


def _specs(model: keras.Model, source: Chunks, part: Part) -> tuple[Any, Any, Any]:
    """Returns what compiled code takes of `source`."""
    x = tf.TensorSpec((None, *model.input_shape[1:]), source.dtype)
    y = tf.TensorSpec((None, *part.y.shape[1:]), part.y.dtype)
    return x, y, tf.TensorSpec((None,), tf.int32)


def _finite(tensors: list[Any]) -> Any:
    """Returns whether all are finite. The loss alone would not tell: on some CPUs, ReLU makes 0 of a NaN."""
    values = [getattr(tensor, "values", tensor) for tensor in tensors if tensor is not None]
    # A sum keeps what is not finite, and costs less than a look at each value.
    return tf.math.is_finite(tf.add_n([tf.reduce_sum(tf.cast(value, tf.float32)) for value in values]))
