"""What all methods of pretraining share: what goes into them, what comes out, and how their own losses are fitted.

A method is a function `pretrain_x(examples, split, spec, settings, *, cache, checkpoints, progress) -> Learned`. It is
deterministic by its seed, goes on from its checkpoints, and never looks at the test examples or at labels that it was
not asked to look at. Nothing here knows of runs, reports or the registry.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.data import Examples, Rows, SomeExamples, Split
from zoo.data.examples import are_texts
from zoo.data.reading import Reader
from zoo.errors import DataError, TrainingError, UsageError
from zoo.features import FeatureCache, FeatureStats
from zoo.pretraining.columns import Columns, columns_of, pieces
from zoo.registry import InputSpec
from zoo.training import Checkpoint, History, Objective, Part

Checkpoints = Callable[[str], Path]

MOST_BYTES = 1 << 30  # that a method may hold of its examples at once


@dataclass(frozen=True)
class Learned:
    """What a method of pretraining leaves.

    Attributes:
        model: A functional model of preprocessed examples, of layers of Keras alone. Its units are the learned layers
            from below; the last is what the method needed on top of them, and what a transfer replaces.
        history: Of all its phases.
        figures: What was measured, by name.
        pictures: For people, by name: float32 [n, height, width, 1 or 3], 0..1.
        features: What it took to get those of the frozen layers, for each layer that was trained on such.
        warnings: What is to be known of it, one sentence each.

    Raises:
        TrainingError: A figure is not finite: what was learned is worth nothing, and no record could hold it.
    """

    model: keras.Model
    history: History
    figures: Mapping[str, float] = field(default_factory=dict)
    pictures: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    features: tuple[FeatureStats, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if faults := [f"{name} is {value}" for name, value in self.figures.items() if not math.isfinite(value)]:
            raise TrainingError(
                f"Training ended, but {', '.join(faults)}. Look for examples that are far from the others, and bring "
                "numbers to sizes that are not extreme."
            )


@dataclass(frozen=True)
class Inputs:
    """Examples as a method learns from them: those of training, then those of validation, and no others.

    Attributes:
        examples: These examples, decoded as suits `spec`.
        spec: How they become numbers; None: they are rows of numbers already.
        x: The numbers, computed when they are asked for; or those of words, which are there.
        train: Rows of `examples` to train on.
        validation: Rows that say when to stop.
    """

    examples: Examples
    spec: InputSpec | None
    x: Reader | NDArray[np.int32]
    train: Rows
    validation: Rows

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example as numbers."""
        return self.x.shape[1:]

    @property
    def judged(self) -> Rows:
        """The rows that figures are of: those of validation, or of training where there are none."""
        return self.validation if len(self.validation) else self.train

    def part(self, rows: Rows, x: Any = None) -> Part:
        """Returns rows as `fit` takes them, without targets.

        Args:
            rows: Which.
            x: What goes in instead of the numbers: features of all examples, say.
        """
        count = len(self.examples)
        x = self.x if x is None else x
        if len(x) != count:
            raise DataError(f"Expected features of all {count:,} examples of {self.examples.name!r}; got {len(x):,}.")
        return Part(x, np.zeros(count, np.int64), rows, paths=self.examples.paths)

    def array(self, rows: Rows) -> NDArray[np.float32]:
        """Returns the numbers of some rows, held in memory: float32 [len(rows), ...].

        Raises:
            DataError: They are too many, or not finite.
        """
        size = 4 * len(rows) * math.prod(self.shape)
        if size > MOST_BYTES:
            raise DataError(
                f"{len(rows):,} examples of shape {list(self.shape)} take {size:,} bytes; this method holds at most "
                f"{MOST_BYTES:,}. Make the pictures smaller, or take fewer."
            )
        found, filled = np.empty((len(rows), *self.shape), np.float32), 0
        for piece in pieces(rows, math.prod(self.shape)):
            found[filled : filled + len(piece)] = self.x[piece]
            filled += len(piece)
        return found

    def columns(self) -> Columns:
        """Returns what the numbers are like: means and deviations of the training examples, and the range of all."""
        return columns_of(self.x, self.train, self.validation)


def learned_from(examples: Examples, split: Split) -> SomeExamples:
    """Returns the examples of training, then those of validation, and no others.

    Raises:
        DataError: There is nothing to train on.
    """
    if not len(split.train):
        raise DataError(f"Expected training examples; data {examples.name!r} has none.")
    return SomeExamples(examples, np.concatenate([split.train, split.validation]))


def inputs_of(examples: Examples, split: Split, spec: InputSpec | None) -> Inputs:
    """Returns the examples of a split, without those of its test part, as numbers.

    Args:
        examples: Labelled or not.
        split: Whose training and validation rows are taken.
        spec: What they become; None: rows of numbers stay as they are.

    Raises:
        UsageError: They are texts.
        DataError: There is nothing to train on, or the examples would have several shapes.
    """
    if are_texts(examples):
        raise UsageError(
            f"Expected pictures or rows, for this method takes numbers; data {examples.name!r} has texts. For texts: "
            "auxiliary, as in zoo pretrain auxiliary --units 50 (Python: zoo.pretrain('auxiliary', ..., units=50))."
        )
    chosen = learned_from(examples, split).seen_by(spec)
    x = Reader(chosen, spec)
    if None in x.shape:
        raise DataError(
            f"Expected examples of one shape; those of {examples.name!r} have {list(x.shape[1:])}. Give the pictures "
            "one size: --size 64x64 (Python: size=(64, 64))."
        )
    rows = np.arange(len(chosen))
    return Inputs(chosen, spec, x, rows[: len(split.train)], rows[len(split.train) :])


def picture_spec(shape: Sequence[int | None], size: tuple[int, int] | None = None) -> InputSpec | None:
    """Returns what pictures of a shape become: numbers 0..1; None where examples of the shape are no pictures.

    Args:
        shape: Of a decoded example; None in it where it varies.
        size: Height and width that they are brought to; None: as they are.

    >>> picture_spec((8, 8, 1)).color, picture_spec((20,))
    ('gray', None)
    """
    if len(shape) != 3 or shape[2] not in (1, 3):
        return None
    height, width = size or (shape[0], shape[1])
    return InputSpec((height, width, shape[2]), color="gray" if shape[2] == 1 else "RGB", scale=1 / 255)


def standardizing(inputs: Inputs) -> keras.layers.Rescaling | None:
    """Returns the layer that brings each column of rows to mean 0 and deviation 1 over the training examples.

    None for what has a spec, and for rows that are all within 0..1. A column that is constant becomes 0.
    """
    if inputs.spec is not None or (columns := inputs.columns()).are_shares:
        return None
    scale, offset = (each.reshape(inputs.shape) for each in (1 / columns.divisors, -columns.mean / columns.divisors))
    return keras.layers.Rescaling(scale.tolist(), offset.tolist(), name="standardize")


class OwnLoss(Objective):
    """What is minimized where a model puts out its own loss and score: float32 [n, 2], or [n, 1], whose loss is both.

    Args:
        score_name: What the scores are.

    >>> import tensorflow as tf
    >>> OwnLoss("mse").losses(None, tf.constant([[0.5, 0.25]])).numpy().tolist()
    [0.5]
    """

    def __init__(self, score_name: str = "loss") -> None:
        super().__init__()
        self.score_name = score_name

    def losses(self, y: Any, outputs: Any) -> Any:
        """Returns the first column; targets count for nothing."""
        return outputs[:, 0]

    def scores(self, y: Any, outputs: Any) -> Any:
        """Returns the last column."""
        return outputs[:, -1]


def checkpoint_of(checkpoints: Checkpoints | None, name: str) -> Checkpoint | None:
    """Returns the checkpoint of a phase, where checkpoints are wanted."""
    return Checkpoint(checkpoints(name)) if checkpoints else None


def filter_pictures(kernel: NDArray[Any], shape: Sequence[int], most: int = 100) -> NDArray[np.float32] | None:
    """Returns what each unit of a lowest layer looks for, as pictures: float32 [n, height, width, channels].

    The middle gray is 0; each filter is scaled by its largest weight.

    Args:
        kernel: Of a dense layer [inputs, units], or of a convolution [height, width, channels, filters].
        shape: Of an example. None comes back where it is no picture, or the filters are none.
        most: How many, the first.
    """
    if kernel.ndim == 2:
        if len(shape) != 3 or shape[2] not in (1, 3):
            return None
        filters = kernel.T.reshape(-1, *shape)[:most]
    elif kernel.ndim == 4 and kernel.shape[2] in (1, 3):
        filters = np.moveaxis(kernel, 3, 0)[:most]
    else:
        return None
    largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    return np.asarray(0.5 + 0.5 * filters / np.where(largest > 0, largest, 1), np.float32)


@contextlib.contextmanager
def some_cache(cache: FeatureCache | None) -> Iterator[FeatureCache]:
    """Gives the feature cache that there is, or one in a folder that is removed at the end."""
    if cache is not None:
        yield cache
        return
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        yield FeatureCache(folder)
