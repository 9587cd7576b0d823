"""Classes, several labels, and values: as tables, arrays and `.npz` files have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.data import open_data, split_of
from zoo.data.checking import check_data
from zoo.errors import DataError, UsageError

COUNT = 40


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Pictures of which none is like another."""
    names = []
    for number in range(COUNT):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), np.uint8)
        names.append(f"{number}.png")
        Image.fromarray(pixels).save(tmp_path / names[-1])
    return names


def table(folder: Path, names: list[str], labels: list[Any]) -> Path:
    path = folder / "table.csv"
    path.write_text("path,label\n" + "".join(f"{a},{b}\n" for a, b in zip(names, labels, strict=True)))
    return path


def test_labels_of_a_table_stand_between_bars(tmp_path: Path, pictures: list[str]) -> None:
    labels = ["cat|dog", "dog", " dog | cat ", "bird"] * (COUNT // 4)

    examples = open_data(table(tmp_path, pictures, labels))

    assert (examples.task, examples.classes) == ("multilabel", ("bird", "cat", "dog"))
    assert examples.labels[:4].tolist() == [[0, 1, 1], [0, 0, 1], [0, 1, 1], [1, 0, 0]]
    assert examples.labels.dtype == np.uint8


def test_a_bar_may_be_part_of_a_name(tmp_path: Path, pictures: list[str]) -> None:
    labels = ["a|b", "c"] * (COUNT // 2)

    examples = open_data(table(tmp_path, pictures, labels), task="classification")

    assert (examples.task, examples.classes) == ("classification", ("a|b", "c"))


def test_an_example_may_have_no_label_where_several_are_allowed(tmp_path: Path, pictures: list[str]) -> None:
    path = table(tmp_path, pictures, ["", "a"] * (COUNT // 2))

    assert open_data(path, task="multilabel").labels[:2].tolist() == [[0], [1]]
    with pytest.raises(DataError, match="line 2: the label is empty"):
        open_data(path)


def test_values_of_a_table(tmp_path: Path, pictures: list[str]) -> None:
    examples = open_data(table(tmp_path, pictures, [number / 2 for number in range(COUNT)]), task="regression")

    assert (examples.task, examples.classes) == ("regression", ("value",))
    assert examples.labels[:3].tolist() == [[0.0], [0.5], [1.0]]
    assert examples.labels.dtype == np.float32


@pytest.mark.parametrize("value", ["high", "nan", "inf", "1|2"])
def test_what_is_no_value_is_told_with_its_line(tmp_path: Path, pictures: list[str], value: str) -> None:
    path = table(tmp_path, pictures, [1, 2, value, *range(COUNT - 3)])

    with pytest.raises(DataError, match="line 4: expected a number"):
        open_data(path, task="regression")


def test_arrays() -> None:
    x = np.random.default_rng(0).normal(size=(COUNT, 5))
    several = (np.arange(COUNT)[:, None] % [2, 3] == 0).astype(int)

    labels = open_data((x, several), task="multilabel")
    values = open_data((x, x[:, 0]), task="regression")
    pairs = open_data((x, x[:, :2]), task="regression")

    assert (labels.classes, labels.labels[:3].tolist()) == (("0", "1"), [[1, 1], [0, 0], [1, 0]])
    assert (values.classes, values.labels.shape) == (("value",), (COUNT, 1))
    assert (pairs.classes, pairs.labels.shape) == (("0", "1"), (COUNT, 2))


def test_an_npz_file(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(COUNT, 5))
    np.savez(tmp_path / "data.npz", x=x, y=x[:, :2], x_test=x[:4] + 1, y_test=x[:4, :2])

    examples = open_data(tmp_path / "data.npz", task="regression")

    assert examples.labels.shape == (COUNT + 4, 2)
    assert split_of(examples).test.tolist() == list(range(COUNT, COUNT + 4))


@pytest.mark.parametrize(
    ("y", "task", "message"),
    [
        (np.array(["a", "b"] * (COUNT // 2)), "multilabel", r"0 or 1 for each label, \[n, labels\]"),
        (np.arange(COUNT), "multilabel", "got other numbers"),
        (np.full((COUNT, 2), 2), "multilabel", "task='regression'"),
        (np.full(COUNT, np.nan), "regression", "finite"),
        (np.full(COUNT, "a"), "regression", "numbers"),
        (np.zeros((COUNT, 2)), None, "task='multilabel'"),
    ],
)
def test_arrays_that_are_no_such_targets(y: Any, task: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_data((np.random.default_rng(0).normal(size=(COUNT, 5)), y), task=task)


def test_tasks_that_a_folder_cannot_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"wants a \.csv"):
        open_data("digits", task="regression")
    with pytest.raises(UsageError, match=r"wants a \.csv"):
        open_data(tmp_path, task="multilabel")
    with pytest.raises(UsageError, match="multilabel, regression"):
        open_data("digits", task="ranking")  # type: ignore[arg-type]


def test_rare_labels_come_into_every_part() -> None:
    random = np.random.default_rng(0)
    y = np.zeros((300, 3), np.uint8)
    y[:, 0] = 1
    y[:4, 1] = 1  # rare, and never alone
    y[100:, 2] = random.integers(0, 2, 200)
    examples = open_data((random.normal(size=(300, 4)), y), task="multilabel")

    split = split_of(examples)

    for rows in (split.train, split.validation, split.test):
        assert examples.labels[rows, 1].any()


def test_values_are_split_by_content_and_seed_alone() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(300, 4)), random.normal(size=300)

    few, all_of_them = (split_of(open_data((x[:n], y[:n]), task="regression")) for n in (200, 300))

    assert set(few.test) == {row for row in all_of_them.test if row < 200}
    assert 0.1 < len(all_of_them.test) / 300 < 0.2
    assert len(split_of(open_data((x, y), task="regression"), train_per_class=7).train) == 7


def test_check_counts_each_label(tmp_path: Path, pictures: list[str]) -> None:
    check = check_data(table(tmp_path, pictures, ["a|b", "a"] * (COUNT // 2)))

    assert {each.name: each.examples for each in check.classes} == {"a": COUNT, "b": COUNT // 2}


def test_check_of_values_knows_no_classes(tmp_path: Path, pictures: list[str]) -> None:
    check = check_data(table(tmp_path, pictures, list(range(COUNT))), task="regression")

    assert [(each.name, each.examples) for each in check.classes] == [("any value", COUNT)]
    assert check.problem is None
