"""The page of a pretraining: what was learned, as pictures and curves; made of the record without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.pages import data_uri, page_environment
from zoo.runs import charts, figures
from zoo.runs.wording import FILTERS, spoken

if TYPE_CHECKING:
    import jinja2
    from numpy.typing import NDArray

    from zoo.training import History

_PIXELS = 128
_ROWS = {
    "examples": "Examples",
    "same": "Another of the same",
    "corrupted": "Corrupted",
    "reconstructions": "Restored",
}


@dataclass(frozen=True)
class Figure:
    """A figure, for people.

    Attributes:
        title: What it is.
        value: How much.
        is_share: Whether it is a share of 0 to 1.
        about: What it means.
    """

    title: str
    value: float
    is_share: bool
    about: str


def render_pretraining(record: Mapping[str, Any], history: History, pictures: Mapping[str, NDArray[np.float32]]) -> str:
    """Returns the page as HTML; equal pretrainings give equal pages.

    Args:
        record: All of `run.json`.
        history: Of all phases.
        pictures: By name: float32 [n, height, width, 1 or 3], 0..1.
    """
    rows = {title: _uris(pictures[name]) for name, title in _ROWS.items() if name in pictures}
    return _template().render(
        run=record,
        history=history,
        noun=figures.noun_of(record),
        key_figures=key_figures(record["figures"]),
        panels=_panels(record, history),
        columns=list(zip(*rows.values(), strict=True)),
        row_titles=list(rows),
        filters=_uris(pictures["filters"]) if "filters" in pictures else [],
        timings=figures.timing_rows(record["timings"]),
        details=figures.details({"source": {"files": {}}, **record}),
        all_figures=[(spoken(name), value) for name, value in record["figures"].items()],
    )


def key_figures(found: Mapping[str, float]) -> list[Figure]:
    """Returns the figures that tell most of a method, the first first.

    >>> [figure.title for figure in key_figures({"accuracy": 0.9, "chance": 0.25, "loss": 0.3})]
    ['Told apart', 'Guessing would give']
    """
    known = (
        ("explained", "Of the variance restored", True, "the rest is lost"),
        ("accuracy", "Told apart", True, "of the versions of validation examples"),
        ("ranking", "Ranked right", True, "others that are farther away than another of the same"),
        ("chance", "Guessing would give", True, ""),
        ("squared_error", "Squared error", False, "of a restored number, on average"),
    )
    figures = [Figure(title, found[name], share, about) for name, title, share, about in known if name in found]
    if figures and found.get("explained", 1) <= 0:
        figures[0] = Figure(figures[0].title, 0.0, True, "it restores no better than the mean of all would")
    return figures


def _panels(record: Mapping[str, Any], history: History) -> list[charts.Panel]:
    """Returns the panels of loss and score, of which one is enough where the loss is the score."""
    loss, *score = charts.panels(history, None)
    is_same = history.score_name == "squared_error" and record["settings"].get("loss") == "mse"
    return [loss, *([] if is_same and record["settings"].get("sparsity") is None else score)]


@cache
def _template() -> jinja2.Template:
    environment = page_environment("zoo.runs")
    environment.filters |= FILTERS
    return environment.get_template("pretraining.html.j2")


def _uris(pictures: NDArray[np.float32]) -> list[str]:
    return [data_uri(each, _PIXELS) for each in np.rint(255 * np.clip(pictures, 0, 1)).astype(np.uint8)]
