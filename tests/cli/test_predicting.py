"""`zoo predict`: what goes in, and what comes out where; `zoo export` and `zoo add` of a run."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from small_runs import save_digit, small_run
from zoo.cli.main import cli


def run(*words: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, words, input=given)


@pytest.fixture
def pictures() -> list[str]:
    return [str(save_digit(Path(f"p/{number}.png"), number, size)) for number, size in enumerate([(8, 8), (9, 11)])]


def test_json_is_one_list(pictures: list[str]) -> None:
    made = small_run()
    result = run("predict", str(made.path), "p", "--json")
    rows = json.loads(result.stdout)

    assert result.exit_code == 0, result.stderr
    assert [set(row) for row in rows] == [{"file", "label", "probability"}] * 2
    assert [row["file"] for row in rows] == pictures
    assert [row["label"] for row in rows] == [each.label for each in made.predict("p")]
    (first, _) = json.loads(run("predict", str(made.path), "p", "--json", "--top-k", "3").stdout)
    assert first["top"][0] == {"label": first["label"], "probability": first["probability"]}
    assert len(first["top"]) == 3


def test_text_and_csv(pictures: list[str]) -> None:
    made = small_run()
    text = run("predict", str(made.path), *pictures, "--top-k", "2").stdout.splitlines()
    rows = list(csv.DictReader(run("predict", str(made.path), *pictures, "--top-k", "2", "--csv").stdout.splitlines()))

    assert text[0].split() == ["label", "probability", "file"]
    assert [line.split()[-1] for line in text[1::2]] == pictures
    assert list(rows[0]) == ["file", "label", "probability", "label_2", "probability_2"]
    assert [row["file"] for row in rows] == pictures
    assert text[1].split()[:2] == [rows[0]["label"], f"{float(rows[0]['probability']):.4f}"]
    assert text[2].split() == [rows[0]["label_2"], f"{float(rows[0]['probability_2']):.4f}"]


def test_paths_on_standard_input(pictures: list[str]) -> None:
    path = str(small_run().path)
    odd = save_digit(Path(os.fsdecode(b"p/new\nline \xff.png")), 2)
    lines = "\r\n".join([*pictures, "", "nowhere.png"]).encode()
    by_line = run("predict", path, "-", "--json", given=lines)
    by_null = run("predict", path, "-", "-0", "--json", given=b"\0".join(map(os.fsencode, [odd, *pictures])) + b"\0")

    assert [row["file"] for row in json.loads(by_line.stdout)] == pictures
    assert "Passed over: No file nowhere.png" in by_line.stderr
    assert by_line.exit_code == 0
    assert len(json.loads(by_null.stdout)) == 3
    assert json.loads(run("predict", path, "-", "--json", given=b"").stdout) == []


def test_a_picture_on_standard_input(pictures: list[str]) -> None:
    path = str(small_run().path)
    (one,) = json.loads(run("predict", path, "-", "--json", given=Path(pictures[1]).read_bytes()).stdout)
    (other,) = json.loads(run("predict", path, pictures[1], "--json").stdout)

    assert one["file"] == "-"
    assert one["label"] == other["label"]
    assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)


def test_bad_files_are_told_and_only_where_all_are_bad_is_it_an_error(pictures: list[str]) -> None:
    path = str(small_run().path)
    for number in range(2):
        Path(f"bad{number}.png").write_bytes(b"no picture")
    some = run("predict", path, "bad0.png", *pictures, "--csv")
    none = run("predict", path, "bad0.png", "bad1.png", "--json")
    gone = run("predict", path, "gone.png")

    assert some.exit_code == 0
    assert len(some.stdout.splitlines()) == 3
    assert "Passed over: bad0.png is no picture" in some.stderr
    assert (none.exit_code, none.stdout) == (8, "")
    assert (gone.exit_code, gone.stdout) == (3, "")
    both = run("predict", path, *pictures, "--csv", "--json")
    assert (both.exit_code, both.stdout) == (2, "")


def test_rows_with_values_and_with_several_labels() -> None:
    np.save("rows.npy", np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32))
    values, labels = str(small_run("regression").path), str(small_run("multilabel").path)
    (first, *_) = json.loads(run("predict", values, "rows.npy", "--json").stdout)
    assert first["probability"] is None
    assert first["label"] == f"{first['values']['value']:.7g}"
    assert run("predict", values, "rows.npy", "--csv").stdout.splitlines()[0] == "file,value"
    assert run("predict", values, "rows.npy").stdout.splitlines()[1].split() == [first["label"], "rows.npy:0"]

    rows = json.loads(run("predict", labels, "rows.npy", "--threshold", "0", "--json").stdout)
    assert rows[0]["label"] == "0|1|2"
    assert [each["label"] for each in rows[0]["labels"]] == ["0", "1", "2"]
    assert "(none)" in run("predict", labels, "rows.npy", "--threshold", "0.999").stdout
    lines = run("predict", labels, "rows.npy", "--threshold", "0.999", "--csv", "--top-k", "9").stdout.splitlines()
    (header, cells), top = (line.split(",") for line in lines[:2]), range(1, 4)  # 3 labels, so no more than 3
    assert header == [
        "file",
        "label",
        "probability",
        *(f"{each}_{k}" for k in top for each in ("label", "probability")),
    ]
    assert (len(cells), cells[1], sorted(cells[3::2])) == (len(header), "", ["0", "1", "2"])


def test_export_says_on_what_it_was_compared_and_where_labels_are() -> None:
    result = run("export", str(small_run().path), "out.keras")
    assert result.exit_code == 0, result.stderr
    assert "out.keras.labels.txt" in result.stdout
    assert "on 4 test examples" in result.stdout.splitlines()[-1]


def test_add_of_a_run() -> None:
    result = run("add", str(small_run().path), "--name", "mine")
    assert result.exit_code == 0, result.stderr
    assert "zoo transfer mine" in result.stdout
    assert "digits" in run("show", "mine").stdout
