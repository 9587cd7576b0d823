"""What an engine is, and how many examples it is given at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# glibc gives blocks of 32 MiB back to the system with every use, and what is free above 64: two tensors stay below.
# With larger ones half the time goes into page faults.
_LARGEST_TENSOR = 20 << 20
_MOST = 64


class Engine(Protocol):
    """Runs a trunk.

    Attributes:
        name: Of the engine, as users know it.
    """

    name: str

    def run(self, batch: Array) -> list[Array]:
        """Returns each output of the trunk for a batch of preprocessed examples, [n, ...]."""


def fitting_batch(model: keras.Model, example: tuple[int, ...]) -> int:
    """Returns how many examples of a shape to compute at a time, so that the largest tensor stays within 20 MiB.

    Where a net leaves sizes open, they are taken to shrink with its strides as those of the input do.
    """
    sizes = [math.prod(_known(shape[1:], example)) for shape in _shapes(model)]
    largest = 4 * max([math.prod(example), *sizes])
    return int(min(_MOST, max(1, _LARGEST_TENSOR // largest)))


def _shapes(model: keras.Model) -> Iterator[tuple[int | None, ...]]:
    """Yields the shape of what each operation of a model puts out, those of nested models too."""
    for operation in getattr(model, "operations", model.layers):
        if isinstance(operation, keras.Model):
            yield from _shapes(operation)
            continue
        try:
            outputs = keras.tree.flatten(operation.output)
        except (AttributeError, ValueError):  # one that is called several times has several
            continue
        yield from (tuple(output.shape) for output in outputs)


def _known(shape: tuple[int | None, ...], example: tuple[int, ...]) -> tuple[int, ...]:
    """Returns a shape with its open sizes as large as the example's."""
    return tuple(size or (example[axis] if axis < len(example) else 1) for axis, size in enumerate(shape))


def in_pieces(run: Any, batch: Array, size: int) -> list[Array]:
    """Returns each output of `run` for a batch, of which it is given `size` examples at a time."""
    pieces = [run(batch[begin : begin + size]) for begin in range(0, len(batch), size)]
    if len(pieces) == 1:
        return list(pieces[0])
    return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
