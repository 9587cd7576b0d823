"""Reads checkpoints of one file, as TF-Slim's of 2016 are: one table, with the values of all tensors in it.

Format: saved_tensor_slice.proto of TensorFlow.
"""

from __future__ import annotations

import math

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.tables import LONGEST_KEY, is_table, table_entries, table_header
from zoo.store.guards.tensors import DTYPES, Tensor, dtype_number, shape_in
from zoo.store.guards.wire import BYTES, VARINT, Field, Wire, level
from zoo.store.unpacking import Source, shown

_LEVEL = {1: BYTES, 2: BYTES}
_LEAST_ENCODED = {**dict.fromkeys(DTYPES, 1), 1: 4, 2: 8, 8: 8, 18: 16}  # as protobuf writes an element
_SLICE_LEVEL = {1: BYTES, 2: BYTES, 3: BYTES}
_SLICED_TENSOR_LEVEL = {1: BYTES, 2: BYTES, 3: VARINT, 4: BYTES}


def is_old_checkpoint(source: Source) -> bool:
    """Returns whether a file is a checkpoint of one file, by its first entry."""
    if not is_table(source):
        return False
    try:
        wire = Wire(source)
        _, start, stop = next(table_entries(wire))
        return any(field.wire == BYTES and field.number == 1 for field in wire.fields(start, stop))
    except (IntegrityError, UnsafeFileError, StopIteration):
        return False


def old_outline(wire: Wire) -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint of one file by name, in the order of their names.

    Raises:
        IntegrityError: It is none, or damaged.
        UnsafeFileError: Tensors claim more than the file has, or two readers could read it differently.
        DiskError: It cannot be read.
    """
    entries = table_entries(wire)
    described = _descriptions(wire, *table_header(entries))
    values: dict[str, list[Field]] = {name: [] for name in described}
    for _, start, stop in entries:
        name, value = _value(wire, start, stop)
        if name not in values:
            raise UnsafeFileError(f"it has values of the tensor {shown(name)}, of which its header does not tell")
        values[name].append(value)
    return {name: _tensor(name, described[name], values[name]) for name in sorted(described)}


def _descriptions(wire: Wire, start: int, stop: int) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Returns the dtype and the shape of each tensor."""
    headers = level(wire, _LEVEL, start, stop)[1]
    found: dict[str, tuple[int, tuple[int, ...]]] = {}
    for header in headers:
        for each in level(wire, {1: BYTES}, header.start, header.stop)[1]:
            fields = level(wire, _SLICED_TENSOR_LEVEL, each.start, each.stop)
            name = wire.text(fields[1][-1], LONGEST_KEY) if fields[1] else ""
            if not name or name in found:
                raise UnsafeFileError(f"it tells of the tensor {shown(name)} twice, or without a name")
            found[name] = dtype_number(fields[3], name), shape_in(wire, fields[2], name)
    if not headers:
        raise IntegrityError("it has no header")
    return found


def _value(wire: Wire, start: int, stop: int) -> tuple[str, Field]:
    """Returns the name of the tensor that an entry holds a piece of, and where the piece is."""
    data = level(wire, _LEVEL, start, stop)[2]
    fields = level(wire, _SLICE_LEVEL, data[-1].start, data[-1].stop) if data else {}
    if not fields or not fields[1] or not fields[3]:
        raise IntegrityError(f"its entry at byte {start:,} holds no tensor")
    return wire.text(fields[1][-1], LONGEST_KEY), fields[3][-1]


def _tensor(name: str, described: tuple[int, tuple[int, ...]], values: list[Field]) -> Tensor:
    number, shape = described
    if not values:
        raise IntegrityError(f"it has no values of the tensor {shown(name)}")
    size = sum(value.stop - value.start for value in values)
    if (claimed := math.prod(shape) * _LEAST_ENCODED[number]) > size:
        raise UnsafeFileError(
            f"tensor {shown(name)} claims {claimed:,} bytes (shape {shape}, {DTYPES[number][0]}) and has {size:,}"
        )
    return Tensor(shape, DTYPES[number][0], 0, min(value.start for value in values), size)
