"""Texts as numbers of words: which words there are, learned from texts of training alone, and how often they occur."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.data import Examples, Split
from zoo.errors import DataError
from zoo.pretraining.steps import MOST_BYTES, Inputs, learned_from

LONGEST = 256
"""Words of a text that count, the first."""

_AT_ONCE = 1024  # texts


@dataclass(frozen=True)
class Words(Inputs):
    """Texts as a method learns from them: `x` holds their words as numbers, int32 [n, words], 0 where there is none.

    Rows without a word are in neither part: there is nothing in them to learn from.

    Attributes:
        vectorization: Makes such numbers of texts, always `LONGEST` of each.
        counts: How often each number occurs in texts of training; 1 is any word that is not in the vocabulary. Where
            texts of training have no such word, nothing is learned of it, and in other texts it counts as none.
    """

    vectorization: keras.layers.TextVectorization
    counts: tuple[int, ...]

    @property
    def least(self) -> int:
        """The least number that is a word."""
        return 1 if self.counts[1] else 2


def words_of(examples: Examples, split: Split, most: int) -> Words:
    """Returns the texts of a split, without those of its test part, as numbers of words.

    Words are in lower case and without signs of ASCII, as `keras.layers.TextVectorization` takes them.

    Args:
        examples: The texts, labelled or not.
        split: Whose training and validation rows are taken.
        most: How many words the vocabulary has at most: the most frequent.

    Raises:
        DataError: There is nothing to train on, or fewer than two words; or the texts are too many to hold.
    """
    chosen = learned_from(examples, split)
    train = len(split.train)
    learned, occurrences = _learned_words(chosen, train)
    if len(learned) < 2:
        raise DataError(f"Expected texts with two different words or more; the {train:,} of training in data "
                        f"{examples.name!r} have {len(learned)}.")  # fmt: skip
    order = sorted(range(len(learned)), key=lambda number: (-occurrences[number], learned[number]))
    vectorization = keras.layers.TextVectorization(
        vocabulary=[learned[number] for number in order[:most]], output_sequence_length=LONGEST, name="words"
    )
    counts = [0, sum(occurrences[number] for number in order[most:])]
    counts += [occurrences[number] for number in order[:most]]
    x = _numbers(chosen, vectorization)
    if not counts[1]:
        x[x == 1] = 0
    rows = np.flatnonzero(x.any(axis=1))
    return Words(chosen, None, x, rows[rows < train], rows[rows >= train], vectorization, tuple(counts))


def _learned_words(examples: Examples, train: int) -> tuple[list[str], list[int]]:
    """Returns the words in the first `train` texts, and how often each occurs."""
    learner = keras.layers.TextVectorization(ragged=True)
    learner.adapt(_pieces(examples, train))
    words = learner.get_vocabulary(include_special_tokens=False)
    counts = np.zeros(len(words) + 2, np.int64)
    if words:
        for texts in _pieces(examples, train):
            counts += np.bincount(np.asarray(learner(texts).flat_values), minlength=len(counts))
    return words, counts[2:].tolist()


def _numbers(examples: Examples, vectorization: keras.layers.TextVectorization) -> NDArray[np.int32]:
    """Returns the words of all texts as numbers, as many of each as the longest has."""
    pieces: list[NDArray[np.int32]] = []
    size = longest = 0
    for texts in _pieces(examples, len(examples)):
        numbers = np.asarray(vectorization(texts), np.int32)
        longest = max(longest, int(numbers.any(axis=0).sum()))
        pieces.append(numbers[:, :longest])
        size += len(numbers)
        if (needed := 4 * longest * len(examples)) > MOST_BYTES:
            raise DataError(
                f"The words of {len(examples):,} texts take {needed:,} bytes; this method holds at most "
                f"{MOST_BYTES:,}. Take fewer texts."
            )
    found = np.zeros((size, longest), np.int32)
    begin = 0
    for numbers in pieces:
        found[begin : begin + len(numbers), : numbers.shape[1]] = numbers
        begin += len(numbers)
    return found


def _pieces(examples: Examples, count: int) -> Iterator[Any]:
    """Yields the first `count` texts as tensors, some at a time."""
    for begin in range(0, count, _AT_ONCE):
        texts = examples.read(np.arange(begin, min(begin + _AT_ONCE, count)))
        yield keras.ops.convert_to_tensor(np.asarray(texts, object).tolist(), "string")
