from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data import ArrayExamples, SomeExamples
from zoo.data.examples import row_ids
from zoo.errors import DataError

PICTURES = np.arange(3 * 2 * 2, dtype=np.uint8).reshape(3, 2, 2, 1)


def test_class_names_are_numbered_in_their_sorted_order() -> None:
    examples = ArrayExamples(PICTURES, ["dog", "ant", "dog"])

    assert examples.classes == ("ant", "dog")
    assert examples.labels.tolist() == [1, 0, 1]
    assert examples.labels.dtype == np.int64


def test_numbers_are_names_too_where_no_names_are_given() -> None:
    examples = ArrayExamples(PICTURES, [7, 3, 7])

    assert examples.classes == ("3", "7")
    assert examples.labels.tolist() == [1, 0, 1]


def test_given_names_keep_their_order_and_may_have_no_example() -> None:
    examples = ArrayExamples(PICTURES, [2, 0, 2], classes=["z", "none", "a"])

    assert examples.classes == ("z", "none", "a")
    assert examples.labels.tolist() == [2, 0, 2]


def test_examples_without_labels_are_of_one_class() -> None:
    assert ArrayExamples(PICTURES).labels.tolist() == [0, 0, 0]


def test_shape_length_and_reading_are_those_of_the_array() -> None:
    examples = ArrayExamples(PICTURES, [0, 1, 0], name="mine")

    assert (len(examples), examples.shape, examples.name) == (3, (2, 2, 1), "mine")
    assert np.array_equal(examples.read(np.array([2, 0, 2])), PICTURES[[2, 0, 2]])


def test_no_examples_are_examples_too() -> None:
    examples = ArrayExamples(PICTURES[:0], [])

    assert (len(examples), examples.ids.shape, examples.classes) == (0, (0, 32), ())


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (PICTURES, [0, 1]),  # one label short
        (PICTURES, [[0], [1], [0]]),  # a column, as in keras.datasets.cifar10
        (PICTURES, np.eye(3)),  # one-hot
        (PICTURES, 0),
        (PICTURES, [[0], [1, 2], [3]]),
        (PICTURES, ["a", None, "b"]),
        (np.arange(3), [0, 1, 0]),  # one number each: no rows
        (["a.png", "b.png"], [0, 1]),
        (np.full((2, 2), "1"), [0, 1]),
        (np.full((2, 2), None), [0, 1]),
        (np.zeros((2, 2), complex), [0, 1]),
        ([[1.0], [1.0, 2.0]], [0, 1]),
    ],
)
def test_what_is_no_set_of_labelled_examples_is_refused(x: Any, y: Any) -> None:
    with pytest.raises(DataError, match="Expected"):
        ArrayExamples(x, y)


@pytest.mark.parametrize("y", [[0, 1, 2], [-1, 0, 0], [0.0, 1.0, 0.0], ["a", "b", "a"]])
def test_labels_that_are_no_numbers_of_the_given_classes_are_refused(y: list[Any]) -> None:
    with pytest.raises(DataError, match=r"labels 0\.\.1"):
        ArrayExamples(PICTURES, y, classes=["a", "b"])


def test_an_identity_is_the_sha256_of_dtype_shape_and_bytes() -> None:
    row = np.array([[1, 2], [3, 4]], "<i2")

    expected = hashlib.sha256(b"<i2 [2, 2] " + bytes([1, 0, 2, 0, 3, 0, 4, 0])).digest()

    assert row_ids(row[None])[0].tobytes() == expected


@pytest.mark.parametrize(
    "other",
    [
        np.array([[1, 2, 3, 5]], np.uint8),
        np.array([[1, 2, 3, 4]], np.int8),  # the same bytes
        np.array([[[1, 2], [3, 4]]], np.uint8),  # the same bytes
        np.array([[1, 2, 3, 4, 0]], np.uint8),
    ],
    ids=["value", "dtype", "shape", "length"],
)
def test_another_value_dtype_or_shape_is_another_identity(other: np.ndarray[Any, Any]) -> None:
    assert not np.array_equal(row_ids(np.array([[1, 2, 3, 4]], np.uint8)), row_ids(other))


def test_an_identity_does_not_know_how_the_array_lies_in_memory() -> None:
    x = np.arange(24, dtype="<f4").reshape(4, 3, 2)
    ids = row_ids(x)

    assert np.array_equal(row_ids(x.astype(">f4")), ids)
    assert np.array_equal(row_ids(np.asfortranarray(x)), ids)
    assert np.array_equal(row_ids(np.repeat(x, 2, axis=0)[::2]), ids)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.binary(min_size=4, max_size=4), max_size=20), st.randoms())
def test_an_identity_is_of_the_row_alone(rows: list[bytes], random: Any) -> None:
    x = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 4)
    order = random.sample(range(len(rows)), len(rows))

    assert np.array_equal(row_ids(x)[order], row_ids(x[order]))
    assert len(np.unique(row_ids(x), axis=0)) == len(set(rows))


def test_some_examples_are_examples_in_the_order_given() -> None:
    whole = ArrayExamples(PICTURES, ["a", "b", "c"], name="mine")

    some = SomeExamples(whole, np.array([2, 0]))

    assert (len(some), some.name, some.classes, some.shape) == (2, "mine", ("a", "b", "c"), (2, 2, 1))
    assert some.labels.tolist() == [2, 0]
    assert np.array_equal(some.ids, whole.ids[[2, 0]])
    assert np.array_equal(some.read(np.array([1])), PICTURES[[0]])
    assert np.array_equal(SomeExamples(some, np.array([1, 0])).ids, whole.ids[[0, 2]])
