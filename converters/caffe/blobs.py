"""The weights of Caffe's layers as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from zoo.converters.caffe.wire import Array, Field, numbers, whole_numbers

from zoo.errors import IntegrityError

_SIZES, _SHAPE = (1, 2, 3, 4), 7  # fields of BlobProto
_DATA, _DIFF, _DOUBLES, _DOUBLE_DIFF = 5, 6, 8, 9
_RAW_DATA = 12  # of NVIDIA's fork, in half precision as a rule
_KINDS = {_DATA: "<f4", _DIFF: "<f4", _DOUBLES: "<f8", _DOUBLE_DIFF: "<f8"}
_MOST_AXES = 32  # of Caffe's blobs
_LONGEST_SHAPE = 10 * _MOST_AXES  # bytes


def blob_array(blob: memoryview) -> Array:
    """Returns the array of a BlobProto, float32, in the memory of the message where it can be.

    Its shape is as written: a file of before 2015 has four axes, of which the first may be 1.

    Raises:
        IntegrityError: It is damaged, or has not as many numbers as its shape says.
    """
    parts, others = numbers(blob, _KINDS)
    if any(each.number == _RAW_DATA and not isinstance(each.value, int) for each in others):
        raise IntegrityError("its weights are kept as NVIDIA's fork of Caffe keeps them (raw_data), which is not read")
    doubles = [each for each in parts[_DOUBLES] if each.size]
    found = doubles or parts[_DATA]
    kind = "<f8" if doubles else "<f4"
    whole = found[0] if len(found) == 1 else np.concatenate([np.zeros(0, kind), *found])
    return shaped(whole, _shape(others))


def shaped(numbers: Array, shape: Sequence[int]) -> Array:
    """Returns numbers as a float32 array of a shape.

    Raises:
        IntegrityError: The shape has another number of elements.
    """
    if any(each < 0 for each in shape) or len(shape) > _MOST_AXES or math.prod(shape) != numbers.size:
        told = f"{str(tuple(shape)[:8])[:-1]}, ...)" if len(shape) > 8 else str(tuple(shape))
        raise IntegrityError(f"its weights should have the shape {told}, and are {numbers.size:,} numbers")
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32, copy=False).reshape(shape if numbers.size else (0,))


def _shape(others: Sequence[Field]) -> tuple[int, ...]:
    old = dict.fromkeys(_SIZES, 0)
    for field in others:
        if field.number == _SHAPE and not isinstance(field.value, int):
            if len(field.value) > _LONGEST_SHAPE:
                raise IntegrityError(f"the shape of its weights has more than {_MOST_AXES} axes")
            return tuple(whole_numbers(field.value, 1))
        if field.number in old and isinstance(field.value, int):
            old[field.number] = field.value
    return tuple(old.values())
