"""Runs examples through a trunk: who computes features when they are not there yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.compiled import compiled
from zoo.data import Examples, Rows
from zoo.data.preprocessing import Reader
from zoo.errors import TrainingError
from zoo.features.features import Features
from zoo.surgery import Trunk

BATCH = 64


def extract(
    trunks: Sequence[Trunk], examples: Examples, rows: Rows, start: int = 0, below: Features | None = None
) -> Iterator[tuple[Rows, list[NDArray[Any]]]]:
    """Yields (rows, features of each trunk) batch by batch, in one pass for all trunks.

    Args:
        trunks: Trunks of one model, cut at different depths.
        examples: Where examples are read.
        rows: Which of them.
        start: From which unit's output to begin (0: from the examples themselves).
        below: That unit's output for `rows`, where `start` is not 0.
    """
    run = compiled(keras.Model(trunks[0].cuts[start], [trunk.output for trunk in trunks]))
    reader = Reader(examples, trunks[0].preprocessing, trunks[0].cuts[0].dtype)
    for begin in range(0, len(rows), BATCH):
        chosen = rows[begin : begin + BATCH]
        batch = reader[chosen] if below is None else below[begin : begin + BATCH]
        yield chosen, _in_parts(run, tf.cast(batch, trunks[0].cuts[start].dtype))


def _in_parts(run: Any, batch: Any) -> list[NDArray[Any]]:
    """Returns each output of `run` for `batch`, computed in halves where memory is short."""
    try:
        return [np.asarray(output) for output in keras.tree.flatten(run(batch))]
    except tf.errors.ResourceExhaustedError as error:
        if len(batch) == 1:
            raise TrainingError("Out of memory while computing the features of a single example.") from error
    halves = [_in_parts(run, half) for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :])]
    return [np.concatenate(pair) for pair in zip(*halves, strict=True)]
