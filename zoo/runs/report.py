"""The report of a run: one self-contained page for people, made of the record without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.pages import data_uri, page_environment, visible
from zoo.runs import charts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.training import History

_MATRIX_CLASSES = 50
_SHOWN_PAIRS = 30
_SHOWN_CLASSES = 12
_THUMBNAIL_PIXELS = 224
_SPACE = "\u00a0"


@dataclass(frozen=True)
class Mistake:
    """A test example taken for a wrong class; `picture` is uint8 [height, width, channels], None for rows."""

    picture: NDArray[np.uint8] | None
    true: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Report:
    """What the page shows: all of `run.json`, both histories, and the worst mistakes."""

    record: Mapping[str, Any]
    history: History
    scratch: History | None
    mistakes: Sequence[Mistake]


def render_report(report: Report) -> str:
    """Returns the page as HTML; equal reports give equal pages.

    Names come from users and files: each is escaped, and characters that hide or reorder text show as codes.
    """
    environment = page_environment("zoo.runs")
    environment.filters |= {
        "percent": _percent, "bytes": _bytes, "duration": _duration, "number": _number, "count": _count,
        "shape": _shape, "small": _small, "loss": _loss,
    }  # fmt: skip
    return environment.get_template("report.html.j2").render(_context(report))


def _context(report: Report) -> dict[str, Any]:
    """Returns what the template's names stand for."""
    record = report.record
    confusion = np.asarray(record["metrics"]["test"]["confusion"], np.int64)
    classes = record["classes"]
    return {
        "run": record,
        "noun": "picture" if record["input"]["decoded"] else "row",
        "test": _test_figures(confusion),
        "groups": _groups(record["units"]),
        "panels": charts.panels(report.history, report.scratch),
        "history": report.history,
        "rival": _rival(record) if record["scratch"] else None,
        "classes": classes,
        "matrix": charts.matrix(confusion) if len(classes) <= _MATRIX_CLASSES else None,
        "pairs": charts.pairs(confusion, classes, _SHOWN_PAIRS),
        "per_class": charts.per_class(confusion, classes),
        "shown_classes": _SHOWN_CLASSES,
        "short_names": max(len(visible(name)) for name in classes) <= 3,
        "mistakes": [(mistake, _data_uri(mistake.picture)) for mistake in report.mistakes],
        "details": _details(record),
    }


def _test_figures(confusion: NDArray[np.int64]) -> dict[str, Any]:
    count, right = int(confusion.sum()), int(confusion.trace())
    low, high = _interval(right, count)
    return {
        "count": count,
        "right": right,
        "accuracy": right / count,
        "low": low,
        "high": high,
        "majority": float(confusion.sum(axis=1).max() / count),
    }


def _interval(right: int, count: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share (Wilson 1927), good for few examples and shares near 1 too."""
    z, share = 1.96, right / count
    middle = share + z * z / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (middle - reach) / (1 + z * z / count)), min(1.0, (middle + reach) / (1 + z * z / count))


def _coin(heads: int, tails: int) -> float:
    """Returns how probable so uneven a count, or a more uneven one, is for a fair coin (two-sided)."""
    tosses = heads + tails
    one_side = sum(math.comb(tosses, count) for count in range(min(heads, tails) + 1)) / 2**tosses
    return float(min(1.0, 2 * one_side))


def _rival(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the net from random weights beside the reused one, and whether their difference can be chance.

    Both saw the same test examples, so only those that one of them alone got right tell (McNemar 1947, exact).
    """
    ours = _test_figures(np.asarray(record["metrics"]["test"]["confusion"], np.int64))
    theirs = _test_figures(np.asarray(record["scratch"]["metrics"]["test"]["confusion"], np.int64))
    alone = record["scratch"]["right_in_one_only"]
    return {
        **theirs,
        "loss": record["scratch"]["metrics"]["test"]["loss"],
        "training": record["scratch"]["training"],
        "more": theirs["right"] - ours["right"],
        "alone": alone,
        "chance": _coin(alone["reused"], alone["scratch"]) > 0.05,
        "times": record["scratch"]["training"]["steps"] / record["training"]["steps"],
    }


def _groups(units: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the units of each state, the highest first; of long groups the ends, and None for the rest."""
    groups = {}
    for state in ("frozen", "trained", "dropped"):
        inside = [unit for unit in units if unit["state"] == state][::-1]
        ends = 1 if state == "dropped" else 3
        shown = inside if len(inside) <= 2 * ends + 2 else [*inside[:ends], None, *inside[-ends:]]
        params = sum(unit["params"] for unit in inside)
        groups[state] = {"count": len(inside), "params": params, "shown": shown}
    return groups


def _data_uri(picture: NDArray[np.uint8] | None) -> str | None:
    """Returns a small picture exactly (PNG), a large one reduced (JPEG), and None for what is none."""
    if picture is None or picture.shape[-1] not in (1, 3):
        return None
    return data_uri(picture, _THUMBNAIL_PIXELS)


def _details(record: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    parts = {
        "Settings": record["settings"],
        "Input": record["input"],
        "Split": {**record["examples"], **record["split"]},
        "Versions": record["versions"],
        "Files of the pretrained model": record["source"]["files"],
        "Files of the run": record.get("files", {}),
    }
    return {title: list(_flat(value)) for title, value in parts.items() if value}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yields names as paths into the record (`fit.epochs`), and values as text."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    elif value is None or value == [] or value == ():
        yield name, "none"
    else:
        yield name, _shape(value, ", ") if _is_list(value) else str(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _percent(share: float, digits: int = 1) -> str:
    """Returns a share in percent, which never rounds to all or nothing.

    >>> _percent(0.9999), _percent(1.0), _percent(0.931)
    ('> 99.9\\xa0%', '100\\xa0%', '93.1\\xa0%')
    """
    least = 10.0**-digits
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", f"{_SPACE}%")
    if 100 * share >= 100 - least / 2:
        return f"> {100 - least:.{digits}f}{_SPACE}%"
    if 100 * share < least / 2:
        return f"< {least:.{digits}f}{_SPACE}%"
    return f"{100 * share:.{digits}f}{_SPACE}%"


def _bytes(count: float) -> str:
    units = iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 1000 and unit != "TB":
        count, unit = count / 1000, next(units)
    return f"{count:.3g}{_SPACE}{unit}" if count < 1000 else f"{count:,.0f}{_SPACE}{unit}"


def _duration(seconds: float) -> str:
    """Returns seconds as people say them.

    >>> _duration(0.007), _duration(37.4), _duration(123)
    ('7\\xa0ms', '37.4\\xa0s', '2\\xa0min 3\\xa0s')
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f}{_SPACE}ms"
    if seconds < 60:
        return f"{seconds:.3g}{_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{_SPACE}min {rest}{_SPACE}s"
    return f"{minutes // 60}{_SPACE}h {minutes % 60}{_SPACE}min"


def _number(value: float) -> str:
    return f"{value:,.12g}"


def _small(value: float) -> str:
    return "0" if value == 0 else f"{value:.3g}"


def _loss(value: float) -> str:
    return f"{value:#.3g}".rstrip(".")


def _count(number: int, noun: str) -> str:
    """Returns a number and its noun.

    >>> _count(1, "unit"), _count(1200, "class")
    ('1\\xa0unit', '1,200\\xa0classes')
    """
    plural = noun if number == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,}{_SPACE}{plural}"


def _shape(sizes: Iterable[Any], between: str = "\u00a0×\u00a0") -> str:
    return between.join("any" if size is None else str(size) for size in sizes)
