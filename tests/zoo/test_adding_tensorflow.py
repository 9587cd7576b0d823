"""Adding what TensorFlow has saved, and weights of other frameworks: it becomes a model like any other."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from book_net import WIDTHS, BookNet, trained_book_net
from loopback import Web, cut
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


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> BookNet:
    return trained_book_net(tmp_path_factory.mktemp("book"), steps=1)


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": "hidden[123]"}, "--output dnn/hidden3.*--reuse 'hidden.*--arch.*--activation"),
        ({"rename": {"^dnn/": ""}}, "has its graph beside it"),
        ({"activation": "tanh"}, "has its graph beside it.*Leave --activation away"),
        ({"allow_partial": True}, "has its graph beside it.*Leave --allow-partial away"),
        (
            {"arch": "vgg16", "outputs": ["dnn/hidden1/Elu:0"]},
            "--output is for a graph, and that of my_model_final.ckpt is not used",
        ),
        ({"arch": "vgg16", "tensors": ["X:0"]}, "--input X:0 is for a graph.*Leave one of both away"),
        ({"arch": "vgg16", "limit": 0.1}, "--limit is for a graph.*not used"),
        ({"arch": "vgg16", "activation": "relu"}, "--arch vgg16 .*--activation.*Leave one of them away"),
    ],
)
def test_what_a_graph_beside_a_checkpoint_makes_useless_is_refused(
    book: BookNet, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        zoo.add(book.prefix, **options)


def test_a_checkpoint_with_its_graph_ends_where_it_is_told_or_is_a_chain(book: BookNet) -> None:
    below = zoo.add(book.prefix, name="below", outputs=["dnn/hidden3/Elu:0"])
    chain = zoo.add(book.prefix, name="chain", activation="elu", include="hidden[123]")

    assert (below.entry.units, chain.entry.units) == (3, 3)
    assert any(note.endswith(".meta, was not looked at.") for note in chain.notes)
    lower = zoo.load_model("below")(book.x)
    np.testing.assert_allclose(zoo.load_model("chain")(book.x), lower, atol=1e-5 * np.abs(lower).max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": "nothing", "rename": {"^a": "b"}}, "'nothing' matches none|'\\^a' matches none"),
        ({"allow_partial": True}, "nothing tells which net.*--arch"),
        ({"arch": "mobilenet", "activation": "relu"}, "Leave one of them away"),
        ({"outputs": ["X:0"]}, "--output .* is for SavedModel"),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".h5", ".safetensors"])
def test_no_option_for_arrays_is_dropped(options: dict[str, Any], message: str, suffix: str, tmp_path: Path) -> None:
    arrays(tmp_path / f"net{suffix}", {"a/kernel": np.ones((2, 3), "float32"), "b/kernel": np.ones((3, 2), "float32")})
    with pytest.raises(UsageError, match=message):
        zoo.add(tmp_path / f"net{suffix}", **options)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".safetensors"])
def test_arrays_alone_are_kept_and_say_how_they_are_loaded_or_are_a_chain(suffix: str, tmp_path: Path) -> None:
    first, second = np.eye(2, 3, dtype="float32"), np.eye(3, 4, dtype="float32")
    arrays(tmp_path / f"net{suffix}", {"a/kernel": first, "b/kernel": second})

    kept = zoo.add(tmp_path / f"net{suffix}", name="kept")
    chain = zoo.add(tmp_path / f"net{suffix}", name="chain", activation="relu")

    assert any("which net these weights are of is not known" in note and "--arch NET" in note for note in kept.notes)
    assert chain.entry.units == 2
    np.testing.assert_allclose(zoo.load_model("chain")(np.array([[1, -2]], "float32")), [[1, 0, 0, 0]])


def arrays(path: Path, values: dict[str, np.ndarray[Any, Any]]) -> None:
    """Writes arrays in the format that a name says."""
    if path.suffix == ".npz":
        np.savez(path, **values)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, value in values.items():
                file[name] = value
    else:
        safetensors.numpy.save_file(values, path)


def test_one_frozen_unit_takes_nothing_that_only_layers_could_have(tmp_path: Path) -> None:
    text_module(tmp_path / "module")
    for options, message in (
        ({"outputs": ["a", "b"]}, "more than one --output"),
        ({"shapes": {"texts": (2,)}}, "--shape"),
    ):
        with pytest.raises(UsageError, match=f"{message}|Expected outputs"):
            zoo.add(tmp_path / "module", **options)


def test_weights_that_lack_what_nobody_left_away_are_refused(tmp_path: Path) -> None:
    """As those do of which an option leaves other things away."""
    keras.utils.set_random_seed(0)
    whole = keras.applications.MobileNet(weights=None, classes=10)
    values = {each.path: np.asarray(each) for each in whole.variables if "conv_pw_9" not in each.path}
    np.savez(tmp_path / "part.npz", **values)
    told: dict[str, Any] = {"arch": "mobilenet", "exclude": "conv_preds", "preprocess": "tf"}

    with pytest.raises(IntegrityError, match=r"lacks 5 variables of the net: conv_pw_9.*--exclude.*--allow-partial"):
        zoo.add(tmp_path / "part.npz", name="part", **told)

    part = zoo.add(tmp_path / "part.npz", name="part", allow_partial=True, **told)
    assert part.entry.lacks == ("conv_pw_9", "conv_pw_9_bn", "conv_preds")
    assert zoo.find_entry("part").lacks == part.entry.lacks
    assert any("lacks 3 layers, which start as in training from scratch" in note for note in part.notes)
    chosen = zoo.add(
        tmp_path / "part.npz", name="chosen", arch="mobilenet", exclude=["conv_preds", "conv_pw_9"], preprocess="tf"
    )
    assert chosen.entry.lacks == part.entry.lacks


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
    assert added.entry.origin == f"added from {handle}"
    with pytest.raises(OfflineError, match="TFHUB_CACHE_DIR"):
        zoo.add("https://tfhub.dev/google/nothing/1")
    with pytest.raises(NotFoundError):
        zoo.load_model("tfhub/google/nnlm-en-dim50/2")


def packed(folder: Path) -> bytes:
    """Returns a module as TF Hub sends it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.add(folder, ".")
    return file.getvalue()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    server = Web()
    yield server
    server.close()


def test_modules_of_any_address_come_by_the_rules_of_the_store(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    data = packed(text_module(tmp_path / "module"))
    address = web.put("/somebody/texts-dim16/3", data, cut(100))

    added = zoo.add(address)

    assert (added.entry.name, added.entry.units) == ("texts-dim16", 1)
    assert added.entry.origin == f"added from {address}"
    assert added.entry.summary == f"Added from {address}"
    asked = web.requests("/somebody/texts-dim16/3")
    assert [each.path.partition("?")[2] for each in asked] == ["tf-hub-format=compressed"] * 2
    assert "Range" in asked[1].headers  # what broke is taken up again
    assert len(list((home / "blobs" / "sha256").iterdir())) == 1  # that of what was made of it
    assert not list((home / "tmp").glob("*module*"))
    monkeypatch.setenv("ZOO_MIRROR", f"{web.url}/somebody/={web.url}/somebody/")
    with pytest.raises(NotFoundError):  # and nobody else is asked
        zoo.add(f"{web.url}/somebody/nothing/1")


def test_modules_that_the_registry_knows_are_pulled_as_its_models_are(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.put("/hub/google/nnlm-en-dim50/2", packed(text_module(tmp_path / "module", width=50)))
    monkeypatch.setenv("ZOO_MIRROR", f"https://tfhub.dev/={web.url}/hub/")

    added = zoo.add("https://tfhub.dev/google/nnlm-en-dim50/2")

    assert added.entry.name == "nnlm-en-dim50"
    assert added.entry.origin == "added from https://tfhub.dev/google/nnlm-en-dim50/2"
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert zoo.load_model("tfhub/google/nnlm-en-dim50/2").output_shape == (None, 50)


def test_modules_over_plain_http_are_refused() -> None:
    with pytest.raises(UsageError, match="plain http.*https://"):
        zoo.add("http://hub.example/google/nnlm/2")


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

    assert set(exported.errors) == {"TensorFlow to ONNX", "ONNX to Keras", "Keras to Keras archive"}
    np.testing.assert_allclose(zoo.load_model(exported.path)(pictures), model(pictures), atol=1e-5)
    np.testing.assert_allclose(zoo.load_model(whole.path)(book.x), book.logits, atol=1e-4)
    assert zoo.load_model(part.path).output_shape == (None, 50)
    with pytest.raises(UsageError, match="--output"):
        zoo.convert(tmp_path / "net.keras", tmp_path / "other.keras", outputs=["X:0"])


def test_weights_of_keras_and_a_description_of_the_net_are_a_model(tmp_path: Path) -> None:
    model = net()
    model.save_weights(tmp_path / "net.weights.h5")
    (tmp_path / "net.json").write_text(model.to_json())
    x = np.random.default_rng(0).random((2, 12, 12, 3), np.float32)

    added = zoo.add(tmp_path / "net.weights.h5", arch=str(tmp_path / "net.json"), name="mine")

    assert added.entry.units == 3
    np.testing.assert_allclose(zoo.load_model("mine")(x), model(x), atol=1e-6)


def test_the_same_checkpoint_is_the_same_bytes(book: BookNet) -> None:
    digests = [zoo.add(book.prefix, name=name).entry.files[0].hash for name in ("one", "other")]

    assert digests[0] == digests[1]


def test_a_part_of_a_checkpoint_that_ends_in_a_hidden_layer_is_reused_whole(book: BookNet) -> None:
    zoo.add(book.prefix, name="lower", activation="relu", include="hidden[123]")

    run = zoo.transfer("lower", (book.x, book.y), reuse="hidden[123]", epochs=1)

    assert (run.record["reuse"], run.record["freeze"], len(run.record["units"])) == (3, 3, 3)
