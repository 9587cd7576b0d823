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
        yield chosen, [np.asarray(output) for output in keras.tree.flatten(run(tf.convert_to_tensor(batch)))]
