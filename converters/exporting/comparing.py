"""Compares what was written with the model of Keras: onnxruntime runs the one, Keras the other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
from zoo.converters.exporting.net import Array
from zoo.converters.exporting.tracing import Traced, inputs_of, packed, unique
from zoo.converters.parity import relative_error, run_onnx

from zoo.errors import UsageError

_BATCH, _PLACES = 2, 8  # for sizes that vary: a batch, and what is likely a side or a length
_SIDE = 64  # of a picture whose size is open


def examples_of(model: keras.Model, given: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Returns an array for each input, by its name: those that were given, or random ones.

    Raises:
        UsageError: Those that were given are not the model's inputs, or these are not known.
    """
    tensors = inputs_of(model)
    names = unique([each.name for each in tensors])
    if given is not None:
        if set(given) != set(names):
            wanted, found = (", ".join(map(repr, each)) for each in (names, given))
            raise UsageError(f"Expected examples for {wanted}; got some for {found}.")
        return {name: np.asarray(given[name]) for name in names}
    rng = np.random.default_rng(0)
    return {name: _random(rng, model, each.shape, each.dtype) for name, each in zip(names, tensors, strict=True)}


def _random(rng: np.random.Generator, model: keras.Model, sizes: Sequence[int | None], dtype: str) -> Array:
    open_sizes = [_BATCH, *[_SIDE if len(sizes) == 4 else _PLACES] * len(sizes)]
    shape = [each or size for each, size in zip(sizes, open_sizes, strict=False)]
    kind = np.dtype(tf.as_dtype(dtype).as_numpy_dtype)
    if kind.kind in "iu":
        return rng.integers(0, _rows(model), shape).astype(kind)
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    found: Array = rng.standard_normal(shape).astype(kind)
    return found


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
        found += [each.numpy() for each in trace.function(*given, *weights)[-len(trace.probes) :]]
    return found


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
