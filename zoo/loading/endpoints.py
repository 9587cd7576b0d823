"""What can be called of a SavedModel: which signature takes one tensor, what goes in and what comes out of it.

A module that can be called itself (as those of TensorFlow Hub) comes before its signatures. Nothing here knows Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.converters.literal_paths import literal_folder
from zoo.converters.tensorflow.functions import chosen_function
from zoo.errors import IntegrityError, UsageError
from zoo.store.unpacking import shown

Shape = tuple[int | None, ...]

_TAGS = (None, (), ("serve",))  # what a module of TensorFlow Hub of old has for inference has no tag
_TEXTS = ("one text", "and another one that has more words, and 1.5 signs!?")
_LARGEST_PROBE = 1 << 24  # numbers in an input that is made up


@dataclass(frozen=True)
class Endpoint:
    """What is called of a SavedModel.

    Attributes:
        signature: Its name; `__call__` for the module itself.
        output: Which of its outputs; "" where there is one without a name.
        input_dtype: Of what goes in: `string`, `float32`...
        input_shape: Of one example as the model is given it; () for a text.
        column: Whether the SavedModel takes texts as a column, [n, 1].
        output_shape: Of what comes out for one example, as float32; None where that varies with the input's size.
    """

    signature: str
    output: str
    input_dtype: str
    input_shape: Shape
    column: bool
    output_shape: Shape


@dataclass(frozen=True)
class _Way:
    """A way to call a SavedModel with one tensor."""

    signature: str
    call: Callable[[Any], Any]
    source: Any  # tf.TensorSpec
    outputs: Any  # of tf.TensorSpec


def opened_saved_model(folder: Path) -> Any:
    """Returns what TensorFlow makes of a SavedModel, which a guard has judged.

    Raises:
        IntegrityError: It cannot be loaded.
    """
    failure: Exception | None = None
    for tags in _TAGS:
        try:
            with literal_folder(folder) as path:
                return tf.saved_model.load(path, tags)
        except Exception as error:  # whatever TensorFlow makes of bytes
            failure = failure or error
            if "tags" not in str(error):
                break
    raise IntegrityError(f"{folder} cannot be loaded as a SavedModel: {_said(failure)}") from failure


def endpoint_of(module: Any, signature: str | None, output: str | None) -> tuple[Endpoint, Callable[[Any], Any]]:
    """Returns what is called of a loaded SavedModel, and how: a function of a batch that returns float32 [n, ...].

    Args:
        module: The SavedModel.
        signature: The name of a signature, or `__call__`; None: as `zoo.converters.tensorflow_to_onnx` chooses.
        output: The name of an output; None: the only one, or `default`.

    Raises:
        UsageError: There is no such signature or output, or several and none was said.
        IntegrityError: What there is takes or gives something else than one tensor with an example in each row.
    """
    way = _chosen(module, signature)
    name = _output_name(way, output)
    dtype = way.source.dtype.name
    shape, column = _example_shape(way)

    def run(x: Any) -> Any:
        batch = tf.reshape(x, (-1, 1)) if column else tf.cast(x, dtype)
        return tf.cast(_named(way.call(batch))[name], tf.float32)

    static = _named(way.outputs)[name].shape
    result = _probed(run, way, dtype, shape)
    if result is None:
        if static.rank is None:
            raise IntegrityError(f"the signature {shown(way.signature)} does not tell what shape comes out of it")
        result = tuple(static.as_list()[1:])
    return Endpoint(way.signature, name, dtype, shape, column, result), run


# --- which way ---


def _chosen(module: Any, signature: str | None) -> _Way:
    """Returns the one way that is meant: the same whether layers are made of it or not."""
    function = chosen_function(module, signature, None)
    args, named = function.arguments
    specs = [each for each in tf.nest.flatten((args, named)) if isinstance(each, tf.TensorSpec)]
    if len(specs) != 1:
        takes = ", ".join(map(shown, sorted(function.inputs))) or "nothing"
        raise IntegrityError(f"its signature {shown(function.name)} takes {takes}, and not one tensor")

    def call(x: Any) -> Any:
        filled = tf.nest.map_structure(lambda each: x if isinstance(each, tf.TensorSpec) else each, (args, named))
        return function.call(*filled[0], **filled[1])

    return _Way(function.name, call, specs[0], function.concrete.structured_outputs)


# --- what goes in and comes out ---


def _named(outputs: Any) -> dict[str, Any]:
    if isinstance(outputs, Mapping):
        return {str(name): each for name, each in outputs.items()}
    if isinstance(outputs, Sequence):
        return {str(number): each for number, each in enumerate(outputs)}
    return {"": outputs}


def _output_name(way: _Way, wanted: str | None) -> str:
    known = sorted(
        name
        for name, each in _named(way.outputs).items()
        if isinstance(each, tf.TensorSpec | tf.Tensor)
        and (each.dtype.is_floating or each.dtype.is_integer or each.dtype.is_bool)
    )
    if not known:
        raise IntegrityError(f"nothing that its signature {shown(way.signature)} puts out is a tensor of numbers")
    if wanted is None and len(known) > 1 and "default" not in known:
        raise UsageError(f"Expected one of these outputs to be named: {', '.join(map(shown, known))}.")
    if wanted is None:
        return known[0] if len(known) == 1 else "default"
    if wanted not in known:
        raise UsageError(f"Expected an output of {', '.join(map(shown, known))}; got {shown(wanted)}.")
    return wanted


def _example_shape(way: _Way) -> tuple[Shape, bool]:
    """Returns the shape of one example, and whether a text is a row of one column."""
    source = way.source
    is_text = source.dtype == tf.string
    if source.shape.rank is None:
        if is_text:
            return (), False
        raise IntegrityError(f"its signature {shown(way.signature)} does not tell the shape of what it takes")
    batch, *sizes = source.shape.as_list() or [0]
    if batch is not None:
        what = f"{batch} examples at a time" if source.shape.rank else "one example alone, and no batch of them"
        raise IntegrityError(f"its signature {shown(way.signature)} takes {what}")
    if not is_text:
        return tuple(sizes), False
    if sizes not in ([], [1]):
        raise IntegrityError(f"its signature {shown(way.signature)} takes texts of shape {sizes}, and not one each")
    return (), bool(sizes)


def _probed(run: Callable[[Any], Any], way: _Way, dtype: str, shape: Shape) -> Shape | None:
    """Returns the shape of what comes out for one made-up example; None where none can be made up."""
    if None in shape or math.prod(size or 1 for size in shape) > _LARGEST_PROBE:
        return None
    both = np.array(_TEXTS) if dtype == "string" else np.zeros((2, *(size or 0 for size in shape)), np.float32)
    inputs = [tf.constant(each) if dtype == "string" else tf.cast(each, dtype) for each in (both[:1], both)]
    try:
        found = [run(each).shape for each in inputs]
    except Exception as error:  # whatever a graph of anybody's does
        raise IntegrityError(f"its signature {shown(way.signature)} cannot be run: {_said(error)}") from error
    alone, together = (tuple(each.as_list()) for each in found)
    if alone[:1] != (1,) or together != (2, *alone[1:]):
        raise IntegrityError(
            f"its signature {shown(way.signature)} puts out {list(alone)} for one example, {list(together)} for two: "
            "expected a row for each, whatever stands beside it"
        )
    return alone[1:]


def _said(error: Exception | None) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."
