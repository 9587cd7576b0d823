"""Models of one's own: what is told of them, what is asked, what is refused, and what is kept though not loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from loopback import assert_invariants, blobs_in, listing
from model_files import PROTOTXT, pickled, saved_by_tensorflow

import zoo
from zoo.errors import DataError, IntegrityError, NotFoundError, UnsafeFileError, UsageError
from zoo.registry import InputSpec
from zoo.registry.index import own_entries

Layers = keras.layers
# The smallest picture that MobileNet takes, so that its file is quick to write; 7 classes are nobody's default.
MOBILENET: dict[str, Any] = {"weights": None, "input_shape": (32, 32, 3), "classes": 7}


def picture_net(channels: int = 3, size: int | None = 12, classes: int = 5) -> keras.Model:
    keras.utils.set_random_seed(3)
    image = keras.Input((size, size, channels))
    x = Layers.Conv2D(4, 3, activation="relu", name="c1")(image)
    x = Layers.Conv2D(8, 3, activation="relu", name="c2")(x)
    x = Layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, Layers.Dense(classes, activation="softmax", name="scores")(x), name="net")


def saved(model: keras.Model, name: str = "net.keras") -> Path:
    model.save(name)
    return Path(name)


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights of a MobileNet of 7 classes: whole and headless, as Keras 3 writes them."""
    folder = tmp_path_factory.mktemp("mobilenet")
    paths = {"whole": folder / "mine.weights.h5", "headless": folder / "mine_notop.weights.h5"}
    keras.utils.set_random_seed(5)
    whole = keras.applications.MobileNet(**MOBILENET)
    whole.save_weights(paths["whole"])
    headless = keras.applications.MobileNet(weights=None, input_shape=(32, 32, 3), include_top=False)
    headless.set_weights(whole.get_weights()[: len(headless.weights)])
    headless.save_weights(paths["headless"])
    return paths


def refused(kind: type[Exception], words: str, home: Path, *paths: str | Path, **options: Any) -> None:
    """Adds in vain, and checks that nothing of it stays."""
    around = listing(home.parent, home)
    with pytest.raises(kind, match=words):
        zoo.add(paths, **options)
    assert listing(home.parent, home) == around
    assert own_entries() == {}
    assert blobs_in(home) == []
    assert not (home / "tmp").exists() or list((home / "tmp").iterdir()) == []


# --- what the file tells ---


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_a_whole_model_tells_what_it_is(name: str, home: Path) -> None:
    model = picture_net()
    added = zoo.add(saved(model, name), preprocess="unit", summary="Flowers.", license="MIT", labels="flowers")
    entry, loaded = added.entry, zoo.load_model("net")

    assert entry == zoo.find_entry("net")
    assert (entry.source, entry.arch, entry.task, entry.summary) == ("local", None, "image-classification", "Flowers.")
    assert (entry.units, entry.params, entry.license, entry.can) == (3, model.count_params(), "MIT", ("load",))
    assert (entry.output.classes, entry.output.labels, entry.output.logits) == (5, "flowers", False)
    assert entry.input == InputSpec((12, 12, 3), color="RGB", scale=1 / 255)
    assert entry.recorded is not None
    assert added.notes == ()
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), loaded.get_weights(), strict=True))


def test_a_transfer_from_a_model_of_ones_own() -> None:
    zoo.add(saved(picture_net(channels=1, size=8)), preprocess="unit")
    run = zoo.transfer("net", "digits", reuse=2, train_per_class=5, epochs=2)

    assert run.record["model"] == "net"


def test_rows_and_words_have_nothing_to_preprocess() -> None:
    rows = keras.Sequential([keras.Input((4,)), Layers.Dense(3), Layers.Dense(2)])
    words = keras.Sequential([keras.Input((9,), dtype="int32"), Layers.Embedding(50, 8), Layers.Flatten()])
    entries = [zoo.add(saved(model, name)).entry for model, name in ((rows, "rows.keras"), (words, "words.keras"))]

    assert [entry.input for entry in entries] == [None, None]
    assert (entries[0].output.classes, entries[0].output.features) == (None, 2)
    assert all(entry.recorded for entry in entries)
    with pytest.raises(UsageError, match="takes no pictures"):
        zoo.add("rows.keras", name="again", preprocess="unit")


def test_a_model_that_cannot_be_cut_is_kept_and_says_so() -> None:
    one, two = keras.Input((4,)), keras.Input((4,))
    added = zoo.add(saved(keras.Model([one, two], Layers.Dense(1)(Layers.Add()([one, two])))))

    assert (added.entry.units, added.entry.recorded, added.entry.can) == (None, None, ("load",))
    assert "cannot be cut" in " ".join(added.notes)
    assert "2 inputs" in " ".join(added.notes)
    assert len(zoo.load_model("net").inputs) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a05_weights_that_are_not_finite_are_told_by_layer(value: float) -> None:
    model = picture_net()
    kernel, bias = model.get_layer("c2").get_weights()
    kernel[0, 0, 0, 0] = value
    model.get_layer("c2").set_weights([kernel, bias])
    added = zoo.add(saved(model), preprocess="unit")

    assert any("not finite" in note and "'c2'" in note and "'c1'" not in note for note in added.notes)
    assert added.nonfinite == ("c2",)
    assert "load" in added.entry.can


@keras.saving.register_keras_serializable(package="tests_adding")
class Doubled(Layers.Layer):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return 2 * x


@keras.saving.register_keras_serializable(package="tests_adding")
class Subclassed(keras.Model):  # type: ignore[misc]
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense = Layers.Dense(3)

    def call(self, x: Any) -> Any:
        return self.dense(x)


def test_a_class_that_only_this_process_knows_is_told() -> None:
    added = zoo.add(saved(keras.Sequential([keras.Input((4,)), Doubled(), Layers.Dense(2, "softmax")])))

    assert any("'tests_adding>Doubled'" in note and "the command line cannot load it" in note for note in added.notes)


def test_a_model_of_a_class_of_its_own_is_refused(home: Path) -> None:
    model = Subclassed()
    model(np.zeros((1, 4)))
    refused(UsageError, r"class of its own \(Subclassed\)", home, saved(model))


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_model_that_was_never_built_is_refused(home: Path) -> None:
    path = saved(keras.Sequential([Layers.Dense(3), Layers.Dense(2)]))
    refused(IntegrityError, "saved before its model was built", home, path, preprocess="unit")


def test_numbers_without_a_softmax_are_features_unless_their_user_says_logits() -> None:
    path = saved(keras.Sequential([keras.Input((12, 12, 3)), Layers.Flatten(), Layers.Dense(4, name="last")]))
    features, logits = zoo.add(path, preprocess="unit"), zoo.add(path, preprocess="unit", logits=True, replace=True)

    assert (features.entry.task, features.entry.output.features) == ("image-feature-vector", 4)
    assert any("'last'" in note and "--logits --replace" in note for note in features.notes)
    assert logits.entry.task == "image-classification"
    assert (logits.entry.output.classes, logits.entry.output.logits, logits.entry.output.features) == (4, True, None)
    assert logits.notes == ()


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (Layers.Dense(4, "softmax"), "'last_one'.* ends in softmax"),
        (Layers.Dense(4, "sigmoid"), "ends in sigmoid"),
        (Layers.Reshape((2, 24)), r"puts out \(None, 2, 24\)"),
    ],
)
def test_what_cannot_be_logits(last: Any, words: str, home: Path) -> None:
    last.name = "last_one"
    path = saved(keras.Sequential([keras.Input((4, 4, 3)), Layers.Flatten(), last]))
    refused(UsageError, f"{words}.*--logits", home, path, preprocess="unit", logits=True)


# --- what is asked ---


def test_how_pictures_become_numbers_is_never_guessed() -> None:
    added = zoo.add(saved(picture_net()))
    spec = added.entry.input

    assert spec is not None
    assert (spec.size, spec.color, spec.scale) == ((12, 12, 3), None, None)
    assert any("--preprocess" in note and "--replace" in note for note in added.notes)
    with pytest.raises(DataError, match="does not say how this model wants pictures"):
        zoo.transfer("net", "digits", train_per_class=2)
    zoo.add("net.keras", replace=True, preprocess="tf")
    assert zoo.find_entry("net").input == InputSpec((12, 12, 3), scale=1 / 127.5, mean=(1.0,))


def test_who_is_there_to_be_asked_is_asked_once_and_only_about_pictures() -> None:
    asked: list[tuple[InputSpec, str]] = []

    def ask(spec: InputSpec, hint: str) -> str | None:
        asked.append((spec, hint))
        return "torch"

    inside = keras.Sequential([keras.Input((12, 12, 3)), Layers.Rescaling(1 / 255, name="inside"), picture_net()])
    zoo.add(saved(keras.Sequential([keras.Input((4,)), Layers.Dense(2)]), "rows.keras"), ask=ask)
    zoo.add(saved(picture_net(), "told.keras"), ask=ask, preprocess="none")
    entry = zoo.add(saved(inside, "asked.keras"), ask=ask).entry

    assert [(spec.size, "'inside'" in hint) for spec, hint in asked] == [((12, 12, 3), True)]
    assert entry.input is not None
    assert entry.input.std == (0.229, 0.224, 0.225)


@pytest.mark.parametrize(("preprocess", "told"), [("unit", True), ("none", False)])
def test_numbers_that_would_be_scaled_twice_are_told(preprocess: str, told: bool) -> None:
    inside = keras.Sequential([keras.Input((12, 12, 3)), Layers.Rescaling(1 / 255, name="inside"), picture_net()])
    added = zoo.add(saved(inside), preprocess=preprocess)

    assert any("'inside', scales numbers already" in note for note in added.notes) == told


def test_preprocessing_for_colours_on_a_gray_model(home: Path) -> None:
    path = saved(picture_net(channels=1))
    refused(UsageError, r"torch is for pictures of 3 channels; this model takes 1", home, path, preprocess="torch")


def test_several_inputs_have_nothing_to_preprocess(home: Path) -> None:
    one, two = keras.Input((4,)), keras.Input((4,))
    path = saved(keras.Model([one, two], Layers.Dense(1)(Layers.Add()([one, two]))))
    refused(UsageError, "takes no pictures of 1 or 3 channels, but 2 inputs at once", home, path, preprocess="unit")


def test_what_the_file_leaves_open_the_user_says() -> None:
    path = saved(picture_net(size=None))

    assert zoo.add(path, name="any", preprocess="none").entry.input == InputSpec((None, None, 3))
    entry = zoo.add(path, name="some", preprocess="none", input_size=(20, 30, 3)).entry
    assert entry.input == InputSpec((20, 30, 3))
    assert entry.recorded is not None
    assert entry.recorded.input == (1, 20, 30, 3)


@pytest.mark.parametrize("size", [(13, 12, 3), (12, 12, 1), (12, 12), (None, None, 4)])
def test_a_size_that_contradicts_the_file(size: tuple[int | None, ...], home: Path) -> None:
    told = "x".join("?" if each is None else str(each) for each in size)
    refused(UsageError, rf"{told.replace('?', '.')}.* takes 12x12x3", home, saved(picture_net()), input_size=size)


# --- names ---


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My net (final).keras", "My-net-final"),
        ("mine.weights.h5", "mine"),
        ("_x.y.HDF5", "x.y"),
        ("Öl & Café 2.keras", "Ol-Cafe-2"),
    ],
)
def test_a_name_is_made_of_the_files(file: str, name: str) -> None:
    """Suffixes in capitals, too, become those that loaders know."""
    model = picture_net()
    scratch = "scratch.weights.h5" if "weights" in file else "scratch.keras" if file.endswith("keras") else "scratch.h5"
    (model.save_weights if "weights" in file else model.save)(scratch)
    Path(scratch).rename(file)
    entry = zoo.add(file).entry

    assert entry.name == name
    if "weights" not in file:
        assert zoo.load_model(name).name == "net"


def test_a_name_that_differs_from_the_files_is_told() -> None:
    notes = " ".join(zoo.add(saved(picture_net(), "Öl & Café.keras"), preprocess="unit").notes)

    assert "called Ol-Cafe, for a name may not be 'Öl & Café'" in notes
    assert "'Öl & Café.keras' is kept as" in notes
    assert zoo.add(saved(picture_net(), "plain.KERAS.keras"), preprocess="unit", name="x").notes == ()


def test_a_name_that_cannot_be(home: Path) -> None:
    path = saved(picture_net())
    refused(UsageError, "--name my-net", home, path, name="../net")
    refused(UsageError, "it is empty", home, path, name="")
    path.rename("日本.keras")
    refused(UsageError, "--name my-net", home, "日本.keras")
    Path("日本.keras").rename("vgg16.keras")
    refused(UsageError, "--name vgg16-2", home, "vgg16.keras")


def test_adding_the_same_again_changes_nothing(home: Path) -> None:
    path = saved(picture_net())
    first = zoo.add(path, preprocess="unit")
    before = (home / "registry.json").read_bytes()
    (home / "artifacts" / "net.json").unlink()
    again = zoo.add(path, preprocess="unit")

    assert (again.entry, first.notes) == (first.entry, ())
    assert again.notes == ("net is here already, as it is: nothing was changed.",)
    assert (home / "registry.json").read_bytes() == before
    assert zoo.pulled_names() == {"net"}
    with pytest.raises(UsageError, match="--replace"):
        zoo.add(path, preprocess="tf")


def test_the_same_bytes_under_two_names_are_one_blob(home: Path) -> None:
    path = saved(picture_net())
    one, two = (zoo.add(path, name=name, preprocess="none") for name in ("one", "two"))

    assert one.notes == ()
    assert two.notes == ("It shares its file with one: the store keeps the same bytes once.",)
    assert len(blobs_in(home)) == 1
    assert zoo.load_model("two").name == zoo.load_model("one").name == "net"


# --- weights alone ---


def test_weights_with_their_net(mobilenet: dict[str, Path]) -> None:
    entry = zoo.add(mobilenet["whole"], arch="mobilenet", input_size=(32, 32, 3), preprocess="mobilenet").entry
    model = keras.applications.MobileNet(**MOBILENET)
    model.load_weights(mobilenet["whole"])
    x = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")

    assert (entry.arch, entry.units, entry.output.classes, entry.files[0].role) == ("mobilenet", 28, 7, "weights")
    assert entry.input == InputSpec((32, 32, 3), scale=1 / 127.5, mean=(1.0,))
    assert np.array_equal(zoo.load_model("mine")(x), model(x))


@pytest.mark.slow
def test_headless_weights(mobilenet: dict[str, Path]) -> None:
    added = zoo.add(mobilenet["headless"], arch="mobilenet", input_size=(32, 32, 3), preprocess="tf")
    entry = added.entry

    assert (entry.files[0].role, entry.output.classes, entry.can) == ("weights_notop", None, ("load",))
    assert any("headless: the weights of the classifier ('conv_preds')" in note for note in added.notes)
    assert zoo.load_model("mine_notop").output_shape == (None, 1, 1, 1024)
    assert sorted(zoo.pull("mine_notop").files) == ["weights_notop"]
    assert zoo.verify_outputs("mine_notop")[0].state == "as recorded"


@pytest.mark.slow
def test_weights_do_not_tell_the_size_of_pictures(mobilenet: dict[str, Path]) -> None:
    added = zoo.add(mobilenet["whole"], arch="mobilenet", preprocess="tf")
    told = zoo.add(mobilenet["whole"], name="told", arch="mobilenet", input_size=(64, 64, 3), preprocess="tf")

    assert any("224x224x3 is taken" in note and "--input HxWxC" in note for note in added.notes)
    assert not any("--input" in note for note in told.notes)


def test_weights_of_no_known_net_are_kept_and_say_so(mobilenet: dict[str, Path]) -> None:
    added = zoo.add(mobilenet["whole"])

    assert added.entry.can == ()
    assert "--replace --arch NET" in added.notes[0]
    with pytest.raises(UsageError, match="is kept"):
        zoo.load_model("mine")


def test_a03_weights_of_another_net(mobilenet: dict[str, Path], home: Path) -> None:
    refused(IntegrityError, "mine.weights.h5", home, mobilenet["whole"], arch="vgg16")


def lacking_a_layer() -> Path:
    """VGG16 for small pictures in the layout of Keras 2, with 10 classes, and without its second layer."""
    import h5py
    import tf_keras

    model = tf_keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    model.save_weights("vgg.h5")
    with h5py.File("vgg.h5", "r+") as file:
        names = [name for name in file.attrs["layer_names"] if name not in ("block1_conv2", b"block1_conv2")]
        file.attrs["layer_names"] = names
        del file["block1_conv2"]
    return Path("vgg.h5")


def test_a04_weights_that_lack_a_layer(home: Path) -> None:
    path = lacking_a_layer()
    refused(
        IntegrityError, r"'block1_conv2'.*--allow-partial", home, path, arch="vgg16", input_size=(32, 32, 3),
        preprocess="caffe",
    )  # fmt: skip
    added = zoo.add(path, arch="vgg16", input_size=(32, 32, 3), preprocess="caffe", allow_partial=True)

    assert "block1_conv2" in added.entry.lacks
    assert any("block1_conv2" in note for note in added.notes)
    assert zoo.load_model("vgg").count_params() > 0


@pytest.mark.parametrize(("arch", "words"), [("mobilnet", "Did you mean mobilenet"), ("mobilenet", "whole model")])
def test_a_net_that_is_unknown_or_not_needed(arch: str, words: str, home: Path) -> None:
    model = saved(picture_net(), "net.h5")
    refused(UsageError, words, home, model, arch=arch)


def test_a_net_for_what_has_one_inside(home: Path) -> None:
    refused(UsageError, "tells which net weights are of", home, saved(picture_net()), arch="vgg16")


# --- kept, and not loaded ---


def arrays() -> tuple[Path, ...]:
    np.savez("net.npz", x=np.zeros(3))
    return (Path("net.npz"),)


def checkpoint() -> tuple[Path, ...]:
    return (saved_by_tensorflow(Path("net")),)


KEPT: dict[str, tuple[Callable[[], tuple[Path, ...]], list[str]]] = {
    "npz": (arrays, ["weights"]),
    "checkpoint": (checkpoint, ["archive"]),
}


@pytest.mark.parametrize("format", KEPT)
def test_what_cannot_be_loaded_yet_is_kept_and_says_so(format: str, home: Path) -> None:
    make, roles = KEPT[format]
    paths = make()
    added = zoo.add(paths, name="kept")
    artifact = zoo.pull("kept")

    assert [file.role for file in added.entry.files] == roles == sorted(artifact.files)
    *_, kept, unknown = added.notes
    assert kept.startswith("Kept, not loadable yet")
    assert "how they become numbers is not known" in unknown
    assert "--input HxWxC and --preprocess" in unknown
    assert added.entry.can == ()
    assert_invariants(home)
    with pytest.raises(UsageError, match="is kept"):
        zoo.load_model("kept")
    if artifact.folder is None:
        given = {path.read_bytes() for path in paths}
        assert {path.read_bytes() for path in artifact.files.values()} == given


def test_a_checkpoint_is_found_by_its_prefix() -> None:
    (prefix,) = checkpoint()
    (file,) = zoo.add(prefix, name="kept").entry.files
    out = zoo.pull("kept").folder

    assert out is not None
    assert file.member is not None
    assert (out / f"{file.member}.index").exists()


def test_what_is_kept_takes_what_its_user_says(home: Path) -> None:
    added = zoo.add(arrays(), input_size=(227, 227, 3), preprocess="caffe")
    entry = added.entry

    assert len(added.notes) == 1
    assert entry.input == InputSpec((227, 227, 3), color="BGR", mean=(103.939, 116.779, 123.68))
    zoo.remove("net")
    refused(UsageError, "--input 224x224x3", home, *arrays(), preprocess="caffe")
    refused(UsageError, "height, width and channels", home, *arrays(), input_size=(227, 227))


# --- refused ---


@pytest.mark.parametrize("suffix", [".h5", ".keras", ".onnx", ".caffemodel", ".npz"])
def test_a02_random_bytes(suffix: str, home: Path) -> None:
    path = Path(f"net{suffix}")
    path.write_bytes(np.random.default_rng(0).bytes(10_000))
    others = [Path("net.prototxt")] if suffix == ".caffemodel" else []
    for other in others:
        other.write_bytes(PROTOTXT)
    refused(IntegrityError, f"net{suffix}", home, path, *others)


def test_x14_a_pickle(home: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    Path("net.pkl").write_bytes(pickled(canary, 4))
    refused(UnsafeFileError, "pickle", home, "net.pkl")

    assert not canary.exists()


def test_x01_a_lambda(home: Path, tmp_path: Path) -> None:
    canary = str(tmp_path / "canary")
    model = keras.Sequential(
        [keras.Input((2,)), Layers.Lambda(lambda x: (os.close(os.open(canary, os.O_CREAT)), x)[1])]
    )
    path = saved(model)
    Path(canary).unlink(missing_ok=True)
    refused(UnsafeFileError, "Lambda", home, path)

    assert not Path(canary).exists()


def test_a_file_that_is_not_there(home: Path) -> None:
    refused(NotFoundError, "net.keras", home, "net.keras")
    refused(UsageError, "nothing", home)


# --- killed ---

KILLED = """
import os, signal, zoo
{imports}

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{point}
zoo.add("net.keras", preprocess="unit")
"""
POINTS = {
    "the_copy": ("import zoo.adding as m", "m.looked_at = die"),
    "the_load": ("import zoo.adding.looking as m", "m.record_output = die"),
    "the_blob": ("import zoo.store.keeping as m", "m.put_entry = die"),
}


@pytest.mark.parametrize(
    "point", [pytest.param(each, marks=[pytest.mark.slow] * (each != "the_blob")) for each in POINTS]
)
def test_k06_an_import_killed_after(point: str, home: Path) -> None:
    """No half model is listed, and the same command again succeeds."""
    path = saved(picture_net())
    imports, code = POINTS[point]
    words = [sys.executable, "-c", KILLED.format(imports=imports, point=code)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [entry.name for entry in zoo.list_models(source="local")] == []
    assert zoo.pulled_models() == []
    assert_invariants(home)

    zoo.add(path, preprocess="unit")
    assert zoo.verify_outputs("net")[0].state == "as recorded"
    assert len(blobs_in(home)) == 1


# --- the last unit ---


@pytest.mark.parametrize(
    ("activation", "most"), [("relu", 3), ("tanh", 3), ("linear", 2), ("sigmoid", 2), ("softmax", 2)]
)
def test_the_last_unit_is_reused_too_where_it_can_be_no_classifier(activation: str, most: int, tmp_path: Path) -> None:
    layers = [keras.layers.Dense(6, "relu"), keras.layers.Dense(5, "relu"), keras.layers.Dense(4, activation)]
    keras.Sequential([keras.Input((8,)), *layers]).save(tmp_path / "net.keras")
    zoo.add(tmp_path / "net.keras")
    x = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)

    found = zoo.plan("net", (x, (x[:, 0] > 0).astype(int)))

    assert (found.reuse, found.units) == (most, 3)
