"""`zoo recommend` as people type it."""

from __future__ import annotations

import json

from click.testing import CliRunner, Result
from zoo.cli.main import cli


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def test_a_table_and_what_to_do_next() -> None:
    result = run("recommend", "--data", "digits:0-3", "--max-examples", "60")
    assert result.exit_code == 0, result.output
    head, first = result.stdout.splitlines()
    assert head.split()[:4] == ["rank", "model", "accuracy", "loss"]
    assert first.split()[:2] == ["1", "letters-cnn"]
    assert "60 of" in result.stderr
    assert "zoo transfer letters-cnn --data digits:0-3" in result.stderr


def test_one_json_document() -> None:
    result = run("recommend", "letters-cnn", "--data", "digits:0-1", "--max-examples", "40", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["task"], document["examples"]) == ("classification", 40)
    (only,) = document["candidates"]
    assert (only["name"], only["rank"], only["as_good"], only["reason"]) == ("letters-cnn", 1, True, "")
    assert 0 <= only["nearest"] <= 1


def test_names_and_data_that_are_not_there_end_with_3() -> None:
    assert run("recommend", "no-such-net").exit_code == 3
    assert run("recommend", "--data", "nowhere").exit_code == 3
    assert run("recommend", "slim/inception_v4").exit_code == 2
