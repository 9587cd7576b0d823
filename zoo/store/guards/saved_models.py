"""The guard of SavedModels: a folder with a graph, mostly variables, and assets.

The graph is protobuf, or text; the variables are a checkpoint. What the graph computes, `graph_operations` judges.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.files import disk_errors
from zoo.names import path_fault
from zoo.store.guards.checkpoints import checkpoint_outline
from zoo.store.guards.fingerprints import FINGERPRINT, check_fingerprint
from zoo.store.guards.graph_operations import refuse_unsafe_operations
from zoo.store.guards.refusals import explained
from zoo.store.guards.tensorflow_graphs import check_saved_model
from zoo.store.guards.texts import refuse_other_than_text
from zoo.store.unpacking import CHUNK, Source, opened, shown

GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
_MOST_FILES = 10_000
_DEEPEST = 64
_CHUNKED = "saved_model.cpb"


def check_saved_model_folder(folder: Path) -> None:
    """Sees whether a folder is a SavedModel whose files are whole and whose graph only computes.

    Raises:
        UnsafeFileError: It holds links, names that are not usable everywhere, or files that could do harm; or it is not
            what its fingerprint was taken of.
        IntegrityError: It is no SavedModel, or a file of it is missing or damaged.
        DiskError: It cannot be read.
    """
    with explained(str(folder), "the folder of a SavedModel"):
        names = _names_below(folder)
        graphs = [name for name in GRAPHS if name in names]
        if not graphs:
            raise IntegrityError("it has no saved_model.pb")
        if _CHUNKED in names:
            raise UnsafeFileError(f"it has a second graph ({_CHUNKED}), which some readers take in place of the first")
        if any(name.startswith("variables/") for name in names) and "variables/variables.index" not in names:
            raise IntegrityError("its variables have no index (variables/variables.index)")
    for name in graphs:
        if name.endswith(".pb"):
            check_saved_model(folder / name)
        else:
            _check_text_graph(folder / name)
    if "variables/variables.index" in names:
        checkpoint_outline(folder / "variables" / "variables")
    if FINGERPRINT in names:
        check_fingerprint(folder)


def _names_below(folder: Path) -> set[str]:
    """Returns the paths of the files below a folder, which must be regular files in folders and nothing else."""
    names: set[str] = set()
    left, seen = [""], 0
    while left:
        below = left.pop()
        for entry in _entries(folder / below):
            seen += 1
            path = f"{below}/{entry.name}" if below else entry.name
            if seen > _MOST_FILES:
                raise UnsafeFileError(f"it holds more than {_MOST_FILES:,} files and folders")
            if fault := path_fault(path) or ("it is too deep" if path.count("/") >= _DEEPEST else None):
                raise UnsafeFileError(f"the name {shown(path)} in it is not usable everywhere: {fault}")
            if entry.is_dir(follow_symlinks=False):
                left.append(path)
            elif entry.is_file(follow_symlinks=False):
                names.add(path)
            else:
                raise UnsafeFileError(f"{shown(path)} in it is {'a link' if entry.is_symlink() else 'no file'}")
    return names


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with disk_errors(folder, "check its permissions and the disk", "read"), os.scandir(folder) as entries:
        yield from entries


def _check_text_graph(path: Path) -> None:
    with explained(str(path), "the graph of a SavedModel as text"), opened(path) as source:
        if not is_text_graph(source):
            raise IntegrityError("it has no graph, or does not tell its version, or is of a newer one")
        refuse_other_than_text(source)
    refuse_unsafe_operations(path, kind="text")


def is_text_graph(source: Source) -> bool:
    """Returns whether a file begins as the graph of a SavedModel does where it is text."""
    head = source.read_at(0, min(source.size, CHUNK))
    return all(re.search(mark, head, re.M) for mark in (rb"^saved_model_schema_version: ?1\b", rb"^meta_graphs ?[{<]"))
