"""What the commands around the store say and do: where, verify, rm, gc."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from loopback import Web, assert_invariants, blobs_in, content, file, hash_of
from zoo.cli.main import cli

import zoo

ONE, TWO, SHARED = content(30_000), content(20_000, seed=1), content(10_000, seed=2)


def command(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


@pytest.fixture
def two_models(web: Web, add_model: Callable[..., None], quick: Any) -> None:
    """Two pulled models that have a file in common."""
    shared = file(SHARED, web.put("/shared", SHARED), name="shared.bin", role="definition")
    add_model("one", file(ONE, web.put("/one", ONE), name="one.bin", hash=hash_of(ONE, "md5")), shared)
    add_model("group/two", file(TWO, web.put("/two", TWO), name="two.bin"), shared)
    assert command("pull", "one", "group/two").exit_code == 0


def test_where_names_every_file_and_who_vouches_for_it(two_models: None, home: Path) -> None:
    rows = json.loads(command("where", "--json").stdout)
    assert [(row["model"], row["name"], row["bytes"], row["vouched"]) for row in rows] == [
        ("group/two", "two.bin", len(TWO), "sha256 by its publisher"),
        ("group/two", "shared.bin", len(SHARED), "sha256 by its publisher"),
        ("one", "one.bin", len(ONE), "md5 by its publisher"),
        ("one", "shared.bin", len(SHARED), "sha256 by its publisher"),
    ]
    assert [Path(row["path"]).read_bytes() for row in rows] == [TWO, SHARED, ONE, SHARED]
    assert all(row["digest"] == hash_of(Path(row["path"]).read_bytes()) for row in rows)
    text = command("where", "one").stdout
    assert str(zoo.locate("one")[0].path) in text
    assert "two.bin" not in text


def test_where_of_an_embedded_model_is_in_the_package() -> None:
    (place,) = zoo.locate("letters-cnn")
    assert place.path.read_bytes()[:2] == b"PK"


def test_nothing_has_been_pulled_yet(home: Path) -> None:
    for words in (["where"], ["verify"], ["gc"]):
        result = command(*words)
        assert result.exit_code == 0, words
        assert "othing" in result.stderr + result.stdout
        assert json.loads(command(*words, "--json").stdout) == []
    assert not home.exists()


@pytest.mark.parametrize("words", [["where", "vgg16"], ["rm", "vgg16"], ["verify", "vgg16"]])
def test_what_was_not_pulled_is_not_found(words: list[str], two_models: None) -> None:
    result = command(*words)
    assert result.exit_code == 3
    assert "has not been pulled" in result.stderr


def test_verify_reads_everything_or_what_it_is_asked_for(two_models: None, home: Path) -> None:
    assert {row["state"] for row in json.loads(command("verify", "--json").stdout)} == {"whole"}
    rows = json.loads(command("verify", "one", "--json").stdout)
    assert [(row["model"], row["name"]) for row in rows] == [("one", "one.bin"), ("one", "shared.bin")]


def test_verify_finds_what_is_missing(two_models: None, home: Path) -> None:
    (home / "blobs" / "sha256" / hash_of(ONE)[7:]).unlink()
    result = command("verify")
    assert result.exit_code == 4
    assert "missing" in result.stdout
    assert "1 of 4 files" in result.stderr
    assert "zoo pull one" in result.stderr
    assert command("pull", "one").exit_code == 0
    assert_invariants(home)


def test_rm_takes_what_is_the_models_own(two_models: None, home: Path) -> None:
    would = json.loads(command("rm", "one", "--dry-run", "--json").stdout)
    assert [(row["what"], row["bytes"]) for row in would][:1] == [("one.bin of one", len(ONE))]
    assert [row["what"] for row in would] == ["one.bin of one", "record of one"]
    assert len(blobs_in(home)) == 3
    assert json.loads(command("rm", "one", "--json").stdout) == would
    assert {path.read_bytes() for path in blobs_in(home)} == {TWO, SHARED}
    assert_invariants(home)
    rows = json.loads(command("rm", "group/two", "--json").stdout)
    assert [row["what"] for row in rows][:2] == ["two.bin of group/two", "shared.bin of group/two"]  # nobody else's now
    assert blobs_in(home) == []
    assert list((home / "artifacts").iterdir()) == []
    assert list((home / "about").iterdir()) == []


def test_rm_of_several_with_a_wrong_name_removes_none(two_models: None, home: Path) -> None:
    result = command("rm", "one", "onne")
    assert result.exit_code == 3
    assert "Did you mean one" in result.stderr
    assert len(blobs_in(home)) == 3


def test_rm_of_an_embedded_model_is_refused() -> None:
    result = command("rm", "letters-cnn")
    assert result.exit_code == 2
    assert "ships with zoo" in result.stderr


def test_rm_works_on_a_damaged_record(two_models: None, home: Path) -> None:
    (home / "artifacts" / "one.json").write_text("{")
    assert command("rm", "one").exit_code == 0
    assert [record.name for record in zoo.pulled_models()] == ["group/two"]


def test_gc_takes_old_leftovers_and_nothing_else(two_models: None, home: Path) -> None:
    spare = home / "blobs" / "sha256" / hash_of(b"spare")[7:]
    spare.write_bytes(b"spare")
    left = home / "tmp" / "key.1.0000000000.aaaaaaaa.partial"
    left.mkdir()
    (left / "data").write_bytes(bytes(1000))
    (home / "corrupt").mkdir()
    (home / "corrupt" / "x").write_bytes(bytes(100))
    for path in (spare, left / "data", left):
        os.utime(path, (0, 0))
    would = json.loads(command("gc", "--dry-run", "--json").stdout)
    assert {(Path(row["path"]).name, row["bytes"]) for row in would} == {
        (spare.name, 5), (left.name, 1000), ("x", 100),
    }  # fmt: skip
    assert spare.exists()
    assert "1.1 kB" in command("gc").stdout
    assert not any(path.exists() for path in (spare, left, home / "corrupt" / "x"))
    assert len(blobs_in(home)) == 3
    assert command("verify").exit_code == 0


def test_gc_with_a_damaged_record_removes_nothing(two_models: None, home: Path) -> None:
    """What that record speaks of is not known."""
    (home / "artifacts" / "one.json").write_text("{")
    for blob in blobs_in(home):
        os.utime(blob, (0, 0))
    result = command("gc")
    assert result.exit_code == 4
    assert "zoo pull one" in result.stderr
    assert len(blobs_in(home)) == 3


def test_list_can_show_what_was_pulled(two_models: None) -> None:
    names = [row["name"] for row in json.loads(command("list", "--pulled", "--json").stdout)]
    assert names == ["group/two", "one"]
    assert [entry.name for entry in zoo.list_models("o*", among=zoo.pulled_names())] == ["one"]
