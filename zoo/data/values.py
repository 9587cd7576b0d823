"""What may be wrong with the numbers of an array: values that are none, rows without any, pictures scaled already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.findings import Case, Finding, Level, Named

_AT_ONCE = 1024  # rows
_LEAST_SIDE = 8  # pixels, of rows that may be pictures
_SAMPLE = 1_000_000  # values that the median is taken of


@dataclass(frozen=True)
class Spread:
    """The least, median and largest of some numbers."""

    low: float
    median: float
    high: float


def spread_of(values: Sequence[float] | NDArray[Any]) -> Spread:
    """Returns the spread of at least one number.

    >>> spread_of([3, 1, 2])
    Spread(low=1.0, median=2.0, high=3.0)
    """
    low, median, high = np.quantile(np.asarray(values, np.float64), (0, 0.5, 1))
    return Spread(float(low), float(median), float(high))


def median_of(pixels: Sequence[int]) -> int:
    """Returns the median of whole numbers as a whole number: the lower of the two in the middle.

    >>> median_of([4, 1, 3, 2])
    2
    """
    return int(np.sort(pixels)[(len(pixels) - 1) // 2])


def odd_rows(named: Named) -> tuple[Spread | None, list[Finding]]:
    """Returns the spread of all finite values (its median that of a sample), and what is odd in the rows."""
    infinite: list[int] = []
    constant: list[int] = []
    ends: list[float] = []
    sample: list[NDArray[Any]] = []
    step = max(1, len(named.examples) * _width(named) // _SAMPLE)
    for begin, block in _blocks(named):
        finite = np.isfinite(block)
        infinite += (begin + np.flatnonzero(~finite.all(axis=1))).tolist()
        whole = block.shape[1] > 1
        constant += (begin + np.flatnonzero(np.all(block == block[:, :1], axis=1))).tolist() if whole else []
        values = block[finite]
        if values.size:
            ends += [float(values.min()), float(values.max())]
            sample.append(values[::step])
    if not ends:
        return None, _findings(named, infinite, constant, None)
    spread = Spread(min(ends), float(np.median(np.concatenate(sample))), max(ends))
    return spread, _findings(named, infinite, constant, spread)


def _width(named: Named) -> int:
    return int(np.prod([size or 1 for size in named.examples.shape]))


def _blocks(named: Named) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yields the number of a first row, and the rows from there on as [m, values]."""
    for begin in range(0, len(named.examples), _AT_ONCE):
        rows = np.arange(begin, min(begin + _AT_ONCE, len(named.examples)))
        yield begin, np.asarray(named.examples.read(rows)).reshape(len(rows), -1)


def _findings(named: Named, infinite: list[int], constant: list[int], spread: Spread | None) -> list[Finding]:
    found = _shape_findings(named, spread)
    if infinite:
        title = f"{named.count(len(infinite))} with values that are not finite (NaN or infinite)"
        advice = "A network makes nonsense of them: remove the rows, or put numbers there."
        found.append(Finding("not finite", "error", title, advice, tuple(named.case([row]) for row in infinite)))
    if constant:
        title = f"{named.count(len(constant))} with the same value everywhere"
        advice = "They show nothing: remove them, or look what went wrong."
        found.append(Finding("blank", "warning", title, advice, tuple(named.case([row]) for row in constant)))
    if spread and named.noun == "picture" and spread.low >= -1 and 0 < spread.high <= 1:
        title = f"pictures have values {spread.low:g} to {spread.high:g}, not 0 to 255"
        advice = "The preprocessing of pretrained models expects 0 to 255: (x * 255).astype('uint8')."
        level: Level = "error" if _dtype(named).kind == "f" else "warning"
        found.append(Finding("range", level, title, advice, (Case(("all pictures",)),)))
    return found


def _dtype(named: Named) -> np.dtype[Any]:
    return np.asarray(named.examples.read(np.arange(min(1, len(named.examples))))).dtype


def _shape_findings(named: Named, spread: Spread | None) -> list[Finding]:
    """Returns what keeps an array from being taken for the pictures that it may hold."""
    dtype, shape = _dtype(named), named.examples.shape
    if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3) and dtype == np.uint8:
        title = f"pictures of shape {list(shape)} have their channels first"
        advice = "Expected [n, height, width, channels]: x.transpose(0, 2, 3, 1)."
        return [Finding("channels first", "error", title, advice, (Case(("all pictures",)),))]
    is_flat = len(shape) == 2 and min(size or 0 for size in shape) >= _LEAST_SIDE
    if is_flat and dtype.kind == "f" and spread and spread.low >= 0 and 0 < spread.high <= 255:
        how = "(x * 255).astype('uint8')" if spread.high <= 1 else "x.astype('uint8')"
        title = f"numbers {list(shape)} are taken as rows, not as pictures"
        return [Finding("rows", "note", title, f"If they are gray pictures: {how}.", (Case(("all rows",)),))]
    return []
