"""Trains one restricted Boltzmann machine: epochs, figures of each, and what a killed training goes on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from zoo.data import Rows
from zoo.errors import IntegrityError, TrainingError
from zoo.pretraining.columns import pieces
from zoo.pretraining.contrastive_divergence import Divergence, RBMSettings
from zoo.pretraining.rbm import RBM
from zoo.progress import Progress, Silent
from zoo.training import Checkpoint, Epoch, FitSettings, History, Part, chunks
from zoo.training.checkpoints import FitState
from zoo.training.chunks import Chunks
from zoo.training.fitting import memory_errors

Watch = Callable[[int, RBM], None]

SCORE = "pseudo_likelihood"

_FIRST_MOMENTUM, _FIRST_EPOCHS = 0.5, 5  # until the weights have found their way (Hinton 2010, section 9)
_JUDGED = 1000  # examples of a part that an epoch's figures are of
_JUDGED_BYTES = 64 << 20  # of these that are held, as float32; one at least
_INTEGRATED = 100  # of these, where the pseudo-likelihood of each is an integral
_LARGEST = 1e4  # sum of the weights of a visible unit; those of what has learned something are hundreds at most
_THREADED = 100_000  # weights; of fewer, threads wait for each other longer than they compute
_WATCHED_UNITS = 12  # whose states are few enough to go through after every epoch


@dataclass(frozen=True)
class Seen:
    """What the visible units of a machine are given.

    Attributes:
        train: The examples to learn from, of any shape; targets count for nothing.
        validation: Those that tell how it does on others.
        scale: float32 [visible]: what the numbers of a flattened example are multiplied by
        offset: and what is added to them then.
    """

    train: Part
    validation: Part
    scale: NDArray[np.float32] | float = 1.0
    offset: NDArray[np.float32] | float = 0.0

    def units(self, rows: Rows) -> NDArray[np.float32]:
        """Returns some examples as visible units: float32 [len(rows), visible]."""
        x = np.asarray(self.train.x[rows], np.float32)
        flat = x.reshape(len(rows), math.prod(x.shape[1:]))
        return np.asarray(flat * self.scale + self.offset, np.float32)


def train_rbm(
    rbm: RBM,
    seen: Seen,
    settings: RBMSettings,
    progress: Progress | None = None,
    *,
    layer: int = 1,
    checkpoint: Checkpoint | None = None,
    watch: Watch | None = None,
) -> tuple[RBM, History]:
    """Returns what `rbm` becomes by training, and what training did.

    The figures of an epoch are those of its end, over at most 1,000 examples of each part (or as many as fit into
    64 MiB), always the same ones: the loss is the squared error of a reconstruction, a mean over examples and visible
    units; the score the log pseudo-likelihood, of one random unit of each example (of 100 of them where visible units
    are Gaussian). The same seed gives the same result on the same CPU.

    Args:
        rbm: To begin with.
        seen: The examples.
        settings: How; its `units` and `visible` count for nothing here.
        progress: Told about every epoch; of a small machine the exact log-likelihood, too.
        layer: The number of the machine among others: its chains draw other numbers.
        checkpoint: Where to go on, and what to go on from after a kill.
        watch: Called after every epoch that is trained, with its number and the machine.

    Raises:
        TrainingError: Weights are not finite, or memory ran out.
        DiskError: A checkpoint cannot be written.
        IntegrityError: The checkpoint is damaged, or another machine's.
    """
    progress = progress or Silent()
    progress.start(settings.epochs, "epochs")
    try:
        with memory_errors(FitSettings(batch_size=settings.batch_size)):
            return _Training(rbm, seen, settings, layer).run(progress, checkpoint, watch)
    finally:
        progress.close()


def final_figures(rbm: RBM, seen: Seen, seed: int) -> dict[str, float]:
    """Returns figures of a trained machine, over at most so many examples of validation, or else of training.

    `reconstruction_error` and `pseudo_likelihood` are as those of an epoch; `log_likelihood` and `log_partition` are
    exact, and of small machines only. `free_energy_gap` is by how much the free energy of validation examples is above
    that of training examples: it grows where the machine learns these by heart (Hinton 2010, section 6).
    """
    return _Monitor(seen, seed).final(rbm)


class _Training:
    def __init__(self, rbm: RBM, seen: Seen, settings: RBMSettings, layer: int) -> None:
        self._settings, self._seen = settings, seen
        self._monitor = _Monitor(seen, settings.seed)
        self._divergence = Divergence(rbm, settings, seen.scale, seen.offset)
        self._order = FitSettings(batch_size=settings.batch_size, seed=settings.seed)
        whole = seen.train.bytes <= chunks.WHOLE_BYTES
        self._chunks = Chunks(seen.train, settings.batch_size, "float32", whole=whole)
        self._layer = layer
        self._threads = ThreadpoolController()  # which takes long to look at what is loaded
        self._epochs: list[Epoch] = []

    def run(self, progress: Progress, checkpoint: Checkpoint | None, watch: Watch | None) -> tuple[RBM, History]:
        self._restore(checkpoint, progress)
        while len(self._epochs) < self._settings.epochs:
            number = len(self._epochs) + 1
            began = time.perf_counter()
            rbm = self._trained(number)
            epoch = self._monitor.epoch(number, rbm, time.perf_counter() - began)
            self._epochs.append(epoch)
            exact = self._monitor.exact(rbm) if rbm.enumerated_units <= _WATCHED_UNITS else {}
            progress.advance(1, **_told(epoch), **exact)
            if watch:
                watch(number, rbm)
            ended = number == self._settings.epochs
            if checkpoint and (checkpoint.is_due() or (ended and checkpoint.path.exists())):
                checkpoint.save(self._state())
        steps = len(self._epochs) * self._order.steps(len(self._seen.train))
        seconds = sum(each.seconds for each in self._epochs)
        history = History(tuple(self._epochs), len(self._epochs), steps, seconds, "all epochs were run", SCORE)
        return self._divergence.rbm(), history

    def _trained(self, number: int) -> RBM:
        """Runs an epoch, and returns the machine of its end."""
        settings = self._settings
        momentum = min(settings.momentum, _FIRST_MOMENTUM) if number <= _FIRST_EPOCHS else settings.momentum
        rng = np.random.Generator(np.random.SFC64([settings.seed, self._layer, number]))
        small = self._divergence.arrays[0].size < _THREADED
        with self._threads.limit(limits=1 if small else None, user_api="blas"):
            for chunk in self._chunks.epoch(number, self._order):
                self._divergence.updates(np.asarray(chunk.x), np.asarray(chunk.order), rng, momentum)
        rbm = self._divergence.rbm()
        finite = all(np.isfinite(each).all() for each in (rbm.weights, rbm.visible_bias, rbm.hidden_bias))
        if not finite or np.abs(rbm.weights).sum(axis=1, dtype=np.float64).max() > _LARGEST:
            what, rate = "beyond all bounds" if finite else "not finite", settings.applied_learning_rate(rbm.visible)
            raise TrainingError(
                f"The weights are {what} after epoch {number} of machine {self._layer}, with learning rate {rate:g}. "
                f"Try --lr {rate / 10:.3g}, and look for examples that are far from the others."
            )
        return rbm

    def _restore(self, checkpoint: Checkpoint | None, progress: Progress) -> None:
        state = checkpoint.load() if checkpoint else None
        if checkpoint is None or state is None:
            return
        arrays = self._divergence.arrays
        expected, found = ([each.shape for each in some] for some in (arrays, state.variables))
        if expected != found:
            raise IntegrityError(
                f"{checkpoint.path} is of another machine: expected arrays of the shapes {expected}, found {found}. "
                "Remove it: training begins anew then."
            )
        for array, kept in zip(arrays, state.variables, strict=True):
            array[...] = kept
        self._epochs = list(state.epochs)
        for epoch in self._epochs:
            progress.advance(1, **_told(epoch))

    def _state(self) -> FitState:
        return FitState(self._divergence.arrays, [], [], len(self._epochs), math.inf, tuple(self._epochs))


class _Monitor:
    """Figures of a machine, over some examples of each part, always the same ones."""

    def __init__(self, seen: Seen, seed: int) -> None:
        rng = np.random.default_rng([seed, _JUDGED])
        self._train = _sampled(seen, seen.train.rows, rng)
        self._validation = _sampled(seen, seen.validation.rows, rng)

    def epoch(self, number: int, rbm: RBM, seconds: float) -> Epoch:
        most = _INTEGRATED if rbm.visible == "gaussian" else _JUDGED
        loss, score = _judged(rbm, *self._train, most)
        val_loss, val_score = _judged(rbm, *self._validation, most) if len(self._validation[0]) else (None, None)
        return Epoch(number, loss, score, val_loss, val_score, seconds)

    def final(self, rbm: RBM) -> dict[str, float]:
        has_validation = len(self._validation[0]) > 0
        error, score = _judged(rbm, *(self._validation if has_validation else self._train))
        figures = {"reconstruction_error": error, SCORE: score, **self.exact(rbm)}
        if has_validation:
            energies = (_free_energy(rbm, v) for v, _ in (self._validation, self._train))
            figures["free_energy_gap"] = next(energies) - next(energies)
        return figures

    def exact(self, rbm: RBM) -> dict[str, float]:
        """Returns the exact log-likelihood, where the machine is small enough."""
        if not rbm.is_small:
            return {}
        v = self._validation[0] if len(self._validation[0]) else self._train[0]
        log_partition = rbm.log_partition()
        return {"log_likelihood": -_free_energy(rbm, v) - log_partition, "log_partition": log_partition}


def _sampled(seen: Seen, rows: Rows, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns some of the examples, and a unit of each."""
    width = math.prod(seen.train.x.shape[1:])
    chosen = rng.permutation(rows)[: min(_JUDGED, max(1, _JUDGED_BYTES // (4 * width)))]
    v, filled = np.empty((len(chosen), width), np.float32), 0
    for piece in pieces(chosen, width):
        v[filled : filled + len(piece)] = seen.units(piece)
        filled += len(piece)
    return v, rng.integers(width, size=len(v))


def _judged(rbm: RBM, v: NDArray[np.float32], units: NDArray[np.int64], most: int = _JUDGED) -> tuple[float, float]:
    """Returns the mean squared error of reconstructions, and the mean log pseudo-likelihood of `most` examples."""
    error, score, scored = 0.0, 0.0, min(most, len(v))
    for piece in _pieces_of(rbm, len(v)):
        error += float(((rbm.reconstructed(v[piece].astype(np.float64)) - v[piece]) ** 2).sum())
    for piece in _pieces_of(rbm, scored):
        score += float(rbm.pseudo_likelihood(v[piece], units[piece]).sum())
    return error / v.size, score / scored


def _free_energy(rbm: RBM, v: NDArray[np.float32]) -> float:
    """Returns the mean free energy of examples."""
    return sum(float(rbm.free_energy(v[piece]).sum()) for piece in _pieces_of(rbm, len(v))) / len(v)


def _pieces_of(rbm: RBM, count: int) -> Iterator[Rows]:
    """Yields the numbers of examples, as many at a time as a machine can be computed with."""
    return pieces(np.arange(count), max(rbm.weights.shape))


def _told(epoch: Epoch) -> dict[str, float]:
    figures = {"loss": epoch.loss, SCORE: epoch.score}
    if epoch.val_score is not None:
        figures[f"val_{SCORE}"] = epoch.val_score
    return figures
