"""Data without classes, and data whose classes are not to be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.data import ArrayExamples, SomeExamples, open_data, split_of
from zoo.errors import DataError, UsageError
from zoo.registry import InputSpec

RNG = np.random.default_rng(3)


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(path, format="PNG")


def opened(spec: Any, **options: Any) -> Any:
    return open_data(spec, unlabelled=True, **options)


def has_no_labels(examples: Any) -> bool:
    return examples.classes == ("",) and examples.task == "classification" and not np.any(examples.labels)


def test_a_flat_folder_of_pictures_is_one_class_without_a_name(tmp_path: Path) -> None:
    for number in range(30):
        put(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("not a picture")

    examples = opened(tmp_path, near_duplicates=False)

    assert len(examples) == 30
    assert has_no_labels(examples)
    assert examples.parts is None
    assert examples.read(np.array([0]))[0].shape == (12, 16, 3)
    split = split_of(examples)
    assert len(split.train) + len(split.validation) + len(split.test) == 30
    assert min(len(split.train), len(split.validation)) > 0
    with pytest.raises(DataError, match="it lies in no class folder"):
        open_data(tmp_path)


def test_sub_folders_are_no_classes(tmp_path: Path) -> None:
    for name in ("cat/1", "cat/2", "dog/deep/3", "4"):
        put(tmp_path / f"{name}.png")

    examples = opened(tmp_path)

    assert sorted(examples.paths) == ["4.png", "cat/1.png", "cat/2.png", "dog/deep/3.png"]
    assert has_no_labels(examples)


@pytest.mark.parametrize("flat", [True, False])
def test_parts_of_the_data_stay_parts(tmp_path: Path, flat: bool) -> None:
    for part, number in (("train", 0), ("val", 1), ("test", 2)):
        put(tmp_path / part / ("" if flat else "cat") / f"{number}.png")

    examples = opened(tmp_path, near_duplicates=False)

    parts = {path.split("/")[0]: int(part) for path, part in zip(examples.paths, examples.parts, strict=True)}
    assert parts == {"train": 0, "val": 1, "test": 2}
    assert has_no_labels(examples)


def test_a_folder_called_test_beside_others_is_only_a_folder(tmp_path: Path) -> None:
    put(tmp_path / "test" / "1.png")
    put(tmp_path / "2.png")

    assert opened(tmp_path).parts is None


def test_a_table_needs_no_labels_and_says_nothing_by_them(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"{number}.png")
    bare, labelled = tmp_path / "bare.csv", tmp_path / "labelled.csv"
    bare.write_text("path,split\n0.png,train\n1.png,test\n2.png,\n")
    labelled.write_text("path,label\n0.png,a|b\n1.png,\n2.png,c\n0.png,d\n")

    examples = opened(bare)
    assert has_no_labels(examples)
    assert examples.parts.tolist() == [0, 2, -1]
    with pytest.raises(DataError, match="no column 'label'"):
        open_data(bare)

    examples = opened(labelled)
    assert has_no_labels(examples)
    assert sorted(examples.paths) == ["0.png", "1.png", "2.png"]


def test_a_table_of_texts_needs_no_labels_and_says_nothing_by_them(tmp_path: Path) -> None:
    for number, table in enumerate(
        ('text\n"good, or not"\n"a|b"\n', 'label;split;text\n;test;"good, or not"\n7;;"a|b"')
    ):
        path = tmp_path / f"{number}.csv"
        path.write_text(table)

        examples = opened(path)

        assert has_no_labels(examples)
        assert examples.read(np.arange(2)).tolist() == ["good, or not", "a|b"]
        assert (examples.parts is None) == (number == 0)


def test_a_file_of_lines_has_a_text_a_line(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeffgood, or not\r\n\n  \nd\u00e9j\u00e0 vu\n".encode())

    examples = opened(path)

    assert has_no_labels(examples)
    assert examples.read(np.arange(2)).tolist() == ["good, or not", "d\u00e9j\u00e0 vu"]
    assert list(examples.paths) == ["texts.txt:1", "texts.txt:4"]
    with pytest.raises(DataError, match="a text a line, and no labels.*columns text,label"):
        open_data(path)
    with pytest.raises(UsageError, match="no columns or paths to group"):
        opened(path, group_by="who")
    path.write_text(" \n")
    with pytest.raises(DataError, match="has no texts"):
        opened(path)


def test_an_npz_file_needs_no_y(tmp_path: Path) -> None:
    x = RNG.normal(size=(5, 3)).astype(np.float32)
    np.savez(tmp_path / "bare.npz", x=x, x_test=x[:2] + 1)
    np.savez(tmp_path / "labelled.npz", x=x, y=np.arange(5))

    examples = opened(tmp_path / "bare.npz")
    assert has_no_labels(examples)
    assert len(examples) == 7
    assert examples.parts.tolist() == [0] * 5 + [2] * 2
    assert np.array_equal(examples.read(np.arange(5)), x)
    with pytest.raises(DataError, match="labels in an array 'y'"):
        open_data(tmp_path / "bare.npz")
    assert has_no_labels(opened(tmp_path / "labelled.npz"))


def test_arrays_and_open_examples_lose_their_labels_and_nothing_else() -> None:
    x, y = RNG.integers(0, 256, (6, 4, 4, 1)).astype(np.uint8), [0, 1, 0, 1, 2, 2]
    labelled = ArrayExamples(x, y)
    some = SomeExamples(labelled, np.array([1, 4]))

    for spec in (x, (x, y), labelled):
        examples = opened(spec)
        assert has_no_labels(examples)
        assert np.array_equal(examples.ids, labelled.ids)
    for examples in (opened(some), opened(some).seen_by(InputSpec((4, 4, 1), color="gray"))):
        assert has_no_labels(examples)
        assert np.array_equal(examples.ids, labelled.ids[[1, 4]])
    assert labelled.classes == ("0", "1", "2")
    assert has_no_labels(opened("digits"))


def test_how_it_was_opened_is_remembered(tmp_path: Path) -> None:
    put(tmp_path / "1.png")
    examples = opened(tmp_path)

    again = open_data(examples.opened["spec"], **examples.opened["options"])

    assert has_no_labels(again)
    assert np.array_equal(again.ids, examples.ids)


def test_a_task_of_unlabelled_data_is_refused() -> None:
    with pytest.raises(UsageError, match="no labels, and so no task"):
        opened("digits", task="regression")
