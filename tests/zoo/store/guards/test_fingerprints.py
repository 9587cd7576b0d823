"""Fingerprints of SavedModels: the hash, by TensorFlow's own, and models that were changed after they were saved."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import tensorflow as tf
from model_files import field, file_of, saved_model
from tensorflow_graphs import simple_saved

from zoo.errors import UnsafeFileError
from zoo.store.guards.fingerprints import check_fingerprint, fingerprint64
from zoo.store.guards.saved_models import check_saved_model_folder
from zoo.store.unpacking import opened

SIZES = [*range(140), 191, 192, 193, 1000, 4096, (1 << 18) - 1, (1 << 18) + 64, (1 << 18) + 65, 600_001]


def test_the_hash_is_tensorflows(tmp_path: Path) -> None:
    data = random.Random(0).randbytes(max(SIZES))
    hashes = tf.fingerprint([data[:size] for size in SIZES], "farmhash64").numpy()
    for size, told in zip(SIZES, hashes, strict=True):
        with opened(file_of(tmp_path / "x", data[:size])) as source:
            assert fingerprint64(source) == int.from_bytes(bytes(told), "little"), size


def test_x09_a_graph_that_was_changed_after_saving_is_refused(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "net")
    check_fingerprint(folder)
    graph = folder / "saved_model.pb"
    graph.write_bytes(graph.read_bytes() + field(99, "more"))
    with pytest.raises(UnsafeFileError, match=r"saved_model\.pb has the hash .* fingerprint\.pb tells of"):
        check_saved_model_folder(folder)


def test_x09_variables_of_another_model_are_refused(tmp_path: Path) -> None:
    folder, other = saved_model(tmp_path / "net"), simple_saved(tmp_path / "other")
    for path in (other / "variables").iterdir():
        (folder / "variables" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UnsafeFileError, match=r"variables\.index has the hash"):
        check_saved_model_folder(folder)


def test_x09_variables_that_are_missing_are_told(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "net")
    for path in (folder / "variables").iterdir():
        path.unlink()
    with pytest.raises(UnsafeFileError, match=r"variables\.index is missing"):
        check_saved_model_folder(folder)


def test_a_fingerprint_of_before_its_hashes_had_a_version_is_not_compared(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "net")
    file_of(folder / "fingerprint.pb", field(1, 5) + field(6, b""))
    check_saved_model_folder(folder)
