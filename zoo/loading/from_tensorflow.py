"""Loads what TensorFlow has saved as Keras models: converted to ONNX, and from there as ONNX files are.

Each passes its guard before TensorFlow sees it. What was made of something in the store is kept beside it, so that the
next load is that of a `.keras` file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from zoo.errors import DiskError, IntegrityError, NotConvertible, NotFoundError, UsageError
from zoo.files import sha256_of
from zoo.loading.from_onnx import about, converted_onnx
from zoo.loading.whole import load_archive
from zoo.store.converted import Conversion
from zoo.store.documents import read_json
from zoo.store.guards.checkpoints import check_checkpoint, checkpoint_files
from zoo.store.guards.places import kind_of, missing
from zoo.store.guards.saved_models import GRAPHS, check_saved_model_folder
from zoo.store.guards.tensorflow_graphs import check_frozen_graph

if TYPE_CHECKING:
    from zoo.converters import ConversionReport

_ONNX, _KERAS, _REPORT = "model.onnx", "model.keras", "report.json"
_log = logging.getLogger("zoo")
Shapes = Mapping[str, Sequence[int | None]]


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """What is converted, and of which part of it a model is wanted: as `tensorflow_to_onnx` has it."""

    path: Path
    name: str
    bytes: int
    options: dict[str, Any]
    limit: float

    @property
    def settings(self) -> str:
        return json.dumps(
            {key: value for key, value in self.options.items() if value is not None}, sort_keys=True, default=repr
        )


def is_tensorflow(path: Path) -> bool:
    """Returns whether a path is of something that TensorFlow has saved: a SavedModel, a graph, or a checkpoint."""
    is_folder = any(kind_of(path / name) == "file" for name in GRAPHS)
    parts = [path.with_name(f"{path.name}{end}") for end in (".meta", ".index")]
    return is_folder or path.name in GRAPHS or path.suffix == ".pb" or any(kind_of(each) == "file" for each in parts)


def load_tensorflow(
    path: Path,
    *,
    signature: str | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Shapes | None = None,
    limit: float = 1e-4,
) -> tuple[keras.Model, ConversionReport]:
    """Returns the model of what TensorFlow has saved, and how well it was converted.

    Args:
        path: The folder of a SavedModel, a frozen graph (`.pb`), or the prefix of a checkpoint with its `.meta`.
        signature: Of a SavedModel: what is called of it.
        inputs: Tensors where the net begins.
        outputs: Tensors where it ends, or names of a signature's outputs.
        shapes: The sizes of inputs, as TensorFlow has them, by name.
        limit: The largest error that passes, relative to the largest value of an output.

    Raises:
        ZooError: As the loader of its kind does.
    """
    ends: dict[str, Any] = {"inputs": inputs, "outputs": outputs, "shapes": shapes, "limit": limit}
    folder = path.parent if path.name in GRAPHS else path
    if any(kind_of(folder / name) == "file" for name in GRAPHS):
        return load_saved_model(folder, str(folder), signature=signature, **ends)
    if signature is not None:
        raise UsageError(f"Expected --signature (signature) with a SavedModel; got {path}.")
    if path.suffix == ".pb" and kind_of(path) is None:
        raise missing(path)
    loader = load_frozen_graph if path.suffix == ".pb" else load_meta_checkpoint
    return loader(path, str(path), **ends)


def load_saved_model(
    folder: Path,
    name: str = "",
    *,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Shapes | None = None,
    arguments: Mapping[str, Any] | None = None,
    limit: float = 1e-4,
    keep: str | None = None,
) -> tuple[keras.Model, ConversionReport]:
    """Returns the model in the folder of a SavedModel, in layers, and how well it was converted.

    Args:
        folder: That of the SavedModel.
        name: What it is called in messages; empty: its path.
        signature: The name of a signature, or of a function such as "__call__".
        tags: Those of one of its graphs, where it has several.
        inputs: Tensors where a graph of TensorFlow 1 begins.
        outputs: Tensors where a graph of TensorFlow 1 ends, or names of a signature's outputs.
        shapes: The sizes of inputs, as TensorFlow has them, by name.
        arguments: What a function is told besides tensors.
        limit: The largest error that passes, relative to the largest value of an output.
        keep: The sha256 (hex) of the file of the store that it came out of: what it becomes is kept beside that.

    Raises:
        UnsafeFileError: It could do harm.
        IntegrityError: It is damaged, or no SavedModel.
        NotConvertible: It cannot be made a model of layers: it computes with texts or tables, or has loops.
        UsageError: What was asked for is not in it.
    """
    check_saved_model_folder(folder)
    graph = next(folder / each for each in GRAPHS if (folder / each).is_file())
    options = {
        "signature": signature, "tags": tags, "inputs": inputs, "outputs": outputs, "shapes": shapes,
        "arguments": arguments,
    }  # fmt: skip
    size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    wanted = _Wanted(folder, name or str(folder), size, options, limit)
    return _kept(wanted, keep, graph) if keep else _made_once(wanted)


def load_meta_checkpoint(
    prefix: Path,
    name: str = "",
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Shapes | None = None,
    limit: float = 1e-4,
    keep: str | None = None,
) -> tuple[keras.Model, ConversionReport]:
    """Returns the model of a checkpoint of TensorFlow 1 that has its graph beside it, and how well it was converted.

    Args:
        prefix: What the names of its files begin with: `my_model_final.ckpt`.
        name: What it is called in messages; empty: the prefix.
        inputs: Tensors where the net begins: ("X:0",); None: the placeholders on the way to its end.
        outputs: Tensors where it ends: ("dnn/outputs/BiasAdd:0",); None: the last before the loss.
        shapes: The sizes of inputs, as TensorFlow has them, by name.
        limit: The largest error that passes, relative to the largest value of an output.
        keep: The sha256 (hex) of its values in the store: what it becomes is kept beside those.

    Raises:
        NotFoundError: It has no graph beside it.
        UnsafeFileError: It could do harm.
        IntegrityError: It is damaged, or not whole, or its graph is another's.
        NotConvertible: Its graph cannot be made a model of layers.
        UsageError: What was asked for is not in it, or where the net begins and ends is not clear.
    """
    meta = prefix.with_name(f"{prefix.name}.meta")
    if kind_of(meta) != "file":
        raise NotFoundError(
            f"The checkpoint {prefix} has no graph beside it: expected {meta.name}. Without it, say which net its "
            "values are of: --arch"
        )
    check_checkpoint(prefix)
    size = sum(each.stat().st_size for each in checkpoint_files(prefix))
    options = {"inputs": inputs, "outputs": outputs, "shapes": shapes}
    wanted = _Wanted(prefix, name or str(prefix), size, options, limit)
    return _kept(wanted, keep, meta) if keep else _made_once(wanted)


def load_frozen_graph(
    path: Path,
    name: str = "",
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Shapes | None = None,
    limit: float = 1e-4,
    keep: str | None = None,
) -> tuple[keras.Model, ConversionReport]:
    """Returns the model of a graph that has its weights inside, and how well it was converted.

    Args:
        path: The file.
        name: What it is called in messages; empty: its path.
        inputs: Tensors where the net begins; None: the placeholders on the way to its end.
        outputs: Tensors where it ends; None: what nobody reads.
        shapes: The sizes of inputs, as TensorFlow has them, by name.
        limit: The largest error that passes, relative to the largest value of an output.
        keep: The sha256 (hex) of the file in the store: what it becomes is kept beside it.

    Raises:
        UnsafeFileError: It could do harm.
        IntegrityError: It is no graph, or damaged.
        NotConvertible: It cannot be made a model of layers.
        UsageError: What was asked for is not in it, or where the net begins and ends is not clear.
    """
    check_frozen_graph(path, name)
    options = {"inputs": inputs, "outputs": outputs, "shapes": shapes}
    wanted = _Wanted(path, name or str(path), path.stat().st_size, options, limit)
    return _kept(wanted, keep, path) if keep else _made_once(wanted)


def _kept(wanted: _Wanted, weights: str, graph: Path) -> tuple[keras.Model, ConversionReport]:
    """Returns the model that was made of something in the store before, or else makes it, and keeps it if it can."""
    from zoo.converters.importing.layers import VERSION as LAYERS_VERSION
    from zoo.converters.tensorflow.importer import VERSION

    converter = f"tensorflow {VERSION}, layers {LAYERS_VERSION}"
    conversion = Conversion(weights, sha256_of(graph), wanted.settings, converter, (_KERAS, _REPORT))
    if (found := _found(conversion, wanted)) is not None:
        return found
    made = None
    try:
        with conversion.alone():
            if (found := _found(conversion, wanted)) is not None:  # another process has made it meanwhile
                return found
            with conversion.making(room=2 * wanted.bytes) as folder:
                made = _made(wanted, folder)
                made[0].save(folder / _KERAS)
                (folder / _REPORT).write_text(json.dumps(dataclasses.asdict(made[1])))
                (folder / _ONNX).unlink()
    except DiskError as error:
        _log.warning("What %s is converted to is not kept, and made anew each time: %s", wanted.name, error)
    return made or _made_once(wanted)


def _found(conversion: Conversion, wanted: _Wanted) -> tuple[keras.Model, ConversionReport] | None:
    from zoo.converters import ConversionReport

    model, report = conversion.find(_KERAS), conversion.find(_REPORT)
    told = read_json(report) if report is not None else None
    if model is None or not isinstance(told, dict):
        return None
    told["layouts"] = {key: tuple(order) for key, order in told["layouts"].items()}
    found = ConversionReport(**{**told, "notes": tuple(told["notes"])})
    return (load_archive(model, wanted.name), found) if found.error <= wanted.limit else None


def _made_once(wanted: _Wanted) -> tuple[keras.Model, ConversionReport]:
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        return _made(wanted, Path(folder))


def _made(wanted: _Wanted, folder: Path) -> tuple[keras.Model, ConversionReport]:
    """Returns the model, and writes what it was in between to a folder."""
    from zoo.converters.tensorflow.importer import tensorflow_to_onnx_file  # here: it takes long to import

    with about(wanted.name):
        notes = tensorflow_to_onnx_file(wanted.path, folder / _ONNX, limit=wanted.limit, **wanted.options)
        with _not_convertible():
            model, report = converted_onnx(folder / _ONNX, limit=wanted.limit)
    return model, dataclasses.replace(report, notes=(*notes, *report.notes), source="TensorFlow")


@contextlib.contextmanager
def _not_convertible() -> Iterator[None]:
    """Says of a model that was read without fault that layers cannot compute it."""
    try:
        yield
    except IntegrityError as error:
        raise NotConvertible(str(error)) from error
