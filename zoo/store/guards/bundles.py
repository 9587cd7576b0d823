"""Reads the index of a checkpoint of TensorFlow's today, and sees whether its data files hold what it claims.

Which files these are, and whether they are there, is not known here; nor are checksums of values compared, which is
left to whoever reads the values.
Format: tensor_bundle.proto of TensorFlow, in a table.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.tables import table_entries, table_header
from zoo.store.guards.tensors import DTYPES, STRING, VARIANT, Tensor, dtype_number, shape_in
from zoo.store.guards.wire import BYTES, FIXED32, VARINT, Field, Wire, level, signed
from zoo.store.unpacking import opened, shown

_MOST_SHARDS = 10_000
_MOST_TEXTS = 5_000_000  # some seconds
_LARGEST_INDEX = 64 << 20
_HEADER_LEVEL = {1: VARINT, 2: VARINT, 3: BYTES}
_ENTRY_LEVEL = {1: VARINT, 2: BYTES, 3: VARINT, 4: VARINT, 5: VARINT, 6: FIXED32, 7: BYTES}
_ITEMS = dict(DTYPES.values())  # bytes of one number, by the name of the type
_OF_ANY_LENGTH = {DTYPES[STRING][0], DTYPES[VARIANT][0]}
_PIECE = b"\0"  # begins the key of a piece of a partitioned tensor


@dataclass(frozen=True)
class Bundle:
    """What an index tells: how many data files, the tensors, those of them in pieces, and the pieces of all.

    Attributes:
        shards: How many data files there are.
        tensors: By name.
        in_pieces: Of tensors in pieces: how many.
        pieces: All that lies in the data files, a tensor in one piece too, by the name of the tensor.
        parents: The names of which there are pieces.
    """

    shards: int
    tensors: dict[str, Tensor]
    in_pieces: dict[str, int]
    pieces: list[tuple[str, Tensor]]
    parents: set[str]

    def tensor(self, name: str) -> Tensor:
        """Returns a tensor with the place of its bytes.

        Raises:
            UnsafeFileError: Its pieces are not what it is made of: their number, types, numbers or bytes.
        """
        tensor = self.tensors[name]
        if name not in self.in_pieces:
            return tensor
        pieces = self._pieces_of.get(name, [])
        elements = sum(math.prod(piece.shape) for piece in pieces)
        if len(pieces) != self.in_pieces[name] or elements != math.prod(tensor.shape):
            raise UnsafeFileError(f"the pieces of tensor {shown(name)} do not make up its shape {tensor.shape}")
        if others := sorted({piece.dtype for piece in pieces} - {tensor.dtype}):
            raise UnsafeFileError(f"tensor {shown(name)} is of type {tensor.dtype}, and a piece of it of {others[0]}")
        whole = Tensor(
            tensor.shape, tensor.dtype, pieces[0].shard, pieces[0].offset, sum(piece.bytes for piece in pieces)
        )
        _refuse_bad_bytes(whole, name)
        return whole

    @functools.cached_property
    def _pieces_of(self) -> dict[str, list[Tensor]]:
        found: dict[str, list[Tensor]] = {}
        for name, piece in self.pieces:
            found.setdefault(name, []).append(piece)
        return found


def read_bundle(index: Path) -> Bundle:
    """Returns what an index tells, all of which could be true of data files that are large enough.

    Raises:
        IntegrityError: It is no index, damaged, or of a kind that this version does not read.
        UnsafeFileError: It contradicts itself, or two readers could read it differently.
        NotFoundError: There is no such file.
        DiskError: It cannot be read.
    """
    with opened(index) as source:
        if source.size > _LARGEST_INDEX:
            raise UnsafeFileError(f"it has more than {_LARGEST_INDEX:,} bytes")
        wire = Wire(source)
        entries = table_entries(wire)
        bundle = Bundle(_shard_count(wire, *table_header(entries)), {}, {}, [], set())
        for key, start, stop in entries:
            _add_entry(bundle, wire, key, level(wire, _ENTRY_LEVEL, start, stop))
        if strays := sorted(bundle.parents - bundle.in_pieces.keys()):
            raise UnsafeFileError(f"it has pieces of tensor {shown(strays[0])}, and no such tensor in pieces")
        return bundle


def _shard_count(wire: Wire, start: int, stop: int) -> int:
    header = level(wire, _HEADER_LEVEL, start, stop)
    if header[2] and header[2][-1].value:
        raise IntegrityError("it is of a big-endian machine; save it again on a usual one")
    count = header[1][-1].value if header[1] else 0
    if not 1 <= count <= _MOST_SHARDS:
        raise IntegrityError(f"it tells of {count:,} data files, and 1 to {_MOST_SHARDS:,} are possible")
    return count


def _add_entry(bundle: Bundle, wire: Wire, key: bytes, entry: dict[int, list[Field]]) -> None:
    is_piece = key.startswith(_PIECE)
    name = _text(_name_of_piece(key) if is_piece else key)
    number = dtype_number(entry[1], name)
    shape = shape_in(wire, entry[2], name)
    shard, offset, size = (signed(entry[each][-1].value) if entry[each] else 0 for each in (3, 4, 5))
    tensor = Tensor(shape, DTYPES[number][0], shard, offset, size)
    if entry[7] and not is_piece:
        bundle.in_pieces[name] = len(entry[7])
    else:
        _refuse_bad_place(tensor, name, bundle.shards)
        bundle.pieces.append((name, tensor))
    if is_piece:
        bundle.parents.add(name)
    else:
        bundle.tensors[name] = tensor


def _name_of_piece(key: bytes) -> bytes:
    """Returns the tensor's name in a piece's key: `OrderedCode` of zero, of the name, and of the piece's extents."""
    name, end, _ = key[1:].partition(b"\0\1")
    if not end:
        raise IntegrityError(f"the name {shown(repr(key))} in it is none")
    return name.replace(b"\0\xff", b"\0").replace(b"\xff\0", b"\xff")


def _refuse_bad_place(tensor: Tensor, name: str, shards: int) -> None:
    if tensor.offset < 0 or tensor.bytes < 0 or not 0 <= tensor.shard < shards:
        raise UnsafeFileError(f"tensor {shown(name)} lies outside of all files")
    _refuse_bad_bytes(tensor, name)


def _refuse_bad_bytes(tensor: Tensor, name: str) -> None:
    claimed = math.prod(tensor.shape) * _ITEMS[tensor.dtype]
    if claimed != tensor.bytes and not (tensor.dtype in _OF_ANY_LENGTH and claimed < tensor.bytes):
        raise UnsafeFileError(
            f"tensor {shown(name)} claims {claimed:,} bytes (shape {tensor.shape}, {tensor.dtype}) and has "
            f"{tensor.bytes:,}"
        )


def refuse_bad_places(bundle: Bundle, sizes: Sequence[int]) -> None:
    """Sees whether each tensor lies in its data file, and none over another.

    Args:
        bundle: What the index tells.
        sizes: The bytes of each data file.

    Raises:
        UnsafeFileError: One does not.
    """
    shard, end, before = -1, 0, ""
    for name, tensor in sorted(bundle.pieces, key=lambda each: (each[1].shard, each[1].offset, each[1].bytes)):
        if tensor.shard != shard:
            shard, end = tensor.shard, 0
        size = sizes[tensor.shard]
        stop = tensor.offset + tensor.bytes
        if stop > size:
            raise UnsafeFileError(
                f"tensor {shown(name)} reaches to byte {stop:,} of data file {tensor.shard}, which has {size:,}: "
                "that file is cut short, or the index lies"
            )
        if tensor.offset < end:
            raise UnsafeFileError(f"tensors {shown(before)} and {shown(name)} lie over each other")
        end, before = stop, name


def refuse_bad_texts(bundle: Bundle, shards: Sequence[Path]) -> None:
    """Sees whether the lengths of all texts make up the bytes of their tensors: lengths, a checksum, the texts.

    Args:
        bundle: What the index tells, of tensors that lie in their data files.
        shards: These files.

    Raises:
        IntegrityError: A length is none.
        UnsafeFileError: They do not, or there are too many texts.
        NotFoundError: A data file is not there.
        DiskError: It cannot be read.
    """
    texts = [(name, tensor) for name, tensor in bundle.pieces if tensor.dtype == "string" and tensor.bytes]
    if sum(math.prod(tensor.shape) for _, tensor in texts) > _MOST_TEXTS:
        raise UnsafeFileError(f"it has more than {_MOST_TEXTS:,} texts")
    for number, path in enumerate(shards):
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


def _text(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise IntegrityError(f"the name {shown(repr(key))} in it is no text in UTF-8") from error
