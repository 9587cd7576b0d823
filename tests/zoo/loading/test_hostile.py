"""Hostile files at every door: none is opened by a big library, nothing in them runs, nothing of them is kept."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import h5py
import keras
import numpy as np
import pytest
from click.testing import CliRunner
from hostile_hdf5 import PAST, Canary, deflated_zeros
from hostile_keras import config_of, rewritten, small_model, with_lambda
from keras import layers
from zoo.cli.main import cli

import zoo
from zoo.errors import UnsafeFileError, ZooError

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


@pytest.fixture(autouse=True)
def sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **_: Any) -> NoReturn:
        raise AssertionError(f"somebody used the network: {arguments}")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def lambda_archive(folder: Path, canary: Path) -> Path:
    path = folder / "net.keras"
    with_lambda(canary).save(path)
    canary.unlink(missing_ok=True)
    return path


def lambda_hdf5(folder: Path, canary: Path) -> Path:
    path = folder / "net.h5"
    with_lambda(canary).save(path)
    canary.unlink(missing_ok=True)
    return path


def changed(folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    path = folder / "net.keras"
    small_model().save(path)
    config = config_of(path)
    edit(config)
    return rewritten(path, config)


def function(folder: Path, canary: Path) -> Path:
    """`os.system`, where a layer's activation stands."""
    record = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    return changed(folder, lambda config: dense(config)["config"].update(activation=record))


def dense(config: dict[str, Any]) -> dict[str, Any]:
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")


def tfsm_layer(folder: Path, canary: Path) -> Path:
    config = {"name": "dense", "filepath": str(folder), "call_endpoint": "serve"}
    record = {"module": "keras.layers", "class_name": "TFSMLayer", "config": config, "registered_name": None}
    return changed(folder, lambda found: dense(found).update(record))


def lookup(folder: Path, canary: Path) -> Path:
    path = folder / "net.keras"
    vocabulary = folder / "words.txt"
    vocabulary.write_text("one\ntwo\n")
    inputs = keras.Input((1,), dtype="string")
    keras.Model(inputs, layers.StringLookup(vocabulary=str(vocabulary))(inputs)).save(path)
    config = config_of(path)
    text = json.dumps(config).replace(str(vocabulary), "http://127.0.0.1:9/words.txt")
    return rewritten(path, text)


def whole_hdf5(folder: Path) -> Path:
    path = folder / "net.h5"
    keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")]).save(path)
    return path


def kernel(file: h5py.File) -> str:
    name: str = next(name for name in file["model_weights/dense"].attrs["weight_names"] if "kernel" in name)
    return f"model_weights/dense/{name}"


def external_storage(folder: Path, canary: Path) -> Path:
    path = whole_hdf5(folder)
    Canary(canary)
    with h5py.File(path, "r+") as file:
        name = kernel(file)
        del file[name]
        file.create_dataset(name, (4, 3), "f4", external=[(str(canary), 0, 48)])
    return path


def external_link(folder: Path, canary: Path) -> Path:
    path = whole_hdf5(folder)
    with h5py.File(canary, "w") as other:
        other["kernel"] = np.ones((4, 3), "f4")
    with h5py.File(path, "r+") as file:
        name = kernel(file)
        del file[name]
        file[name] = h5py.ExternalLink(str(canary), "kernel")
    return path


def deflate_bomb(folder: Path, canary: Path) -> Path:
    """A gigabyte of zeros, in a megabyte."""
    path = whole_hdf5(folder)
    with h5py.File(path, "r+") as file:
        name = kernel(file)
        del file[name]
        side = 1 << 14
        dataset = file.create_dataset(name, (side, side), "f4", chunks=(1 << 10, side), compression="gzip")
        for row in range(0, side, 1 << 10):
            dataset.id.write_direct_chunk((row, 0), deflated_zeros(4 * side << 10))
    return path


MADE = {
    "x01 Lambda": lambda_archive,
    "x02 Lambda in .h5": lambda_hdf5,
    "x03 function": function,
    "x04 TFSMLayer": tfsm_layer,
    "x05 StringLookup": lookup,
    "x06 external storage": external_storage,
    "x06 external link": external_link,
    "x07 deflate bomb": deflate_bomb,
}


@pytest.mark.parametrize("kind", MADE)
def test_a_hostile_file_is_refused_at_every_door_and_nothing_runs(
    kind: str, tmp_path: Path, canary: Path, home: Path
) -> None:
    path = MADE[kind](tmp_path, canary)
    was_there = canary.exists()
    if was_there:
        os.utime(canary, (PAST, PAST))  # a time of access that only reading changes

    with pytest.raises(UnsafeFileError):
        zoo.load_model(path)
    added = CliRunner().invoke(cli, ["add", str(path), "--name", "evil"])
    stored(home, path)
    with pytest.raises(UnsafeFileError):
        zoo.load_model("stored")

    assert added.exit_code == 5, added.output
    assert "Traceback" not in added.output
    assert [entry.name for entry in zoo.list_models(source="local")] == ["stored"]
    assert canary.exists() == was_there
    if was_there:
        assert canary.stat().st_atime == PAST
        canary.read_bytes()
        if canary.stat().st_atime == PAST:
            pytest.skip("this file system (noatime?) notes no access: whether anybody read the canary is not known")


def stored(home: Path, path: Path) -> None:
    """Puts the file into the store as if it had been added before this version refused it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    blob = home / "blobs" / "sha256" / digest
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(path.read_bytes())
    file = {
        "role": "model", "name": path.name, "hash": f"sha256:{digest}", "hash_from": "user",
        "bytes": path.stat().st_size,
    }  # fmt: skip
    entry = {
        "source": "local", "task": "unknown", "summary": "A net.", "files": [file], "input": None, "output": {},
        "metrics": {},
    }  # fmt: skip
    (home / "registry.json").write_text(json.dumps({"schema": 1, "models": {"stored": entry}}))


def test_the_name_of_a_model_is_told_without_what_terminals_obey(tmp_path: Path, home: Path) -> None:
    """Of an empty one; of one whose weights are not there, in either format; and of one with an output too large."""
    name = "evil\x1b[2J\x1b]0;owned\x07"

    def empty(config: dict[str, Any]) -> None:
        config["config"].update(name=name, layers=[])

    def larger(config: dict[str, Any]) -> None:
        config["config"]["name"] = name
        dense(config)["config"].update(units=7, name=name)
        dense(config).pop("build_config", None)

    for edit in (empty, larger):
        with pytest.raises(ZooError) as caught:
            zoo.add(changed(tmp_path, edit))
        assert str(caught.value).isprintable()
    with h5py.File(whole_hdf5(tmp_path), "r+") as file:
        config = json.loads(file.attrs["model_config"])
        larger(config)
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ZooError) as caught:
        zoo.load_model(tmp_path / "net.h5")
    assert str(caught.value).isprintable()
