"""A SavedModel as one layer: it computes what TensorFlow does, comes back from a file, and lets nothing else in."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from text_modules import WIDTH, function_of, old_text_module, rezipped, saved, text_module

from zoo.errors import IntegrityError, UnsafeFileError, UsageError
from zoo.loading import load_model, opaque_model, saved_model_files
from zoo.loading.from_tensorflow import load_saved_model
from zoo.loading.saved_model_layer import SavedModelLayer
from zoo.store.guards.keras_assets import saved_model_digest

TEXTS = ["A lovely film", "", "naïve ☃ 'quotes'\nand a line", "x" * 5000]
STORED = "assets/layers/saved_model_layer/saved_model.pb"
VARIABLES = "assets/layers/saved_model_layer/variables/variables.data-00000-of-00001"


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_module(tmp_path_factory.mktemp("module") / "text")


@pytest.fixture(scope="module")
def archive(module: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .keras file with the layer alone."""
    path = tmp_path_factory.mktemp("archive") / "m.keras"
    opaque_model(module).save(path)
    return path


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of SavedModels that this process has loaded before."""
    monkeypatch.setattr(saved_model_files, "_KNOWN", weakref.WeakValueDictionary())


def texts(some: list[str]) -> Any:
    return tf.constant(some)


def test_it_computes_what_tensorflow_computes(module: Path) -> None:
    model = opaque_model(module)

    assert (model.input_shape, model.inputs[0].dtype, model.output_shape) == ((None,), "string", (None, WIDTH))
    expected = tf.saved_model.load(str(module))(texts(TEXTS))
    np.testing.assert_array_equal(model(texts(TEXTS)), expected)
    np.testing.assert_array_equal(model.predict(np.array(TEXTS, object), verbose=0), expected)
    assert model.weights == []
    layer = model.get_layer("saved_model")
    assert layer.parameters == 256 * WIDTH
    assert not any(str(module) in str(value) for value in layer.get_config().values())


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("load", [load_model, keras.models.load_model], ids=["zoo", "keras"])
def test_it_comes_back_from_a_file_alone(module: Path, tmp_path: Path, load: Callable[[Path], Any]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(module, copy)
    model = opaque_model(copy)
    expected = np.asarray(model(texts(TEXTS)))
    model.save(tmp_path / "m.keras")
    del model
    shutil.rmtree(copy)
    saved_model_files._KNOWN.clear()

    again = load(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(texts(TEXTS)), expected)
    again.save(tmp_path / "again.keras")  # and goes on from there
    saved_model_files._KNOWN.clear()
    np.testing.assert_array_equal(load(tmp_path / "again.keras")(texts(TEXTS)), expected)


def test_what_a_process_knows_is_loaded_once(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_model(archive)
    monkeypatch.setattr(saved_model_files, "opened_saved_model", None)
    second = load_model(archive)
    np.testing.assert_array_equal(first(texts(TEXTS)), second(texts(TEXTS)))


@pytest.mark.usefixtures("forgetful")
def test_private_copies_go_with_the_last_model(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    monkeypatch.setattr(saved_model_files, "unpacking_folder", lambda: folder)
    model = load_model(archive)
    assert len(list(folder.iterdir())) == 1
    del model
    keras.backend.clear_session()
    import gc

    gc.collect()
    assert list(folder.iterdir()) == []


# --- what goes in and comes out ---


def doubled(x: Any) -> Any:
    return tf.cast(tf.strings.length(x), tf.float32)[:, tf.newaxis] * tf.constant([[1.0, 2.0]])


def test_a_signature_of_tensorflow_1(tmp_path: Path) -> None:
    model = opaque_model(old_text_module(tmp_path / "old"))
    found = np.asarray(model(texts(["a", "b", "a"])))
    assert found.shape == (3, 3)
    np.testing.assert_array_equal(found[0], found[2])
    assert model.get_layer("saved_model").get_config()["signature"] == "serving_default"


def test_texts_in_a_column(tmp_path: Path) -> None:
    function = function_of(None, 1)(lambda x: doubled(x[:, 0]))
    model = opaque_model(saved(tmp_path / "m", function))
    assert model.input_shape == (None,)
    np.testing.assert_array_equal(model(texts(["a", "bcd"])), [[1, 2], [3, 6]])


def test_flags_of_training_are_off(tmp_path: Path) -> None:
    def vector(x: Any, trainable: bool) -> Any:
        return tf.reduce_mean(x, axis=(1, 2)) * (100.0 if trainable else 1.0)

    flags = ((True,), (False,))
    function = function_of(None, None, None, 3, dtype=tf.float32, more=flags)(vector)
    model = opaque_model(saved(tmp_path / "m", function))

    assert (model.input_shape, model.output_shape) == ((None, None, None, 3), (None, 3))
    np.testing.assert_allclose(model(np.ones((2, 5, 4, 3), np.float32)), np.ones((2, 3)))


def test_maps_of_pictures_keep_their_shape(tmp_path: Path) -> None:
    function = function_of(None, 8, 8, 3, dtype=tf.float32)(lambda x: x[:, ::2, ::2, :2])
    assert opaque_model(saved(tmp_path / "m", function)).output_shape == (None, 4, 4, 2)


def test_signatures_and_outputs_by_their_names(tmp_path: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])  # type: ignore[untyped-decorator]
    def both(x: Any) -> Any:
        return {"length": doubled(x), "first": doubled(tf.strings.substr(x, 0, 1)), "text": x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])  # type: ignore[untyped-decorator]
    def one(x: Any) -> Any:
        return {"length": doubled(x), "default": 2 * doubled(x)}

    folder = saved(tmp_path / "m", signatures={"both": both, "one": one})

    with pytest.raises(UsageError, match="several signatures: 'both', 'one'.*--signature both"):
        opaque_model(folder)
    with pytest.raises(
        UsageError, match=r"signature of the SavedModel \('both', 'one'\); got 'onn'\. Did you mean one\?"
    ):
        opaque_model(folder, "onn")
    with pytest.raises(UsageError, match="one of these outputs to be named: 'first', 'length'"):
        opaque_model(folder, "both")
    with pytest.raises(UsageError, match="Expected an output of 'first', 'length'; got 'text'"):
        opaque_model(folder, "both", output="text")
    np.testing.assert_array_equal(opaque_model(folder, "one")(texts(["ab"])), [[4, 8]])
    np.testing.assert_array_equal(opaque_model(folder, "both", output="first")(texts(["ab"])), [[1, 2]])


@pytest.mark.parametrize(
    ("function", "cause"),
    [
        (function_of(dtype=tf.string)(lambda x: doubled(x[tf.newaxis])), "one example alone, and no batch"),
        (function_of(4)(doubled), "takes 4 examples at a time"),
        (function_of(None, 2)(lambda x: doubled(x[:, 0])), r"takes texts of shape \[2\]"),
        (function_of(None)(lambda x: tf.strings.split(x)), "nothing that .* is a tensor of numbers"),
        (function_of(None)(lambda x: x), "nothing that .* is a tensor of numbers"),
        (function_of(None)(lambda x: tf.reduce_sum(doubled(x), axis=0)), r"puts out \[2\] for one example"),
        (
            function_of(None)(lambda x: tf.strings.split(x).to_tensor(shape=[None, 70]) == "a"),
            None,
        ),
        (
            function_of(None)(lambda x: tf.strings.length(tf.strings.split(x).to_tensor())),
            "expected a row for each, whatever stands beside it",
        ),
    ],
    ids=["scalar", "fixed-batch", "two-columns", "ragged", "texts-out", "one-for-all", "flags-out", "padded"],
)
def test_what_is_no_layer_says_why(function: Any, cause: str | None, tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", function)
    if cause is None:
        assert opaque_model(folder).output_shape == (None, 70)
        return
    with pytest.raises(IntegrityError, match=cause):
        opaque_model(folder)


class Both(tf.Module):  # type: ignore[misc]
    """A module that is called itself, and served with something done to its numbers first."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2), name="kernel")

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])  # type: ignore[untyped-decorator]
    def __call__(self, x: Any) -> Any:
        return x @ self.kernel

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])  # type: ignore[untyped-decorator]
    def serve(self, x: Any) -> Any:
        return {"scores": 2 * self(x)}


@pytest.mark.filterwarnings("ignore")
def test_the_module_itself_comes_first_whether_layers_are_made_of_it_or_not(tmp_path: Path) -> None:
    both = Both()
    tf.saved_model.save(both, str(tmp_path / "m"), signatures={"serving_default": both.serve})
    x = np.ones((2, 3), np.float32)
    for signature, expected in ((None, both(x)), ("__call__", both(x)), ("serving_default", both.serve(x)["scores"])):
        for model in (
            load_saved_model(tmp_path / "m", signature=signature)[0],
            opaque_model(tmp_path / "m", signature),
        ):
            np.testing.assert_allclose(np.asarray(model(x)), np.asarray(expected), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(load_model(tmp_path / "m")(x)), both(x), rtol=1e-6)


def test_several_inputs_are_no_layer(tmp_path: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)] * 2)  # type: ignore[untyped-decorator]
    def pair(a: Any, b: Any) -> Any:
        return {"length": doubled(a) + doubled(b)}

    with pytest.raises(IntegrityError, match="cannot be used as one layer: its signature 'pair' takes 'a', 'b'"):
        opaque_model(saved(tmp_path / "m", signatures={"pair": pair}))


# --- files of somebody else's ---


def set_config(members: dict[str, bytes], **values: Any) -> None:
    config = json.loads(members["config.json"])
    (layer,) = (each for each in config["config"]["layers"] if each["registered_name"] == "zoo>SavedModelLayer")
    layer["config"] |= values
    members["config.json"] = json.dumps(config).encode()


def flip(members: dict[str, bytes]) -> None:
    members[VARIABLES] = members[VARIABLES][:-1] + bytes([members[VARIABLES][-1] ^ 1])


def drop_assets(members: dict[str, bytes]) -> None:
    for name in [each for each in members if each.startswith("assets/")]:
        del members[name]


def second(members: dict[str, bytes]) -> None:
    for name in [each for each in members if each.startswith("assets/")]:
        members[name.replace("saved_model_layer/", "saved_model_layer_1/")] = members[name]
    members["assets/layers/saved_model_layer_1/assets/more.txt"] = b"x"


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # which Keras says after an error
@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize(
    ("change", "error", "cause"),
    [
        (flip, IntegrityError, "lacks the SavedModel that a layer of it is"),
        (drop_assets, IntegrityError, "lacks the SavedModel that a layer of it is"),
        (lambda members: set_config(members, sha256="0" * 64), IntegrityError, "lacks the SavedModel"),
        (lambda members: set_config(members, sha256="../../etc"), IntegrityError, "lacks the SavedModel"),
        (lambda members: members.update({"assets/notes.txt": b"x"}), UnsafeFileError, "holds 'assets/notes.txt'"),
        (second, UnsafeFileError, "holds a SavedModel in its assets, which none of its layers wants"),
        (lambda members: members.update({STORED: b"\0" * 50}), IntegrityError, f"m.keras: {STORED} is damaged"),
        (lambda members: set_config(members, result=[3]), IntegrityError, "not as its config tells"),
        (lambda members: set_config(members, input_dtype="float32"), IntegrityError, "not as its config tells"),
        (lambda members: set_config(members, result=[1 << 40]), UnsafeFileError, "puts out 1,099,511,627,776"),
        (lambda members: set_config(members, folder="/etc"), IntegrityError, "cannot be loaded"),
    ],
    ids=["flipped", "no-assets", "other-digest", "path-as-digest", "file-beside", "module-beside", "no-graph",
         "other-result", "other-input", "huge-result", "path"],
)  # fmt: skip
def test_x04_archives_that_are_not_as_saved_are_refused(
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Any], None],
    error: Any,
    cause: str,
) -> None:
    opened: list[Path] = []
    load = saved_model_files.opened_saved_model

    def watched(folder: Path) -> Any:
        opened.append(folder)
        return load(folder)

    monkeypatch.setattr(saved_model_files, "opened_saved_model", watched)
    path = rezipped(archive, tmp_path / "m.keras", change)

    with pytest.raises(error, match=cause):
        load_model(path)
    if cause.startswith(("lacks", "holds", "m.keras")):
        assert not opened  # TensorFlow has seen none of it


@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.usefixtures("forgetful")
def test_x08_a_module_that_reads_files_is_refused_wherever_it_comes_from(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("1")
    function = function_of(None)(lambda x: doubled(x) + tf.strings.to_number(tf.io.read_file(str(secret))))
    folder = saved(tmp_path / "m", function)
    with pytest.raises(UnsafeFileError, match="ReadFile"):
        opaque_model(folder)

    good = opaque_model(saved(tmp_path / "good", function_of(None)(doubled)))
    good.save(tmp_path / "good.keras")

    def swap(members: dict[str, bytes]) -> None:
        drop_assets(members)
        for path in folder.rglob("*"):
            if path.is_file():
                members[f"assets/layers/saved_model_layer/{path.relative_to(folder)}"] = path.read_bytes()
        set_config(members, sha256=saved_model_digest(folder))

    hostile = rezipped(tmp_path / "good.keras", tmp_path / "hostile.keras", swap)
    with pytest.raises(UnsafeFileError, match="ReadFile"):
        load_model(hostile)
    with pytest.raises(ValueError, match="ReadFile"):  # Keras itself, by the layer's own guard
        keras.models.load_model(hostile)


def test_x04_assets_of_no_layer_are_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(plain)
    path = rezipped(plain, tmp_path / "m.keras", lambda members: members.update({"assets/saved_model.pb": b""}))
    with pytest.raises(UnsafeFileError, match=r"holds .?assets/saved_model\.pb"):
        load_model(path)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_format_without_room_for_it_is_refused(module: Path, tmp_path: Path) -> None:
    opaque_model(module).save(tmp_path / "m.h5")
    with pytest.raises(IntegrityError, match="not that SavedModel, for which such files have no room"):
        load_model(tmp_path / "m.h5")


def test_a_layer_from_its_config_alone_says_what_is_missing(module: Path) -> None:
    layer = SavedModelLayer.from_config(opaque_model(module).get_layer("saved_model").get_config())
    with pytest.raises(IntegrityError, match="has no SavedModel"):
        layer(texts(["a"]))


def test_a_folder_that_changes_is_not_saved(module: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(module, copy)
    model = opaque_model(copy)
    (copy / "assets" / "more.txt").write_text("x")
    with pytest.raises(IntegrityError, match="no longer what it was"):
        model.save(tmp_path / "m.keras")
