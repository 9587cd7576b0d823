"""The guard of TensorFlow checkpoints: what tensors there are, and whether the files can hold what they claim.

A checkpoint is a table (LevelDB's, of names and descriptions) in `.index`, with the values in `.data-?????-of-?????`;
or, as TF-Slim's of 2016 are, one table with the values in it. Both are read here with a reader of our own. Checksums of
descriptions are compared, as long as that takes seconds; those of values are left to whoever reads the values.
Formats: https://github.com/google/leveldb/blob/main/doc/table_format.md; tensor_bundle.proto and
saved_tensor_slice.proto of TensorFlow.
"""

from __future__ import annotations

import errno
import functools
import math
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from zoo.errors import DiskError, IntegrityError, UnsafeFileError
from zoo.files import disk_errors
from zoo.store.guards.wire import BYTES, FIXED32, VARINT, Field, Wire, explained, level, signed
from zoo.store.unpacking import Source, opened, shown

NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
"""What the system says of a path at which nothing can be."""

_WHAT = "the index of a TensorFlow checkpoint"
_WHAT_OLD = "a TensorFlow checkpoint in one file"
_SHARD_NAME = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")
_MOST_SHARDS = 10_000
_MOST_TEXTS = 5_000_000  # some seconds
_MOST_ELEMENTS = 1 << 40
_MOST_DIMENSIONS = 254  # TensorFlow's own limit
_LARGEST_INDEX = 64 << 20
_LONGEST_KEY = 1 << 14


@dataclass(frozen=True)
class Tensor:
    """A tensor of a checkpoint.

    Attributes:
        shape: Its shape.
        dtype: TensorFlow's name: "float32", "bfloat16", "string".
        shard: In which data file it begins; 0 in a checkpoint of one file.
        offset: Where in that file its bytes begin; of one in several pieces, those of the first piece.
        bytes: How many they are, as the file has them, of all pieces.
    """

    shape: tuple[int, ...]
    dtype: str
    shard: int
    offset: int
    bytes: int


def checkpoint_outline(prefix: Path, name: str = "") -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint by name, in the order of the table, which is that of their names.

    Args:
        prefix: The path that all its files begin with, or the one file of an old checkpoint.
        name: What it is called in messages; empty: the path of the file that is wrong.

    Raises:
        IntegrityError: A file of it is missing, damaged, or of a kind that this version does not read.
        UnsafeFileError: Tensors claim more than the files have, lie over each other, or contradict themselves.
        DiskError: A file of it cannot be read.
    """
    index = index_of(prefix)
    if index == prefix:
        with explained(name or str(index), _WHAT_OLD), opened(index) as source:
            return _old_outline(Wire(source))
    with explained(name or str(index), _WHAT):
        entries = _bundle(index)
        sizes = {number: _size(path) for number, path in enumerate(_shards(prefix, entries.shards))}
        _refuse_bad_places(entries.pieces, sizes)
        _refuse_bad_texts(prefix, entries)
        return {name: entries.tensor(name) for name in entries.tensors}


def checkpoint_files(prefix: Path) -> tuple[Path, ...]:
    """Returns the files of a checkpoint: its index and data, or the one file; and the `.meta` with its graph, if any.

    Raises:
        IntegrityError: A file of it is missing, or the index is damaged.
        UnsafeFileError: The index contradicts itself.
        DiskError: A file of it cannot be read.
    """
    index = index_of(prefix)
    shards: tuple[Path, ...] = ()
    if index != prefix:
        with explained(str(index), _WHAT):
            shards = _shards(prefix, _bundle(index).shards)
    meta = prefix.with_name(f"{prefix.name}.meta")
    return (index, *shards, *((meta,) if _size(meta) is not None else ()))


def checkpoint_prefix(path: Path) -> Path:
    """Returns the prefix of the checkpoint that a file is of, by its name alone.

    >>> checkpoint_prefix(Path("ckpt/net-100.data-00000-of-00001")).name
    'net-100'
    """
    if match := _SHARD_NAME.fullmatch(path.name):
        return path.with_name(match[1])
    return path.with_suffix("") if path.suffix in (".index", ".meta") and path.stem else path


def index_of(prefix: Path) -> Path:
    """Returns the file that holds the names of a checkpoint's tensors.

    Raises:
        IntegrityError: There is none.
    """
    index = prefix.with_name(f"{prefix.name}.index")
    if _size(index) is not None:
        return index
    if _size(prefix) is not None:
        return prefix
    raise IntegrityError(
        f"The checkpoint {prefix} is not whole: expected {index}, and there is no such file. Put all files that begin "
        f"with {prefix.name} into one folder, or get them again."
    )


def is_table(source: Source) -> bool:
    """Returns whether a file ends as the index of a checkpoint does, or a checkpoint of one file."""
    return source.size >= _FOOTER and source.read_at(source.size - len(_MAGIC), len(_MAGIC)) == _MAGIC


def is_old_checkpoint(source: Source) -> bool:
    """Returns whether a file is a checkpoint of one file, by its first entry."""
    if not is_table(source):
        return False
    try:
        wire = Wire(source)
        _, start, stop = next(_table_entries(wire))
        return any(field.wire == BYTES and field.number == 1 for field in wire.fields(start, stop))
    except (IntegrityError, UnsafeFileError, StopIteration):
        return False


def _size(path: Path) -> int | None:
    """Returns the size of a regular file, or None where there is none."""
    try:
        with disk_errors(path, "check its permissions and the disk", "read"):
            status = path.stat()
    except DiskError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in NOWHERE:
            return None
        raise
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _shards(prefix: Path, count: int) -> tuple[Path, ...]:
    """Returns the data files of a checkpoint, which must all be there."""
    names = [f"{prefix.name}.data-{number:05}-of-{count:05}" for number in range(count)]
    for name in names:
        if _size(prefix.with_name(name)) is None:
            raise IntegrityError(f"its data file {shown(name)} is missing in {prefix.parent}")
    return tuple(prefix.with_name(name) for name in names)


# --- the table: blocks of sorted keys, each with a checksum, and a block that tells where they are ---

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER = 48
_TRAILER = 5  # the kind of compression, and the checksum
_MOST_RESTARTS = 1 << 20  # places in a block where TensorFlow begins to search: one for sixteen names
_CHECKED = 1 << 20  # bytes of one block, and of all together sixteen times that, whose checksum is computed


def _table_entries(wire: Wire) -> Iterator[tuple[bytes, int, int]]:
    """Yields the keys of a table, strictly ascending, and from where to where in the file their values lie."""
    if wire.size < _FOOTER or wire.read_at(wire.size - len(_MAGIC), len(_MAGIC)) != _MAGIC:
        raise IntegrityError("it does not end as one, so it is cut short or none")
    start, stop = wire.size - _FOOTER, wire.size - len(_MAGIC)
    checksums = _Checksums()
    other, at = _handle(wire, start, stop)
    index, _ = _handle(wire, at, stop)
    for _ in _block(wire, *other, checksums):  # TensorFlow writes nothing there
        raise UnsafeFileError("it has a table of things that TensorFlow does not write")
    last, end = b"", 0
    is_first = True
    for upper, place, place_stop in _block(wire, *index, checksums):
        (offset, size), after = _handle(wire, place, place_stop)
        if after != place_stop or offset < end:
            raise UnsafeFileError("its blocks lie over each other")
        end = offset + size
        for key, value, value_stop in _block(wire, offset, size, checksums):
            if not (is_first or last < key) or key > upper:
                raise UnsafeFileError("its names are not in order")
            last, is_first = key, False
            yield key, value, value_stop
        if last > upper:
            raise UnsafeFileError("its names are not in order")
        last = max(last, upper)


def _handle(wire: Wire, at: int, stop: int) -> tuple[tuple[int, int], int]:
    offset, at = wire.varint(at, stop)
    size, at = wire.varint(at, stop)
    return (offset, size), at


class _Checksums:
    """Compares the checksums of blocks, as long as that takes seconds."""

    def __init__(self) -> None:
        self._left = 16 * _CHECKED

    def check(self, wire: Wire, offset: int, size: int) -> None:
        self._left -= size
        if size > _CHECKED or self._left < 0:
            return
        data = wire.read_at(offset, size + _TRAILER)
        if _masked_crc32c(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise IntegrityError(f"its block at byte {offset:,} is damaged (wrong checksum)")


def _block(wire: Wire, offset: int, size: int, checksums: _Checksums) -> Iterator[tuple[bytes, int, int]]:
    """Yields the entries of a block: the key, and from where to where its value lies.

    At its end it has been seen that the places where TensorFlow begins to search are among those entries.
    """
    wire.count()
    stop = offset + size
    if stop + _TRAILER > wire.size - _FOOTER or size < 8:
        raise UnsafeFileError("a block of it lies outside of the file")
    if wire.read_at(stop, 1) != b"\0":
        raise IntegrityError("it is compressed, which TensorFlow's writers do not do")
    checksums.check(wire, offset, size)
    count = int.from_bytes(wire.read_at(stop - 4, 4), "little")
    if not 1 <= count <= min((size - 4) // 4, _MOST_RESTARTS):
        raise IntegrityError(f"its block at byte {offset:,} is damaged")
    entries_stop = stop - 4 - 4 * count
    restarts = wire.read_at(entries_stop, 4 * count)
    at, key, whole = offset, b"", {0}
    while at < entries_stop:
        wire.count()
        begin = at
        key, shared, value, at = _entry(wire, at, entries_stop, key)
        if not shared:
            whole.add(begin - offset)
        yield key, value, at
    places = [int.from_bytes(restarts[place : place + 4], "little") for place in range(0, len(restarts), 4)]
    if places[0] != 0 or not whole.issuperset(places) or any(one >= other for one, other in pairwise(places)):
        raise UnsafeFileError(f"its block at byte {offset:,} tells two readers two things")


def _entry(wire: Wire, at: int, stop: int, previous: bytes) -> tuple[bytes, int, int, int]:
    """Returns an entry's key, how much of it is from the one before, and from where to where its value lies."""
    shared, at = wire.varint(at, stop)
    own, at = wire.varint(at, stop)
    length, at = wire.varint(at, stop)
    if shared > len(previous) or own + length > stop - at:
        raise IntegrityError(f"its entry before byte {at:,} is damaged")
    if shared + own > _LONGEST_KEY:
        raise UnsafeFileError(f"a name in it is longer than {_LONGEST_KEY:,} bytes")
    key = previous[:shared] + wire.read_at(at, own)
    return key, shared, at + own, at + own + length


@functools.cache
def _crc32c_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def _masked_crc32c(data: bytes) -> int:
    """Returns the checksum as tables have it: https://datatracker.ietf.org/doc/html/rfc3720#appendix-B.4, rotated."""
    table, crc = _crc32c_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


# --- what describes a tensor ---

_STRING, _VARIANT = 7, 21
_DTYPES: Mapping[int, tuple[str, int]] = {
    **{1: ("float32", 4), 2: ("float64", 8), 3: ("int32", 4), 4: ("uint8", 1), 5: ("int16", 2), 6: ("int8", 1)},
    **{7: ("string", 1), 8: ("complex64", 8), 9: ("int64", 8), 10: ("bool", 1), 11: ("qint8", 1)},
    **{12: ("quint8", 1), 13: ("qint32", 4), 14: ("bfloat16", 2), 15: ("qint16", 2), 16: ("quint16", 2)},
    **{17: ("uint16", 2), 18: ("complex128", 16), 19: ("float16", 2), 21: ("variant", 1), 22: ("uint32", 4)},
    **{23: ("uint64", 8), 24: ("float8_e5m2", 1), 25: ("float8_e4m3fn", 1), 29: ("int4", 1), 30: ("uint4", 1)},
}
"""TensorFlow's name, and the bytes of one element; of strings and variants at least so many."""


def _dtype(field: list[Field], name: str) -> int:
    number = field[-1].value if field else 0
    if number not in _DTYPES:
        raise IntegrityError(f"tensor {shown(name)} has the unknown dtype {number}")
    return number


def _shape(wire: Wire, fields: list[Field], name: str) -> tuple[int, ...]:
    found: dict[int, list[Field]] = {2: [], 3: []}
    for field in fields:
        for number, more in level(wire, {2: BYTES, 3: VARINT}, field.start, field.stop).items():
            found[number] += more
    if any(field.value for field in found[3]) or len(found[2]) > _MOST_DIMENSIONS:
        raise IntegrityError(f"tensor {shown(name)} has no shape")
    sizes = [level(wire, {1: VARINT, 2: BYTES}, field.start, field.stop)[1] for field in found[2]]
    shape = tuple(signed(size[-1].value) if size else 0 for size in sizes)
    if any(size < 0 for size in shape) or math.prod(shape) > _MOST_ELEMENTS:
        raise UnsafeFileError(f"tensor {shown(name)} claims the shape {shown(str(shape))}, which no file can hold")
    return shape


def _text(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise IntegrityError(f"the name {shown(repr(key))} in it is no text in UTF-8") from error


# --- an index with data files ---

_HEADER_LEVEL = {1: VARINT, 2: VARINT, 3: BYTES}
_ENTRY_LEVEL = {1: VARINT, 2: BYTES, 3: VARINT, 4: VARINT, 5: VARINT, 6: FIXED32, 7: BYTES}
_PIECE = b"\0"  # begins the key of a piece of a partitioned tensor


@dataclass(frozen=True)
class _Bundle:
    """What an index tells: how many data files, the tensors, those of them in pieces, and the pieces of all."""

    shards: int
    tensors: dict[str, Tensor]
    in_pieces: dict[str, int]
    pieces: list[tuple[str, Tensor]]

    def tensor(self, name: str) -> Tensor:
        """Returns a tensor with the place of its bytes.

        Raises:
            UnsafeFileError: Its pieces are not what it is made of.
        """
        tensor = self.tensors[name]
        if name not in self.in_pieces:
            return tensor
        pieces = self._pieces_of.get(name, [])
        elements = sum(math.prod(piece.shape) for piece in pieces)
        if len(pieces) != self.in_pieces[name] or elements != math.prod(tensor.shape):
            raise UnsafeFileError(f"the pieces of tensor {shown(name)} do not make up its shape {tensor.shape}")
        return Tensor(
            tensor.shape, tensor.dtype, pieces[0].shard, pieces[0].offset, sum(piece.bytes for piece in pieces)
        )

    @functools.cached_property
    def _pieces_of(self) -> dict[str, list[Tensor]]:
        found: dict[str, list[Tensor]] = {}
        for name, piece in self.pieces:
            found.setdefault(name, []).append(piece)
        return found


def _bundle(index: Path) -> _Bundle:
    with opened(index) as source:
        if source.size > _LARGEST_INDEX:
            raise UnsafeFileError(f"it has more than {_LARGEST_INDEX:,} bytes")
        wire = Wire(source)
        entries = _table_entries(wire)
        bundle = _Bundle(_shard_count(wire, next(entries, None)), {}, {}, [])
        for key, start, stop in entries:
            _add_entry(bundle, wire, key, level(wire, _ENTRY_LEVEL, start, stop))
        return bundle


def _shard_count(wire: Wire, first: tuple[bytes, int, int] | None) -> int:
    if first is None or first[0] != b"":
        raise IntegrityError("it has no header")
    header = level(wire, _HEADER_LEVEL, *first[1:])
    if header[2] and header[2][-1].value:
        raise IntegrityError("it is of a big-endian machine; save it again on a usual one")
    count = header[1][-1].value if header[1] else 0
    if not 1 <= count <= _MOST_SHARDS:
        raise IntegrityError(f"it tells of {count:,} data files, and 1 to {_MOST_SHARDS:,} are possible")
    return count


def _add_entry(bundle: _Bundle, wire: Wire, key: bytes, entry: dict[int, list[Field]]) -> None:
    is_piece = key.startswith(_PIECE)
    name = _text(_name_of_piece(key) if is_piece else key)
    number = _dtype(entry[1], name)
    shape = _shape(wire, entry[2], name)
    shard, offset, size = (signed(entry[each][-1].value) if entry[each] else 0 for each in (3, 4, 5))
    tensor = Tensor(shape, _DTYPES[number][0], shard, offset, size)
    if entry[7] and not is_piece:
        bundle.in_pieces[name] = len(entry[7])
    else:
        _refuse_bad_size(tensor, number, name, bundle.shards)
        bundle.pieces.append((name, tensor))
    if not is_piece:
        bundle.tensors[name] = tensor


def _name_of_piece(key: bytes) -> bytes:
    """Returns the tensor's name in a piece's key: `OrderedCode` of zero, of the name, and of the piece's extents."""
    name, end, _ = key[1:].partition(b"\0\1")
    if not end:
        raise IntegrityError(f"the name {shown(repr(key))} in it is none")
    return name.replace(b"\0\xff", b"\0").replace(b"\xff\0", b"\xff")


def _refuse_bad_size(tensor: Tensor, number: int, name: str, shards: int) -> None:
    dtype, item = _DTYPES[number]
    claimed = math.prod(tensor.shape) * item
    if tensor.offset < 0 or tensor.bytes < 0 or not 0 <= tensor.shard < shards:
        raise UnsafeFileError(f"tensor {shown(name)} lies outside of all files")
    if claimed != tensor.bytes and not (number in (_STRING, _VARIANT) and claimed < tensor.bytes):
        raise UnsafeFileError(
            f"tensor {shown(name)} claims {claimed:,} bytes (shape {tensor.shape}, {dtype}) and has {tensor.bytes:,}"
        )


def _refuse_bad_places(pieces: list[tuple[str, Tensor]], sizes: Mapping[int, int | None]) -> None:
    """Sees whether each tensor lies in its data file, and none over another."""
    shard, end, before = -1, 0, ""
    for name, tensor in sorted(pieces, key=lambda each: (each[1].shard, each[1].offset, each[1].bytes)):
        if tensor.shard != shard:
            shard, end = tensor.shard, 0
        size = sizes[tensor.shard] or 0
        stop = tensor.offset + tensor.bytes
        if stop > size:
            raise UnsafeFileError(
                f"tensor {shown(name)} reaches to byte {stop:,} of data file {tensor.shard}, which has {size:,}: "
                "that file is cut short, or the index lies"
            )
        if tensor.offset < end:
            raise UnsafeFileError(f"tensors {shown(before)} and {shown(name)} lie over each other")
        end, before = stop, name


def _refuse_bad_texts(prefix: Path, bundle: _Bundle) -> None:
    """Sees whether the lengths of all texts make up the bytes of their tensors: lengths, a checksum, the texts."""
    texts = [(name, tensor) for name, tensor in bundle.pieces if tensor.dtype == "string" and tensor.bytes]
    if sum(math.prod(tensor.shape) for _, tensor in texts) > _MOST_TEXTS:
        raise UnsafeFileError(f"it has more than {_MOST_TEXTS:,} texts")
    for number, path in enumerate(_shards(prefix, bundle.shards)):
        if here := [(name, tensor) for name, tensor in texts if tensor.shard == number]:
            with opened(path) as source:
                wire = Wire(source)
                for name, tensor in here:
                    _refuse_bad_text(wire, name, tensor)


def _refuse_bad_text(wire: Wire, name: str, tensor: Tensor) -> None:
    at, stop, total = tensor.offset, tensor.offset + tensor.bytes, 0
    for _ in range(math.prod(tensor.shape)):
        length, at = wire.varint(at, stop)
        total += length
    if at + 4 + total != stop:
        raise UnsafeFileError(f"the texts of tensor {shown(name)} have other lengths than it says")


# --- a checkpoint of one file ---

_OLD_LEVEL = {1: BYTES, 2: BYTES}
_LEAST_ENCODED = {**dict.fromkeys(_DTYPES, 1), 1: 4, 2: 8, 8: 8, 18: 16}  # as protobuf writes an element
_SLICE_LEVEL = {1: BYTES, 2: BYTES, 3: BYTES}
_SLICED_TENSOR_LEVEL = {1: BYTES, 2: BYTES, 3: VARINT, 4: BYTES}


def _old_outline(wire: Wire) -> dict[str, Tensor]:
    entries = _table_entries(wire)
    first = next(entries, None)
    if first is None or first[0] != b"":
        raise IntegrityError("it has no header")
    described = _old_descriptions(wire, *first[1:])
    values: dict[str, list[Field]] = {name: [] for name in described}
    for _, start, stop in entries:
        name, value = _old_value(wire, start, stop)
        if name not in values:
            raise UnsafeFileError(f"it has values of the tensor {shown(name)}, of which its header does not tell")
        values[name].append(value)
    return {name: _old_tensor(name, described[name], values[name]) for name in sorted(described)}


def _old_descriptions(wire: Wire, start: int, stop: int) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Returns the dtype and the shape of each tensor."""
    headers = level(wire, _OLD_LEVEL, start, stop)[1]
    found: dict[str, tuple[int, tuple[int, ...]]] = {}
    for header in headers:
        for each in level(wire, {1: BYTES}, header.start, header.stop)[1]:
            fields = level(wire, _SLICED_TENSOR_LEVEL, each.start, each.stop)
            name = wire.text(fields[1][-1], _LONGEST_KEY) if fields[1] else ""
            if not name or name in found:
                raise UnsafeFileError(f"it tells of the tensor {shown(name)} twice, or without a name")
            found[name] = _dtype(fields[3], name), _shape(wire, fields[2], name)
    if not headers:
        raise IntegrityError("it has no header")
    return found


def _old_value(wire: Wire, start: int, stop: int) -> tuple[str, Field]:
    """Returns the name of the tensor that an entry holds a piece of, and where the piece is."""
    data = level(wire, _OLD_LEVEL, start, stop)[2]
    fields = level(wire, _SLICE_LEVEL, data[-1].start, data[-1].stop) if data else {}
    if not fields or not fields[1] or not fields[3]:
        raise IntegrityError(f"its entry at byte {start:,} holds no tensor")
    return wire.text(fields[1][-1], _LONGEST_KEY), fields[3][-1]


def _old_tensor(name: str, described: tuple[int, tuple[int, ...]], values: list[Field]) -> Tensor:
    number, shape = described
    if not values:
        raise IntegrityError(f"it has no values of the tensor {shown(name)}")
    size = sum(value.stop - value.start for value in values)
    if (claimed := math.prod(shape) * _LEAST_ENCODED[number]) > size:
        raise UnsafeFileError(
            f"tensor {shown(name)} claims {claimed:,} bytes (shape {shape}, {_DTYPES[number][0]}) and has {size:,}"
        )
    return Tensor(shape, _DTYPES[number][0], 0, min(value.start for value in values), size)
