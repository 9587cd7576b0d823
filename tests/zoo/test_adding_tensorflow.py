"""Adding what TensorFlow has saved, and weights of other frameworks: it becomes a model like any other."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from book_net import WIDTHS, trained_book_net
from text_modules import text_module
from zoo.converters.slim.families import loadable_slim

import zoo
from zoo.errors import CutError, IntegrityError, NotFoundError, OfflineError, UsageError
from zoo.registry import list_models
from zoo.surgery import split_units


def net() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((12, 12, 3), name="pictures"), layers.Conv2D(4, 3, name="conv1"),
            layers.BatchNormalization(name="bn1"), layers.ReLU(), layers.Conv2D(6, 3, name="conv2"),
            layers.GlobalAveragePooling2D(), layers.Dense(5, name="classifier"),
        ]
    )  # fmt: skip


def test_the_books_checkpoint_goes_on_from_where_it_was(tmp_path: Path) -> None:
    book = trained_book_net(tmp_path)

    added = zoo.add(book.prefix, name="dnn")

    assert added.entry.units == 6
    assert added.format == "TensorFlow checkpoint, kept as a Keras 3 archive"
    model = zoo.load_model("dnn")
    np.testing.assert_allclose(model(book.x), book.logits, atol=1e-5 * np.abs(book.logits).max())
    assert [unit.name for unit in split_units(model)] == list(WIDTHS)
    run = zoo.transfer("dnn", (book.x, book.y), reuse="hidden[123]", freeze=2, epochs=2)
    assert (run.record["reuse"], run.record["freeze"]) == (3, 2)


def test_without_its_graph_shapes_tell_the_net_and_its_user_the_activation(tmp_path: Path) -> None:
    book = trained_book_net(tmp_path)
    book.prefix.with_name(f"{book.prefix.name}.meta").unlink()

    kept = zoo.add(book.prefix, name="kept")
    added = zoo.add(book.prefix, name="dnn", activation="elu")
    lower = zoo.add(book.prefix, name="lower", activation="elu", include="hidden[123]")

    assert kept.entry.can == ()
    assert any("activation" in note for note in kept.notes)
    np.testing.assert_allclose(zoo.load_model("dnn")(book.x), book.logits, atol=1e-4)
    assert (added.entry.units, lower.entry.units) == (6, 3)
    with pytest.raises(UsageError, match="activation"):
        zoo.add(book.prefix, name="other", include="hidden[123]")


def test_a_savedmodel_becomes_layers_that_train(tmp_path: Path) -> None:
    model = net()
    model.export(tmp_path / "exported", verbose=False)
    pictures = np.random.default_rng(0).random((4, 12, 12, 3), np.float32)

    added = zoo.add(tmp_path / "exported", name="mine", preprocess="unit")

    loaded = zoo.load_model("mine")
    np.testing.assert_allclose(loaded(pictures), model(pictures), atol=1e-5)
    assert added.entry.units == len(split_units(model)) == 3
    assert any("parity" in note for note in added.notes)
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    with pytest.raises(CutError, match="mine has 3 units.*zoo layers mine"):  # and not as it calls itself
        zoo.transfer("mine", "digits", reuse=7)
    np.testing.assert_allclose(zoo.load_model(tmp_path / "exported")(pictures), model(pictures), atol=1e-5)


def test_what_layers_cannot_compute_is_one_frozen_unit(tmp_path: Path) -> None:
    added = zoo.add(text_module(tmp_path / "module"), name="texts")

    assert added.entry.units == 1
    assert any("one frozen unit" in note for note in added.notes)
    texts = tf.constant(["good film", "dull"])
    expected = tf.saved_model.load(str(tmp_path / "module"))(texts)
    np.testing.assert_allclose(zoo.load_model("texts")(texts), expected, rtol=1e-6)


def test_weights_of_another_framework_are_named_and_turned_as_they_are_told(tmp_path: Path) -> None:
    """Of MobileNet, because it is small: as PyTorch would have it, kernels OIHW, and with names of its own."""
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNet(weights=None, alpha=1.0, classes=10)
    known = {variable.path: np.asarray(variable) for variable in model.variables if "conv1" in variable.path}
    arrays = {f"features.{name}": value for name, value in known.items()}
    arrays["features.conv1/kernel"] = known["conv1/kernel"].transpose(3, 2, 0, 1)
    np.savez(tmp_path / "lower.npz", **arrays)

    added = zoo.add(
        tmp_path / "lower.npz", arch="mobilenet", name="lower", preprocess="tf",
        include="conv1", rename={"^features[.]": ""}, layout={"conv1/kernel": "OIHW->HWIO"},
    )  # fmt: skip

    loaded = {each.path: np.asarray(each) for each in zoo.load_model("lower").variables}
    for name, value in known.items():
        np.testing.assert_array_equal(loaded[name], value)
    assert any(note.startswith("Restored: 5 of the model's variables loaded") for note in added.notes)
    with pytest.raises(IntegrityError, match="lacks"):
        zoo.add(
            tmp_path / "lower.npz", arch="mobilenet", name="other",
            rename={"^features[.]": ""}, layout={"conv1/kernel": "OIHW->HWIO"},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signature": "serving_default"}, "--signature"),
        ({"tensors": ["X:0"]}, "--input X:0"),
        ({"activation": "relu"}, "--activation"),
        ({"include": "conv"}, "--include"),
    ],
)
def test_what_is_of_no_use_to_a_format_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    net().save(tmp_path / "net.keras")
    with pytest.raises(UsageError, match=message):
        zoo.add(tmp_path / "net.keras", **options)


def test_modules_in_the_cache_of_tensorflow_hub_are_used_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    handle = "https://tfhub.dev/google/nnlm-en-dim128/2"
    text_module(tmp_path / hashlib.sha1(handle.encode()).hexdigest(), width=128)

    model = zoo.load_model("tfhub/google/nnlm-en-dim128/2")
    added = zoo.add(handle, name="mine")

    assert model.output_shape == (None, 128)
    assert added.entry.units == 1
    with pytest.raises(OfflineError, match="TFHUB_CACHE_DIR"):
        zoo.add("https://tfhub.dev/google/nothing/1")
    with pytest.raises(NotFoundError):
        zoo.load_model("tfhub/google/nnlm-en-dim50/2")


def test_the_registry_and_the_converter_know_the_same_nets_of_slim() -> None:
    for entry in list_models(source="slim"):
        assert ("load" in entry.can) == loadable_slim(entry), entry.name


def test_what_tensorflow_has_saved_is_converted_to_files(tmp_path: Path) -> None:
    model, book = net(), trained_book_net(tmp_path)
    model.export(tmp_path / "exported", verbose=False)
    pictures = np.random.default_rng(0).random((4, 12, 12, 3), np.float32)

    exported = zoo.convert(tmp_path / "exported", tmp_path / "net.keras")
    whole = zoo.convert(book.prefix, tmp_path / "book.keras")
    part = zoo.convert(book.prefix, tmp_path / "part.keras", outputs=["dnn/hidden2/Elu:0"])

    assert set(exported.errors) == {"TensorFlow to Keras", "Keras to Keras archive"}
    np.testing.assert_allclose(zoo.load_model(exported.path)(pictures), model(pictures), atol=1e-5)
    np.testing.assert_allclose(zoo.load_model(whole.path)(book.x), book.logits, atol=1e-4)
    assert zoo.load_model(part.path).output_shape == (None, 50)
    with pytest.raises(UsageError, match="--output"):
        zoo.convert(tmp_path / "net.keras", tmp_path / "other.keras", outputs=["X:0"])
