from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from zoo.data import ArrayExamples, SomeExamples, open_data
from zoo.errors import DataError, NotFoundError


def test_digits_are_scikit_learns_scaled_to_the_bytes_of_a_picture() -> None:
    data, examples = load_digits(), open_data("digits")

    assert (len(examples), examples.shape, examples.name) == (1797, (8, 8, 1), "digits")
    pictures = np.asarray(examples.read(np.arange(1797)))
    assert pictures.dtype == np.uint8
    assert pictures.max() == 255
    # 0..16 becomes 0..255 in steps of almost 16, so rounding gives each step back.
    assert np.array_equal(np.rint(pictures[..., 0] * (16 / 255)), data.images)
    assert np.array_equal(examples.labels, data.target)
    assert examples.classes == tuple("0123456789")


@pytest.mark.parametrize(
    ("spec", "digits"),
    [
        ("digits:5-9", [5, 6, 7, 8, 9]),
        ("digits:0,2,4-6", [0, 2, 4, 5, 6]),
        ("digits:9,1", [1, 9]),
        ("digits:1-3,2-4", [1, 2, 3, 4]),
        ("digits: 1 , 3", [1, 3]),
        ("digits:0-9", list(range(10))),
    ],
)
def test_a_part_of_the_digits_is_those_digits_alone(spec: str, digits: list[int]) -> None:
    data, examples = load_digits(), open_data(spec)
    rows = np.flatnonzero(np.isin(data.target, digits))

    assert examples.name == spec
    assert examples.classes == tuple(str(digit) for digit in digits)
    assert np.array_equal(np.array(digits)[examples.labels], data.target[rows])
    assert np.array_equal(examples.ids, open_data("digits").ids[rows])


@pytest.mark.parametrize("part", ["", "5-", "-5", "9-5", "a", "10", "5--9", "0,,1", "0;1", "٣,٤"])
def test_what_is_no_part_of_the_digits_is_refused(part: str) -> None:
    with pytest.raises(DataError, match="expected digits:5-9"):
        open_data(f"digits:{part}")


@pytest.mark.parametrize("spec", ["digits:5", "digits:5-5", "digits:5,5"])
def test_one_digit_is_nothing_to_tell_apart(spec: str) -> None:
    with pytest.raises(DataError, match="at least two"):
        open_data(spec)


@pytest.mark.parametrize("spec", ["digit", "digits5-9", "Digits", "", "flowers"])
def test_an_unknown_name_is_refused_with_what_there_is(spec: str) -> None:
    with pytest.raises(NotFoundError, match="Expected digits"):
        open_data(spec)


def test_a_slip_is_recognised() -> None:
    with pytest.raises(NotFoundError, match="Did you mean digits"):
        open_data("digist")


def test_arrays_with_and_without_labels_are_examples() -> None:
    x = np.zeros((3, 4))

    assert open_data((x, ["a", "b", "a"])).classes == ("a", "b")
    assert len(open_data(x)) == 3
    assert open_data([[1, 2], [3, 4]]).shape == (2,)


def test_open_examples_come_back_as_they_are() -> None:
    examples = ArrayExamples(np.zeros((3, 4)))
    some = SomeExamples(examples, np.array([0]))

    assert open_data(examples) is examples
    assert open_data(some) is some


@pytest.mark.parametrize("spec", [(np.zeros((3, 4)), [0, 1, 0], [0]), None, 5, {"x": 1}])
def test_anything_else_is_refused(spec: Any) -> None:
    with pytest.raises(DataError, match="Expected"):
        open_data(spec)
