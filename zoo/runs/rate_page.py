"""The page of a search for a learning rate: one self-contained file with the curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.pages import page_environment
from zoo.runs.charts import Axis

if TYPE_CHECKING:
    from zoo.training.rates import RateSearch

_ROOM = 1.15  # above the loss of the beginning; what is higher shows only that training diverges


def render_rates(found: RateSearch, model: str, data: str) -> str:
    """Returns the page as HTML; names in it are escaped.

    Args:
        found: What came of the search.
        model: Name of the model.
        data: Name of the data.
    """
    top = max(_ROOM * found.smoothed[0], _ROOM * min(found.smoothed))
    x, y = Axis(found.rates[0], found.rates[-1], log=True), Axis(min(0.0, min(found.smoothed)), top)
    points = {
        name: [(x.at(rate), y.at(value)) for rate, value in zip(found.rates, values, strict=True)]
        for name, values in (("single", found.losses), ("smoothed", found.smoothed))
    }
    marks = {
        "suggested": found.suggested,
        "steepest": found.steepest,
        "lowest": found.lowest,
    }
    at = dict(zip(found.rates, found.smoothed, strict=True))
    environment = page_environment("zoo.runs")
    return environment.get_template("rates.html.j2").render(
        found=found,
        model=model,
        data=data,
        points=points,
        marks=[(name, rate, x.at(rate), y.at(at[rate])) for name, rate in marks.items() if rate is not None],
        x_ticks=[(x.at(tick), f"{tick:g}") for tick in x.ticks()],
        y_ticks=[(y.at(tick), f"{tick:g}") for tick in y.ticks()],
    )
