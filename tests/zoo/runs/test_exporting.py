"""Runs in other formats: the same numbers, the names of the classes, and what a kill leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from small_runs import digit, save_digit, small_run

import zoo
from zoo.errors import IntegrityError
from zoo.exporting import export_model
from zoo.formats import FORMATS, WAYS, Labels

pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")


def outputs(path: Path, x: Any) -> Any:
    """Returns what the format's own runtime makes of decoded pictures."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path)
        return session.run(None, {session.get_inputs()[0].name: x})[0]
    if path.suffix == ".keras":
        return np.asarray(keras.models.load_model(path)(x))
    if path.suffix == ".tflite":
        return tf.lite.Interpreter(model_path=str(path)).get_signature_runner()(examples=x)["output_0"]
    loaded = tf.saved_model.load(str(path))
    return loaded.serve(x).numpy()


def labels_inside(path: Path) -> list[str]:
    if path.suffix == ".onnx":
        told = {each.key: each.value for each in onnx.load(path).metadata_props}
        assert told["task"] == "classification"
        return list(json.loads(told["labels"]))
    if path.suffix == ".tflite":
        return zipfile.ZipFile(path).read("labels.txt").decode().splitlines()
    return (path / "assets.extra/labels.txt").read_text().splitlines()


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_run_takes_its_labels_along_and_says_the_same_of_a_picture(suffix: str) -> None:
    run, path = small_run(), Path(f"out{suffix}")
    exported = zoo.export(run, path)
    file = save_digit(Path("seven.png"), 7, (12, 10))
    (told,) = run.predict(file)

    assert (exported.examples, exported.labels) == (4, Path(f"{path}.labels.txt"))
    assert exported.difference is not None
    assert exported.difference < 1e-5
    assert Path(f"{path}.labels.txt").read_text().splitlines() == list(run.classes)
    if suffix != ".keras":
        assert labels_inside(path) == list(run.classes)
    found = outputs(path, digit(7, (12, 10))[None, ..., None].astype(np.float32))
    np.testing.assert_allclose(found[0], told.probabilities, atol=1e-5)
    assert sorted(each.name for each in Path().iterdir()) == sorted([path.name, f"{path.name}.labels.txt", file.name])


FRESH = """
import sys
sys.modules["zoo"] = None
import json, onnxruntime, numpy
from PIL import Image
session = onnxruntime.InferenceSession(sys.argv[1])
names = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
x = numpy.asarray(Image.open(sys.argv[2]).convert("L"), numpy.float32)[None, ..., None]
found = session.run(None, {session.get_inputs()[0].name: x})[0][0]
assert not [each for each in sys.modules if each.split(".")[0] in ("keras", "tensorflow")]
print(json.dumps([names[found.argmax()], found.tolist()]))
"""


def test_a_fresh_process_without_our_package_predicts_from_the_onnx_file() -> None:
    run = small_run()
    run.export("out.onnx")
    file = save_digit(Path("three.png"), 3)
    child = subprocess.run(
        [sys.executable, "-I", "-c", FRESH, "out.onnx", str(file)], capture_output=True, text=True, check=True
    )
    label, found = json.loads(child.stdout)
    (told,) = run.predict(file)

    assert label == told.label
    np.testing.assert_allclose(found, told.probabilities, atol=1e-5)


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_examples_of_several_sizes_are_each_compared(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    write, run = WAYS[suffix]

    def watched(path: Path, model: keras.Model, examples: Any) -> Any:
        shapes.extend(each.shape for each in examples.values())
        return run(path, model, examples)

    monkeypatch.setitem(WAYS, suffix, (write, watched))
    pictures = [digit(number, size)[..., None] for number, size in enumerate([(8, 8), (20, 9)])]
    exported = export_model(small_run().load(), f"out{suffix}", examples=pictures)

    assert shapes == [(1, 8, 8, 1), (1, 20, 9, 1)]
    assert exported.examples == 2
    assert exported.labels is None


def test_a_run_without_examples_is_compared_on_random_input() -> None:
    run = small_run()
    del run.record["files"]["samples.npz"]
    exported = run.export("out.keras")

    assert (exported.examples, exported.difference, exported.error) == (0, None, 0)


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_runs_of_rows(task: str) -> None:
    run = small_run(task)
    assert run.export("out.onnx").error < 1e-5
    x = np.zeros((1, 4), np.float32)
    (told,) = run.predict(x)
    np.testing.assert_allclose(outputs(Path("out.onnx"), x)[0], told.values or told.probabilities, rtol=1e-5)
    props = {each.key: each.value for each in onnx.load("out.onnx").metadata_props}
    assert (json.loads(props["labels"]), props["task"]) == (list(run.classes), task)


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_what_differs_on_real_examples_leaves_nothing(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write, _ = WAYS[suffix]
    monkeypatch.setitem(WAYS, suffix, (write, lambda *_: [np.full((4, 10), 0.1, np.float32)]))
    with pytest.raises(IntegrityError, match=rf"Nothing was written to out\{suffix}"):
        small_run().export(f"out{suffix}")
    assert list(Path().iterdir()) == []


def test_labels_of_several_lines_stay_one_line_each() -> None:
    assert Labels(("a\nb", "c\u2028d", "é")).text.decode() == "a b\nc d\né\n"


KILLED = """
import os, signal, sys, time
import zoo, zoo.exporting
compared = zoo.exporting._compared
def stop(*arguments):
    found = compared(*arguments)
    print("written", flush=True)
    time.sleep(60)
zoo.exporting._compared = stop
zoo.open_run(sys.argv[1]).export("out.onnx", replace=True)
"""


def test_k10_a_killed_export_of_a_run_leaves_the_earlier_one_with_its_labels() -> None:
    run = small_run()
    run.export("out.onnx")
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(run.path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "written\n"
        child.send_signal(signal.SIGKILL)
    assert {path.name: path.read_bytes() for path in Path().glob("[!.]*")} == before
    assert [path for path in Path().glob(".*.tmp") if list(path.rglob("*.onnx"))]

    assert run.export("out.onnx", replace=True).difference is not None
