"""What a model put out for a fixed input: figures of the registry, by which a model that was loaded is known again.

Plain data; `zoo.recording` makes and compares it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from zoo.errors import IntegrityError
from zoo.registry.fields import Fields

MOST_VALUES = 64
DTYPES = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class RecordedOutput:
    """What a model put out for a fixed random input, see `zoo.recording`: whoever loads it later can compare.

    Attributes:
        input: Shape of the input, the batch of 1 included.
        dtype: Its kind of number, such as `float32`.
        seed: Of the random numbers.
        low: The smallest number that may be in it.
        high: The largest.
        shape: Shape of the output, the batch included.
        values: At most 64 of its elements, evenly spaced, the first and the last among them.
        mean: Mean of all elements.
        rms: Root of the mean of their squares.
    """

    input: tuple[int, ...]
    dtype: str
    seed: int
    low: float
    high: float
    shape: tuple[int, ...]
    values: tuple[float, ...]
    mean: float
    rms: float


def parse_recorded(name: str, record: Any) -> RecordedOutput | None:
    """Returns what a model is recorded to have put out; None where nothing is.

    Raises:
        IntegrityError: A field is missing, unknown or of the wrong kind, or contradicts another.
    """
    if record is None:
        return None
    fields = Fields(f"recorded output of model {name!r}", record)
    recorded = RecordedOutput(
        input=fields.shape("input"),
        dtype=fields.choice("dtype", DTYPES),
        seed=fields.whole("seed", _LARGEST_SEED),
        low=fields.number("low"),
        high=fields.number("high"),
        shape=fields.shape("shape"),
        values=fields.numbers("values"),
        mean=fields.number("mean"),
        rms=fields.number("rms"),
    )
    fields.refuse_rest()
    expected = min(MOST_VALUES, math.prod(recorded.shape))
    if len(recorded.values) != expected:
        raise IntegrityError(
            f"The registry's {fields.what} has {len(recorded.values)} 'values'; expected {expected} of an output of "
            f"shape {list(recorded.shape)}."
        )
    if recorded.low > recorded.high or recorded.rms < 0:
        raise IntegrityError(f"The registry's {fields.what} has 'low' above 'high', or an 'rms' below 0.")
    return recorded
