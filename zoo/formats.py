"""The formats that models are written in: how each is written, how its own runtime runs it, where labels go in it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
from numpy.typing import NDArray

from zoo.converters import keras_to_onnx
from zoo.converters.exporting.comparing import outputs_of
from zoo.converters.exporting.tracing import inputs_of, packed
from zoo.converters.parity import run_onnx
from zoo.errors import IntegrityError, ZooError
from zoo.loading import load_model

Array = NDArray[Any]

FORMATS = {".onnx": "ONNX", ".keras": "Keras archive", ".tflite": "TensorFlow Lite", "": "SavedModel"}
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@dataclass(frozen=True)
class Labels:
    """What the numbers that a model puts out are called.

    Attributes:
        names: One for each output.
        task: What the numbers are: probabilities that sum to 1 (`classification`), one for each label (`multilabel`),
            or values (`regression`).
    """

    names: tuple[str, ...]
    task: str = "classification"

    @property
    def text(self) -> bytes:
        """Returns the names, one a line: what other programs read."""
        return "".join(f"{' '.join(name.splitlines()) or name}\n" for name in self.names).encode("utf-8", "replace")


def labels_beside(path: Path) -> Path:
    """Returns where the labels of the model at `path` lie, one a line."""
    return path.with_name(f"{path.name}.labels.txt")


@contextlib.contextmanager
def refusing(suffix: str) -> Iterator[None]:
    """Makes errors of ours of those of libraries, whose kinds are many and not public."""
    try:
        yield
    except (ZooError, MemoryError):
        raise
    except Exception as error:
        number = next((each for each in _OF_DISKS if os.strerror(each) in str(error)), None)
        if number is not None:
            raise OSError(number, os.strerror(number)) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise IntegrityError(
            f"The model cannot be written as {FORMATS[suffix]}, or does not run as that: "
            f"{' '.join(str(error).split())[:400]!r}. Choose another format."
        ) from error


def _write_keras(model: keras.Model, path: Path) -> None:
    model.save(path)


def _run_keras(path: Path, model: keras.Model, examples: Mapping[str, Array]) -> list[Array]:
    return outputs_of(load_model(path), examples)


def _write_saved_model(model: keras.Model, path: Path) -> None:
    model.export(path, verbose=False)


def _run_saved_model(path: Path, model: keras.Model, examples: Mapping[str, Array]) -> list[Array]:
    tensors = [tf.convert_to_tensor(each) for each in examples.values()]
    loaded = tf.saved_model.load(str(path))  # kept as long as it runs: its variables are gone with it
    found = loaded.serve(packed(model, tensors))
    return [each.numpy() for each in keras.tree.flatten(found)]


def _write_tflite(model: keras.Model, path: Path) -> None:
    saved = path.with_name("saved_model")
    _write_saved_model(model, saved)
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(saved)).convert())


def _run_tflite(path: Path, model: keras.Model, examples: Mapping[str, Array]) -> list[Array]:
    runner = tf.lite.Interpreter(model_path=str(path)).get_signature_runner("serving_default")
    names = [each.name for each in inputs_of(model)]  # those of the signature, which has them in another order
    found = runner(**dict(zip(names, examples.values(), strict=True)))
    return [np.asarray(found[name]) for name in _output_names(model)]


def _run_onnx(path: Path, model: keras.Model, examples: Mapping[str, Array]) -> list[Array]:
    names = [each.name for each in onnx.load(path, load_external_data=False).graph.output]
    (found,) = run_onnx(str(path), [examples], names)  # a path: we wrote it ourselves
    return [found[name] for name in names]


def _output_names(model: keras.Model) -> list[str]:
    """Returns what a signature calls the outputs of a model, in the order that Keras has."""
    structure = None if isinstance(model, keras.Sequential) else model.output
    if isinstance(structure, Mapping):
        return [str(each) for each in keras.tree.flatten({name: name for name in structure})]
    return [f"output_{number}" for number in range(len(model.outputs))]


_Run = Callable[[Path, keras.Model, Mapping[str, Array]], list[Array]]
WAYS: dict[str, tuple[Callable[[keras.Model, Path], object], _Run]] = {
    ".onnx": (keras_to_onnx, _run_onnx),
    ".keras": (_write_keras, _run_keras),
    ".tflite": (_write_tflite, _run_tflite),
    "": (_write_saved_model, _run_saved_model),
}


# --- labels inside: ONNX says them in its metadata, a SavedModel in its extra assets, TFLite in a zip behind it ---


def put_inside(labels: Labels, path: Path, suffix: str) -> None:
    """Writes labels into a file, where the format has room for them; an archive of Keras has none."""
    if suffix == ".onnx":
        more = onnx.ModelProto()
        told = {"labels": json.dumps(labels.names, ensure_ascii=False), "task": labels.task}
        onnx.helper.set_model_props(more, told)
        with path.open("ab") as file:  # a message of protobuf that follows another is joined to it
            file.write(more.SerializeToString())
    elif suffix == ".tflite":
        with zipfile.ZipFile(path, "a") as archive:  # as TensorFlow Lite has associated files
            archive.writestr(zipfile.ZipInfo("labels.txt"), labels.text)
    elif not suffix:
        extra = path / "assets.extra"  # which a SavedModel has for what its users add
        extra.mkdir()
        (extra / "labels.txt").write_bytes(labels.text)
