"""Whole models in files: people's ordinary ones load as they are, what is wrong or asks for too much is refused."""

from __future__ import annotations

import json
import os
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
from zoo.errors import IntegrityError, MissingClassError, NotFoundError, UnsafeFileError, UsageError
from zoo.loading import is_whole_model, whole

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
        with pytest.raises(MissingClassError, match=r"Doubled.*register_keras_serializable"):
            zoo.load_model(path)
    finally:
        known["tests_loading>Doubled"] = held


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_model_that_was_saved_before_it_was_built_is_refused(suffix: str, tmp_path: Path) -> None:
    keras.Sequential([layers.Dense(3), layers.Dense(2)]).save(path := tmp_path / f"net{suffix}")

    with pytest.raises(IntegrityError, match=r"saved before its model was built.*keras\.Input.*save it again"):
        zoo.load_model(path)


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
    with pytest.raises(NotFoundError, match="There is no"):
        zoo.load_model(tmp_path / "net.keras")
    np.savez(tmp_path / "net.npz", x=np.zeros(3))
    with pytest.raises(NotFoundError, match=r"Add it first.*zoo add .*net\.npz"):
        zoo.load_model(str(tmp_path / "net.npz"))
    with pytest.raises(UsageError, match=r"\.keras, \.h5, \.hdf5, \.onnx"):
        zoo.load_model(tmp_path / "net.npz")
    (tmp_path / "mine.keras").mkdir()
    with pytest.raises(UsageError, match=r"mine\.keras' is a folder"):
        zoo.load_model(tmp_path / "mine.keras")


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("name", ["a" * 5000, "a" * 300, "a\0b", "\x1b[2J"])
def test_a_path_that_can_be_none_is_told_in_words_fit_for_a_terminal(name: str, as_text: bool, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.keras"
    with pytest.raises((NotFoundError, UsageError), match=r"There is no|Expected a path") as caught:
        zoo.load_model(str(path) if as_text else path)

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("suffix", [".KERAS", ".H5", ".Hdf5"])
def test_a_suffix_may_be_in_capitals(suffix: str, tmp_path: Path) -> None:
    net = constant_net()
    net.save(path := tmp_path / f"net{'.keras' if suffix == '.KERAS' else '.h5'}")
    path = path.rename(tmp_path / f"NET{suffix}")

    np.testing.assert_array_equal(zoo.load_model(str(path)).layers[-1].kernel, net.layers[-1].kernel)


@pytest.mark.parametrize("change", ["exchanged", "written to", "removed"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_that_is_another_once_it_was_judged_is_not_given_out(
    suffix: str, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / f"net{suffix}", tmp_path / f"other{suffix}"
    constant_net().save(path)
    trained_a_little(constant_net()).save(other)
    real = whole.checked_config if suffix == ".h5" else keras.saving.load_model
    changes: dict[str, Callable[[], object]] = {
        "exchanged": lambda: other.replace(path),
        "written to": lambda: path.write_bytes(other.read_bytes()),
        "removed": path.unlink,
    }

    def after_the_guard(*arguments: Any, **options: Any) -> Any:
        if suffix == ".h5" and change == "removed":
            os.utime(path, ns=(1, 1))  # nothing could be read from it any more
        else:
            changes[change]()
        return real(*arguments, **options)

    where, name = (whole, "checked_config") if suffix == ".h5" else (keras.saving, "load_model")
    monkeypatch.setattr(where, name, after_the_guard)
    with pytest.raises(IntegrityError, match="changed while it was read"):
        zoo.load_model(path)


# --- types of numbers ---


def recast(path: Path, values_of: Callable[[Any], Any], only: str = "/vars/0") -> Path:
    """Stores the weights in a `.keras` or `.weights.h5` file that end with `only` as other numbers."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        weights = path.with_name("model.weights.h5")
        weights.write_bytes(members["model.weights.h5"])
        recast(weights, values_of, only)
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {**members, "model.weights.h5": weights.read_bytes()}.items():
                archive.writestr(name, data)
        return path
    with h5py.File(path, "r+") as file:
        found: list[str] = []
        file.visititems(lambda name, each: found.append(name) if isinstance(each, h5py.Dataset) else None)
        chosen = [name for name in found if name.endswith(only)]
        assert chosen
        for name in chosen:
            values = values_of(file[name][()])
            del file[name]
            file[name] = values
    return path


OTHER_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "int8": lambda values: (50 * values).astype("i1"),
    "int32": lambda values: values.astype("i4"),
    "bool": lambda values: values > 0,
    "complex": lambda values: (values + 1j).astype("c8"),
    "beyond float32": lambda values: 1e300 * values.astype(">f8"),
    "bytes": lambda values: np.zeros(values.shape, "V4"),
    "two bytes": lambda values: np.zeros(values.shape, "V2"),
}


@pytest.mark.parametrize("numbers", OTHER_NUMBERS)
def test_a07_numbers_of_another_kind_are_refused(numbers: str, tmp_path: Path) -> None:
    """Keras turns whatever is there into float32, and says nothing."""
    trained_a_little(constant_net()).save(path := tmp_path / "net.keras")

    with pytest.raises(IntegrityError, match=r"is of type|beyond the range of float32|cannot be loaded"):
        zoo.load_model(recast(path, OTHER_NUMBERS[numbers]))


@pytest.mark.parametrize("numbers", [">f4", "<f8", ">f8", "<f2"])
def test_a07_other_floats_are_the_same_numbers(numbers: str, tmp_path: Path) -> None:
    net = constant_net()
    net.layers[-1].kernel.assign([[0.5, 1.25], [-2.0, 3.0], [0.0, 8.0]])  # exact in half precision too
    net.save(path := tmp_path / "net.keras")

    loaded = zoo.load_model(recast(path, lambda values: values.astype(numbers)))
    np.testing.assert_array_equal(loaded.layers[-1].kernel, net.layers[-1].kernel)


def typed_net(dtype: str) -> keras.Model:
    parts = [layers.Dense(6, dtype=dtype), layers.BatchNormalization(dtype=dtype), layers.Dropout(0.5, dtype=dtype)]
    return keras.Sequential([keras.Input((8,)), *parts])


def quantized_net(mode: str) -> keras.Model:
    net = keras.Sequential([keras.Input((8,)), layers.Dense(6), layers.EinsumDense("ab,bc->ac", 4, bias_axes="c")])
    for layer in net.layers:
        layer.quantize(mode)
    return net


HONEST = {
    **{dtype: (typed_net, dtype) for dtype in ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")},
    **{mode: (quantized_net, mode) for mode in ("int8", "int4", "float8")},
}


@pytest.mark.parametrize("kind", HONEST)
def test_a07_models_of_other_types_say_what_they_said(kind: str, tmp_path: Path) -> None:
    make, argument = HONEST[kind]
    net = make(argument)
    net.save(path := tmp_path / "net.keras")
    x = np.random.default_rng(0).uniform(size=(2, 8)).astype("float32")

    loaded = zoo.load_model(path)

    np.testing.assert_array_equal(np.asarray(loaded(x), "float32"), np.asarray(net(x), "float32"))
    assert [weight.dtype for weight in loaded.weights] == [weight.dtype for weight in net.weights]


def test_a07_a_model_in_bfloat16_is_read_from_hdf5_too(tmp_path: Path) -> None:
    net = typed_net("bfloat16")
    net.save(path := tmp_path / "net.h5")

    np.testing.assert_array_equal(zoo.load_model(path).get_weights()[0], net.get_weights()[0])


def test_a07_quantized_kernels_must_be_whole_numbers(tmp_path: Path) -> None:
    net = quantized_net("int8")
    net.save(path := tmp_path / "net.keras")

    with pytest.raises(IntegrityError, match="is of type <f4; int8 was expected"):
        zoo.load_model(recast(path, lambda values: values.astype("f4")))


# --- LoRA ---


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_model_with_lora_says_what_it_said(suffix: str, tmp_path: Path) -> None:
    """Keras adds LoRA's product to the kernel that it saves in .keras, and begins anew with zeros."""
    net = keras.Sequential([keras.Input((8,)), layers.Dense(6), layers.Dense(2)])
    for layer in net.layers:
        layer.enable_lora(3)
    net = trained_a_little(net)
    net.save(path := tmp_path / f"net{suffix}")
    x = rows_for(net)

    np.testing.assert_allclose(zoo.load_model(path)(x), net(x), rtol=1e-5)


def test_x07_lora_cannot_ask_for_terabytes(tmp_path: Path) -> None:
    net = keras.Sequential([keras.Input((8,)), layers.Dense(6)])
    net.layers[0].enable_lora(3)
    net.save(path := tmp_path / "net.keras")

    def enlarge(config: dict[str, Any]) -> None:
        next(each for each in config["config"]["layers"] if each["class_name"] == "Dense")["config"]["lora_rank"] = (
            10**9
        )

    with pytest.raises(IntegrityError, match="the net's shapes are not there"):
        zoo.load_model(edited(path, enlarge))


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
