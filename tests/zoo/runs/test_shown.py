"""Which test examples are shown."""

from __future__ import annotations

import numpy as np

from zoo.runs.shown import shown_examples

PICTURES = np.arange(4 * 9, dtype=np.uint8).reshape(4, 3, 3, 1)


def test_shows_the_surest_mistakes_and_the_nearest_answers() -> None:
    outputs = np.array([[0.9, 0.1, 0.0], [0.15, 0.75, 0.1], [0.45, 0.5, 0.05], [0.02, 0.98, 0.0]])
    bad, unsure = shown_examples(
        outputs, np.array([1, 0, 1, 1]), ["a", "b", "c"], "classification", PICTURES.__getitem__
    )
    assert [(each.true, each.predicted, each.probability) for each in bad] == [("b", "a", 0.9), ("a", "b", 0.75)]
    assert [(each.predicted, each.second) for each in unsure] == [("b", "a")]  # 0.75 against 0.15 is no doubt
    assert unsure[0].picture is not None and np.array_equal(unsure[0].picture, PICTURES[2])


def test_reads_only_what_is_shown() -> None:
    read = list[int]()
    outputs = np.tile([0.6, 0.4], (100, 1))

    def example(number: int) -> np.ndarray:
        read.append(number)
        return np.zeros(4, np.float32)

    bad, unsure = shown_examples(
        outputs, np.ones(100, np.int64), ["a", "b"], "classification", example, worst=3, uncertain=2
    )
    assert (len(bad), len(unsure), len(read)) == (3, 2, 5)
    assert bad[0].picture is None


def test_shows_wrong_labels_by_what_they_cost() -> None:
    outputs = np.array([[0.9, 0.9], [0.99, 0.1], [0.45, 0.1]])
    labels = np.array([[1, 1], [0, 1], [1, 0]], np.uint8)
    bad, unsure = shown_examples(outputs, labels, ["sky", "sea"], "multilabel", PICTURES.__getitem__)
    assert [(each.true, each.predicted) for each in bad] == [("sea", "sky"), ("sky", "no label")]
    assert [(each.second, each.second_probability) for each in unsure] == [("sky", 0.45)]


def test_shows_values_that_are_farthest_off_for_their_spread() -> None:
    values = np.array([[1000, 1], [2000, 2], [3000, 3]], np.float32)
    outputs = values + np.array([[100, 0], [0, 1.5], [0, 0]])
    bad, unsure = shown_examples(outputs, values, ["width", "age"], "regression", PICTURES.__getitem__, worst=2)
    assert [(each.true, each.predicted) for each in bad] == [("2000 | 2", "2000 | 3.5"), ("1000 | 1", "1100 | 1")]
    assert unsure == []


def test_shows_nothing_of_nothing() -> None:
    assert shown_examples(
        np.empty((0, 2)), np.empty(0, np.int64), ["a", "b"], "classification", PICTURES.__getitem__
    ) == ([], [])
    one = shown_examples(np.ones((2, 1)), np.zeros(2, np.int64), ["a"], "classification", PICTURES.__getitem__)
    assert one == ([], [])
