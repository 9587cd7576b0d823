"""What TensorFlow has saved, loaded as models of Keras: guarded first, kept once it is made."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_models import book_net, save_hub_style, train_and_save

import zoo.loading.from_tensorflow
from zoo.errors import NotConvertible, NotFoundError, UnsafeFileError
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
    monkeypatch.setattr(zoo.loading.from_tensorflow, "_made", None)
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
