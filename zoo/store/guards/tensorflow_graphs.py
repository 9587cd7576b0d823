"""The guards of TensorFlow's graphs in protobuf: of a SavedModel, beside a checkpoint, and by themselves.

Here stand the levels that tell such a message from others; what its operations may do, `graph_operations` knows. The
`refuse_other_than_...` look at the levels alone, to tell what a file is.
Formats: saved_model.proto, meta_graph.proto and graph.proto of TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.graph_operations import refuse_unsafe_operations
from zoo.store.guards.wire import BYTES, VARINT, Wire, level, wire_of

_SAVED_MODEL_VERSION = 1
_META_GRAPH_LEVEL = dict.fromkeys(range(1, 8), BYTES)
_GRAPH_LEVEL = {1: BYTES, 2: BYTES, 3: VARINT, 4: BYTES}


def check_saved_model(path: Path, name: str = "") -> None:
    """Sees whether a file is a whole `saved_model.pb`, whose graphs only compute; its assets lie in the same folder.

    Raises:
        IntegrityError: It is not, or is of a newer kind; or an asset is missing.
        UnsafeFileError: It has more fields than a model needs, or an operation that none may have.
    """
    with wire_of(path, name, "the graph of a SavedModel") as wire:
        refuse_other_than_saved_model(wire)
    refuse_unsafe_operations(path, name, "saved model")


def refuse_other_than_saved_model(wire: Wire) -> None:
    """Sees whether the first levels of a file are those of a SavedModel.

    Raises:
        IntegrityError: They are not.
        UnsafeFileError: It has more fields than a model needs.
    """
    found = level(wire, {1: VARINT, 2: BYTES})
    version = found[1][-1].value if found[1] else 0
    if version != _SAVED_MODEL_VERSION:
        raise IntegrityError(f"it is of version {version}, and this program knows {_SAVED_MODEL_VERSION}")
    if not found[2]:
        raise IntegrityError("it has no graph")
    for field in found[2]:
        _refuse_other_than_meta_graph(wire, field.start, field.stop)


def check_meta_graph(path: Path, name: str = "") -> None:
    """Sees whether a file is the `.meta` of a TensorFlow checkpoint, whose graph only computes.

    Raises:
        IntegrityError: It is not.
        UnsafeFileError: It has more fields than a model needs, or an operation that none may have.
    """
    with wire_of(path, name, "the graph beside a TensorFlow checkpoint") as wire:
        _refuse_other_than_meta_graph(wire, 0, wire.size)
    try:
        refuse_unsafe_operations(path, name, "meta graph")
    except UnsafeFileError as error:
        raise UnsafeFileError(
            f"{error} The variables beside it can be used without it: move {path.name} away, and tell of which "
            "architecture they are (--arch)."
        ) from error


def _refuse_other_than_meta_graph(wire: Wire, start: int, stop: int) -> None:
    found = level(wire, _META_GRAPH_LEVEL, start, stop)
    if not found[1] or not found[2]:
        raise IntegrityError("a graph of it has no content")
    for field in found[2]:
        level(wire, _GRAPH_LEVEL, field.start, field.stop)


def check_frozen_graph(path: Path, name: str = "") -> None:
    """Sees whether a file is a TensorFlow graph by itself, which only computes.

    Raises:
        IntegrityError: It is not.
        UnsafeFileError: It has more fields than a model needs, or an operation that none may have.
    """
    with wire_of(path, name, "a TensorFlow graph by itself") as wire:
        refuse_other_than_frozen_graph(wire)
    refuse_unsafe_operations(path, name, "graph")


def refuse_other_than_frozen_graph(wire: Wire) -> None:
    """Sees whether the first levels of a file are those of a TensorFlow graph by itself.

    Raises:
        IntegrityError: They are not.
        UnsafeFileError: It has more fields than a model needs.
    """
    nodes = level(wire, _GRAPH_LEVEL)[1]
    if not nodes:
        raise IntegrityError("it has no node")
    for node in nodes:
        found = level(wire, {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: BYTES}, node.start, node.stop)
        if not found[1] or not found[2]:
            raise IntegrityError("a node of it has no name or no operation")
