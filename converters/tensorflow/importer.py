"""TensorFlow to ONNX: what `zoo.converters.tensorflow_to_onnx` does."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
from zoo.converters.exporting.net import Net
from zoo.converters.exporting.writing import PRODUCER, Header, private_folder, publish, write_model
from zoo.converters.parity import checked_limit
from zoo.converters.tensorflow.graphs import PlainGraph
from zoo.converters.tensorflow.judging import errors_against_tensorflow, refuse_unlike
from zoo.converters.tensorflow.single_precision import in_single_precision
from zoo.converters.tensorflow.sources import Asked, Kind, read_source
from zoo.converters.tensorflow.translating import net_of_graph

VERSION = 2  # of what is made of a graph: one more whenever another model is, so that kept conversions are made anew
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
        limit: The largest error that passes, relative to the largest value of an output. Of what computes in 16 bits,
            1e-2 (bfloat16: 6e-2) passes anyway, for the result computes in 32.

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


@dataclass(frozen=True)
class Written:
    """What there is to tell of a file of ONNX that was made of what TensorFlow has saved.

    Attributes:
        notes: What was decided, for people.
        error: How far it is from what TensorFlow computes, relative to the largest value of an output.
        rounding: How far it might have been only because TensorFlow computes in 16 bits; 0: it does not.
    """

    notes: tuple[str, ...]
    error: float
    rounding: float


def tensorflow_to_onnx_file(
    path: str | os.PathLike[str],
    target: Path,
    *,
    kind: Kind | None = None,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    arguments: Mapping[str, Any] | None = None,
    limit: float = 1e-4,
) -> Written:
    """Writes what TensorFlow has saved as a file of ONNX, and returns what there is to tell of that.

    Weights are written one by one: they are in memory once. The rest is as for `tensorflow_to_onnx`.

    Args:
        path: What is saved.
        target: The file to write. Weights of more than 2 GB go to another beside it.
        kind: What is saved there, where a guard has judged the path as such; None: what lies there tells.
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
        NotConvertible: As there; nothing is left of what was written.
        UsageError: As there.
        DiskError: It cannot be written.
    """
    checked_limit(limit)
    asked = Asked(signature, tags, inputs, outputs, shapes or {}, arguments)
    plain = in_single_precision(read_source(Path(path), asked, kind))
    net = net_of_graph(plain)
    with private_folder(target) as folder:
        bare = _written(net, plain, Path(path).name, folder / target.name)
        errors = errors_against_tensorflow(folder / target.name, bare, plain)
        refuse_unlike(errors, max(limit, plain.rounding))
        publish(folder, target)
    error = max(errors.values())
    told = f"TensorFlow and ONNX agree to {error:.1e} of the largest value."
    return Written((*plain.notes, told), error, plain.rounding)


def _written(net: Net, plain: PlainGraph, name: str, target: Path) -> onnx.ModelProto:
    size = sum(array.nbytes for array in net.constants.values())
    title = re.sub("[^A-Za-z0-9_]+", "_", name).strip("_") or "model"
    header = Header(title, PRODUCER, version("zoo-transfer"), " ".join(plain.notes))
    return write_model(net, target, list(net.outputs), header, outside=size > _LARGEST)
