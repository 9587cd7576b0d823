"""The page of a check: one self-contained file for people, with the pictures in question in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.findings import Case, Finding, counted
from zoo.errors import DataError
from zoo.pages import data_uri, page_environment

if TYPE_CHECKING:
    from zoo.data.checking import DataCheck

_PICTURES = 120  # on the whole page, so that it stays below about one megabyte
_CASES = 24  # of one finding with pictures
_LISTED = 100  # of one finding without
_TOGETHER = 6  # pictures of one case
_PIXELS = 128
_BARS = 30  # classes that are drawn before a fold


def render_check(check: DataCheck) -> str:
    """Returns the page as HTML.

    Names come from files: each is escaped, and characters that hide or reorder text show as codes.
    """
    environment = page_environment("zoo.data")
    environment.filters |= {"number": "{:,}".format, "count": counted, "compact": "{:,.6g}".format}
    page = environment.get_template("check.html.j2").render(
        check=check,
        findings=list(_shown(check)),
        largest=max((each.examples for each in check.classes), default=0),
        bars=_BARS if len(check.classes) > _BARS + 5 else len(check.classes),
        tallest=max((count for _, _, count in check.sides), default=0),
    )
    return page


def _shown(check: DataCheck) -> Iterator[tuple[Finding, list[tuple[Case, list[str]]], bool]]:
    """Yields each finding with as many of its cases as the page has room for, and whether they have pictures."""
    room = _PICTURES
    for finding in check.findings:
        pictured = check.noun == "picture" and any(case.rows for case in finding.cases)
        cases = []
        for case in finding.cases[: _CASES if pictured and room > 0 else _LISTED]:
            rows = case.rows[: min(_TOGETHER, max(0, room))] if pictured else ()
            uris = [uri for row in rows if (uri := _picture(check, row))]
            room -= len(uris)
            cases.append((case, uris))
        yield finding, cases, any(uris for _, uris in cases)


def _picture(check: DataCheck, row: int) -> str | None:
    """Returns the example as a small picture, a data URI; None where it is none or cannot be decoded."""
    try:
        picture = np.asarray(check.source.read(np.array([row]))[0])
    except DataError:
        return None
    return data_uri(_bytes_of(picture), _PIXELS)


def _bytes_of(picture: NDArray[Any]) -> NDArray[np.uint8]:
    if picture.dtype == np.uint8:
        return picture
    values = np.nan_to_num(picture.astype(np.float64))
    full = 1.0 if picture.dtype.kind == "f" and np.abs(values).max(initial=0) <= 1 else 255.0
    return np.clip(np.rint(values / full * 255), 0, 255).astype(np.uint8)
