"""Features when processes are killed, disks are full, and several write at once. The processes need no TensorFlow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from zoo.data import ArrayExamples
from zoo.features import FeatureCache
from zoo.features.folder import FeatureFolder
from zoo.features.shards import write_shard
from zoo.features.spec import FeatureSpec
from zoo.features.verifying import verify_features
from zoo.files import sha256_of

ROWS, PART = 640, 64

# A process that adds features to a folder, 64 a shard, as another folder has them. Arguments: where from, where to.
WRITER = """
import json, os, pathlib, sys, time
from safetensors.numpy import load_file
import zoo.files
from zoo.features import shards
from zoo.features.folder import FeatureFolder
from zoo.features.spec import FeatureSpec

source, root = map(pathlib.Path, sys.argv[1:3])
(shard,) = source.glob("*.safetensors")
rows = load_file(shard)
record = json.loads((source / "spec.json").read_bytes())
folder = FeatureFolder(root, FeatureSpec(**{**record, "shape": tuple(record["shape"])}))

def stop(*_):
    print("now", flush=True)
    time.sleep(60)

def part(begin, count=64):
    folder.add(rows["keys"][begin : begin + count], rows["features"][begin : begin + count], {"made_by": "test"})

def done():
    heavy = {"tensorflow", "keras"} & set(sys.modules)
    assert not heavy, heavy
    print("done", flush=True)
"""
IN_THE_MIDST = """
part(0); part(64)
def half(path, data):
    return zoo.files.write_whole(path, lambda file: (file.write(data[: len(data) // 2]), file.flush(), stop()))
shards.write_bytes = half
part(128)
"""
AFTER_THE_RENAME = """
part(0); part(64)
flush = zoo.files.flush
zoo.files.flush = lambda path: stop() if path == folder.path else flush(path)
part(128)
"""
FULL = """
import resource
from zoo.errors import DiskError
size = next(source.glob("*.safetensors")).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size // 4, size))
part(0)
try:
    part(64, 576)
except DiskError as error:
    print(error)
done()
"""
AT_ONCE = """
sys.stdin.readline()
computed = 0
for begin in range(0, 640, 64):
    with folder.lock():
        folder.open()
        if (folder.locate(rows["keys"][begin : begin + 64])[0] < 0).any():
            part(begin)
            computed += 64
print(computed)
"""
WITHOUT_LOCKS = (
    """
import filelock
def refuse(*_, **__): raise NotImplementedError
filelock.FileLock.acquire = refuse
"""
    + AT_ONCE
)


class Counting(ArrayExamples):
    """Examples that count how many of them are read."""

    reads = 0

    def read(self, rows: Any) -> NDArray[Any]:
        self.reads += len(rows)
        return super().read(rows)


@pytest.fixture(scope="module")
def trunk() -> keras.Model:
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(20)])


@pytest.fixture(scope="module")
def x() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def source(trunk: keras.Model, x: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all features of `x`, in one shard."""
    cache = FeatureCache(tmp_path_factory.mktemp("source"))
    cache.features(trunk, x)
    return cache.root / cache.entries()[0].key


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER + code, *map(str, arguments)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def killed(code: str, *arguments: object) -> None:
    """Runs a process up to the point that it tells of, and kills it there."""
    child = started(code, *arguments)
    assert child.stdout is not None and child.stdout.readline() == "now\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL


def assert_resumed(cache: FeatureCache, trunk: keras.Model, x: NDArray[Any], source: Path, hits: int) -> None:
    """What is there is found, the rest is computed, and no row is there twice."""
    examples = Counting(x)
    features = cache.features(trunk, examples)
    assert (features.stats.hits, features.stats.misses, examples.reads) == (hits, ROWS - hits, ROWS - hits)
    (shard,) = source.glob("*.safetensors")
    np.testing.assert_allclose(features, load_file(shard)["features"], rtol=1e-5)
    assert_every_row_once(cache.root / source.name)


def assert_every_row_once(folder: Path, rows: int = ROWS) -> None:
    shards = list(folder.glob("*.safetensors"))
    keys = np.concatenate([load_file(path)["keys"] for path in shards])
    assert (len(keys), len(np.unique(keys, axis=0))) == (rows, rows)
    assert all(path.stem == sha256_of(path) for path in shards)


def test_k07_killed_while_a_shard_is_written_it_is_redone_and_no_other(
    trunk: keras.Model, x: NDArray[Any], source: Path, tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path)
    killed(IN_THE_MIDST, source, cache.root)
    (half,) = (cache.root / source.name).glob(".*.tmp")
    whole = sorted(path.stat().st_size for path in (cache.root / source.name).glob("*.safetensors"))
    assert len(whole) == 2 and half.stat().st_size == whole[0] // 2
    assert_resumed(cache, trunk, x, source, hits=2 * PART)
    assert half.exists()  # its writer might live: younger than a day, it goes when asked for
    assert [each.path for each in cache.prune().removed] == [half]
    assert not half.exists()


def test_k08_killed_after_a_shards_rename_it_is_adopted(
    trunk: keras.Model, x: NDArray[Any], source: Path, tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path)
    killed(AFTER_THE_RENAME, source, cache.root)
    assert len(list((cache.root / source.name).glob("*.safetensors"))) == 3
    noted = json.loads((cache.root / source.name / "verified.json").read_bytes())
    assert len(noted) == 2  # the third is there, and not noted yet
    assert not list(cache.root.rglob("*.tmp"))
    assert_resumed(cache, trunk, x, source, hits=3 * PART)


def test_s03_a_shard_that_has_no_room_leaves_nothing_behind(
    trunk: keras.Model, x: NDArray[Any], source: Path, tmp_path: Path
) -> None:
    """The system refuses the bytes in the midst of the file (EFBIG: RLIMIT_FSIZE), as a full disk does."""
    cache = FeatureCache(tmp_path)
    told = started(FULL, source, cache.root).communicate()[0]
    assert "Cannot write" in told and "File too large" in told and told.endswith("done\n")
    assert not list(cache.root.rglob("*.tmp"))
    assert [each.state for each in cache.verify()] == ["whole"]
    assert_resumed(cache, trunk, x, source, hits=PART)


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EIO"])
def test_s03_whatever_the_disk_says(error: str, source: Path, tmp_path: Path) -> None:
    """Fsync is where file systems that allocate late tell of a full disk."""
    code = f"""
import errno
from zoo.errors import DiskError
part(0)
def refuse(descriptor): raise OSError(errno.{error}, os.strerror(errno.{error}))
os.fsync = refuse
try:
    part(64)
except DiskError as error:
    print("refused")
done()
"""
    assert started(code, source, tmp_path).communicate()[0] == "refused\ndone\n"
    assert not list(tmp_path.rglob("*.tmp"))
    assert_every_row_once(tmp_path / source.name, PART)


def test_c04_two_processes_on_one_key_share_the_work(source: Path, tmp_path: Path) -> None:
    assert sum(at_once(AT_ONCE, source, tmp_path)) == ROWS
    assert_every_row_once(tmp_path / source.name)


def test_c04_f05_without_locks_they_write_the_same_files(source: Path, tmp_path: Path) -> None:
    """The worst is that some of the work is done twice: a shard is named by its bytes."""
    assert ROWS <= sum(at_once(WITHOUT_LOCKS, source, tmp_path)) <= 2 * ROWS
    assert_every_row_once(tmp_path / source.name)
    assert not list(tmp_path.rglob("*.tmp"))


def at_once(code: str, *arguments: object) -> list[int]:
    """Returns how many rows each of two processes added that began together."""
    children = [started(code, *arguments) for _ in range(2)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    return [int(child.communicate()[0]) for child in children]


def test_f02_f03_verifying_moves_aside_what_opening_would_not_take(
    trunk: keras.Model, x: NDArray[Any], source: Path, tmp_path: Path
) -> None:
    """Named rightly, and yet no shard: fewer rows than keys; a link; a pipe, which must not be waited for."""
    cache = FeatureCache(tmp_path)
    cache.features(trunk, x)
    (good,) = (cache.root / source.name).glob("*.safetensors")
    rows = {name: array.copy() for name, array in load_file(good).items()}
    uneven = write_shard(good.parent, rows["keys"], rows["features"][:9], {})
    (good.parent / f"{'1' * 64}.safetensors").symlink_to(good)
    os.mkfifo(good.parent / f"{'2' * 64}.safetensors")
    assert [each.rows for each in cache.entries()] == [ROWS]
    states = {each.path.name[:4]: each.state for each in verify_features(cache.root)}
    assert states == {good.name[:4]: "whole", uneven.name[:4]: "damaged", "1111": "damaged", "2222": "damaged"}
    assert cache.features(trunk, x).stats.misses == 0
    assert len(cache.prune().removed) == 3
    assert_every_row_once(good.parent)


def test_f01_a_spec_that_differs_in_anything_has_another_key(source: Path) -> None:
    record = json.loads((source / "spec.json").read_bytes())
    folder = FeatureFolder(source.parent, FeatureSpec(**record))
    assert folder.spec.key == source.name
    changes = {
        "digest": "0" * 64, "tap": "max", "dtype": "float16", "input_shape": [9], "precision": "bfloat16",
        "preprocessing": {"input": 1}, "view": {"number": 1}, "format": 0,
    }  # fmt: skip
    keys = {FeatureSpec(**{**record, name: value}).key for name, value in changes.items()}
    assert len(keys | {source.name}) == len(changes) + 1
    for_people = {"model": "other", "unit": 9, "unit_name": "other"}
    assert FeatureSpec(**{**record, **for_people}).key == source.name
