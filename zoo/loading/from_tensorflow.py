"""Loads what TensorFlow has saved as Keras models: converted to ONNX, and from there as ONNX files are.

Each passes its guard before TensorFlow sees it. What was made of something in the store is kept beside it, so that the
next load is that of a `.keras` file.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from zoo.errors import NotFoundError, UsageError
from zoo.loading.conversions import Wanted, converted
from zoo.loading.unchanged import checkpoint_parts, files_below, unchanged
from zoo.store.guards.checkpoints import check_checkpoint, checkpoint_files, checkpoint_prefix, is_part
from zoo.store.guards.places import kind_of, missing
from zoo.store.guards.saved_models import GRAPHS, check_saved_model_folder
from zoo.store.guards.tensorflow_graphs import check_frozen_graph

if TYPE_CHECKING:
    from zoo.converters import ConversionReport

Shapes = Mapping[str, Sequence[int | None]]


def is_tensorflow(path: Path) -> bool:
    """Returns whether a path is of something that TensorFlow has saved: a SavedModel, a graph, or a checkpoint."""
    is_folder = any(kind_of(path / name) == "file" for name in GRAPHS)
    parts = [path.with_name(f"{path.name}{end}") for end in (".meta", ".index")]
    is_file = path.name in GRAPHS or path.suffix == ".pb" or (is_part(path) and kind_of(path) == "file")
    return is_folder or is_file or any(kind_of(each) == "file" for each in parts)


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
        path: The folder of a SavedModel, a frozen graph (`.pb`), or a checkpoint with its `.meta`: its prefix, or any
            file of it.
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
    if is_part(path) and kind_of(path) == "file":
        path = checkpoint_prefix(path)
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
    options = {
        "signature": signature, "tags": tags, "inputs": inputs, "outputs": outputs, "shapes": shapes,
        "arguments": arguments,
    }  # fmt: skip
    with unchanged(folder, files_below):
        check_saved_model_folder(folder)
        graph = next(folder / each for each in GRAPHS if (folder / each).is_file())
        size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
        wanted = Wanted(folder, "saved model", name or str(folder), size, options, limit)
        return converted(wanted, keep, graph)


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
            f"The checkpoint {prefix} has no graph beside it: expected {meta.name}. Without it, add it and say which "
            f"net its values are of: zoo add {shlex.quote(str(prefix))} --arch NET (Python: zoo.add, arch)"
        )
    options = {"inputs": inputs, "outputs": outputs, "shapes": shapes}
    with unchanged(prefix, checkpoint_parts):
        check_checkpoint(prefix)
        size = sum(each.stat().st_size for each in checkpoint_files(prefix))
        wanted = Wanted(prefix, "checkpoint", name or str(prefix), size, options, limit)
        return converted(wanted, keep, meta)


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
    options = {"inputs": inputs, "outputs": outputs, "shapes": shapes}
    with unchanged(path):
        check_frozen_graph(path, name)
        wanted = Wanted(path, "graph", name or str(path), path.stat().st_size, options, limit)
        return converted(wanted, keep, path)
