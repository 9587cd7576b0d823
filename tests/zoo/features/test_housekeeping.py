"""The feature cache kept in order: nothing in use goes, nothing damaged stays, nothing hostile comes in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zoo.errors import BusyError, IntegrityError, NotFoundError, UsageError
from zoo.features import leases, shards
from zoo.features.folder import FeatureFolder
from zoo.features.housekeeping import (
    find_features,
    list_features,
    prune_features,
    remove_features,
    verify_features,
)
from zoo.features.leases import users
from zoo.features.merging import merge_features
from zoo.features.spec import FeatureSpec, spec_key
from zoo.features.usage import record_use, usage


def folder_of(root: Path, digest: str = "a", rows: int = 100) -> FeatureFolder:
    """A folder of features [rows, 4] in one shard."""
    folder = FeatureFolder(
        root, FeatureSpec("net", 2, "conv", digest, "avg", (4,), "float32", (10, 10, 1), {"input": None})
    )
    keys = np.random.default_rng(0).integers(0, 256, (rows, 32), dtype=np.uint8)
    folder.add(keys, np.random.default_rng(1).normal(size=(rows, 4)).astype(np.float32), {"numpy": "2.4"})
    return folder


def child(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A process that uses folders of features, and needs no TensorFlow for it."""
    words = [sys.executable, "-c", "import pathlib, sys\n" + code, *arguments]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_the_list_says_what_is_there(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder.record_use(30, 70)
    folder.record_use(100, 0)
    (entry,) = list_features(tmp_path)
    assert (entry.shards, entry.rows, entry.usage.uses, entry.usage.hit_rate) == (1, 100, 2, 0.65)
    assert (entry.key, spec_key(entry.spec), entry.versions) == (folder.spec.key,) * 2 + ({"numpy": ("2.4",)},)
    assert find_features(tmp_path, [entry.key[:6]]) == [entry]
    with pytest.raises(NotFoundError, match="zoo cache list"):
        find_features(tmp_path, ["zzzz"])


def test_f04_over_quota_the_least_recently_used_goes_and_never_what_is_in_use(tmp_path: Path) -> None:
    old, held, new = (folder_of(tmp_path, digest) for digest in "abc")
    for age, folder in ((300, held), (200, old), (100, new)):
        os.utime(next(folder.path.glob("*.safetensors")), (1e9 - age,) * 2)
        os.utime(folder.path, (1e9 - age,) * 2)
    with held.lease():
        room = sum(entry.bytes for entry in list_features(tmp_path)) - 10
        planned = prune_features(tmp_path, room, dry_run=True)
        done = prune_features(tmp_path, room)
        assert [each.key for each in planned.removed] == [each.key for each in done.removed] == [old.spec.key]
        assert [each.key for each in done.in_use] == [held.spec.key]
        with pytest.raises(BusyError, match=f"in use by process {os.getpid()} since"):
            remove_features(tmp_path, [held.spec.key])
        assert {entry.key for entry in list_features(tmp_path)} == {held.spec.key, new.spec.key}
    assert len(remove_features(tmp_path, everything=True).removed) == 2
    assert list_features(tmp_path) == [] and not list(tmp_path.glob(".removed.*"))


@pytest.mark.parametrize("locks", [True, False])
def test_f04_a_killed_process_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool) -> None:
    folder = folder_of(tmp_path)
    holder = child(
        "from zoo.features.leases import Lease\nlease = Lease(pathlib.Path(sys.argv[1]))\n"
        "print(1, flush=True); input()",
        str(folder.path),
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"1\n"
    if not locks:
        monkeypatch.setattr(leases, "try_lock", lambda descriptor: None)
    try:
        assert [user.pid for user in users(folder.path)] == [holder.pid]
        assert prune_features(tmp_path, 0).removed == ()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    assert users(folder.path) == []
    assert len(prune_features(tmp_path, 0).removed) == 1


def test_f02_a_damaged_shard_is_found_and_moved_aside_and_pruned(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (path,) = folder.path.glob("*.safetensors")
    status = path.stat()
    flip(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # so that opening it does not notice
    (finding,) = verify_features(tmp_path)
    assert (finding.state, finding.moved_to) == ("damaged", path.with_suffix(".corrupt"))
    assert verify_features(tmp_path) == []
    folder_of(tmp_path)
    assert [each.state for each in verify_features(tmp_path)] == ["whole"]
    assert [each.what for each in prune_features(tmp_path).removed] == ["damaged shard"]


def test_f02_features_that_vanish_while_they_are_read_are_an_error(tmp_path: Path) -> None:
    folder_of(tmp_path)
    folder = FeatureFolder(tmp_path, folder_of(tmp_path).spec)
    folder.open()
    shards._mapped.cache_clear()
    shutil.rmtree(folder.path)
    with pytest.raises(IntegrityError, match="removed or cut short"):
        _ = folder.shards[0].features.array


def test_k07_k08_what_a_killed_writer_leaves_is_adopted_or_removed(tmp_path: Path) -> None:
    """Between the rename and the next step a shard is whole and not noted; in its midst a temporary is left."""
    folder = folder_of(tmp_path)
    (folder.path / "verified.json").unlink()
    (folder.path / ".x.safetensors.1.ab.tmp").write_bytes(b"half")
    again = FeatureFolder(tmp_path, folder.spec)
    again.open()
    assert len(again.shards) == 1
    (entry,) = list_features(tmp_path)
    assert (entry.rows, entry.leftover) == (100, 4)
    assert [each.what for each in prune_features(tmp_path).removed] == ["unfinished file"]


def test_s03_on_a_full_disk_use_is_not_noted_and_no_error(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder.path / "usage.jsonl").symlink_to("/dev/full")
    folder.record_use(1, 2)
    assert usage(folder.path).uses == 0


def test_c04_use_noted_by_several_processes_is_counted_and_summed_up(tmp_path: Path) -> None:
    code = "from zoo.features.usage import record_use\nfor _ in range(700): record_use(pathlib.Path(sys.argv[1]), 2, 1)"
    children = [child(code, str(tmp_path)) for _ in range(2)]
    assert [each.wait() for each in children] == [0, 0]
    for each in children:
        each.communicate()
    with (tmp_path / "usage.jsonl").open("ab") as file:
        file.write(b'\n{"uses": 1, "hi')  # a full disk
    record_use(tmp_path, 2, 1)
    found = usage(tmp_path)
    assert (found.uses, found.hits, found.misses) == (1401, 2802, 1401)
    assert (tmp_path / "usage.jsonl").stat().st_size < 70_000


def test_merging_takes_only_what_its_name_says(tmp_path: Path) -> None:
    home, other = tmp_path / "features", tmp_path / "other" / "features"
    good, bad, lying = folder_of(other, "good"), folder_of(other, "bad"), folder_of(other, "lying")
    flip(next(bad.path.glob("*.safetensors")))
    (lying.path / "spec.json").write_text("{}")
    (good.path / f"{'0' * 64}.safetensors").symlink_to("/etc/passwd")
    merged = merge_features(home, tmp_path / "other")
    assert sorted(each.state for each in merged) == ["refused", "refused", "refused", "taken"]
    opened = FeatureFolder(home, good.spec)
    opened.open()
    assert len(opened.shards) == 1
    assert not list(home.glob("*/.*.tmp"))
    assert [each.state for each in merge_features(home, other) if each.key == good.spec.key] == [
        "refused",
        "there already",
    ]
    with pytest.raises(UsageError, match="own feature cache"):
        merge_features(home, home)
    with pytest.raises(NotFoundError):
        merge_features(home, tmp_path / "nothing")
