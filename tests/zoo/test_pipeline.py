"""The whole flow on the embedded model: runs, their folders, and what a second run costs."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import zoo
from zoo.errors import CutError, DataError, DiskError, IntegrityError, NotFoundError, TrainingError, UsageError
from zoo.features import FeatureCache
from zoo.files import sha256_of
from zoo.registry import InputSpec
from zoo.training import FitSettings

QUICK = {"epochs": 3, "train_per_class": 5}


def test_the_main_job(home: Path) -> None:
    """Ten labelled digits a class: guessing is right in 0.1; the letters' lower units give more than 0.85."""
    run = zoo.transfer(reuse=4, freeze=4, train_per_class=10)
    assert run.accuracy > 0.85
    assert run.path == Path("runs/digits")
    names = {
        "run.json", "history.csv", "model.keras", "labels.json", "bad_files.jsonl", "report.html", "samples.npz",
        "split.npz", "test_predictions.csv", "README.md",
    }  # fmt: skip
    assert {path.name for path in run.path.iterdir()} == names
    record = json.loads((run.path / "run.json").read_text())
    assert (record["schema"], record["model"], record["data"]) == (1, "letters-cnn", "digits")
    assert (record["reuse"], record["freeze"]) == (4, 4)
    assert record["metrics"]["test"]["accuracy"] == run.accuracy
    assert record["examples"]["train"] == 100
    assert record["features"]["misses"] == sum(record["examples"].values())
    assert record["features"]["hits"] == 0
    assert record["training"]["seconds"] > 0
    assert record["parity"]["largest_difference"] < 1e-5
    assert all(f"sha256:{sha256_of(run.path / name)}" == digest for name, digest in record["files"].items())
    rows = list(csv.DictReader((run.path / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, record["training"]["epochs"] + 1))
    assert len(rows) <= 100


def test_a_second_run_passes_no_example_and_gets_its_own_folder() -> None:
    first = zoo.transfer(reuse=3, freeze=2, **QUICK)
    second = zoo.transfer(reuse=3, freeze=2, **QUICK)
    assert second.record["features"]["misses"] == 0
    assert second.record["features"]["hits"] == first.record["features"]["misses"]
    assert second.path.name == "digits-2"
    # The same seed gives the same run, to the bit.
    assert first.record["metrics"] == second.record["metrics"]
    assert (first.path / "labels.json").read_bytes() == (second.path / "labels.json").read_bytes()
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1))
    assert first.predict(x)[0].probabilities == second.predict(x)[0].probabilities


@pytest.mark.slow
def test_another_seed_is_another_run() -> None:
    first, other = zoo.transfer(**QUICK), zoo.transfer(**QUICK, seed=1)
    assert first.record["metrics"]["test"] != other.record["metrics"]["test"]


def test_ten_more_examples_pass_alone() -> None:
    """Every tenth picture of the digits is held back, then ten of those are added."""
    digits = zoo.open_data("digits")
    rows = np.arange(len(digits))
    kept = rows[rows % 10 != 0]
    grown = np.sort(np.concatenate([kept, rows[rows % 10 == 0][:10]]))
    x, y = digits.read(rows), digits.labels
    zoo.transfer(data=(x[kept], y[kept]), epochs=1, preprocessing=None)
    run = zoo.transfer(data=(x[grown], y[grown]), epochs=1)
    assert run.record["features"]["misses"] == 10
    assert run.record["features"]["hits"] == len(kept)


def test_frozen_weights_of_the_saved_model_are_those_of_the_registry_model() -> None:
    """Byte for byte, after training and through the file."""
    run = zoo.transfer(reuse=3, freeze=2, **QUICK)
    original, saved = zoo.load_model("letters-cnn"), run.load()
    for name in ("conv1", "conv1_bn", "conv2", "conv2_bn"):
        pairs = zip(original.get_layer(name).get_weights(), saved.get_layer(name).get_weights(), strict=True)
        assert all(a.tobytes() == b.tobytes() for a, b in pairs)
    kernel = [model.get_layer("conv3").get_weights()[0] for model in (original, saved)]
    assert not np.array_equal(*kernel)


def test_the_saved_model_takes_pictures_as_they_are(tmp_path: Path) -> None:
    """A file of any size in, the same probabilities as for the decoded array out; plain Keras agrees."""
    run = zoo.transfer(reuse=4, train_per_class=10)
    digits = zoo.open_data("digits")
    picture = digits.read(np.array([7]))[0]
    large = np.kron(picture[..., 0], np.ones((5, 5), np.uint8))
    Image.fromarray(picture[..., 0]).save(tmp_path / "small.png")
    Image.fromarray(large).convert("RGB").save(tmp_path / "large.png")
    Image.fromarray(255 - picture[..., 0]).save(tmp_path / "negative.bmp")
    small, big = run.predict([tmp_path / "small.png", tmp_path / "large.png"])
    alone = run.predict(picture[None])[0]
    np.testing.assert_allclose(small.probabilities, alone.probabilities, atol=1e-6)  # batches round in their own way
    assert small.label in run.classes
    assert small.probability == max(small.probabilities)
    assert big.file.endswith("large.png")
    assert [Path(each.file).name for each in run.predict(tmp_path)] == [
        "large.png",
        "negative.bmp",
        "small.png",
    ]
    plain = keras.models.load_model(run.path / "model.keras")
    np.testing.assert_allclose(plain(picture[None].astype(np.float32))[0], small.probabilities, rtol=1e-5)


def test_nothing_frozen_means_no_feature_cache(home: Path) -> None:
    run = zoo.transfer(reuse=2, freeze=0, epochs=2, train_per_class=3)
    assert run.record["features"]["misses"] == run.record["features"]["hits"] == 0
    assert not (home / "features").exists()
    assert run.record["parity"]["largest_difference"] < 1e-5


def test_nothing_reused() -> None:
    assert zoo.transfer(reuse=0, pool="flatten", epochs=1).record["parameters"]["new"] == 28 * 28 * 10 + 10


def test_scratch_is_compared_on_the_same_examples() -> None:
    x, _ = rows_and_labels()
    chance = np.random.default_rng(1).integers(0, 2, len(x))  # nothing to learn: it gives up early
    run = zoo.transfer(net_with(layers.ReLU()), (x, chance), epochs=2, batch_size=8, compare_scratch=True)
    scratch = run.record["scratch"]
    assert scratch["metrics"]["test"]["count"] == run.record["metrics"]["test"]["count"]
    # It may take 4,000 steps and waits 400 for a better one.
    assert 400 < scratch["training"]["steps"] <= 4000
    assert (run.path / "history_scratch.csv").exists()


def test_a_keras_model_and_arrays_of_ones_own() -> None:
    """Rows of numbers through a dense net; classes keep their names."""
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    y = np.array(["low", "middle", "high"])[np.digitize(x[:, 0], [-0.5, 0.5])]
    net = keras.Sequential([keras.Input((6,)), layers.Dense(12, "relu"), layers.Dense(4)], name="mine")
    run = zoo.transfer(net, (x, y), freeze=0, lr=0.01)
    assert (run.record["model"], run.record["source"]["kind"]) == ("mine", "memory")
    assert run.classes == ("high", "low", "middle")
    assert run.accuracy > 0.6  # guessing: 0.38, the middle class
    assert run.predict(x[:3])[2].file == "2"
    with pytest.raises(DataError, match="rows"):
        run.predict("picture.png") if Path("picture.png").touch() is None else None  # type: ignore[func-returns-value]
    with pytest.raises(DataError, match=r"expects inputs \[n, 6\]"):
        run.predict(x[:, :5])


def test_gray_pictures_on_a_colour_model() -> None:
    net = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)])
    spec = InputSpec((8, 8, 3), color="BGR", mean=(103.939, 116.779, 123.68))
    run = zoo.transfer(net, "digits:0-1", epochs=2, preprocessing=spec)
    assert run.record["input"]["decoded"] == "gray"
    assert run.record["parity"]["largest_difference"] < 1e-5


def test_plan_says_what_transfer_does_and_does_nothing(home: Path) -> None:
    options = {"reuse": 3, "freeze": 2, "hidden": (20, 10), **QUICK}
    plan = zoo.plan(**options)
    assert not home.exists()
    assert not Path("runs").exists()
    assert (plan.reuse, plan.freeze, plan.units, plan.cached) == (3, 2, 6, 0)
    run = zoo.transfer(**options)
    assert run.record["parameters"] == plan.parameters
    assert run.record["examples"] == plan.examples
    assert run.record["features"]["bytes"] == plan.feature_bytes
    after = dataclasses.replace(plan, cached=sum(plan.examples.values()), out="runs/digits-2")
    assert after == zoo.plan(**options)


def test_more_labels_of_a_class_keep_the_test_part() -> None:
    few, many = zoo.plan(train_per_class=5).examples, zoo.plan(train_per_class=50).examples
    assert (few["train"], many["train"]) == (50, 500)
    assert (few["validation"], few["test"]) == (many["validation"], many["test"])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"reuse": 9}, UsageError, "--reuse 0 to 5"),
        ({"reuse": 3, "freeze": 4}, UsageError, "--freeze 0 to 3"),
        ({"model": "leters-cnn"}, NotFoundError, "Did you mean letters-cnn"),
        ({"data": "diggits"}, NotFoundError, "Did you mean digits"),
        ({"data": "digits:4"}, DataError, "at least two"),
        ({"epochs": 0}, UsageError, "epochs of at least 1"),
        ({"lr": -1}, UsageError, "learning rate above 0"),
        ({"hidden": (0,)}, UsageError, "at least 1 unit"),
        ({"data": (np.zeros((3, 8, 8, 1), np.uint8), [0, 0, 0])}, DataError, "1 class"),
        ({"data": (np.zeros((3, 8, 8, 1), np.uint8), [0, 1])}, DataError, "3 examples, 2 labels"),
        ({"data": (np.zeros((4, 8, 8, 2), np.uint8), [0, 1, 0, 1])}, DataError, "test on|have 2"),
    ],
)
def test_wrong_use_answers_well_and_leaves_nothing(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        zoo.transfer(**options)
    assert any(word in str(caught.value) for word in words.split("|"))
    assert not Path("runs").exists() or list(Path("runs").iterdir()) == []


def test_an_unwritable_out_is_known_before_any_work(home: Path) -> None:
    Path("occupied").write_text("a file")
    with pytest.raises(DiskError, match="occupied"):
        zoo.transfer(out="occupied/run")
    with pytest.raises(DiskError, match="--out"):
        zoo.transfer(out="/proc/run")
    assert not home.exists()


def test_a_loss_that_is_not_finite_leaves_no_run() -> None:
    with pytest.raises(TrainingError, match=r"step \d+ of epoch \d+, with learning rate 1e\+30.*--lr"):
        zoo.transfer(lr=1e30, hidden=(50,), reuse=3, freeze=2)
    assert list(Path("runs").iterdir()) == []


def test_a_run_that_was_tampered_with_is_noticed() -> None:
    run = zoo.transfer(data="digits:0-1", **QUICK)
    path = run.path / "model.keras"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="not the file that the run wrote"):
        run.predict(np.zeros((1, 8, 8, 1)))


def test_runs_are_listed_newest_first_and_opened_by_name() -> None:
    first = zoo.transfer(data="digits:0-1", **QUICK)
    second = zoo.transfer(data="digits:0-1", **QUICK, out="runs/second")
    assert [run.path for run in zoo.list_runs()] == [second.path, first.path]
    assert zoo.open_run("second").accuracy == second.accuracy
    with pytest.raises(NotFoundError, match="Did you mean second"):
        zoo.open_run("runs/secund")
    (second.path / "run.json").write_text('{"schema": 99}')
    with pytest.raises(IntegrityError, match="schema 99"):
        zoo.open_run("second")
    assert [run.path for run in zoo.list_runs()] == [first.path]


def test_the_feature_cache_of_a_run_is_open_to_all() -> None:
    """Another user of the same trunk, with plain NumPy, finds what the run computed."""
    surgery = zoo.Surgery(
        zoo.load_model("letters-cnn"),
        4,
        4,
        zoo.Head(classes=10),
        preprocessing=zoo.find_entry("letters-cnn").input,
    )
    zoo.transfer(reuse=4, epochs=1)
    features = FeatureCache().features(surgery.trunk, "digits")
    assert features.stats.misses == 0
    assert np.isfinite(np.mean(features[:100])).all()


@keras.saving.register_keras_serializable(package="test")
class Registered(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return 2 * x


class Unregistered(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return 2 * x


def rows_and_labels() -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int)


def net_with(layer: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3), layer, layers.Dense(2)])


def test_layers_of_ones_own_that_are_registered_are_kept() -> None:
    run = zoo.transfer(net_with(Registered()), rows_and_labels(), epochs=2)
    assert len(run.predict(rows_and_labels()[0][:3])) == 3


@pytest.mark.parametrize(
    ("layer", "words"),
    [(Unregistered, "register_keras_serializable"), (lambda: layers.Lambda(lambda x: x), "is a Lambda")],
)
def test_layers_that_could_not_be_loaded_again_are_refused_before_any_work(layer: Any, words: str, home: Path) -> None:
    with pytest.raises(CutError, match=words):
        zoo.transfer(net_with(layer()), rows_and_labels(), epochs=2)
    assert not home.exists()


copying = True


@keras.saving.register_keras_serializable(package="test")
class LosesOnSaving(keras.layers.Layer):
    """A saved one comes back with a factor of 1."""

    def __init__(self, factor: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor if copying else 1.0}

    def call(self, x: Any) -> Any:
        return self.factor * x


def test_a_saved_model_that_differs_from_the_trained_one_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    save = keras.Model.save

    def saving(self: Any, *args: Any) -> None:
        monkeypatch.setitem(globals(), "copying", False)
        save(self, *args)

    monkeypatch.setattr(keras.Model, "save", saving)
    with pytest.raises(IntegrityError, match="puts out something else"):
        zoo.transfer(net_with(LosesOnSaving(5.0)), rows_and_labels(), epochs=5, lr=0.1)
    assert list(Path("runs").iterdir()) == []


def test_pictures_that_were_scaled_already_are_refused() -> None:
    digits = zoo.open_data("digits:0-1")
    x = digits.read(np.arange(len(digits))) / np.float32(255)
    with pytest.raises(DataError, match="Multiply them by 255"):
        zoo.transfer(data=(x, digits.labels), epochs=1)
    net = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4), layers.Dense(2)])
    run = zoo.transfer(net, (x, digits.labels), epochs=1)
    assert run.record["input"]["decoded"] is None  # picture files, 0..255, are no use to this model


@pytest.mark.parametrize("name", ["run.json", pytest.param("labels.json", marks=pytest.mark.slow)])
def test_one_broken_run_hides_no_other(name: str) -> None:
    good, bad = (zoo.transfer(data="digits:0-1", **QUICK) for _ in range(2))
    (bad.path / name).write_text('{"schema": 1}')
    assert [run.path for run in zoo.list_runs()] == [good.path]
    with pytest.raises(IntegrityError, match="made again"):
        zoo.open_run(bad.path)


def test_values_that_are_not_finite_are_refused() -> None:
    """A ReLU would make 0 of a NaN, and the features would look sound."""
    x, y = rows_and_labels()
    net = keras.Sequential([keras.Input((4,)), layers.Dense(3, "relu"), layers.Dense(2)])
    x[7, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        zoo.transfer(net, (x, y), epochs=1)
    with pytest.raises(DataError, match="labels.*not finite"):
        zoo.transfer(net, (np.nan_to_num(x), np.where(y == 0, np.nan, 1.0)), epochs=1)


def test_photos_of_any_size_for_a_model_of_which_only_the_input_is_known(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)
    net = keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)])
    with pytest.warns(UserWarning, match="as they are, 0..255"):
        run = zoo.transfer(net, (x, ["dark", "light"] * 15), epochs=1)
    Image.fromarray(np.kron(x[0], np.ones((4, 3, 1), np.uint8))).save(tmp_path / "photo.png")
    assert run.predict(tmp_path / "photo.png")[0].label in run.classes
    assert run.predict(x[:0]) == []


def test_who_says_what_pictures_become_or_scales_inside_is_not_warned() -> None:
    """Warnings are errors here. The one that comes points to the line of its caller."""
    begin, rest = keras.Input((8, 8, 1)), [layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)]
    plain = keras.Sequential([begin, *rest])
    zoo.plan(plain, "digits:0-1", preprocessing=InputSpec((8, 8, 1), color="gray"))
    zoo.plan(keras.Sequential([begin, layers.Resizing(8, 8), layers.Rescaling(1 / 255), *rest]), "digits:0-1")
    zoo.plan(keras.Model(begin, keras.Sequential(rest)(begin / 255)), "digits:0-1")
    zoo.plan("letters-cnn", "digits:0-1")
    with pytest.warns(UserWarning, match="as they are") as caught:
        zoo.plan(plain, "digits:0-1")
    assert [warning.filename for warning in caught] == [__file__]


def test_a_file_that_was_not_added_is_no_name() -> None:
    keras.Sequential([keras.Input((4,)), layers.Dense(2)]).save("net.keras")
    with pytest.raises(NotFoundError, match=r"Add it first.*zoo add net\.keras"):
        zoo.transfer("net.keras", rows_and_labels())
    with pytest.raises(NotFoundError, match=r"zoo add \./net\.keras"):
        zoo.transfer("./net.keras", rows_and_labels())


def test_one_bad_file_spoils_no_others_prediction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = zoo.transfer(**QUICK)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "pictures" / "good.png")
    (tmp_path / "pictures" / "bad.png").write_text("no picture")
    assert [Path(each.file).name for each in run.predict(tmp_path / "pictures")] == ["good.png"]
    assert "bad.png" in caplog.text
    with pytest.raises(DataError, match=r"bad\.png"):
        run.predict(tmp_path / "pictures" / "bad.png")


@pytest.mark.parametrize("wrong", [42, None, keras.applications.MobileNetV2])
def test_what_is_no_model_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="model's name or a built"):
        zoo.plan(wrong)


def test_numpy_numbers_are_numbers() -> None:
    plan = zoo.plan(reuse=np.int64(3), freeze=np.int32(2), hidden=np.array([5]), seed=np.int64(1))
    assert (plan.reuse, plan.freeze) == (3, 2)
    run = zoo.transfer(reuse=np.int64(3), epochs=np.int16(1), train_per_class=np.int64(2), lr=np.float32(0.5))
    assert (run.record["settings"]["reuse"], run.record["settings"]["fit"]["learning_rate"]) == (3, 0.5)
    assert zoo.plan(reuse=3, hidden=20).parameters["new"] == 96 * 20 + 20 + 20 * 10 + 10


def test_training_that_was_cut_off_says_so() -> None:
    run = zoo.transfer(reuse=4, freeze=4, epochs=2, train_per_class=5)
    assert "more may do better" in run.record["training"]["stopped"]


def test_the_plan_of_a_model_for_any_size_counts_the_examples_own() -> None:
    image = keras.Input((None, None, 1))
    x = layers.Conv2D(4, 3)(layers.Conv2D(3, 3)(image))
    net = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    with pytest.warns(UserWarning, match=r"InputSpec\(\(None, None, 1\), color=\"gray\", scale=1 / 255\)"):
        plan = zoo.plan(net, "digits:0-1", reuse=2, freeze=1)
    assert plan.feature_shape == (6, 6, 3)  # 8x8 pictures under a 3x3 kernel
    with pytest.warns(UserWarning, match="as they are"):
        run = zoo.transfer(net, "digits:0-1", reuse=2, freeze=1, epochs=1)
    assert run.record["features"]["bytes"] == plan.feature_bytes


class TestPictureFolders:
    """Folders of pictures, as most users have their data."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Digits as files: forty each of 0, 1 and 7."""
        digits = zoo.open_data("digits:0,1,7")
        for row in np.concatenate([np.flatnonzero(digits.labels == label)[:40] for label in range(3)]):
            path = tmp_path / "flowers" / digits.classes[digits.labels[row]] / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(digits.read(np.array([row]))[0][..., 0]).resize((40, 40)).save(path)
        return tmp_path / "flowers"

    def test_a_folder_becomes_a_run(self, folder: Path) -> None:
        run = zoo.transfer(data=folder, epochs=60)
        assert run.path == Path("runs/flowers")
        assert run.classes == ("0", "1", "7")
        assert run.accuracy > 0.8  # guessing: 0.33
        assert run.predict(folder / "7")[0].label in run.classes
        assert set(run.record["timings"]) == {
            "search",
            "data",
            "build",
            "features",
            "training",
            "scratch",
            "test",
            "save",
        }
        assert run.record["features"]["engine"] == "tensorflow"

    def test_moved_and_renamed_files_change_nothing(self, folder: Path) -> None:
        first = zoo.transfer(data=folder, **QUICK)
        moved = folder.rename(folder.with_name("moved"))
        for number, path in enumerate(sorted((moved / "0").iterdir())):
            path.rename(path.with_name(f"another name {number}.JPG"))
        second = zoo.transfer(data=moved, **QUICK)
        assert second.record["features"]["misses"] == 0
        assert second.record["split"] == first.record["split"]
        confusions = [run.record["metrics"]["test"]["confusion"] for run in (first, second)]
        assert confusions[0] == confusions[1]

    def test_the_folders_own_parts_are_obeyed(self, folder: Path) -> None:
        parts = folder.with_name("parts")
        for path in sorted(folder.rglob("*.png")):
            part = "test" if int(path.stem) % 5 == 0 else "train"
            target = parts / part / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        run = zoo.transfer(data=parts, epochs=2)
        assert run.record["examples"]["test"] == len(list((parts / "test").rglob("*.png")))

    def test_bad_files_are_listed_and_warned_of(self, folder: Path) -> None:
        (folder / "0" / "broken.jpg").write_bytes(b"no picture")
        run = zoo.transfer(data=zoo.open_data(folder, max_bad=0.05), epochs=1)
        (line,) = (run.path / "bad_files.jsonl").read_text().splitlines()
        assert json.loads(line)["path"].endswith("broken.jpg")
        assert run.record["bad_files"] == 1
        assert any("broken.jpg" in each or "1 file" in each for each in run.record["warnings"])
        assert "broken.jpg" in run.report.read_text() or "1 file" in run.report.read_text()

    def test_b15_what_vanishes_before_it_is_computed_is_left_out(self, folder: Path) -> None:
        examples = zoo.open_data(folder, max_bad=0.05)
        assert examples.paths is not None
        (folder / examples.paths[5]).unlink()
        run = zoo.transfer(data=examples, epochs=1)
        assert sum(run.record["examples"].values()) == len(examples) - 1
        assert run.record["bad_files"] == 1

    def test_b12_names_that_are_no_text_end_up_in_a_run_as_all_others(self, folder: Path) -> None:
        for number, path in enumerate(sorted(folder.rglob("*.png"))):
            path.rename(path.with_name(os.fsdecode(b"caf\xe9-%d.png" % number)))
        run = zoo.transfer(data=folder, epochs=1)
        lines = (run.path / "test_predictions.csv").read_text("utf-8").splitlines()
        assert len(lines) == run.record["examples"]["test"] + 1
        assert all("caf\\udce9-" in line for line in lines[1:])

    def test_values_keep_their_scale_where_an_example_is_lost(self, folder: Path) -> None:
        """What is lost has by far the largest value, so that the others' scale is another without it."""
        paths = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
        rows = [f"{path},{1e6 if number == 0 else 100 + number % 7},train" for number, path in enumerate(paths)]
        rows[1::4] = [row.replace(",train", ",test") for row in rows[1::4]]
        (folder / "prices.csv").write_text("\n".join(["path,label,split", *rows]))
        examples = zoo.open_data(folder / "prices.csv", task="regression", max_bad=0.05)
        (folder / paths[0]).unlink()

        run = zoo.transfer(data=examples, epochs=3)

        assert run.record["bad_files"] == 1
        assert run.score < 10  # they are 100 to 106; on the scale that the lost one gives, thousands off

    def test_where_no_test_picture_can_be_read_it_is_said(self, folder: Path) -> None:
        paths = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
        rows = [f"{path},{path.parent.name},{'test' if number == 0 else 'train'}" for number, path in enumerate(paths)]
        (folder / "one.csv").write_text("\n".join(["path,label,split", *rows]))
        examples = zoo.open_data(folder / "one.csv", max_bad=0.05)
        (folder / paths[0]).unlink()
        with pytest.raises(DataError, match="No test example"):
            zoo.transfer(data=examples, epochs=1)

    def test_a_rival_from_scratch_wants_pictures_of_one_size(self, folder: Path) -> None:
        picture = keras.Input((None, None, 3))
        net = keras.Model(picture, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(picture))))
        with pytest.raises(DataError, match="rival from scratch"):
            zoo.transfer(net, folder, compare_scratch=True, preprocessing=InputSpec((None, None, 3)))

    def test_views_are_trained_on_and_kept(self, folder: Path) -> None:
        run = zoo.transfer(data=folder, views=2, epochs=3)
        training = run.record["examples"]["train"]
        assert run.record["features"]["misses"] == sum(run.record["examples"].values()) + 2 * training
        assert run.record["settings"]["views"] == 2
        again = zoo.transfer(data=folder, views=2, epochs=3)
        assert again.record["features"]["misses"] == 0
        assert again.record["metrics"] == run.record["metrics"]

    def test_a_rival_from_scratch_is_trained_without_views(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(FitSettings, "from_scratch", lambda settings, _: settings)  # one epoch shows it
        run = zoo.transfer(data=folder, views=1, epochs=1, reuse=1, compare_scratch=True)
        assert run.record["scratch"]["metrics"]["test"]["count"] == run.record["examples"]["test"]

    def test_copies_count_once_in_intervals(self, folder: Path) -> None:
        """Of the test examples all are copies of four pictures, two of them taken for another class."""
        rows = list[str]()
        for label in ("0", "1"):
            paths = sorted((folder / label).iterdir())
            rows += [
                f"{path.relative_to(folder)},{label},{'test' if n < 2 else 'train'}" for n, path in enumerate(paths)
            ]
            for number in range(20):
                path = folder / label / f"copy{number}.png"
                path.write_bytes(paths[0].read_bytes())
                rows.append(f"{path.relative_to(folder)},{label},test")
        (folder / "copies.csv").write_text("\n".join(["path,label,split", *rows]))

        run = zoo.transfer(data=folder / "copies.csv", epochs=5)

        test = run.record["metrics"]["test"]
        assert test["count"] == 44
        assert any("Of 44 test examples 4 differ" in each for each in run.record["warnings"])
        low, high = test["accuracy_interval"]
        assert high - low > 0.4  # of 44 different ones, all right, it would be 0.08
        assert zoo.compare(run, zoo.transfer(data=folder / "copies.csv", epochs=1)).count == 4

    def test_a_plan_counts_the_views(self, folder: Path) -> None:
        zoo.transfer(data=folder, epochs=1)
        plan = zoo.plan(data=folder, views=2)
        assert (plan.views, plan.cached) == (2, 120)
        assert plan.feature_bytes == 4 * (120 + 2 * plan.examples["train"]) * np.prod(plan.feature_shape)

    def test_one_missing_picture_spoils_no_other(self, folder: Path) -> None:
        run = zoo.transfer(data=folder, epochs=1)
        there = min(folder.rglob("*.png"))
        assert [each.file for each in run.predict([there, folder / "nothing.png"])] == [str(there)]
        (folder / "broken.png").touch()
        (folder / "text.png").write_text("no picture")
        with pytest.raises(DataError, match="None of the 2 inputs"):
            run.predict([folder / "broken.png", folder / "text.png"])

    def test_pictures_of_several_sizes_cannot_be_trained_through(self, folder: Path) -> None:
        picture = keras.Input((None, None, 3))
        net = keras.Model(picture, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(picture))))
        with pytest.raises(DataError, match="several sizes"):
            zoo.transfer(net, folder, freeze=0, preprocessing=InputSpec((None, None, 3)))

    def test_views_want_something_frozen(self, folder: Path) -> None:
        with pytest.raises(UsageError, match="--views"):
            zoo.transfer(data=folder, freeze=0, views=1)

    @pytest.mark.slow
    def test_another_engine_gives_the_same_model(self, folder: Path, tmp_path: Path) -> None:
        plain = zoo.transfer(data=folder, **QUICK)
        other = zoo.transfer(data=folder, engine="onnxruntime", home=tmp_path / "other", **QUICK)
        assert other.record["features"]["engine"] == "onnxruntime"
        assert other.record["metrics"]["test"]["loss"] == pytest.approx(
            plain.record["metrics"]["test"]["loss"], rel=1e-3
        )
