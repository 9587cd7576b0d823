"""What a guard has judged is what TensorFlow opens, whatever else has such a name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_graphs import frozen_graph, saved_with_meta, simple_saved
from tensorflow_models import save_hub_style

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.loading.from_checkpoint import load_checkpoint
from zoo.loading.from_tensorflow import load_frozen_graph, load_meta_checkpoint, load_saved_model
from zoo.loading.restoring import restore
from zoo.loading.saved_model_files import content_of

pytestmark = pytest.mark.filterwarnings("ignore")


def net() -> keras.Model:
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False, name="fc")])


def saved(prefix: Path, value: float) -> Path:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=os.fspath(prefix), tensor_names=["fc/kernel"], shape_and_slices=[""], tensors=[tf.fill([2, 1], value)]
    )
    return prefix


def lead_elsewhere(prefix: Path, other: Path) -> None:
    """Makes a folder of a checkpoint's name that lists another one."""
    prefix.mkdir()
    (prefix / "checkpoint").write_text(f'model_checkpoint_path: "{other}"\n')


@pytest.mark.parametrize("name", ["net", "net.index"])
def test_a_folder_of_a_checkpoints_name_is_refused(tmp_path: Path, name: str) -> None:
    other = saved(tmp_path / "elsewhere" / "other", 2.0)
    lead_elsewhere(saved(tmp_path / "net", 1.0), other)
    model = net()
    before = np.array(model.layers[0].kernel)
    with pytest.raises((UnsafeFileError, IntegrityError)) as caught:
        restore(model, tmp_path / name)
    assert str(tmp_path / "net") in str(caught.value)
    np.testing.assert_array_equal(model.layers[0].kernel, before)


def test_a_folder_of_the_name_of_a_saved_models_values_is_refused(tmp_path: Path) -> None:
    folder = simple_saved(tmp_path / "net")
    lead_elsewhere(folder / "variables" / "variables", tmp_path / "elsewhere" / "other")
    with pytest.raises(UnsafeFileError, match="beside it is the folder"):
        load_saved_model(folder)


def test_of_a_prefix_that_ends_like_a_part_that_is_read_which_was_judged(tmp_path: Path) -> None:
    saved(tmp_path / "net", 1.0)
    saved(tmp_path / "net.meta", 2.0)
    model = net()
    restore(model, tmp_path / "net.meta.index")
    assert float(model.layers[0].kernel[0, 0]) == 2
    chain, _ = load_checkpoint(tmp_path / "net.meta.index")
    assert float(chain.layers[-1].kernel[0, 0]) == 2


def test_a_graph_beside_a_frozen_graph_is_not_taken_for_it(tmp_path: Path) -> None:
    path = frozen_graph(tmp_path / "net.pb")
    expected = load_frozen_graph(path)[0](np.ones((1, 6), "f4"))
    path.with_name("net.pb.meta").write_bytes(b"nobody has judged this")
    np.testing.assert_array_equal(load_frozen_graph(path)[0](np.ones((1, 6), "f4")), expected)


def test_the_graph_of_a_prefix_that_ends_like_a_graph_is_its_own(tmp_path: Path) -> None:
    prefix = saved_with_meta(tmp_path)
    expected = load_meta_checkpoint(prefix)[0](np.ones((1, 6), "f4"))
    for path in list(tmp_path.glob("net.ckpt*")):
        shutil.copyfile(path, path.with_name(path.name.replace("net.ckpt", "net.ckpt.meta", 1)))
    (tmp_path / "net.ckpt.meta").write_bytes(b"nobody has judged this")
    found = load_meta_checkpoint(tmp_path / "net.ckpt.meta")[0](np.ones((1, 6), "f4"))
    np.testing.assert_array_equal(found, expected)


def whole(folder: Path) -> Callable[[Any], Any]:
    return load_saved_model(folder)[0]


def opaque(folder: Path) -> Callable[[Any], Any]:
    return content_of(folder, "net").endpoint(None, None)[1]


@pytest.mark.parametrize("load", [whole, opaque])
def test_a_saved_model_is_found_whatever_its_folder_is_called(tmp_path: Path, load: Callable[[Path], Any]) -> None:
    module = save_hub_style(tmp_path / "net")
    folder = (tmp_path / "net").rename(tmp_path / "net [1]?")
    x = np.random.default_rng(0).standard_normal((2, 20, 20, 3)).astype("f4")
    np.testing.assert_allclose(np.asarray(load(folder)(x)), module(x), rtol=1e-4, atol=1e-5)


def test_a_checkpoint_with_its_graph_is_found_whatever_its_folder_is_called(tmp_path: Path) -> None:
    prefix = saved_with_meta(tmp_path / "net")
    folder = (tmp_path / "net").rename(tmp_path / "net[1]")
    assert load_meta_checkpoint(folder / prefix.name)[0].output_shape == (None, 3)
