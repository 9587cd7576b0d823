"""Engines: whoever runs a trunk, the features are those of Keras, or TensorFlow runs it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray
from PIL import Image

from zoo.errors import UsageError
from zoo.features import FeatureCache
from zoo.features.engines import choosing, openvino_engine, stored
from zoo.features.engines.engine import fitting_batch, in_pieces
from zoo.registry import InputSpec
from zoo.surgery import Head, Surgery, Trunk

SPEC = InputSpec((12, 12, 3), scale=1 / 127.5, mean=(1.0,))
# openvino is an extra of its own: who has not installed it loses this engine alone.
OTHERS = [
    "onnxruntime",
    pytest.param("openvino", marks=pytest.mark.skipif(not openvino_engine.is_installed(), reason="no openvino")),
]


def net() -> keras.Model:
    """Convolutions of three kinds, a branch and normalization: what trunks are made of."""
    keras.utils.set_random_seed(0)
    picture = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(picture)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    y = layers.Conv2D(8, 1)(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.Activation("swish")(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(16, 3)(x))
    return keras.Model(picture, layers.Dense(4)(x))


def trunk_of(model: keras.Model | None = None, depth: Any = "all", pool: Any = "avg") -> Trunk:
    trunk = Surgery(model or net(), depth, None, Head(2, pool=pool), preprocessing=SPEC).trunk
    assert trunk is not None
    return trunk


def pictures(count: int = 40) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 12, 12, 3), dtype=np.uint8)


def plain_keras(trunk: Trunk, x: NDArray[np.uint8]) -> NDArray[Any]:
    return np.asarray(trunk.model(x.astype(np.float32) / 127.5 - 1, training=False))


@pytest.mark.parametrize("engine", OTHERS)
def test_features_are_those_of_keras_whoever_computes_them(tmp_path: Path, engine: str) -> None:
    trunk, x = trunk_of(), pictures(100)  # more than a batch of 64
    features = FeatureCache(tmp_path, engine=engine).features(trunk, x)
    assert features.stats.engine == engine
    np.testing.assert_allclose(features, plain_keras(trunk, x), atol=1e-5)


@pytest.mark.parametrize("engine", OTHERS)
def test_several_cuts_come_out_of_one_pass(tmp_path: Path, engine: str) -> None:
    trunk, x = trunk_of(), pictures()
    cuts = [trunk.at(1), trunk.at(2, "max"), trunk]
    found = FeatureCache(tmp_path, engine=engine).features_of_each(cuts, x)
    for cut, features in zip(cuts, found, strict=True):
        np.testing.assert_allclose(features, plain_keras(cut, x), atol=1e-5)


def test_features_in_float32_are_the_same_to_the_cache_whoever_computed_them(tmp_path: Path) -> None:
    trunk, x = trunk_of(), pictures()
    FeatureCache(tmp_path, engine="onnxruntime").features(trunk, x)
    again = FeatureCache(tmp_path).features(trunk, x)
    assert (again.stats.misses, again.stats.engine) == (0, None)


def test_f01_features_in_another_precision_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the processor had bfloat16; OpenVINO then falls back to what it has."""
    pytest.importorskip("openvino")
    monkeypatch.setattr(openvino_engine, "computes_in_bfloat16", lambda: True)
    trunk, x = trunk_of(), pictures()
    float32 = FeatureCache(tmp_path, engine="openvino").features(trunk, x)
    bfloat16 = FeatureCache(tmp_path, engine="auto", precision="bfloat16").features(trunk, x)
    assert (float32.stats.misses, bfloat16.stats.misses) == (len(x), len(x))
    assert float32.key != bfloat16.key
    np.testing.assert_allclose(bfloat16, float32, atol=0.05 * np.abs(float32).max())


def test_who_puts_out_something_else_gives_way_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No limit is met where none is allowed: roundings differ."""
    monkeypatch.setitem(choosing._LIMITS, "float32", 0.0)
    trunk, x = trunk_of(), pictures()
    with caplog.at_level(logging.WARNING, "zoo"):
        features = FeatureCache(tmp_path, engine="onnxruntime").features(trunk, x)
    assert features.stats.engine == "tensorflow"
    assert "onnxruntime is not used: its features differ from Keras'" in caplog.text
    np.testing.assert_allclose(features, plain_keras(trunk, x), atol=1e-5)


@keras.saving.register_keras_serializable("tests")
class Bessel(layers.Layer):
    """What ONNX has no operator for."""

    def call(self, x: Any) -> Any:
        return tf.math.bessel_i0e(x)


def test_a_trunk_that_cannot_be_converted_stays_with_tensorflow(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture = keras.Input((12, 12, 3))
    x = layers.GlobalAveragePooling2D()(Bessel()(layers.Conv2D(4, 3)(picture)))
    trunk = trunk_of(keras.Model(picture, layers.Dense(2)(x)))
    with caplog.at_level(logging.WARNING, "zoo"):
        features = FeatureCache(tmp_path, engine="onnxruntime").features(trunk, pictures())
    assert features.stats.engine == "tensorflow"
    assert "onnxruntime is not used: the trunk cannot be converted for it" in caplog.text
    assert not list((tmp_path / "trunks").glob("*.onnx"))


class TestConvertedTrunks:
    """They are kept by what they compute, and checked by their digests."""

    def converted(self, home: Path) -> Path:
        FeatureCache(home, engine="onnxruntime").features(trunk_of(), pictures(8))
        (path,) = (home / "trunks").glob("*.onnx")
        return path

    def test_one_is_converted_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = self.converted(tmp_path)
        monkeypatch.setattr(stored, "keras_to_onnx", None, raising=False)
        monkeypatch.setattr(choosing, "convert_trunk", None)
        features = FeatureCache(tmp_path, engine="onnxruntime").features(trunk_of(), pictures())
        assert features.stats.engine == "onnxruntime"
        assert path.exists()

    def test_one_that_is_damaged_is_made_anew(self, tmp_path: Path) -> None:
        path = self.converted(tmp_path)
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        features = FeatureCache(tmp_path, engine="onnxruntime").features(trunk_of(), pictures())
        assert features.stats.engine == "onnxruntime"
        (again,) = (tmp_path / "trunks").glob("*.onnx")
        assert stored.find_trunk(again.parent, again.name.split(".")[0]) == again.read_bytes()

    def test_other_weights_are_another_trunk(self, tmp_path: Path) -> None:
        self.converted(tmp_path)
        other = net()
        other.set_weights([weight * 0.5 for weight in other.get_weights()])
        FeatureCache(tmp_path, engine="onnxruntime").features(trunk_of(other), pictures())
        assert len(list((tmp_path / "trunks").glob("*.onnx"))) == 2


class TestAuto:
    """The fastest, where it is worth its time."""

    def test_little_work_is_tensorflows(self, tmp_path: Path) -> None:
        features = FeatureCache(tmp_path, engine="auto").features(trunk_of(), pictures())
        assert features.stats.engine == "tensorflow"
        assert not (tmp_path / "trunks").exists()

    def test_much_work_is_measured_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As if any work were much: what is chosen is remembered, and then nothing is measured."""
        monkeypatch.setattr(choosing, "_WORTH_CONVERTING", 0.0)
        trunk, x = trunk_of(), pictures(100)
        first = FeatureCache(tmp_path, engine="auto").features(trunk, x[:80])
        np.testing.assert_allclose(first, plain_keras(trunk, x[:80]), atol=1e-5)
        monkeypatch.setattr(choosing._Start, "_seconds", None)
        second = FeatureCache(tmp_path, engine="auto").features(trunk, x)
        assert second.stats.engine == first.stats.engine
        np.testing.assert_allclose(second, plain_keras(trunk, x), atol=1e-5)

    def test_a_memory_of_another_machine_does_not_count(self, tmp_path: Path) -> None:
        machine = stored.machine_with(["tensorflow"])
        stored.remember_engine(tmp_path, "key", machine, "openvino")
        assert stored.remembered_engine(tmp_path, "key", machine) == "openvino"
        assert stored.remembered_engine(tmp_path, "key", {**machine, "processors": 1000}) is None
        (tmp_path / "key.json").write_text("{")
        assert stored.remembered_engine(tmp_path, "key", machine) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "torch"}, "Expected an engine of auto, tensorflow"),
        ({"precision": "float16"}, "Expected a precision of float32 or bfloat16"),
        ({"engine": "onnxruntime", "precision": "bfloat16"}, "onnxruntime computes in float32"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FeatureCache(tmp_path, **options)  # type: ignore[arg-type]


def test_who_lacks_openvino_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "is_installed", lambda: False)
    for options in ({"engine": "openvino"}, {"engine": "auto", "precision": "bfloat16"}):
        with pytest.raises(UsageError, match="pip install openvino"):
            FeatureCache(tmp_path, **options)  # type: ignore[arg-type]


def test_a_batch_keeps_the_largest_tensor_within_20_mib() -> None:
    """The first convolution puts out 96 x 96 x 64 float32, 2.25 MiB: 8 of them are 18 MiB, 9 would be 20.25."""
    model = keras.Sequential([keras.Input((96, 96, 3)), layers.Conv2D(64, 3, padding="same"), layers.Conv2D(8, 3)])
    assert fitting_batch(model, (96, 96, 3)) == 8
    small = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    assert fitting_batch(small, (4,)) == 64
    open_sizes = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(64, 3, padding="same")])
    assert fitting_batch(open_sizes, (96, 96, 3)) == 8


def test_pieces_of_a_batch_come_back_in_order() -> None:
    batch = np.arange(10)[:, None]
    (found,) = in_pieces(lambda piece: [piece * 2], batch, 3)
    np.testing.assert_array_equal(found, batch * 2)


def test_f01_what_cannot_be_had_in_bfloat16_is_float32_under_its_own_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(openvino_engine, "computes_in_bfloat16", lambda: True)
    monkeypatch.setitem(choosing._LIMITS, "bfloat16", -1.0)
    trunk, x = trunk_of(), pictures()
    with caplog.at_level(logging.WARNING, "zoo"):
        fallen = FeatureCache(tmp_path, engine="openvino", precision="bfloat16").features(trunk, x)
    assert "bfloat16 is not used: its features differ from Keras'" in caplog.text
    again = FeatureCache(tmp_path).features(trunk, x)
    assert (again.key, again.stats.misses) == (fallen.key, 0)


def test_an_engine_that_fails_in_the_middle_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On the second batch of 64."""
    from zoo.features.engines.onnxruntime_engine import OnnxruntimeEngine

    run, calls = OnnxruntimeEngine.run, list[int]()

    def failing(self: OnnxruntimeEngine, batch: NDArray[Any]) -> list[NDArray[Any]]:
        calls.append(len(batch))
        if calls.count(64) + calls.count(36) > 1:
            raise RuntimeError("no more")
        return run(self, batch)

    monkeypatch.setattr(OnnxruntimeEngine, "run", failing)
    trunk, x = trunk_of(), pictures(100)
    with caplog.at_level(logging.WARNING, "zoo"):
        features = FeatureCache(tmp_path, engine="onnxruntime").features(trunk, x)
    assert "onnxruntime is used no more: it failed (RuntimeError: no more). TensorFlow goes on." in caplog.text
    assert features.stats.engine == "tensorflow"
    np.testing.assert_allclose(features, plain_keras(trunk, x), atol=1e-5)


def test_what_is_not_a_number_in_any_output_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second cut's output, which a comparison of numbers would pass over."""
    from zoo.features.engines.onnxruntime_engine import OnnxruntimeEngine

    run = OnnxruntimeEngine.run

    def half_broken(self: OnnxruntimeEngine, batch: NDArray[Any]) -> list[NDArray[Any]]:
        first, second = run(self, batch)
        return [first, second * np.nan]

    monkeypatch.setattr(OnnxruntimeEngine, "run", half_broken)
    trunk = trunk_of()
    found = FeatureCache(tmp_path, engine="onnxruntime").features_of_each([trunk.at(1, "avg"), trunk], pictures())
    assert {features.stats.engine for features in found} == {"tensorflow"}


def test_pictures_of_many_sizes_share_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(picture))
    trunk = Surgery(keras.Model(picture, layers.Dense(2)(x)), head=Head(2)).trunk
    assert trunk is not None
    for size in range(10, 16):
        path = tmp_path / "data" / f"class{size % 2}" / f"{size}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(size).integers(0, 256, (size, 20, 3), dtype=np.uint8)).save(path)
    started = list[Any]()
    start = choosing.Engines.start
    monkeypatch.setattr(choosing.Engines, "start", lambda *args: started.append(args) or start(*args))
    assert len(FeatureCache(tmp_path / "home").features(trunk, tmp_path / "data")) == 6
    assert len(started) == 1
