"""Small real files of models, of every format, ordinary and hostile ones: what the fuzzer of the guards begins with.

Run with `tests/support` on the path, `python originals.py FOLDER` makes `FOLDER/<kind>/<name>/`, each with the files of
one model. Hostile ones lead to `secret` beside them, which nobody may read, or make `touched`, which must never be
there.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import sys
from pathlib import Path
from typing import Any

import h5py
import hostile_hdf5
import hostile_keras
import keras
import model_files
import numpy as np
import tensorflow_graphs
import tf_keras

SECRET, TOUCHED = "secret", "touched"
_NETS = (
    "residual operations",
    "initializers and other objects",
    "nested and compiled",
    "categories",
    "mixed precision",
)


def make_originals(folder: Path) -> None:
    """Makes all of them."""
    secret, touched = folder / SECRET, folder / TOUCHED
    folder.mkdir(parents=True)
    hostile_hdf5.Canary(secret)
    _keras_3(folder)
    _keras_2(folder)
    _repacked(folder)
    _hostile_keras(folder, touched)
    _hostile_hdf5(folder, secret)
    _arrays(folder, touched)
    _tensorflow(folder, secret)
    _by_hand(folder)
    _configs(folder)
    with contextlib.suppress(FileNotFoundError):
        touched.unlink()  # the model with a Lambda layer was run when it was built


def _place(folder: Path, kind: str, name: str, file: str = "") -> Path:
    place = folder / kind / name
    place.mkdir(parents=True, exist_ok=True)
    return place / file


def _keras_3(folder: Path) -> None:
    nets = {"small": hostile_keras.small_model, **{name: hostile_keras.ORDINARY[name] for name in _NETS}}
    for name, build in nets.items():
        model = build()
        name = name.replace(" ", "-")
        model.save(_place(folder, "keras", name, "net.keras"))
        model.save(_place(folder, "h5", f"{name}-whole", "net.h5"))
        model.save_weights(_place(folder, "h5", f"{name}-weights", "net.weights.h5"))


def _keras_2(folder: Path) -> None:
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            tf_keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Flatten(),
            layers.Dense(3, name="logits"),
        ]
    )
    model.compile("adam", "mse")
    model.save(_place(folder, "keras", "of-keras-2", "net.keras"))
    model.save(_place(folder, "h5", "of-keras-2", "net.h5"), save_format="h5")
    model.save_weights(_place(folder, "h5", "of-keras-2-weights", "net.h5"), save_format="h5")
    model.save_weights(_place(folder, "checkpoint", "of-keras-2", "net.ckpt"), save_format="tf")


def _repacked(folder: Path) -> None:
    """Writes files of Keras 2 and 3 again, compressed, and in HDF5's newest format."""
    for name in ("of-keras-2", "small-weights"):
        (source,) = (folder / "h5" / name).iterdir()
        _rewrite(source, _place(folder, "h5", f"{name}-gzip", source.name), compression="gzip", shuffle=True)
        _rewrite(source, _place(folder, "h5", f"{name}-checksums", source.name), fletcher32=True)
        _rewrite(source, _place(folder, "h5", f"{name}-latest", source.name), libver="latest", compression="gzip")


def _rewrite(source: Path, path: Path, libver: str = "earliest", **options: Any) -> None:
    with h5py.File(source) as old, h5py.File(path, "w", libver=libver) as new:
        new.attrs.update(old.attrs)

        def copy(name: str, found: Any) -> None:
            if isinstance(found, h5py.Group):
                made = new.require_group(name)
            else:
                made = new.create_dataset(name, data=found[()], **options if found.shape else {})
            made.attrs.update(found.attrs)

        old.visititems(copy)


def _hostile_keras(folder: Path, touched: Path) -> None:
    touched.touch()
    model = hostile_keras.with_lambda(touched)
    model.save(_place(folder, "keras", "lambda", "net.keras"))
    model.save(_place(folder, "h5", "lambda", "net.h5"))


def _hostile_hdf5(folder: Path, secret: Path) -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("own", data=np.ones((3, 4), "f4"), chunks=(2, 2), compression="gzip")
        file.create_dataset("text", data=["one", "two"], dtype=h5py.string_dtype())

    def external(file: h5py.File) -> None:
        fill(file)
        file.create_dataset("out", (16,), "u1", external=[(str(secret), 0, 16)])

    def link(file: h5py.File) -> None:
        fill(file)
        file["out"] = h5py.ExternalLink(str(secret), "/own")
        file["soft"] = h5py.SoftLink("/own")

    def virtual(file: h5py.File) -> None:
        fill(file)
        layout = h5py.VirtualLayout((3, 4), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "own", (3, 4))
        file.create_virtual_dataset("out", layout)

    for make in (fill, external, link, virtual):
        hostile_hdf5.written(_place(folder, "h5", f"hdf5-{make.__name__}", "net.h5"), make)


def _arrays(folder: Path, touched: Path) -> None:
    arrays: dict[str, Any] = {
        "kernel": np.arange(6, dtype="f4").reshape(2, 3),
        "fortran": np.asfortranarray(np.ones((3, 2), ">f8")),
        "names": np.array(["one", "zwei"]),
        "step": np.int64(3),
        "nothing": np.zeros((0, 3), "f2"),
    }
    np.savez(_place(folder, "npz", "stored", "net.npz"), **arrays)
    np.savez_compressed(_place(folder, "npz", "deflated", "net.npz"), **arrays)
    objects = np.array([model_files.Bite(touched)], dtype=object)
    np.savez(_place(folder, "npz", "objects", "net.npz"), allow_pickle=True, objects=objects, **arrays)
    _place(folder, "npz", "torch", "net.npz").write_bytes(model_files.torch_zip(touched))


def _tensorflow(folder: Path, secret: Path) -> None:
    model_files.saved_by_tensorflow(_place(folder, "checkpoint", "objects"))
    model_files.saved_by_tensorflow_1(_place(folder, "checkpoint", "version-2"), 2)
    model_files.saved_by_tensorflow_1(_place(folder, "checkpoint", "version-1"), 1)
    model_files.saved_model(_place(folder, "savedmodel", "module", "net"))
    _graphs(folder, secret)
    for place in (folder / "checkpoint").iterdir():
        (place / "checkpoint").unlink(missing_ok=True)


def _graphs(folder: Path, secret: Path) -> None:
    """Writes SavedModels with tables and savers of every age, hostile ones among them, and all of them as text too."""
    builders = {
        "texts": tensorflow_graphs.text_module,
        "texts-1": tensorflow_graphs.text_module_1,
        "simple": tensorflow_graphs.simple_saved,
        "reads": functools.partial(tensorflow_graphs.harmful_function, operation="ReadFile", path=str(secret)),
        "writes": functools.partial(tensorflow_graphs.harmful_graph, operation="WriteFile", path=str(secret)),
    }
    for name, build in builders.items():
        tensorflow_graphs.edited(build(_place(folder, "savedmodel", name, "net")), lambda _: None)
        as_text = build(_place(folder, "savedmodel", f"{name}-text", "net"))
        tensorflow_graphs.edited(as_text, lambda _: None, is_text=True)


def _by_hand(folder: Path) -> None:
    nets = {"": model_files.CAFFEMODEL, "-v1": model_files.CAFFEMODEL_V1, "-v0": model_files.CAFFEMODEL_V0}
    for name, data in nets.items():
        _place(folder, "caffe", f"net{name}", "net.caffemodel").write_bytes(data)
        _place(folder, "caffe", f"net{name}", "net.prototxt").write_bytes(model_files.PROTOTXT)
    outside = model_files.onnx_tensor(model_files.outside("../" + SECRET))
    outside = model_files.onnx_model(model_files.onnx_graph(model_files.field(5, outside)))
    _place(folder, "onnx", "net", "net.onnx").write_bytes(model_files.ONNX)
    _place(folder, "onnx", "outside", "net.onnx").write_bytes(outside)


def _configs(folder: Path) -> None:
    """Takes the configs out of the files that have some."""
    for path in (folder / "keras").glob("*/*.keras"):
        shutil.unpack_archive(path, _place(folder, "config", path.parent.name), "zip")
        for other in (folder / "config" / path.parent.name).iterdir():
            if other.name != "config.json":
                other.unlink()
    for path in (folder / "h5").glob("*/net.h5"):
        with h5py.File(path) as file:
            if text := file.attrs.get("model_config"):
                _place(folder, "config", f"h5-{path.parent.name}", "config.json").write_text(text)


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    make_originals(Path(sys.argv[1]))
