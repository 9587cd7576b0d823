"""What the page draws, as numbers: learning curves, the confusion matrix, and figures of a task. It knows no HTML."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from zoo.training import Epoch, History

Point = tuple[float, float]

_SHARES = ("accuracy", "example_f1", "ranking")  # of 0 to 1
_ERRORS = ("loss", "mae", "squared_error")
_COLUMNS = 250  # a line has at most two points in each, so that thousands of epochs stay a small page
_LEAST_LOSS = 1e-6
_WIDEST = 26.0  # pixels, of the fullest bin of probabilities
_POINTS = 2000


@dataclass(frozen=True)
class Axis:
    """A range of values, linear or logarithmic, laid out on 0..100 %."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Returns where `value` lies, in percent; values outside are moved to the nearer end.

        >>> Axis(1, 100, log=True).at(10)
        50.0
        """
        value = min(max(value, self.low), self.high)
        scale: Callable[[float], float] = math.log if self.log else float
        return round(100 * (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low)), 2)

    def ticks(self) -> list[float]:
        """Returns round values in the range, about four.

        >>> Axis(1, 33).ticks(), Axis(4, 1816, log=True).ticks()
        ([10.0, 20.0, 30.0], [10.0, 100.0, 1000.0])
        """
        if not self.log:
            step = _nice((self.high - self.low) / 4)
            first = math.ceil(self.low / step - 1e-9)
            last = math.floor(self.high / step + 1e-9)
            return [round(number * step, 12) for number in range(first, last + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        every = -(-len(decades) // 6)
        ticks = [10.0**power for power in decades if power % every == 0]
        if math.log10(self.high / self.low) < 2:
            ticks = [factor * 10.0**power for power in decades for factor in (1, 2, 5)]
        return [tick for tick in ticks if self.low <= tick * (1 + 1e-9) and tick <= self.high * (1 + 1e-9)]


@dataclass(frozen=True)
class Line:
    """A curve of a net on a part of the examples: points in percent, y upward."""

    net: str
    part: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Mark:
    """The epoch that was kept, on a curve: the place in percent, and the figure there."""

    net: str
    x: float
    y: float
    epoch: int
    value: float


@dataclass(frozen=True)
class Panel:
    """One figure over training: ticks as (percent, value), lines from the back to the front, and marks.

    `phases` are (percent, number) of where the second and each later phase begins.
    """

    figure: str
    log: bool
    x_ticks: tuple[Point, ...]
    y_ticks: tuple[Point, ...]
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    phases: tuple[tuple[float, int], ...] = ()

    @property
    def is_share(self) -> bool:
        """Whether the figure is a share of 0 to 1."""
        return self.figure in _SHARES


@dataclass(frozen=True)
class Bubble:
    """A bin of probabilities: the place in percent, the width in pixels, how many predictions, and both shares."""

    x: float
    y: float
    width: float
    count: int
    said: float
    true: float


@dataclass(frozen=True)
class Scatter:
    """Predicted values over true ones, both on one scale: ticks as (percent, value), points in percent."""

    ticks: tuple[Point, ...]
    points: tuple[Point, ...]
    left_out: int


def panels(history: History, scratch: History | None) -> list[Panel]:
    """Returns the panels of loss and score: over epochs, or with `scratch` over steps, logarithmic."""
    nets = {"scratch": scratch, "reused": history} if scratch else {"reused": history}
    return [_panel(figure, nets, over_steps=scratch is not None) for figure in ("loss", history.score_name)]


def matrix(confusion: NDArray[np.int64]) -> list[list[tuple[int, float]]]:
    """Returns (count, shade 0..1) of each cell; a shade is the root of its share of the row."""
    shares = np.sqrt(confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1))
    return [
        [(int(count), round(float(share), 2)) for count, share in zip(*row, strict=True)]
        for row in zip(confusion, shares, strict=True)
    ]


def pairs(confusion: NDArray[np.int64], classes: Sequence[str], count: int) -> list[dict[str, Any]]:
    """Returns at most `count` confusions of a true with a predicted class, the most frequent first."""
    wrong = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    counts = confusion.sum(axis=1)
    cells = [(int(index) // len(classes), int(index) % len(classes)) for index in order]
    return [
        {"true": classes[i], "predicted": classes[j], "count": int(wrong[i, j]), "of": int(counts[i])}
        for i, j in cells
        if wrong[i, j]
    ]


def per_class(confusion: NDArray[np.int64], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns figures of each class, the least accurate first; classes without test examples last."""
    wrong = confusion - np.diag(confusion.diagonal())
    rows = [
        {
            "name": name,
            "right": int(confusion[i, i]),
            "count": int(confusion[i].sum()),
            "named": int(confusion[:, i].sum()),
            "taken_for": classes[int(wrong[i].argmax())] if wrong[i].any() else None,
            "taken": int(wrong[i].max()),
        }
        for i, name in enumerate(classes)
    ]
    return sorted(rows, key=lambda row: row["right"] / row["count"] if row["count"] else 2)


def worst_first(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns figures of labels, the lowest F1 first; those without any last."""
    return sorted(rows, key=lambda row: 2 if row["f1"] is None else row["f1"])


def reliability(bins: Sequence[Mapping[str, Any]]) -> tuple[Bubble, ...]:
    """Returns the bins that have predictions as bubbles, their areas in proportion to how many."""
    filled = [each for each in bins if each["count"]]
    most = max((each["count"] for each in filled), default=1)
    return tuple(
        Bubble(
            round(100 * each["confidence"], 2), round(100 * each["accuracy"], 2),
            round(max(9.0, _WIDEST * math.sqrt(each["count"] / most)), 1),
            each["count"], each["confidence"], each["accuracy"],
        )
        for each in filled
    )  # fmt: skip


def scatter(true: NDArray[Any], said: NDArray[Any]) -> Scatter:
    """Returns predicted over true values; of very many every so-manieth, in order of the true value."""
    pairs = np.stack([np.asarray(true, np.float64), np.asarray(said, np.float64)], axis=1)
    finite = pairs[np.isfinite(pairs).all(axis=1)]
    if not len(finite):
        return Scatter((), (), len(pairs))
    low, high = float(finite.min()), float(finite.max())
    room = 0.04 * (high - low) or 0.5 * (abs(high) or 1.0)
    axis = Axis(low - room, high + room)
    chosen = finite[np.argsort(finite[:, 0], kind="stable")][:: -(-len(finite) // _POINTS)]
    points = tuple((axis.at(float(x)), axis.at(float(y))) for x, y in chosen)
    return Scatter(tuple((axis.at(tick), tick) for tick in axis.ticks()), points, len(pairs) - len(chosen))


def probes(trials: Sequence[Mapping[str, Any]], reuse: int) -> Panel:
    """Returns the score of a linear model over how many units are reused; what was chosen is marked."""
    known = [(float(each["reuse"]), float(each["score"])) for each in trials if math.isfinite(each["score"])]
    known = sorted(known) or [(0.0, 0.0)]
    x_axis, y_axis = _x_axis(known[0][0], known[-1][0], False), _range([y for _, y in known])
    marks = [Mark("reused", x_axis.at(x), y_axis.at(y), int(x), y) for x, y in known if x == reuse]
    line = Line("reused", "probe", tuple((x_axis.at(x), y_axis.at(y)) for x, y in known))
    x_ticks = tuple((x_axis.at(tick), tick) for tick in x_axis.ticks() if tick.is_integer())
    y_ticks = tuple((y_axis.at(tick), tick) for tick in y_axis.ticks())
    return Panel("probe", False, x_ticks, y_ticks, (line,), tuple(marks))


def _panel(figure: str, nets: dict[str, History], *, over_steps: bool) -> Panel:
    curves = {
        (net, part): _points(history, history.epochs, figure, part, over_steps)
        for net, history in nets.items()
        for part in ("training", "validation")
    }
    xs = [x for curve in curves.values() for x, _ in curve] or [1.0]
    ys = [y for curve in curves.values() for _, y in curve] or [1.0]
    x_axis = _x_axis(min(xs), max(xs), over_steps)
    y_axis = _y_axis(figure, ys)
    lines = [
        Line(net, part, tuple(_thinned((x_axis.at(x), y_axis.at(y)) for x, y in curve)))
        for (net, part), curve in curves.items()
        if curve
    ]
    marks = [
        Mark(net, x_axis.at(x), y_axis.at(y), history.best_epoch, y)
        for net, history in nets.items()
        for x, y in _best(history, figure, over_steps)
    ]
    x_ticks = tuple((x_axis.at(tick), tick) for tick in x_axis.ticks() if tick.is_integer())
    y_ticks = tuple((y_axis.at(tick), tick) for tick in y_axis.ticks())
    begins = tuple((x_axis.at(x), phase) for x, phase in _phases(nets["reused"], over_steps))
    return Panel(figure, y_axis.log, x_ticks, y_ticks, tuple(lines), tuple(marks), begins)


def _phases(history: History, over_steps: bool) -> list[tuple[float, int]]:
    """Returns where each phase but the first begins, half an epoch before its first."""
    width = history.steps / len(history.epochs) if over_steps else 1
    firsts = [next(each) for _, each in groupby(history.epochs, key=lambda epoch: epoch.phase)]
    return [((each.epoch - 0.5) * width, each.phase) for each in firsts[1:]]


def _best(history: History, figure: str, over_steps: bool) -> list[Point]:
    """Returns the point of the kept epoch, on the validation curve or else on the training curve."""
    kept = history.epochs[history.best_epoch - 1 : history.best_epoch] if history.best_epoch else ()
    return _points(history, kept, figure, "validation", over_steps) or _points(
        history, kept, figure, "training", over_steps
    )


def _points(history: History, epochs: Sequence[Epoch], figure: str, part: str, over_steps: bool) -> list[Point]:
    width = history.steps / len(history.epochs) if over_steps else 1
    name = ("val_" if part == "validation" else "") + ("loss" if figure == "loss" else "score")
    pairs = ((each.epoch * width, getattr(each, name)) for each in epochs)
    return [(x, float(y)) for x, y in pairs if y is not None and math.isfinite(y)]


def _x_axis(low: float, high: float, log: bool) -> Axis:
    if low < high:
        return Axis(low, high, log)
    return Axis(low / 2, high * 2, log) if log else Axis(low - 0.5, high + 0.5)


def _range(values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.05 * (abs(high) or 1.0)
    return Axis(low - room, high + room)


def _y_axis(figure: str, values: Sequence[float]) -> Axis:
    """Returns the range of a figure: of shares up to 1, of errors down to 0 or logarithmic."""
    if figure in _ERRORS:
        return _loss_axis(values)
    return Axis(math.floor(10 * min(*values, 0.9)) / 10, 1.0) if figure in _SHARES else _range(values)


def _loss_axis(values: Sequence[float]) -> Axis:
    low, high = max(min(values), _LEAST_LOSS), max(*values, 2 * _LEAST_LOSS)
    if high / low > 10:
        return Axis(low / 1.2, high * 1.2, log=True)
    return Axis(0.0, high * 1.05)


def _thinned(points: Iterable[Point]) -> list[Point]:
    """Returns the lowest and the highest point of each narrow column, so that no spike is lost."""
    kept: list[Point] = []
    for _, column in groupby(points, key=lambda point: int(point[0] * _COLUMNS / 100)):
        inside = list(column)
        ends = {inside.index(end(inside, key=lambda point: point[1])) for end in (min, max)}
        kept += [inside[index] for index in sorted(ends)]
    return kept if len(kept) > 1 else kept * 2


def _nice(step: float) -> float:
    """Returns the smallest of 1, 2, 5 times a power of ten that is at least `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
