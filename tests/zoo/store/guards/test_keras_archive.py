"""`.keras` archives, ordinary, damaged and hostile: what passes loads as it was saved, and nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
import pytest
from hostile_keras import ORDINARY, config_of, inputs_of, rewritten, with_lambda
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import DiskError, IntegrityError, NotFoundError, UnsafeFileError, ZooError
from zoo.store.guards.keras_archive import CONFIG, METADATA, WEIGHTS, keras_archive

MIB = 1 << 20


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system's folder for temporary files; at the end of each test it is empty."""
    folder = tmp_path / "system-tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> NoReturn:
        raise AssertionError(f"somebody used the network: {arguments}")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ordinary archive, as `model.save` makes it."""
    path = tmp_path_factory.mktemp("saved") / "m.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)]).save(path)
    return path


@pytest.fixture
def archive(saved: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    path = tmp_path / "m.keras"
    path.write_bytes(saved.read_bytes())
    return path


def packed(path: Path, **members: bytes) -> Path:
    """Makes a zip of these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def content_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def recompressed(path: Path) -> Path:
    return packed(path, **content_of(path))


def with_members(path: Path, members: dict[str, bytes]) -> Path:
    """Adds members to an archive, folders by a name that ends with a slash."""
    with zipfile.ZipFile(path, "a") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def without(path: Path, removed: str) -> Path:
    return packed(path, **{name: data for name, data in content_of(path).items() if name != removed})


def zero_bomb(path: Path, claimed: int) -> Path:
    """Makes a zip whose weights are 4095 MiB of zeros, deflated, and say that they are `claimed` bytes."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = deflater.compress(bytes(MIB)) + deflater.flush(zlib.Z_FULL_FLUSH)
    again = deflater.compress(bytes(MIB)) + deflater.flush(zlib.Z_FULL_FLUSH)  # needs nothing that came before it
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(WEIGHTS, first + again * 4094 + deflater.flush())
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\1\2")
    for method, size in ((8, 22), (central + 10, central + 24)):  # of the two headers, see APPNOTE.TXT 4.3
        struct.pack_into("<H", data, method, zipfile.ZIP_DEFLATED)
        struct.pack_into("<L", data, size, claimed)
    path.write_bytes(data)
    return path


def opened(path: Path, **options: Any) -> None:
    with keras_archive(path, path.name, **options):
        pass


# --- ordinary archives ---


@pytest.mark.parametrize("kind", ORDINARY)
def test_an_ordinary_model_passes_and_its_folder_loads_as_it_was_saved(kind: str, tmp_path: Path, sealed: None) -> None:
    model, path = ORDINARY[kind](), tmp_path / "m.keras"
    model.save(path)
    with keras_archive(path) as archive:
        assert archive.weights and archive.outline
        assert "compile_config" not in json.dumps(archive.config)
        again = keras.saving.load_model(archive.folder, compile=False, safe_mode=True)
    assert [each.shape for each in again.weights] == [each.shape for each in model.weights]
    inputs = inputs_of(model)
    outputs = (keras.tree.flatten(each(inputs, training=False)) for each in (again, model))
    for found, expected in zip(*outputs, strict=True):
        np.testing.assert_array_equal(keras.ops.cast(found, "float32"), keras.ops.cast(expected, "float32"))


def test_the_files_are_there_until_the_context_is_left(archive: Path, nothing_left: Path) -> None:
    with keras_archive(archive) as found:
        assert found.folder.parent == nothing_left
        assert found.folder.stat().st_mode & 0o777 == 0o700
        assert found.weights == found.folder / WEIGHTS
        assert found.weights.is_file()
        assert found.metadata["keras_version"] == keras.__version__
        assert json.loads((found.folder / CONFIG).read_text()) == found.config
    assert not found.folder.exists()


def test_they_are_removed_when_the_caller_fails(archive: Path) -> None:
    with pytest.raises(KeyError), keras_archive(archive):  # nothing_left sees to the rest
        raise KeyError


def test_it_is_unpacked_in_the_store_where_there_is_one(archive: Path, home: Path, nothing_left: Path) -> None:
    (home / "tmp").mkdir(parents=True)
    with keras_archive(archive) as found:
        assert found.folder.parent == home / "tmp"
    assert not list((home / "tmp").iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_it_is_unpacked_elsewhere_where_the_store_is_read_only(archive: Path, home: Path, nothing_left: Path) -> None:
    (home / "tmp").mkdir(parents=True)
    (home / "tmp").chmod(0o500)
    with keras_archive(archive) as found:
        assert found.folder.parent == nothing_left


def test_a_recompressed_archive_passes(archive: Path) -> None:
    opened(recompressed(archive))


def test_a_net_of_zeros_that_is_recompressed_passes(tmp_path: Path) -> None:
    """Not trained yet, or a template: 32 MB of zeros pack to 32 kB."""
    path = tmp_path / "zeros.keras"
    dense = keras.layers.Dense(4096, kernel_initializer="zeros")
    keras.Sequential([keras.Input((2048,)), dense]).save(path)
    size = path.stat().st_size
    assert recompressed(path).stat().st_size < size / 500  # far beyond what trained weights pack to
    opened(path)


def test_an_empty_folder_of_assets_passes(archive: Path) -> None:
    opened(with_members(archive, {"assets/": b""}))


def test_a_model_without_weights_in_the_archive_passes(archive: Path) -> None:
    with keras_archive(without(archive, WEIGHTS)) as found:
        assert found.weights is None
        assert found.outline is None


def test_a_custom_object_passes_where_it_is_registered(archive: Path) -> None:
    config = config_of(archive)
    layer = config["config"]["layers"][1]
    layer |= {"module": "mine", "class_name": "Twice", "registered_name": "mine>Twice"}
    rewritten(archive, config)
    with pytest.raises(IntegrityError, match=r"m\.keras needs custom objects.*'Twice' of 'mine'"):
        opened(archive)
    opened(archive, registered={"mine>Twice"})


# --- X01 to X05: what config.json names ---


def test_x01_an_archive_with_a_lambda_is_refused_and_its_code_does_not_run(tmp_path: Path, sealed: None) -> None:
    canary, path = tmp_path / "canary", tmp_path / "m.keras"
    with_lambda(canary).save(path)
    canary.unlink(missing_ok=True)
    with pytest.raises(UnsafeFileError, match=r"Refused m\.keras unread: layer 'evil' is a 'Lambda'"):
        opened(path)
    assert not canary.exists()


def test_x03_an_archive_whose_config_names_a_function_is_refused(archive: Path, sealed: None) -> None:
    config = config_of(archive)
    payload = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    config["config"]["layers"][1]["config"]["activation"] = payload
    with pytest.raises(UnsafeFileError, match="'function system' of 'os'"):
        opened(rewritten(archive, config))


def test_x03_what_the_metadata_says_is_no_excuse_for_a_function(archive: Path, sealed: None) -> None:
    config = config_of(archive)
    config["config"]["layers"][1] = {"module": "keras.utils", "class_name": "get_file", "config": {}}
    rewritten(archive, config, **{METADATA: b'{"keras_version": "99.0.0"}'})
    with pytest.raises(UnsafeFileError, match="'get_file' of 'keras.utils'"):
        opened(archive)


def test_a11_a_class_of_a_newer_keras_is_named_with_the_version_of_the_metadata(archive: Path) -> None:
    config = config_of(archive)
    config["config"]["layers"][1] |= {"class_name": "HyperDense"}
    rewritten(archive, config, **{METADATA: b'{"keras_version": "99.0.0"}'})
    with pytest.raises(IntegrityError, match="'99.0.0', newer than the .*'HyperDense'"):
        opened(archive)


def test_x04_an_archive_with_a_tfsmlayer_is_refused(archive: Path, tmp_path: Path, sealed: None) -> None:
    config = config_of(archive)
    options = {"name": "evil", "filepath": str(tmp_path), "call_endpoint": "serve"}
    config["config"]["layers"][1] = {"module": "keras.layers", "class_name": "TFSMLayer", "config": options}
    with pytest.raises(UnsafeFileError, match="'TFSMLayer'"):
        opened(rewritten(archive, config))


def test_x05_an_archive_with_a_vocabulary_is_refused_by_its_layer(tmp_path: Path, sealed: None) -> None:
    """Not by its assets: the layer is what the user can do something about."""
    path = tmp_path / "m.keras"
    layer = keras.layers.StringLookup(name="words")
    layer.adapt(["a", "b"])
    keras.Sequential([keras.Input((1,), dtype="string"), layer]).save(path)
    assert any(name.startswith("assets/") for name in zipfile.ZipFile(path).namelist())
    with pytest.raises(UnsafeFileError, match="layer 'words' is a 'StringLookup'"):
        opened(path)


# --- X06, X07: the weights inside are HDF5 like any other ---


def test_x06_weights_that_lead_out_of_the_archive_are_refused(archive: Path, tmp_path: Path, sealed: None) -> None:
    import h5py

    weights = tmp_path / "evil.h5"
    with h5py.File(weights, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(UnsafeFileError, match=r"model\.weights\.h5 of m\.keras"):
        opened(rewritten(archive, **{WEIGHTS: weights.read_bytes()}))


@pytest.mark.parametrize("claimed", [4095 * MIB, 1000], ids=["claiming it", "claiming little"])
def test_x07_a_small_archive_that_becomes_gigabytes_is_refused(
    claimed: int, tmp_path: Path, nothing_left: Path
) -> None:
    """4 GiB of zeros pack to 4 MB, which may become 500 MB at most."""
    path = zero_bomb(tmp_path / "bomb.keras", claimed)
    assert path.stat().st_size < 5 * MIB
    with pytest.raises(UnsafeFileError, match="unpacks to more than|holds more than the 1,000 bytes that it claims"):
        opened(path)


# --- what does not belong there ---


@pytest.mark.parametrize(
    "name", ["assets/words/vocabulary.txt", "model.weights.npz", "evil.py", "__MACOSX/._config.json", "Config.txt"]
)
def test_members_that_keras_does_not_write_are_refused(name: str, archive: Path) -> None:
    with pytest.raises(UnsafeFileError, match=f"besides config.json.*it holds '{name}'"):
        opened(with_members(archive, {name: b"x"}))


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "CONFIG.JSON", "config.json/x"])
def test_members_that_lead_elsewhere_or_twice_to_one_place_are_refused(name: str, archive: Path) -> None:
    with pytest.raises(UnsafeFileError, match=r"Refused to unpack m\.keras"):
        opened(with_members(archive, {name: b"x"}))


def test_a_second_config_is_refused(archive: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        with_members(archive, {CONFIG: b"{}"})
    with pytest.raises(UnsafeFileError, match=r"'config\.json' is there twice"):
        opened(archive)


def test_a_symbolic_link_for_the_weights_is_refused(archive: Path) -> None:
    link = zipfile.ZipInfo(WEIGHTS)
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(without(archive, WEIGHTS), "a") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(UnsafeFileError, match="symbolic link"):
        opened(archive)


def test_data_before_the_zip_is_refused(archive: Path) -> None:
    archive.write_bytes(b"#!/bin/sh\n" + archive.read_bytes())
    with pytest.raises(UnsafeFileError, match="stands before the zip"):
        opened(archive)


# --- A02: no Keras archive ---


def _npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3), b=np.ones(2))


def _npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def _h5(path: Path) -> None:
    other = path.with_suffix(".h5")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(other)
    other.rename(path)


def _tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as file:
        file.add(__file__, "x")


OTHERS = {
    "random bytes": (lambda path: path.write_bytes(random.Random(0).randbytes(4096)), "something else"),
    "no bytes": (lambda path: path.write_bytes(b""), "an empty file"),
    "a text": (lambda path: path.write_text("hello"), "something else"),
    "an .npz": (_npz, r"arrays of NumPy\. Give it a name that ends with \.npz"),
    "an .npy": (_npy, r"an array of NumPy \(\.npy\)"),
    "an .h5": (_h5, r"an HDF5 file\. .* ends with \.h5"),
    "a .tar.gz": (_tar, r"another kind \(gzip\)"),
    "a pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01."), "a pickle, which is a program"),
    "a zipped SavedModel": (lambda path: packed(path, **{"m/saved_model.pb": b"x"}), "a SavedModel. Unpack it"),
    "a folder zipped": (lambda path: packed(path, **{"m/config.json": b"{}", "m/metadata.json": b"{}"}), "a folder"),
    "another zip": (lambda path: packed(path, **{"readme.txt": b"x"}), "found 'readme.txt'"),
    "config alone": (lambda path: packed(path, **{"config.json": b"{}"}), "config.json and metadata.json"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a02_another_file_is_named_for_what_it_is(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    make, looks = OTHERS[kind]
    make(path)
    with pytest.raises(IntegrityError, match=rf"Expected a Keras archive \(\.keras.*\) in m\.keras.*{looks}"):
        opened(path)


def test_a02_a_model_of_pytorch_is_refused_as_a_pickle(tmp_path: Path) -> None:
    path = packed(tmp_path / "m.keras", **{"archive/data.pkl": b"\x80\x02.", "archive/version": b"3"})
    with pytest.raises(UnsafeFileError, match="PyTorch.*pickles"):
        opened(path)


@pytest.mark.parametrize("percent", [1, 10, 50, 90, 99])
def test_a02_a_truncated_archive_is_named_so(percent: int, archive: Path) -> None:
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) * percent // 100])
    with pytest.raises(IntegrityError, match=r"Expected a whole Keras archive \(\.keras\).*m\.keras"):
        opened(archive)


def test_a02_a_damaged_member_is_named_so(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[data.index(b'"keras_version"') + 1] ^= 1
    archive.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"'metadata\.json' is damaged"):
        opened(archive)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"keras_version": 3}', b"[" * 60_000, b"\xff", b" " * 65_537])
def test_a02_metadata_of_another_kind_is_named_so(text: bytes, archive: Path) -> None:
    rewritten(archive, **{METADATA: text})
    with pytest.raises(IntegrityError, match=r"metadata\.json that tells the version of Keras"):
        opened(archive)


def test_a02_weights_that_are_no_hdf5_are_named_so(archive: Path) -> None:
    with pytest.raises(IntegrityError, match=r"model\.weights\.h5 of m\.keras"):
        opened(rewritten(archive, **{WEIGHTS: b"x" * 1000}))


def test_a_file_that_is_not_there_is_named_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        opened(tmp_path / "m.keras")


def test_a_folder_and_a_pipe_are_named_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.keras")
    for path in (tmp_path, tmp_path / "pipe.keras"):
        with pytest.raises(IntegrityError, match="no regular file"):
            opened(path)


def test_a_folder_that_cannot_be_made_is_named_so(archive: Path, nothing_left: Path) -> None:
    nothing_left.rmdir()
    try:
        with pytest.raises(DiskError):
            opened(archive)
    finally:
        nothing_left.mkdir()


# --- mutations ---


def _spoilt(data: bytes, seed: int) -> bytes:
    """Returns an archive with a few bytes changed, half of the times in a header, which is where they matter."""
    chance, spoilt = random.Random(seed), bytearray(data)
    headers = [place for place in range(len(data) - 4) if data[place : place + 2] == b"PK"]
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(spoilt))
        if chance.random() < 0.5:
            place = min(chance.choice(headers) + chance.randrange(46), len(spoilt) - 4)
        new = chance.choice(
            [bytes([chance.randrange(256)]), b"\xff\xff\xff\xff", b"\0\0", struct.pack("<L", place), b""]
        )
        spoilt[place : place + chance.choice([len(new), len(new), 0, 2])] = new
    return bytes(spoilt)


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_a_mutated_archive_passes_or_is_refused_and_leaves_nothing(seed: int, saved: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.keras"
        path.write_bytes(_spoilt(saved.read_bytes(), seed))
        with contextlib.suppress(ZooError):
            opened(path)
        assert [each.name for each in Path(folder).iterdir()] == ["m.keras"]
