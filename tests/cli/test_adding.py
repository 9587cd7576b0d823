"""`zoo add`, and what the other commands say of models that were added."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner, Result
from onnx_nets import picture_net as onnx_net
from onnx_nets import quantized_net
from zoo.cli.main import cli

import zoo
from zoo.registry import InputSpec
from zoo.registry.index import own_entries
from zoo.store.layout import layout
from zoo.store.registering import put_entry

ZOO = str(Path(sys.executable).with_name("zoo"))
PATIENCE = 120.0  # seconds for TensorFlow to start on a busy machine


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def pairs(text: str) -> dict[str, str]:
    """Returns what `show_pairs` has printed, by name."""
    return dict(line.split(maxsplit=1) for line in text.splitlines() if len(line.split(maxsplit=1)) == 2)


@pytest.fixture
def net() -> Path:
    keras.utils.set_random_seed(3)
    image = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="c1")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(image, keras.layers.Dense(5, activation="softmax")(x), name="net").save("net.keras")
    return Path("net.keras")


def test_what_was_kept_is_shown_with_the_next_command(net: Path) -> None:
    result = run("add", "net.keras", "--preprocess", "unit")
    shown = pairs(result.stdout)

    assert result.exit_code == 0, result.stderr
    assert (shown["name"], shown["units"], shown["can"]) == ("net", "2", "be loaded")
    assert shown["sha256"] == zoo.locate("net")[0].digest
    assert shown["preprocessing"] == "x * 0.00392157"
    assert shown["next"] == "zoo transfer net --data digits"
    assert run(*shown["next"].split()[1:], "--plan").exit_code == 0


def next_of(model: keras.Model, *words: str) -> str:
    """Returns the next command after a model was added."""
    model.save("other.keras")
    return pairs(run("add", "other.keras", "--name", "other", "--replace", *words).stdout)["next"]


def test_the_next_command_is_one_that_works(net: Path) -> None:
    layers = keras.layers
    rows = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    any_size = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 9), layers.GlobalMaxPooling2D()])
    broken = keras.models.load_model(net)
    broken.get_layer("c1").set_weights(
        [np.full_like(weight, np.nan) for weight in broken.get_layer("c1").get_weights()]
    )

    np.savez("YOURS.npz", x=np.random.default_rng(0).random((20, 4)), y=np.arange(20) % 2)
    words, _, _ = next_of(rows).partition(",")
    assert run(*words.split()[1:], "--plan").exit_code == 0
    assert next_of(any_size, "--preprocess", "unit").startswith("zoo.transfer('other', (x, y)) in Python")
    assert "transfer" not in next_of(broken, "--preprocess", "unit")
    assert next_of(any_size, "--input", "?x?x3", "--summary", "a net") == (
        "zoo add other.keras --name other --input '?x?x3' --summary 'a net' --replace --preprocess HOW"
    )


def test_an_onnx_file_is_a_model_like_any_other() -> None:
    data = onnx_net(channels=1, size=8).SerializeToString()
    Path("net.onnx").write_bytes(data)
    added = run("add", "net.onnx", "--name", "mine", "--preprocess", "unit")
    shown = pairs(added.stdout)

    assert added.exit_code == 0, added.stderr
    assert (shown["format"], shown["units"], shown["can"]) == ("ONNX", "3", "be loaded")
    assert shown["next"] == "zoo transfer mine --data digits"
    assert run(*shown["next"].split()[1:], "--plan").exit_code == 0
    assert " load " in run("list", "--source", "local").stdout.splitlines()[1]
    assert "be transferred: zoo transfer mine" in run("show", "mine").stdout
    units = json.loads(run("layers", "mine", "--json").stdout)
    assert [unit["layers"] for unit in units] == [["c1", "n1", "r1"], ["c2", "r2", "pooled", "flat"], ["scores", "y"]]
    assert run("verify", "mine", "--deep").exit_code == 0
    exported = run("export", "mine", "again.onnx")
    assert exported.exit_code == 0, exported.stderr
    assert run("convert", "again.onnx", "again.keras").exit_code == 0
    x = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    assert np.abs(zoo.load_model("again.keras")(x) - zoo.load_model("mine")(x)).max() < 1e-5


def test_a08_an_onnx_file_that_zoo_does_not_load_is_not_kept() -> None:
    Path("net.onnx").write_bytes(quantized_net().SerializeToString())
    result = run("add", "net.onnx")

    assert result.exit_code == 4
    assert "quantized to 8 bits" in result.stderr
    assert own_entries() == {}


def test_layers_of_an_onnx_model_that_is_not_here_downloads_nothing(home: Path) -> None:
    """Where Keras builds the same net, that is shown; else the file is needed."""
    named = run("layers", "onnx/vgg16-7", "--json")
    unknown = run("layers", "onnx/mobilenetv2-7")

    assert (len(json.loads(named.stdout)), unknown.exit_code) == (16, 3)
    assert "layers of VGG16 in keras.applications" in named.stderr
    assert "zoo pull onnx/mobilenetv2-7" in unknown.stderr
    assert not (home / "blobs").exists()


def test_show_and_list_tell_what_can_be_done_with_the_onnx_zoo() -> None:
    rows = {line.split()[0]: line for line in run("list", "onnx/mobilenetv2*").stdout.splitlines()[1:]}

    assert " load " in rows["onnx/mobilenetv2-7"]
    assert " pull " in rows["onnx/mobilenetv2-12-int8"]
    assert "be transferred: zoo transfer onnx/mobilenetv2-7" in run("show", "onnx/mobilenetv2-7").stdout
    assert "its preprocessing is not published" in run("show", "onnx/bvlcalexnet-9").stdout


def test_one_json_document_with_the_notes(net: Path) -> None:
    result = run("add", "net.keras", "--json")
    row = json.loads(result.stdout)

    assert (row["name"], row["source"], row["can"], row["format"]) == ("net", "local", ["load"], "Keras 3 archive")
    assert row["input"]["scale"] is None
    assert "--preprocess" in row["notes"][0]
    assert row["notes"][0] in result.stderr


def test_numbers_instead_of_a_name(net: Path) -> None:
    words = ["--color", "bgr", "--scale", "1/255", "--mean", "0.1,0.2,0.3", "--std", "0.5", "--input", "12x12x3"]
    assert run("add", "net.keras", *words).exit_code == 0

    assert zoo.find_entry("net").input == InputSpec(
        (12, 12, 3), color="BGR", scale=1 / 255, mean=(0.1, 0.2, 0.3), std=(0.5,)
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--input", "12x12"], "takes 12x12x3"),
        (["--input", "12X12x3"], "such as 224x224x3"),
        (["--input", "12x0x3"], "such as 224x224x3"),
        (["--input", "-12x12x3"], "such as 224x224x3"),
        (["--input", "12x12x3x"], "such as 224x224x3"),
        (["--input", "٣x12x3"], "such as 224x224x3"),
        (["--input", "99999999999x12x3"], "such as 224x224x3"),
        (["--scale", "1/0", "--color", "RGB"], "such as 0.5, 1/255"),
        (["--scale", "nan", "--color", "RGB"], "such as 0.5, 1/255"),
        (["--scale", "1,2", "--color", "RGB"], "one number"),
        (["--scale", "0", "--color", "RGB"], "other than 0"),
        (["--scale", "1"], "give color too"),
        (["--color", "RGB"], "color alone does not say how pictures become numbers: give scale too"),
        (["--color", "gray", "--scale", "1"], "3 channels"),
        (["--color", "red", "--scale", "1"], "one of RGB, BGR, gray"),
        (["--color", "RGB", "--scale", "1", "--mean", "1,2"], "1 or 3 values of mean"),
        (["--preprocess", "unit", "--scale", "1"], "preprocess or numbers"),
        (["--preprocess", "unitt"], "one of none, unit, tf, torch, caffe"),
        (["--preprocess", "unti"], "Did you mean unit?"),
        (["--preprocess", "wombat"], "No model named 'wombat'"),
        (["--logits"], "ends in softmax"),
        (["--name", ""], "it is empty"),
        (["--preprocess", "tfhub/google/nnlm-en-dim50/2"], "is not known in numbers"),
        (["--name", "a b"], "cannot be a model's name"),
        (["--name", "vgg16"], "--name vgg16-2"),
        (["--arch", "vgg16"], "do without it"),
    ],
)
def test_what_cannot_be_right_is_refused(words: list[str], told: str, net: Path, home: Path) -> None:
    result = run("add", "net.keras", *words)

    assert result.exit_code == 2, result.stderr
    assert told in result.stderr
    assert own_entries() == {}


def test_x17_a_name_that_steers_a_terminal_is_shown_without_its_powers(net: Path) -> None:
    evil = "a\x1b[2J\u202eb\nc.keras"
    net.rename(evil)
    result = run("add", evil, "--name", "net", "--summary", "S\x1b[31m\nsecond line")
    shown = [result.stdout, result.stderr, run("show", "net").stdout, run("list", "--source", "local").stdout,
             run("where", "net").stdout, run("where").stdout]  # fmt: skip

    assert result.exit_code == 0, result.stderr
    assert not any("\x1b" in text or "\u202e" in text for text in shown)
    assert len(run("list", "--source", "local").stdout.splitlines()) == 2


def test_list_and_show_of_models_of_ones_own(net: Path) -> None:
    np.savez("numbers.npz", x=np.zeros(3))
    run("add", "net.keras", "--preprocess", "tf")
    run("add", "numbers.npz")
    rows = {line.split()[0]: line for line in run("list", "--source", "local").stdout.splitlines()[1:]}

    assert sorted(rows) == ["net", "numbers"]
    assert " load " in rows["net"]
    assert " keep " in rows["numbers"]
    assert len(run("list", "--pulled").stdout.splitlines()) == 3
    shown = run("show", "net").stdout
    assert "be transferred: zoo transfer net" in shown
    assert "of what was added" in shown
    assert "output 1x5 for 1x12x12x3 random numbers" in shown
    assert pairs(shown)["here"] == "yes: zoo where net"
    assert "be kept" in run("show", "numbers").stdout
    result = run("transfer", "numbers")
    assert result.exit_code == 2
    assert "is kept" in result.stderr


def test_show_names_the_layers_that_weights_lack(net: Path) -> None:
    entry = zoo.add(net, preprocess="none").entry
    put_entry(layout(), dataclasses.replace(entry, lacks=("c1", "c2")))

    assert "c1, c2" in run("show", "net").stdout
    assert json.loads(run("show", "net", "--json").stdout)["lacks"] == ["c1", "c2"]


@pytest.mark.slow
def test_the_classifier_of_headless_weights_is_not_shown_as_if_it_were_there() -> None:
    path = Path("mine.weights.h5")
    keras.applications.MobileNet(weights=None, input_shape=(32, 32, 3), include_top=False).save_weights(path)
    zoo.add(path, arch="mobilenet", input_size=(32, 32, 3), preprocess="tf")
    units = json.loads(run("layers", "mine", "--json").stdout)

    assert "headless" in pairs(run("show", "mine").stdout)["lacks"]
    assert [unit["index"] for unit in units if "weights not in the file" in unit["reason"]] == [len(units)]


@keras.saving.register_keras_serializable(package="tests_cli_adding")
class Doubled(keras.layers.Layer):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return 2 * x


@pytest.mark.slow
def test_deep_does_not_call_a_model_broken_whose_class_it_does_not_know() -> None:
    keras.Sequential([keras.Input((4,)), Doubled(), keras.layers.Dense(2)]).save("own.keras")
    zoo.add("own.keras")
    done = subprocess.run([ZOO, "verify", "own", "--deep"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "cannot be loaded here" in done.stdout
    assert "1 model; 0 as recorded" in done.stdout
    assert "Doubled" in done.stderr


def test_a_file_where_a_name_is_expected(net: Path) -> None:
    for words in (["transfer", "net.keras"], ["show", "./net.keras"]):
        result = run(*words)
        assert result.exit_code == 3
        assert f"zoo add {words[1]}" in result.stderr


def test_a_damaged_file_of_ones_own_is_saved_again(net: Path) -> None:
    net.write_bytes(net.read_bytes()[:-40])
    result = run("add", "net.keras")

    assert result.exit_code == 4
    assert "Save it again" in result.stderr
    assert "publisher" not in result.stderr


def test_rm_of_a_model_of_ones_own_with_dry_run(net: Path) -> None:
    zoo.add(net, preprocess="none")
    dry = run("rm", "net", "--dry-run")
    assert "entry of net" in dry.stdout
    assert "would be freed" in dry.stdout
    assert zoo.pulled_names() == {"net"}

    assert run("rm", "net").exit_code == 0
    assert run("show", "net").exit_code == 3


def test_pull_of_a_model_of_ones_own_says_that_it_is_here(net: Path) -> None:
    zoo.add(net, preprocess="none")
    result = run("pull", "net", "--offline")

    assert result.exit_code == 0
    assert "net is here already" in result.stderr


# --- verify --deep ---


def test_deep_shows_what_was_compared(net: Path) -> None:
    zoo.add(net, preprocess="none")
    np.savez("numbers.npz", x=np.zeros(3))
    zoo.add("numbers.npz")
    result = run("verify", "--deep")
    document = json.loads(run("verify", "--deep", "--json").stdout)

    assert result.exit_code == 0, result.stderr
    assert "2 files, all whole" in result.stdout
    assert "3 models; 2 as recorded" in result.stdout
    assert "this version cannot load it" in result.stdout
    assert [row["name"] for row in document["files"]] == ["net.keras", "numbers.npz"]
    assert {row["model"]: row["state"] for row in document["models"]} == {
        "letters-cnn": "as recorded", "net": "as recorded", "numbers": "not loadable",
    }  # fmt: skip


def test_a12_deep_ends_with_4_where_an_output_differs(net: Path) -> None:
    entry = zoo.add(net, preprocess="none").entry
    assert entry.recorded is not None
    output = dataclasses.replace(entry.recorded.output, mean=entry.recorded.output.mean + 1)
    recorded = dataclasses.replace(entry.recorded, output=output)
    put_entry(layout(), dataclasses.replace(entry, recorded=recorded))
    result = run("verify", "--deep", "net")
    rows = json.loads(run("verify", "--deep", "net", "--json").stdout)["models"]

    assert result.exit_code == 4
    assert "differs" in result.stdout
    assert "Not as it was recorded: 1 of 1 models" in result.stderr
    assert rows[0]["state"] == "differs"
    assert run("verify", "net").exit_code == 0


def test_a12_deep_leaves_damaged_files_to_the_first_check(net: Path, home: Path) -> None:
    zoo.add(net, preprocess="none")
    (blob,) = (home / "blobs" / "sha256").iterdir()
    blob.write_bytes(bytes(blob.stat().st_size))
    result = run("verify", "--deep", "--json")

    assert result.exit_code == 4
    assert [row["model"] for row in json.loads(result.stdout)["models"]] == ["letters-cnn"]
    assert "1 of 1 files" in result.stderr


def test_the_embedded_model_is_verified_by_name() -> None:
    result = run("verify", "letters-cnn", "--deep")

    assert result.exit_code == 0, result.stderr
    assert "1 file, all whole" in result.stdout
    assert "1 as recorded" in result.stdout
    assert "loading: 1 model in" in result.stderr


# --- a terminal ---


def in_a_terminal(*words: str, answers: dict[str, str]) -> tuple[int, str]:
    """Runs a command in a terminal of its own, and types an answer whenever its question has come."""
    terminal, inside = pty.openpty()
    child = subprocess.Popen([ZOO, *words], stdin=inside, stdout=inside, stderr=inside)
    os.close(inside)
    text, until = "", time.monotonic() + PATIENCE
    waiting: Any = iter(answers.items())
    question, answer = next(waiting)
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            text += os.read(terminal, 1 << 16).decode(errors="replace")
        except OSError:  # the other end is closed
            break
        if question in text:
            os.write(terminal, answer.encode() + b"\n")
            text = text.replace(question, "", 1)
            question, answer = next(waiting, ("\0", ""))
    os.close(terminal)
    return child.wait(PATIENCE), text


def test_in_a_terminal_the_preprocessing_is_asked_for(net: Path) -> None:
    """A wrong answer is asked about again, with what was wrong."""
    code, text = in_a_terminal("add", "net.keras", answers={"Preprocessing: ": "wrong", "Preprocessing:": "caffe"})

    assert code == 0, text
    assert "torch" in text
    assert "No model named 'wrong'" in text
    assert zoo.find_entry("net").input == InputSpec((12, 12, 3), color="BGR", mean=(103.939, 116.779, 123.68))
