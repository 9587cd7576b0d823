"""Splits examples into training, validation and test parts by what they are, never by where they lie.

Each example falls where a hash of its identity and the seed puts it, so adding, moving or renaming examples moves no
other one. Only the rule that each class has an example in each part, where it has enough, may move some.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.data.examples import Ids, Rows
from zoo.errors import DataError


@dataclass(frozen=True)
class Split:
    """Row numbers (int64) of the three parts, each sorted."""

    train: Rows
    validation: Rows
    test: Rows


def split_examples(
    ids: Ids,
    labels: NDArray[np.int64],
    seed: int = 0,
    *,
    validation: float = 0.15,
    test: float = 0.15,
    train_per_class: int | None = None,
) -> Split:
    """Returns the split of examples with these identities.

    Args:
        ids: uint8 [n, 32]. Examples with equal identity fall into the same part.
        labels: int64 [n].
        seed: Another seed, another split.
        validation: Share of the examples (0..1) for choosing when to stop.
        test: Share for the final figures.
        train_per_class: Keep at most this many training examples of each class; a smaller number's choice is part
            of a larger one's. Validation and test parts stay as they are.

    Raises:
        DataError: A share is out of range, or nothing is left to train on.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise DataError(f"Expected shares with validation + test < 1; got validation={validation}, test={test}.")
    if train_per_class is not None and train_per_class < 1:
        raise DataError(f"Expected at least 1 training example per class; got {train_per_class}.")
    place = hashed_places(ids, f"split {seed}")
    part = np.where(place < test, 2, np.where(place < test + validation, 1, 0))
    wanted = [number for number, share in ((2, test), (1, validation)) if share]
    shared = _in_several_classes(place, labels)
    for number in np.unique(labels):
        own = np.flatnonzero((labels == number) & ~shared)
        _fill_empty_parts(part, place, np.flatnonzero(labels == number), own, wanted)
    train = np.flatnonzero(part == 0)
    if train_per_class is not None:
        train = _first_of_each_class(train, labels, hashed_places(ids, f"sample {seed}"), train_per_class)
    if not len(train):
        raise DataError(f"No training examples are left of {len(ids)}; use more examples.")
    return Split(train, np.flatnonzero(part == 1), np.flatnonzero(part == 2))


def hashed_places(ids: Ids, salt: str) -> NDArray[np.float64]:
    """Returns a place in [0, 1) for each identity, uniform over identities and fixed for a salt."""
    digests = b"".join(hashlib.sha256(salt.encode() + row.tobytes()).digest()[:8] for row in ids)
    return np.frombuffer(digests, "<u8") / 2.0**64


def _in_several_classes(place: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns which examples have the identity of an example of another class; to move one would part the two."""
    _, identity = np.unique(place, return_inverse=True)
    pairs = np.unique(np.stack([identity, labels]), axis=1)
    return np.bincount(pairs[0])[identity] > 1


def _fill_empty_parts(
    part: NDArray[np.int64], place: NDArray[np.float64], rows: Rows, own: Rows, wanted: Sequence[int]
) -> None:
    """Gives the class with these rows an example in each part: in training first, then in the `wanted` parts.

    Of the `rows`, only those that are the class's `own` may move.
    """
    places = np.unique(place[own])  # equal identities have equal places, so whole groups move
    moves = [*zip([0], places[-1:], strict=False), *zip(wanted, places[:-1], strict=False)]
    for number, moved in moves:
        if not np.any(part[rows] == number):
            part[own[place[own] == moved]] = number


def _first_of_each_class(rows: Rows, labels: NDArray[np.int64], place: NDArray[np.float64], count: int) -> Rows:
    ordered = rows[np.argsort(place[rows], kind="stable")]
    kept = [ordered[labels[ordered] == number][:count] for number in np.unique(labels[rows])]
    return np.sort(np.concatenate(kept)) if kept else rows
