from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

from zoo.data import ArrayExamples, open_data
from zoo.data import npz as npz_module
from zoo.errors import DataError, UnsafeFileError, UsageError

X = np.arange(4 * 6, dtype=np.float32).reshape(4, 6)
Y = np.array([3, 1, 3, 1])


def saved(path: Path, compressed: bool = False, **arrays: Any) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def zipped(path: Path, method: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("x", [X, np.asfortranarray(X), X.astype(">f8"), X > 5])
def test_arrays_are_those_that_were_saved(tmp_path: Path, compressed: bool, x: Any) -> None:
    examples = open_data(saved(tmp_path / "a.npz", compressed, x=x, y=Y))
    same = ArrayExamples(x, Y)

    assert np.array_equal(examples.read(np.array([2, 0])), x[[2, 0]])
    assert np.array_equal(examples.ids, same.ids)
    assert (examples.classes, examples.shape, examples.parts) == (("1", "3"), same.shape, None)
    assert examples.labels.tolist() == [1, 0, 1, 0]


def test_what_is_stored_uncompressed_is_mapped(tmp_path: Path) -> None:
    file = npz_module.NpzFile(saved(tmp_path / "a.npz", x=X, y=Y))
    assert isinstance(file.array("x"), np.memmap)
    assert not isinstance(npz_module.NpzFile(saved(tmp_path / "b.npz", True, x=X, y=Y)).array("x"), np.memmap)


def test_test_arrays_are_a_part_that_is_obeyed(tmp_path: Path) -> None:
    examples: Any = open_data(
        saved(tmp_path / "a.npz", x=X, y=Y, x_test=X[:1] + 9, y_test=Y[:1], x_val=X[:0], y_val=Y[:0])
    )

    assert examples.parts.tolist() == [0, 0, 0, 0, 2]
    assert np.array_equal(examples.read(np.array([4, 1])), [X[0] + 9, X[1]])


def test_mnist_as_keras_has_it_becomes_gray_pictures(tmp_path: Path) -> None:
    pictures = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    examples = open_data(
        saved(tmp_path / "a.npz", x_train=pictures, y_train=[[0], [1], [0]], x_test=pictures, y_test=[0, 1, 0])
    )

    assert examples.shape == (4, 5, 1)
    assert np.array_equal(examples.read(np.array([1]))[0][..., 0], pictures[1])


@pytest.mark.parametrize("y", [np.array(["\u00e9", "a", "a", "b"]), np.array([b"\xc3\xa9", b"a", b"a", b"b"])])
def test_labels_may_be_text(tmp_path: Path, y: Any) -> None:
    assert open_data(saved(tmp_path / "a.npz", x=X, y=y)).classes == ("a", "b", "\u00e9")


def test_groups_are_those_of_an_array(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", x=X, y=Y, who=[7, 8, 7, 9], x_test=X[:1] + 9, y_test=Y[:1], who_test=[8])
    groups = open_data(path, group_by="who").groups

    assert groups is not None
    assert groups[0] == groups[2]
    assert groups[1] == groups[4]
    assert len(set(groups.tolist())) == 3
    with pytest.raises(UsageError, match="No array 'whom'.*Did you mean who"):
        open_data(path, group_by="whom")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"data": X}, "expected arrays x and y"),
        ({"x": X}, "expected labels in an array 'y'; it has x"),
        ({"x": X, "y": Y[:3]}, "got 4 examples and 3 in y"),
        ({"x": X, "y": Y, "x_test": X[:, :2], "y_test": Y}, "of one shape and kind"),
        ({"x": X[0], "y": Y}, r"as an array of numbers \[n, \.\.\.\]"),
        ({"x": np.array([["a"]]), "y": [1]}, "as an array of numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        open_data(saved(tmp_path / "a.npz", **arrays))


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    path = saved(tmp_path / "a.npz", x=np.array([[Trap()]], object), y=[1])
    with pytest.raises(UnsafeFileError, match="holds Python objects, which are a pickle"):
        open_data(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("shape", [(1 << 40, 2), (3, 6), (5, 6)])
def test_a_header_that_claims_another_size_is_refused(tmp_path: Path, method: int, shape: tuple[int, ...]) -> None:
    path = zipped(tmp_path / "a.npz", method, x=header(shape) + X.tobytes(), y=header((4,), "<i8") + Y.tobytes())
    with pytest.raises(UnsafeFileError, match="claims .* bytes"):
        open_data(path)


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz_module, "_ROOM", 1 << 20)
    monkeypatch.setattr(npz_module, "_memory", lambda: 4 << 20)
    path = saved(tmp_path / "a.npz", True, x=np.zeros((1000, 1000), np.float32), y=np.zeros(1000, int))
    with pytest.raises(UnsafeFileError, match="would unpack to 4,000,000 bytes"):
        open_data(path)
    noise = np.random.default_rng(0).normal(size=(1000, 1000)).astype(np.float32)
    with pytest.raises(DataError, match="Save it with np.savez instead"):
        open_data(saved(tmp_path / "b.npz", True, x=noise, y=np.zeros(1000, int)))


def test_sizes_that_the_archive_makes_up_are_refused(tmp_path: Path) -> None:
    """The archive's list says 4 GB where a few bytes are."""
    path = zipped(tmp_path / "a.npz", x=header((1 << 28, 4)) + X.tobytes())
    data = bytearray(path.read_bytes())
    size = len(header((1 << 28, 4))) + X.nbytes
    claimed = len(header((1 << 28, 4))) + (1 << 32)
    at = data.index(b"PK\x01\x02")
    for place in (20, 24):
        assert struct.unpack_from("<I", data, at + place) == (size,)
        struct.pack_into("<I", data, at + place, claimed & 0xFFFFFFFF)
    path.write_bytes(data)
    with pytest.raises((UnsafeFileError, DataError)):
        open_data(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_is_cut_is_refused(tmp_path: Path, share: float, compressed: bool) -> None:
    path = saved(tmp_path / "a.npz", compressed, x=X, y=Y)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match="no .npz file, or damaged"):
        open_data(path)


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.npz", True, x=X, y=Y).read_bytes()
    path = tmp_path / "b.npz"
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            open_data(path)
        except (DataError, UnsafeFileError):
            continue


def test_b15_a_file_that_changes_is_not_mixed(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", x=X, y=Y)
    examples = open_data(path)
    saved(path, x=X + 1, y=Y, more=Y)
    with pytest.raises(DataError, match="was changed after it was opened"):
        examples.read(np.array([0]))


def test_an_array_with_one_value_for_all_groups_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, x=np.arange(12.0).reshape(4, 3), y=[0, 1, 0, 1], who=[7, 7, 7, 7])
    with pytest.raises(UsageError, match="All 4 examples are one group: --group-by 'who' finds the same '7'"):
        open_data(path, group_by="who")


def test_arrays_of_other_names_are_told_with_how_to_save_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", pictures=np.zeros((2, 3)), labels=[0, 1])
    with pytest.raises(DataError, match=r"it has pictures, labels[.] .*np[.]savez\(path, x=[.]{3}, y=[.]{3}\)"):
        open_data(tmp_path / "other.npz")


def test_rows_of_no_size_are_refused(tmp_path: Path) -> None:
    """A few bytes could claim any number of them."""
    path = saved(tmp_path / "a.npz", x=np.zeros((1000, 0), np.float32), y=np.zeros(1000, np.int64))
    with pytest.raises(DataError, match="rows of no size"):
        open_data(path)
