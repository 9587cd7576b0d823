"""Views: the augmented versions of examples whose features are kept beside those of the examples themselves."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data import Examples, Rows
from zoo.data.augmentation import Augmentation
from zoo.data.reading import Change
from zoo.errors import UsageError


@dataclass(frozen=True)
class View:
    """One version of some examples.

    Attributes:
        key: What the key of features says of it: 0 for the examples themselves.
        rows: Which examples have it.
        change: What makes it of a decoded picture; None for the examples themselves.
    """

    key: Any
    rows: Rows
    change: Change | None


@dataclass(frozen=True)
class Views:
    """How many augmented versions there are, of which examples, and how they are made.

    Attributes:
        count: How many, beside the examples themselves.
        augmentation: How they are made.
        rows: Which examples have them; None: all.

    Raises:
        UsageError: There cannot be so many.
    """

    count: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    rows: Rows | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise UsageError(f"Expected a number of views of 0 or more; got {self.count}.")

    def of(self, examples: Examples) -> Iterator[View]:
        """Yields the examples themselves, then each augmented version."""
        every = np.arange(len(examples))
        yield View(0, every, None)
        for number in range(1, self.count + 1):
            change = functools.partial(_varied, self.augmentation, number)
            yield View(
                {"number": number, **self.augmentation.to_json()}, every if self.rows is None else self.rows, change
            )


def _varied(augmentation: Augmentation, number: int, picture: NDArray[np.uint8], identity: bytes) -> NDArray[np.uint8]:
    return augmentation.apply(picture, identity, number)
