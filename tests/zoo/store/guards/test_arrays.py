"""The guard of `.npz` files, with NumPy as the judge of ordinary ones; the hostile ones are made by hand."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import Bite

from zoo.errors import IntegrityError, NotFoundError, UnsafeFileError, ZooError
from zoo.store.guards.arrays import npy_outline, npz_outline


def npy(text: str, data: bytes = b"", version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
    """Returns an array by hand: NumPy would not write most of these."""
    header = text.encode("utf-8" if version == (3, 0) else "latin-1")
    size = len(header) if length is None else length
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<L", size) + header + data


def header(descr: str = "'<f4'", shape: str = "(2, 3)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def npz(folder: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    path = folder / "net.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def refuses(path: Path, cause: str, error: type[ZooError] = UnsafeFileError) -> None:
    """Asserts that a file is refused in words that name it and are fit for a terminal."""
    with pytest.raises(error, match=cause) as caught:
        npz_outline(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.fixture
def unarmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A canary that a pickle makes when it is opened; and opening any fails at once."""

    def fail(*arguments: Any, **named: Any) -> None:
        raise AssertionError("a pickle was opened, or a connection")

    canary = tmp_path / "canary"
    monkeypatch.setattr("socket.socket", fail)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, fail)
    return canary


# --- ordinary ---

ORDINARY = {
    "dense/kernel:0": np.arange(6, dtype="<f4").reshape(2, 3),
    "fortran": np.asfortranarray(np.ones((3, 5))),
    "scalar": np.float64(1.5),
    "empty": np.zeros((0, 4), np.float16),
    "flags": np.array([True, False]),
    "complex": np.ones(3, np.complex64),
    "words": np.array(["one", "zwei"]),
    "bytes": np.array([b"a", b"bcd"]),
    "int8": np.arange(5, dtype=np.int8),
    "uint64": np.arange(5, dtype=np.uint64),
    "many": np.zeros((1,) * 30, np.int16),
    "größe": np.zeros(2),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_told_as_numpy_tells_it(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "net.npz"
    save(path, **ORDINARY)
    with np.load(path) as theirs:
        expected = {name: (theirs[name].shape, theirs[name].dtype.str) for name in theirs.files}
    assert npz_outline(path) == expected
    assert list(npz_outline(path)) == list(ORDINARY)


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8", ">i2", ">i8", ">u4", ">c8"])
def test_a07_big_endian_numbers_are_told_as_such(tmp_path: Path, dtype: str) -> None:
    np.savez(tmp_path / "net.npz", w=np.arange(4).astype(dtype))
    assert npz_outline(tmp_path / "net.npz") == {"w": ((4,), dtype)}


def test_a07_half_precision_and_bytes_are_told_as_such(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", half=np.ones(2, np.float16), quantized=np.ones(3, np.int8))
    assert npz_outline(tmp_path / "net.npz") == {"half": ((2,), "<f2"), "quantized": ((3,), "|i1")}


def test_a07_bfloat16_which_numpy_writes_as_raw_bytes_is_refused_by_name(tmp_path: Path) -> None:
    import ml_dtypes

    np.savez(tmp_path / "net.npz", w=np.ones(2, ml_dtypes.bfloat16))
    refuses(tmp_path / "net.npz", "array 'w.npy' is of raw bytes .*bfloat16.*float32", IntegrityError)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_all_versions_of_the_format_are_read(tmp_path: Path, version: tuple[int, int]) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ones((2, 3), np.float32), version)
    assert npz_outline(npz(tmp_path, ("w.npy", file.getvalue()))) == {"w": ((2, 3), "<f4")}


@pytest.mark.filterwarnings("ignore:Reading .*created on Python 2")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(header(shape="(2L, 3L)"), id="python-2"),
        pytest.param("{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}", id="another-order"),
        pytest.param('{"descr": "<f4", "fortran_order": False, "shape": (2,3)}', id="other-quotes"),
    ],
)
def test_what_other_programs_write_is_read_too(tmp_path: Path, text: str) -> None:
    path = npz(tmp_path, ("w.npy", npy(text, bytes(24))))
    assert npz_outline(path) == {"w": ((2, 3), "<f4")}
    with np.load(path) as theirs:  # so does NumPy
        assert theirs["w"].shape == (2, 3)


# --- objects ---


def objects_by_numpy(canary: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Bite(canary), None], dtype=object), allow_pickle=True)
    return file.getvalue()


def test_x13_arrays_of_objects_are_refused_and_nothing_in_them_runs(tmp_path: Path, unarmed: Path) -> None:
    np.savez(tmp_path / "net.npz", plain=np.ones(3), evil=np.array([Bite(unarmed)], dtype=object), allow_pickle=True)
    refuses(tmp_path / "net.npz", "array 'evil.npy' holds Python objects.*pickle runs code")
    assert not unarmed.exists()


def test_x13_the_object_array_of_that_test_bites_whoever_opens_it(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    np.load(io.BytesIO(objects_by_numpy(canary)), allow_pickle=True)
    assert canary.exists()


def test_x13_a_single_array_of_objects_is_refused_too(tmp_path: Path, unarmed: Path) -> None:
    path = tmp_path / "net.npy"
    path.write_bytes(objects_by_numpy(unarmed))
    with pytest.raises(UnsafeFileError, match="holds Python objects"):
        npy_outline(path)
    assert not unarmed.exists()


@pytest.mark.parametrize(
    "descr", ["'O'", "'|O'", "'|O8'", "'<O8'", "[('a', '|O')]", "[('a', '<f4'), ('b', [('c', 'O')])]"]
)
def test_x13_objects_are_found_in_every_way_to_write_them(tmp_path: Path, descr: str) -> None:
    refuses(npz(tmp_path, ("w.npy", npy(header(descr), bytes(48)))), "holds Python objects")


# --- claims ---


@pytest.mark.parametrize(
    ("shape", "cause"),
    [
        pytest.param("(1152921504606846976,)", "larger than any model", id="2-to-the-60"),
        pytest.param("(1048576, 1048576, 1048576)", "larger than any model", id="2-to-the-60-in-three"),
        pytest.param("(1099511627776,)", r"claims 4,398,046,511,\d+ bytes", id="2-to-the-40"),
        pytest.param("(7,)", r"claims \d+ bytes .* and has", id="one-more-than-there-is"),
        pytest.param("(5,)", r"claims \d+ bytes .* and has", id="one-fewer-than-there-is"),
        pytest.param("(0,)", r"claims \d+ bytes .* and has", id="none"),
        pytest.param("(" + "1," * 65 + ")", "larger than any model", id="more-dimensions-than-numpy-has"),
    ],
)
def test_x13_an_array_that_claims_other_than_it_has_is_refused(tmp_path: Path, shape: str, cause: str) -> None:
    refuses(npz(tmp_path, ("w.npy", npy(header(shape=shape), bytes(24)))), cause)


def test_x13_a_zip_member_that_claims_2_to_the_60_bytes_is_refused(tmp_path: Path) -> None:
    data = npy(header(shape=f"({1 << 58},)"), bytes(24))
    told = (zlib.crc32(data), len(data), 0xFFFFFFFF)  # the last: "see the zip64 field"
    wide = struct.pack("<2HQ", 1, 8, 1 << 60)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 8, 0, 33, *told, 5, 12) + b"w.npy" + wide + data
    central = struct.pack("<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, 8, 0, 33, *told, 5, 12, 0, 0, 0, 0, 0) + b"w.npy" + wide
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local), 0)
    path = tmp_path / "net.npz"
    path.write_bytes(local + central + end)
    with zipfile.ZipFile(path) as archive:
        assert archive.infolist()[0].file_size == 1 << 60
    refuses(path, "for its size it unpacks to more than")


def test_x13_a_bomb_is_refused_and_costs_no_memory(tmp_path: Path) -> None:
    path = npz(tmp_path, ("w.npy", npy(header("'|u1'", "(200000000,)"), bytes(200_000_000))), method=8)
    tracemalloc.start()
    try:
        refuses(path, "it unpacks to")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


# --- things that are no arrays ---


@pytest.mark.parametrize(
    ("member", "cause"),
    [
        pytest.param(("net.npz", b"PK\5\6" + bytes(18)), "no array", id="zip-in-the-zip"),
        pytest.param(("w.npy", b"PK\5\6" + bytes(18)), "is no array, but zip", id="zip-called-array"),
        pytest.param(("w.npy", b"\x1f\x8b\x08" + bytes(18)), "is no array, but gzip", id="gzip-called-array"),
        pytest.param(("readme.txt", b"hello"), "member 'readme.txt' is no array", id="text"),
        pytest.param(("x\x1b[2J.txt", b"hello"), "is no array", id="name-with-an-escape"),
        pytest.param(("w.npy/", b""), "is no array", id="folder"),
    ],
)
def test_x13_what_is_no_array_is_refused(tmp_path: Path, member: tuple[str, bytes], cause: str) -> None:
    refuses(npz(tmp_path, ("v.npy", npy(header(), bytes(24))), member), cause)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    array = npy(header(), bytes(24))
    refuses(npz(tmp_path, ("w.npy", array), ("w.npy", array)), "two arrays called 'w'")


@pytest.mark.parametrize(
    ("data", "cause", "error"),
    [
        pytest.param(b"hello", "does not begin as an array", IntegrityError, id="text"),
        pytest.param(b"", "does not begin as an array", IntegrityError, id="nothing"),
        pytest.param(npy(header(), bytes(24), (4, 0)), "of format 4.0", IntegrityError, id="version-4"),
        pytest.param(b"\x93NUMPY\x01", "of format 1,", IntegrityError, id="cut-in-the-version"),
        pytest.param(b"\x93NUMPY\x01\0\x10", "cut short", IntegrityError, id="cut-in-the-length"),
        pytest.param(npy(header(), length=5000), "cut short in its header", IntegrityError, id="cut-in-the-header"),
        pytest.param(
            npy(" " * 70_000 + header(), version=(2, 0)), "more than 65,536", UnsafeFileError, id="header-70kB"
        ),
        pytest.param(npy(header("'<f4', 'descr': '|O'"), bytes(24)), "twice", UnsafeFileError, id="dtype-twice"),
        pytest.param(npy(header("__import__('os')"), bytes(24)), "not as NumPy", IntegrityError, id="call"),
        pytest.param(npy(header("'<f' + '4'"), bytes(24)), "not as NumPy", IntegrityError, id="expression"),
        pytest.param(npy("(" * 9000 + ")" * 9000), "not as NumPy", IntegrityError, id="nine-thousand-brackets"),
        pytest.param(npy(header(shape="(-2, -3)"), bytes(24)), "not as NumPy", IntegrityError, id="negative"),
        pytest.param(npy(header(shape="(2.0, 3)"), bytes(24)), "not as NumPy", IntegrityError, id="fraction"),
        pytest.param(npy(header(shape="'(2, 3)'"), bytes(24)), "no shape or dtype", IntegrityError, id="shape-as-text"),
        pytest.param(npy(header("True"), bytes(24)), "no shape or dtype", IntegrityError, id="dtype-as-truth"),
        pytest.param(npy("{'descr': '<f4'}"), "does not tell dtype, order and shape", IntegrityError, id="dtype-only"),
        pytest.param(npy(header("'<f3'"), bytes(24)), "no number and no text", IntegrityError, id="float24"),
        pytest.param(npy(header("'<M8[s]'"), bytes(48)), "none of NumPy's", IntegrityError, id="dates"),
        pytest.param(npy(header("[('a', '<f4')]"), bytes(24)), "is of records", IntegrityError, id="records"),
        pytest.param(npy(header() + "\x1b[2J", bytes(24)), "not as NumPy", IntegrityError, id="escape-in-the-header"),
        pytest.param(b"\x93NUMPY\3\0\4\0\0\0\xff\xfe{}", "no text in UTF-8", IntegrityError, id="no-text"),
    ],
)
def test_a_header_that_numpy_would_not_write_is_refused(
    tmp_path: Path, data: bytes, cause: str, error: type[ZooError]
) -> None:
    refuses(npz(tmp_path, ("w.npy", data)), cause, error)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_damaged(tmp_path: Path, part: float) -> None:
    path = tmp_path / "net.npz"
    np.savez(path, w=np.ones((100, 100)), b=np.ones(100))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    refuses(path, "damaged or something else", IntegrityError)


def test_a_flipped_bit_in_the_numbers_is_found(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    np.savez(path, w=np.ones((100, 100)))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    refuses(path, "wrong checksum", IntegrityError)


def test_a_zip_without_arrays_is_refused(tmp_path: Path) -> None:
    refuses(npz(tmp_path), "holds no array", IntegrityError)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        npz_outline(tmp_path / "net.npz")
