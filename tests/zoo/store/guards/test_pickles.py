"""Pickles of every protocol, under every name: refused at the door, and nothing in them runs."""

from __future__ import annotations

import pickle
import random
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import PROTOTXT, Bite, file_of, old_torch, pickled, torch_zip

from zoo.errors import UnsafeFileError
from zoo.store.guards.formats import check_format, recognise

PICKLES: list[Any] = [pytest.param(lambda path, at=at: pickled(path, at), id=f"protocol-{at}") for at in range(6)]
PICKLES += [pytest.param(torch_zip, id="torch"), pytest.param(old_torch, id="torch-before-1.6")]
HARMLESS: list[Any] = [
    pytest.param(lambda path, at=at: pickle.dumps({"w": [1.0]}, at), id=f"harmless-{at}") for at in range(6)
]


def refuses(cause: str, *paths: Path) -> str:
    """Asserts that what is offered is refused, by words fit for a terminal, and returns them."""
    with pytest.raises(UnsafeFileError, match=cause) as caught:
        check_format(recognise(paths))
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a pickle of these tests makes when it is opened; and opening any, or a connection, fails at once."""

    def fail(*arguments: Any, **named: Any) -> None:
        raise AssertionError("a pickle was opened, or a connection")

    monkeypatch.setattr(socket, "socket", fail)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, fail)
    return tmp_path / "canary"


@pytest.mark.parametrize("make", PICKLES)
def test_x14_the_pickles_of_these_tests_bite_whoever_opens_them(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    data = make(tmp_path / "canary")
    if data.startswith(b"PK"):
        path = file_of(tmp_path / "net.pt", data)
        with zipfile.ZipFile(path) as archive:
            data = archive.read("archive/data.pkl")
    file = file_of(tmp_path / "net.pkl", data).open("rb")
    with file:
        while file.peek(1):
            pickle.load(file)
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("make", [*PICKLES, *HARMLESS])
@pytest.mark.parametrize(
    "name",
    [
        *("net.pkl", "net.pickle", "net.pt", "net.pth", "net.joblib", "pytorch_model.bin", "net.ckpt", "NET.PT", "net"),
        *("net.h5", "net.keras", "net.npz", "net.onnx", "net.caffemodel", "net.pb", "net.pth.tar", "net.npy"),
        "net.index",
    ],
)
def test_x14_a_pickle_is_refused_under_every_name_and_nothing_in_it_runs(
    tmp_path: Path, canary: Path, make: Callable[[Path], bytes], name: str
) -> None:
    path = file_of(tmp_path / name, make(canary))
    message = refuses("A pickle runs code when it is opened; zoo opens none by design", path)
    assert str(path) in message
    assert "ONNX" in message
    assert not canary.exists()


@pytest.mark.parametrize("name", ["net.pkl", "net.pickle", "net.pt", "net.pth", "net.joblib"])
def test_x14_the_name_of_a_pickle_is_enough(tmp_path: Path, name: str) -> None:
    for data in (random.Random(0).randbytes(10_000), b"", b"\x89HDF\r\n\x1a\n" + bytes(88)):
        with pytest.raises(UnsafeFileError, match="files are pickles") as caught:
            recognise([file_of(tmp_path / name, data)])
        assert caught.value.exit_code == 5


def test_x14_a_pickle_beside_a_good_file_is_refused_too(tmp_path: Path, canary: Path) -> None:
    good, evil = file_of(tmp_path / "d.prototxt", PROTOTXT), file_of(tmp_path / "n.caffemodel", pickled(canary, 4))
    refuses("n.caffemodel unopened", good, evil)
    assert not canary.exists()


def test_x13_an_array_of_objects_is_refused_and_nothing_in_it_runs(tmp_path: Path, canary: Path) -> None:
    evil = np.array([Bite(canary)], dtype=object)
    np.savez(tmp_path / "net.npz", evil=evil, allow_pickle=True)
    np.save(tmp_path / "net.npy", evil, allow_pickle=True)
    refuses("holds Python objects", tmp_path / "net.npz")
    refuses("holds Python objects", tmp_path / "net.npy")
    assert not canary.exists()
