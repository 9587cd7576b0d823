"""What the fuzzer tries: the guards, and who reads a file that they let pass. Big libraries come with their use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Guard:
    """What is tried: the kinds of originals that it is given, and the function that is given their paths.

    It raises a ZooError, or returns None, or who refused the file after the guard had let it pass.
    """

    kinds: tuple[str, ...]
    run: Callable[[list[Path]], str | None]
    has_tensorflow: bool = False


def _graphs(paths: list[Path]) -> str | None:
    """Compares the operations that the guard sees in a graph with those that protobuf does."""
    from google.protobuf import message, text_format
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    from zoo.store.guards.graph_operations import refuse_unsafe_operations

    _format(paths)
    (path,) = paths[0].glob("saved_model.pb*")
    told = refuse_unsafe_operations(path)
    try:
        data = path.read_bytes()
        model = SavedModel.FromString(data) if path.suffix == ".pb" else text_format.Parse(data, SavedModel())
    except (message.DecodeError, text_format.ParseError) as error:
        return f"refused by protobuf ({type(error).__name__})"
    read: set[str] = set()
    for graph in model.meta_graphs:
        library = graph.graph_def.library.function
        nodes = [*graph.graph_def.node, *(each for body in library for each in body.node_def)]
        read |= {each.op for each in nodes} - {body.signature.name for body in library}
    assert read == told, f"protobuf reads {sorted(read - told)}, the guard tells of {sorted(told - read)}"
    return None


def _config(paths: list[Path]) -> None:
    from zoo.store.guards.keras_config import checked_config

    text = paths[0].read_bytes()
    checked_config(text, paths[0].name, saved_by="2.15.0" if len(text) % 2 else "3.99.0")


def _format(paths: list[Path]) -> str:
    """Returns the format of what passes."""
    from zoo.store.guards.formats import check_format, recognise

    offered = recognise(paths)
    check_format(offered)
    return offered.format


def _checked(paths: list[Path]) -> None:
    _format(paths)


def _arrays(paths: list[Path]) -> str | None:
    import numpy as np

    from zoo.store.guards.arrays import npz_outline

    if _format(paths) != "npz":
        return None
    told = [(shape, np.dtype(kind).str) for shape, kind in npz_outline(paths[0]).values()]
    try:
        with np.load(paths[0], allow_pickle=False) as arrays:
            read = [(arrays[name].shape, arrays[name].dtype.str) for name in arrays.files]
    except Exception as error:  # NumPy may refuse it for reasons of its own
        return f"refused by NumPy ({type(error).__name__})"
    assert read == told, f"NumPy reads {read}, the guard tells of {told}"
    return None


def _zip(paths: list[Path]) -> str | None:
    import zipfile

    from zoo.store.unpacking import Limits, Meter, opened
    from zoo.store.zips import zip_entries

    with opened(paths[0]) as source:
        told = [b"".join(each.pieces) for each in zip_entries(source, Meter(1 << 30, "it unpacks to"), Limits())]
    try:
        with zipfile.ZipFile(paths[0]) as archive:
            read = [archive.read(each) for each in archive.infolist()]
    except Exception as error:
        return f"refused by zipfile ({type(error).__name__})"
    assert sorted(read) == sorted(told), f"zipfile reads {len(read)} members, the guard tells of {len(told)}"
    return None


def _hdf5(paths: list[Path]) -> str | None:
    import h5py

    from zoo.store.guards.hdf5 import hdf5_outline

    outline = hdf5_outline(paths[0])
    with h5py.File(paths[0]) as file:
        for path in outline.attributes:
            with contextlib.suppress(Exception):  # attributes that no model has may be of types that NumPy has not
                dict(file[path or "/"].attrs)
        try:
            for path, told in outline.datasets.items():
                found = file[path]
                assert found.shape == told.shape, f"{path} has the shape {found.shape}, the guard tells of {told}"
                found[()]
        except (OSError, RuntimeError, KeyError) as error:  # as zoo.loading takes it
            return f"refused by h5py ({type(error).__name__})"
    return None


def _archive(paths: list[Path]) -> None:
    from zoo.store.guards.keras_archive import keras_archive

    with keras_archive(paths[0]):
        pass


def _load(paths: list[Path]) -> None:
    import keras

    import zoo

    zoo.load_model(paths[0])
    keras.backend.clear_session()


GUARDS = {
    "keras_config": Guard(("config",), _config),
    "arrays": Guard(("npz",), _arrays),
    "checkpoints": Guard(("checkpoint",), _checked),
    "wire": Guard(("onnx", "caffe", "savedmodel"), _checked),
    "graphs": Guard(("savedmodel",), _graphs, has_tensorflow=True),
    "zip": Guard(("keras", "npz"), _zip),
    "formats": Guard(("keras", "h5", "npz", "onnx", "caffe", "savedmodel", "checkpoint"), _checked),
    "hdf5": Guard(("h5",), _hdf5),
    "keras_archive": Guard(("keras",), _archive),
    "load_model": Guard(("keras", "h5"), _load, has_tensorflow=True),
}
IN_PYTHON = ("keras_config", "arrays", "checkpoints", "wire", "zip", "formats")
