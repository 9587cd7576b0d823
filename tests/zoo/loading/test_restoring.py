"""Weights of a file in a model that is there already: guarded, whatever kind of file it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import zoo.converters
from tensorflow_models import book_net, train_and_save

import zoo
from zoo.errors import IntegrityError, UnsafeFileError
from zoo.loading import from_tensorflow, restoring, saved_model_files
from zoo.loading.from_checkpoint import load_checkpoint
from zoo.loading.from_tensorflow import load_frozen_graph, load_meta_checkpoint, load_saved_model
from zoo.loading.unchanged import files_below, unchanged

SECRET = np.arange(4, dtype="float32") + 42


def net() -> keras.Model:
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="fc")])


def external(path: Path, other: Path) -> None:
    """The values lie in another file, whatever that is."""
    with h5py.File(path, "w") as file:
        file.create_dataset("fc/kernel", (2, 2), "float32", external=[(str(other), 0, 16)])


def virtual(path: Path, other: Path) -> None:
    with h5py.File(other, "w") as file:
        file["kernel"] = SECRET.reshape(2, 2)
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((2, 2), "float32")
        layout[...] = h5py.VirtualSource(str(other), "kernel", (2, 2))
        file.create_virtual_dataset("fc/kernel", layout)


def linked(path: Path, other: Path) -> None:
    with h5py.File(other, "w") as file:
        file["0"] = SECRET.reshape(2, 2)
        file.attrs["name"] = "fc"
    with h5py.File(path, "w") as file:
        file["layers/dense/more/vars/0"] = SECRET.reshape(2, 2)
        file["layers/dense/vars"] = h5py.ExternalLink(str(other), "/")


@pytest.mark.parametrize("make", [external, virtual, linked])
def test_x06_weights_that_lie_in_another_file_are_not_read(tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    other = tmp_path / "secret"
    other.write_bytes(SECRET.tobytes())
    make(tmp_path / "net.h5", other)
    model = net()
    before = [np.array(each) for each in model.get_weights()]

    with pytest.raises(UnsafeFileError, match="net.h5"):
        zoo.restore(model, tmp_path / "net.h5")
    with pytest.raises(IntegrityError, match=r"net\.h5.* expected in this file itself"):  # without the guard too
        zoo.converters.restore(model, tmp_path / "net.h5")

    for one, two in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, two)


def test_arrays_and_files_go_the_same_way(tmp_path: Path) -> None:
    arrays = {"old/fc/kernel": np.full((2, 2), 3, "float32"), "old/fc/bias": np.full(2, 4, "float32")}
    np.savez(tmp_path / "net.npz", **arrays)
    for source in (arrays, tmp_path / "net.npz", str(tmp_path / "net.npz")):
        model = net()
        assert zoo.restore(model, source, rename={"^old/": ""}).loaded == ("fc/kernel", "fc/bias")
        np.testing.assert_array_equal(model.get_weights()[0], arrays["old/fc/kernel"])


# --- what changes between the guard and the library ---


def test_files_that_change_while_they_are_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / "file"
    path.write_bytes(b"one")

    def replaced() -> None:  # and put back: it has the time, the size and the place that it had
        path.rename(tmp_path / "aside")
        path.write_bytes(b"two")
        (tmp_path / "aside").rename(path)

    for change in (
        lambda: path.write_bytes(b"two"), replaced, path.unlink, (tmp_path / "below" / "more").touch,
    ):  # fmt: skip
        with pytest.raises(IntegrityError, match="changed while it was read"), unchanged(tmp_path, files_below):
            change()
    with unchanged(tmp_path, files_below):
        (tmp_path / "below" / "more").read_bytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a net as TensorFlow saves it, in each of its ways."""
    folder = tmp_path_factory.mktemp("saved")
    train_and_save(book_net, folder / "net.ckpt", steps=1)
    tf.saved_model.save(tf.Module(), str(folder / "module"))
    (folder / "net.pb").write_bytes(b"a graph")
    return folder


@pytest.mark.parametrize(
    ("load", "guard", "home"),
    [
        (lambda folder: load_saved_model(folder / "module"), "check_saved_model_folder", from_tensorflow),
        (
            lambda folder: saved_model_files.content_of(folder / "module", "it"),
            "check_saved_model_folder",
            saved_model_files,
        ),
        (lambda folder: load_meta_checkpoint(folder / "net.ckpt"), "check_checkpoint", from_tensorflow),
        (lambda folder: load_frozen_graph(folder / "net.pb"), "check_frozen_graph", from_tensorflow),
        (lambda folder: load_checkpoint(folder / "net.ckpt", activation="elu"), "checkpoint_outline", restoring),
    ],
    ids=["savedmodel", "unit", "meta", "graph", "checkpoint"],
)
def test_x15_what_is_exchanged_behind_the_guard_is_given_to_nobody(
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    load: Callable[[Path], object],
    guard: str,
    home: object,
) -> None:
    shutil.copytree(saved, tmp_path / "saved")

    def exchanged(*_: object) -> None:
        for path in (tmp_path / "saved").rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes() + b" ")

    monkeypatch.setattr(home, guard, exchanged)
    with pytest.raises(IntegrityError, match="changed while it was read"):
        load(tmp_path / "saved")
