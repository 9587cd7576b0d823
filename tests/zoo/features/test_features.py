from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from zoo.features import Features, FeatureStats
from zoo.features.shards import open_shard, write_shard

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

COUNT, WIDTH = 60, 5
VALUES = np.random.default_rng(0).normal(size=(COUNT, WIDTH)).astype(np.float32)
STATS = FeatureStats(COUNT, 0, 0.0, COUNT * WIDTH * 4)
ORDERS: dict[str, NDArray[np.int64]] = {
    "as stored": np.arange(COUNT),
    "another way round": np.arange(COUNT)[::-1],
    "shuffled": np.random.default_rng(1).permutation(COUNT),
    "some twice": np.sort(np.random.default_rng(2).integers(0, COUNT, COUNT)),
}


def stored(folder: Path, values: NDArray[Any], order: NDArray[np.int64], **more: Any) -> Features:
    """Returns features in three shards, whose rows are `values[order]`."""
    keys = np.random.default_rng(3).integers(0, 256, (len(values), 32), dtype=np.uint8)
    bounds = [0, 7, 41, len(values)]
    paths = [write_shard(folder, keys[begin:end], values[begin:end], {}) for begin, end in itertools.pairwise(bounds)]
    shard = np.searchsorted(bounds, order, side="right") - 1
    row = order - np.array(bounds)[shard]
    return Features([open_shard(path).features for path in paths], shard, row, STATS, "key", **more)


@pytest.fixture(params=list(ORDERS))
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Features, NDArray[np.float32]]:
    """Features in one of several orders on disk, and what they are."""
    order = ORDERS[request.param]
    return stored(tmp_path, VALUES, order), VALUES[order]


@pytest.mark.parametrize(
    "take",
    [
        lambda x: x[3],
        lambda x: x[-1],
        lambda x: x[np.int64(4)],
        lambda x: x[:],
        lambda x: x[...],
        lambda x: x[()],
        lambda x: x[5:50:7],
        lambda x: x[50:5:-3],
        lambda x: x[40:40],
        lambda x: x[np.arange(0, COUNT, 2)],
        lambda x: x[np.array([8, -1, 8, 0])],
        lambda x: x[[3, 1]],
        lambda x: x[[]],
        lambda x: x[np.arange(COUNT) % 3 == 0],
        lambda x: x[np.zeros(COUNT, bool)],
        lambda x: x[np.array([[1, 2], [3, 50]])],
        lambda x: x[None],
        lambda x: x[3, 2],
        lambda x: x[3, 1:],
        lambda x: x[10:20, 2],
        lambda x: x[:, ::2],
        lambda x: x[..., 1],
        lambda x: x[[9, 3], ...],
        lambda x: x[[9, 3], [0, 4]],
        lambda x: x[np.arange(COUNT) % 9 == 0, 1:3],
    ],
)
def test_what_is_taken_is_what_numpy_takes(
    take: Callable[[Any], NDArray[Any]], pair: tuple[Features, NDArray[np.float32]]
) -> None:
    features, values = pair

    found, expected = take(features), take(values)

    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("index", [COUNT, -COUNT - 1, [0, COUNT], np.ones(COUNT - 1, bool), 1.5, "a"])
def test_what_numpy_refuses_is_refused(index: Any, tmp_path: Path) -> None:
    features = stored(tmp_path, VALUES, np.arange(COUNT))

    with pytest.raises(IndexError):
        features[index]


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 4, 2), (3000,)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_features_may_have_any_shape(shape: tuple[int, ...], dtype: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(COUNT, *shape)).astype(dtype)

    features = stored(tmp_path, values, np.arange(COUNT))

    assert (features.shape, features.dtype, features.ndim, len(features)) == (
        values.shape,
        values.dtype,
        values.ndim,
        COUNT,
    )
    assert np.array_equal(np.asarray(features), values)
    assert np.array_equal(features[7], values[7])
    assert np.array_equal(features[[50, 2]], values[[50, 2]])


def test_numpy_makes_an_array_of_it_by_a_copy_only(pair: tuple[Features, NDArray[np.float32]]) -> None:
    features, values = pair

    assert np.array_equal(np.asarray(features, np.float64), values.astype(np.float64))
    assert np.array_equal(np.stack(list(features)), values)
    with pytest.raises(ValueError, match="copy=None"):
        np.array(features, copy=False)


def test_what_is_taken_can_be_written_to_and_the_features_stay(tmp_path: Path) -> None:
    features = stored(tmp_path, VALUES, np.arange(COUNT))

    for taken in (features[:], features[[1, 5]], features[1], features[1:3, 1:]):
        taken += 1

    assert np.array_equal(features[:], VALUES)


def test_scikit_learn_takes_features_as_they_are(tmp_path: Path) -> None:
    labels = (VALUES[:, 0] > 0).astype(np.int64)
    features = stored(tmp_path, VALUES, np.arange(COUNT), labels=labels)

    x, unseen, y, expected = train_test_split(features, features.labels, random_state=0)

    assert LogisticRegression(C=100).fit(x, y).score(unseen, expected) > 0.8
    assert LogisticRegression(C=100).fit(features, features.labels).score(features, labels) > 0.9


def test_places_say_in_which_order_rows_are_read_fast(pair: tuple[Features, NDArray[np.float32]]) -> None:
    features, values = pair
    rows = np.arange(3, 55)

    ordered = rows[np.argsort(features.places(rows), kind="stable")]
    out = np.empty((len(rows), WIDTH), np.float32)
    features.read_into(ordered, out)

    assert np.array_equal(out, values[ordered])


def test_without_being_told_all_examples_have_features_and_class_0(tmp_path: Path) -> None:
    features = stored(tmp_path, VALUES, np.arange(COUNT))

    assert features.kept.tolist() == list(range(COUNT))
    assert features.labels.tolist() == [0] * COUNT
    assert (features.classes, features.bad, features.key, features.stats) == ((), (), "key", STATS)


def test_features_say_whose_they_are(tmp_path: Path) -> None:
    kept = np.delete(np.arange(COUNT + 2), [5, 9])
    labels = np.arange(COUNT) % 2

    features = stored(tmp_path, VALUES, np.arange(COUNT), kept=kept, labels=labels, classes=["cat", "dog"])

    assert np.array_equal(features.kept, kept)
    assert np.array_equal(features.labels, labels)
    assert features.classes == ("cat", "dog")


@pytest.mark.parametrize("wrong", [{"kept": np.arange(3)}, {"labels": np.arange(COUNT + 1)}])
def test_lengths_that_do_not_agree_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="60 rows"):
        stored(tmp_path, VALUES, np.arange(COUNT), **wrong)


def test_examples_without_features_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 examples have no features"):
        Features([], np.array([0, -1]), np.array([0, -1]), STATS, "key")


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory this process has")
def test_what_was_read_in_order_takes_no_memory(tmp_path: Path) -> None:
    features = stored(tmp_path, np.ones((COUNT, 300_000), np.float32), np.arange(COUNT))  # 72 MB
    out = np.ones((2, 300_000), np.float32)
    before = resident()

    for row in range(0, COUNT, 2):
        features.read_into(np.array([row, row + 1]), out)

    assert resident() - before < 20 << 20


def resident() -> int:
    """Returns the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
