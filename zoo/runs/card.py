"""The model card of a run: what the model is for, what it was made of, how good it is, and what is not known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from zoo.pages import visible
from zoo.runs import charts, figures
from zoo.runs.wording import FILTERS, percent

if TYPE_CHECKING:
    import jinja2

_SHOWN_CLASSES = 30
_SHOWN_WARNINGS = 20
_LONGEST_NAME = 120
_MARKS = re.compile(r"([\\`*_{}\[\]<>#!|~&$@])")
_BEGINNINGS = re.compile(r"^(\d*)([.)+=-])")  # of lists and of lines below titles
_LINKS = re.compile(r"(?<=www)\.|:(?=//)")  # what is taken for an address by itself


def render_card(record: Mapping[str, Any]) -> str:
    """Returns the README.md of a run, in Markdown; equal records give equal cards.

    Names come from users and files: what Markdown or HTML would read something into is escaped.

    Args:
        record: All of `run.json`.
    """
    return _template().render(_context(record))


@cache
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo.runs", ""),
        autoescape=False,  # it is no HTML: names and texts are escaped for Markdown, below
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= FILTERS
    return environment.get_template("card.md.j2")


def markdown_text(text: str) -> str:
    r"""Returns a text as Markdown shows it letter by letter, on one line.

    >>> print(markdown_text("1. <b>*a*"))
    1\. \<b\>\*a\*
    """
    one_line = _MARKS.sub(r"\\\1", " ".join(visible(text).split()))
    return _LINKS.sub(r"\\\g<0>", _BEGINNINGS.sub(r"\1\\\2", one_line))


def _name(text: str) -> str:
    short = text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
    return markdown_text(short) or "(no name)"


def _context(record: Mapping[str, Any]) -> dict[str, Any]:
    task, test = figures.task_of(record), record["metrics"]["test"]
    rows = charts.worst_first(test.get("per_class") or [])
    return {
        "run": record,
        "task": task,
        "noun": figures.noun_of(record),
        "output": figures.NOUNS[task],
        "classes": record["classes"],
        "shown": _SHOWN_CLASSES,
        "score": figures.score_of(test, task, record["metrics"].get("baselines", {})),
        "figures": figures.figure_rows(test, task),
        "calibration": test.get("calibration"),
        "rows": rows[:_SHOWN_CLASSES],
        "more_rows": len(rows[_SHOWN_CLASSES:]),
        "phases": record.get("phases", []),
        "search": record.get("search"),
        "rival": figures.rival_of(record) if record.get("scratch") else None,
        "warnings": list(dict.fromkeys([*record.get("warnings", []), *test.get("warnings", [])]))[:_SHOWN_WARNINGS],
        "name": _name,
        "text": markdown_text,
        "share": lambda value: "–" if value is None else percent(value),
    }
