"""`zoo check`: what it prints where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from zoo.cli.main import cli


def run(*words: str) -> Result:
    """Calls a command in this process; standard output and standard error apart."""
    return CliRunner().invoke(cli, words)


def npz(name: str, labels: int = 2, **changes: float) -> str:
    """Returns the path of a file of 60 rows in the working folder, in which row 0 stands twice."""
    x = np.random.default_rng(0).normal(size=(60, 4))
    x[2] = x[0]
    for row, value in changes.items():
        x[int(row.removeprefix("row")), 0] = value
    np.savez(name, x=x, y=np.arange(60) % labels)
    return name


def test_sound_data_ends_with_0() -> None:
    result = run("check", "digits")

    assert (result.exit_code, "Nothing was found" in result.stdout) == (0, True)
    assert [line.split() for line in result.stdout.splitlines() if line.startswith("all ")] == [
        ["all", "1,797", "1,306", "244", "247"]
    ]


def test_findings_are_told_and_do_not_fail() -> None:
    result = run("check", npz("rows.npz"))

    assert result.exit_code == 0
    assert "note: 1 row more than once\n  row 0 = row 2\n" in result.stdout


def test_strict_ends_with_8_for_warnings_and_errors_alone() -> None:
    assert run("check", npz("copies.npz"), "--strict").exit_code == 0
    result = run("check", npz("nan.npz", row5=np.nan), "--strict")
    assert (result.exit_code, "error: 1 row with values that are not finite" in result.stdout) == (8, True)


def test_data_that_cannot_be_used_is_reported_and_ends_with_8() -> None:
    result = run("check", npz("one.npz", labels=1), "--json")

    assert result.exit_code == 8
    assert "1 class" in json.loads(result.stdout)["problem"]
    assert "Error: " in result.stderr


def test_one_json_document_and_nothing_else_on_standard_output() -> None:
    document = json.loads(run("check", npz("rows.npz"), "--json").stdout)

    assert (document["examples"], document["noun"], document["problem"]) == (60, "row", None)
    assert [each["kind"] for each in document["findings"]] == ["copy"]


def test_the_page_is_written_where_asked() -> None:
    result = run("check", "digits:0-3", "--html", "pages/check.html")

    assert result.exit_code == 0
    assert "Page: pages/check.html" in result.stderr
    assert Path("pages/check.html").read_text().startswith("<!DOCTYPE html>")


def test_what_is_not_there_ends_with_3() -> None:
    assert run("check", "nowhere/at/all").exit_code == 3


@pytest.mark.parametrize("share", ["101%", "-1%", "1.5", "many", "nan"])
def test_a_share_that_is_none_is_refused(share: str) -> None:
    result = run("check", "digits", "--max-bad", share)
    assert (result.exit_code, "expected a share such as 5% or 0.05" in result.stderr) == (2, True)


@pytest.mark.parametrize("share", ["5%", "0.05", "0", "100%"])
def test_shares_are_told_in_percent_or_not(share: str) -> None:
    assert run("check", "digits:0-1", "--max-bad", share).exit_code == 0
