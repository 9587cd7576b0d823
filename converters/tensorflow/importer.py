"""TensorFlow to ONNX: what `zoo.converters.tensorflow_to_onnx` does."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
from zoo.converters.exporting.net import Net
from zoo.converters.exporting.writing import PRODUCER, Header, write_model
from zoo.converters.parity import checked_limit
from zoo.converters.tensorflow.graphs import PlainGraph
from zoo.converters.tensorflow.judging import errors_against_tensorflow, refuse_unlike
from zoo.converters.tensorflow.sources import Asked, read_source
from zoo.converters.tensorflow.translating import net_of_graph

from zoo.errors import NotConvertible

VERSION = 1  # of what is made of a graph: one more whenever another model is, so that kept conversions are made anew
_LARGEST = (1 << 31) - (1 << 24)  # bytes of weights in one file: protobuf ends at 2 GiB, and the graph takes some


def tensorflow_to_onnx(
    path: str | os.PathLike[str],
    *,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    arguments: Mapping[str, Any] | None = None,
    limit: float = 1e-4,
) -> onnx.ModelProto:
    """Returns what TensorFlow has saved as a model of ONNX: in inference, its nodes named after its scopes.

    Inputs and outputs are called and laid out as they are in TensorFlow, pictures channels last. What only trains is
    left away. TensorFlow reads the file: give it none that you do not trust, unless a guard has seen it.

    Args:
        path: The folder of a SavedModel, of TensorFlow 1 or 2, Keras or TF Hub; the prefix of a checkpoint of
            TensorFlow 1 that has its graph beside it, in a `.meta`; or a frozen graph, `.pb`.
        signature: Of a SavedModel: the name of a signature, or of a function such as "__call__".
        tags: Of a SavedModel with several graphs: those of one of them.
        inputs: Tensors of a graph where it begins: ("X:0",); None: the signature's, or the placeholders on the way.
        outputs: Tensors of a graph where it ends, or names of a signature's outputs; None: all of a signature's, or the
            last tensor before the loss.
        shapes: The sizes of inputs, as TensorFlow has them, by name; None for one that varies.
        arguments: What a function is told besides tensors: {"trainable": False}.
        limit: The largest error that passes, relative to the largest value of an output.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: A file is damaged.
        NotConvertible: An operation has no translation, or the result differs from what TensorFlow computes.
        UsageError: What was asked for is not there, or not clear.
    """
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        target = Path(folder) / "model.onnx"
        tensorflow_to_onnx_file(
            path, target, signature=signature, tags=tags, inputs=inputs, outputs=outputs, shapes=shapes,
            arguments=arguments, limit=limit,
        )  # fmt: skip
        return onnx.load(target)


def tensorflow_to_onnx_file(
    path: str | os.PathLike[str],
    target: Path,
    *,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    arguments: Mapping[str, Any] | None = None,
    limit: float = 1e-4,
) -> tuple[str, ...]:
    """Writes what TensorFlow has saved as a file of ONNX, and returns what was decided, for people.

    Weights are written one by one: they are in memory once. The rest is as for `tensorflow_to_onnx`.

    Args:
        path: What is saved.
        target: The file to write; there is none yet. Weights of more than 2 GB go to another beside it.
        signature: As there.
        tags: As there.
        inputs: As there.
        outputs: As there.
        shapes: As there.
        arguments: As there.
        limit: As there.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: As there.
        NotConvertible: As there; what was written is removed.
        UsageError: As there.
    """
    checked_limit(limit)
    plain = read_source(Path(path), Asked(signature, tags, inputs, outputs, shapes or {}, arguments))
    bare = _written(net_of_graph(plain), plain, Path(path).name, target)
    try:
        errors = errors_against_tensorflow(target, bare, plain)
        refuse_unlike(errors, limit)
    except NotConvertible:
        target.unlink(missing_ok=True)
        raise
    return (*plain.notes, f"TensorFlow and ONNX agree to {max(errors.values()):.1e} of the largest value.")


def _written(net: Net, plain: PlainGraph, name: str, target: Path) -> onnx.ModelProto:
    size = sum(array.nbytes for array in net.constants.values())
    title = re.sub("[^A-Za-z0-9_]+", "_", name).strip("_") or "model"
    header = Header(title, PRODUCER, version("zoo-transfer"), " ".join(plain.notes))
    return write_model(net, target, list(net.outputs), header, outside=size > _LARGEST)
