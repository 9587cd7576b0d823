"""Takes models to other formats, by the suffix of the file, and says how far the result is from the original.

The result is written under a private name, run by the format's own runtime beside the original, and only then given its
place: what differs leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.converters import ConversionReport, keras_to_onnx
from zoo.converters.exporting.comparing import examples_of, outputs_of
from zoo.converters.exporting.tracing import input_names
from zoo.converters.exporting.writing import data_of, publish
from zoo.converters.parity import checked_limit, relative_error
from zoo.errors import IntegrityError, UsageError, ZooError
from zoo.files import private_folder, put_in_place
from zoo.formats import FORMATS, WAYS, Labels, labels_beside, put_inside, refusing
from zoo.loading import load_model, load_onnx_file
from zoo.loading.from_caffe import CAFFE_SOURCES, caffe_files, load_caffe_files
from zoo.loading.from_tensorflow import is_tensorflow, load_tensorflow
from zoo.sample_texts import fixed_texts

Array = NDArray[Any]

_TEXTS = 8  # that a model of texts is compared on

SOURCES = (".onnx", ".keras", ".h5", ".hdf5")


@dataclass(frozen=True)
class Exported:
    """A model in another format, and how far that is from the original.

    Attributes:
        path: The file, or the folder of a SavedModel.
        format: What it is.
        bytes: How much it takes on the disk, with the file of its weights beside it.
        error: The largest difference from the original's outputs, relative to their largest value.
        errors: The same by step, such as "Keras to ONNX".
        parameters: How many weights the model has, single numbers of them.
        examples: How many real examples both were compared on; 0: on random input.
        difference: The largest difference between the outputs for those, as it is; None without such.
        labels: The file beside it with the names of what it puts out, one a line; None where nobody gave any.
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
    examples: int = 0
    difference: float | None = None
    labels: Path | None = None


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
    signature: str | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> Exported:
    """Writes the model in one file to another, of the format that its suffix says; returns what came of it.

    Args:
        source: A `.onnx`, `.keras` or whole `.h5` file; the folder of a SavedModel, a frozen graph (`.pb`), or the
            prefix, or any file, of a TensorFlow checkpoint with its `.meta`; or the files of a Caffe net: its
            `.prototxt`, its `.caffemodel` and, to have it subtracted inside, the `.binaryproto` of its mean picture.
            They are checked before anything is made of them.
        target: A `.onnx`, `.keras` or `.tflite` file, or a folder without a suffix for a SavedModel.
        replace: Whether a model that is there already gives way.
        opset: Of an ONNX target: its operator set; that of a Caffe net is 17 always.
        limit: The largest error that passes, of each step, relative to the largest value of an output.
        until: Of an ONNX or Caffe source: the name of the last node or layer to convert.
        shapes: Of an ONNX, Caffe or TensorFlow source: the sizes of inputs, as it has them, by name; None for one that
            varies.
        preprocess: Of a Caffe source: what the result begins with, so that it takes RGB pictures 0..255: a key of
            `zoo.registry.presets`, or a model that wants the same; None: nothing, and pictures must come as Caffe's do.
        signature: Of a SavedModel: what is called of it.
        inputs: Of a source of TensorFlow: where the net begins, as in `("X:0",)`; found where nothing is said.
        outputs: Likewise where it ends; or names of a signature's outputs.

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
    tensors: dict[str, Any] = {"inputs": tuple(inputs) or None, "outputs": tuple(outputs) or None}
    if is_tensorflow(source):
        if until is not None:
            raise UsageError(f"Expected --output (outputs) instead of --until, of a source of TensorFlow: {source}.")
        model, read = load_tensorflow(source, signature=signature, shapes=shapes, limit=limit, **tensors)
        return export_model(model, target, replace=replace, opset=opset, limit=limit, read=read)
    if signature or any(tensors.values()):
        raise UsageError(f"--signature, --input and --output are for what TensorFlow has saved; got {source}.")
    if source.suffix.lower() not in SOURCES:
        raise UsageError(
            f"Expected a source that ends with {', '.join(SOURCES)}; got {source}.{_other_way(source, Path(target))}"
        )
    if source.suffix.lower() != ".onnx":
        if until is not None or shapes:
            raise UsageError(
                f"Expected a .onnx source for --until (until), no file of Keras for --shape (shapes); got {source}."
            )
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
    labels: Labels | None = None,
    examples: Sequence[Array] = (),
) -> Exported:
    """Writes a model in memory to a file; see `convert`.

    Args:
        model: The model.
        target: Where to, as `convert` has it.
        replace: Whether a model that is there already gives way.
        opset: Of an ONNX target: its operator set.
        limit: The largest error that passes.
        read: How the model was read, where it comes of another format.
        labels: What its outputs are called. They go into the file, where the format has room for them, and into
            another beside it: `digits.onnx.labels.txt`.
        examples: Of a model of one input: what to compare both on, each without the batch; empty: random input.
    """
    path = Path(target)
    suffix = checked_target(path, replace)
    if labels is not None:
        _refuse_other_labels(path, replace)
    checked_limit(limit)
    errors: dict[str, float] = {}
    if read is not None:
        errors |= read.steps or {f"{read.source} to Keras": read.error}
    batches = _batches(model, examples)
    written, difference = None, None
    if suffix == ".onnx" and labels is None and not batches:
        written = keras_to_onnx(model, path, opset=opset, limit=limit)
        errors["Keras to ONNX"] = written.error
    else:
        with private_folder(path, "another folder") as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TensorFlow, about itself
            made = folder / "onnx" / path.name if suffix == ".onnx" else folder / f"model{suffix}"
            made.parent.mkdir(exist_ok=True)
            with refusing(suffix), _called(path, made):
                if suffix == ".onnx":
                    first = batches[0] if batches else None
                    written = keras_to_onnx(model, made, opset=opset, limit=limit, examples=first)
                else:
                    WAYS[suffix][0](model, made)
                if labels is not None:
                    put_inside(labels, made, suffix)
                error, difference = _compared(model, made, suffix, batches or [_made_up(model)])
            _refuse_unlike(error, limit, path, suffix)
            errors["Keras to ONNX" if suffix == ".onnx" else f"Keras to {FORMATS[suffix]}"] = error
            _put_all_in_place(made, folder / "labels.txt", path, labels)
    count = _size(path) + sum(_size(each) for each in (data_of(path) if suffix == ".onnx" else []))
    return Exported(
        path, FORMATS[suffix], count, max(errors.values()), errors, model.count_params(), read, written,
        len(examples), difference if batches else None, labels_beside(path) if labels else None,
    )  # fmt: skip


def _put_all_in_place(made: Path, names: Path, path: Path, labels: Labels | None) -> None:
    """Gives a model and its labels their places: the labels last, so that an earlier model keeps its own as long."""
    if labels is not None:
        names.write_bytes(labels.text)
    if path.suffix.lower() == ".onnx":
        publish(made.parent, path)
    else:
        put_in_place(made, path)
    if labels is not None:
        put_in_place(names, labels_beside(path))


@contextlib.contextmanager
def _called(path: Path, made: Path) -> Iterator[None]:
    """Lets errors speak of where a model is to be, and not of where it is made."""
    try:
        yield
    except ZooError as error:
        raise type(error)(str(error).replace(str(made), str(path))) from error


def _batches(model: keras.Model, examples: Sequence[Array]) -> list[dict[str, Array]]:
    """Returns examples as what goes into a model, by its input's name: those of one shape together."""
    if not examples:
        return []
    (source,) = keras.tree.flatten(model.inputs)
    kind = tf.as_dtype(source.dtype).as_numpy_dtype
    alike = len({each.shape for each in examples}) == 1
    stacks = [np.stack(examples)] if alike else [each[None] for each in examples]
    (name,) = input_names([source])
    return [{name: each.astype(kind)} for each in stacks]


def _made_up(model: keras.Model) -> dict[str, Array]:
    """Returns examples for a model of which nobody has any: texts of frequent words, or random numbers."""
    sources = keras.tree.flatten(model.inputs)
    if len(sources) == 1 and sources[0].dtype == "string":
        return {input_names(sources)[0]: fixed_texts((_TEXTS, *(size or 1 for size in sources[0].shape[1:])), seed=0)}
    return dict(examples_of(model))


def _compared(
    model: keras.Model, made: Path, suffix: str, batches: Sequence[Mapping[str, Array]]
) -> tuple[float, float]:
    """Returns how far a file's outputs are from the model's: relative to the largest value, and as it is."""
    run = WAYS[suffix][1]
    pairs: list[tuple[Array, Array]] = []
    for batch in batches:
        expected, found = outputs_of(model, batch), run(made, model, batch)
        if len(found) != len(expected):
            return float("inf"), float("inf")
        pairs += zip(found, expected, strict=True)
    error = max(relative_error(one, other) for one, other in pairs)
    if any(one.shape != other.shape for one, other in pairs):
        return error, float("inf")
    wide = [(np.asarray(one, np.float64), np.asarray(other, np.float64)) for one, other in pairs if one.size]
    return error, max((float(np.abs(one - other).max()) for one, other in wide), default=0.0)


def _refuse_unlike(error: float, limit: float, path: Path, suffix: str) -> None:
    if not error <= limit:
        raise IntegrityError(
            f"Nothing was written to {path}: as {FORMATS[suffix]} the model's outputs differ by {error:.1e} of "
            f"their largest value, and at most {limit:.1e} was expected. Say what is enough (limit, --limit), or "
            "choose another format."
        )


def _other_way(source: Path, target: Path) -> str:
    """Returns how to go on with a source that is not converted; empty where nobody knows."""
    name, wanted = shlex.quote(str(source)), shlex.quote(str(target))
    is_lite = source.suffix.lower() == ".tflite"
    if is_lite:
        onnx = wanted if target.suffix.lower() == ".onnx" else shlex.quote(f"{source.resolve().stem}-tf2onnx.onnx")
        then = "" if onnx == wanted else f" and then: zoo convert {onnx} {wanted}"
        return f" Make ONNX of it: python -m tf2onnx.convert --tflite {name} --output {onnx}{then}"
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


def _refuse_other_labels(path: Path, replace: bool) -> None:
    names = labels_beside(path)
    if not replace and os.path.lexists(names):
        raise UsageError(f"{names} is there already, where the labels would be. Move it, or say --replace.")


def _size(path: Path) -> int:
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path] if path.is_file() else []
    return sum(each.stat().st_size for each in files)
