"""The model card: whole for each task, and safe against what Markdown reads into names."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
from made_up_reports import VARIANTS

from zoo.runs.card import markdown_text, render_card

PAGES = {"classification": "judged", "multilabel": "labels", "regression": "values"}


def record_of(task: str, **changes: Any) -> dict[str, Any]:
    return {**VARIANTS[PAGES[task]].record, **changes}


@pytest.mark.parametrize("task", PAGES)
def test_says_what_it_is_and_how_good(task: str) -> None:
    card = render_card(record_of(task))
    said = {
        "classification": "Says which of 10 classes",
        "multilabel": "Says which of 3 labels",
        "regression": "Estimates 2 values",
    }
    assert card.startswith("# ") and card.endswith("\n")
    assert said[task] in card.replace("\u00a0", " ")
    for part in ("## Use it", "## What it says", "## How it was made", "## How good it is", "## What to know"):
        assert part in card
    assert "\n\n\n" not in card
    assert not re.search(r"\bnan\b|None|undefined", card)
    assert card == render_card(record_of(task))


def test_tables_are_whole() -> None:
    lines = render_card(record_of("classification")).splitlines()
    for before, line in pairwise(lines):
        if line.startswith("|") and before.startswith("|"):
            assert line.count("|") == before.count("|")


def test_names_are_letters_alone() -> None:
    names = [
        "<script>",
        "[a](//e.example)",
        "a|b",
        "\u202eevil",
        "two\nlines",
        "https://e.example",
        "www.e.example",
        "1.",
    ]
    classes = (names + ["x"] * 10)[:10]
    card = render_card(
        record_of("classification", model="# <img>", data="*d*", classes=classes, warnings=["<b>odd\n# x"])
    )
    plain = card.replace("\\\\", "")
    assert not re.search(r"(?<!\\)<", plain)
    assert "\u202e" not in card and "u202eevil" in card
    assert "u000alines" in card and "\n# x" not in card
    assert "- 1\\." in card and "a\\|b" in card and "https\\://" in card and "www\\.e" in card


@pytest.mark.parametrize("text", ["- x", "+ x", "1) x", "===", "_x_", "`x`", "&lt;", "$x$", "@user", "~x~"])
def test_marks_are_escaped(text: str) -> None:
    assert markdown_text(text).replace("\\", "") == text
    assert "\\" in markdown_text(text)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_run_has_a_card(variant: str) -> None:
    assert "\n\n\n" not in render_card(VARIANTS[variant].record)


def test_many_classes_are_cut() -> None:
    record = record_of("classification", classes=[f"class {number}" for number in range(200)])
    card = render_card(record).replace("\u00a0", " ")
    assert "and 170 more classes; see `labels.json`" in card


def test_the_card_needs_no_tensorflow() -> None:
    code = "import sys, zoo.runs.card; sys.exit('tensorflow' in sys.modules or 'jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
