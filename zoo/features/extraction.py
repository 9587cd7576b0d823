"""Runs examples through a trunk: what computes features when they are not there yet."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from numpy.typing import NDArray

from zoo.data import Examples, Rows
from zoo.data.bad_files import BadFile
from zoo.data.reading import Batch, Change, Reader
from zoo.features.engines import Engines
from zoo.features.engines.engine import Engine
from zoo.features.features import Features
from zoo.laps import Laps
from zoo.surgery import Trunk

BATCH = 64
_BATCH_BYTES = 32 << 20


@dataclass(frozen=True)
class Extracted:
    """The features of one batch: those of each trunk at `rows`, and the rows that could not be read, with reasons."""

    rows: Rows
    outputs: list[NDArray[Any]]
    bad: tuple[tuple[int, BadFile], ...]


class Extraction:
    """Runs examples through trunks of one model.

    Args:
        digests: The digests of the model's units.
        examples: Where examples are read.
        engines: Who may run the trunks.

    Attributes:
        engine: Name of the engine that was chosen last; None before anything is computed.
        laps: Where the time goes: `starting` an engine, `reading` (waiting for examples), `computing`.
    """

    def __init__(self, digests: Sequence[str], examples: Examples, engines: Engines) -> None:
        self._digests, self._examples, self._engines = digests, examples, engines
        self._running: dict[str, Engine] = {}
        self.engine: str | None = None
        self.laps = Laps()

    def run(
        self,
        trunks: Sequence[Trunk],
        rows: Rows,
        start: int = 0,
        below: Features | None = None,
        change: Change | None = None,
    ) -> Iterator[Extracted]:
        """Yields the features of the examples at `rows`, batch by batch, in one pass for all trunks.

        Args:
            trunks: Trunks of the model, cut at different depths.
            rows: Which examples.
            start: From which unit's output to begin (0: from the examples themselves).
            below: That unit's output for `rows`, where `start` is not 0.
            change: What makes augmented versions of decoded pictures.
        """
        left = len(rows)
        self.laps.end("other")
        for batch in self._batches(trunks[0], rows, start, below, change):
            self.laps.end("reading")
            left -= len(batch.rows) + len(batch.bad)
            outputs = self._outputs(trunks, start, batch.x, left) if len(batch.rows) else []
            yield Extracted(batch.rows, outputs, batch.bad)
            self.laps.end("other")

    def _outputs(self, trunks: Sequence[Trunk], start: int, x: NDArray[Any], left: int) -> list[NDArray[Any]]:
        wanted = [(self._digests[trunk.depth], trunk.tap) for trunk in trunks]
        what = json.dumps([self._digests[start], start, wanted, trunks[0].cuts[start].shape[1:]])
        if what in self._running:
            outputs = self._running[what].run(x)
            self.engine = self._running[what].name
            self.laps.end("computing")
            return outputs
        model = keras.Model(trunks[0].cuts[start], [trunk.output for trunk in trunks])
        self._running[what], outputs = self._engines.start(model, what, x, left)
        self.engine = self._running[what].name
        self.laps.end("starting")
        return outputs

    def _batches(
        self, trunk: Trunk, rows: Rows, start: int, below: Features | None, change: Change | None
    ) -> Iterator[Batch]:
        if below is None:
            reader = Reader(self._examples, trunk.preprocessing, trunk.cuts[0].dtype, change)
            yield from reader.batches(rows, _size(reader.largest_bytes))
            return
        size = _size(4 * math.prod(below.shape[1:]))
        for begin in range(0, len(rows), size):
            chosen = slice(begin, begin + size)
            yield Batch(rows[chosen], below[chosen])


def _size(row_bytes: int) -> int:
    """Returns how many examples of at most so many bytes to hold in a batch."""
    return max(1, min(BATCH, _BATCH_BYTES // max(1, row_bytes)))
