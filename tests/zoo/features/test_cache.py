"""The feature cache: each example through the trunk once, ever, whatever happens in between."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file

from zoo.data import ArrayExamples, open_data
from zoo.data.augmentation import Augmentation
from zoo.errors import CutError, DataError, DiskError, UsageError
from zoo.features import FeatureCache
from zoo.features import extraction as extraction_module
from zoo.progress import Silent
from zoo.registry import InputSpec
from zoo.surgery import Head, Surgery, Trunk, whole_trunk

SPEC = InputSpec((10, 10, 1), color="gray", scale=1 / 255)


def net(seed: int = 0, name: str = "net") -> keras.Model:
    """Three convolutions and a classifier, whose weights depend on the seed alone."""
    model = keras.Sequential([
        keras.Input((10, 10, 1)),
        layers.Conv2D(3, 3, activation="relu"), layers.BatchNormalization(),
        layers.Conv2D(4, 3, activation="relu"), layers.Conv2D(5, 3), layers.Flatten(), layers.Dense(2),
    ], name=name)  # fmt: skip
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 1, weight.shape) for weight in model.get_weights()])
    return model


def trunk_of(depth: int = 2, pool: Any = "avg", reuse: int | None = None, **changes: Any) -> Trunk:
    trunk = Surgery(net(**changes), reuse or depth, depth, Head(classes=2, pool=pool), preprocessing=SPEC).trunk
    assert trunk is not None
    return trunk


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 10, 10, 1), dtype=np.uint8)


class Counting(ArrayExamples):
    """Examples that count how often each is read: what passes through a trunk must be read for it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.reads = 0
        self._lock = threading.Lock()

    def read(self, rows: Any) -> NDArray[Any]:
        with self._lock:  # several threads read
            self.reads += len(rows)
        return super().read(rows)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


def shards(cache: FeatureCache) -> list[Path]:
    return sorted(cache.root.glob("*/*.safetensors"))


def test_features_are_what_the_model_computes(cache: FeatureCache) -> None:
    x = pictures(100)
    features = cache.features(trunk_of(2), x)
    model = net()
    lower = keras.Model(model.inputs[0], model.layers[2].output)
    expected = np.asarray(lower(x.astype(np.float32) / 255)).mean(axis=(1, 2))
    np.testing.assert_allclose(features, expected, rtol=1e-5)
    assert (features.shape, features.dtype, len(features)) == ((100, 4), np.float32, 100)
    assert features.stats.bytes == 100 * 4 * 4


def test_a_second_run_computes_nothing_and_ten_more_exactly_ten(cache: FeatureCache) -> None:
    x, more = pictures(100), pictures(10, seed=1)
    first = Counting(x)
    assert (cache.features(trunk_of(), first).stats.misses, first.reads) == (100, 100)
    again = Counting(x)
    assert (cache.features(trunk_of(), again).stats.misses, again.reads) == (0, 0)
    grown = Counting(np.concatenate([more[:4], x, more[4:]]))
    features = cache.features(trunk_of(), grown)
    assert (features.stats.hits, features.stats.misses, grown.reads) == (100, 10, 10)
    np.testing.assert_allclose(features, FeatureCache(cache.root / "other").features(trunk_of(), grown), rtol=1e-6)


def test_a_copied_renamed_and_reordered_data_set_computes_nothing(cache: FeatureCache) -> None:
    x = pictures(50)
    first = cache.features(trunk_of(), ArrayExamples(x, name="first"))
    order = np.random.default_rng(1).permutation(50)
    copied = Counting(x[order].copy(), name="second")
    second = cache.features(trunk_of(), copied)
    assert copied.reads == 0
    np.testing.assert_array_equal(second, np.asarray(first)[order])


def test_a_second_model_with_the_same_lower_units_computes_nothing(cache: FeatureCache) -> None:
    cache.features(trunk_of(2, reuse=3), pictures(20))
    other = net(name="other")
    classifier = other.layers[-1]
    classifier.set_weights([weight + 1 for weight in classifier.get_weights()])
    trunk = Surgery(other, 3, 2, Head(classes=7), preprocessing=SPEC).trunk
    assert trunk is not None
    assert cache.features(trunk, pictures(20)).stats.misses == 0


@pytest.mark.parametrize(
    "other",
    [
        lambda: trunk_of(1),
        lambda: trunk_of(2, "max"),
        lambda: trunk_of(2, seed=1),
        lambda: Surgery(net(), 2, 2, Head(classes=2), preprocessing=InputSpec((10, 10, 1), color="gray")).trunk,
    ],
    ids=["depth", "tap", "weights", "preprocessing"],
)
def test_f01_any_real_change_misses(cache: FeatureCache, other: Any) -> None:
    cache.features(trunk_of(2), pictures(20))
    assert cache.features(other(), pictures(20)).stats.misses == 20


def test_f01_a_weight_changed_after_the_cut_misses(cache: FeatureCache) -> None:
    trunk = trunk_of(2)
    cache.features(trunk, pictures(20))
    layer = trunk.model.layers[1]
    layer.set_weights([weight * 2 for weight in layer.get_weights()])
    assert cache.features(trunk, pictures(20)).stats.misses == 20


def test_f02_one_flipped_byte_is_noticed_and_only_that_shard_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # 64 examples a batch, one shard a batch: 192 examples make three.
    cache = FeatureCache(tmp_path, shard_bytes=1)
    x = pictures(192)
    before = np.asarray(cache.features(trunk_of(), x))
    victim = shards(cache)[1]
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    examples = Counting(x)
    with caplog.at_level(logging.WARNING, "zoo"):
        after = cache.features(trunk_of(), examples)
    assert (after.stats.hits, after.stats.misses, examples.reads) == (128, 64, 64)
    np.testing.assert_array_equal(after, before)
    assert "Damaged shard" in caplog.text
    assert cache.features(trunk_of(), x).stats.misses == 0


@pytest.mark.parametrize("keep", [0, 7, 40, -1])
def test_f02_a_truncated_shard_is_computed_again(cache: FeatureCache, keep: int) -> None:
    x = pictures(30)
    before = np.asarray(cache.features(trunk_of(), x))
    (victim,) = shards(cache)
    victim.write_bytes(victim.read_bytes()[:keep])
    after = cache.features(trunk_of(), x)
    assert after.stats.misses == 30
    np.testing.assert_array_equal(after, before)


def test_f02_a_missing_shard_is_computed_again(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, shard_bytes=1)
    cache.features(trunk_of(), pictures(128))
    shards(cache)[0].unlink()
    assert cache.features(trunk_of(), pictures(128)).stats.misses == 64


def test_f03_a_shard_with_other_rows_than_keys_is_computed_again(cache: FeatureCache) -> None:
    """Whole by its name, and yet not what this folder holds."""
    from zoo.features.shards import write_shard

    cache.features(trunk_of(), pictures(30))
    (good,) = shards(cache)
    rows = load_file(good)
    good.unlink()
    write_shard(good.parent, rows["keys"], rows["features"][:29], {})
    write_shard(good.parent, rows["keys"], np.zeros((30, 3), np.float32), {})
    assert cache.features(trunk_of(), pictures(30)).stats.misses == 30


def test_f05_a_shard_written_twice_gives_no_row_twice(cache: FeatureCache, tmp_path: Path) -> None:
    """Two machines' caches merge by copying files, equal rows in other shards included."""
    x = pictures(100)
    cache.features(trunk_of(), x[:70])
    other = FeatureCache(tmp_path / "other")
    other.features(trunk_of(), x[30:])
    (key,) = [path.name for path in cache.root.iterdir()]
    for path in shards(other):
        (cache.root / key / path.name).write_bytes(path.read_bytes())
    merged = cache.features(trunk_of(), x)
    assert (merged.shape, merged.stats.misses) == ((100, 4), 0)
    np.testing.assert_allclose(merged, FeatureCache(tmp_path / "third").features(trunk_of(), x), rtol=1e-6)


def test_duplicates_pass_once(cache: FeatureCache) -> None:
    x = pictures(10)
    examples = Counting(np.concatenate([x, x, x]))
    features = cache.features(trunk_of(), examples)
    assert (features.stats.misses, examples.reads) == (10, 10)
    np.testing.assert_array_equal(features[:10], features[20:])


def test_extraction_starts_from_the_deepest_whole_map(cache: FeatureCache) -> None:
    x = pictures(40)
    cache.features(trunk_of(2, reuse=3), x[:30])  # the map of unit 2, for 30 of 40
    examples = Counting(x)
    deeper = cache.features(trunk_of(3), examples)
    assert (deeper.stats.misses, examples.reads) == (40, 10)
    np.testing.assert_allclose(deeper, FeatureCache(cache.root / "other").features(trunk_of(3), x), rtol=1e-5)
    pooled = Counting(x[:30])
    assert cache.features(trunk_of(2, "max"), pooled).stats.misses == 30
    assert pooled.reads == 0


def test_a_float16_map_is_no_start(tmp_path: Path) -> None:
    x = pictures(20)
    FeatureCache(tmp_path, dtype="float16").features(trunk_of(2, reuse=3), x)
    examples = Counting(x)
    FeatureCache(tmp_path).features(trunk_of(3), examples)
    assert examples.reads == 20


def test_several_cuts_are_computed_in_one_pass(cache: FeatureCache, tmp_path: Path) -> None:
    trunk, examples = whole_trunk(net(), SPEC), Counting(pictures(70))
    cuts = [trunk.at(1, "avg"), trunk.at(2, "max"), trunk.at(3, "avgmax"), trunk.at(3)]
    found = cache.features_of_each(cuts, examples)
    assert examples.reads == 70
    assert [features.shape for features in found] == [(70, 3), (70, 4), (70, 80), (70, 80)]
    for cut, features in zip(cuts, found, strict=True):
        alone = FeatureCache(tmp_path / "alone").features(cut, examples)
        np.testing.assert_allclose(features, alone, rtol=1e-5)
    with pytest.raises(CutError, match="cuts of one trunk"):
        cache.features_of_each([trunk_of(1), trunk_of(2)], examples)


def test_float16_is_asked_for_and_must_be_finite(tmp_path: Path) -> None:
    x = pictures(20)
    small = FeatureCache(tmp_path, dtype="float16").features(trunk_of(), x)
    full = FeatureCache(tmp_path).features(trunk_of(), x)
    assert (small.dtype, full.stats.misses) == (np.float16, 20)
    np.testing.assert_allclose(small, full, rtol=2**-10)
    huge = net()
    huge.layers[0].set_weights([weight * 1e6 for weight in huge.layers[0].get_weights()])
    with pytest.raises(DataError, match="overflow float16"):
        FeatureCache(tmp_path, dtype="float16").features(huge, x.astype(np.float32))
    with pytest.raises(UsageError, match="float32 or float16"):
        FeatureCache(tmp_path, dtype="int8")


def test_features_that_are_not_finite_are_refused(cache: FeatureCache) -> None:
    broken = net()
    classifier = broken.layers[-1]  # above it is no ReLU, which makes 0 of NaN
    classifier.set_weights([np.full(weight.shape, np.nan) for weight in classifier.get_weights()])
    with pytest.raises(DataError, match="not finite"):
        cache.features(broken, pictures(5))
    assert shards(cache) == []


def test_indexing_like_an_array(tmp_path: Path) -> None:
    features = FeatureCache(tmp_path, shard_bytes=1).features(trunk_of(), pictures(150))
    whole = np.asarray(features)
    assert len(features.shape) == 2
    np.testing.assert_array_equal(features[10:140:7], whole[10:140:7])
    np.testing.assert_array_equal(features[np.array([149, 0, 64, 64])], whole[[149, 0, 64, 64]])
    np.testing.assert_array_equal(features[whole[:, 0] > whole[:, 0].mean()], whole[whole[:, 0] > whole[:, 0].mean()])
    np.testing.assert_array_equal(features[-1], whole[-1])
    np.testing.assert_array_equal(np.asarray(features, np.float64), whole.astype(np.float64))
    assert features[np.array([], int)].shape == (0, 4)
    with pytest.raises(IndexError):
        features[150]


def test_a_shard_is_a_safetensors_file_with_its_sha256_for_a_name(cache: FeatureCache) -> None:
    from zoo.files import sha256_of

    x = pictures(9)
    cache.features(trunk_of(), x)
    (shard,) = shards(cache)
    rows = load_file(shard)
    assert shard.stem == sha256_of(shard)
    assert (rows["keys"].dtype, rows["keys"].shape) == (np.uint8, (9, 32))
    np.testing.assert_array_equal(rows["keys"], open_data(x).ids)
    spec = json.loads((shard.parent / "spec.json").read_text())
    assert {"model", "unit", "tap", "shape", "dtype", "preprocessing"} <= set(spec)
    assert (spec["unit"], spec["tap"], spec["shape"], spec["dtype"]) == (2, "avg", [4], "float32")


def test_verification_is_remembered_by_size_and_time(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.features import shards as module

    cache.features(trunk_of(), pictures(9))
    hashed: list[Path] = []
    monkeypatch.setattr(module, "sha256_of", lambda path: hashed.append(path))
    assert cache.features(trunk_of(), pictures(9)).stats.misses == 0
    assert hashed == []


class Stop(Silent):
    """A progress that reports each batch to another process."""

    def advance(self, n: int, **figures: float) -> None:
        print(n, flush=True)
        time.sleep(0.2)


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from test_cache import Stop, pictures, trunk_of
from zoo.features import FeatureCache
FeatureCache(sys.argv[2], shard_bytes=1).features(trunk_of(), pictures(640), progress=Stop())
"""


@pytest.mark.slow  # test_faults.py has what can be shown without TensorFlow
def test_k07_after_a_kill_only_what_is_missing_is_computed(tmp_path: Path) -> None:
    """Ten batches of 64, a shard each; the process is killed while it computes the fifth."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(tmp_path)],
        stdout=subprocess.PIPE, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert child.stdout is not None
    for _ in range(4):
        assert child.stdout.readline() == b"64\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    cache = FeatureCache(tmp_path, shard_bytes=1)
    done = sum(len(load_file(path)["keys"]) for path in shards(cache))
    assert 256 <= done < 640
    examples = Counting(pictures(640))
    features = cache.features(trunk_of(), examples)
    assert (features.stats.hits, features.stats.misses, examples.reads) == (done, 640 - done, 640 - done)
    np.testing.assert_allclose(features, FeatureCache(tmp_path / "other").features(trunk_of(), examples), rtol=1e-6)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_s03_a_full_disk_leaves_whole_shards_and_can_be_resumed(small_disk: Path, tmp_path: Path) -> None:
    """20 kB a batch of maps [6, 6, 4] for 64 rows... about 37 kB: two shards fit in 100 kB, the third does not."""
    x = pictures(320)
    cache = FeatureCache(small_disk, shard_bytes=1)
    with pytest.raises(DiskError, match="No space left.*free some space"):
        cache.features(trunk_of(2, reuse=3), x)
    whole = shards(cache)
    assert 1 <= len(whole) < 5
    assert list(cache.root.rglob("*.tmp")) == []
    moved = FeatureCache(tmp_path / "larger")
    moved.root.mkdir(parents=True)
    subprocess.run(["cp", "-r", *map(str, cache.root.iterdir()), str(moved.root)], check=True)
    assert moved.features(trunk_of(2, reuse=3), x).stats.hits == 64 * len(whole)


def test_c04_two_processes_on_one_key_do_the_work_once(tmp_path: Path) -> None:
    script = (
        CHILD.replace("progress=Stop()", "progress=None").replace("FeatureCache(", "stats = FeatureCache(")
        + "\nprint(stats.stats.misses)"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        for _ in range(2)
    ]
    misses = sorted(int(child.communicate()[0]) for child in children)
    assert misses == [0, 640]
    assert FeatureCache(tmp_path).features(trunk_of(), pictures(640)).stats.misses == 0


def test_no_lock_is_double_work_and_no_damage(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without working locks."""
    import filelock

    def refuse(self: Any, *args: Any, **options: Any) -> None:
        raise NotImplementedError("no locks here")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    assert cache.features(trunk_of(), pictures(20)).stats.misses == 20
    assert cache.features(trunk_of(), pictures(20)).stats.misses == 0


def test_empty_data_is_refused(cache: FeatureCache) -> None:
    with pytest.raises(DataError, match="no examples"):
        cache.features(trunk_of(), pictures(0))


def test_wrong_shapes_are_refused(cache: FeatureCache) -> None:
    with pytest.raises(DataError, match="3 channels|have 2"):
        cache.features(trunk_of(), np.zeros((5, 10, 10, 2), np.uint8))


def test_progress_counts_what_is_computed(cache: FeatureCache) -> None:
    class Heard(Silent):
        total, done, closed = 0, 0, 0

        def start(self, total: int | None, unit: str) -> None:
            self.total = total or 0

        def advance(self, n: int, **figures: float) -> None:
            self.done += n

        def close(self) -> None:
            self.closed += 1

    cache.features(trunk_of(), pictures(30))
    heard = Heard()
    cache.features(trunk_of(), pictures(100), progress=heard)
    # pictures(100) begins with the same generator but other draws only where the shapes differ: none is shared.
    shared = len(set(map(bytes, open_data(pictures(30)).ids)) & set(map(bytes, open_data(pictures(100)).ids)))
    assert (heard.total, heard.done, heard.closed) == (100 - shared, 100 - shared, 1)


def test_extraction_runs_in_batches(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last batch may be smaller, and no size is special."""
    x = pictures(23)
    expected = np.asarray(cache.features(trunk_of(), x))
    monkeypatch.setattr(extraction_module, "BATCH", 5)
    np.testing.assert_allclose(FeatureCache(cache.root / "five").features(trunk_of(), x), expected, rtol=1e-6)


def test_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    """Of 300 shards at most 128 stay mapped: a process may have few files open (160 more here)."""
    import resource

    from zoo.features.shards import write_shard

    x = pictures(600)
    trunk = trunk_of()
    cache = FeatureCache(tmp_path)
    whole = np.asarray(cache.features(trunk, x))
    (shard,) = shards(cache)
    rows = {name: array.copy() for name, array in load_file(shard).items()}
    shard.unlink()
    for begin in range(0, 600, 2):
        write_shard(shard.parent, rows["keys"][begin : begin + 2], rows["features"][begin : begin + 2], {})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 160, hard))
    try:
        np.testing.assert_array_equal(cache.features(trunk, x), whole)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def any_size() -> keras.Model:
    image = keras.Input((None, None, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(layers.Conv2D(3, 3)(image)))
    return keras.Model(image, layers.Dense(2)(x))


def test_maps_of_a_model_for_any_size_have_the_examples_size(cache: FeatureCache) -> None:
    trunk = Surgery(any_size(), 2, 1, Head(classes=2)).trunk
    assert trunk is not None
    assert cache.features(trunk, pictures(5)).shape == (5, 8, 8, 3)
    assert cache.features(trunk, pictures(5)).stats.misses == 0
    assert cache.features(trunk, np.zeros((2, 12, 12, 1), np.uint8)).shape == (2, 10, 10, 3)


def test_looking_changes_nothing(cache: FeatureCache) -> None:
    """What `--plan` asks for must not move a damaged shard aside."""
    trunk = trunk_of()
    cache.features(trunk, pictures(20))
    (shard,) = shards(cache)
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    before = sorted(path.name for path in shard.parent.iterdir())
    assert cache.cached(trunk, pictures(20)) == 0
    assert sorted(path.name for path in shard.parent.iterdir()) == before


def test_rows_of_another_shape_are_refused_before_tensorflow_sees_them(cache: FeatureCache) -> None:
    for x in (np.zeros((5, 100), np.uint8), np.zeros((5, 9, 10, 1, 1), np.uint8)):
        with pytest.raises(DataError, match=r"wants examples of shape \[10, 10, 1\]"):
            cache.features(trunk_of(), x)
    with pytest.raises(DataError, match=r"wants examples of shape \[10, 10, 1\]; these have \[8, 8, 1\]"):
        cache.features(net(), np.zeros((5, 8, 8, 1), np.uint8))


def test_large_whole_numbers_go_in_as_they_are(cache: FeatureCache) -> None:
    """float32 would make 2**24 + 1 into 2**24."""
    words = keras.Input((1,), dtype="int64")
    x = layers.Embedding(4, 3, name="embed")(words % 4)
    model = keras.Model(words, layers.Flatten()(x))
    rows = np.array([[2**24], [2**24 + 1]])
    expected = model.get_layer("embed").get_weights()[0][[0, 1]]
    np.testing.assert_allclose(cache.features(model, rows), expected, rtol=1e-6)


class TestViews:
    """Augmented versions of pictures have features of their own, always the same ones."""

    def test_each_version_is_what_its_augmented_pictures_give(self, cache: FeatureCache) -> None:
        x, augmentation = pictures(20), Augmentation(seed=3)
        features = cache.features(trunk_of(), x, views=2, augmentation=augmentation)
        assert features.shape == (60, 4)
        examples = open_data(x)
        for view in range(3):
            varied = [augmentation.apply(each, key.tobytes(), view) for each, key in zip(x, examples.ids, strict=True)]
            for row in (0, 13):
                alone = FeatureCache(cache.root / "other").features(trunk_of(), varied[row][None])
                np.testing.assert_allclose(features[view * 20 + row], alone[0], rtol=1e-5)
        np.testing.assert_array_equal(features.labels, np.tile(examples.labels, 3))
        np.testing.assert_array_equal(features.kept, np.tile(np.arange(20), 3))

    def test_versions_are_kept_and_another_seed_is_another(self, cache: FeatureCache) -> None:
        x = pictures(20)
        assert cache.features(trunk_of(), x).stats.misses == 20
        assert cache.features(trunk_of(), x, views=2).stats.misses == 40
        more = cache.features(trunk_of(), x, views=3)
        assert (more.stats.hits, more.stats.misses) == (60, 20)
        assert cache.features(trunk_of(), x, views=1, augmentation=Augmentation(seed=1)).stats.misses == 20

    def test_only_training_examples_have_versions(self, cache: FeatureCache) -> None:
        x, training = pictures(20), np.array([1, 5, 6])
        features = cache.features(trunk_of(), x, views=1, augmented=training)
        assert features.stats.misses == 20 + 3
        plain, varied = features[:20], features[20:]
        others = np.setdiff1d(np.arange(20), training)
        np.testing.assert_array_equal(varied[others], plain[others])
        assert not np.isclose(varied[training], plain[training]).all(axis=1).any()

    def test_rows_of_numbers_have_none(self, cache: FeatureCache) -> None:
        model = keras.Sequential([keras.Input((8,)), layers.Dense(3)])
        with pytest.raises(DataError, match="[Pp]icture"):
            cache.features(model, np.eye(8), views=1)


class TestPictureFiles:
    """Files that change under the cache's feet."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for number, picture in enumerate(pictures(12)):
            path = tmp_path / "data" / f"class{number % 2}" / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture[..., 0]).save(path)
        return tmp_path / "data"

    def test_b16_of_an_added_picture_alone_features_are_computed(self, cache: FeatureCache, folder: Path) -> None:
        assert cache.features(trunk_of(), folder).stats.misses == 12
        Image.fromarray(pictures(1, seed=9)[0, ..., 0]).save(folder / "class0" / "new.png")
        grown = cache.features(trunk_of(), folder)
        assert (grown.stats.hits, grown.stats.misses) == (12, 1)

    def test_moved_and_renamed_pictures_compute_nothing(self, cache: FeatureCache, folder: Path) -> None:
        cache.features(trunk_of(), folder)
        folder.rename(folder.with_name("other"))
        (folder.with_name("other") / "class0" / "00.png").rename(folder.with_name("other") / "class0" / "zz.bin")
        assert cache.features(trunk_of(), folder.with_name("other")).stats.misses == 0

    def test_b15_what_changed_since_it_was_listed_is_passed_over(self, cache: FeatureCache, folder: Path) -> None:
        """No features are mixed up: those of the new picture are never kept under the old one's name."""
        examples = open_data(folder, max_bad=0.2, near_duplicates=False)
        assert examples.paths is not None
        expected = np.asarray(FeatureCache(cache.root / "other").features(trunk_of(), examples))
        (folder / examples.paths[2]).unlink()
        Image.fromarray(pictures(1, seed=9)[0, ..., 0]).save(folder / examples.paths[5])
        features = cache.features(trunk_of(), examples)
        assert features.kept.tolist() == [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]
        assert [each.path for each in features.bad] == [examples.paths[2], examples.paths[5]]
        np.testing.assert_allclose(features, expected[features.kept], rtol=1e-6)
        np.testing.assert_array_equal(features.labels, examples.labels[features.kept])
        again = cache.features(trunk_of(), open_data(folder))
        assert (again.stats.hits, again.stats.misses, len(again)) == (10, 1, 11)

    def test_a_copy_stands_in_for_a_file_that_is_gone(self, cache: FeatureCache, folder: Path) -> None:
        (folder / "class0" / "zz.png").write_bytes((folder / "class0" / "00.png").read_bytes())
        examples = open_data(folder)
        (folder / "class0" / "00.png").unlink()
        features = cache.features(trunk_of(), examples)
        assert (len(features), features.bad, features.stats.misses) == (13, (), 12)

    def test_b04_too_many_that_cannot_be_read_are_an_error(self, cache: FeatureCache, folder: Path) -> None:
        examples = open_data(folder)
        assert examples.paths is not None
        (folder / examples.paths[0]).unlink()
        with pytest.raises(DataError, match="1 of 12 files"):
            cache.features(trunk_of(), examples)
        with pytest.raises(DataError, match=r"--max-bad|max_bad"):
            cache.features(trunk_of(), examples)


def test_what_was_computed_before_an_interruption_is_kept(cache: FeatureCache) -> None:
    """After 128 of 200 examples; no shard was due yet."""

    class Interrupting(Silent):
        done = 0

        def advance(self, n: int, **figures: float) -> None:
            self.done += n
            if self.done >= 128:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.features(trunk_of(), pictures(200), progress=Interrupting())
    again = cache.features(trunk_of(), pictures(200))
    assert (again.stats.hits, again.stats.misses) == (128, 72)


def test_the_map_that_computing_starts_from_is_in_use(cache: FeatureCache) -> None:
    """Whoever prunes meanwhile must not take it away."""
    x = pictures(100)
    cache.features(trunk_of(3).at(1), x)

    class Pruning(Silent):
        busy = 0

        def advance(self, n: int, **figures: float) -> None:
            self.busy = len(cache.prune(0).in_use)

    progress = Pruning()
    assert cache.features(trunk_of(3), x, progress=progress).shape == (100, 80)
    assert progress.busy == 2
