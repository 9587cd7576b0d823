"""Compares what was written with the model of Keras: onnxruntime runs the one, Keras the other."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
from keras import layers
from zoo.converters.exporting.naming import all_layers
from zoo.converters.exporting.net import Array
from zoo.converters.exporting.tracing import Traced, input_names, inputs_of, packed
from zoo.converters.parity import relative_error, run_onnx

from zoo.errors import UsageError

_BATCH, _PLACES = 2, (8, 64, 256)  # for sizes that vary: a batch, and what is likely a side or a length
_SIDE = 64  # of a picture whose size is open, at least
_FIRST = 8  # operations of a model, at most: what stands among them, before any weight, reads pictures as they are
_READING = (layers.Rescaling, layers.Normalization, layers.Resizing, layers.CenterCrop)


def examples_of(model: keras.Model, given: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Returns an array for each input, by its name: those that were given, or random ones.

    Open sizes are each another, so that axes that are mixed up show, unless the model takes only equal ones.

    Raises:
        UsageError: Those that were given are not the model's inputs, or these are not known.
    """
    tensors = inputs_of(model)
    names = input_names(tensors)
    if given is not None:
        if set(given) != set(names):
            wanted, found = (", ".join(map(repr, each)) for each in (names, given))
            raise UsageError(f"Expected examples for {wanted}; got some for {found}.")
        return {name: np.asarray(given[name]) for name in names}
    rng = np.random.default_rng(0)
    shapes = _shapes(model, tensors)
    return {
        name: _random(rng, model, shape, each.dtype) for name, shape, each in zip(names, shapes, tensors, strict=True)
    }


def _shapes(model: keras.Model, tensors: Sequence[Any]) -> list[list[int]]:
    """Returns shapes for a model's inputs; open ones grow until something is left of them at the outputs."""
    if all(None not in each.shape[1:] for each in tensors):
        return [_shape(each.shape, 0) for each in tensors]
    ways = ((places, more) for places in _PLACES for more in (places // 2, 0))
    tried = [[_shape(each.shape, *way) for each in tensors] for way in ways]
    return next((shapes for shapes in tried if _leaves_something(model, tensors, shapes)), tried[1])


def _shape(sizes: Sequence[int | None], places: int, more: int = 0) -> list[int]:
    """Returns a shape.

    Args:
        sizes: Of which some are open.
        places: How large the first open one but the batch becomes.
        more: How much larger each that follows.
    """
    if len(sizes) == 4 and places < _SIDE:
        places, more = _SIDE, _SIDE * more // max(places, 1)
    return [each or (places + more * max(axis - 1, 0) if axis else _BATCH) for axis, each in enumerate(sizes)]


def _leaves_something(model: keras.Model, tensors: Sequence[Any], shapes: Sequence[Sequence[int]]) -> bool:
    """Returns whether no output of a model is empty for inputs of some shapes."""
    given = [keras.KerasTensor(shape, each.dtype) for shape, each in zip(shapes, tensors, strict=True)]
    try:
        found = keras.tree.flatten(model.compute_output_spec(packed(model, given)))
    except Exception:  # of whatever layer finds them too small
        return False
    return all(0 not in each.shape for each in found)


def _random(rng: np.random.Generator, model: keras.Model, shape: Sequence[int], dtype: str) -> Array:
    kind = np.dtype(tf.as_dtype(dtype).as_numpy_dtype)
    is_picture = len(shape) == 4
    if kind.kind in "iu":
        most = 256 if is_picture and kind == np.uint8 else _rows(model)
        return rng.integers(0, most, shape).astype(kind)
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if is_picture and _reads_pictures(model):
        return rng.uniform(0, 255, shape).astype(kind)
    found: Array = rng.standard_normal(shape).astype(kind)
    return found


def _reads_pictures(model: keras.Model) -> bool:
    """Returns whether a model begins with what makes numbers of 0 to 255 those that a net wants."""
    for each in itertools.islice(all_layers(model), _FIRST):
        if isinstance(each, _READING):
            return True
        if isinstance(each, layers.Layer) and not isinstance(each, keras.Model) and each.weights:
            return False
    return False


def _rows(model: keras.Model) -> int:
    """Returns below which number all integers may be that are looked up in tables."""
    rows = [each.shape[0] for each in model.variables if each.path.endswith("/embeddings") and len(each.shape) == 2]
    return min(rows, default=2)


def outputs_of(model: keras.Model, examples: Mapping[str, Array]) -> list[Array]:
    """Returns what a model makes of examples, one array for each output."""
    tensors = [tf.convert_to_tensor(each) for each in examples.values()]
    return [np.asarray(each) for each in keras.tree.flatten(model(packed(model, tensors), training=False))]


def expected_values(model: keras.Model, trace: Traced, examples: Mapping[str, Array]) -> list[Array]:
    """Returns what Keras computes: the outputs by the model itself, what is compared besides by its traced graph."""
    found = outputs_of(model, examples)
    if trace.probes:
        given = [tf.convert_to_tensor(each) for each in examples.values()]
        weights = [tf.convert_to_tensor(each.value) for each in trace.variables]
        with _as_traced():
            found += [each.numpy() for each in trace.function(*given, *weights)[-len(trace.probes) :]]
    return found


@contextlib.contextmanager
def _as_traced() -> Iterator[None]:
    """Lets TensorFlow run graphs as they are: it fuses convolutions with what follows, and cannot those in groups."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False, **before})


def errors_of(
    path: Path,
    outputs: Sequence[str],
    probes: Mapping[str, int],
    examples: Mapping[str, Array],
    expected: Sequence[Array],
) -> dict[str, float]:
    """Returns how far a file's values are from what was expected, by their names.

    Args:
        path: A file that we wrote, in a folder that nobody else writes to: so onnxruntime may open it, and with it the
            file of its weights, and needs no more memory than for these.
        outputs: Its outputs.
        probes: What is compared besides, with its type.
        examples: What goes in.
        expected: What is to come out: outputs, and then probes.
    """
    names = [*outputs, *probes]
    with _more_outputs(path, probes):
        (found,) = run_onnx(str(path), [examples], names)
    return {name: relative_error(found[name], each) for name, each in zip(names, expected, strict=True)}


@contextlib.contextmanager
def _more_outputs(path: Path, probes: Mapping[str, int]) -> Iterator[None]:
    """Lets a file have more outputs for a while: a message of protobuf that follows another is joined to it."""
    more = onnx.ModelProto()
    more.graph.output.extend(onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in probes.items())
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(more.SerializeToString())
    try:
        yield
    finally:
        os.truncate(path, size)
