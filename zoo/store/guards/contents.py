"""Tells by its content of which format a file is, and refuses one that is not what its name says.

A guess from the first bytes and levels: whether a file is whole, and safe, its guard says. What may be offered, and in
what role, is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.caffe_nets import is_prototxt, refuse_other_than_caffemodel
from zoo.store.guards.old_checkpoints import is_old_checkpoint
from zoo.store.guards.onnx_models import refuse_other_than_onnx
from zoo.store.guards.saved_models import is_text_graph
from zoo.store.guards.signatures import HDF5, NPY
from zoo.store.guards.tables import is_table
from zoo.store.guards.tensorflow_graphs import refuse_other_than_frozen_graph, refuse_other_than_saved_model
from zoo.store.guards.wire import Wire
from zoo.store.guards.zip_names import zip_names
from zoo.store.unpacking import CHUNK, Source, nested_kind, opened

_Test: TypeAlias = Callable[[Source], bool]


class Content(NamedTuple):
    """What a file should hold: in words, with its article, and how to see whether it does."""

    what: str
    is_so: _Test


def refuse_other_content(path: Path, expected: Content) -> None:
    """Refuses a file whose content is not what its name says.

    Raises:
        IntegrityError: So it is, with a word on what it seems to be.
        NotFoundError: There is no such file.
        DiskError: It cannot be read.
    """
    with opened(path) as source:
        if expected.is_so(source):
            return
        seems = _likely(source)
    raise IntegrityError(
        f"{path} is not what its name says: expected {expected.what}, found {seems or 'nothing that is known'}. "
        + ("Give it the name that fits" if seems and seems in _ACCEPTABLE else "Get it again from where it came from")
        + ", or give another file."
    )


def likely_content(path: Path) -> str | None:
    """Returns what a file is by its content, with its article, or None where that is nothing known.

    Raises:
        NotFoundError: There is no such file.
        DiskError: It cannot be read.
    """
    with opened(path) as source:
        return _likely(source)


def _likely(source: Source) -> str | None:
    if not source.size:
        return "an empty file"
    head = source.read_at(0, min(source.size, CHUNK))
    for magic, kind in _HEADS.items():
        if head.startswith(magic):
            return kind
    if re.match(rb"\s*<(?:!doctype|html|\?xml)", head, re.I):
        return "a page of the web"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model (.tflite)"
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") <= source.size:
        return "a safetensors file"
    for kind, is_so in _ACCEPTABLE.items():
        if is_so(source):
            return kind
    if archive := nested_kind("", head):
        return f"a {archive} archive"
    return "a TensorFlow graph (.pb)" if _is_frozen(source) else None


# --- what tells one format from others ---


def _is_hdf5(source: Source) -> bool:
    return source.read_at(0, min(source.size, 8)) == HDF5


def _is_keras(source: Source) -> bool:
    return _is_zip(source) and "config.json" in zip_names(source)


def _is_npz(source: Source) -> bool:
    names = zip_names(source) if _is_zip(source) else []
    return bool(names) and all(name.endswith(".npy") for name in names)


def _is_zip(source: Source) -> bool:
    return source.read_at(0, min(source.size, 4)) in (b"PK\3\4", b"PK\5\6")


def _passes(refuse: Callable[[Wire], None]) -> _Test:
    """Returns whether a file has the first levels of a message. One refused as unsafe has: its guard says why."""

    def is_so(source: Source) -> bool:
        if not source.size:
            return False
        try:
            refuse(Wire(source))
        except IntegrityError:
            return False
        except UnsafeFileError:
            return True
        return True

    return is_so


_is_onnx = _passes(refuse_other_than_onnx)
_is_saved_model = _passes(refuse_other_than_saved_model)
_is_frozen = _passes(refuse_other_than_frozen_graph)
_is_caffemodel = _passes(refuse_other_than_caffemodel)


def _is_graph(source: Source) -> bool:
    return _is_frozen(source) or _is_saved_model(source)


CONTENTS = {
    # What is missing in a zip its own guard says: one that holds neither kind passes under both names.
    ".keras": Content("a Keras archive (.keras)", lambda source: _is_zip(source) and not _is_npz(source)),
    ".h5": Content("an HDF5 file (.h5)", _is_hdf5),
    ".hdf5": Content("an HDF5 file (.hdf5)", _is_hdf5),
    ".onnx": Content("an ONNX model", _is_onnx),
    ".npz": Content("NumPy arrays in a zip (.npz)", lambda source: _is_zip(source) and not _is_keras(source)),
    ".caffemodel": Content("the weights of a Caffe net", _is_caffemodel),
    ".prototxt": Content("the definition of a Caffe net", is_prototxt),
    ".pb": Content("a TensorFlow graph", _is_graph),
    ".index": Content("the index of a TensorFlow checkpoint", is_table),
    ".ckpt": Content("a TensorFlow checkpoint in one file", is_table),
    "saved_model.pb": Content("the graph of a SavedModel", _is_saved_model),
    "saved_model.pbtxt": Content("the graph of a SavedModel", is_text_graph),
}
"""What files should hold: by their suffix, or by their whole name where that is fixed."""

_ACCEPTABLE: dict[str, _Test] = {  # the first that fits is told
    "an HDF5 file (.h5)": _is_hdf5,
    "NumPy arrays in a zip (.npz)": _is_npz,
    "a Keras archive (.keras)": _is_keras,
    "a TensorFlow checkpoint in one file (.ckpt)": is_old_checkpoint,
    "the index of a TensorFlow checkpoint (.index)": is_table,
    "an ONNX model (.onnx)": _is_onnx,
    "the graph of a SavedModel (saved_model.pb)": _is_saved_model,
    "the weights of a Caffe net (.caffemodel)": _is_caffemodel,
    "the definition of a Caffe net (.prototxt)": is_prototxt,
}
_HEADS = {
    NPY: "a NumPy array (.npy)",
    b"version https://git-lfs.github.com/spec/": "a pointer of Git LFS, not the file itself (git lfs pull fetches it)",
}
