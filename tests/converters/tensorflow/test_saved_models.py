"""SavedModels become models of Keras: TensorFlow says what they compute, and their makers' names come back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_models import enliven, save_hub_style, small_net, v1
from zoo.converters import onnx_to_keras, tensorflow_to_onnx

from zoo.errors import IntegrityError, NotConvertible, NotFoundError, UsageError
from zoo.surgery import split_units

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def as_keras(path: Path, **options: Any) -> keras.Model:
    return onnx_to_keras(tensorflow_to_onnx(path, **options))[0]


def assert_close(found: Any, expected: Any, limit: float = 1e-5) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= limit * np.abs(expected).max()


def pictures(*shape: int) -> Any:
    return np.random.default_rng(2).standard_normal(shape).astype("f4")


def test_a_net_that_keras_exports_comes_back_with_its_layers_units_and_output(tmp_path: Path) -> None:
    net = small_net()
    net.export(tmp_path / "net", verbose=False)
    model = as_keras(tmp_path / "net")
    x = pictures(3, 16, 12, 3)
    assert_close(model(x), net(x))
    assert [type(each).__name__ for each in model.layers if each.weights] == [
        "Conv2D", "BatchNormalization", "DepthwiseConv2D", "BatchNormalization", "Conv2D", "Dense",
    ]  # fmt: skip
    names = {each.name for each in model.layers}
    assert {"stem", "stem_bn", "deep", "deep_bn", "point", "head"} <= names
    assert len(split_units(model)) == len(split_units(net))
    assert model.count_params() == net.count_params()


def test_a_net_of_keras_2_comes_back(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    layers = tf_keras.layers
    net = tf_keras.Sequential([
        layers.InputLayer((16, 16, 3)), layers.Conv2D(4, 3, activation="relu", name="first"),
        layers.BatchNormalization(name="norm"), layers.SeparableConv2D(5, 3, name="apart"), layers.LeakyReLU(0.1),
        layers.Flatten(), layers.Dense(3, activation="softmax", name="last"),
    ])  # fmt: skip
    enliven(net.weights)
    net.save(tmp_path / "net", save_format="tf")
    model = as_keras(tmp_path / "net")
    x = pictures(2, 16, 16, 3)
    assert_close(model(x), net(x))
    assert {"first", "norm", "last"} <= {each.name for each in model.layers}
    assert len(split_units(model)) == 3


def save_old(folder: Path, *, tags: set[str] | None = None) -> tuple[Any, Any]:
    """Saves a SavedModel of TensorFlow 1, and returns what went in and came out."""
    rng = np.random.default_rng(1)
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 8, 8, 2), name="images")
        training = v1.placeholder_with_default(False, (), name="is_training")
        with v1.name_scope("conv1"):
            kernel = v1.get_variable("conv1/weights", initializer=rng.normal(size=(3, 3, 2, 4)).astype("f4"))
            h = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID"))
        h = v1.cond(training, lambda: tf.nn.dropout(h, 0.5), lambda: tf.identity(h), name="drop")
        with v1.name_scope("logits"):
            last = v1.get_variable("logits/weights", initializer=rng.normal(size=(4, 3)).astype("f4"))
            logits = tf.matmul(tf.reduce_mean(h, [1, 2]), last) + rng.normal(size=3).astype("f4")
        session.run(v1.global_variables_initializer())
        given = pictures(2, 8, 8, 2)
        if tags is None:
            v1.saved_model.simple_save(session, os.fspath(folder), {"images": x}, {"scores": logits, "maps": h})
        else:
            info = v1.saved_model.predict_signature_def({"images": x}, {"default": logits})
            builder = v1.saved_model.Builder(os.fspath(folder))
            builder.add_meta_graph_and_variables(session, [*tags], {"default": info})
            builder.save()
        return given, session.run([logits, h], {x: given})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("control_flow", ["old", "new"])
def test_a_saved_model_of_tensorflow_1_in_inference(tmp_path: Path, control_flow: str) -> None:
    if control_flow == "new":
        v1.enable_control_flow_v2()
    else:
        v1.disable_control_flow_v2()
    try:
        given, (logits, maps) = save_old(tmp_path / "net")
    finally:
        v1.enable_control_flow_v2()
    proto = tensorflow_to_onnx(tmp_path / "net")
    assert [each.name for each in proto.graph.output] == ["maps", "scores"]
    found = onnx_to_keras(proto)[0](given)
    assert_close(found[0], maps)
    assert_close(found[1], logits)
    model = as_keras(tmp_path / "net", outputs=("scores",))
    assert_close(model(given), logits)
    assert [each.name for each in model.layers if each.weights] == ["conv1", "logits"]
    by_tensors = as_keras(tmp_path / "net", inputs=("images:0",), outputs=("conv1/Relu:0",))
    assert_close(by_tensors(given), maps)


@pytest.mark.filterwarnings("ignore")
def test_a_module_of_tf_hub_for_version_1_has_no_tags(tmp_path: Path) -> None:
    given, (logits, _) = save_old(tmp_path / "net", tags=set())
    assert_close(as_keras(tmp_path / "net")(given), logits)
    with pytest.raises(UsageError, match="Expected the tags"):
        tensorflow_to_onnx(tmp_path / "net", tags=["gpu"])


def test_a_function_is_called_as_if_it_did_not_train_unless_it_is_told(tmp_path: Path) -> None:
    module = save_hub_style(tmp_path / "hub")
    x = pictures(2, 20, 20, 3)
    model = as_keras(tmp_path / "hub")
    assert_close(model(x), module(x, trainable=False))
    assert [type(each).__name__ for each in model.layers if each.weights] == ["Conv2D", "BatchNormalization", "Dense"]
    assert [each.name for each in model.layers if each.weights] == ["conv", "bn", "features"]
    norm = model.get_layer("bn")
    for own, theirs in ((norm.moving_variance, module.variance), (norm.gamma, module.gamma), (norm.beta, module.beta)):
        np.testing.assert_allclose(np.asarray(own), theirs.numpy(), rtol=1e-6)
    assert_close(as_keras(tmp_path / "hub", arguments={"trainable": False})(x), module(x))
    with pytest.raises(UsageError, match="trainable"):
        tensorflow_to_onnx(tmp_path / "hub", arguments={"training": False})


def test_open_sizes_are_told(tmp_path: Path) -> None:
    module = save_hub_style(tmp_path / "hub", size=None)
    proto = tensorflow_to_onnx(tmp_path / "hub", shapes={"images": (None, 24, 18, 3)})
    sizes = [each.dim_value for each in proto.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == [0, 24, 18, 3]
    x = pictures(2, 24, 18, 3)
    assert_close(onnx_to_keras(proto)[0](x), module(x))
    with pytest.raises(UsageError, match="pixels"):
        tensorflow_to_onnx(tmp_path / "hub", shapes={"pixels": (None, 24, 18, 3)})
    with pytest.raises(UsageError, match="like"):
        tensorflow_to_onnx(tmp_path / "hub", shapes={"images": (None, 24, 18, 4)})


def test_a_graph_as_text(tmp_path: Path) -> None:
    module = save_hub_style(tmp_path / "hub")
    binary = tmp_path / "hub" / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(binary.read_bytes())
    binary.with_suffix(".pbtxt").write_text(text_format.MessageToString(saved))
    binary.unlink()
    (tmp_path / "hub" / "fingerprint.pb").unlink()
    x = pictures(1, 20, 20, 3)
    assert_close(as_keras(tmp_path / "hub")(x), module(x))


class Several(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = tf.Variable(np.random.default_rng(0).normal(size=(7, 4)).astype("f4"), name="places/table")

    @tf.function(input_signature=[tf.TensorSpec((None, 5), tf.int32, name="tokens")])
    def look_up(self, tokens: Any) -> Mapping[str, Any]:
        with tf.name_scope("places"):
            found = tf.gather(self.table, tokens)
        return {"rows": found, "mean": tf.reduce_mean(found, 1)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="texts")])
    def lengths(self, texts: Any) -> Any:
        return tf.cast(tf.strings.length(texts), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
    def until_large(self, x: Any) -> Any:
        return tf.while_loop(
            lambda x: tf.reduce_max(tf.abs(x)) < 100, lambda x: (tf.matmul(x, self.table[:4]) * 2 + 1,), (x,)
        )[0]


@pytest.fixture
def several(tmp_path: Path) -> tuple[Several, Path]:
    module, folder = Several(), tmp_path / "several"
    names = {"look_up": module.look_up, "lengths": module.lengths, "until_large": module.until_large}
    tf.saved_model.save(module, os.fspath(folder), signatures=names)
    return module, folder


def test_one_of_several_signatures_and_one_of_its_outputs(several: tuple[Several, Path]) -> None:
    module, folder = several
    tokens = np.random.default_rng(1).integers(0, 7, (3, 5)).astype("i4")
    expected = module.look_up(tokens)
    mean, rows = as_keras(folder, signature="look_up")(tokens)
    assert_close(rows, expected["rows"])
    assert_close(mean, expected["mean"])
    assert_close(as_keras(folder, signature="look_up", outputs=["mean"])(tokens), expected["mean"])
    with pytest.raises(UsageError, match="several signatures"):
        tensorflow_to_onnx(folder)
    with pytest.raises(UsageError, match="'look_up'"):
        tensorflow_to_onnx(folder, signature="lookup")
    with pytest.raises(UsageError, match="'rows'"):
        tensorflow_to_onnx(folder, signature="look_up", outputs=["row"])


def test_texts_are_not_convertible(several: tuple[Several, Path]) -> None:
    with pytest.raises(NotConvertible, match="texts"):
        tensorflow_to_onnx(several[1], signature="lengths")


def test_a_loop_whose_length_depends_on_numbers_is_no_net_of_layers(several: tuple[Several, Path]) -> None:
    with pytest.raises(IntegrityError):
        as_keras(several[1], signature="until_large")


def test_weights_of_a_large_net_are_never_in_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tf2onnx import tfonnx

    net = keras.Sequential([keras.Input((64,)), keras.layers.Dense(512), keras.layers.Dense(256)])
    net.export(tmp_path / "net", verbose=False)
    before, sizes = tfonnx.process_tf_graph, []

    def measured(graph: Any, **options: Any) -> Any:
        sizes.append(graph.as_graph_def().ByteSize())
        return before(graph, **options)

    monkeypatch.setattr(tfonnx, "process_tf_graph", measured)
    proto = tensorflow_to_onnx(tmp_path / "net")
    assert max(sizes) < 20_000 < sum(len(each.raw_data) for each in proto.graph.initializer)
    assert sorted(tuple(each.dims) for each in proto.graph.initializer) == [(64, 512), (256,), (512,), (512, 256)]
    onnx.checker.check_model(proto)


def test_what_is_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="saved_model.pb"):
        tensorflow_to_onnx(tmp_path)
    with pytest.raises(NotFoundError, match="nothing at"):
        tensorflow_to_onnx(tmp_path / "nowhere")
    (tmp_path / "saved_model.pb").write_bytes(b"\xff" * 40)
    with pytest.raises(IntegrityError, match="damaged"):
        tensorflow_to_onnx(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch",
    ["DenseNet121", "EfficientNetB0", "InceptionV3", "MobileNet", "MobileNetV2", "ResNet50", "ResNet50V2", "Xception"],
)
def test_nets_of_keras_applications(tmp_path: Path, arch: str) -> None:
    net = getattr(keras.applications, arch)(weights=None, classes=10)
    net.export(tmp_path / "net", verbose=False)
    model = as_keras(tmp_path / "net")
    assert len(split_units(model)) == len(split_units(net))
    x = pictures(1, *net.input_shape[1:])
    assert_close(model(x), net(x), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "most"), [("ResNet50", 2.5e3), ("VGG16", 4e3)])
def test_large_nets_take_a_small_multiple_of_their_weights(arch: str, most: float) -> None:
    """In a process of its own, whose highest memory is that of the conversion, in MB."""
    script = Path(__file__).parents[3] / "benchmarks" / "saved_models.py"
    told = subprocess.run(
        [sys.executable, script, "--nets", arch, "--ways", "keras"], capture_output=True, text=True, check=True
    )
    taken = re.search(r"(\d+) MB", told.stdout)
    assert taken is not None, told.stdout
    assert 100 < float(taken[1]) < most


@pytest.mark.parametrize("size", [None, 5])
def test_an_input_that_the_wanted_output_does_not_need_is_left_away(tmp_path: Path, size: int | None) -> None:
    class Two(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(pictures(5, 2))

        @tf.function(input_signature=[tf.TensorSpec((None, 5), name="a"), tf.TensorSpec((None, size), name="b")])
        def __call__(self, a: Any, b: Any) -> Any:
            return {"one": tf.matmul(a, self.kernel), "both": a + b}

    module = Two()
    tf.saved_model.save(module, os.fspath(tmp_path / "net"), signatures=module.__call__)
    proto = tensorflow_to_onnx(tmp_path / "net", outputs=("one",))
    assert [each.name for each in proto.graph.input] == ["a"]
    a = pictures(3, 5)
    assert_close(onnx_to_keras(proto)[0](a), a @ module.kernel.numpy())


def save_rate(folder: Path) -> tuple[Any, Any]:
    """Saves a net of TensorFlow 1 of two inputs, one of them called like what dropout takes."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 5), name="x")
        rate = v1.placeholder(tf.float32, (), name="heart_rate")
        keep = v1.placeholder(tf.float32, (), name="keep_prob")
        kernel = v1.get_variable("kernel", initializer=pictures(5, 2))
        y = tf.matmul(v1.nn.dropout(x, keep_prob=keep), kernel) * rate
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(
            session, os.fspath(folder), {"x": x, "heart_rate": rate, "keep_prob": keep}, {"y": y}
        )
        given = pictures(3, 5)
        return given, session.run(y, {x: given, rate: 1.5, keep: 1.0})


@pytest.mark.filterwarnings("ignore")
def test_of_the_inputs_of_a_signature_only_those_of_training_are_known(tmp_path: Path) -> None:
    given, made = save_rate(tmp_path / "net")
    proto = tensorflow_to_onnx(tmp_path / "net")
    assert sorted(each.name for each in proto.graph.input) == ["heart_rate", "x"]
    assert "'keep_prob' is 1.0" in proto.doc_string
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    (found,) = session.run(None, {"x": given, "heart_rate": np.array(1.5, "f4")})
    assert_close(found, made)
