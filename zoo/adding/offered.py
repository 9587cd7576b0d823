"""The files that a user offers: a name made of theirs, how they are kept, and what is wrong whatever is in them."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from zoo.adding.options import FORMATS, WEIGHTS, refuse_useless
from zoo.adding.told import Told
from zoo.errors import UsageError, nearest_names
from zoo.names import name_fault, path_fault
from zoo.registry import FileSpec
from zoo.registry.architectures import ARCHITECTURES
from zoo.registry.presets import PRESETS, find_preprocessing
from zoo.store.guards.formats import Format, Offered
from zoo.store.hub import handle_name
from zoo.store.keeping import Copy, Own
from zoo.store.unpacking import shown

_SUFFIXES: dict[Format, str] = {
    "keras": ".keras", "h5": ".h5", "onnx": ".onnx", "npz": ".npz", "safetensors": ".safetensors", "graph": ".pb",
}  # fmt: skip
_ENDS = (
    ".weights.h5", ".hdf5", ".h5", ".keras", ".onnx", ".npz", ".safetensors", ".caffemodel", ".prototxt", ".ckpt",
    ".pb", ".json",
)  # fmt: skip


def refuse_impossible(told: Told, offered: Offered) -> None:
    """Refuses what is wrong whatever is in the files, before they are copied."""
    if fault := name_fault(told.name):
        raise UsageError(
            f"{told.name!r} cannot be a model's name: {fault}. Choose another: --name my-net (Python: name)"
        )
    if told.preprocess is not None and told.preprocess not in PRESETS:
        find_preprocessing(told.preprocess)
    refuse_useless(told, offered)
    if told.arch is None:
        return
    if offered.format not in WEIGHTS:
        raise UsageError(
            f"--arch (Python: arch) tells which net weights are of; {FORMATS[offered.format]} files do without it."
        )
    if told.arch not in ARCHITECTURES and not told.names_definition and offered.format != "checkpoint":  # or TF-Slim's
        near = nearest_names(told.arch, ARCHITECTURES)
        raise UsageError(
            "Expected an architecture of keras.applications, or a .json or .keras file that describes the net; got "
            f"{told.arch!r}.{near}"
        )


def _stem(path: Path) -> tuple[str, str]:
    """Returns the name of a file without its suffix, and the suffix in small letters."""
    name = path.name or path.resolve().name
    end = next((end for end in _ENDS if name.casefold().endswith(end)), "")
    return name[: len(name) - len(end)], end


def made_name(offered: Offered, handle: str | None = None) -> str:
    """Returns a model's name made of that of its file, or of the address of its module."""
    stem = handle_name(handle) if handle else offered.prefix or _stem(offered.files[0][1])[0]
    letters = (each for each in unicodedata.normalize("NFKD", stem) if not unicodedata.combining(each))  # é is e
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", "".join(letters)).strip("-._+")[:100]
    if name_fault(name):
        raise UsageError(f"No model's name can be made of {shown(stem)}. Give one: --name my-net")
    return name


def renamed(offered: Offered, copies: Sequence[Copy], name: str | None) -> list[str]:
    """Returns what there is to say where names differ from those of the files: some characters are not allowed.

    Args:
        offered: The files.
        copies: Their copies, in the same order.
        name: The model's name, where it was made of the file's.
    """
    path = offered.files[0][1]
    notes = []
    if name is not None and name != (stem := offered.prefix or _stem(path)[0]):
        notes.append(
            f"It is called {name}, for a name may not be {shown(stem)}: letters, digits and . _ + - only. Another: "
            "--name (Python: name)."
        )
    if offered.format not in ("checkpoint", "savedmodel"):
        pairs = zip((path for _, path in offered.files), copies, strict=True)
        notes += [
            f"{shown(path.name)} is kept as {copy.name}, a name that every system takes."
            for path, copy in pairs
            if _stem(path)[0] != _stem(Path(copy.name))[0]
        ]
    return notes


def own_files(offered: Offered) -> list[Own]:
    """Returns the files as they are kept: folders, and checkpoints of several files, as one archive."""
    paths = [path for _, path in offered.files]
    if offered.format == "checkpoint":
        return [Own(_safe(offered.prefix or "checkpoint", ".tar"), {path.name: path for path in paths})]
    if offered.format == "savedmodel":
        below = {path.relative_to(paths[0]).as_posix(): path for path in paths[0].rglob("*") if not path.is_dir()}
        return [Own(_safe(_stem(paths[0])[0], ".tar"), below)]
    return [Own(_safe(stem, end or _SUFFIXES[offered.format]), path) for path in paths for stem, end in [_stem(path)]]


def _safe(stem: str, end: str) -> str:
    """Returns a file's name that every system takes, and every terminal shows."""
    name = re.sub(r"[^\w .+()-]", "-", stem, flags=re.ASCII).strip(" .") + end
    return name if path_fault(name) is None else f"model{end}"


def kept_files(offered: Offered, copies: Sequence[Copy]) -> tuple[FileSpec, ...]:
    """Returns how the entry speaks of the copies; what weights in an HDF5 file are for is not known yet."""
    if offered.format in ("checkpoint", "savedmodel"):
        return (copies[0].spec("archive", offered.prefix),)
    return tuple(copy.spec(role) for (role, _), copy in zip(offered.files, copies, strict=True))


def offered_copies(offered: Offered, copies: Sequence[Copy]) -> Offered:
    """Returns the copies as they would be offered, for the guards to look at what will be kept."""
    folder = copies[0].folder
    if folder is None:
        paths = [copy.path for copy in copies]
    elif offered.format == "savedmodel":
        paths = [folder]
    else:
        paths = [folder / path.name for _, path in offered.files]
    roles = [role for role, _ in offered.files]
    return dataclasses.replace(offered, files=tuple(zip(roles, paths, strict=True)))
