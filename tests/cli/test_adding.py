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
    assert shown["next"].startswith("zoo transfer net")


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
        (["--color", "RGB"], "give scale too"),
        (["--color", "gray", "--scale", "1"], "3 channels"),
        (["--color", "red", "--scale", "1"], "one of RGB, BGR, gray"),
        (["--color", "RGB", "--scale", "1", "--mean", "1,2"], "1 or 3 values of mean"),
        (["--preprocess", "unit", "--scale", "1"], "preprocess or numbers"),
        (["--preprocess", "unitt"], "one of none, unit, tf, torch, caffe"),
        (["--preprocess", "tfhub/google/nnlm-en-dim50/2"], "is not known in numbers"),
        (["--name", "a b"], "cannot be a model's name"),
        (["--name", "vgg16"], "--name vgg16-2"),
        (["--arch", "vgg16"], "do without it"),
    ],
)
def test_what_cannot_be_right_is_refused(words: list[str], told: str, net: Path, home: Path) -> None:
    result = run("add", "net.keras", *words)

    assert result.exit_code == (3 if "unitt" in words else 2), result.stderr
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
    recorded = dataclasses.replace(entry.recorded, mean=entry.recorded.mean + 1)
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
    assert "1 files, all whole" in result.stdout
    assert "1 as recorded" in result.stdout


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
