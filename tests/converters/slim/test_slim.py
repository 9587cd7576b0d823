"""Checkpoints of TF-Slim, written by TF-Slim, whose own graphs judge what Keras computes with them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slim_nets import SlimCheckpoint, saved_slim

from zoo.errors import IntegrityError, NotFoundError, UsageError
from zoo.loading.from_checkpoint import load_checkpoint, load_slim
from zoo.registry import Entry, find_entry

pytestmark = pytest.mark.filterwarnings("ignore")  # TF-Slim is of 2020, and TensorFlow warns of much of it

LIMIT = 2e-5  # of the largest logit, in float32


def computes_as_slim(model: Any, saved: SlimCheckpoint) -> None:
    found = model.predict(saved.pictures, verbose=0)
    assert np.abs(saved.logits).max() > 0.01  # else anything would agree
    assert np.abs(saved.logits[0] - saved.logits[1]).max() > 1e-3 * np.abs(saved.logits).max()
    np.testing.assert_allclose(found, saved.logits, atol=LIMIT * np.abs(saved.logits).max(), rtol=0)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "classes", "version"),
    [
        pytest.param("inception_v1", 1001, 1, id="inception_v1"),
        pytest.param("resnet_v1_50", 1000, 2, id="resnet_v1_50", marks=SLOW),
        pytest.param("inception_v3", 1001, 2, id="inception_v3", marks=SLOW),
        pytest.param("resnet_v1_101", 1000, 1, id="resnet_v1_101", marks=SLOW),
        pytest.param("resnet_v1_152", 1000, 2, id="resnet_v1_152", marks=SLOW),
        pytest.param("vgg_16", 1000, 1, id="vgg_16", marks=SLOW),
        pytest.param("vgg_19", 1000, 2, id="vgg_19", marks=SLOW),
    ],
)
def test_the_registrys_nets_compute_what_tf_slim_does(tmp_path: Path, name: str, classes: int, version: int) -> None:
    entry = find_entry(f"slim/{name}")
    assert entry.input is not None
    saved = saved_slim(tmp_path, name, classes, size=entry.input.size[0] or 0, version=version)
    computes_as_slim(load_slim(tmp_path, entry), saved)


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "size"), [(0.25, 128), (0.5, 160), (0.75, 192), (1.0, 224)])
def test_mobilenets_of_every_width_compute_what_tf_slim_does(tmp_path: Path, alpha: float, size: int) -> None:
    saved = saved_slim(tmp_path, "mobilenet_v1", 1001, size=size, alpha=alpha)
    computes_as_slim(load_slim(saved.prefix, find_entry(f"slim/mobilenet_v1_{alpha}_{size}")), saved)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SlimCheckpoint:
    """A MobileNet that was trained on five classes, as a user's own."""
    return saved_slim(tmp_path_factory.mktemp("slim"), "mobilenet_v1", 5, size=64, alpha=0.25)


def test_nets_that_were_trained_on_other_classes_and_sizes_are_told_by_their_variables(small: SlimCheckpoint) -> None:
    for arch in (None, "mobilenet"):
        model, report = load_checkpoint(small.prefix, arch=arch, size=(64, 64, 3))
        computes_as_slim(model, small)
        assert (report.missing, report.left, report.unused) == ((), (), ("global_step",))


def test_a_part_is_restored_and_the_rest_starts_from_scratch(small: SlimCheckpoint) -> None:
    whole, _ = load_checkpoint(small.prefix)
    for options in ({"exclude": "MobilenetV1/Logits"}, {"exclude": "conv_preds"}, {"include": "conv(1|_dw|_pw)"}):
        model, report = load_checkpoint(small.prefix, **options)
        assert report.left == ("conv_preds/kernel", "conv_preds/bias")
        assert {"MobilenetV1/Logits/Conv2d_1c_1x1/weights", "global_step"} <= set(report.unused)
        kernel = np.array(model.get_layer("conv_preds").kernel)
        assert 0.001 < kernel.std() < 1 and not np.array_equal(kernel, whole.get_layer("conv_preds").kernel)
        np.testing.assert_array_equal(model.get_layer("conv_dw_7").kernel, whole.get_layer("conv_dw_7").kernel)


def test_names_that_were_changed_are_changed_back(tmp_path: Path, small: SlimCheckpoint) -> None:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(small.prefix))
    names = [name for name in reader.get_variable_to_shape_map() if name != "global_step"]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "net"),
        tensor_names=[f"clone/{name}" for name in names],
        shape_and_slices=[""] * len(names),
        tensors=[reader.get_tensor(name) for name in names],
    )
    model, report = load_checkpoint(tmp_path / "net", rename={"^clone/": ""}, size=(64, 64, 3))
    computes_as_slim(model, small)
    assert report.unused == ()


def test_another_graph_with_the_same_shapes_is_not_taken(tmp_path: Path) -> None:
    saved = saved_slim(tmp_path, "resnet_v1_50", 10, size=64, count=2)
    with pytest.raises(UsageError, match="a checkpoint of resnet_v1_50 of TF-Slim, which is not resnet50: --arch res"):
        load_checkpoint(saved.prefix, arch="resnet50")
    model, _ = load_checkpoint(saved.prefix, size=(64, 64, 3))
    computes_as_slim(model, saved)


def _entry(**changes: Any) -> Entry:
    return dataclasses.replace(find_entry("slim/mobilenet_v1_0.25_128"), **changes)


def test_the_checkpoint_is_found_in_what_came_out_of_an_archive(tmp_path: Path, small: SlimCheckpoint) -> None:
    below = tmp_path / "mobilenet_v1"
    below.mkdir()
    with pytest.raises(NotFoundError, match="one checkpoint in what came out of .*; found none"):
        load_slim(tmp_path, _entry())
    for path in small.prefix.parent.glob("mobilenet_v1.ckpt*"):
        (below / path.name).hardlink_to(path)
    assert load_slim(tmp_path, _entry()).output_shape == (None, 5)
    for path in small.prefix.parent.glob("mobilenet_v1.ckpt*"):
        (below / path.name.replace("v1", "v1_copy")).hardlink_to(path)
    with pytest.raises(NotFoundError, match="found mobilenet_v1.ckpt, mobilenet_v1_copy.ckpt"):
        load_slim(tmp_path, _entry())


def test_what_is_not_known_or_not_whole_is_refused(tmp_path: Path, small: SlimCheckpoint) -> None:
    with pytest.raises(IntegrityError, match="conv1/kernel .*shape 3x3x3x16 expected, 3x3x3x8 found"):
        load_slim(small.prefix, find_entry("slim/mobilenet_v1_0.5_128"))
    with pytest.raises(UsageError, match="Expected one of vgg_16.* of TF-Slim; got slim/inception_v2"):
        load_slim(small.prefix, find_entry("slim/inception_v2"))
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(small.prefix))
    names = [name for name in reader.get_variable_to_shape_map() if "Conv2d_9" not in name]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "net"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[reader.get_tensor(name) for name in names],
    )
    with pytest.raises(
        IntegrityError,
        match=r"net lacks 10 variables of mobilenet_v1: conv_dw_9/kernel.*zoo pull slim/mobilenet_v1_0.25",
    ):
        load_slim(tmp_path / "net", _entry())


@pytest.mark.parametrize("size", [33, pytest.param(36, marks=pytest.mark.slow)])
def test_a_mobilenet_of_sizes_that_become_odd_computes_what_tf_slim_does(tmp_path: Path, size: int) -> None:
    saved = saved_slim(tmp_path, "mobilenet_v1", 5, size=size, alpha=0.25)
    for shape in ((size, size, 3), (None, None, 3)):
        computes_as_slim(load_checkpoint(saved.prefix, size=shape)[0], saved)
