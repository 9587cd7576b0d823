"""The guard of TensorFlow checkpoints, with TensorFlow as the judge of ordinary ones; hostile ones are hand-made."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from model_files import (
    block,
    bundle,
    bundle_entry,
    crc32c,
    field,
    saved_by_tensorflow,
    saved_by_tensorflow_1,
    shape_of,
    table,
    trailer,
    varint,
    write_checkpoint,
)

from zoo.errors import IntegrityError, UnsafeFileError, ZooError
from zoo.store.guards.checkpoints import checkpoint_files, checkpoint_outline, checkpoint_prefix
from zoo.store.guards.tensors import Tensor


def told_by_tensorflow(prefix: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    import tensorflow as tf

    dtypes = tf.train.load_checkpoint(str(prefix)).get_variable_to_dtype_map()
    return {name: (tuple(shape), dtypes[name].name) for name, shape in tf.train.list_variables(str(prefix))}


def refuses(prefix: Path, cause: str, error: type[ZooError] = UnsafeFileError) -> None:
    """Asserts that a checkpoint is refused in words that name it and are fit for a terminal."""
    with pytest.raises(error, match=cause) as caught:
        checkpoint_outline(prefix)
    assert str(prefix) in str(caught.value)
    assert str(caught.value).isprintable()


# --- ordinary ---


def agrees_with_tensorflow(prefix: Path) -> dict[str, Tensor]:
    found = checkpoint_outline(prefix)
    assert {name: (each.shape, each.dtype) for name, each in found.items()} == told_by_tensorflow(prefix)
    assert list(found) == sorted(found)
    return found


def test_a_checkpoint_of_tensorflow_2_is_told_as_tensorflow_tells_it(tmp_path: Path) -> None:
    found = agrees_with_tensorflow(saved_by_tensorflow(tmp_path))
    assert found["_CHECKPOINTABLE_OBJECT_GRAPH"].dtype == "string"
    data = (tmp_path / "net.ckpt.data-00000-of-00001").read_bytes()
    kernel = found["kernel/.ATTRIBUTES/VARIABLE_VALUE"]
    values = struct.unpack("<12f", data[kernel.offset : kernel.offset + kernel.bytes])
    assert values == tuple(range(12))


@pytest.mark.parametrize("version", [1, 2])
def test_a_checkpoint_of_tensorflow_1_is_told_as_tensorflow_tells_it(tmp_path: Path, version: int) -> None:
    found = agrees_with_tensorflow(saved_by_tensorflow_1(tmp_path / "slim", version))
    assert found["parts"].shape == (10, 4)
    assert found["parts"].bytes >= 160  # all three pieces of 4 bytes an element


def test_a_checkpoint_with_more_names_than_a_block_holds_is_told_as_tensorflow_tells_it(tmp_path: Path) -> None:
    import tensorflow as tf

    # a block ends after 256 KiB, and what names begin with is not stored again
    names = [f"{number:05}/{'x' * 190}" for number in range(3000)]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "net"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.zeros(number % 3) for number in range(len(names))],
    )
    assert (tmp_path / "net.index").stat().st_size > 2 * 262_144
    assert len(agrees_with_tensorflow(tmp_path / "net")) == 3000


def test_a_checkpoint_in_several_data_files_is_told_as_tensorflow_tells_it(tmp_path: Path) -> None:
    import tensorflow as tf

    parts = []
    for number in range(2):
        parts.append(str(tmp_path / f"part{number}"))
        tf.raw_ops.SaveV2(
            prefix=parts[-1], tensor_names=[f"w{number}"], shape_and_slices=[""], tensors=[tf.ones((2, number + 1))]
        )
    prefix = tmp_path / "net"
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(prefix))
    found = agrees_with_tensorflow(prefix)
    assert {name: each.shard for name, each in found.items()} == {"w0": 0, "w1": 1}
    assert [path.name for path in checkpoint_files(prefix)] == [
        "net.index",
        "net.data-00000-of-00002",
        "net.data-00001-of-00002",
    ]


def test_the_hand_made_checkpoint_of_these_tests_is_read_by_tensorflow_too(tmp_path: Path) -> None:
    entries = {"a": bundle_entry((2, 3), size=24), "b": bundle_entry((), 9, offset=24, size=8)}
    agrees_with_tensorflow(write_checkpoint(tmp_path / "net", entries))


def test_the_files_of_a_checkpoint_are_its_own_alone(tmp_path: Path) -> None:
    prefix = saved_by_tensorflow_1(tmp_path / "slim", 2)
    saved_by_tensorflow_1(tmp_path / "slim", 2, "net.ckpt-1")
    prefix.with_name("net.ckpt.data-00000-of-00002").write_bytes(b"of an older save")
    assert [path.name for path in checkpoint_files(prefix)] == [
        "net.ckpt.index",
        "net.ckpt.data-00000-of-00001",
        "net.ckpt.meta",
    ]


@pytest.mark.parametrize("name", ["net-1.index", "net-1.meta", "net-1.data-00003-of-00010", "net-1"])
def test_every_file_of_a_checkpoint_tells_its_prefix(name: str) -> None:
    assert checkpoint_prefix(Path("ckpt", name)) == Path("ckpt/net-1")


# --- missing and damaged ---


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a06_an_index_without_one_of_its_data_files_names_that_file(tmp_path: Path, number: int) -> None:
    entries = {f"w{shard}": bundle_entry((2,), shard=shard, size=8) for shard in range(3)}
    prefix = write_checkpoint(tmp_path / "net", entries, shards=3)
    for shard in set(range(3)) - {number}:
        prefix.with_name(f"net.data-{shard:05}-of-00003").write_bytes(bytes(8))
    refuses(prefix, f"data file 'net.data-{number:05}-of-00003' is missing", IntegrityError)
    with pytest.raises(IntegrityError, match=f"net.data-{number:05}-of-00003") as caught:
        checkpoint_files(prefix)
    assert caught.value.exit_code == 4


def test_a06_data_files_without_their_index_say_which_file_is_missing(tmp_path: Path) -> None:
    prefix = saved_by_tensorflow(tmp_path)
    prefix.with_name("net.ckpt.index").unlink()
    refuses(prefix, "expected .*net.ckpt.index, and there is no such file", IntegrityError)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_an_index_that_is_cut_short_is_damaged(tmp_path: Path, part: float) -> None:
    prefix = saved_by_tensorflow(tmp_path)
    index = prefix.with_name("net.ckpt.index")
    index.write_bytes(index.read_bytes()[: int(part * index.stat().st_size)])
    refuses(prefix, "does not end as one", IntegrityError)


@pytest.mark.parametrize("version", [1, 2])
def test_a_flipped_bit_anywhere_in_the_blocks_of_a_table_is_found(tmp_path: Path, version: int) -> None:
    prefix = saved_by_tensorflow_1(tmp_path / "slim", version)
    index = prefix if version == 1 else prefix.with_name("net.ckpt.index")
    whole = index.read_bytes()
    for at in range(0, len(whole) - 48, 7):  # the last 48 bytes have no checksum
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(IntegrityError):
            checkpoint_outline(prefix)


@pytest.mark.parametrize(
    ("index", "cause"),
    [
        pytest.param(b"", "does not end as one", id="empty"),
        pytest.param(random.Random(0).randbytes(5000), "does not end as one", id="random"),
        pytest.param(table([(b"w", bundle_entry((2,), size=8))]), "no header", id="without-header"),
        pytest.param(bundle({}, shards=0), "tells of 0 data files", id="no-data-file"),
        pytest.param(bundle({}, shards=2**62), "data files, and 1 to 10,000", id="too-many-data-files"),
        pytest.param(bundle({}, header=field(2, 1)), "big-endian", id="a07-big-endian"),
        pytest.param(bundle({"w": bundle_entry((2,), 99, size=8)}), "unknown dtype 99", id="dtype-99"),
        pytest.param(bundle({"w": bundle_entry((2,), 20, size=8)}), "unknown dtype 20", id="resource"),
        pytest.param(bundle({"w": b"\x0a"}), "has no end", id="entry-is-no-message"),
        pytest.param(bundle({"w": field(1, 1) + field(2, field(3, 1))}), "no shape", id="unknown-rank"),
        pytest.param(table([(b"", field(1, 1)), (b"\xff", bundle_entry(()))]), "no text in UTF-8", id="name-no-text"),
        pytest.param(table([(b"", field(1, 1)), (b"\0w", bundle_entry(()))]), "is none", id="name-of-a-piece-cut"),
        pytest.param(table([(b"", field(1, 1))], compression=1), "compressed", id="snappy"),
    ],
)
def test_what_is_no_index_is_refused(tmp_path: Path, index: bytes, cause: str) -> None:
    prefix = write_checkpoint(tmp_path / "net", {})
    prefix.with_name("net.index").write_bytes(index)
    refuses(prefix, cause, IntegrityError)


# --- claims ---

ONE = bundle_entry((2, 3), size=24)


@pytest.mark.parametrize(
    ("entries", "cause"),
    [
        pytest.param({"w": bundle_entry((2, 4), size=24)}, "claims 32 bytes .* and has 24", id="shape-too-large"),
        pytest.param({"w": bundle_entry((2, 2), size=24)}, "claims 16 bytes .* and has 24", id="shape-too-small"),
        pytest.param({"w": bundle_entry((2, 3), 2, size=24)}, "claims 48 bytes", id="dtype-too-large"),
        pytest.param({"w": bundle_entry((2**20, 2**20), size=2**42)}, "reaches to byte", id="2-to-the-40-elements"),
        pytest.param({"w": bundle_entry((2**41,), size=24)}, "claims the shape", id="2-to-the-41-elements"),
        pytest.param({"w": bundle_entry((2**62, 4), size=0)}, "claims the shape", id="product-of-2-to-the-64"),
        pytest.param({"w": bundle_entry((-1, -6), size=24)}, "claims the shape", id="negative-shape"),
        pytest.param({"w": bundle_entry((16,), offset=1, size=64)}, "reaches to byte 65 .* has 64", id="past-the-end"),
        pytest.param({"w": bundle_entry((2, 3), offset=-1, size=24)}, "outside of all files", id="negative-offset"),
        pytest.param({"w": bundle_entry((2, 3), offset=2**62, size=24)}, "reaches to byte", id="offset-2-to-the-62"),
        pytest.param({"w": bundle_entry((2, 3), size=-24)}, "outside of all files", id="negative-size"),
        pytest.param({"w": bundle_entry((2, 3), shard=1, size=24)}, "outside of all files", id="shard-of-no-file"),
        pytest.param({"w": bundle_entry((2, 3), shard=-1, size=24)}, "outside of all files", id="negative-shard"),
        pytest.param({"v": ONE, "w": bundle_entry((2,), offset=23, size=8)}, "'v' and 'w' lie over", id="overlap"),
        pytest.param({"v": ONE, "w": ONE}, "'v' and 'w' lie over", id="one-place-for-two"),
        pytest.param({"w\x1b[2J": bundle_entry((9,), size=24)}, "claims 36 bytes", id="name-with-an-escape"),
        pytest.param({"s": bundle_entry((100,), 7, size=24)}, "claims 100 bytes", id="more-texts-than-bytes"),
        pytest.param({"s": bundle_entry((2**39,), 7, size=2**40)}, "reaches to byte", id="2-to-the-39-texts"),
        pytest.param(
            {"s": bundle_entry((2,), 7, size=24)}, "texts of tensor 's' have other lengths", id="text-lengths"
        ),
        pytest.param({"p": bundle_entry((8,), more=field(7, b""))}, "pieces of tensor 'p'", id="pieces-missing"),
    ],
)
def test_x15_a_tensor_that_claims_what_its_file_has_not_is_refused(
    tmp_path: Path, entries: dict[str, bytes], cause: str
) -> None:
    refuses(write_checkpoint(tmp_path / "net", entries, bytes(64)), cause)


def test_x15_a_data_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    prefix = saved_by_tensorflow_1(tmp_path / "slim", 2)
    data = prefix.with_name("net.ckpt.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-1])
    refuses(prefix, "reaches to byte .*cut short")


def test_x15_the_pieces_of_a_tensor_are_measured_as_tensors_are(tmp_path: Path) -> None:
    whole = bundle_entry((8,), more=field(7, b""))
    key = b"\0p\0\1\1\1\x80\x88"  # zero, the name, and from where to where: in TensorFlow's ordered code
    for piece, cause in (
        (bundle_entry((8,), size=16), "claims 32 bytes .* and has 16"),
        (bundle_entry((4,), size=16), "pieces of tensor 'p' do not make up"),
        (bundle_entry((8,), offset=60, size=32), "reaches to byte 92"),
    ):
        prefix = write_checkpoint(tmp_path / "net", {})
        prefix.with_name("net.index").write_bytes(table([(b"", field(1, 1)), (key, piece), (b"p", whole)]))
        refuses(prefix, cause)
    right = table([(b"", field(1, 1)), (key, bundle_entry((8,), offset=4, size=32)), (b"p", whole)])
    prefix.with_name("net.index").write_bytes(right)
    assert checkpoint_outline(prefix) == {"p": Tensor((8,), "float32", 0, 4, 32)}


def test_x15_the_pieces_of_a_tensor_are_of_its_type(tmp_path: Path) -> None:
    """Eight pieces of int32 make up the bytes of eight float32 as well, and mean other numbers."""
    key, prefix = b"\0p\0\1\1\1\x80\x88", write_checkpoint(tmp_path / "net", {})
    for whole, piece in ((1, 3), (1, 2), (3, 1), (7, 4), (4, 7)):
        size = 8 * {1: 4, 2: 8, 3: 4, 4: 1, 7: 1}[piece]
        entries = [
            (b"", field(1, 1)), (key, bundle_entry((8,), piece, size=size)),
            (b"p", bundle_entry((8,), whole, more=field(7, b""))),
        ]  # fmt: skip
        prefix.with_name("net.index").write_bytes(table(entries))
        refuses(prefix, "tensor 'p' is of type .*, and a piece of it of |texts of tensor 'p'")


@pytest.mark.parametrize("parent", [None, bundle_entry((8,), offset=32, size=32)], ids=["none", "in-one-piece"])
def test_x15_pieces_of_a_tensor_that_has_none_are_refused(parent: bytes | None, tmp_path: Path) -> None:
    prefix = write_checkpoint(tmp_path / "net", {})
    entries = [(b"", field(1, 1)), (b"\0p\0\1\1\1\x80\x88", bundle_entry((8,), size=32))]
    prefix.with_name("net.index").write_bytes(table(entries + ([(b"p", parent)] if parent else [])))

    refuses(prefix, "pieces of tensor 'p', and no such tensor")


# --- tables that two readers read differently ---

HEAD = (b"", field(1, 1))
W = (b"w", bundle_entry((), size=4))


@pytest.mark.parametrize(
    ("index", "cause"),
    [
        pytest.param(table([HEAD, W, (b"v", W[1])]), "not in order", id="names-out-of-order"),
        pytest.param(table([HEAD, W, W]), "not in order", id="a-name-twice"),
        pytest.param(table([HEAD, W], [(b"v", W[1])]), "not in order", id="blocks-out-of-order"),
        pytest.param(table([HEAD, W], raw=[block([HEAD, W], (0, 3))]), "two things", id="search-begins-inside"),
        pytest.param(table([HEAD, W], raw=[block([HEAD, W], (5,))]), "two things", id="search-begins-late"),
        pytest.param(table([HEAD, W], raw=[block([HEAD, W], (0, 0))]), "two things", id="search-begins-twice"),
        pytest.param(
            table([HEAD, (b"x" * 20_000, W[1])]), "longer than 16,384 bytes", id="a-name-of-twenty-thousand-bytes"
        ),
    ],
)
def test_a_table_that_two_readers_read_differently_is_refused(tmp_path: Path, index: bytes, cause: str) -> None:
    prefix = write_checkpoint(tmp_path / "net", {})
    prefix.with_name("net.index").write_bytes(index)
    refuses(prefix, cause)


def test_blocks_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    # one block, to which the index leads again and again: a small file would be read without end
    content = block([HEAD])
    index = block([(name, varint(0) + varint(len(content))) for name in (b"a", b"b", b"c")])
    body, places = content + trailer(content), b""
    for part in (block([]), index):
        places += varint(len(body)) + varint(len(part))
        body += part + trailer(part)
    prefix = write_checkpoint(tmp_path / "net", {})
    prefix.with_name("net.index").write_bytes(body + places.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db"))
    refuses(prefix, "lie over each other")


def test_the_checksum_of_these_tests_is_crc32c() -> None:
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


# --- the old kind, in one file ---


def old_checkpoint(*tensors: tuple[str, tuple[int, ...], int, bytes | None]) -> bytes:
    """Returns a checkpoint of one file, of tensors with name, shape, dtype and what is told of their values."""
    described = b"".join(
        field(1, field(1, name) + field(2, shape_of(*shape)) + field(3, dtype) + field(4, field(1, b"")))
        for name, shape, dtype, _ in tensors
    )
    values = [
        (f"\0{name}".encode(), field(2, field(1, name) + field(2, field(1, b"")) + field(3, value)))
        for name, _, _, value in tensors
        if value is not None
    ]
    return table([(b"", field(1, described)), *values])


SIX = field(5, bytes(24))  # six float32, packed


def test_a_hand_made_checkpoint_of_one_file_passes(tmp_path: Path) -> None:
    path = tmp_path / "net.ckpt"
    path.write_bytes(old_checkpoint(("v", (2, 3), 1, SIX), ("w", (6,), 1, SIX)))
    assert {name: each.shape for name, each in checkpoint_outline(path).items()} == {"v": (2, 3), "w": (6,)}


@pytest.mark.parametrize(
    ("data", "cause", "error"),
    [
        pytest.param(old_checkpoint(("w", (7,), 1, SIX)), "claims 28 bytes", UnsafeFileError, id="x15-shape-too-large"),
        pytest.param(old_checkpoint(("w", (6,), 2, SIX)), "claims 48 bytes", UnsafeFileError, id="x15-dtype-too-large"),
        pytest.param(
            old_checkpoint(("w", (2**30, 2**11), 1, SIX)), "claims the shape", UnsafeFileError, id="x15-2-to-the-41"
        ),
        pytest.param(old_checkpoint(("w", (6,), 1, None)), "no values of the", IntegrityError, id="no-values"),
        pytest.param(
            old_checkpoint(("w", (6,), 1, SIX), ("w", (6,), 1, None)), "'w' twice", UnsafeFileError, id="told-twice"
        ),
        pytest.param(
            table([(b"", field(1, b"")), (b"\0w", field(2, field(1, "w") + field(3, SIX)))]),
            "of which its header does not tell",
            UnsafeFileError,
            id="values-of-nothing",
        ),
        pytest.param(table([(b"", field(1, b"")), (b"\0w", b"")]), "holds no tensor", IntegrityError, id="no-tensor"),
        pytest.param(table([(b"", b"")]), "no header", IntegrityError, id="no-header"),
    ],
)
def test_a_checkpoint_of_one_file_that_lies_is_refused(
    tmp_path: Path, data: bytes, cause: str, error: type[ZooError]
) -> None:
    path = tmp_path / "net.ckpt"
    path.write_bytes(data)
    refuses(path, cause, error)
