"""What describes a tensor in the checkpoints of TensorFlow: dtype and shape. Where its values lie is not asked here.

Formats: types.proto and tensor_shape.proto of TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.wire import BYTES, VARINT, Field, Wire, level, signed
from zoo.store.unpacking import shown

_MOST_ELEMENTS = 1 << 40
_MOST_DIMENSIONS = 254  # TensorFlow's own limit

STRING, VARIANT = 7, 21
DTYPES: Mapping[int, tuple[str, int]] = {
    **{1: ("float32", 4), 2: ("float64", 8), 3: ("int32", 4), 4: ("uint8", 1), 5: ("int16", 2), 6: ("int8", 1)},
    **{7: ("string", 1), 8: ("complex64", 8), 9: ("int64", 8), 10: ("bool", 1), 11: ("qint8", 1)},
    **{12: ("quint8", 1), 13: ("qint32", 4), 14: ("bfloat16", 2), 15: ("qint16", 2), 16: ("quint16", 2)},
    **{17: ("uint16", 2), 18: ("complex128", 16), 19: ("float16", 2), 21: ("variant", 1), 22: ("uint32", 4)},
    **{23: ("uint64", 8), 24: ("float8_e5m2", 1), 25: ("float8_e4m3fn", 1), 29: ("int4", 1), 30: ("uint4", 1)},
}
"""TensorFlow's name, and the bytes of one element; of strings and variants at least so many."""


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


def dtype_number(field: list[Field], name: str) -> int:
    """Returns the number of a dtype, the last that is told of tensor `name`.

    Raises:
        IntegrityError: TensorFlow has no such dtype.
    """
    number = field[-1].value if field else 0
    if number not in DTYPES:
        raise IntegrityError(f"tensor {shown(name)} has the unknown dtype {number}")
    return number


def shape_in(wire: Wire, fields: list[Field], name: str) -> tuple[int, ...]:
    """Returns the shape that messages tell of tensor `name`: a TensorShapeProto, maybe in several parts.

    Raises:
        IntegrityError: They tell none.
        UnsafeFileError: No file can hold it.
    """
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
