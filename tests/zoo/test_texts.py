"""A model of texts that no layers can be made of, reused from end to end: from a table to a run that predicts."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_up_reports import report
from text_modules import reviews, text_module

import zoo
from zoo.errors import CutError, DataError, NotFoundError, UsageError
from zoo.loading import load_model, opaque_model
from zoo.runs.report import render_report
from zoo.runs.shown import shown_examples

HOSTILE = "<script>alert('x')</script> & a \u202e good film"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A run of a hub-style module of texts on a table of two classes; the module's own folder is gone afterwards."""
    folder = tmp_path_factory.mktemp("texts")
    more = [[HOSTILE + mark, "neg"] for mark in ("", "!", "?")]
    table = reviews(folder / "reviews.csv", 240, more=more)
    module = text_module(folder / "module")
    model = opaque_model(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(folder / "home"))
        run = zoo.transfer(model, table, reuse=1, freeze=1, epochs=40, lr=0.02, out=folder / "run")
        again = zoo.transfer(opaque_model(module), table, epochs=2, out=folder / "again")
    module.rename(folder / "gone")
    yield {"run": run, "again": again, "table": table, "module": folder / "gone", "folder": folder}


def test_it_learns(made: dict[str, Any]) -> None:
    run = made["run"]
    metrics = run.record["metrics"]
    assert run.accuracy > 0.85 > metrics["baselines"]["majority"] + 0.2
    assert metrics["baselines"]["nearest_neighbor"] > 0.5
    assert (run.record["reuse"], run.record["freeze"], len(run.record["units"])) == (1, 1, 1)
    assert run.record["parameters"]["frozen"] == 256 * 16
    assert run.record["parity"]["largest_difference"] < 1e-5
    assert run.record["input"] == {"shape": [], "decoded": "text", "decoding": {}, "preprocessing": None}


def test_each_text_goes_through_once_ever(made: dict[str, Any]) -> None:
    first, again = (made[name].record["features"] for name in ("run", "again"))
    assert (first["hits"] + first["misses"], again["misses"]) == (243, 0)
    assert again["hits"] == 243
    assert again["key"] == first["key"]


def probabilities(run: Any, texts: list[str]) -> Any:
    """Returns what the file of a run's model says, computed by plain Keras."""
    return np.asarray(keras.models.load_model(run.path / "model.keras")(tf.constant(texts)))


TEXTS = ["a lovely and moving film", "dull awful flat", "", 'naïve ☃\nwith "quotes"']


def test_predictions_of_texts_are_those_of_plain_keras(made: dict[str, Any]) -> None:
    run = zoo.open_run(made["run"].path)
    found = run.predict(TEXTS, top_k=2)

    np.testing.assert_allclose([each.probabilities for each in found], probabilities(run, TEXTS), atol=1e-6)
    assert [each.file for each in found] == ["0", "1", "2", "3"]
    assert [each.label for each in found[:2]] == ["pos", "neg"]
    assert [name for name, _ in found[0].top] == ["pos", "neg"]
    for same in (TEXTS[0], TEXTS[0].encode(), np.array(TEXTS[:1])):
        assert run.predict(same)[0].probabilities == pytest.approx(found[0].probabilities)


def test_predictions_of_files(made: dict[str, Any], tmp_path: Path) -> None:
    run = zoo.open_run(made["run"].path)
    lines = tmp_path / "some.txt"
    lines.write_text(f"{TEXTS[0]}\n\n{TEXTS[1]}\n")
    column = tmp_path / "some.csv"
    with column.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], ["1", TEXTS[3]], ["2", TEXTS[2]]])

    found = run.predict([lines, column])
    assert [each.file for each in found] == [f"{lines}:1", f"{lines}:3", f"{column}:2", f"{column}:4"]
    expected = probabilities(run, [TEXTS[0], TEXTS[1], TEXTS[3], TEXTS[2]])
    np.testing.assert_allclose([each.probabilities for each in found], expected, atol=1e-6)

    with pytest.raises(NotFoundError, match="No file"):
        run.predict(tmp_path / "none.txt")
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"takes texts; expected a file that ends with \.txt"):
        run.predict(tmp_path / "a.png")
    with pytest.raises(DataError, match="not UTF-8"):
        run.predict(b"\xff")
    with pytest.raises(DataError, match="half a surrogate pair"):
        run.predict("\ud800")


def test_a_process_that_knows_nothing_predicts_lines_as_they_come(made: dict[str, Any]) -> None:
    run = made["run"]
    command = [sys.executable, "-m", "zoo.cli.main", "predict", str(run.path), "-", "--json"]
    environment = {**os.environ, "ZOO_HOME": str(made["folder"] / "other-home")}
    lines = f"{TEXTS[0]}\n\n{TEXTS[1]}\r\nnaïve ☃".encode()
    done = subprocess.run(command, input=lines, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)

    assert [each["file"] for each in found] == ["-:1", "-:3", "-:4"]
    expected = probabilities(run, [TEXTS[0], TEXTS[1], "naïve ☃"])
    assert [each["label"] for each in found] == [run.classes[at] for at in expected.argmax(axis=1)]
    np.testing.assert_allclose([each["probability"] for each in found], expected.max(axis=1), atol=1e-6)


def test_evaluation_knows_what_was_trained_on(made: dict[str, Any], tmp_path: Path) -> None:
    run = made["run"]
    same = zoo.evaluate(run, made["table"], part="test")
    assert same.accuracy == pytest.approx(run.accuracy)
    assert "trained on" not in " ".join(same.warnings)
    assert "trained on" in " ".join(zoo.evaluate(run, made["table"]).warnings)
    fresh = zoo.evaluate(run, reviews(tmp_path / "fresh.csv", 60, seed=5))
    assert fresh.accuracy > 0.8
    with pytest.raises(DataError, match="wants texts; these are pictures or rows"):
        zoo.evaluate(run, (np.zeros((4, 8, 8, 1), np.uint8), ["pos", "neg", "pos", "neg"]))


def test_pages_show_texts_as_texts(made: dict[str, Any]) -> None:
    run = made["run"]
    page, card = run.report.read_text("utf-8"), (run.path / "README.md").read_text("utf-8")
    assert "<script>" not in page
    assert "test\N{NO-BREAK SPACE}texts" in page or "test texts" in page
    assert "zoo predict RUN texts.txt" in page
    assert "photo.jpg" not in page + card
    assert 'predict(["a text", "another"])' in card
    rows = list(csv.DictReader((run.path / "test_predictions.csv").read_text("utf-8").splitlines()))
    assert all(row["file"].startswith("reviews.csv:") for row in rows)


def test_mistakes_are_shown_with_their_texts_escaped() -> None:
    texts = np.array([HOSTILE, "b", "", "two\nlines"], object)
    outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.51, 0.49], [0.4, 0.6]], np.float32)
    bad, unsure = shown_examples(
        outputs, np.array([1, 0, 0, 1]), ("neg", "pos"), "classification", lambda number: np.asarray(texts[number])
    )
    assert [each.text for each in bad] == [HOSTILE, "b"]
    assert [each.text for each in unsure] == ["", "two lines"]
    assert all(each.picture is None for each in (*bad, *unsure))

    plain = report(["neg", "pos"], input={"shape": [], "decoded": "text", "preprocessing": None})
    page = render_report(replace(plain, mistakes=bad, uncertain=unsure))
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; a \\u202e good film" in page
    assert "(empty)" in page
    assert "two lines" in page


def test_a_run_of_texts_is_saved_in_other_formats(made: dict[str, Any], tmp_path: Path) -> None:
    run = zoo.open_run(made["run"].path)
    assert run.export(tmp_path / "m.keras").examples == 4
    found = load_model(tmp_path / "m.keras")(tf.constant(TEXTS))
    np.testing.assert_allclose(found, probabilities(run, TEXTS), atol=1e-6)
    assert run.export(tmp_path / "saved").examples == 4
    with pytest.raises(UsageError, match="takes strings"):
        run.export(tmp_path / "m.onnx")


def test_features_alone(made: dict[str, Any], home: Path) -> None:
    features = zoo.extract_features(opaque_model(made["module"]), made["table"], freeze=1)
    assert features.shape == (243, 16)
    texts = zoo.open_data(made["table"]).read(np.array([3]))
    np.testing.assert_allclose(features[3:4], opaque_model(made["module"])(tf.constant(list(texts))), rtol=1e-6)


def test_what_cannot_be_is_refused_before_anything_is_computed(made: dict[str, Any], tmp_path: Path) -> None:
    model = opaque_model(made["module"])
    for options, error, cause in (
        ({"views": 2}, UsageError, "Expected no --views: they are versions of pictures"),
        ({"compare_scratch": True}, CutError, "leave --compare-scratch out"),
        ({"unfreeze": 1}, CutError, "freeze it, as in --freeze 1"),
        ({"freeze": 0}, CutError, "freeze it, as in --freeze 1"),
        ({"reuse": 0}, CutError, "takes texts, which no new head can read"),
    ):
        with pytest.raises(error, match=cause):
            zoo.transfer(model, made["table"], **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="wants texts; these are pictures or rows"):
        zoo.transfer(model, "digits")
    with pytest.raises(DataError, match="these are texts"):
        zoo.transfer("letters-cnn", made["table"])
    assert not Path("runs").exists()


def test_the_plan_of_a_transfer(made: dict[str, Any]) -> None:
    plan = zoo.plan(opaque_model(made["module"]), made["table"])
    assert (plan.units, plan.reuse, plan.freeze, plan.feature_shape, plan.cached) == (1, 1, 1, (16,), 0)


@pytest.mark.slow
def test_several_labels_and_values_of_texts(made: dict[str, Any], tmp_path: Path) -> None:
    rows = list(csv.reader(made["table"].read_text("utf-8").splitlines()))[1:81]
    model = opaque_model(made["module"])
    tasks: dict[Any, str] = {"multilabel": "{0}|{1}", "regression": "{2}"}
    for task, label in tasks.items():
        table = tmp_path / f"{task}.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(["text", "label"])
            for text, name in rows:
                length = "long" if len(text) > 40 else "short"
                csv.writer(file).writerow([text, label.format(name, length, len(text))])
        run = zoo.transfer(model, zoo.open_data(table, task=task), epochs=2, out=tmp_path / task)
        assert run.task == task
        assert len(run.predict(["a text", "another"])) == 2
