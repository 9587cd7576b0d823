"""Files of named arrays as sources: `.npz`, `.safetensors` and HDF5. Each is read one array at a time."""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from zoo.converters.restoring.sources import Array, Saved, Source

from zoo.errors import IntegrityError

_NUMBERED = re.compile(r"(?:(?P<owner>.+)/)?vars/(?P<number>\d+)")


@contextlib.contextmanager
def npz(path: Path) -> Iterator[Source]:
    """Gives the arrays of an `.npz` file; their shapes are told by their headers, no values are read for it."""
    with zipfile.ZipFile(path) as archive:
        told = {each.removesuffix(".npy"): _header(archive, each) for each in archive.namelist()}
    with np.load(path, allow_pickle=False) as arrays:
        yield Source(path.name, told, lambda name: cast(Array, arrays[name]))


def _header(archive: zipfile.ZipFile, member: str) -> Saved:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise IntegrityError(f"{member} is an array of fields (format {version}); save plain numbers.")
        shape, _, dtype = readers[version](file)
    return Saved(tuple(shape), dtype.name)


_SAFETENSORS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"}
_SAFETENSORS |= {f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}
_SAFETENSORS |= {f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)}


@contextlib.contextmanager
def safetensors(path: Path) -> Iterator[Source]:
    """Gives the tensors of a `.safetensors` file, whose header the library checks against the file."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        told = {}
        for name in file.keys():  # noqa: SIM118  it is no dictionary
            piece = file.get_slice(name)
            told[name] = Saved(tuple(piece.get_shape()), _SAFETENSORS.get(piece.get_dtype(), piece.get_dtype()))
        yield Source(path.name, told, file.get_tensor)


@contextlib.contextmanager
def hdf5(path: Path) -> Iterator[Source]:
    """Gives the data sets of an HDF5 file by their paths; those that Keras 3 has numbered, by their layers' names.

    A file of Keras 3 has `layers/dense/vars/0`, and in an attribute what the layer is called: that variable is
    `hidden1/0` here, and `hidden1/kernel` in a model is its first.

    Raises:
        IntegrityError: A part of it lies in another file: what that has are not this file's weights.
    """
    import h5py

    with h5py.File(path, "r") as file:
        _refuse_outside(file, path.name)
        paths: dict[str, str] = {}

        def found(place: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                paths[_by_layer(file, place)] = place

        file.visititems(found)
        told = {name: Saved(tuple(file[place].shape), _dtype(file[place])) for name, place in paths.items()}
        yield Source(path.name, told, lambda name: _values(file[paths[name]]))


def _refuse_outside(file: Any, name: str) -> None:
    """Refuses a file that has parts in other files, before any of those is opened."""
    import h5py

    def link(place: str, kind: Any) -> str | None:
        return f"{place} is a link to {kind.filename!r}" if isinstance(kind, h5py.ExternalLink) else None

    def dataset(place: str, item: Any) -> str | None:
        if isinstance(item, h5py.Dataset) and item.external:
            return f"{place} is kept in {item.external[0][0]!r}"
        return f"{place} is put together of other data sets" if getattr(item, "is_virtual", False) else None

    if found := file.visititems_links(link) or file.visititems(dataset):
        raise IntegrityError(
            f"{name}: {found}, where all weights were expected in this file itself. Copy them into one file."
        )


def _by_layer(file: Any, place: str) -> str:
    """Returns a path in the names of layers, where Keras 3 has written them down, else as it is."""
    numbered = _NUMBERED.fullmatch(place)
    if numbered is None or not (owner := numbered["owner"]) or owner.split("/")[0] in ("optimizer", "_optimizer"):
        return place
    parts = owner.split("/")
    named = [_layer_name(file, "/".join(parts[: stop + 1])) for stop in range(len(parts))]
    known = [name for name in named if name is not None]
    return "/".join([*known, numbered["number"]]) if named[-1] is not None else place


def _layer_name(file: Any, place: str) -> str | None:
    for each in (place, f"{place}/vars"):
        name = file[each].attrs.get("name") if each in file else None
        if isinstance(name, str):
            return name
    return None


def _dtype(dataset: Any) -> str:
    if dataset.attrs.get("dtype") == "bfloat16":  # HDF5 does not know it
        return "bfloat16"
    return str(dataset.dtype.name) if dataset.dtype.kind in "fiubc" else "other"


def _values(dataset: Any) -> Array:
    values: Any = np.asarray(dataset[()])
    if dataset.attrs.get("dtype") == "bfloat16":
        values = values.view(_bfloat16()).reshape(dataset.shape)
    return cast(Array, values)


def _bfloat16() -> Any:
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)
