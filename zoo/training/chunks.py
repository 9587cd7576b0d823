"""Examples as tensors for compiled code: all at once, or chunk by chunk where they are many.

Chunks are shuffled on two levels, so that a disk reads long runs: blocks of rows that lie side by side are dealt to
chunks at random, and the rows of a chunk are shuffled. While one chunk trains, threads read the next; both are
buffers that serve again and again. Nothing here knows of models.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.data import Rows
from zoo.features import Features
from zoo.training.settings import FitSettings

WHOLE_BYTES = 256 << 20  # no more is held in memory whole
CHUNK_BYTES = 48 << 20  # two of them are held at a time
BLOCK_BYTES = 128 << 10  # a disk reads so much in little more time than a single row
_BLOCKS = 64  # a chunk of fewer would not be shuffled well
_PIECE_BYTES = 8 << 20
_ALIGNMENT = 64  # of a tensor's memory, in TensorFlow
_DTYPES = {"string": "object"}  # of texts, whose letters lie elsewhere


class Chunk(NamedTuple):
    """Examples as tensors: rows `order` of `x` and `y`, which are the examples number `rows` of their set."""

    x: Any
    y: Any
    order: Any
    rows: Rows


@dataclass(frozen=True)
class Part:
    """Part of a labelled set.

    Attributes:
        x: [versions * n, ...]: an array, `Features`, or what gives arrays for arrays of row numbers.
        y: [n, ...]: the target of each example: its class int64 [n], its labels uint8 [n, classes], or its values
            float32 [n, outputs].
        rows: Which of the n examples.
        versions: Version v of example r lies at x[r + v * n]. Training takes one version of every example an epoch,
            and each of them once in so many epochs; evaluation takes version 0.
        paths: Where each of the n examples lies, for messages.
    """

    x: Any
    y: NDArray[Any]
    rows: Rows
    versions: int = 1
    paths: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def row_bytes(self) -> int:
        """Size of one version of one example."""
        size: int = math.prod(self.x.shape[1:]) * self.x.dtype.itemsize
        return max(1, size)

    @property
    def bytes(self) -> int:
        """Size of all versions of the part's examples."""
        return len(self) * self.versions * self.row_bytes

    def versions_of(self, epoch: int, seed: int) -> NDArray[np.int64]:
        """Returns which version of each of the part's examples epoch number `epoch` takes."""
        if self.versions == 1:
            return np.zeros(len(self), np.int64)
        first = np.random.default_rng([seed, 0, self.versions]).integers(self.versions, size=len(self.y))
        return (first[self.rows] + epoch) % self.versions


class Buffer:
    """Memory that is used again and again: fresh memory must be cleared by the system at every use."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Returns an array in this memory that a tensor can share. Those returned before must be done with."""
        size = math.prod(shape) * dtype.itemsize
        if len(self._memory) < size + _ALIGNMENT:
            self._memory = np.empty(size + _ALIGNMENT, np.uint8)
        begin = -self._memory.ctypes.data % _ALIGNMENT
        return self._memory[begin : begin + size].view(dtype).reshape(shape)


class Chunks:
    """A part's examples as tensors, in the order in which they are wanted.

    Rows `order` of each chunk, taken in batches, are the examples. Only the last chunk of an epoch holds what is not a
    whole batch.

    Args:
        part: The examples.
        batch: So many are taken at a time.
        whole: Whether to hold all of them in memory.
        dtype: What x becomes where TensorFlow does not know its own.
        buffers: What chunks are read into; parts that are not read at the same time can share them.
    """

    def __init__(
        self, part: Part, batch: int, dtype: str, *, whole: bool, buffers: tuple[Buffer, Buffer] | None = None
    ) -> None:
        self._part = part
        self._buffers = buffers or (Buffer(), Buffer())
        known = part.x.dtype.kind in "fiub" and part.x.dtype.itemsize <= 8
        self.dtype = np.dtype(part.x.dtype).newbyteorder("=") if known else np.dtype(_DTYPES.get(dtype, dtype))
        most = max(1, CHUNK_BYTES // (part.row_bytes * batch)) * batch
        chunks = max(1, -(-len(part) // most))
        self._rows = -(-len(part) // (chunks * batch)) * batch
        self._whole = self._load(_all_versions(part), Buffer(), None) if whole else None
        self._by_place: Rows | None = None

    def once(self) -> Iterator[Chunk]:
        """Yields version 0 of the part's examples, each once and in order."""
        return self._chunks(np.arange(len(self._part)), np.zeros(len(self._part), np.int64), helped=False)

    def epoch(self, number: int, settings: FitSettings) -> Iterator[Chunk]:
        """Yields the examples of epoch `number`: in another order every time, which the seed decides."""
        count, rng = len(self._part), np.random.default_rng([settings.seed, number])
        versions = self._part.versions_of(number, settings.seed)
        if not settings.shuffle:
            orders = [np.arange(count)] * settings.passes
        elif self._whole is not None:
            orders = [rng.permutation(count) for _ in range(settings.passes)]
        else:
            by_place = self._in_places(versions)
            labels = self._part.y[self._part.rows[by_place]]
            if labels.ndim > 1:
                labels = np.zeros(len(labels), np.int64)  # labels and values have no classes that could lie in a row
            block = max(1, min(BLOCK_BYTES // self._part.row_bytes, self._rows // _BLOCKS))
            orders = [by_place[block_order(labels, block, self._rows, rng)] for _ in range(settings.passes)]
        return self._chunks(np.concatenate(orders), versions, helped=True)

    def _chunks(self, order: Rows, versions: NDArray[np.int64], *, helped: bool) -> Iterator[Chunk]:
        """Yields chunks of the part's examples number `order`, each in its version."""
        if self._whole is None:
            yield from self._streamed(self._part.rows[order] + versions[order] * len(self._part.y), helped=helped)
            return
        x, y, place, _ = self._whole
        yield Chunk(x, y, tf.gather(place, order + versions[order] * len(self._part)), self._part.rows[order])

    def _streamed(self, rows: Rows, *, helped: bool) -> Iterator[Chunk]:
        """Yields chunks of `rows`; one thread loads them, and a second helps it where few pages are mapped at once.

        Rows that lie far apart in a few shards, as those of validation, have whole shards mapped, by each thread one.
        """
        begins = range(0, len(rows), self._rows)
        with ThreadPoolExecutor(2, "zoo-reading") as threads:
            helper = threads if helped else None
            following = threads.submit(self._load, rows[: self._rows], self._buffers[0], helper)
            for number, begin in enumerate(begins, 1):
                chunk = following.result()
                if number < len(begins):
                    wanted = rows[begin + self._rows : begin + 2 * self._rows]
                    following = threads.submit(self._load, wanted, self._buffers[number % 2], helper)
                yield chunk

    def _load(self, rows: Rows, buffer: Buffer, helper: Executor | None) -> Chunk:
        """Reads rows of x, in the order of their places, into `buffer`, and returns the chunk that it then holds."""
        wanted = rows % len(self._part.y)
        by_place = _ascending(_places(self._part.x, rows))
        order = Buffer().array((len(rows),), np.dtype(np.int32))
        order[by_place] = np.arange(len(rows), dtype=np.int32)
        rows = rows[by_place]
        labels = Buffer().array((len(rows), *self._part.y.shape[1:]), self._part.y.dtype)
        labels[:] = self._part.y[rows % len(self._part.y)]
        if self.dtype == object:
            return Chunk(tf.constant(self._part.x[rows].tolist(), tf.string), _tensor(labels), _tensor(order), wanted)
        x = buffer.array((len(rows), *self._part.x.shape[1:]), self.dtype)
        _read(self._part.x, rows, x, helper)
        return Chunk(_tensor(x), _tensor(labels), _tensor(order), wanted)

    def _in_places(self, versions: NDArray[np.int64]) -> Rows:
        """Returns the part's examples in the order in which their versions lie on disk."""
        if self._by_place is None or self._part.versions > 1:
            rows = self._part.rows + versions * len(self._part.y)
            self._by_place = np.argsort(_places(self._part.x, rows), kind="stable")  # equal examples: by number
        return self._by_place


def block_order(labels: NDArray[Any], block: int, chunk: int, rng: np.random.Generator) -> Rows:
    """Returns 0..n-1 shuffled such that each chunk is made of few runs: blocks of `block` numbers.

    Data often lies class by class. So the blocks of each class (that of their first row) are dealt out, like cards,
    and every chunk has its share of every class.

    Args:
        labels: int64 [n]: classes, in the order of the places on disk.
        block: Length of a run.
        chunk: How many are shuffled together.
        rng: Decides.

    >>> order = block_order(np.zeros(100, np.int64), 5, 20, np.random.default_rng(0))
    >>> sorted(order.tolist()) == list(range(100)), np.unique(order[:20] // 5).size <= 5
    (True, True)
    """
    blocks, chunks = -(-len(labels) // block), -(-len(labels) // chunk)
    by_class = np.lexsort((rng.permutation(blocks), labels[::block]))
    hands = rng.permutation(chunks)[np.arange(blocks) % chunks]
    dealt = by_class[np.lexsort((rng.permutation(blocks), hands))]
    order = (dealt[:, None] * block + np.arange(block)).reshape(-1)
    order = order[order < len(labels)]
    for begin in range(0, len(order), chunk):
        rng.shuffle(order[begin : begin + chunk])
    return order


def _all_versions(part: Part) -> Rows:
    return (part.rows + np.arange(part.versions)[:, None] * len(part.y)).reshape(-1)


def _places(x: Any, rows: Rows) -> Rows:
    """Returns numbers that are in the order in which the rows of `x` lie on disk, or in memory."""
    return x.places(rows) if isinstance(x, Features) else rows


def _tensor(array: NDArray[Any]) -> Any:
    """Returns a tensor in the memory of `array`."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _ascending(places: Rows) -> Rows:
    """Returns the numbers that sort `places`, equal ones by number: `argsort`, but twice as fast."""
    bits = len(places).bit_length()
    packed = np.sort(places << bits | np.arange(len(places)))
    return packed & ((1 << bits) - 1)


def _read(x: Any, rows: Rows, out: NDArray[Any], helper: Executor | None) -> None:
    """Fills `out` with rows of `x`, the second half of them on another thread where `x` allows that."""
    if isinstance(x, Features):
        half = len(rows) // 2 if helper else len(rows)
        helped = helper.submit(x.read_into, rows[half:], out[half:]) if helper else None
        x.read_into(rows[:half], out[:half])
        if helped:
            helped.result()
        return
    step = max(1, _PIECE_BYTES * len(out) // max(1, out.nbytes))
    for begin in range(0, len(rows), step):
        out[begin : begin + step] = x[rows[begin : begin + step]]
