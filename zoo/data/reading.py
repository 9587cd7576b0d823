"""Reads examples as a model sees them: decoded and preprocessed, in threads, ahead of whoever computes with them."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.compiled import compiled, trace
from zoo.data.bad_files import BadFile
from zoo.data.examples import Examples, Rows, are_texts, opened_rows
from zoo.data.preprocessing import preprocessing_model
from zoo.errors import DataError
from zoo.registry import InputSpec

Change = Callable[[NDArray[np.uint8], bytes], NDArray[np.uint8]]

_AHEAD_BYTES = 256 << 20  # preprocessed examples that are read before they are asked for; two batches at least
_NAMED = 3  # examples that an error names
_UNSEEN_PIXELS = 1 << 20  # of pictures whose sizes nobody knows
_PIECE = 64  # examples of an array that are preprocessed at a time
_PICTURES = 8  # pictures that a thread reads before it takes others: calling Keras costs as much as resizing one
_PICTURE_BYTES = 8 << 20  # decoded pictures that are preprocessed together


@dataclass(frozen=True)
class Batch:
    """Preprocessed examples `x` [n, ...] at `rows`, and what could not be read on the way there."""

    rows: Rows
    x: NDArray[Any]
    bad: tuple[tuple[int, BadFile], ...] = ()


class Reader:
    """Reads examples as a model sees them: an array-like of preprocessed examples, computed when asked for.

    Args:
        examples: The examples.
        spec: What the model wants to see.
        dtype: What it computes in.
        change: What makes an augmented version of a decoded picture, given its identity.

    Raises:
        DataError: The examples cannot be made what the model wants.
    """

    def __init__(
        self, examples: Examples, spec: InputSpec | None, dtype: str = "float32", change: Change | None = None
    ) -> None:
        self._examples, self._change = examples, change
        # An augmented picture has a size of its own, which is no longer that of the others.
        shape = (None, None, *examples.shape[2:]) if change and len(examples.shape) == 3 else examples.shape
        self._model = preprocessing_model(spec, shape, dtype)
        self.dtype = np.dtype(object if dtype == "string" else dtype)
        self.shape = (len(examples), *self._model.output_shape[1:])

    def __len__(self) -> int:
        return len(self._examples)

    @property
    def _are_files(self) -> bool:
        """Whether each example lies in a file, and may be bad; rows of arrays and texts are there."""
        return self._examples.paths is not None and not are_texts(self._examples)

    @property
    def largest_bytes(self) -> int:
        """Size of the largest preprocessed example; where sizes are open, as large as the largest picture file is."""
        known = [size for size in self.shape[1:] if size is not None]
        found: int = math.prod(known) * self.dtype.itemsize
        if len(known) < len(self.shape) - 1:
            seen = getattr(self._examples, "inspections", None) or ()
            found *= max((each.width * each.height for each in seen), default=_UNSEEN_PIXELS)
        return found

    def __getitem__(self, rows: Rows) -> NDArray[Any]:
        """Returns the preprocessed examples at `rows`, [len(rows), ...]."""
        pictures = self._decoded(rows)
        if isinstance(pictures, np.ndarray) or len({picture.shape for picture in pictures}) == 1:
            return self._preprocessed(np.asarray(pictures), rows)
        return np.concatenate(
            [self._preprocessed(picture[None], rows[at : at + 1]) for at, picture in enumerate(pictures)]
        )

    def batches(self, rows: Rows, size: int) -> Iterator[Batch]:
        """Yields the preprocessed examples at `rows` in order, `size` at a time, read ahead by several threads.

        One that cannot be read is left out, and named in its batch. Preprocessed examples of several shapes come in
        batches of one shape each.
        """
        step = min(size, _PICTURES if self._are_files or self._change else _PIECE)
        pieces = [rows[begin : begin + step] for begin in range(0, len(rows), step)]
        ahead = max(2 * size, _AHEAD_BYTES // max(1, self.largest_bytes))
        read: list[Batch] = []
        for piece in _in_order(self._piece, pieces, -(-ahead // step)):
            read += piece
            if sum(len(each.rows) + len(each.bad) for each in read) >= size:
                yield from _joined(read)
                read = []
        if read:
            yield from _joined(read)

    def _piece(self, rows: Rows) -> list[Batch]:
        """Reads examples; pictures one after another, and those of one size that lie side by side become one batch."""
        if not self._are_files and not self._change:
            return [Batch(rows, self[rows])]
        done: list[Batch] = []
        side_by_side: list[tuple[int, NDArray[Any]]] = []

        def preprocess() -> None:
            if side_by_side:
                chosen = np.array([row for row, _ in side_by_side], np.int64)
                done.append(Batch(chosen, self._preprocessed(np.stack([each for _, each in side_by_side]), chosen)))
                side_by_side.clear()

        for row in rows.tolist():
            try:
                (picture,) = self._decoded(np.array([row]))
            except DataError as error:
                if self._examples.paths is None:
                    raise
                done.append(Batch(rows[:0], np.empty((0, 0)), ((row, BadFile(self._examples.paths[row], str(error))),)))
                continue
            held = sum(each.nbytes for _, each in side_by_side)
            if side_by_side and (side_by_side[0][1].shape != picture.shape or held + picture.nbytes > _PICTURE_BYTES):
                preprocess()
            side_by_side.append((row, picture))
        preprocess()
        return done

    def _decoded(self, rows: Rows) -> Any:
        pictures = self._examples.read(rows)
        if self._change is None:
            return pictures
        ids = self._examples.ids[rows]
        return [self._change(picture, key.tobytes()) for picture, key in zip(pictures, ids, strict=True)]

    def _refuse_infinite(self, rows: Rows, batch: NDArray[Any]) -> None:
        """Raises `DataError` for values that are not finite: a ReLU would make 0 of them, and nobody would know."""
        if batch.dtype.kind != "f" or np.isfinite(batch).all():
            return
        faults = np.asarray(rows)[~np.isfinite(batch.reshape(len(batch), -1)).all(axis=1)]
        paths, named = self._examples.paths, faults[:_NAMED]
        shown = ", ".join(
            map(str, opened_rows(self._examples, named)) if paths is None else (paths[row] for row in named.tolist())
        )
        raise DataError(
            f"Data {self._examples.name!r} has values that are not finite (NaN or infinite): example {shown}"
            f"{', ...' if len(faults) > _NAMED else ''}. Remove them, or put numbers there."
        )

    def _preprocessed(self, batch: NDArray[Any], rows: Rows) -> NDArray[Any]:
        if batch.dtype == object:
            return batch  # texts, which the model takes as they are
        if batch.dtype == np.uint8:
            return np.asarray(self._of_bytes(keras.ops.convert_to_tensor(batch)))
        batch = batch.astype(self.dtype, copy=False)
        self._refuse_infinite(rows, batch)
        return np.asarray(self._of_numbers(keras.ops.convert_to_tensor(batch)))

    @cached_property
    def _of_numbers(self) -> Any:
        return compiled(self._model)

    @cached_property
    def _of_bytes(self) -> Any:
        source = self._model.inputs[0]
        return trace(
            lambda x: self._model(tf.cast(x, source.dtype), training=False), tf.TensorSpec(source.shape, tf.uint8)
        )


def _in_order(function: Callable[[Rows], list[Batch]], items: Iterable[Rows], ahead: int) -> Iterator[list[Batch]]:
    """Yields `function` of each item, computed in threads, `ahead` items before they are asked for."""
    waiting: deque[Future[list[Batch]]] = deque()
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="zoo-read") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _joined(pieces: list[Batch]) -> Iterator[Batch]:
    """Yields pieces as one batch for each run of equal shapes; what was bad goes with the last."""
    bad = tuple(each for piece in pieces for each in piece.bad)
    runs: list[list[Batch]] = []
    for piece in pieces:
        if not len(piece.rows):
            continue
        if runs and runs[-1][0].x.shape[1:] == piece.x.shape[1:]:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    for number, run in enumerate(runs):
        last = bad if number == len(runs) - 1 else ()
        yield Batch(np.concatenate([each.rows for each in run]), np.concatenate([each.x for each in run]), last)
    if not runs:
        yield Batch(np.empty(0, np.int64), np.empty((0, 0)), bad)
