"""Whole models in files: people's ordinary ones load as they are, what is wrong or asks for too much is refused."""

from __future__ import annotations

import json
import resource
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import zoo
from zoo.errors import IntegrityError, NotFoundError, UnsafeFileError, UsageError
from zoo.loading import is_whole_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`"),
]


@keras.saving.register_keras_serializable(package="tests_loading")
class Doubled(layers.Layer):
    def call(self, x: Any) -> Any:
        return 2 * x


def plain_net() -> keras.Model:
    inputs = keras.Input((12, 12, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization()(x) + layers.Conv2D(4, 1)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(layers.Dropout(0.5)(x)), name="plain")


def nested_net() -> keras.Model:
    inner = keras.Sequential([keras.Input((12, 12, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()], name="inner")
    inner.compile("adam", loss=lambda true, found: keras.ops.mean(true - found))
    inner.layers[1].trainable = False
    return keras.Sequential([keras.Input((12, 12, 3)), inner, layers.Flatten(), layers.Dense(3)], name="outer")


def adapted_net() -> keras.Model:
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(3, 2, (50, 7)))
    return keras.Sequential([keras.Input((7,)), normalization, layers.Dense(3, kernel_regularizer="l2")])


def sequence_net() -> keras.Model:
    return keras.Sequential([
        keras.Input((9,), dtype="int32"), layers.Embedding(20, 4, mask_zero=True),
        layers.Bidirectional(layers.LSTM(3)), layers.Dense(2),
    ])  # fmt: skip


def custom_net() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3), Doubled()])


def constant_net() -> keras.Model:
    normalization = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0])
    return keras.Sequential([keras.Input((3,)), normalization, layers.Dense(2)])


NETS = [plain_net, constant_net, nested_net, adapted_net, sequence_net, custom_net]


def trained_a_little(net: keras.Model) -> keras.Model:
    """Returns the net with weights that all differ from those it started with."""
    rng = np.random.default_rng(0)
    net.set_weights([np.asarray(rng.uniform(0.5, 1.5, weight.shape), weight.dtype) for weight in net.get_weights()])
    return net


def rows_for(net: keras.Model) -> Any:
    rng = np.random.default_rng(1)
    shape = (2, *net.input_shape[1:])
    return (
        rng.integers(0, 20, shape) if net.inputs[0].dtype == "int32" else rng.uniform(0, 255, shape).astype("float32")
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_a_model_in_a_file_says_what_it_said(make: Callable[[], keras.Model], suffix: str, tmp_path: Path) -> None:
    net = make()
    if make is not adapted_net:
        net = trained_a_little(net)
    path = tmp_path / f"net{suffix}"
    net.save(path)

    loaded = zoo.load_model(path)

    x = rows_for(net)
    np.testing.assert_array_equal(loaded(x, training=False), net(x, training=False))
    assert [layer.trainable for layer in loaded.layers] == [layer.trainable for layer in net.layers]


def test_a_compiled_and_fitted_model_is_loaded_without_its_optimizer(tmp_path: Path) -> None:
    net = plain_net()
    net.compile("adam", loss=lambda true, found: keras.ops.mean((true - found) ** 2))
    net.fit(np.zeros((4, 12, 12, 3)), np.zeros((4, 5)), verbose=0)
    for suffix in (".keras", ".h5"):
        net.save(path := tmp_path / f"net{suffix}")

        loaded = zoo.load_model(str(path))

        assert not loaded.compiled
        np.testing.assert_array_equal(loaded.layers[-1].kernel, net.layers[-1].kernel)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a11_a_class_that_is_not_here_is_named_with_what_to_do(suffix: str, tmp_path: Path) -> None:
    custom_net().save(path := tmp_path / f"net{suffix}")
    known = keras.saving.get_custom_objects()
    held = known.pop("tests_loading>Doubled")
    try:
        with pytest.raises(IntegrityError, match=r"Doubled.*register_keras_serializable"):
            zoo.load_model(path)
    finally:
        known["tests_loading>Doubled"] = held


def edited(path: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Changes the configuration in a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    edit(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_x07_a_small_file_cannot_ask_for_terabytes(tmp_path: Path) -> None:
    """A billion units over a billion inputs would be 4 exabytes; their weights are not in the file."""
    keras.Sequential([keras.Input((4,)), layers.Dense(3)]).save(path := tmp_path / "net.keras")

    def enlarge(config: dict[str, Any]) -> None:
        dense = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")
        dense["config"]["units"] = 10**9
        dense.pop("build_config", None)

    with pytest.raises(IntegrityError, match=r"the net's shapes are not there.*\(4, 1000000000\)"):
        zoo.load_model(edited(path, enlarge))


@pytest.mark.parametrize("nested", [False, True])
def test_x07_a_small_file_cannot_put_out_terabytes(nested: bool, tmp_path: Path) -> None:
    parts = [keras.Input((4, 4, 3)), layers.Conv2D(3, 1), layers.ZeroPadding2D(2), layers.GlobalMaxPooling2D()]
    net = keras.Sequential(parts)
    net = keras.Sequential([keras.Input((4, 4, 3)), net]) if nested else net
    net.save(path := tmp_path / "net.keras")

    def enlarge(config: dict[str, Any]) -> None:
        found = config["config"]["layers"]
        found = found[-1]["config"]["layers"] if nested else found
        padding = next(layer for layer in found if layer["class_name"] == "ZeroPadding2D")
        padding["config"]["padding"] = [[10**6, 10**6], [10**6, 10**6]]
        padding.pop("build_config", None)

    with pytest.raises(UnsafeFileError, match=r"zero_padding2d.*2000004, 2000004"):
        zoo.load_model(edited(path, enlarge))


def test_x07_a_constant_is_not_spread_over_an_input_of_any_size(tmp_path: Path) -> None:
    """Normalization does so as it is built: 2**29 numbers twice would be 4 GiB. Linux counts the peak in kB."""
    net = keras.Sequential([keras.Input((4,)), layers.Normalization(mean=0.0, variance=1.0)])
    net.save(path := tmp_path / "net.keras")

    def enlarge(config: dict[str, Any]) -> None:
        for layer in config["config"]["layers"]:
            layer.pop("build_config", None)
        config["config"]["layers"][0]["config"]["batch_shape"] = [None, 2**29]
        config["config"].pop("build_input_shape", None)
        config.pop("build_config", None)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnsafeFileError, match="normalization.*536,870,912"):
        zoo.load_model(edited(path, enlarge))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a03_weights_of_another_model_are_refused(suffix: str, tmp_path: Path) -> None:
    mine, theirs = (keras.Sequential([keras.Input((4,)), layers.Dense(units)]) for units in (3, 5))
    mine.save(path := tmp_path / f"mine{suffix}")
    theirs.save(other := tmp_path / f"theirs{suffix}")
    if suffix == ".h5":
        with h5py.File(path, "r+") as file, h5py.File(other) as source:
            del file["model_weights"]
            source.copy("model_weights", file)
    else:
        with zipfile.ZipFile(other) as archive:
            weights = archive.read("model.weights.h5")
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {**members, "model.weights.h5": weights}.items():
                archive.writestr(name, data)

    with pytest.raises(IntegrityError, match=r"Nothing was loaded"):
        zoo.load_model(path)


def test_a01_a_truncated_file_is_named_so(tmp_path: Path) -> None:
    plain_net().save(path := tmp_path / "net.h5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(IntegrityError, match=r"net.h5.*truncated HDF5"):
        zoo.load_model(path)


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    plain_net().save_weights(path := tmp_path / "net.weights.h5")

    assert not is_whole_model(path)
    with pytest.raises(UsageError, match="--arch"):
        zoo.load_model(path)


def test_a_file_that_is_not_there_and_one_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file"):
        zoo.load_model(tmp_path / "net.keras")
    with pytest.raises(UsageError, match=r"\.keras, \.h5, \.hdf5"):
        zoo.load_model(tmp_path / "net.onnx")


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives are unpacked, and files are given names, in a folder that goes."""
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(private))
    plain_net().save(path := tmp_path / "net.keras")

    zoo.load_model(path)
    shutil.copy(path, damaged := tmp_path / "damaged.keras")
    damaged.write_bytes(damaged.read_bytes()[:-30])
    with pytest.raises(IntegrityError):
        zoo.load_model(damaged)

    assert list(private.iterdir()) == []


def test_what_keras_says_of_a_model_is_said_plainly(tmp_path: Path) -> None:
    """Keras writes the first line of its reason in bold type, whatever it is written to."""
    path = tmp_path / "net.keras"
    keras.Sequential([keras.Input((4,)), layers.Reshape((2, 2)), layers.Dense(3)]).save(path)

    def misshape(config: dict[str, Any]) -> None:
        reshape = next(each for each in config["config"]["layers"] if each["class_name"] == "Reshape")
        reshape["config"]["target_shape"] = [3, 5]

    with pytest.raises(IntegrityError, match=r"^net\.keras cannot be loaded as model of Keras: .*\(3, 5\)") as caught:
        zoo.load_model(edited(path, misshape))
    assert isinstance(caught.value.__cause__, ValueError) and "\x1b" in str(caught.value.__cause__)
    assert str(caught.value).isprintable()
