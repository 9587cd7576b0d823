"""HDF5 files, ordinary, damaged (A01, A02) and hostile (X06, X07): written by h5py and Keras, and some patched."""

from __future__ import annotations

import contextlib
import json
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hostile_hdf5 import (
    MIB,
    Canary,
    deflated_zeros,
    one_place_many_times,
    packed_chunks,
    patched,
    with_filter,
    written,
)

from zoo.errors import IntegrityError, NotFoundError, UnsafeFileError
from zoo.store.guards.hdf5 import Outline, hdf5_outline

# The oldest and the newest way to write a file: superblocks 0 and 3, groups as tables and as heaps.
WAYS = ["earliest", "latest"]


def refused(path: Path) -> str:
    with pytest.raises(UnsafeFileError) as caught:
        hdf5_outline(path)
    return str(caught.value)


def damaged(path: Path) -> str:
    with pytest.raises(IntegrityError) as caught:
        hdf5_outline(path)
    return str(caught.value)


def told_by_h5py(path: Path) -> dict[str, tuple[tuple[int, ...], str, int]]:
    """The oracle: what h5py itself tells, by the path of the data set."""
    found: dict[str, tuple[tuple[int, ...], str, int]] = {}

    def visit(name: str, each: h5py.HLObject) -> None:
        if isinstance(each, h5py.Dataset):
            found[name] = (each.shape, each.dtype.str, each.nbytes)

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def listed(outline: Outline) -> dict[str, tuple[tuple[int, ...], str, int]]:
    return {path: (each.shape, each.dtype, each.bytes) for path, each in outline.datasets.items()}


# --- ordinary files ---


def weights_of_keras_2(file: h5py.File | h5py.Group) -> None:
    file.attrs["layer_names"] = [b"conv", b"pool"]
    file.attrs["backend"] = b"tensorflow"
    file.attrs["keras_version"] = "2.15.0"
    layer = file.create_group("conv")
    layer.attrs["weight_names"] = [b"conv/kernel:0", b"conv/bias:0"]
    layer.create_dataset("conv/kernel:0", data=np.zeros((3, 3, 3, 8), "f4"))
    layer.create_dataset("conv/bias:0", data=np.zeros(8, "f4"))
    file.create_group("pool").attrs["weight_names"] = np.array([], "S1")


@pytest.mark.parametrize("libver", WAYS)
def test_weights_in_keras_2_layout_are_listed(tmp_path: Path, libver: str) -> None:
    path = written(tmp_path / "vgg.h5", weights_of_keras_2, libver=libver)
    outline = hdf5_outline(path)
    assert listed(outline) == told_by_h5py(path) != {}
    assert outline.attributes == {
        "": {"layer_names": ["conv", "pool"], "backend": "tensorflow", "keras_version": "2.15.0"},
        "conv": {"weight_names": ["conv/kernel:0", "conv/bias:0"]},
        "conv/conv": {},
        "pool": {"weight_names": []},
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one model, with the state of its optimizer, as Keras 3 writes it in both layouts."""
    import keras

    folder = tmp_path_factory.mktemp("keras")
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization(),
                              keras.layers.Flatten(), keras.layers.Dense(3)])  # fmt: skip
    model.compile("adam", "mse")
    model.fit(np.zeros((2, 8, 8, 3)), np.zeros((2, 3)), verbose=0)
    model.save(folder / "whole.h5")
    model.save_weights(folder / "model.weights.h5")
    half = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype="bfloat16")])
    half.save_weights(folder / "half.weights.h5")
    return folder


def test_whole_models_of_keras_3_are_listed_with_their_configuration(trained: Path) -> None:
    outline = hdf5_outline(trained / "whole.h5")
    assert listed(outline) == told_by_h5py(trained / "whole.h5")
    assert "optimizer_weights" in outline.attributes
    assert json.loads(outline.attributes[""]["model_config"])["class_name"] == "Sequential"
    assert "adam" in outline.attributes[""]["training_config"].casefold()


def test_weights_of_keras_3_are_listed(trained: Path) -> None:
    outline = hdf5_outline(trained / "model.weights.h5")
    assert listed(outline) == told_by_h5py(trained / "model.weights.h5")
    assert outline.datasets["layers/conv2d/vars/0"].shape == (3, 3, 3, 2)
    assert any(path.startswith("optimizer/") for path in outline.datasets)


def test_bfloat16_weights_of_keras_3_are_two_raw_bytes_and_an_attribute(trained: Path) -> None:
    outline = hdf5_outline(trained / "half.weights.h5")
    (kernel,) = [path for path in outline.datasets if path.endswith("vars/0")]
    assert outline.datasets[kernel].dtype == "|V2"
    assert outline.attributes[kernel] == {"dtype": "bfloat16"}


def all_kinds(file: h5py.File) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(50, 41)).astype("f4")
    file.create_dataset("plain", data=values)
    file.create_dataset("gzip", data=values, chunks=(20, 15), compression="gzip", shuffle=True)
    file.create_dataset("all filters", data=values, chunks=(20, 15), compression=9, shuffle=True, fletcher32=True)
    file.create_dataset("checksum", data=values, chunks=(7, 41), fletcher32=True)
    file.create_dataset("growing", data=values, maxshape=(None, None), chunks=(7, 7))
    file.create_dataset("growing in one way", data=values, maxshape=(None, 41), chunks=(7, 7), compression="gzip")
    file.create_dataset("one chunk", data=values, chunks=(50, 41), compression="gzip")
    left_out = file.create_dataset("left unpacked", shape=(10,), chunks=(10,), dtype="f4", compression="gzip")
    left_out.id.write_direct_chunk((0,), np.ones(10, "f4").tobytes(), filter_mask=1)  # as HDF5 may
    file.create_dataset("part written", shape=(1000,), chunks=(10,), dtype="f4")[500] = 1
    file.create_dataset("unwritten", shape=(10, 4))
    file.create_dataset("scalar", data=np.float32(3))
    file.create_dataset("no rows", shape=(0, 4))
    file.create_dataset("no rows yet", shape=(0, 4), maxshape=(None, 4), chunks=(5, 4), compression="gzip")
    for dtype in (">f8", "<f2", "|i1", "<u8", "|b1", "<c8", "|S5", "|V2"):
        file.create_dataset(f"of {dtype[1:]}", data=np.zeros(3, dtype))
    group = file.create_group("empty groups")
    group.create_group("one")
    group.create_group("zwei, größer")
    file["again"] = file["plain"]
    for index in range(40):  # more than a group or an object keeps in its header
        file[f"many/data {index:02}"] = np.zeros(2, "f4")
        file["many"].attrs[f"attribute {index:02}"] = "x" * index


@pytest.mark.parametrize(
    "options",
    [*({"libver": way} for way in WAYS), {"track_order": True}, {"fs_strategy": "page", "fs_persist": True}],
    ids=str,
)
def test_whatever_h5py_writes_of_numbers_passes(tmp_path: Path, options: dict[str, Any]) -> None:
    path = written(tmp_path / "all.h5", all_kinds, **options)
    outline = hdf5_outline(path)
    told = told_by_h5py(path)
    # h5py visits a data set once, under either name
    assert listed(outline) == told | {name: told.get("plain", told.get("again")) for name in ("plain", "again")}
    assert len(told) == len(outline.datasets) - 1
    assert outline.attributes["many"] == {f"attribute {index:02}": "x" * index for index in range(40)}
    assert {"empty groups/one", "empty groups/zwei, größer"} < set(outline.attributes)


def test_data_sets_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        for name in "cab":
            file[f"{name}/kernel"] = 1.0

    by_name = hdf5_outline(written(tmp_path / "names.h5", fill))
    by_creation = hdf5_outline(written(tmp_path / "order.h5", fill, track_order=True))
    assert list(by_name.datasets) == ["a/kernel", "b/kernel", "c/kernel"]
    assert list(by_creation.datasets) == ["c/kernel", "a/kernel", "b/kernel"]


def test_attributes_are_texts_numbers_and_lists_of_them(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file.attrs["text"] = "größer"
        file.attrs["fixed"] = np.bytes_("größer".encode())
        file.attrs["texts"] = ["a", "", "ü"]
        file.attrs["names"] = [b"a", b"bb"]
        file.attrs["whole"] = 3
        file.attrs["half"] = 0.5
        file.attrs["long"] = np.longdouble(0.5)
        file.attrs["truth"] = True
        file.attrs["few"] = np.arange(3)
        file.attrs["many"] = np.arange(100)  # more than a list that anyone keeps settings in
        file.attrs["table"] = np.zeros((2, 2))
        file.attrs["nothing"] = h5py.Empty("f4")
        file.attrs["leads on"] = file.ref
        file.attrs.create("ragged", np.array([np.arange(1), np.arange(2)], object), dtype=h5py.vlen_dtype(int))

    assert hdf5_outline(written(tmp_path / "attributes.h5", fill)).attributes[""] == {
        **{"text": "größer", "fixed": "größer", "texts": ["a", "", "ü"], "names": ["a", "bb"]},
        **{"whole": 3, "half": 0.5, "long": 0.5, "truth": True, "few": [0, 1, 2]},
    }


def test_large_attributes_pass_whole_and_split(tmp_path: Path) -> None:
    """Keras splits what is more than the 64 KiB of an object header; the newest files take more at once."""
    names = [f"layer_{index:05}".encode() for index in range(6000)]

    def fill(file: h5py.File) -> None:
        file.attrs["model_config"] = "x" * (2 * MIB)
        for part in range(2):
            file.attrs[f"layer_names{part}"] = names[3000 * part : 3000 * (part + 1)]

    old = hdf5_outline(written(tmp_path / "old.h5", fill)).attributes[""]
    new = hdf5_outline(
        written(tmp_path / "new.h5", lambda file: file.attrs.create("layer_names", names), libver="latest")
    ).attributes[""]
    assert len(old["model_config"]) == 2 * MIB
    assert old["layer_names0"] + old["layer_names1"] == new["layer_names"] == [name.decode() for name in names]


def test_texts_in_data_sets_are_told_as_such(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["words"] = ["a", "größer"]
        file.create_dataset("chunks", data=["a", "größer"] * 20, chunks=(3,), compression="gzip")

    outline = hdf5_outline(written(tmp_path / "words.h5", fill))
    assert {path: each.dtype for path, each in outline.datasets.items()} == {"words": "string", "chunks": "string"}


def test_odd_paths_of_files_are_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(Path("--größer \n.h5"), weights_of_keras_2)
    assert hdf5_outline(path) == hdf5_outline(path.absolute())


def test_this_process_never_imports_h5py(tmp_path: Path) -> None:
    path = written(tmp_path / "all.h5", all_kinds)
    code = f"""
import sys
from pathlib import Path
from zoo.store.guards.hdf5 import hdf5_outline
assert hdf5_outline(Path({str(path)!r})).datasets
assert not {{"h5py", "numpy"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- A01, A02: damaged files, and files of other kinds ---


@pytest.mark.parametrize("percent", [10, 50, 99])
@pytest.mark.parametrize("libver", WAYS)
def test_a01_a_truncated_file_is_called_so_with_both_sizes(tmp_path: Path, libver: str, percent: int) -> None:
    path = written(tmp_path / "vgg.h5", all_kinds, libver=libver)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * percent // 100])
    text = damaged(path)
    assert "truncated HDF5" in text
    assert f"{len(whole):,} bytes" in text
    assert f"{path.stat().st_size:,}" in text


@pytest.mark.parametrize("libver", WAYS)
def test_a01_every_cut_within_the_first_bytes_is_told(tmp_path: Path, libver: str) -> None:
    path = written(tmp_path / "vgg.h5", weights_of_keras_2, libver=libver)
    whole = path.read_bytes()
    for size in range(1, 100):  # beyond either superblock
        path.write_bytes(whole[:size])
        assert "truncated HDF5" in damaged(path)


def test_a01_a_truncated_file_whose_superblock_was_changed_to_match_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "vgg.h5", lambda file: file.create_dataset("kernel", data=np.ones(100_000, "f4")))
    size = path.stat().st_size
    patched(path, struct.pack("<Q", size), struct.pack("<Q", size - 1000), 1)
    path.write_bytes(path.read_bytes()[:-1000])
    assert "h5py cannot read it" in damaged(path)


@pytest.mark.parametrize("seed", range(3))
def test_a02_random_bytes_are_no_hdf5_file(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "noise.h5"
    path.write_bytes(random.Random(seed).randbytes(10_000))
    assert "expected an HDF5 file (.h5), but it does not begin with the signature of HDF5" in damaged(path)


@pytest.mark.parametrize("libver", WAYS)
def test_a02_random_bytes_behind_a_superblock_are_told(tmp_path: Path, libver: str) -> None:
    path = written(tmp_path / "vgg.h5", weights_of_keras_2, libver=libver)
    data = path.read_bytes()
    path.write_bytes(data[:48] + random.Random(0).randbytes(len(data) - 48))
    assert "expected an HDF5 file (.h5), but" in damaged(path)


def test_a02_what_is_no_file_with_content_is_told(tmp_path: Path) -> None:
    empty = tmp_path / "empty.h5"
    empty.touch()
    assert "it is empty" in damaged(empty)
    assert "no regular file" in damaged(tmp_path)
    with pytest.raises(NotFoundError):
        hdf5_outline(tmp_path / "nothing.h5")


@pytest.mark.parametrize(
    ("at", "byte", "told"), [(8, 4, "version 4"), (13, 3, "addresses of 3 bytes"), (24, 1, "count from byte 1")]
)
def test_a02_superblocks_of_no_known_kind_are_told(tmp_path: Path, at: int, byte: int, told: str) -> None:
    path = written(tmp_path / "vgg.h5", weights_of_keras_2, libver="earliest")
    data = bytearray(path.read_bytes())
    data[at] = byte
    path.write_bytes(data)
    with pytest.raises((IntegrityError, UnsafeFileError), match=told):
        hdf5_outline(path)


def test_damaged_chunks_are_found(tmp_path: Path) -> None:
    """One byte changed in each of the two: what gzip cannot undo, and what only the checksum tells."""
    values = np.random.default_rng(0).normal(size=5000)
    for name, options in (("gzip", {"compression": "gzip"}), ("sums", {"fletcher32": True})):
        path = tmp_path / f"{name}.h5"
        written(path, lambda file, o=options: file.create_dataset("kernel", data=values, chunks=(5000,), **o))
        assert hdf5_outline(path).datasets
        with h5py.File(path) as file:
            place = file["kernel"].id.get_chunk_info(0).byte_offset + 1000
        data = bytearray(path.read_bytes())
        data[place] ^= 0x10
        path.write_bytes(data)
        assert damaged(path)


@pytest.mark.parametrize("kept", [1000, 65_535])
def test_a_chunk_that_unpacks_to_less_than_its_size_is_damaged(tmp_path: Path, kept: int) -> None:
    """HDF5 would hand out what lies behind it in memory."""
    path = written(
        tmp_path / "short.h5",
        lambda file: packed_chunks(file, "kernel", (65_536,), (65_536,), zlib.compress(bytes(kept))),
    )
    assert f"unpacks to {kept:,} bytes instead of 65,536" in damaged(path)


def test_names_that_are_none_are_told(tmp_path: Path) -> None:
    """A slash in a name would be followed like a path."""
    for number, name in enumerate([b"soft/end", b"soft\xffend"]):
        path = written(tmp_path / f"{number}.h5", lambda file: file.create_group("soft_end"), libver="earliest")
        text = damaged(patched(path, b"soft_end", name, 1))
        assert "link with the name b'soft/end'" in text or "a name in group '' is no text" in text
    path = written(tmp_path / "twice.h5", lambda file: [file.create_group(name) for name in ("one", "two")])
    assert "two links in group '' have one name" in damaged(patched(path, b"two\0", b"one\0", 1))


# --- X06: what leads out of the file ---


def sing(path: Path, canary: Canary) -> None:
    """Sees that h5py by itself falls into the trap, and that this system notes it: else silence is no proof."""
    with h5py.File(path) as file, contextlib.suppress(KeyError, OSError, RuntimeError):
        file["a/b/c/kernel" if "a" in file else "kernel"][()]
    if not canary.was_read():
        pytest.skip("this file system does not note when a file was read")


def through_external_storage(file: h5py.File, canary: Path) -> None:
    file.create_dataset("kernel", shape=(64,), dtype="u1", external=[(str(canary), 0, 64)])


def through_an_external_link(file: h5py.File, canary: Path) -> None:
    file["kernel"] = h5py.ExternalLink(str(canary), "/secret")


def through_an_external_link_of_a_deep_group(file: h5py.File, canary: Path) -> None:
    file["a/b/c/kernel"] = h5py.ExternalLink(str(canary), "/secret")


def through_a_virtual_data_set(file: h5py.File, canary: Path) -> None:
    layout = h5py.VirtualLayout(shape=(64,), dtype="u1")
    layout[:] = h5py.VirtualSource(str(canary), "secret", shape=(64,))
    file.create_virtual_dataset("kernel", layout)


def through_a_virtual_data_set_without_end(file: h5py.File, canary: Path) -> None:
    """Its shape alone is asked of the other files."""
    layout = h5py.VirtualLayout(shape=(64,), maxshape=(None,), dtype="u1")
    source = h5py.VirtualSource(str(canary), "secret", shape=(64,), maxshape=(None,))
    layout[0 : h5py.h5s.UNLIMITED] = source[0 : h5py.h5s.UNLIMITED]
    file.create_virtual_dataset("kernel", layout)


@pytest.mark.parametrize("libver", WAYS)
@pytest.mark.parametrize(
    ("fill", "kind"),
    [
        (through_external_storage, "external storage"),
        (through_an_external_link, "external link"),
        (through_an_external_link_of_a_deep_group, "external link"),
        (through_a_virtual_data_set, "virtual data set"),
        (through_a_virtual_data_set_without_end, "virtual data set"),
    ],
)
@pytest.mark.parametrize("is_hdf5", [False, True], ids=["of a text", "of an HDF5 file"])
def test_x06_what_reads_another_file_is_refused_and_that_file_not_read(
    tmp_path: Path, fill: Callable[[h5py.File, Path], None], kind: str, libver: str, is_hdf5: bool
) -> None:
    other = tmp_path / "passwd"
    if is_hdf5:
        written(other, lambda file: file.create_dataset("secret", data=np.full(64, 7, "u1"), maxshape=(None,)))
    path = written(tmp_path / "hostile.h5", lambda file: fill(file, other), libver=libver)
    canary = Canary(other)
    text = refused(path)
    assert kind in text
    assert "kernel" in text
    assert canary.secret not in text
    assert not canary.was_read()
    sing(path, canary)


@pytest.mark.parametrize("leads", ["/kernel", "/nowhere", "/loop", "/group/../../etc"])
@pytest.mark.parametrize("libver", WAYS)
def test_x06_soft_links_are_refused_wherever_they_lead(tmp_path: Path, leads: str, libver: str) -> None:
    def fill(file: h5py.File) -> None:
        file["kernel"] = np.zeros(3)
        file["loop"] = h5py.SoftLink(leads)

    text = refused(written(tmp_path / "soft.h5", fill, libver=libver))
    assert f"its 'loop' is a soft link to {leads!r}" in text


def test_x06_links_of_a_users_own_kind_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "own.h5", lambda file: through_an_external_link(file, tmp_path / "x"))
    patched(path, b"\x40\x06kernel", b"\x4d\x06kernel", 1)
    assert "its 'kernel' is a link of kind 77" in refused(path)


def test_x06_a_terminal_is_safe_from_the_names_in_a_file(tmp_path: Path) -> None:
    bell = "a\x1b[2J\u202e" + "b" * 1000
    text = refused(written(tmp_path / "bell.h5", lambda file: file.__setitem__(bell, h5py.SoftLink(bell))))
    assert text.isprintable()
    assert len(text) < 1000


def test_x06_named_datatypes_are_not_opened(tmp_path: Path) -> None:
    def used(file: h5py.File) -> None:
        file["kind"] = np.dtype("f4")
        file.create_dataset("kernel", shape=(3,), dtype=file["kind"])
        del file["kind"]  # what is left of it is its use

    path = written(tmp_path / "kind.h5", lambda file: file.__setitem__("kind", np.dtype("f4")))
    assert "its 'kind' is a named datatype" in refused(path)
    assert "lies elsewhere in the file" in refused(written(tmp_path / "used.h5", used))


# --- X07: what asks for more than it has ---


def shape_without_content(file: h5py.File) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    space = h5py.h5s.create_simple((1 << 30, 1 << 30))
    h5py.h5d.create(file.id, b"kernel", h5py.h5t.NATIVE_INT8, space, properties)


def shape_in_chunks(file: h5py.File) -> None:
    file.create_dataset("kernel", shape=(1 << 30, 1 << 30), chunks=(100, 100), dtype="f4")


def smaller_shape_without_content(file: h5py.File) -> None:
    file.create_dataset("kernel", shape=(20 << 20,), dtype="f4")  # 80 MiB: a little more than may be without content


def many_shapes_without_content(file: h5py.File) -> None:
    for number in range(10):  # each of them allowed
        file.create_dataset(f"kernel{number}", shape=(16 << 20,), dtype="f4")


def one_shape_with_many_names(file: h5py.File) -> None:
    dataset = file.create_dataset("kernel", shape=(16 << 20,), dtype="f4")
    for number in range(10):
        file[f"kernel{number}"] = dataset


def huge_chunk(file: h5py.File) -> None:
    file.create_dataset("kernel", shape=(4,), maxshape=(None,), chunks=(1 << 30,), dtype="u1")


def largest_chunk(file: h5py.File) -> None:
    file.create_dataset("kernel", shape=(600 << 20,), chunks=(600 << 20,), dtype="u1")


def plain_bomb(file: h5py.File) -> None:
    packed_chunks(file, "kernel", (1 << 30,), (4 * MIB,), deflated_zeros(4 * MIB))


def bomb_behind_the_edge(file: h5py.File) -> None:
    """The shape is small, its two chunks are not."""
    packed_chunks(file, "kernel", (2, 4), (1, 40 * MIB), deflated_zeros(40 * MIB), maxshape=(None, None))


@pytest.mark.parametrize(
    ("fill", "told"),
    [
        (shape_without_content, "larger than any model's"),
        (shape_in_chunks, "larger than any model's"),
        (smaller_shape_without_content, "more than 100 times the 0 bytes"),
        (many_shapes_without_content, "its data sets unpack to"),
        (one_shape_with_many_names, "its data sets unpack to"),
        (huge_chunk, "chunks of 1,073,741,824 bytes"),
        (largest_chunk, "chunks of 629,145,600 bytes"),
        (plain_bomb, "unpacks to 1,073,741,824 bytes"),
        (bomb_behind_the_edge, "data set 'kernel' unpacks to 83,886,080 bytes"),
    ],
)
@pytest.mark.parametrize("libver", WAYS)
def test_x07_what_claims_more_than_it_has_is_refused(
    tmp_path: Path, fill: Callable[[h5py.File], None], told: str, libver: str
) -> None:
    path = written(tmp_path / "bomb.h5", fill, libver=libver)
    assert path.stat().st_size < 2 * MIB
    text = refused(path)
    assert told in text
    assert "kernel" in text or "its data sets" in text


def test_x07_a_small_chunk_that_unpacks_to_a_gibibyte_is_refused(tmp_path: Path) -> None:
    """Its data set tells of 64 KiB; HDF5 inflates all that comes."""
    path = written(
        tmp_path / "bomb.h5",
        lambda file: packed_chunks(file, "kernel", (65_536,), (65_536,), deflated_zeros(1 << 30)),
    )
    assert "data set 'kernel' unpacks to more than the 65,5" in refused(path)


def test_x07_a_little_more_than_the_chunk_is_refused_too(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(65_537))
    path = written(tmp_path / "bomb.h5", lambda file: packed_chunks(file, "kernel", (65_536,), (65_536,), packed))
    assert "unpacks to 65,537 bytes instead of 65,536" in refused(path)


def test_x07_a_shape_changed_in_the_bytes_is_refused(tmp_path: Path) -> None:
    """Of a chunked data set nothing else in the file contradicts it."""
    path = written(
        tmp_path / "patched.h5",
        lambda file: file.create_dataset("kernel", data=np.ones((123, 321), "f4"), chunks=(10, 10)),
        libver="earliest",
    )
    patched(path, struct.pack("<QQ", 123, 321), struct.pack("<QQ", 1 << 40, 1 << 20))
    assert "larger than any model's" in refused(path)


def test_x07_a_shape_changed_in_the_bytes_of_a_plain_data_set_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path / "patched.h5", lambda file: file.create_dataset("kernel", data=np.ones((123, 321), "f4")))
    patched(path, struct.pack("<QQ", 123, 321), struct.pack("<QQ", 123, 322))
    assert "h5py cannot read it" in damaged(path)


def test_x07_data_sets_in_one_place_are_refused(tmp_path: Path) -> None:
    path = one_place_many_times(tmp_path / "overlap.h5", times=8, size=1 << 16)
    assert "lie one over another" in refused(path)


@pytest.mark.parametrize("number", [4, 6, 305, 32_004, 65_000], ids=lambda number: f"filter {number}")
def test_x07_filters_of_other_numbers_are_refused(tmp_path: Path, number: int) -> None:
    path = written(tmp_path / "filter.h5", lambda file: with_filter(file, "kernel", number, h5py.h5z.FLAG_OPTIONAL))
    assert f"data set 'kernel' needs filter {number}" in refused(path)


def test_x07_a_filter_that_h5py_brings_along_is_refused(tmp_path: Path) -> None:
    path = written(
        tmp_path / "lzf.h5", lambda file: file.create_dataset("kernel", data=np.zeros(100), compression="lzf")
    )
    assert "needs filter 32000" in refused(path)


def test_x07_a_filter_that_is_not_optional_is_refused(tmp_path: Path) -> None:
    path = written(
        tmp_path / "filter.h5",
        lambda file: file.create_dataset("kernel", data=np.zeros(100), fletcher32=True),
        libver="earliest",
    )
    entry = struct.Struct("<4H10s")  # number, length of the name, flags (0: mandatory), values, name
    name = b"fletcher32"
    patched(path, entry.pack(3, 16, 0, 0, name), entry.pack(305, 16, 0, 0, name), 1)
    assert "needs filter 305" in refused(path)


def test_x07_one_filter_twice_is_refused(tmp_path: Path) -> None:
    """Zeros packed twice are a millionth of themselves."""

    def fill(file: h5py.File) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((MIB,))
        for _ in range(2):
            properties.set_filter(1, h5py.h5z.FLAG_OPTIONAL, (9,))
        h5py.h5d.create(file.id, b"kernel", h5py.h5t.NATIVE_INT8, h5py.h5s.create_simple((MIB,)), properties)

    assert "one filter twice (1, 1)" in refused(written(tmp_path / "twice.h5", fill))


@pytest.mark.parametrize(
    ("dtype", "told"),
    [
        (h5py.ref_dtype, "references"),
        (h5py.regionref_dtype, "references"),
        (h5py.vlen_dtype("f4"), "sequences of any length"),
        (np.dtype([("a", "f4"), ("b", h5py.ref_dtype)]), "references"),
        (np.dtype([("a", "f4"), ("b", h5py.string_dtype())]), "sequences of any length"),
    ],
    ids=["references", "regions", "sequences", "reference in a record", "text in a record"],
)
def test_x07_data_sets_of_what_is_no_number_are_refused(tmp_path: Path, dtype: Any, told: str) -> None:
    path = written(tmp_path / "objects.h5", lambda file: file.create_dataset("kernel", shape=(3,), dtype=dtype))
    assert f"data set 'kernel' holds {told}" in refused(path)


def test_x07_group_cycles_are_refused(tmp_path: Path) -> None:
    def own_parent(file: h5py.File) -> None:
        file["a/b/parent"] = file["a"] if "a" in file else file.create_group("a")

    def own_root(file: h5py.File) -> None:
        file["a/root"] = file["/"]

    def doubling(file: h5py.File) -> None:
        group = file
        for _ in range(40):  # 2^40 paths in 40 groups
            below = group.create_group("left")
            group["right"] = below
            group = below

    for number, fill in enumerate((own_parent, own_root, doubling)):
        for libver in WAYS:
            path = written(tmp_path / f"{number}{libver}.h5", fill, libver=libver)
            assert "is a group that has another path too" in refused(path)


def deep(file: h5py.File) -> None:
    group = file
    for _ in range(70):
        group = group.create_group("x")


def wide(file: h5py.File) -> None:
    group = file.create_group("x").id
    for number in range(100_001):
        group.links.create_hard(b"%d" % number, group, b".")


def wordy(file: h5py.File) -> None:
    file.create_group("x" * 2000)


def talkative(file: h5py.File) -> None:
    file.attrs["model_config"] = "x" * (65 * MIB)


def heavy(file: h5py.File) -> None:
    file.attrs["names"] = np.zeros(65, f"S{MIB}")


@pytest.mark.parametrize(
    ("fill", "told"),
    [
        (deep, "nest more than 64 deep"),
        (wide, "more than 100,000 links"),
        (wordy, "more than 1,024 bytes"),
        (talkative, "more than 67,108,864 bytes of names and attributes"),
        (heavy, "has 68,157,440 bytes, more than 67,108,864"),
    ],
)
def test_x07_too_much_to_tell_is_refused(tmp_path: Path, fill: Callable[[h5py.File], None], told: str) -> None:
    assert told in refused(written(tmp_path / "much.h5", fill, libver="latest"))


@pytest.mark.parametrize("libver", WAYS)
def test_thousands_of_groups_and_attributes_pass(tmp_path: Path, libver: str) -> None:
    def fill(file: h5py.File) -> None:
        for number in range(3000):  # three times the layers of the largest keras.applications model
            file.create_group(f"layer {number}").attrs["weight_names"] = number
        for number in range(3000):
            file.attrs[f"attribute {number}"] = number

    outline = hdf5_outline(written(tmp_path / "many.h5", fill, libver=libver))
    assert len(outline.attributes) == 3001
    assert outline.attributes[""] == {f"attribute {number}": number for number in range(3000)}


def test_a_user_block_is_refused(tmp_path: Path) -> None:
    for size in (512, 1024, 4096):
        path = written(tmp_path / f"{size}.h5", weights_of_keras_2, userblock_size=size)
        assert f"begins at byte {size:,} only, behind a user block" in refused(path)


# --- bytes changed at random ---


def mutated(data: bytes, generator: random.Random) -> bytes:
    """Returns `data` with one to eight places changed: a bit, a byte, an address."""
    changed = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 8))):
        place = generator.randrange(8, len(changed))
        change = generator.randrange(3)
        if change == 0:
            changed[place] ^= 1 << generator.randrange(8)
        elif change == 1:
            changed[place] = generator.choice((0, 1, 0x7F, 0xFF))
        else:
            changed[place : place + 8] = generator.choice((b"\xff" * 8, bytes(8), struct.pack("<Q", len(data))))
    return bytes(changed)


@pytest.mark.parametrize("libver", WAYS)
def test_changed_bytes_end_in_an_outline_or_a_refusal(tmp_path: Path, libver: str) -> None:
    path = written(tmp_path / "vgg.h5", all_kinds, libver=libver)
    data, generator = path.read_bytes(), random.Random(4)
    ends = set()
    for _ in range(12):  # each is a process or two
        path.write_bytes(mutated(data, generator))
        try:
            ends.add(type(hdf5_outline(path)))
        except (IntegrityError, UnsafeFileError) as error:
            ends.add(type(error))
    assert len(ends) > 1  # both kinds of end were seen
