"""What TensorFlow has saved, loaded as models of Keras: guarded first, kept once it is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_models import book_net, save_hub_style, train_and_save
from zoo.converters.tensorflow import importer

import zoo
from zoo.errors import NotConvertible, NotFoundError, UnsafeFileError
from zoo.loading import conversions
from zoo.loading.from_archive import saved_model_or_layer
from zoo.loading.from_tensorflow import load_frozen_graph, load_meta_checkpoint, load_saved_model

pytestmark = pytest.mark.filterwarnings("ignore")
DIGEST = "a" * 64


def test_a_saved_model_is_converted_once_where_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = save_hub_style(tmp_path / "hub")
    x = np.random.default_rng(0).standard_normal((2, 20, 20, 3)).astype("f4")
    expected = module(x).numpy()
    model, report = load_saved_model(tmp_path / "hub", "hub/one", keep=DIGEST)
    np.testing.assert_allclose(np.asarray(model(x)), expected, atol=1e-4)
    assert report.error <= 1e-4
    assert any("TensorFlow and ONNX agree" in each for each in report.notes)
    monkeypatch.setattr(conversions, "_made", None)
    again, told = load_saved_model(tmp_path / "hub", "hub/one", keep=DIGEST)
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
    assert told == report
    with pytest.raises(TypeError):
        load_saved_model(tmp_path / "hub", "hub/one", keep=DIGEST, arguments={"trainable": False})


class Texts(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.strings.length(texts), tf.float32)


def test_what_is_whole_but_no_net_of_layers_is_told_apart(tmp_path: Path) -> None:
    tf.saved_model.save(Texts(), os.fspath(tmp_path / "texts"))
    with pytest.raises(NotConvertible, match="hub/texts: .*texts"):
        load_saved_model(tmp_path / "texts", "hub/texts")


def test_what_is_no_net_of_layers_is_tried_once_where_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf.saved_model.save(Texts(), os.fspath(tmp_path / "texts"))
    tried = []

    def counted(*arguments: Any) -> Any:
        tried.append(arguments)
        return made(*arguments)

    made = conversions._made
    monkeypatch.setattr(conversions, "_made", counted)
    for _ in range(3):
        model = saved_model_or_layer(tmp_path / "texts", "hub/texts", keep=DIGEST)
        assert [layer.name for layer in model.layers[1:]] == ["saved_model"]
    assert len(tried) == 1
    with pytest.raises(NotConvertible, match="hub/texts: .*texts"):
        load_saved_model(tmp_path / "texts", "hub/texts", keep=DIGEST, limit=0.1)  # it may be enough now
    assert len(tried) == 2
    monkeypatch.setattr(importer, "VERSION", importer.VERSION + 1)
    saved_model_or_layer(tmp_path / "texts", "hub/texts", keep=DIGEST)
    assert len(tried) == 3


class Reading(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32)])
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return x * tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


def test_the_guard_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tf.saved_model.save(Reading(), os.fspath(tmp_path / "net"))

    def never(*arguments: object, **named: object) -> None:
        raise AssertionError("TensorFlow was asked to load it")

    monkeypatch.setattr(tf.saved_model, "load", never)
    with pytest.raises(UnsafeFileError, match="ReadFile"):
        load_saved_model(tmp_path / "net")


def test_a_checkpoint_with_its_graph_and_the_graph_frozen(tmp_path: Path) -> None:
    saved = train_and_save(book_net, tmp_path / "my_model_final.ckpt", steps=1)
    model, _ = load_meta_checkpoint(saved.prefix)
    np.testing.assert_allclose(np.asarray(model(saved.given)), saved.made, atol=1e-4)
    (tmp_path / "my_model_final.ckpt.meta").unlink()
    with pytest.raises(NotFoundError, match="--arch"):
        load_meta_checkpoint(saved.prefix)


def test_a_frozen_graph(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 3), name="x")
        tf.nn.relu(tf.matmul(x, tf.constant(np.arange(6, dtype="f4").reshape(3, 2)), name="fc/MatMul"), name="fc/out")
    (tmp_path / "net.pb").write_bytes(graph.as_graph_def().SerializeToString())
    model, _ = load_frozen_graph(tmp_path / "net.pb")
    np.testing.assert_allclose(np.asarray(model(np.ones((1, 3), "f4"))), [[6.0, 9.0]])


def saved_dense(folder: Path, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Saves a net that computes in a type, and returns what goes in and what comes out, in 32 bits."""
    rng = np.random.default_rng(0)
    module = tf.Module()
    module.kernels = [tf.Variable(rng.normal(size=(16, 16)) / 4, dtype=dtype, name=f"fc{n}/kernel") for n in range(4)]

    def call(x: tf.Tensor) -> tf.Tensor:
        x = tf.cast(x, dtype)
        for kernel in module.kernels:
            x = tf.nn.relu(x @ kernel + tf.constant(0.1, dtype))
        return {"scores": x}

    module.call = tf.function(call, input_signature=[tf.TensorSpec((None, 16), tf.float32)])
    tf.saved_model.save(module, os.fspath(folder), signatures={"serving_default": module.call})
    x = rng.normal(size=(3, 16)).astype("f4")
    return x, tf.cast(module.call(x)["scores"], tf.float32).numpy()


@pytest.mark.parametrize(("dtype", "rounding"), [("float16", 1e-2), ("bfloat16", 6e-2)])
def test_what_computes_in_16_bits_becomes_layers_that_compute_in_32(
    tmp_path: Path, dtype: str, rounding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, expected = saved_dense(tmp_path / "net", dtype)

    model, report = load_saved_model(tmp_path / "net", keep=DIGEST)

    np.testing.assert_allclose(np.asarray(model(x)), expected, atol=rounding * np.abs(expected).max())
    assert {each.dtype for each in (*model.weights, *model.inputs, *model.outputs)} == {"float32"}
    assert any(f"computes in {dtype}" in each for each in report.notes)
    assert 1e-5 < report.steps["TensorFlow to ONNX"] == report.error < report.rounding == rounding
    assert report.steps["ONNX to Keras"] < 1e-5
    monkeypatch.setattr(conversions, "_made", None)
    assert load_saved_model(tmp_path / "net", keep=DIGEST)[1] == report  # what was kept is as near as can be


def test_the_larger_error_of_both_steps_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved_dense(tmp_path / "net", "float32")
    judge = importer.errors_against_tensorflow

    def worse(*arguments: Any) -> dict[str, float]:
        return dict.fromkeys(judge(*arguments), 5e-3)

    monkeypatch.setattr(importer, "errors_against_tensorflow", worse)
    exported = zoo.convert(tmp_path / "net", tmp_path / "net.keras", limit=1e-2)
    assert exported.errors["TensorFlow to ONNX"] == exported.error == 5e-3
    assert exported.errors["ONNX to Keras"] < 1e-5
    with pytest.raises(NotConvertible, match="5.0e-03"):
        load_saved_model(tmp_path / "net")
