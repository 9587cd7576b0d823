"""Checkpoints with their graphs, as the book has them: the session says what the net computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_models import SIZES, Saved, book_net, dense, legacy_layers, neuron_layer, train_and_save, v1
from zoo.converters import onnx_to_keras, tensorflow_to_onnx
from zoo.converters.tensorflow import importer

from zoo.errors import IntegrityError, NotConvertible, UsageError
from zoo.surgery import split_units

pytestmark = pytest.mark.filterwarnings("ignore")


def as_keras(path: Path, **options: Any) -> keras.Model:
    return onnx_to_keras(tensorflow_to_onnx(path, **options))[0]


def assert_like(model: keras.Model, saved: Saved, limit: float = 1e-5) -> None:
    found = np.asarray(model(saved.given))
    assert found.shape == saved.made.shape
    assert np.abs(found - saved.made).max() <= limit * np.abs(saved.made).max()


@pytest.mark.parametrize(("layer", "resource"), [(dense, False), (neuron_layer, False), (neuron_layer, True)])
def test_the_net_of_the_book(tmp_path: Path, layer: Callable[..., Any], resource: bool) -> None:
    saved = train_and_save(lambda: book_net(layer), tmp_path / "my_model_final.ckpt", resource=resource)
    model = as_keras(saved.prefix)
    assert_like(model, saved)
    assert [each.name for each in model.layers if each.weights] == list(SIZES)
    assert [each.index for each in split_units(model)] == [1, 2, 3, 4, 5, 6]
    scope = "" if layer is dense else "dnn/"
    for name in SIZES:
        np.testing.assert_array_equal(np.asarray(model.get_layer(name).kernel), saved.weights[f"{scope}{name}/kernel"])
        np.testing.assert_array_equal(np.asarray(model.get_layer(name).bias), saved.weights[f"{scope}{name}/bias"])


def test_where_it_begins_and_ends_may_be_told(tmp_path: Path) -> None:
    saved = train_and_save(book_net, tmp_path / "net.ckpt", steps=1)
    told = as_keras(saved.prefix, inputs=("X:0",), outputs=("dnn/outputs/BiasAdd:0",))
    assert_like(told, saved)
    below = as_keras(tmp_path / "net.ckpt.meta", outputs=("dnn/hidden3/Relu",))
    assert [each.name for each in below.layers if each.weights] == ["hidden1", "hidden2", "hidden3"]
    assert below.output_shape == (None, 50)
    with pytest.raises(UsageError, match=r"dnn/outputs/BiasAdd"):
        tensorflow_to_onnx(saved.prefix, outputs=("dnn/output/BiasAdd:0",))
    with pytest.raises(UsageError, match="Signatures"):
        tensorflow_to_onnx(saved.prefix, signature="serving_default")


@pytest.mark.parametrize("is_old", [True, False])
def test_dropout_and_normalization_that_a_placeholder_switches(tmp_path: Path, is_old: bool) -> None:
    layers = legacy_layers()

    def build() -> tuple[Any, Any, Any]:
        x, y = v1.placeholder(tf.float32, (None, 20), name="X"), v1.placeholder(tf.int32, (None,), name="y")
        training = v1.placeholder_with_default(False, (), name="training")
        h = dense(layers.dropout(x, 0.5, training=training), 12, "hidden1")
        h = tf.nn.elu(layers.batch_normalization(h, training=training, momentum=0.9, name="bn1"))
        h = dense(layers.dropout(h, 0.5, training=training), 8, "hidden2", tf.nn.relu)
        return x, y, dense(h, 4, "outputs")

    (v1.disable_control_flow_v2 if is_old else v1.enable_control_flow_v2)()
    try:
        saved = train_and_save(build, tmp_path / "net.ckpt", resource=not is_old)
    finally:
        v1.enable_control_flow_v2()
    model = as_keras(saved.prefix)
    assert_like(model, saved)
    assert [each.name for each in model.layers if each.weights] == ["hidden1", "bn1", "hidden2", "outputs"]
    assert type(model.get_layer("bn1")).__name__ == "BatchNormalization"


def test_a_convolution_with_what_is_kept_told_in_a_placeholder(tmp_path: Path) -> None:
    def build() -> tuple[Any, Any, Any]:
        x, y = v1.placeholder(tf.float32, (None, 784), name="x"), v1.placeholder(tf.int32, (None,), name="y")
        keep = v1.placeholder(tf.float32, name="keep_prob", shape=())
        with v1.name_scope("conv1"):
            kernel = v1.Variable(v1.truncated_normal((5, 5, 1, 4), stddev=0.3, seed=1), name="W")
            h = tf.nn.conv2d(tf.reshape(x, (-1, 28, 28, 1)), kernel, 1, "SAME") + v1.Variable(tf.ones(4) / 5, name="b")
        with v1.name_scope("pool1"):
            h = tf.nn.max_pool2d(tf.nn.relu(h), 4, 4, "SAME")
        with v1.name_scope("fc1"):
            kernel = v1.Variable(v1.truncated_normal((7 * 7 * 4, 10), stddev=0.3, seed=2), name="W")
            rows = tf.reshape(h, (-1, 7 * 7 * 4))
            logits = tf.matmul(v1.nn.dropout(rows, keep_prob=keep), kernel)
        tf.nn.softmax(logits, name="probabilities")
        return x, y, logits

    prefix = tmp_path / "mnist"
    with pytest.raises(tf.errors.InvalidArgumentError):
        train_and_save(build, prefix)  # the placeholder must be fed: so it is below
    given = np.random.default_rng(0).standard_normal((3, 784)).astype("f4")
    with tf.Graph().as_default(), v1.Session() as session:
        x, y, logits = build()
        v1.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(prefix))
        made = session.run(logits, {x: given, "keep_prob:0": 1.0})
    model = as_keras(prefix)
    assert_like(model, Saved(prefix, given, made, {}))
    assert [each.name for each in model.layers if each.weights] == ["conv1", "fc1"]


def test_an_autoencoder_ends_where_its_loss_begins(tmp_path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 12), name="X")
        found = dense(dense(x, 5, "hidden", tf.nn.elu), 12, "outputs")
        loss = tf.reduce_mean(tf.square(found - x))
        v1.train.GradientDescentOptimizer(0.1).minimize(loss)
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "auto"))
        given = np.random.default_rng(0).standard_normal((3, 12)).astype("f4")
        saved = Saved(tmp_path / "auto", given, session.run(found, {x: given}), {})
    assert_like(as_keras(saved.prefix), saved)


def test_a_graph_that_normalizes_by_the_batch_is_refused(tmp_path: Path) -> None:
    def build() -> tuple[Any, Any, Any]:
        x, y = v1.placeholder(tf.float32, (None, 6, 6, 2), name="X"), v1.placeholder(tf.int32, (None,), name="y")
        h = legacy_layers().batch_normalization(x, training=True)
        return x, y, dense(tf.reshape(h, (-1, 72)), 3, "outputs")

    saved = train_and_save(build, tmp_path / "net.ckpt", steps=1)
    with pytest.raises(NotConvertible, match="for inference"):
        tensorflow_to_onnx(saved.prefix)


def test_a_checkpoint_of_another_net(tmp_path: Path) -> None:
    saved = train_and_save(book_net, tmp_path / "net.ckpt", steps=1)
    other = train_and_save(lambda: book_net(neuron_layer), tmp_path / "other.ckpt", steps=1)
    (tmp_path / "other.ckpt.meta").replace(tmp_path / "net.ckpt.meta")
    with pytest.raises(IntegrityError, match="dnn/hidden1/kernel"):
        tensorflow_to_onnx(saved.prefix)
    data = next(tmp_path.glob("other.ckpt.data*"))
    data.write_bytes(data.read_bytes()[:1000])
    (tmp_path / "other.ckpt.meta").write_bytes((tmp_path / "net.ckpt.meta").read_bytes())
    with pytest.raises(IntegrityError, match=r"other\.ckpt"):
        tensorflow_to_onnx(other.prefix)


def test_a_frozen_graph(tmp_path: Path) -> None:
    saved = train_and_save(book_net, tmp_path / "net.ckpt", steps=1)
    with tf.Graph().as_default(), v1.Session() as session:
        v1.train.import_meta_graph(f"{saved.prefix}.meta").restore(session, str(saved.prefix))
        whole = session.graph.as_graph_def()
        frozen = v1.graph_util.convert_variables_to_constants(session, whole, ["dnn/outputs/BiasAdd"])
    (tmp_path / "frozen.pb").write_bytes(frozen.SerializeToString())
    (tmp_path / "whole.pb").write_bytes(whole.SerializeToString())
    model = as_keras(tmp_path / "frozen.pb")
    assert_like(model, saved)
    assert [each.name for each in model.layers if each.weights] == list(SIZES)
    with pytest.raises(IntegrityError, match="has variables"):
        tensorflow_to_onnx(tmp_path / "whole.pb")
    (tmp_path / "frozen.pb").write_bytes(b"\x0a\xff\xff\xff")
    with pytest.raises(IntegrityError, match="damaged"):
        tensorflow_to_onnx(tmp_path / "frozen.pb")


@pytest.mark.parametrize("kind", ["checkpoint", "frozen", "function"])
def test_dropout_that_nothing_switches_is_left_away(tmp_path: Path, kind: str) -> None:
    kernel = np.random.default_rng(1).standard_normal((12, 5)).astype("f4")
    given = np.random.default_rng(2).standard_normal((3, 12)).astype("f4")
    path = tmp_path / {"checkpoint": "net.ckpt", "frozen": "net.pb", "function": "net"}[kind]
    if kind == "function":
        module = tf.Module()
        module.kernel = tf.Variable(kernel)

        @tf.function(input_signature=[tf.TensorSpec((None, 12), tf.float32)])
        def call(x: Any) -> Any:
            return tf.matmul(tf.nn.dropout(tf.nn.relu(x), 0.5), module.kernel)

        tf.saved_model.save(module, str(path), signatures=call)
    else:
        with tf.Graph().as_default() as graph, v1.Session() as session:
            x = v1.placeholder(tf.float32, (None, 12), name="X")
            weights = v1.get_variable("kernel", initializer=kernel) if kind == "checkpoint" else tf.constant(kernel)
            tf.matmul(tf.nn.dropout(tf.nn.relu(x), 0.5), weights, name="y")
            session.run(v1.global_variables_initializer())
            if kind == "checkpoint":
                v1.train.Saver().save(session, str(path))
            else:
                path.write_bytes(graph.as_graph_def().SerializeToString())
    proto = tensorflow_to_onnx(path)
    assert "by chance was left away (1 times)" in proto.doc_string
    assert_like(onnx_to_keras(proto)[0], Saved(path, given, np.maximum(given, 0) @ kernel, {}))


def test_of_large_weights_in_a_file_of_their_own_nothing_stays_after_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = train_and_save(book_net, tmp_path / "net.ckpt", steps=1)
    monkeypatch.setattr(importer, "_LARGEST", 0)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(NotConvertible, match="differs"):
        importer.tensorflow_to_onnx_file(saved.prefix, folder / "m.onnx", limit=1e-30)
    assert list(folder.iterdir()) == []
    importer.tensorflow_to_onnx_file(saved.prefix, folder / "m.onnx")
    assert sorted(each.suffix for each in folder.iterdir()) == [".data", ".onnx"]
    assert_like(onnx_to_keras(folder / "m.onnx")[0], saved)
