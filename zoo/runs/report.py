"""The report of a run: one self-contained page for people, made of the record without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.pages import data_uri, page_environment, visible
from zoo.runs import charts, figures
from zoo.runs.wording import FILTERS

if TYPE_CHECKING:
    import jinja2
    from numpy.typing import NDArray

    from zoo.training import History

_MATRIX_CLASSES = 50
_SHOWN_PAIRS = 15
_SHOWN_CLASSES = 12
_SHOWN_WARNINGS = 6
_SHOWN_TRIALS = 12
_SHOWN_OUTPUTS = 4
_THUMBNAIL_PIXELS = 224


@dataclass(frozen=True)
class Mistake:
    """A test example worth a look: one that was taken for something wrong, or one that the model was unsure of.

    Attributes:
        picture: uint8 [height, width, channels]; None for texts and rows.
        true: What it is: a class, labels, or values.
        predicted: What the model says.
        probability: Of that; of labels that of the least sure one; None for values.
        second: The class with the second highest probability, or the label nearest to one half.
        second_probability: Of that.
        text: How the text begins; None for pictures and rows.
    """

    picture: NDArray[np.uint8] | None
    true: str
    predicted: str
    probability: float | None
    second: str | None = None
    second_probability: float | None = None
    text: str | None = None


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Attributes:
        record: All of `run.json`.
        history: Of the run.
        scratch: Of the rival from random weights; None without one.
        mistakes: The worst, the surest first.
        uncertain: The examples that the model was least sure of.
        targets: Values of the test examples, [n, outputs]; only of a regression.
        outputs: What the model says of them, likewise.
    """

    record: Mapping[str, Any]
    history: History
    scratch: History | None
    mistakes: Sequence[Mistake]
    uncertain: Sequence[Mistake] = ()
    targets: NDArray[Any] | None = None
    outputs: NDArray[Any] | None = None


def render_report(report: Report) -> str:
    """Returns the page as HTML; equal reports give equal pages.

    Names come from users and files: each is escaped, and characters that hide or reorder text show as codes.
    """
    return _template().render(_context(report))


@cache
def _template() -> jinja2.Template:
    environment = page_environment("zoo.runs")
    environment.filters |= FILTERS
    return environment.get_template("report.html.j2")


def _context(report: Report) -> dict[str, Any]:
    """Returns what the template's names stand for."""
    record = report.record
    task, test = figures.task_of(record), record["metrics"]["test"]
    return {
        "run": record,
        "task": task,
        "noun": figures.noun_of(record),
        "output": figures.NOUNS[task],
        "test": test,
        "score": figures.score_of(test, task, record["metrics"].get("baselines", {})),
        "figures": figures.figure_rows(test, task),
        "groups": figures.unit_groups(record["units"]),
        "panels": charts.panels(report.history, report.scratch),
        "history": report.history,
        "rival": figures.rival_of(record) if record["scratch"] else None,
        "phases": record.get("phases", []),
        "classes": record["classes"],
        "shown": {"classes": _SHOWN_CLASSES, "warnings": _SHOWN_WARNINGS, "trials": _SHOWN_TRIALS},
        "mistakes": [(mistake, _data_uri(mistake.picture)) for mistake in report.mistakes],
        "uncertain": [(mistake, _data_uri(mistake.picture)) for mistake in report.uncertain],
        "scatters": _scatters(report),
        "timings": figures.timing_rows(record.get("timings", {})),
        "details": figures.details(record),
        **_confusion(record, task),
        **_calibration(test.get("calibration")),
        **_search(record.get("search")),
    }


def _confusion(record: Mapping[str, Any], task: str) -> dict[str, Any]:
    classes, test = record["classes"], record["metrics"]["test"]
    if task != "classification":
        return {"matrix": None, "pairs": [], "per_class": [], "per_label": charts.worst_first(test["per_class"])}
    confusion = np.asarray(test["confusion"], np.int64)
    return {
        "matrix": charts.matrix(confusion) if len(classes) <= _MATRIX_CLASSES else None,
        "pairs": charts.pairs(confusion, classes, _SHOWN_PAIRS),
        "per_class": charts.per_class(confusion, classes),
        "per_label": [],
        "short_names": max(len(visible(name)) for name in classes) <= 3,
    }


def _calibration(calibration: Mapping[str, Any] | None) -> dict[str, Any]:
    if calibration is None:
        return {"calibration": None, "bubbles": (), "sureness": None}
    bubbles = charts.reliability(calibration["bins"])
    return {"calibration": calibration, "bubbles": bubbles, "sureness": figures.sureness(calibration)}


def _search(search: Mapping[str, Any] | None) -> dict[str, Any]:
    if not search:
        return {"search": None, "probes": None, "trials": []}
    trials = search["trials"]
    probes = [each for each in trials if each["kind"] == "probe"]
    return {
        "search": search,
        "probes": charts.probes(probes, search["reuse"]) if len(probes) > 1 else None,
        "trials": [each for each in trials if each["kind"] != "probe"],
    }


def _scatters(report: Report) -> list[tuple[str, charts.Scatter]]:
    """Returns a scatter of each value, but of the first few alone where there are many."""
    if report.targets is None or report.outputs is None or not len(report.targets):
        return []
    columns = zip(report.record["classes"], report.targets.T, report.outputs.T, strict=True)
    return [(name, charts.scatter(true, said)) for name, true, said in list(columns)[:_SHOWN_OUTPUTS]]


def _data_uri(picture: NDArray[np.uint8] | None) -> str | None:
    """Returns a small picture exactly (PNG), a large one reduced (JPEG), and None for what is none."""
    if picture is None or picture.shape[-1] not in (1, 3):
        return None
    return data_uri(picture, _THUMBNAIL_PIXELS)
