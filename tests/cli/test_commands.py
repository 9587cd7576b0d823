"""The commands: what they print where, and how they end."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from zoo.cli.describing import entry_pairs
from zoo.cli.main import cli
from zoo.cli.output import plain, show_json, size

import zoo
from zoo.registry import FileSpec, InputSpec


def run(*words: str) -> Result:
    """Calls a command in this process; standard output and standard error apart."""
    return CliRunner().invoke(cli, words)


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in ("list", "show", "layers", "transfer", "predict", "runs"))


@pytest.mark.parametrize("command", ["list", "show", "layers", "transfer", "predict", "runs"])
def test_every_command_explains_its_options(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout


def test_list() -> None:
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == [
        "name", "source", "task", "input", "units", "parameters", "top-1", "size", "can", "summary",
    ]  # fmt: skip
    assert len(lines) == 1 + len(zoo.list_models())
    cells = next(line for line in lines if line.startswith("vgg16 ")).split()
    assert cells[:9] == [
        "vgg16", "keras", "image-classification", "224x224x3", "16", "138,357,544", "71.3", "?", "load",
    ]  # fmt: skip
    assert " 873.0 kB  load  Small" in run("list", "letters-cnn").stdout
    nothing = run("list", "nothing*")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "No model matches 'nothing*'" in nothing.stderr
    assert json.loads(run("list", "nothing*", "--json").stdout) == []


def test_list_for_machines() -> None:
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    assert list(rows) == [entry.name for entry in zoo.list_models()]
    letters, vgg16, text = (rows[name] for name in ("letters-cnn", "vgg16", "tfhub/google/nnlm-en-dim50/2"))
    assert (letters["source"], letters["can"], letters["bytes"]) == ("embedded", ["pull", "load"], 873_035)
    assert (vgg16["source"], vgg16["can"], vgg16["top1"], vgg16["from"][:5]) == (
        "keras",
        ["pull", "load"],
        71.3,
        "keras",
    )
    assert (text["input"], text["top1"], text["output"]["features"]) == (None, None, 50)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("vgg* --sort params", ["vgg16", "vgg19"]),
        ("--source keras --max-params 4M --sort params", ["mobilenet_v3_small", "mobilenet_v2"]),
        # The figure of the second is unknown.
        ("--source keras --max-params 4e6 --sort top1", ["mobilenet_v2", "mobilenet_v3_small"]),
        ("*dim50/2 --task text-embedding", ["tfhub/google/nnlm-en-dim50/2"]),
        ("onnx/vgg16-* --sort bytes", [f"onnx/vgg16-{each}" for each in ("12-int8", "12-qdq", "7", "12", "bn-7")]),
        ("--task text-embedding --max-params 1k", []),
    ],
)
def test_list_chooses_and_sorts(words: str, names: list[str]) -> None:
    assert [row["name"] for row in json.loads(run("list", *words.split(), "--json").stdout)] == names


def test_show_tells_what_is_known_what_is_not_and_where_it_was_read() -> None:
    shown = run("show", "vgg16").stdout
    assert "224x224x3 BGR" in shown
    assert "x - [103.939, 116.779, 123.68]" in shown
    assert "license               not published" in shown
    assert "md5:64373286793e3c8b2b4e3219cbf3544b, published with the file" in shown
    assert "keras 3.15.1" in shown
    assert "zoo transfer vgg16" in shown
    assert "zoo pull slim/inception_v4; not yet loaded" in run("show", "slim/inception_v4").stdout
    assert json.loads(run("show", "letters-cnn", "--json").stdout)["units"] == 6
    assert "zoo transfer letters-cnn" in run("show", "letters-cnn").stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tfhub/google/nnlm-en-dim50/2", ["no picture", "50 features", "unverified by publisher", "Kaggle"]),
        ("caffe/resnet101", ["neither be pulled", "numbers not published", "place: same OneDrive folder"]),
        ("caffe/mobilenet_v1", ["x * 0.017 - [1.76698, 1.98526, 2.10256]", "published by others", "shorter side 256"]),
        ("caffe/alexnet", ["x - the mean picture", "others use 104, 117, 123"]),
        ("caffe/alexnet", ["sha1:9116a64c0fbe4459d18f4bb6b56d647b63920377, published with the file"]),
        ("caffe/alexnet", ["resized to 256x256, then centre crop; interpolation not published, zoo takes bilinear"]),
        ("caffe/nin", ["numbers not published", "imagenet mean, without numbers or a file"]),
        ("caffe/zfnet", ["not recorded"]),
        ("vgg16", ["not published; zoo stretches, bilinear"]),
        ("letters-cnn", ["stretched; bilinear"]),
        ("slim/mobilenet_v3-small_224_1.0_float", ["colour order not published", "classes         not published"]),
        ("slim/inception_v3", ["in it: inception_v3.ckpt", "logits; class 0 is background"]),
        ("onnx/vgg16-7", ["(x * 0.00392157 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]", "553.4 MB"]),
    ],
)
def test_show_copes_with_what_is_not_published(name: str, words: list[str]) -> None:
    shown = run("show", name).stdout
    assert [word for word in words if word not in shown] == []
    assert "None" not in shown


@pytest.mark.parametrize(
    ("metrics", "shown"),
    [
        ({"imagenet_top1": 71.3, "imagenet_top1_error": 0.5}, ["71.3 %", "0.5 %"]),
        ({"letters_top1": 0.8852, "mnist_top1": 1}, ["88.52 %", "100 %"]),
    ],
)
def test_figures_are_shown_in_percent(metrics: dict[str, float], shown: list[str]) -> None:
    pairs = dict(entry_pairs(dataclasses.replace(zoo.find_entry("vgg16"), metrics=metrics)))
    assert [pairs[name] for name in metrics] == shown


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "not published; zoo stretches, bilinear"),
        ({"size": (None, 8, 3)}, "none; any size will do"),
        ({"resize": "area"}, "whether cropped: not published, zoo stretches; area"),
        ({"fit": "stretch"}, "stretched; interpolation not published, zoo takes bilinear"),
        ({"resize": "area", "fit": "center_crop"}, "resized to the size, then centre crop; area"),
        ({"resize": "area", "fit": "center_crop", "resize_to": 9}, "resized to shorter side 9, then centre crop; area"),
    ],
)
def test_what_zoo_chose_itself_is_not_shown_as_published(changes: dict[str, Any], shown: str) -> None:
    spec = InputSpec(**{"size": (8, 8, 3), **changes})
    assert dict(entry_pairs(dataclasses.replace(zoo.find_entry("vgg16"), input=spec)))["resizing"] == shown


def test_a_hash_of_nobody_is_not_said_to_be_the_publishers() -> None:
    file = FileSpec("model", "a.onnx", hash="md5:" + "0" * 32)
    pairs = entry_pairs(dataclasses.replace(zoo.find_entry("vgg16"), files=(file,)))
    assert ("", f"{file.hash}, published; by whom is not recorded") in pairs


def test_json_survives_text_that_is_none(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    document = {"file": "caf\udce9 \ud800", "label": "é 😀"}
    show_json(document)
    printed = capfdbinary.readouterr().out
    assert "é 😀".encode() in printed
    assert json.loads(printed) == document


def test_json_is_utf_8_whatever_the_terminal_speaks() -> None:
    code = "from zoo.cli.output import show_json; show_json(chr(233))"
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    printed = subprocess.run([sys.executable, "-c", code], env=ascii_only, capture_output=True, check=True).stdout
    assert json.loads(printed) == "é"


def test_every_model_can_be_shown() -> None:
    for entry in zoo.list_models():
        pairs = entry_pairs(entry)
        assert ("name", entry.name) in pairs
        assert not any("None" in value for name, value in pairs if not name.startswith("about")), entry.name


def test_layers() -> None:
    units = json.loads(run("layers", "letters-cnn", "--json").stdout)
    assert [unit["index"] for unit in units] == [1, 2, 3, 4, 5, 6]
    assert {"index", "name", "layers", "output_shape", "params"} <= set(units[0])
    assert sum(unit["params"] for unit in units) == zoo.find_entry("letters-cnn").params
    table = run("layers").stdout
    assert "always replaced" in table
    assert "multiply-adds" in table


def test_layers_of_a_model_that_was_never_downloaded(home: Path) -> None:
    result = run("layers", "vgg16", "--json")
    units = json.loads(result.stdout)
    assert (len(units), result.stderr) == (16, "")
    assert sum(unit["params"] for unit in units) == zoo.find_entry("vgg16").params
    assert not home.exists()


def test_layers_of_another_sources_example_of_a_net_that_keras_has() -> None:
    result = run("layers", "slim/mobilenet_v1_1.0_128", "--json")
    units = json.loads(result.stdout)
    assert len(units) == 28
    assert (units[0]["output_shape"], units[-1]["output_shape"]) == ([64, 64, 32], [1001])  # of 128x128, and background
    assert "MobileNet in keras.applications" in result.stderr
    assert "may differ" in result.stderr


def test_transfer_predict_and_runs(tmp_path: Path) -> None:
    words = ("transfer", "--reuse", "4", "--freeze", "4", "--train-per-class", "10")
    made = run(*words)
    assert made.exit_code == 0, made.stderr
    assert "test accuracy" in made.stdout
    assert "runs/digits/report.html" in made.stdout
    assert Path("runs/digits/report.html").exists()
    record = json.loads(run(*words, "--json").stdout)
    assert record["features"]["misses"] == 0
    assert record["metrics"]["test"]["accuracy"] == zoo.open_run("runs/digits").accuracy

    pictures = zoo.open_data("digits")
    Image.fromarray(pictures.read(np.array([3]))[0][..., 0]).save(tmp_path / "seven.png")
    (answer,) = json.loads(run("predict", "runs/digits", str(tmp_path / "seven.png"), "--json").stdout)
    assert set(answer) == {"file", "label", "probability"}
    assert answer["file"].endswith("seven.png")
    assert 0 < answer["probability"] <= 1
    assert "seven.png" in run("predict", "digits", str(tmp_path)).stdout

    assert [Path(each["path"]).name for each in json.loads(run("runs", "--json").stdout)] == [
        "digits-2",
        "digits",
    ]
    assert "letters-cnn" in run("runs").stdout


def test_plan_does_nothing(home: Path) -> None:
    result = run("transfer", "--reuse", "3", "--freeze", "2", "--hidden", "20,10", "--plan")
    assert result.exit_code == 0
    assert "14,944 frozen" in result.stdout  # conv1 and conv2 with their normalization
    assert "to compute" in result.stdout
    plan = json.loads(run("transfer", "--reuse", "3", "--freeze", "2", "--plan", "--json").stdout)
    assert (plan["reuse"], plan["freeze"], plan["cached"]) == (3, 2, 0)
    assert "nothing is frozen" in run("transfer", "--freeze", "0", "--plan").stdout
    assert not Path("runs").exists()
    assert not home.exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("transfer --reuse conv[13]", 2, "leaves out unit 2"),
        ("transfer --hidden ten", 2, "expected widths such as 20,10"),
        ("transfer --pool mean", 2, "'avg', 'max', 'avgmax', 'flatten'"),
        ("transfer --lr 0", 2, "--lr"),
        ("transfer leters-cnn", 3, "Did you mean letters-cnn?"),
        ("transfer --data digts", 3, "Did you mean digits"),
        ("transfer --data digits:4", 8, "at least two"),
        ("transfer --out /proc/run", 6, "--out"),
        ("transfer slim/inception_v4", 2, "zoo pull slim/inception_v4"),
        ("list --source torchhub", 2, "keras, tfhub, slim, caffe, onnx, local, embedded"),
        ("list --sort speed", 2, "top1, params, bytes"),
        ("list --task cooking", 2, "image-classification"),
        ("list --max-params many", 2, "such as 25M, 1.5e6 or 4000000"),
        ("list --max-params -1", 2, "such as 25M"),
        ("list --max-params nan", 2, "such as 25M"),
        ("show vgg61", 3, "zoo list"),
        ("show VGG-16", 3, "Did you mean vgg16"),
        ("show vgg*", 2, "zoo list 'vgg*'"),
        ("show ../vgg16", 2, "cannot be a model's name"),
        ("layers slim/inception_v4", 2, "zoo show slim/inception_v4"),
        ("layers onnx/yolov4", 2, "not published"),
        ("layers nothing", 3, "zoo list"),
        ("predict nothing picture.png", 3, "zoo runs"),
        ("fly", 2, "No such command 'fly'"),
    ],
)
def test_wrong_use_answers_well(words: str, code: int, message: str) -> None:
    result = run(*words.split())
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_fault_of_ours_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "list_models", lambda *_, **__: 1 / 0, raising=False)
    result = run("list")
    assert result.exit_code == 1
    assert "fault of zoo" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in run("--debug", "list").stderr


def test_a_full_disk_ends_with_6_and_leaves_nothing(tmp_path: Path) -> None:
    """300 kB hold the digits' features at unit 5, but not the run beside them."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        result = run("transfer", "--train-per-class", "2", "--epochs", "1", "--out", str(disk / "run"))
        assert result.exit_code == 6
        assert str(disk) in result.stderr
        assert "space" in result.stderr
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_k14_an_interruption_leaves_nothing_half_written(number: int, code: int) -> None:
    script = Path(sys.executable).with_name("zoo")
    child = subprocess.Popen(
        [script, "transfer", "--reuse", "3", "--freeze", "0", "--epochs", "100000", "--patience", "100000"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    while not list(Path("runs").glob("*.unfinished")):  # the work has begun
        assert child.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    child.send_signal(number)
    _, message = child.communicate()
    assert child.returncode == code
    assert number == signal.SIGTERM or "run the same command again" in message
    assert list(Path("runs").iterdir()) == []


def test_text_from_files_cannot_steer_the_terminal() -> None:
    assert plain("a\x1b[31mb\u202ec\nd") == "a�[31mb�c�d"


def test_sizes() -> None:
    assert [size(count) for count in (None, 999, 1_000, 528_000_000)] == ["?", "999 B", "1.0 kB", "528.0 MB"]
