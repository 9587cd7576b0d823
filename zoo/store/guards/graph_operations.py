"""The guard of what TensorFlow's graphs compute: a list of operations that may stand in them, and where.

Every node of a graph and of its library of functions is looked at, called or not, and everything in their attributes
that names a function. A listed operation may stand anywhere; those of savers, and tables filled from files, only as
`graph_files` has it; all others are refused, known or not.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.names import path_fault
from zoo.store.guards.graph_constants import refuse_unfounded_constants
from zoo.store.guards.graph_files import Place, refuse_unsafe_files
from zoo.store.guards.graph_outlines import Outline, graph_outline, meta_graph_outline, texts_in
from zoo.store.guards.places import file_size
from zoo.store.guards.refusals import explained
from zoo.store.guards.tensorflow_operations import CHECKPOINT_NAMES, COMPUTING, TABLE_NAMES, why_refused
from zoo.store.guards.text_graphs import text_graph
from zoo.store.guards.wire import BYTES, Field, Wire, level
from zoo.store.unpacking import opened, shown

Kind = Literal["saved model", "text", "meta graph", "graph"]

_KINDS: dict[Kind, str] = {
    "saved model": "the graph of a SavedModel",
    "text": "the graph of a SavedModel as text",
    "meta graph": "the graph beside a TensorFlow checkpoint",
    "graph": "a TensorFlow graph by itself",
}
_MOST_FIELDS = 10_000_000  # some ten seconds; a large net of today has a tenth
_LARGEST = (1 << 31) - 1
_LISTED = COMPUTING | CHECKPOINT_NAMES.keys() | TABLE_NAMES.keys()


def refuse_unsafe_operations(path: Path, name: str = "", kind: Kind | None = None) -> frozenset[str]:
    """Returns the operations of a graph of TensorFlow, all of which may be where they are.

    Args:
        path: `saved_model.pb` or `saved_model.pbtxt` in the folder of a SavedModel, the `.meta` of a checkpoint, or a
            `.pb` with a graph by itself.
        name: What it is called in messages; empty: its path.
        kind: What it is; None: what its name says.

    Raises:
        UnsafeFileError: It has another operation, or one where it may not be; an asset lies outside of the folder; or
            constants claim much that the file does not have.
        IntegrityError: It is damaged, or an asset is missing.
        NotFoundError: There is no such file.
        DiskError: It cannot be read.
    """
    kind = kind or _kind_of(path)
    with _wire(path, name, kind) as wire:
        if kind == "graph":
            outlines = [graph_outline(wire, [Field(0, BYTES, 0, 0, wire.size)])]
        elif kind == "meta graph":
            outlines = [meta_graph_outline(wire, 0, wire.size)]
        else:
            graphs = level(wire, {2: BYTES})[2]
            outlines = [meta_graph_outline(wire, each.start, each.stop) for each in graphs]
        if not any(outline.top.nodes for outline in outlines):
            raise IntegrityError("it has no graph")
        refuse_unfounded_constants(wire, outlines)
        for outline in outlines:
            _refuse_unlisted(outline)
            refuse_unsafe_files(outline, functools.partial(texts_in, wire))
            _refuse_assets_outside(outline, path.parent if kind in ("saved model", "text") else None)
        return frozenset(operation for outline in outlines for operation in _operations(outline))


def _kind_of(path: Path) -> Kind:
    if path.suffix == ".meta":
        return "meta graph"
    kinds: dict[str, Kind] = {"saved_model.pb": "saved model", "saved_model.pbtxt": "text"}
    return kinds.get(path.name, "graph")


@contextmanager
def _wire(path: Path, name: str, kind: Kind) -> Iterator[Wire]:
    with explained(name or str(path), _KINDS[kind]), opened(path) as source:
        if not 0 < source.size <= _LARGEST:
            raise IntegrityError(f"it has {source.size:,} bytes, and such a file has 1 to {_LARGEST:,}")
        yield Wire(text_graph(source) if kind == "text" else source, _MOST_FIELDS)


def _operations(outline: Outline) -> set[str]:
    named = {node.operation for body in outline.bodies for node in body.nodes.values()}
    return named - outline.functions.keys()


def _refuse_unlisted(outline: Outline) -> None:
    for body in outline.bodies:
        if body.name in _LISTED:
            raise UnsafeFileError(f"a function of it is called like the operation {body.name}")
        for node in body.nodes.values():
            if node.operation not in _LISTED and node.operation not in outline.functions:
                place = Place(node.operation, node.name, body.name)
                raise UnsafeFileError(f"it has {place}, which {why_refused(node.operation)}")
            for function in node.functions:
                if function not in outline.functions and function not in COMPUTING:
                    place = Place(function, node.name, body.name)
                    raise UnsafeFileError(f"it calls {place} as a function, which it does not have")


def _refuse_assets_outside(outline: Outline, folder: Path | None) -> None:
    for file in outline.asset_files:
        if fault := path_fault(file):
            raise UnsafeFileError(f"it has an asset {shown(file)}, which could lie outside of its folder: {fault}")
        if folder is None:
            raise UnsafeFileError(f"it has an asset {shown(file)}, and only a SavedModel has a folder of such")
        asset = folder / "assets" / file
        if asset.is_symlink():
            raise UnsafeFileError(f"its asset {shown(file)} is a link")
        if file_size(asset) is None:
            raise IntegrityError(f"its asset {shown(file)} is missing in {folder / 'assets'}")
