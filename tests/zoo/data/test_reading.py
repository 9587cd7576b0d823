"""Reading ahead: examples come in order, preprocessed as one by one, whatever threads do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from zoo.data import ArrayExamples, SomeExamples, open_data
from zoo.data.reading import Reader
from zoo.errors import DataError
from zoo.registry import InputSpec

SPEC = InputSpec((8, 8, 3), scale=1 / 255)


def folder_of(place: Path, count: int, sizes: tuple[int, ...] = (20,)) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        path = place / "data" / f"class{number % 2}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = sizes[number % len(sizes)]
        Image.fromarray(rng.integers(0, 256, (size, 30, 3), dtype=np.uint8)).save(path)
    return place / "data"


def test_batches_are_what_reading_one_by_one_gives(tmp_path: Path) -> None:
    """23 pictures of two sizes, 5 at a time: four full batches and one of 3."""
    examples = open_data(folder_of(tmp_path, 23, sizes=(20, 25)))
    reader = Reader(examples, SPEC)
    rows = np.random.default_rng(1).permutation(23)
    batches = list(reader.batches(rows, 5))
    assert [len(batch.rows) for batch in batches] == [5, 5, 5, 5, 3]
    np.testing.assert_array_equal(np.concatenate([batch.rows for batch in batches]), rows)
    expected = np.stack([reader[rows[at : at + 1]][0] for at in range(23)])
    np.testing.assert_allclose(np.concatenate([batch.x for batch in batches]), expected, atol=1e-6)


def test_what_was_asked_for_first_comes_first(tmp_path: Path) -> None:
    """Even where it takes longest."""

    class Uneven(ArrayExamples):
        paths = tuple(str(number) for number in range(10))

        def read(self, rows: Any) -> NDArray[Any]:
            time.sleep(0.03 * (rows[0] % 3 == 0))
            return super().read(rows)

    examples = Uneven(np.arange(30.0).reshape(10, 3))
    (batch,) = Reader(examples, None).batches(np.arange(10), 64)
    np.testing.assert_array_equal(batch.x, examples.x)


def test_pictures_of_several_sizes_for_a_model_of_any_size_come_apart(tmp_path: Path) -> None:
    examples = open_data(folder_of(tmp_path, 6, sizes=(20, 20, 25)))
    batches = list(Reader(examples, InputSpec((None, None, 3), resizable=True)).batches(np.arange(6), 64))
    assert sum(len(batch.rows) for batch in batches) == 6
    assert all(len({picture.shape for picture in batch.x}) == 1 for batch in batches)


def test_b15_a_file_that_vanished_or_changed_is_left_out_and_named(tmp_path: Path) -> None:
    examples = open_data(folder_of(tmp_path, 12))
    assert examples.paths is not None
    gone, changed = (tmp_path / "data" / examples.paths[row] for row in (3, 7))
    gone.unlink()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(changed)
    batches = list(Reader(examples, SPEC).batches(np.arange(12), 5))
    rows = np.concatenate([batch.rows for batch in batches])
    assert rows.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10, 11]
    bad = {row: file for batch in batches for row, file in batch.bad}
    assert sorted(bad) == [3, 7]
    assert bad[3].path == examples.paths[3]


def test_an_array_with_a_value_that_is_not_finite_is_refused() -> None:
    x = np.zeros((100, 4))
    x[77, 1] = np.nan
    with pytest.raises(DataError, match="not finite .*: example 77[.]"):
        list(Reader(ArrayExamples(x), None).batches(np.arange(100), 10))
    some = SomeExamples(SomeExamples(ArrayExamples(x), np.arange(99, 9, -1)), np.arange(20, 40))
    with pytest.raises(DataError, match="example 77[.]"):  # as the caller counts, however they were chosen
        Reader(some, None)[np.arange(20)]


def test_who_stops_early_leaves_nothing_running() -> None:
    batches = Reader(ArrayExamples(np.zeros((1000, 4))), None).batches(np.arange(1000), 10)
    assert len(next(batches).rows) == 10
    batches.close()  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:This process")  # is multi-threaded: said from Python 3.12 on
def test_a_forked_child_reads_too(tmp_path: Path) -> None:
    """As the workers of a PyTorch DataLoader do: of threads that read files the child has none."""
    examples = open_data(folder_of(tmp_path, 4))
    expected = examples.read(np.arange(2))
    child = os.fork()
    if not child:
        same = all(np.array_equal(*pair) for pair in zip(examples.read(np.arange(2)), expected, strict=True))
        os._exit(0 if same else 1)
    deadline = time.monotonic() + 20
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0)
