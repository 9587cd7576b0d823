"""Every kind of file that values come from, each written by the program that writes such files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from book_net import WIDTHS, trained_book_net
from zoo.converters import restore
from zoo.converters.restoring.sources import opened_source

from zoo.errors import IntegrityError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def small(names: tuple[str, ...] = ("hidden1", "hidden2", "outputs")) -> keras.Model:
    x = inputs = keras.Input((4,))
    for name, width in zip(names, (3, 3, 2), strict=True):
        x = keras.layers.Dense(width, name=name)(x)
    return keras.Model(inputs, x)


def filled(model: Any) -> Any:
    for number, weight in enumerate(model.weights):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape))
    return model


def arrays(model: Any) -> dict[str, Any]:
    return {weight.path: np.array(weight) for weight in model.weights}


def is_like(model: keras.Model, values: list[Any]) -> None:
    assert len(values) == len(model.weights) > 0
    for weight, value in zip(model.weights, values, strict=True):
        np.testing.assert_array_equal(np.array(weight), value)


# --- arrays ---


def test_npz(tmp_path: Path) -> None:
    saved = arrays(filled(small()))
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "net.npz", **saved, step=np.int64(3))
        model = small()
        report = restore(model, tmp_path / "net.npz")
        is_like(model, list(saved.values()))
        assert report.unused == ("step",)


def test_npz_of_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", **{"hidden1/kernel": np.array([print], object)})
    with pytest.raises(IntegrityError, match="object found"):
        restore(small(), tmp_path / "net.npz")


@pytest.mark.parametrize("kind", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_safetensors(tmp_path: Path, kind: Any) -> None:
    saved = {name: array.astype(kind) for name, array in arrays(filled(small())).items()}
    safetensors.numpy.save_file(
        {name.replace("/", "."): array for name, array in saved.items()}, tmp_path / "net.safetensors"
    )
    model = small()
    restore(model, tmp_path / "net.safetensors")
    is_like(model, [array.astype("float32") for array in saved.values()])


def test_weights_of_keras_3_are_found_by_the_names_of_layers(tmp_path: Path) -> None:
    original = filled(small())
    original.save_weights(tmp_path / "net.weights.h5")
    model = small()
    report = restore(model, tmp_path / "net.weights.h5")
    is_like(model, list(arrays(original).values()))
    assert report.unused == ()
    other = small(("hidden2", "hidden1", "new"))  # the layers are numbered in the file: names decide
    report = restore(other, tmp_path / "net.weights.h5", include="hidden2/bias")
    assert report.names == {"hidden2/bias": "hidden2/1"}
    np.testing.assert_array_equal(other.get_layer("hidden2").bias, original.get_layer("hidden2").bias)


def test_weights_of_keras_3_of_nested_and_recurrent_layers(tmp_path: Path) -> None:
    def nested() -> keras.Model:
        inner = keras.Sequential([keras.Input((6, 4)), keras.layers.LSTM(3, name="rnn")], name="inner")
        layers = [inner, keras.layers.Dense(2, name="fc"), keras.layers.BatchNormalization(name="norm")]
        return keras.Sequential([keras.Input((6, 4)), *layers])

    original = filled(nested())
    original.compile("adam", "mse")
    original.fit(np.ones((4, 6, 4)), np.ones((4, 2)), verbose=0)
    original.save_weights(tmp_path / "net.weights.h5")
    model = nested()
    report = restore(model, tmp_path / "net.weights.h5")
    is_like(model, [np.array(weight) for weight in original.weights])
    assert report.missing == ()


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("whole", [False, True])
def test_hdf5_of_keras_2(tmp_path: Path, whole: bool) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    original = small_old(tf_keras)
    original.compile("adam", "mse")
    original.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    path = str(tmp_path / "net.h5")
    if whole:
        original.save(path)
    else:
        original.save_weights(path)
    model = small()
    report = restore(model, path)
    is_like(model, original.get_weights())
    assert bool(report.unused) is whole  # what the optimizer keeps


def small_old(tf_keras: Any) -> Any:
    """Returns the same net of Keras 2, with random values."""
    widths = {"hidden1": 3, "hidden2": 3, "outputs": 2}
    layers = [tf_keras.layers.Dense(width, name=name) for name, width in widths.items()]
    model = tf_keras.Sequential([tf_keras.Input((4,)), *layers])
    model.set_weights([np.random.default_rng(n).normal(size=each.shape) for n, each in enumerate(model.get_weights())])
    return model


# --- checkpoints ---


@pytest.mark.parametrize("version", [1, 2])
def test_checkpoints_of_tensorflow_1_of_both_kinds(tmp_path: Path, version: int) -> None:
    book = trained_book_net(tmp_path, version=version, steps=3)
    x = inputs = keras.Input((784,))
    for name, width in WIDTHS.items():
        x = keras.layers.Dense(width, activation=None if name == "outputs" else "elu", name=name)(x)
    model = keras.Model(inputs, x)
    report = restore(model, book.prefix)
    np.testing.assert_allclose(model(book.x), book.logits, rtol=1e-4, atol=1e-4)
    assert len(report.loaded) == 12
    assert {"global_step", "hidden1/kernel/Adam", "outputs/bias/Adam_1"} < {
        name.removeprefix("train/") for name in report.unused
    }


def test_only_the_hidden_layers_that_are_wanted_are_restored(tmp_path: Path) -> None:
    book = trained_book_net(tmp_path, steps=3)
    x = inputs = keras.Input((784,))
    for name, width in WIDTHS.items():
        x = keras.layers.Dense(width, name=name)(x)
    model = keras.Model(inputs, x)
    before = arrays(model)
    report = restore(model, book.prefix, include="hidden[123]")
    wanted = {f"hidden{number}/{own}" for number in (1, 2, 3) for own in ("kernel", "bias")}
    assert set(report.loaded) == wanted
    assert set(report.left) == set(before) - wanted
    for name, values in arrays(model).items():
        np.testing.assert_array_equal(values, book.values[name] if name in wanted else before[name])


@pytest.mark.parametrize("version", [1, 2])
def test_partitioned_and_odd_variables_of_tensorflow_1(tmp_path: Path, version: int) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        parts = v1.get_variable("parts", (10, 4), partitioner=v1.fixed_size_partitioner(3))
        v1.get_variable("words", initializer=tf.constant(["one", "zwei"]))
        v1.get_variable("flag", initializer=True)
        session.run(v1.global_variables_initializer())
        told = session.run(tf.convert_to_tensor(parts))
        prefix = Path(v1.train.Saver(write_version=version).save(session, str(tmp_path / "net.ckpt")))
    for part in [prefix, *(each for each in tmp_path.glob("net.ckpt*") if version == 2)]:  # any file of it
        with opened_source(part) as source:
            assert source.name == "net.ckpt"
            assert {name: (each.shape, each.dtype) for name, each in source.variables.items()} == {
                "flag": ((), "bool"), "parts": ((10, 4), "float32"), "words": ((2,), "string"),
            }  # fmt: skip
            np.testing.assert_array_equal(source.read("parts"), told)
            assert source.read("flag")


def test_object_checkpoints_of_keras_2_have_the_names_of_their_variables(tmp_path: Path) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    original = small_old(tf_keras)
    original.compile("adam", "mse")
    original.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    original.save_weights(str(tmp_path / "weights.ckpt"))
    tf.train.Checkpoint(model=original, optimizer=original.optimizer).save(str(tmp_path / "training"))
    for prefix in ("weights.ckpt", "training-1"):
        model = small()
        report = restore(model, tmp_path / prefix)
        is_like(model, original.get_weights())
        assert report.names["hidden1/kernel"] == "hidden1/kernel"
        assert report.unused  # the optimizer's


def test_object_checkpoints_of_modules_have_paths_of_attributes(tmp_path: Path) -> None:
    module = tf.Module()
    for name, (inputs, units) in {"hidden1": (4, 3), "hidden2": (3, 3), "outputs": (3, 2)}.items():
        layer = tf.Module()
        layer.kernel = tf.Variable(tf.random.normal((inputs, units)))
        layer.bias = tf.Variable(tf.random.normal((units,)))
        setattr(module, name, layer)
    prefix = tf.train.Checkpoint(net=module, step=tf.Variable(1, dtype=tf.int64)).write(str(tmp_path / "net"))
    model = small()
    report = restore(model, prefix)
    layers = [getattr(module, name) for name in ("hidden1", "hidden2", "outputs")]
    is_like(model, [each.numpy() for layer in layers for each in (layer.kernel, layer.bias)])
    assert report.names["hidden1/kernel"] == "net/hidden1/kernel"
    assert report.unused == ("step",)


def test_object_checkpoints_of_keras_3_are_found_through_their_objects(tmp_path: Path) -> None:
    original = filled(small())
    original.compile("adam", "mse")
    original.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    prefix = tf.train.Checkpoint(model=original).save(str(tmp_path / "net"))
    model = small()
    report = restore(model, prefix)
    is_like(model, [np.array(weight) for weight in original.weights])
    assert report.missing == ()


# --- damage ---


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".h5"])
def test_files_that_are_cut_short_are_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    saved = arrays(filled(small()))
    if suffix == ".npz":
        np.savez(path, **saved)
    elif suffix == ".safetensors":
        safetensors.numpy.save_file(saved, path)
    else:
        filled(small()).save_weights(tmp_path / "net.weights.h5")
        path = tmp_path / "net.weights.h5"
    data = path.read_bytes()
    model = small()
    before = arrays(model)
    for part in (0.1, 0.6, 0.95):
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises((IntegrityError, UsageError), match=path.name):
            restore(model, path)
    assert all(np.array_equal(before[name], values) for name, values in arrays(model).items())


def test_a_flipped_bit_in_a_checkpoints_values_is_refused_and_nothing_is_loaded(tmp_path: Path) -> None:
    book = trained_book_net(tmp_path, steps=1)
    data = book.prefix.with_name(f"{book.prefix.name}.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    reader = tf.train.load_checkpoint(str(book.prefix))
    kernel = reader.get_tensor("outputs/kernel").tobytes()
    content[content.index(kernel) + 100] ^= 4
    data.write_bytes(content)
    x = inputs = keras.Input((784,))
    for name, width in WIDTHS.items():
        x = keras.layers.Dense(width, name=name)(x)
    model = keras.Model(inputs, x)
    before = arrays(model)
    with pytest.raises(IntegrityError, match=r"my_model_final.ckpt cannot be read.*hecksum"):
        restore(model, book.prefix)
    assert all(np.array_equal(before[name], values) for name, values in arrays(model).items())
    restore(model, book.prefix, exclude="outputs")  # the rest is whole
