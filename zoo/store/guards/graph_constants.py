"""The rule for constants in a graph of TensorFlow: what they claim stands in the file, or is not much.

A constant may have fewer numbers than its shape, whose last fills the rest: so TensorFlow writes zeros. Some hundred
bytes could claim more memory than there is, before anything is computed, so what is filled has a limit.
Format: tensor.proto of TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.graph_files import Place
from zoo.store.guards.graph_outlines import Outline
from zoo.store.guards.tensors import DTYPES, STRING, VARIANT, shape_in
from zoo.store.guards.wire import BYTES, VARINT, Field, Wire

_CONSTANTS = {"Const", "HostConst"}
_MOST_FILLED = 1 << 30  # bytes of a file; vectors of a dictionary that are read later begin as 0.5 GB of zeros
_DTYPE, _SHAPE = 1, 2
_VALUES = {4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17}  # the bytes of all numbers, or numbers by type
_POINTER = 8  # bytes of where a text is; and of a number whose type is not told


def refuse_unfounded_constants(wire: Wire, outlines: Iterable[Outline]) -> None:
    """Sees whether the constants of graphs have about as many numbers as they claim.

    Args:
        wire: The file.
        outlines: Its graphs.

    Raises:
        IntegrityError: A constant has several values, or is damaged.
        UnsafeFileError: Constants claim much that the file does not have.
    """
    filled = 0
    for body in (body for outline in outlines for body in outline.bodies):
        for node in body.nodes.values():
            place = Place(node.operation, node.name, body.name)
            if node.operation in _CONSTANTS and len(node.tensors) > 1:  # readers put these together
                raise IntegrityError(f"{place} has several values")
            for tensor in node.tensors:
                filled += _filled(wire, tensor, node.name)
                if filled > _MOST_FILLED:
                    raise UnsafeFileError(
                        f"{place} claims numbers that the file does not have: with it, more than {_MOST_FILLED:,} "
                        "bytes are to be filled"
                    )


def _filled(wire: Wire, tensor: Field, name: str) -> int:
    """Returns how many bytes a tensor takes that is filled; 0 where its numbers can all stand in the file."""
    dtype, held, shapes = 0, 0, list[Field]()
    for field in wire.fields(tensor.start, tensor.stop):
        if field.number == _DTYPE and field.wire == VARINT:
            dtype = field.value
        elif field.number == _SHAPE and field.wire == BYTES:
            shapes.append(field)
        elif field.number in _VALUES:
            held += max(1, field.stop - field.start)
    claimed = math.prod(shape_in(wire, shapes, name))
    size = _POINTER if dtype in (0, STRING, VARIANT) else DTYPES.get(dtype, ("", _POINTER))[1]
    return claimed * size if claimed > held else 0
