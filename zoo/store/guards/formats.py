"""Tells of which format the files are that a user offers, and runs the guards of formats.

The name says what is meant, the content whether it is so; where they disagree nothing is opened, and a pickle never is.
What a format looks like inside, its own guard knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.errors import UsageError
from zoo.store.guards.arrays import npy_outline, npz_outline
from zoo.store.guards.caffe_nets import check_caffemodel, check_prototxt
from zoo.store.guards.checkpoints import (
    check_checkpoint,
    checkpoint_files,
    checkpoint_prefix,
    index_of,
    is_part,
    is_shard,
    listed_checkpoint,
)
from zoo.store.guards.contents import CONTENTS, likely_content, refuse_other_content
from zoo.store.guards.old_checkpoints import is_old_checkpoint
from zoo.store.guards.onnx_models import check_onnx
from zoo.store.guards.pickles import refuse_pickle
from zoo.store.guards.places import ACCEPTED, kind_of, missing
from zoo.store.guards.saved_models import GRAPHS, check_saved_model_folder
from zoo.store.guards.tensorflow_graphs import check_frozen_graph
from zoo.store.unpacking import opened

Format = Literal["keras", "h5", "onnx", "savedmodel", "graph", "caffe", "checkpoint", "npz", "safetensors"]

_BY_SUFFIX: dict[str, tuple[Format, str]] = {
    ".keras": ("keras", "model"),
    ".h5": ("h5", "model"),
    ".hdf5": ("h5", "model"),
    ".onnx": ("onnx", "model"),
    ".npz": ("npz", "weights"),
    ".safetensors": ("safetensors", "weights"),
    ".pb": ("graph", "model"),
}
_NOT_YET = {
    ".tflite": "TensorFlow Lite models (.tflite); give the model it was made from",
}
_CHECKPOINT_LIST = "checkpoint"
_IS_OLD_SHARD = re.compile(r".+-\d{5}-of-\d{5}")


@dataclass(frozen=True)
class Offered:
    """What a user offers.

    Attributes:
        format: Of which format it is.
        files: The role and the path of each file or folder, as the user wrote it.
        prefix: What the names of all files of a TensorFlow checkpoint begin with; None for other formats.
    """

    format: Format
    files: tuple[tuple[str, Path], ...]
    prefix: str | None = None


def recognise(paths: Sequence[Path]) -> Offered:
    """Returns what the user offers, by name and by first bytes; `check_format` and other guards look at the rest.

    Args:
        paths: One file or folder; a .prototxt and its .caffemodel in either order; or files of one checkpoint. They
            may be links to files.

    Raises:
        UsageError: This version accepts no such thing, or a part of it is not among `paths`.
        NotFoundError: There is no such file.
        IntegrityError: The content of a file is not what its name says, or a part of a checkpoint is missing.
        UnsafeFileError: It is a pickle, or a container of pickles.
        DiskError: It cannot be read.
    """
    if not paths:
        raise UsageError(f"Expected {ACCEPTED}; got nothing.")
    for path in paths:
        _refuse_unsafe(path)
    if any(_suffix(path) in (".prototxt", ".caffemodel") for path in paths):
        return _caffe(paths)
    if len(paths) == 1:
        return _single(paths[0])
    prefixes = {_checkpoint_prefix_of(path) for path in paths}
    if len(prefixes) == 1 and (prefix := prefixes.pop()) is not None:
        return _checkpoint(prefix)
    raise UsageError(f"Expected one model; got {len(paths)} files that are no one model. Give {ACCEPTED}.")


def check_format(offered: Offered) -> None:
    """Runs the guard of a format, which reads as much as it takes to know that a library may open the files.

    `.keras` and HDF5 files have guards of their own, for these return what they found.

    Raises:
        UnsafeFileError: A file could do harm.
        IntegrityError: A file is damaged, missing, or another than it should be.
        UsageError: This version does not accept it, although it is whole.
        DiskError: A file cannot be read.
    """
    files = dict(offered.files)
    match offered.format:
        case "npz":
            npz_outline(files["weights"])
        case "onnx":
            check_onnx(files["model"])
        case "graph":
            check_frozen_graph(files["model"])
        case "caffe":
            check_prototxt(files["definition"])
            check_caffemodel(files["weights"])
        case "checkpoint":
            first = offered.files[0][1]
            check_checkpoint(first.with_name(offered.prefix or first.name))
        case "savedmodel":
            check_saved_model_folder(files["archive"])


def _suffix(path: Path) -> str:
    return path.suffix.casefold()


def _refuse_unsafe(path: Path) -> None:
    if kind_of(path) == "file" and not is_shard(path):  # which has values only, whatever they look like
        refuse_pickle(path)


def _single(path: Path) -> Offered:
    kind = kind_of(path)
    if kind == "folder":
        return _folder(path)
    if (prefix := _checkpoint_prefix_of(path)) is not None:
        return _checkpoint(prefix)
    if kind is None:
        raise missing(path)
    suffix = _suffix(path)
    if suffix in _BY_SUFFIX and path.name not in GRAPHS:
        if suffix in CONTENTS:  # of safetensors the library itself judges
            refuse_other_content(path, CONTENTS[suffix])
        format, role = _BY_SUFFIX[suffix]
        return Offered(format, ((role, path),))
    if path.name in GRAPHS:
        return _folder(path.parent)
    raise _not_accepted(path)


def _not_accepted(path: Path) -> UsageError:
    """Returns the error for a whole file of a kind that is not accepted; raises it for one that is not whole."""
    suffix = _suffix(path)
    if suffix == ".npy":
        npy_outline(path)
        return UsageError(f"Expected {ACCEPTED}; {path} is one array. Put it into an .npz with numpy.savez.")
    if suffix in _NOT_YET:
        return UsageError(f"{path}: this version does not accept {_NOT_YET[suffix]}.")
    seems = likely_content(path)
    hint = f" By its content it is {seems}: give it the suffix of that." if seems else ""
    return UsageError(f"Expected {ACCEPTED}; got {path}.{hint}")


def _folder(path: Path) -> Offered:
    graphs = [path / name for name in GRAPHS if kind_of(path / name) == "file"]
    for graph in graphs:
        refuse_other_content(graph, CONTENTS[graph.name])
    if graphs:
        return Offered("savedmodel", (("archive", path),))
    if kind_of(path / _CHECKPOINT_LIST) == "file":
        return _checkpoint(listed_checkpoint(path / _CHECKPOINT_LIST))
    raise UsageError(
        f"Expected the folder of a SavedModel (with saved_model.pb in it) or of one checkpoint (with a file "
        f"{_CHECKPOINT_LIST!r} in it); {path} is neither. Give the path of the model itself."
    )


def _caffe(paths: Sequence[Path]) -> Offered:
    definitions = [path for path in paths if _suffix(path) == ".prototxt"]
    weights = [path for path in paths if _suffix(path) == ".caffemodel"]
    if len(paths) > 2 or len(definitions) > 1 or len(weights) > 1 or len(definitions) + len(weights) < len(paths):
        raise UsageError(f"Expected one .prototxt and one .caffemodel; got {len(paths)} files.")
    for path in (*definitions, *weights):
        if kind_of(path) != "file":
            raise missing(path)
        refuse_other_content(path, CONTENTS[_suffix(path)])
    if not definitions or not weights:
        other = ".prototxt (deploy.prototxt)" if weights else ".caffemodel"
        raise UsageError(
            f"A Caffe net is two files, and {paths[0]} is one of them: give its {other} too, in either order."
        )
    return Offered("caffe", (("definition", definitions[0]), ("weights", weights[0])))


def _checkpoint_prefix_of(path: Path) -> Path | None:
    """Returns the prefix of the checkpoint that a path is a part of, or the prefix itself; None where it is none."""
    kind = kind_of(path)
    if kind == "folder":
        return None
    if is_part(path):
        return checkpoint_prefix(path) if kind else None
    if path.name == _CHECKPOINT_LIST and kind:
        return listed_checkpoint(path)
    if kind_of(path.with_name(f"{path.name}.index")) == "file":
        return path
    if kind is None:
        return None
    with opened(path) as source:
        is_old = is_old_checkpoint(source)
    if is_old and _IS_OLD_SHARD.fullmatch(path.name):
        raise UsageError(
            f"{path} is one of several files of an old checkpoint; this version takes such in one file only."
        )
    return path if _suffix(path).startswith(".ckpt") or (is_old and not path.suffix) else None


def _checkpoint(prefix: Path) -> Offered:
    index = index_of(prefix)
    _refuse_unsafe(index)
    refuse_other_content(index, CONTENTS[".ckpt" if index == prefix else ".index"])
    return Offered("checkpoint", tuple(("archive", path) for path in checkpoint_files(prefix)), prefix.name)
