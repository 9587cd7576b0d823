"""A SavedModel is one unit: reused whole, frozen, and known by what is in its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from text_modules import BUCKETS, WIDTH, function_of, saved, text_module

from zoo.errors import CutError
from zoo.loading import opaque_model
from zoo.surgery import Head, Surgery, split_units, unit_digests


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_module(tmp_path_factory.mktemp("module") / "text")


def digest(model: keras.Model) -> str:
    return unit_digests(split_units(model), 1)[1]


def test_it_is_one_unit_and_no_classifier(module: Path) -> None:
    (unit,) = split_units(opaque_model(module))
    assert (unit.index, unit.name, unit.output_shape, unit.legal) == (1, "saved_model", (WIDTH,), True)
    assert (unit.params, unit.multiply_adds, unit.feature_bytes) == (BUCKETS * WIDTH, None, 4 * WIDTH)
    assert "SavedModel" in unit.reason


def test_a_classifier_on_top_is_a_unit_of_its_own(module: Path) -> None:
    model = opaque_model(module)
    units = split_units(keras.Model(model.input, keras.layers.Dense(2)(model.output)))
    assert [unit.legal for unit in units] == [True, False]
    assert units.most == 1


def test_it_is_reused_whole_and_frozen(module: Path) -> None:
    model = opaque_model(module)
    surgery = Surgery(model, head=Head(2))
    assert (surgery.reuse, surgery.freeze) == (1, 1)
    assert surgery.trunk is not None
    texts = tf.constant(["a good film", "a bad one"])
    np.testing.assert_array_equal(surgery.trunk(texts), model(texts))
    assert surgery.stitch()(texts).shape == (2, 2)
    assert surgery.parameters() == {"frozen": BUCKETS * WIDTH, "trained": 0, "new": 2 * WIDTH + 2}
    assert len(surgery.stitch().weights) == 2


def test_other_cuts_say_what_can_be(module: Path) -> None:
    model = opaque_model(module)
    with pytest.raises(CutError, match=r"Expected --reuse 0 to 1; got 2\. text has 1 units\. Nearest: --reuse 1"):
        Surgery(model, 2)
    with pytest.raises(CutError, match="cannot be trained. Nearest: freeze it, as in --freeze 1"):
        Surgery(model, 1, 0)
    with pytest.raises(CutError, match="cannot be trained. Nearest: leave --compare-scratch out"):
        Surgery(model, 1, 0, random=True)
    with pytest.raises(CutError, match="takes texts, which no new head can read"):
        Surgery(model, 0)


def test_maps_of_a_module_of_pictures_are_pooled(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", function_of(None, 8, 8, 3, dtype=tf.float32)(lambda x: x[:, ::2, ::2, :2]))
    surgery = Surgery(opaque_model(folder), head=Head(2, pool="avg"))
    assert surgery.trunk is not None
    pictures = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    np.testing.assert_allclose(surgery.trunk(pictures), pictures[:, ::2, ::2, :2].mean((1, 2)), rtol=1e-5)


def test_its_digest_is_that_of_its_files(module: Path, tmp_path: Path) -> None:
    first = digest(opaque_model(module))
    copy = tmp_path / "elsewhere"
    shutil.copytree(module, copy)
    assert digest(opaque_model(copy, name="other")) == first
    opaque_model(module).save(tmp_path / "m.keras")
    assert digest(keras.models.load_model(tmp_path / "m.keras")) == first

    (copy / "assets").mkdir(exist_ok=True)
    (copy / "assets" / "more.txt").write_text("x")
    assert digest(opaque_model(copy)) != first
    assert digest(opaque_model(text_module(tmp_path / "seed", seed=1))) != first


def test_its_digest_is_that_of_its_signature_and_output(tmp_path: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])  # type: ignore[untyped-decorator]
    def both(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"a": x + 1, "b": x - 1}

    folder = saved(tmp_path / "m", signatures={"one": both, "two": both})
    digests = {digest(opaque_model(folder, name, output=each)) for name in ("one", "two") for each in "ab"}
    assert len(digests) == 4


def test_all_units_of_a_model_that_puts_out_features_can_be_reused() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(5, "relu")])
    assert [unit.legal for unit in split_units(model)] == [True, False]
    units = split_units(model, headless=True)
    assert [unit.legal for unit in units] == [True, True]
    surgery = Surgery(model, head=Head(2), whole=units)
    assert (surgery.reuse, surgery.freeze) == (2, 2)
    assert surgery.trunk is not None
    assert surgery.trunk.output.shape == (None, 5)
