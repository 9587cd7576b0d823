from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import IntegrityError, NotFoundError
from zoo.registry import Entry, FileSpec, InputSpec, OutputSpec
from zoo.registry.build import SOURCES, compiled_entries, counted, main, registry_text
from zoo.registry.index import read_registry, shipped_registry

from .test_facts_caffe_onnx import caffe_model, onnx_model
from .test_facts_tensorflow import hub_model, keras_model, slim_model


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    """One model of each source."""
    folder = tmp_path / "facts"
    folder.mkdir()
    models = {
        "keras_applications": keras_model(),
        "slim": slim_model(reported_dead="HTTP 403 on these bucket URLs"),
        "tfhub": hub_model(),
        "caffe_zoo": caffe_model(),
        "onnx_hub": onnx_model(),
    }
    for name, model in models.items():
        write(folder / f"{name}.json", model)
    return folder


def write(path: Path, *models: Any) -> None:
    document = {"source": "zoo (all)", "preprocessing": {"source": "factory"}, "models": models}
    path.write_text(json.dumps(document), encoding="utf-8")


def entry(name: str = "a") -> Entry:
    return Entry(
        name, "local", None, "task", "A net.", (FileSpec("model", "a.onnx", ("https://a/a.onnx",)),),
        InputSpec((None, 8, 3), color=None, scale=None, mean=(1.0,)), OutputSpec(10, logits=None), {"top": 0.5},
    )  # fmt: skip


def test_the_registry_has_what_ships_and_one_entry_a_model(facts: Path, tmp_path: Path) -> None:
    out = tmp_path / "registry.json"

    assert main(["--facts", str(facts), "--out", str(out)]) == 0

    assert list(read_registry(out)) == [
        "letters-cnn", "vgg16", "slim/inception_v3", "tfhub/google/imagenet/mobilenet_v1_100_224/classification/5",
        "caffe/mobilenet_v1", "onnx/vgg16-7",
    ]  # fmt: skip
    assert read_registry(out)["letters-cnn"] == read_registry(shipped_registry())["letters-cnn"]


def test_check_says_whether_the_file_is_what_the_facts_give(
    facts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "registry.json"
    words = ["--facts", str(facts), "--out", str(out)]

    assert main([*words, "--check"]) == 1
    assert not out.exists()  # checking writes nothing
    main(words)
    assert main([*words, "--check"]) == 0
    out.write_text(out.read_text().replace("138357544", "138357545"))
    assert main([*words, "--check"]) == 1
    assert "is not what the facts give" in capsys.readouterr().out


def test_counts_tell_hashes_and_dead_addresses(facts: Path) -> None:
    lines = counted(compiled_entries(facts, [])).splitlines()
    counts = {line.split()[0]: [int(word) for word in line.split()[1:]] for line in lines[1:]}

    # Entries, files; hashed by the publisher, by others, by nobody; without an address, with a dead one.
    assert counts["keras"] == [1, 2, 1, 0, 1, 0, 0]
    assert counts["slim"][-1] == 1
    assert counts["all"] == [5, 7, 2, 0, 5, 1, 1]


def test_missing_facts_are_named(facts: Path) -> None:
    (facts / "slim.json").unlink()

    with pytest.raises(NotFoundError, match=r"slim\.json"):
        compiled_entries(facts, [])


def test_names_that_differ_in_case_only_are_refused(facts: Path) -> None:
    write(facts / "onnx_hub.json", onnx_model("Net-1"), onnx_model("net-1"))

    with pytest.raises(IntegrityError, match="onnx/net-1"):
        compiled_entries(facts, [])


def test_the_text_leaves_out_defaults_but_not_what_people_ask_for() -> None:
    record = json.loads(registry_text([entry()]))["models"]["a"]

    assert record["files"] == [
        {
            "role": "model",
            "name": "a.onnx",
            "urls": ["https://a/a.onnx"],
            "hash": None,
            "hash_from": None,
            "bytes": None,
        }
    ]
    assert record["input"] == {"size": [None, 8, 3], "color": None, "scale": None, "mean": [1.0]}
    assert record["output"] == {"classes": 10, "logits": None}


def test_the_text_says_how_pictures_are_resized_only_where_somebody_did() -> None:
    stated = dataclasses.replace(entry(), input=InputSpec((8, 8, 3), resize="bilinear", fit="stretch"))
    silent = dataclasses.replace(entry(), input=InputSpec((8, 8, 3)))

    assert json.loads(registry_text([stated]))["models"]["a"]["input"] == {
        "size": [8, 8, 3],
        "resize": "bilinear",
        "fit": "stretch",
    }
    assert json.loads(registry_text([silent]))["models"]["a"]["input"] == {"size": [8, 8, 3]}


def test_the_text_says_null_where_people_ask() -> None:
    record = json.loads(registry_text([entry()]))["models"]["a"]

    assert (record["params"], record["units"], record["license"]) == (None, None, None)


def test_the_text_is_readable() -> None:
    text = registry_text([entry()])

    assert '\n      "input": {"size": [null, 8, 3], "color": null, "scale": null, "mean": [1.0]},\n' in text
    assert '\n          "urls": ["https://a/a.onnx"],\n' in text
    assert text.endswith("}\n")
    assert all(len(line) <= 120 for line in text.splitlines())


def test_an_entry_that_breaks_the_schema_is_not_written() -> None:
    broken = Entry("a", "local", None, "t", "s", (FileSpec("model", "../a"),), None, OutputSpec(), {})

    with pytest.raises(IntegrityError, match=r"\.\."):
        registry_text([broken])


def test_every_source_of_the_registry_has_facts() -> None:
    found = {entry.source for entry in read_registry(shipped_registry()).values()}

    assert len(found - {"embedded"}) == len(SOURCES)
