"""Takes models to other formats, by the suffix of the file, and says how far the result is from the original.

The result is written under a private name, run by the format's own runtime beside the original, and only then given its
place: what differs leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.converters import ConversionReport, keras_to_onnx
from zoo.converters.exporting.comparing import examples_of, outputs_of
from zoo.converters.exporting.tracing import packed
from zoo.converters.exporting.writing import data_of
from zoo.converters.parity import relative_error
from zoo.errors import IntegrityError, UsageError
from zoo.files import disk_errors, flush, make_folder, temporary_name
from zoo.loading import load_model, load_onnx_file

Array = NDArray[Any]

_SAVED_MODEL = "SavedModel"
FORMATS = {".onnx": "ONNX", ".keras": "Keras archive", ".tflite": "TensorFlow Lite", "": _SAVED_MODEL}
SOURCES = (".onnx", ".keras", ".h5", ".hdf5")


@dataclass(frozen=True)
class Exported:
    """A model in another format, and how far that is from the original.

    Attributes:
        path: The file, or the folder of a SavedModel.
        format: What it is.
        bytes: How much it takes on the disk, with the file of its weights beside it.
        error: The largest difference from the original's outputs on random input, relative to their largest value.
        errors: The same by step, such as "Keras to ONNX".
        parameters: How many weights the model has, single numbers of them.
        read: What the reader of an ONNX source says.
        written: What the writer of ONNX says.
    """

    path: Path
    format: str
    bytes: int
    error: float
    errors: Mapping[str, float]
    parameters: int
    read: ConversionReport | None = field(default=None, repr=False)
    written: ConversionReport | None = field(default=None, repr=False)


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    replace: bool = False,
    opset: int = 18,
    limit: float = 1e-4,
    until: str | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
) -> Exported:
    """Writes the model in one file to another, of the format that its suffix says; returns what came of it.

    Args:
        source: A `.onnx`, `.keras` or whole `.h5` file. It is checked before anything is made of it.
        target: A `.onnx`, `.keras` or `.tflite` file, or a folder without a suffix for a SavedModel.
        replace: Whether a model that is there already gives way.
        opset: Of an ONNX target: its operator set.
        limit: The largest error that passes, of each step, relative to the largest value of an output.
        until: Of an ONNX source: the name of the last node to convert.
        shapes: Of an ONNX source: the sizes of inputs, as ONNX has them, by name; None for one that varies.

    Raises:
        UsageError: A suffix is another, or there is a file and `replace` was not said. Nothing is read then.
        NotFoundError: There is no such source.
        IntegrityError: The source is damaged, has a layer that cannot be taken over, or the result differs.
        UnsafeFileError: The source could do harm.
        DiskError: The target cannot be written.
    """
    source = Path(source)
    if source.suffix.lower() not in SOURCES:
        raise UsageError(f"Expected a source that ends with {', '.join(SOURCES)}; got {source}.")
    checked_target(Path(target), replace)
    if source.suffix.lower() != ".onnx":
        if until is not None or shapes:
            raise UsageError(f"Expected a .onnx source for --until and --shape, until and shapes; got {source}.")
        return export_model(load_model(source), target, replace=replace, opset=opset, limit=limit)
    model, read = load_onnx_file(source, limit=limit, until=until, shapes=shapes)
    return export_model(model, target, replace=replace, opset=opset, limit=limit, read=read)


def export_model(
    model: keras.Model,
    target: str | os.PathLike[str],
    *,
    replace: bool = False,
    opset: int = 18,
    limit: float = 1e-4,
    read: ConversionReport | None = None,
) -> Exported:
    """Writes a model in memory to a file; see `convert`.

    Args:
        model: The model.
        target: Where to, as `convert` has it.
        replace: Whether a model that is there already gives way.
        opset: Of an ONNX target: its operator set.
        limit: The largest error that passes.
        read: How the model was read, where it comes of another format.
    """
    path = Path(target)
    suffix = checked_target(path, replace)
    errors = {"ONNX to Keras": read.error} if read else {}
    written = None
    if suffix == ".onnx":
        written = keras_to_onnx(model, path, opset=opset, limit=limit)
        errors["Keras to ONNX"] = written.error
    else:
        errors[f"Keras to {FORMATS[suffix]}"] = _written(model, path, suffix, limit)
    count = _size(path) + sum(_size(each) for each in (data_of(path) if suffix == ".onnx" else []))
    return Exported(path, FORMATS[suffix], count, max(errors.values()), errors, model.count_params(), read, written)


def checked_target(path: Path, replace: bool) -> str:
    """Returns the suffix of a target that may be written."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS or not path.name:
        known = ", ".join(f"{each} ({name})" for each, name in FORMATS.items() if each)
        raise UsageError(
            f"Expected a target that ends with {known}, or a folder without a suffix for a SavedModel; got {path}."
        )
    if not os.path.lexists(path):
        return suffix
    fits = (path / "saved_model.pb").is_file() if not suffix else path.is_file()
    if not fits:
        raise UsageError(f"{path} is there and is no {FORMATS[suffix]}: it is not replaced. Choose another name.")
    if not replace:
        raise UsageError(f"{path} is there already. Choose another name, or let it be replaced: --replace")
    return suffix


def _written(model: keras.Model, path: Path, suffix: str, limit: float) -> float:
    """Writes a model in one of the formats of TensorFlow, and returns the error."""
    write, run = _WAYS[suffix]
    with _private_folder(path) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorFlow, about itself
        written = folder / f"model{suffix}"
        examples = examples_of(model)
        expected = outputs_of(model, examples)
        write(model, written)
        found = run(written, model, examples)
        pairs = zip(found, expected, strict=True)
        error = max(relative_error(one, other) for one, other in pairs) if len(found) == len(expected) else float("inf")
        if not error <= limit:
            raise IntegrityError(
                f"Nothing was written to {path}: as {FORMATS[suffix]} the model's outputs differ by {error:.1e} of "
                f"their largest value, and at most {limit:.1e} was expected. Say what is enough (limit), or choose "
                "another format."
            )
        _put(written, path, folder)
    return error


@contextlib.contextmanager
def _private_folder(path: Path) -> Iterator[Path]:
    make_folder(path.parent)
    folder = temporary_name(path)
    with disk_errors(path, "free some space, or choose another folder"):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _put(written: Path, path: Path, folder: Path) -> None:
    """Gives what was written its place, durably; a folder that was there goes last."""
    for each in [*sorted(written.rglob("*")), written] if written.is_dir() else [written]:
        flush(each)
    before = folder / "before"
    if path.is_dir():
        path.rename(before)
    try:
        written.replace(path)
    except OSError:
        if before.is_dir():
            before.rename(path)
        raise
    flush(path.parent)


def _size(path: Path) -> int:
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path] if path.is_file() else []
    return sum(each.stat().st_size for each in files)


# --- the formats of TensorFlow: how each is written, and how it is run ---


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
    try:
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(saved)).convert())
    except Exception as error:  # kinds of errors of TensorFlow Lite that are not public
        raise IntegrityError(
            f"TensorFlow Lite cannot take the model over: {' '.join(str(error).split())[:400]} Choose another format."
        ) from error


def _run_tflite(path: Path, model: keras.Model, examples: Mapping[str, Array]) -> list[Array]:
    runner = tf.lite.Interpreter(model_path=str(path)).get_signature_runner("serving_default")
    names = list(runner.get_input_details())
    order = list(examples) if set(examples) == set(names) else names
    found = runner(**dict(zip(order, examples.values(), strict=True)))
    return [np.asarray(found[name]) for name in sorted(found, key=_place)]


def _place(name: str) -> tuple[int, str]:
    """Returns by what outputs are in order: `output_10` comes after `output_2`."""
    number = name.rpartition("_")[2]
    return (int(number), name) if number.isdecimal() else (-1, name)


_Run = Callable[[Path, keras.Model, Mapping[str, Array]], list[Array]]
_WAYS: dict[str, tuple[Callable[[keras.Model, Path], None], _Run]] = {
    ".keras": (_write_keras, _run_keras),
    ".tflite": (_write_tflite, _run_tflite),
    "": (_write_saved_model, _run_saved_model),
}
