"""Models in other formats: what is compared with what, and what is said and left where that cannot be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from keras import layers
from zoo.converters import keras_to_onnx, onnx_to_keras

import zoo
from zoo.errors import DiskError, IntegrityError, UsageError
from zoo.exporting import FORMATS

SUFFIXES = pytest.mark.parametrize("suffix", FORMATS)
pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")


def net(width: int = 3) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,), name="row"), layers.Dense(width, name="dense")], name="net")


def several(names: Any, auto: bool = False) -> keras.Model:
    """Returns a model whose inputs and outputs can be told apart by their numbers alone."""
    ins = [keras.Input((2,), name=None if auto else name) for name in ("late", "early", "middle")]
    x = ins[0] - 2 * ins[1] + 3 * ins[2]
    return keras.Model(ins, names([layers.Rescaling(1 + number)(x) for number in range(12)]))


@SUFFIXES
@pytest.mark.parametrize("auto", [False, True], ids=["named", "unnamed"])
@pytest.mark.parametrize("kind", ["list", "names"])
def test_of_several_inputs_and_outputs_each_is_compared_with_its_own(kind: str, auto: bool, suffix: str) -> None:
    """By the numbers in their names these would be in another order, and so they would by the letters."""
    model = several(
        list if kind == "list" else lambda found: {f"y{5 * n % 12}_{n}": y for n, y in enumerate(found)}, auto
    )

    assert zoo.export(model, f"out{suffix}").error < 1e-6


def test_outputs_of_tensorflow_lite_have_the_names_of_the_model() -> None:
    model = several(lambda found: {f"y{5 * n % 12}_{n}": y for n, y in enumerate(found)})
    zoo.export(model, "out.tflite")
    runner = tf.lite.Interpreter(model_path="out.tflite").get_signature_runner()
    x = {name: np.full((1, 2), number, np.float32) for number, name in enumerate(("late", "early", "middle"))}
    found = runner(**x)

    assert set(found) == set(model.output)
    for name, y in found.items():
        np.testing.assert_allclose(y, np.full((1, 2), 4 * (1 + int(name.rpartition("_")[2]))), rtol=1e-6)


@pytest.mark.parametrize("limit", [0, -1e-4, float("nan"), "1e-4", None])
def test_a_limit_that_nothing_can_keep_is_refused_before_any_work(limit: Any) -> None:
    model, proto = net(), onnx.ModelProto()
    for call in (
        lambda: zoo.convert("net.keras", "out.onnx", limit=limit),
        lambda: zoo.export(model, "out", limit=limit),
        lambda: keras_to_onnx(model, "out.onnx", limit=limit),
        lambda: onnx_to_keras(proto, limit=limit),
    ):
        with pytest.raises(UsageError, match=r"limit \(--limit\) to be a number above 0"):
            call()
    assert list(Path().iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [("saved", "--saved-model"), ("net.tflite", "--tflite")])
def test_a_source_of_another_format_is_refused_with_the_way_round(name: str, kind: str) -> None:
    """Which is gone, too: what tf2onnx makes is converted."""
    model = net()
    zoo.export(model, name)
    with pytest.raises(
        UsageError, match=rf"tf2onnx\.convert {kind} {name} .*: zoo convert .*\.onnx out\.keras$"
    ) as told:
        zoo.convert(name, "out.keras")
    way = str(told.value).partition(": python ")[2].partition(" and then:")[0].split()
    subprocess.run([sys.executable, *way], check=True, capture_output=True)
    zoo.convert(way[-1], "out.keras")

    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    np.testing.assert_allclose(zoo.load_model("out.keras")(x), model(x), atol=1e-6)
    with pytest.raises(UsageError, match=rf"tf2onnx\.convert {kind} {name} --output other\.onnx$"):
        zoo.convert(name, "other.onnx")


def test_a_run_as_source_is_refused_with_what_takes_it() -> None:
    with pytest.raises(UsageError, match=r"zoo export runs/digits out\.onnx"):
        zoo.convert("runs/digits", "out.onnx")


@pytest.mark.parametrize("target", ["", ".", "/", ".onnx", "a/.keras"])
def test_a_target_without_a_name_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match="Expected a target that ends with"):
        zoo.export(net(), target)
    assert list(Path().iterdir()) == []


def test_weights_of_another_beside_are_neither_counted_nor_taken_away() -> None:
    Path("x.onnx.data").write_bytes(bytes(1000))
    for again in (False, True):
        made = zoo.export(net(), "x.onnx", replace=again)
        assert made.bytes == Path("x.onnx").stat().st_size
    assert Path("x.onnx.data").read_bytes() == bytes(1000)


@SUFFIXES
def test_a_folder_that_cannot_be_written_to_is_not_a_matter_of_space(suffix: str) -> None:
    with pytest.raises(DiskError, match=r"Cannot write /proc/out.*: .*; choose another folder\.$"):
        zoo.export(net(), f"/proc/out{suffix}")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root, where mounting is allowed, can make a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@SUFFIXES
def test_a_full_disk_is_a_matter_of_space_and_keeps_what_was_there(suffix: str, full_disk: Path) -> None:
    target = full_disk / f"out{suffix}"
    if suffix:
        target.write_bytes(b"before")
    with pytest.raises(DiskError, match=r"No space left on device; free some space, or choose another folder\.$"):
        zoo.export(net(20_000), target, replace=True)

    assert [(path.name, path.read_bytes()) for path in full_disk.iterdir()] == (
        [(target.name, b"before")] if suffix else []
    )


class Unwritable(layers.Layer):
    """A layer of somebody's that does not say what it is made of, and has a step that no format has."""

    def __init__(self, secret: Any) -> None:
        super().__init__()
        self.secret = secret

    def call(self, x: Any) -> Any:
        y = tf.py_function(lambda each: each * self.secret, [x], tf.float32)
        y.set_shape(x.shape)
        return y


@pytest.mark.parametrize("suffix", [".keras", ".tflite"])
def test_what_a_format_cannot_have_is_an_error_of_ours(suffix: str) -> None:
    model = keras.Sequential([keras.Input((4,)), Unwritable(np.float32(3))])
    with pytest.raises(IntegrityError, match=r"cannot be written as .*Choose another format"):
        zoo.export(model, f"out{suffix}")
    assert list(Path().iterdir()) == []


KILLED = """
import os, signal, sys
import keras
import zoo, zoo.exporting
zoo.exporting.put_in_place = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
zoo.export(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), sys.argv[1], replace=True)
"""


def test_k10_a_killed_export_leaves_the_earlier_one() -> None:
    model = net()
    zoo.export(model, "out")
    child = subprocess.run([sys.executable, "-c", KILLED, "out"], capture_output=True, check=False)

    assert child.returncode == -signal.SIGKILL, child.stderr
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    loaded = tf.saved_model.load("out")
    np.testing.assert_allclose(loaded.serve(x), model(x), atol=1e-6)
    assert [path.name for path in Path().glob("[!.]*")] == ["out"]


def test_a_model_of_texts_leaves_as_what_takes_texts(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text(
        "\n".join(f"the {word} film was {word}" for word in ("good", "bad", "long") * 9)
    )
    zoo.pretrain("auxiliary", tmp_path / "texts.txt", units=4, epochs=1, name="words")

    exported = zoo.export("words", tmp_path / "words.keras")
    zoo.export("words", tmp_path / "words")

    assert exported.error == 0
    assert (tmp_path / "words" / "saved_model.pb").is_file()
    with pytest.raises(UsageError, match="ONNX runtimes do not"):
        zoo.export("words", tmp_path / "words.onnx")
