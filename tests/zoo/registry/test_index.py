from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import pytest

import zoo.embedded
from zoo.errors import IntegrityError, NotFoundError
from zoo.files import sha256_of
from zoo.registry import all_entries, find_entry, list_models
from zoo.registry.index import SCHEMA, read_registry, shipped_registry

EMBEDDED = Path(zoo.embedded.__path__[0])


def entry(summary: str = "mine") -> dict[str, Any]:
    return {
        "source": "local",
        "task": "image-classification",
        "summary": summary,
        "files": [],
        "input": {"size": [8, 8, 1], "color": "gray"},
        "output": {},
        "metrics": {},
    }


def write_own(home: Path, models: Any, schema: Any = SCHEMA) -> Path:
    home.mkdir()
    path = home / "registry.json"
    path.write_text(json.dumps({"schema": schema, "models": models}), encoding="utf-8")
    return path


def test_the_shipped_registry_is_valid_and_has_the_default_model() -> None:
    assert "letters-cnn" in read_registry(shipped_registry())


def test_the_shipped_registry_names_no_model_twice() -> None:
    def count(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [key for key, number in Counter(key for key, _ in pairs).items() if number > 1]
        assert not twice
        return dict(pairs)

    json.loads(shipped_registry().read_text(encoding="utf-8"), object_pairs_hook=count)


def test_embedded_files_are_those_that_the_registry_describes() -> None:
    files = [file for model in list_models() if model.source == "embedded" for file in model.files]

    assert files
    for file in files:
        path = EMBEDDED / file.name
        assert (f"sha256:{sha256_of(path)}", path.stat().st_size) == (file.hash, file.bytes)
    assert {file.name for file in files} == {path.name for path in EMBEDDED.glob("*.keras")}


def test_facts_of_an_embedded_model_are_those_of_its_file() -> None:
    for described in (model for model in list_models() if model.source == "embedded"):
        model = keras.saving.load_model(EMBEDDED / described.files[0].name, compile=False)

        assert described.params == model.count_params()
        assert described.input.size == model.input_shape[1:]
        assert described.output.classes == model.output_shape[1]
        assert all(0 < value <= 1 for value in described.metrics.values())


def test_without_a_registry_of_the_users_own_there_is_the_shipped_one(home: Path) -> None:
    assert not home.exists()
    assert set(all_entries()) == set(read_registry(shipped_registry()))


def test_the_users_own_models_stand_beside_the_shipped_ones_and_win(home: Path) -> None:
    write_own(home, {"letters-cnn": entry("my letters"), "mine": entry()})

    assert set(all_entries()) == {*read_registry(shipped_registry()), "mine"}
    assert find_entry("letters-cnn").summary == "my letters"
    assert find_entry("mine").source == "local"


def test_a_change_of_the_users_registry_is_seen_at_once(home: Path) -> None:
    path = write_own(home, {"mine": entry()})
    assert "mine" in all_entries()

    path.unlink()

    assert "mine" not in all_entries()


def test_a_newer_schema_is_refused_with_what_to_do(home: Path) -> None:
    path = write_own(home, {"mine": {"all": "different"}}, schema=SCHEMA + 1)

    with pytest.raises(IntegrityError) as caught:
        all_entries()

    assert str(path) in str(caught.value)
    assert "schema 2; this version of zoo reads schema 1" in str(caught.value)
    assert "pip install --upgrade zoo-transfer" in str(caught.value)


def test_a_newer_schema_may_have_moved_everything_and_is_still_called_newer(home: Path) -> None:
    write_own(home, ["models", "are", "a", "list", "now"], schema=SCHEMA + 1)

    with pytest.raises(IntegrityError, match="Upgrade zoo"):
        all_entries()


@pytest.mark.parametrize("schema", [0, None, "1", True, 1.5])
def test_a_schema_that_never_was_is_refused_without_talk_of_upgrades(home: Path, schema: Any) -> None:
    write_own(home, {}, schema=schema)

    with pytest.raises(IntegrityError, match="expected") as caught:
        all_entries()

    assert "Upgrade" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"schema": 1}', '{"schema": 1, "models": []}', "[" * 100_000, "\ufeff{}"],
    ids=["empty", "cut", "list", "null", "no models", "models no object", "nested deep", "BOM"],
)
def test_a_file_that_is_no_registry_is_refused_by_name(home: Path, text: str) -> None:
    path = write_own(home, {})
    path.write_text(text, encoding="utf-8")

    with pytest.raises(IntegrityError, match=r"registry\.json"):
        all_entries()


def test_a_file_that_is_no_text_is_refused_by_name(home: Path) -> None:
    write_own(home, {}).write_bytes(b"\xff\xfe\x00")

    with pytest.raises(IntegrityError, match=r"registry\.json is no JSON"):
        all_entries()


def test_a_broken_entry_is_refused_by_name(home: Path) -> None:
    write_own(home, {"good": entry(), "bad": {**entry(), "sumary": "a slip"}})

    with pytest.raises(IntegrityError, match="model 'bad' has unknown fields: sumary"):
        all_entries()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("my*", ["My-vgg", "my-resnet"]),
        ("*VGG", ["My-vgg"]),
        ("my-????et", ["my-resnet"]),
        ("my-resnet", ["my-resnet"]),
        ("none*", []),
        ("vgg", []),
    ],
)
def test_list_models_takes_wildcards_in_any_case(home: Path, pattern: str, expected: list[str]) -> None:
    write_own(home, {"my-resnet": entry(), "My-vgg": entry()})

    assert [model.name for model in list_models(pattern)] == expected


def test_list_models_gives_all_sorted_by_name(home: Path) -> None:
    write_own(home, {"zz": entry(), "aa": entry()})
    names = [model.name for model in list_models()]

    assert names == sorted(all_entries())


def test_an_unknown_name_offers_the_near_ones_and_the_next_command() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_entry("leters-cnn")

    assert "'leters-cnn'" in str(caught.value)
    assert "Did you mean letters-cnn?" in str(caught.value)
    assert "zoo list" in str(caught.value)


def test_a_name_like_no_other_offers_none() -> None:
    with pytest.raises(NotFoundError, match="No model named 'q'") as caught:
        find_entry("q")

    assert "Did you mean" not in str(caught.value)
