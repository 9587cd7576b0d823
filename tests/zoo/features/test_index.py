from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from zoo.features.index import Index

if TYPE_CHECKING:
    from zoo.data import Ids


def keys(count: int, seed: int = 0) -> Ids:
    """Returns identities as hashes are: random bytes."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)


def alike(count: int) -> Ids:
    """Returns identities that differ in their last bytes only, in no order."""
    ids = np.zeros((count, 32), np.uint8)
    ids[:, 28:] = np.random.default_rng(1).permutation(count).astype("<u4").view(np.uint8).reshape(count, 4)
    return ids


@pytest.mark.parametrize("ids", [keys(100), alike(100)], ids=["random", "that begin alike"])
def test_each_identity_is_found_where_it_lies(ids: Ids) -> None:
    index = Index([ids[:30], ids[30:30], ids[30:90]])
    wanted = np.random.default_rng(2).permutation(100)

    shard, row = index.locate(ids[wanted])

    assert shard.dtype == row.dtype == np.int64
    assert shard.tolist() == [0 if number < 30 else 2 if number < 90 else -1 for number in wanted]
    assert row.tolist() == [number if number < 30 else number - 30 if number < 90 else -1 for number in wanted]


@pytest.mark.parametrize("ids", [keys(6), alike(6)], ids=["random", "that begin alike"])
def test_the_first_of_equal_keys_wins(ids: Ids) -> None:
    shard, row = Index([ids[[0, 1, 0]], ids[[2, 1, 3]], ids[[0, 3]]]).locate(ids)

    assert shard.tolist() == [0, 0, 1, 1, -1, -1]
    assert row.tolist() == [0, 1, 0, 2, -1, -1]


def test_an_identity_that_begins_like_another_one_is_not_taken_for_it() -> None:
    ids = keys(3)
    other = ids.copy()
    other[:, 8:] = 0

    assert Index([ids]).locate(other)[0].tolist() == [-1] * 3


def test_the_same_identity_may_be_asked_for_twice() -> None:
    ids = keys(3)

    assert Index([ids]).locate(ids[[2, 0, 2]])[1].tolist() == [2, 0, 2]


@pytest.mark.parametrize("shards", [[], [keys(0)]])
def test_nothing_is_found_in_nothing(shards: list[Ids]) -> None:
    shard, row = Index(shards).locate(keys(2))

    assert shard.tolist() == row.tolist() == [-1, -1]


def test_nothing_may_be_asked_for() -> None:
    assert [len(each) for each in Index([keys(3)]).locate(keys(0))] == [0, 0]


def test_identities_need_not_lie_side_by_side_in_memory() -> None:
    ids = keys(10)
    wide = np.zeros((10, 64), np.uint8)
    wide[:, 16:48] = ids

    assert Index([wide[:, 16:48]]).locate(wide[::-1, 16:48])[1].tolist() == list(range(10))[::-1]


def test_a_million_identities_are_found_quickly() -> None:
    ids = keys(1_000_000)
    began = time.process_time()

    shard, row = Index(np.array_split(ids, 80)).locate(ids)

    assert time.process_time() - began < 3  # about 0.5 s; as strings it took six times as long
    assert np.array_equal(shard * 12_500 + row, np.arange(len(ids)))
