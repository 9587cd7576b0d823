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
SUMS = 3
TEXT = "string"
DTYPES = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool", TEXT)
_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Figures:
    """What there was in an array.

    Attributes:
        values: At most 64 of its elements, evenly spaced, the first and the last among them.
        mean: Mean of all elements.
        rms: Root of the mean of their squares.
        spread: Their standard deviation.
        sums: Three sums of all elements, each element times a random number between -1 and 1, over the root of their
            count. The numbers are those of NumPy's `RandomState` of the seeds 1000000 to 1000002, in the order of
            elements. Elements that change places change them.
    """

    values: tuple[float, ...]
    mean: float
    rms: float
    spread: float
    sums: tuple[float, ...]


@dataclass(frozen=True)
class RecordedOutput:
    """What a model put out for a fixed random input, see `zoo.recording`: whoever loads it later can compare.

    Attributes:
        input: Shape of the input, the batch included.
        dtype: Its kind of number, such as `float32`; `string` for texts.
        seed: Of the random numbers, or of the texts' words.
        low: The smallest number that may be in it; 0 for texts.
        high: The largest; 0 for texts.
        shape: Shape of the output, the batch included.
        output: Figures of the output.
        logits: Figures of what its last softmax or sigmoid took, for where that is nearly 0 and 1 for most weights;
            None where it ends with neither.
    """

    input: tuple[int, ...]
    dtype: str
    seed: int
    low: float
    high: float
    shape: tuple[int, ...]
    output: Figures
    logits: Figures | None = None


def parse_recorded(name: str, record: Any) -> RecordedOutput | None:
    """Returns what a model is recorded to have put out; None where nothing is.

    Raises:
        IntegrityError: A field is missing, unknown or of the wrong kind, or contradicts another.
    """
    if record is None:
        return None
    fields = Fields(f"recorded output of model {name!r}", record)
    shape = fields.shape("shape")
    logits = fields.get("logits", dict, None)
    recorded = RecordedOutput(
        input=fields.shape("input"),
        dtype=fields.choice("dtype", DTYPES),
        seed=fields.whole("seed", _LARGEST_SEED),
        low=fields.number("low"),
        high=fields.number("high"),
        shape=shape,
        output=_parse_figures(f"recorded output of model {name!r}", fields.get("output", dict), shape),
        logits=None if logits is None else _parse_figures(f"recorded logits of model {name!r}", logits, shape),
    )
    fields.refuse_rest()
    if recorded.low > recorded.high:
        raise IntegrityError(f"The registry's {fields.what} has 'low' above 'high'.")
    return recorded


def _parse_figures(what: str, record: Any, shape: tuple[int, ...]) -> Figures:
    fields = Fields(what, record)
    figures = Figures(
        values=fields.numbers("values"),
        mean=fields.number("mean"),
        rms=fields.number("rms"),
        spread=fields.number("spread"),
        sums=fields.numbers("sums"),
    )
    fields.refuse_rest()
    for key, found, expected in (
        ("values", figures.values, min(MOST_VALUES, math.prod(shape))),
        ("sums", figures.sums, SUMS),
    ):
        if len(found) != expected:
            raise IntegrityError(
                f"The registry's {what} has {len(found)} '{key}'; expected {expected} of an output of shape "
                f"{list(shape)}."
            )
    if figures.rms < 0 or figures.spread < 0:
        raise IntegrityError(f"The registry's {what} has an 'rms' or a 'spread' below 0.")
    return figures
