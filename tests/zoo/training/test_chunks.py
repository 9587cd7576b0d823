from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from zoo.errors import IntegrityError
from zoo.features import Features, FeatureStats, shards
from zoo.features.shards import open_shard, write_shard
from zoo.training import FitSettings, Part, chunks
from zoo.training.chunks import Chunks, block_order

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH, COUNT, BATCH = 3, 500, 8


def examples(versions: int = 1, dtype: Any = np.float32) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Returns examples, each of which holds its own row number, class by class."""
    x = np.repeat(np.arange(versions * COUNT)[:, None], WIDTH, axis=1).astype(dtype)
    return x, np.arange(COUNT) * 10 // COUNT


def part(x: Any, rows: NDArray[np.int64] | None = None, versions: int = 1) -> Part:
    return Part(x, examples()[1], np.arange(COUNT) if rows is None else rows, versions)


def small(monkeypatch: pytest.MonkeyPatch, rows: int = 80) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", rows * WIDTH * 4)


def features(folder: Path, order: NDArray[np.int64], values: NDArray[np.float32]) -> Features:
    """Returns features whose rows are `values`, stored in the order `order` in two shards."""
    keys = np.random.default_rng(3).integers(0, 256, (len(values), 32), dtype=np.uint8)
    half = len(values) // 2
    paths = [write_shard(folder, keys[some], values[order[some]], {}) for some in (slice(half), slice(half, None))]
    place = np.empty(len(values), np.int64)
    place[order] = np.arange(len(values))
    stats = FeatureStats(len(values), 0, 0.0, values.nbytes)
    return Features([open_shard(path).features for path in paths], place // half, place % half, stats, "key")


def trained_on(source: Iterable[Any]) -> list[NDArray[np.int64]]:
    """Returns the row numbers that each chunk trains on, in order; labels must be theirs."""
    found = []
    for x, y, order, _ in source:
        rows = np.asarray(x)[np.asarray(order)][:, 0].astype(np.int64)
        assert np.array_equal(np.asarray(y)[np.asarray(order)], rows % COUNT * 10 // COUNT)
        found.append(rows)
    return found


ROWS = {
    "all": np.arange(COUNT),
    "some": np.flatnonzero(np.random.default_rng(0).random(COUNT) < 0.7),
    "in no order": np.random.default_rng(1).permutation(COUNT)[:333],
}


@pytest.mark.parametrize("stored", ["array", "features", "features in another order"])
@pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))
def test_each_example_comes_once_an_epoch_in_full_batches(
    rows: NDArray[np.int64], stored: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small(monkeypatch)
    x, _ = examples()
    order = np.random.default_rng(4).permutation(COUNT) if "another" in stored else np.arange(COUNT)
    source = Chunks(part(x if stored == "array" else features(tmp_path, order, x), rows), BATCH, "float32", whole=False)

    epochs = [trained_on(source.epoch(number, FitSettings(seed=5))) for number in (1, 2, 1)]
    once = np.concatenate(trained_on(source.once()))

    for epoch in epochs:
        assert np.array_equal(np.sort(np.concatenate(epoch)), np.sort(rows))
        assert all(len(chunk) % BATCH == 0 and len(chunk) <= 80 for chunk in epoch[:-1])
    assert np.array_equal(np.concatenate(epochs[0]), np.concatenate(epochs[2]))
    assert not np.array_equal(np.concatenate(epochs[0]), np.concatenate(epochs[1]))
    assert np.array_equal(once, rows)


def test_another_seed_gives_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    source = Chunks(part(examples()[0]), BATCH, "float32", whole=False)

    one, other = (np.concatenate(trained_on(source.epoch(1, FitSettings(seed=seed)))) for seed in (0, 1))

    assert not np.array_equal(one, other)


@pytest.mark.parametrize("whole", [False, True])
def test_without_shuffling_the_order_is_that_of_the_rows(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    rows = ROWS["in no order"]
    source = Chunks(part(examples()[0], rows), BATCH, "float32", whole=whole)

    found = np.concatenate(trained_on(source.epoch(3, FitSettings(shuffle=False))))

    assert np.array_equal(found, rows)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_each_example_comes_once_a_pass(whole: bool, shuffle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    source = Chunks(part(examples()[0]), BATCH, "float32", whole=whole)

    found = np.concatenate(trained_on(source.epoch(1, FitSettings(passes=3, shuffle=shuffle))))

    for one_pass in np.split(found, 3):
        assert np.array_equal(np.sort(one_pass), np.arange(COUNT))


@pytest.mark.parametrize("whole", [False, True])
def test_an_epoch_has_one_version_of_each_example_and_all_in_turn(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    rows = ROWS["in no order"]
    source = Chunks(part(examples(4)[0], rows, versions=4), BATCH, "float32", whole=whole)

    epochs = [np.concatenate(trained_on(source.epoch(number, FitSettings()))) for number in range(1, 5)]
    once = np.concatenate(trained_on(source.once()))

    for epoch in epochs:
        assert np.array_equal(np.sort(epoch % COUNT), np.sort(rows))
        counts = np.bincount(epoch // COUNT, minlength=4)
        assert counts.min() > len(rows) / 4 * 0.6
    assert np.unique(np.concatenate(epochs)).size == 4 * len(rows)
    assert np.array_equal(once, rows)


def test_the_version_of_an_example_depends_on_no_other_row_of_the_part() -> None:
    x, _ = examples(4)
    everything, some = part(x, versions=4), part(x, ROWS["in no order"], versions=4)

    assert np.array_equal(everything.versions_of(7, seed=3)[some.rows], some.versions_of(7, seed=3))
    assert not np.array_equal(everything.versions_of(7, seed=3), everything.versions_of(7, seed=4))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8", "|u1", "<i4", "|b1"])
@pytest.mark.parametrize("whole", [False, True])
def test_examples_keep_their_dtype(dtype: str, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    x = (np.random.default_rng(0).random((COUNT, WIDTH)) * 2).astype(dtype)
    source = Chunks(part(x), BATCH, "float32", whole=whole)

    read = np.concatenate([np.asarray(x)[np.asarray(order)] for x, _, order, _ in source.once()])

    assert read.dtype == np.dtype(dtype).newbyteorder("=") == source.dtype
    assert np.array_equal(read, x)


def test_numbers_that_tensorflow_does_not_know_become_the_models() -> None:
    x = np.arange(COUNT * WIDTH, dtype=np.longdouble).reshape(COUNT, WIDTH)

    ((read, *_),) = Chunks(part(x), BATCH, "float32", whole=True).once()

    assert np.array_equal(np.asarray(read), x.astype(np.float32))


@pytest.mark.parametrize("whole", [True, False])
def test_texts_come_as_they_are(whole: bool) -> None:
    texts = np.array([f"text {number} \u00e9" for number in range(40)], object)
    part = Part(texts, np.arange(40), np.arange(3, 33))

    for found in (
        Chunks(part, 4, "string", whole=whole).once(),
        Chunks(part, 4, "string", whole=whole).epoch(1, FitSettings()),
    ):
        rows = [
            (np.asarray(chunk.x)[place].decode(), np.asarray(chunk.y)[place])
            for chunk in found
            for place in np.asarray(chunk.order)
        ]
        assert sorted(rows, key=lambda row: row[1]) == [(texts[number], number) for number in range(3, 33)]


def test_memory_mapped_arrays_are_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    np.save(tmp_path / "x.npy", examples()[0])
    source = Chunks(part(np.load(tmp_path / "x.npy", mmap_mode="r")), BATCH, "float32", whole=False)

    found = np.concatenate(trained_on(source.epoch(1, FitSettings())))

    assert np.array_equal(np.sort(found), np.arange(COUNT))


class Asked:
    """An array that remembers how much of it was asked for at once, and on which thread."""

    def __init__(self, x: NDArray[Any], fails_at: int = -1) -> None:
        self._x, self._fails_at = x, fails_at
        self.shape, self.dtype = x.shape, x.dtype
        self.sizes: list[int] = []
        self.threads: set[str] = set()

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        if len(self.sizes) == self._fails_at:
            raise OSError("gone")
        assert (np.diff(rows) >= 0).all()
        self.sizes.append(len(rows))
        self.threads.add(threading.current_thread().name)
        return self._x[rows]


@pytest.mark.parametrize("whole", [False, True])
def test_arrays_are_copied_piece_by_piece(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_PIECE_BYTES", 20 * WIDTH * 4)
    asked = Asked(examples()[0])
    source = Chunks(part(asked), BATCH, "float32", whole=whole)

    trained_on(source.once())

    assert set(asked.sizes) == {20}
    assert sum(asked.sizes) == COUNT


def test_the_next_chunk_is_read_while_this_one_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    read = threading.Event()

    class Telling(Asked):
        def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
            if len(self.sizes) == 1:
                read.set()
            return super().__getitem__(rows)

    source = Chunks(part(Telling(examples()[0])), BATCH, "float32", whole=False).once()

    next(source)

    assert read.wait(10)  # nobody asked for the second
    source.close()


def test_a_chunk_keeps_its_values_until_the_next_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    asked = Asked(examples()[0])
    expected = 0
    for x, _, order, _ in Chunks(part(asked), BATCH, "float32", whole=False).once():
        for thread in threading.enumerate():
            if thread.name.startswith("zoo-reading"):
                thread.join(0.005)  # time to overwrite what it must not
        assert np.array_equal(np.asarray(x)[np.asarray(order)][:, 0], expected + np.arange(len(order)))
        expected += len(order)
    assert expected == COUNT


def test_what_goes_wrong_in_the_reading_thread_is_raised_and_no_thread_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)

    with pytest.raises(OSError, match="gone"):
        trained_on(Chunks(part(Asked(examples()[0], fails_at=3)), BATCH, "float32", whole=False).once())

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("zoo-reading")]


def test_features_of_many_gaps_are_read_by_two_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small(monkeypatch)
    asked: list[tuple[str, int]] = []

    class Told(Features):
        def read_into(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
            asked.append((threading.current_thread().name, len(rows)))
            super().read_into(rows, out)

    stored = features(tmp_path, np.random.default_rng(4).permutation(COUNT), examples()[0])
    stored.__class__ = Told
    rows = np.flatnonzero(np.arange(COUNT) % 7 > 1)  # gaps of two rows

    source = Chunks(part(stored, rows), BATCH, "float32", whole=False)
    found = np.concatenate(trained_on(source.epoch(1, FitSettings(shuffle=False))))

    assert np.array_equal(found, rows)
    assert sum(count for _, count in asked) == len(rows)
    assert {name for name, _ in asked} == {"zoo-reading_0", "zoo-reading_1"}


def test_what_goes_wrong_in_the_helping_thread_is_raised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small(monkeypatch)
    stored = features(tmp_path, np.arange(COUNT), examples()[0])
    shards._mapped.cache_clear()
    stored._sources[1].path.unlink()

    with pytest.raises(IntegrityError, match="removed or cut short"):
        trained_on(Chunks(part(stored), BATCH, "float32", whole=False).epoch(1, FitSettings()))

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("zoo-reading")]


@pytest.mark.parametrize("places", [[], [5], [3, 1, 2], [7, 7, 0, 7], [1 << 40, 0, 1 << 39]])
def test_numbers_in_the_order_of_their_places(places: list[int]) -> None:
    found = chunks._ascending(np.array(places, np.int64))

    assert np.array_equal(found, np.argsort(places, kind="stable"))


@pytest.mark.parametrize(
    ("count", "block", "chunk"), [(1, 1, 8), (7, 3, 8), (100, 7, 24), (1000, 25, 256), (96, 8, 32)]
)
def test_block_order_has_each_number_once(count: int, block: int, chunk: int) -> None:
    order = block_order(np.zeros(count, np.int64), block, chunk, np.random.default_rng(0))

    assert np.array_equal(np.sort(order), np.arange(count))


def test_a_chunk_is_made_of_few_long_runs() -> None:
    order = block_order(np.arange(10_000) // 1000, 25, 1000, np.random.default_rng(0))

    for chunk in np.split(order, 10):
        runs = 1 + np.count_nonzero(np.diff(np.sort(chunk)) > 1)
        assert runs <= 1000 / 25
        assert np.abs(np.corrcoef(np.arange(1000), chunk)[0, 1]) < 0.2  # shuffled inside


def test_every_chunk_has_its_share_of_every_class() -> None:
    labels = np.repeat(np.arange(10), 1000)  # class by class, as a folder of pictures has them

    order = block_order(labels, 25, 1000, np.random.default_rng(0))

    for chunk in np.split(order, 10):
        assert np.bincount(labels[chunk], minlength=10).tolist() == [100] * 10


def test_the_share_holds_nearly_where_nothing_divides() -> None:
    sizes = np.array([997, 13, 2011, 640, 1])
    labels = np.repeat(np.arange(5), sizes)

    order = block_order(labels, 7, 464, np.random.default_rng(0))

    for begin in range(0, len(labels) - 464, 464):
        shares = np.bincount(labels[order[begin : begin + 464]], minlength=5) / 464
        assert np.abs(shares - sizes / sizes.sum()).max() < 0.08  # by chance alone 0.1 to 0.18
