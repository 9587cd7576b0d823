"""The values of a graph's variables: those that its own Saver wrote, and from no other checkpoint than is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_models import v1
from zoo.converters import onnx_to_keras, tensorflow_to_onnx
from zoo.converters.restoring.sources import Checkpoint, opened_source
from zoo.converters.tensorflow.variables import saved_values, variable_kinds

pytestmark = pytest.mark.filterwarnings("ignore")

GIVEN = np.random.default_rng(0).standard_normal((3, 6)).astype("f4")


def computes(path: Path, expected: Any, **options: Any) -> None:
    """Asserts that what is converted computes what the session did."""
    model, _ = onnx_to_keras(tensorflow_to_onnx(path, **options))
    np.testing.assert_allclose(np.asarray(model(GIVEN)), expected, rtol=1e-5, atol=1e-5)


def matrix(name: str, seed: int, **options: Any) -> Any:
    values = np.random.default_rng(seed).standard_normal((6, 3)).astype("f4")
    return v1.get_variable(name, initializer=None if options else values, **options)


def save(session: Any, path: Path, x: Any, y: Any, *, is_exported: bool) -> None:
    """Saves the net from `x` to `y` as a SavedModel, or as a checkpoint with its graph."""
    if is_exported:
        v1.saved_model.simple_save(session, os.fspath(path), {"x": x}, {"y": y})
    else:
        v1.train.Saver().save(session, os.fspath(path))


def test_of_several_savers_that_counts_which_wrote_the_checkpoint(tmp_path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 6), name="X")
        online, target = matrix("online/w", 1), matrix("target/w", 2)
        tf.matmul(x, online, name="online/out")
        out = tf.matmul(x, target, name="target/out")
        session.run(v1.global_variables_initializer())
        v1.train.Saver({"online/w": target})  # copies one net into the other
        v1.train.Saver().save(session, os.fspath(tmp_path / "net.ckpt"))
        expected = session.run(out, {x: GIVEN})
    computes(tmp_path / "net.ckpt", expected, outputs=("target/out:0",))


@pytest.mark.parametrize("is_exported", [True, False])
def test_an_average_that_another_saver_reads_is_not_what_was_saved(tmp_path: Path, is_exported: bool) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 6), name="x")
        w = matrix("fc/w", 3)
        y = tf.matmul(x, w, name="y")
        session.run(v1.global_variables_initializer())
        v1.train.Saver(v1.train.ExponentialMovingAverage(0.9).variables_to_restore([w]))
        save(session, tmp_path / "net", x, y, is_exported=is_exported)
        expected = session.run(y, {x: GIVEN})
    computes(tmp_path / "net", expected)


@pytest.mark.parametrize("is_exported", [True, False])
def test_a_variable_in_parts_is_put_together(tmp_path: Path, is_exported: bool) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 6), name="x")
        w = matrix("fc/w", 4, shape=(6, 3), partitioner=v1.fixed_size_partitioner(3))
        y = tf.matmul(x, w, name="y")
        session.run(v1.global_variables_initializer())
        save(session, tmp_path / "net", x, y, is_exported=is_exported)
        expected = session.run(y, {x: GIVEN})
    computes(tmp_path / "net", expected)


def test_a_saver_that_gave_another_name(tmp_path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 6), name="x")
        first, second = matrix("first", 5), matrix("second", 6)
        y = tf.matmul(x, first, name="y")
        session.run(v1.global_variables_initializer())
        v1.train.Saver({"second": first, "first": second}).save(session, os.fspath(tmp_path / "net"))
        expected = session.run(y, {x: GIVEN})
    computes(tmp_path / "net", expected)


def test_without_a_saver_a_variables_own_name_comes_first(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph, v1.Session() as session:
        w = matrix("w", 7)
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, os.fspath(tmp_path / "net"))
        v1.train.Saver({"other": w})
        made, expected = graph.as_graph_def(), session.run(w)
    for node in made.node:
        if node.name.startswith("save/"):
            node.op = "NoOp"
    kinds = variable_kinds(made)
    np.testing.assert_array_equal(saved_values(tmp_path / "net", made, kinds)["w"].array, expected)


# --- which checkpoint is opened ---


def saved(prefix: Path, value: float) -> Path:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=os.fspath(prefix), tensor_names=["w"], shape_and_slices=[""], tensors=[tf.fill([2], float(value))]
    )
    return prefix


def value_in(source: Any) -> float:
    with opened_source(source) as opened:
        return float(opened.read("w")[0])


def beside_a_folder(folder: Path) -> Path:
    """Returns the prefix of a checkpoint beside which a folder of its name lists another."""
    other = saved(folder / "elsewhere" / "other", 2)
    (folder / "net").mkdir()
    (folder / "net" / "checkpoint").write_text(f'model_checkpoint_path: "{other}"\n')
    return saved(folder / "net", 1)


@pytest.mark.parametrize("source", [lambda prefix: prefix.with_name("net.index"), Checkpoint])
def test_a_folder_of_its_name_leads_to_no_other_checkpoint(tmp_path: Path, source: Callable[[Path], Any]) -> None:
    prefix = beside_a_folder(tmp_path)
    assert value_in(source(prefix)) == 1
    graph = tf.compat.v1.GraphDef()
    node = graph.node.add(name="w", op="VarHandleOp")
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["shape"].shape.dim.add(size=2)
    assert saved_values(prefix, graph, variable_kinds(graph))["w"].array[0] == 1


def test_a_prefix_that_was_judged_is_taken_as_it_is(tmp_path: Path) -> None:
    saved(tmp_path / "net", 1)
    judged = saved(tmp_path / "net.meta", 2)
    assert value_in(Checkpoint(judged)) == 2
    assert value_in(tmp_path / "net.meta.index") == 2
    assert value_in(tmp_path / "net.index") == 1


@pytest.mark.parametrize("name", ["a[1]b", "a*", "a?", "a\\b"])
def test_no_sign_in_a_path_makes_a_pattern_of_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "ab").mkdir()
    saved(tmp_path / "ab" / "ab", 1)
    folder = tmp_path / name
    folder.mkdir()
    for path in (tmp_path / "ab").iterdir():  # TensorFlow does not write to such a path either
        (folder / path.name.replace("ab", name, 1)).write_bytes(path.read_bytes())
    assert value_in(folder / name) == 1
