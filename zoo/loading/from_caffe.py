"""Loads nets of Caffe as Keras models: converted to ONNX once, and from there as ONNX files are.

What was made of files of the store is kept beside them, so that the next load is that of a `.keras` file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from zoo.errors import DiskError, UsageError
from zoo.loading.from_onnx import about, converted_onnx
from zoo.loading.mean_pictures import without_mean_picture
from zoo.loading.variables import named
from zoo.loading.whole import load_archive
from zoo.registry.presets import chosen_input
from zoo.store.artifact import Artifact
from zoo.store.converted import Conversion
from zoo.store.guards.caffe_nets import check_caffemodel, check_prototxt
from zoo.store.guards.formats import recognise

if TYPE_CHECKING:
    from zoo.converters import ConversionReport
    from zoo.converters.caffe.preprocessing import Preprocessing

CAFFE_SOURCES = (".prototxt", ".caffemodel", ".binaryproto")
ONNX, KERAS = "model.onnx", "model.keras"
_log = logging.getLogger("zoo")


def caffe_to_onnx_file(
    definition: Path,
    weights: Path,
    target: Path,
    *,
    names: tuple[str, str] = ("", ""),
    shapes: Mapping[str, Sequence[int]] | None = None,
    default_shape: Sequence[int] | None = None,
    outputs: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> str:
    """Writes a net of Caffe as an ONNX file, and returns what was left away, for people.

    Args:
        definition: The `.prototxt`, whatever it is called.
        weights: The `.caffemodel`.
        target: The file to write; there is none yet.
        names: What the two files are called in messages; empty: their own names.
        shapes: Those of inputs by name, without the batch, where the definition does not say them.
        default_shape: That of inputs of which neither says it.
        outputs: Names of layers whose values come out.
        preprocessing: What the graph begins with.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: A file is damaged, a layer unknown or without weights, or the two are not of one net.
        UnsafeFileError: A file could do harm.
        UsageError: A shape is needed, or what was given names nothing in the net.
    """
    from zoo.converters import caffe_to_onnx  # here: few who load models need ONNX, which takes long to import

    texts, numbers = names[0] or definition.name, names[1] or weights.name
    check_prototxt(definition)
    check_caffemodel(weights, numbers)
    with named(definition, Path(texts).name) as text, named(weights, Path(numbers).name) as model, about(texts):
        proto = caffe_to_onnx(
            text, model, shapes=shapes, default_shape=default_shape, outputs=outputs, preprocessing=preprocessing
        )
        with target.open("xb") as file:
            file.write(proto.SerializeToString(deterministic=True))
    return proto.doc_string


def load_caffe(artifact: Artifact) -> keras.Model:
    """Returns the model of a Caffe net whose definition and weights are in an artifact.

    Raises:
        IntegrityError: A file is damaged, a layer unknown or without weights, or the two are not of one net.
        UnsafeFileError: A file could do harm.
        UsageError: The definition does not say how large pictures are.
    """
    from zoo.converters.caffe.importer import VERSION
    from zoo.converters.importing.layers import VERSION as LAYERS_VERSION

    weights, definition = (_digest(artifact, role) for role in ("weights", "definition"))
    height, width, channels = artifact.entry.input.size if artifact.entry.input else (None, None, 0)
    shapes = (None, (channels, height, width)) if height and width else (None,)  # most definitions say it themselves
    converter = f"caffe {VERSION}, layers {LAYERS_VERSION}"
    conversions = {
        shape: Conversion(weights, definition, str(shape or ""), converter, (ONNX, KERAS)) for shape in shapes
    }
    for conversion in conversions.values():
        if (kept := conversion.find(KERAS)) is not None:
            return load_archive(kept, artifact.entry.name)
    *plain, last = conversions
    for shape in plain:
        with contextlib.suppress(UsageError):  # the definition leaves the size open
            return _made(artifact, conversions[shape], shape)
    return _made(artifact, conversions[last], last)


def _made(artifact: Artifact, conversion: Conversion, shape: tuple[int, int, int] | None) -> keras.Model:
    """Returns the model, and keeps what it was made of; where the disk takes that not, without."""
    model = None
    try:
        with conversion.alone():
            if (kept := conversion.find(KERAS)) is not None:  # another process has made it meanwhile
                return load_archive(kept, artifact.entry.name)
            with conversion.making(room=2 * artifact.files["weights"].stat().st_size) as folder:
                model = _converted(artifact, folder, shape)
                model.save(folder / KERAS)
    except DiskError as error:
        _log.warning("What %s is converted to is not kept, and made anew each time: %s", artifact.entry.name, error)
    if model is not None:
        return model
    with tempfile.TemporaryDirectory() as elsewhere:
        return _converted(artifact, Path(elsewhere), shape)


def _converted(artifact: Artifact, folder: Path, shape: tuple[int, int, int] | None) -> keras.Model:
    names = {spec.role: spec.name for spec in artifact.entry.files}
    definition, weights = artifact.files["definition"], artifact.files["weights"]
    caffe_to_onnx_file(
        definition,
        weights,
        folder / ONNX,
        names=(names["definition"], names["weights"]),
        default_shape=shape,
    )
    return converted_onnx(folder / ONNX)[0]


def _fixed(name: str, size: int | None) -> int:
    if size is None:
        raise UsageError(
            f"Expected fixed sizes but for the batch, as in --shape {name}=?,3,227,227; a Caffe net has such."
        )
    return size


def _digest(artifact: Artifact, role: str) -> str:
    """Returns the sha256 (hex) of a file of an artifact: what its entry says of a copy, or its name in the store."""
    kind, _, digest = next(spec.hash or "" for spec in artifact.entry.files if spec.role == role).partition(":")
    return digest if kind == "sha256" else artifact.files[role].name


def caffe_files(paths: Sequence[Path], preprocess: str | None) -> tuple[Path, Path, Preprocessing | None]:
    """Returns the definition and the weights of a Caffe net, and what their user wants to have inside.

    Args:
        paths: The files, in any order; a mean picture may be among them.
        preprocess: How RGB pictures 0..255 become numbers: a key of `PRESETS`, or a model that wants the same.

    Raises:
        UsageError: A file is missing, or one is too many, or the preprocessing is none.
        NotFoundError: There is no such file.
        IntegrityError: The content of a file is not what its name says.
    """
    from zoo.converters.caffe.preprocessing import Preprocessing

    others, numbers, notes = without_mean_picture(paths, preprocess, dict.fromkeys(("color", "scale", "mean", "std")))
    files = dict(recognise(others).files)
    if preprocess is None and not notes:
        return files["definition"], files["weights"], None
    channels = len(numbers["mean"] or ()) or 3
    spec = chosen_input((None, None, channels), preprocess, **numbers)
    scale = 1.0 if spec.scale is None else spec.scale
    return files["definition"], files["weights"], Preprocessing(spec.color == "BGR", scale, spec.mean, spec.std)


def load_caffe_files(
    definition: Path,
    weights: Path,
    onnx: Path,
    *,
    limit: float = 1e-4,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    outputs: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> tuple[keras.Model, ConversionReport]:
    """Returns the model of two files of the user's, and how well it was converted; writes it to `onnx` on the way.

    Args:
        definition: The `.prototxt`.
        weights: The `.caffemodel`.
        onnx: The file to write; there is none yet.
        limit: The largest error of the model against that file, relative to the largest value of an output.
        shapes: Those of inputs by name, the batch first, which is open whatever is said.
        outputs: Names of layers whose values come out.
        preprocessing: What the model begins with.

    Raises:
        UsageError: A shape is needed, or what was given names nothing in the net.
        NotFoundError: There is no such file.
        IntegrityError: As `caffe_to_onnx_file`, or the model differs from the ONNX file.
        UnsafeFileError: A file could do harm.
    """
    for name, shape in (shapes or {}).items():
        if len(shape) == 3:
            raise UsageError(f"Expected the batch first, as in --shape {name}=?,3,227,227; got {len(shape)} sizes.")
    sizes = {name: [_fixed(name, each) for each in shape[1:]] for name, shape in (shapes or {}).items()}
    note = caffe_to_onnx_file(definition, weights, onnx, shapes=sizes, outputs=outputs, preprocessing=preprocessing)
    model, report = converted_onnx(onnx, limit=limit)
    return model, dataclasses.replace(report, notes=(*([note] if note else []), *report.notes))
