"""Takes models to other formats, by the suffix of the file, and says how far the result is from the original.

The result is written under a private name, run by the format's own runtime beside the original, and only then given its
place: what differs leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
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
from zoo.converters.exporting.tracing import inputs_of, packed
from zoo.converters.exporting.writing import data_of
from zoo.converters.parity import checked_limit, relative_error
from zoo.errors import IntegrityError, UsageError, ZooError
from zoo.files import private_folder, put_in_place
from zoo.loading import load_model, load_onnx_file
from zoo.loading.from_caffe import CAFFE_SOURCES, caffe_files, load_caffe_files

Array = NDArray[Any]

_SAVED_MODEL = "SavedModel"
FORMATS = {".onnx": "ONNX", ".keras": "Keras archive", ".tflite": "TensorFlow Lite", "": _SAVED_MODEL}
SOURCES = (".onnx", ".keras", ".h5", ".hdf5")
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


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
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    replace: bool = False,
    opset: int = 18,
    limit: float = 1e-4,
    until: str | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    preprocess: str | None = None,
) -> Exported:
    """Writes the model in one file to another, of the format that its suffix says; returns what came of it.

    Args:
        source: A `.onnx`, `.keras` or whole `.h5` file, or the files of a Caffe net: its `.prototxt`, its `.caffemodel`
            and, to have it subtracted inside, the `.binaryproto` of its mean picture. They are checked before anything
            is made of them.
        target: A `.onnx`, `.keras` or `.tflite` file, or a folder without a suffix for a SavedModel.
        replace: Whether a model that is there already gives way.
        opset: Of an ONNX target: its operator set; that of a Caffe net is 17 always.
        limit: The largest error that passes, of each step, relative to the largest value of an output.
        until: Of an ONNX or Caffe source: the name of the last node or layer to convert.
        shapes: Of an ONNX or Caffe source: the sizes of inputs, as those have them, by name; None for one that varies.
        preprocess: Of a Caffe source: what the result begins with, so that it takes RGB pictures 0..255: a key of
            `zoo.registry.presets`, or a model that wants the same; None: nothing, and pictures must come as Caffe's do.

    Raises:
        UsageError: A suffix is another, the limit is none, or there is a file and `replace` was not said. Nothing is
            read then.
        NotFoundError: There is no such source.
        IntegrityError: The source is damaged, has a layer that cannot be taken over, or the result differs.
        UnsafeFileError: The source could do harm.
        DiskError: The target cannot be written.
    """
    files = [Path(source)] if isinstance(source, str | os.PathLike) else [Path(each) for each in source]
    if any(each.suffix.lower() in CAFFE_SOURCES for each in files):
        return _convert_caffe(
            files, Path(target),
            replace=replace, opset=opset, limit=limit, until=until, shapes=shapes, preprocess=preprocess,
        )  # fmt: skip
    if len(files) != 1 or preprocess is not None:
        raise UsageError(
            f"Expected one source, and nothing for --preprocess (Python: preprocess), unless it is a Caffe net; got "
            f"{', '.join(map(str, files)) or 'none'}."
        )
    (source,) = files
    checked_target(Path(target), replace)
    checked_limit(limit)
    if source.suffix.lower() not in SOURCES:
        raise UsageError(
            f"Expected a source that ends with {', '.join(SOURCES)}; got {source}.{_other_way(source, Path(target))}"
        )
    if source.suffix.lower() != ".onnx":
        if until is not None or shapes:
            raise UsageError(f"Expected a .onnx source for --until and --shape, until and shapes; got {source}.")
        return export_model(load_model(source), target, replace=replace, opset=opset, limit=limit)
    model, read = load_onnx_file(source, limit=limit, until=until, shapes=shapes)
    return export_model(model, target, replace=replace, opset=opset, limit=limit, read=read)


def _convert_caffe(
    files: Sequence[Path],
    path: Path,
    *,
    replace: bool,
    opset: int,
    limit: float,
    until: str | None,
    shapes: Mapping[str, Sequence[int | None]] | None,
    preprocess: str | None,
) -> Exported:
    """Writes a Caffe net to a file: what Caffe became as ONNX, or what Keras made of that."""
    suffix = checked_target(path, replace)
    checked_limit(limit)
    definition, weights, preprocessing = caffe_files(files, preprocess)
    with private_folder(path, "another folder") as folder:
        onnx = folder / "model.onnx"
        model, read = load_caffe_files(
            definition, weights, onnx,
            limit=limit, shapes=shapes, outputs=None if until is None else [until], preprocessing=preprocessing,
        )  # fmt: skip
        if suffix != ".onnx":
            return export_model(model, path, replace=replace, opset=opset, limit=limit, read=read)
        put_in_place(onnx, path)
    errors = {"ONNX to Keras": read.error}
    return Exported(path, FORMATS[suffix], _size(path), read.error, errors, model.count_params(), read)


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
    checked_limit(limit)
    errors = {"ONNX to Keras": read.error} if read else {}
    written = None
    if suffix == ".onnx":
        written = keras_to_onnx(model, path, opset=opset, limit=limit)
        errors["Keras to ONNX"] = written.error
    else:
        errors[f"Keras to {FORMATS[suffix]}"] = _written(model, path, suffix, limit)
    count = _size(path) + sum(_size(each) for each in (data_of(path) if suffix == ".onnx" else []))
    return Exported(path, FORMATS[suffix], count, max(errors.values()), errors, model.count_params(), read, written)


def _other_way(source: Path, target: Path) -> str:
    """Returns how to go on with a source that is not converted; empty where nobody knows."""
    name, wanted = shlex.quote(str(source)), shlex.quote(str(target))
    is_lite = source.suffix.lower() == ".tflite"
    if is_lite or (source / "saved_model.pb").is_file():
        onnx = wanted if target.suffix.lower() == ".onnx" else shlex.quote(f"{source.resolve().stem}-tf2onnx.onnx")
        then = "" if onnx == wanted else f" and then: zoo convert {onnx} {wanted}"
        kind = "--tflite" if is_lite else "--saved-model"
        return f" Make ONNX of it: python -m tf2onnx.convert {kind} {name} --output {onnx}{then}"
    if (source / "run.json").is_file() or not source.suffix:
        return f" For a run, or a model that zoo list knows: zoo export {name} {wanted}"
    return ""


def checked_target(path: Path, replace: bool) -> str:
    """Returns the suffix of a target that may be written."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS or path.name.lower() in FORMATS:  # a suffix alone is no name
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
    with private_folder(path, "another folder") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorFlow, about itself
        written = folder / f"model{suffix}"
        examples = examples_of(model)
        expected = outputs_of(model, examples)
        with _refusing(suffix):
            write(model, written)
            found = run(written, model, examples)
        pairs = zip(found, expected, strict=True)
        error = max(relative_error(one, other) for one, other in pairs) if len(found) == len(expected) else float("inf")
        if not error <= limit:
            raise IntegrityError(
                f"Nothing was written to {path}: as {FORMATS[suffix]} the model's outputs differ by {error:.1e} of "
                f"their largest value, and at most {limit:.1e} was expected. Say what is enough (limit, --limit), or "
                "choose another format."
            )
        put_in_place(written, path)
    return error


@contextlib.contextmanager
def _refusing(suffix: str) -> Iterator[None]:
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
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(saved)).convert())


def _run_tflite(path: Path, model: keras.Model, examples: Mapping[str, Array]) -> list[Array]:
    runner = tf.lite.Interpreter(model_path=str(path)).get_signature_runner("serving_default")
    names = [each.name for each in inputs_of(model)]  # those of the signature, which has them in another order
    found = runner(**dict(zip(names, examples.values(), strict=True)))
    return [np.asarray(found[name]) for name in _output_names(model)]


def _output_names(model: keras.Model) -> list[str]:
    """Returns what a signature calls the outputs of a model, in the order that Keras has."""
    structure = None if isinstance(model, keras.Sequential) else model.output
    if isinstance(structure, Mapping):
        return [str(each) for each in keras.tree.flatten({name: name for name in structure})]
    return [f"output_{number}" for number in range(len(model.outputs))]


_Run = Callable[[Path, keras.Model, Mapping[str, Array]], list[Array]]
_WAYS: dict[str, tuple[Callable[[keras.Model, Path], None], _Run]] = {
    ".keras": (_write_keras, _run_keras),
    ".tflite": (_write_tflite, _run_tflite),
    "": (_write_saved_model, _run_saved_model),
}
