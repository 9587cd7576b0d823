"""The feature cache kept in order: nothing in use goes, nothing damaged stays, nothing hostile comes in."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from zoo.errors import BusyError, DiskError, IntegrityError, NotFoundError, UsageError
from zoo.features import housekeeping, leases, shards
from zoo.features.folder import FeatureFolder
from zoo.features.housekeeping import (
    FeatureEntry,
    find_features,
    list_features,
    list_trunks,
    prune_features,
    remove_features,
    verify_features,
)
from zoo.features.leases import User, users
from zoo.features.merging import merge_features
from zoo.features.spec import FeatureSpec, spec_key
from zoo.features.usage import record_use, usage
from zoo.files import sha256_of, write_bytes
from zoo.progress import Silent


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


def test_s03_on_a_full_disk_use_is_not_noted_and_no_error(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder.path / "usage.jsonl").symlink_to("/dev/full")
    folder.record_use(1, 2)
    assert usage(folder.path).uses == 0
    (folder.path / "usage.jsonl").unlink()
    (folder.path / "usage.jsonl").mkdir()  # whoever did that
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


@pytest.mark.parametrize("begun_anew", [False, True])
def test_f04_features_taken_into_use_while_they_are_removed_are_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun_anew: bool
) -> None:
    """The lease is taken after it was looked for; and a quick user has begun another folder by then."""
    folder = folder_of(tmp_path)
    removed, leases = housekeeping._removed, []

    def taken_first(root: Path, entry: FeatureEntry) -> bool:
        leases.append(folder.lease())
        return removed(root, entry)

    def begun(path: Path) -> list[User]:
        if begun_anew and path.name.startswith(".removed."):
            folder_of(tmp_path)
        return users(path)

    monkeypatch.setattr(housekeeping, "_removed", taken_first)
    monkeypatch.setattr(housekeeping, "users", begun)
    with pytest.raises(BusyError, match="taken into use just now"):
        remove_features(tmp_path, [folder.spec.key])
    assert [user.pid for user in users(folder.path)] == [os.getpid()]
    leases.pop().close()
    pruning = prune_features(tmp_path, 0)
    assert ([each.key for each in pruning.in_use], pruning.removed) == ([folder.spec.key], ())
    assert not list(tmp_path.glob(".removed.*"))
    assert [each.state for each in verify_features(tmp_path)] == ["whole"]
    assert [entry.rows for entry in list_features(tmp_path)] == [100]


def test_what_was_not_used_for_long_goes_by_its_age(tmp_path: Path) -> None:
    old, used, new = (folder_of(tmp_path, digest) for digest in "abc")
    for folder in (old, used):
        os.utime(next(folder.path.glob("*.safetensors")), (time.time() - 1000,) * 2)
    used.record_use(1, 0)
    assert [each.key for each in prune_features(tmp_path, older_than=900).removed] == [old.spec.key]
    assert {entry.key for entry in list_features(tmp_path)} == {used.spec.key, new.spec.key}
    assert prune_features(tmp_path, older_than=900).removed == ()


def test_a_key_may_be_cut_short_as_long_as_it_is_the_only_one(tmp_path: Path) -> None:
    for key in ("ab" * 32, "ac" * 32, "b" * 64):
        (tmp_path / key).mkdir()
    (tmp_path / ("b" * 63)).mkdir()  # no key
    assert [entry.key for entry in find_features(tmp_path, ["ab", "b", "ab" * 32])] == ["ab" * 32, "b" * 64]
    with pytest.raises(NotFoundError, match="2 keys begin with 'a': abab.*, acac"):
        find_features(tmp_path, ["b", "a"])
    with pytest.raises(NotFoundError, match="No features are kept under ''"):
        remove_features(tmp_path, [""])
    with pytest.raises(NotFoundError, match="nearest: abababababab"):
        find_features(tmp_path, ["abababababac"])
    assert len(list_features(tmp_path)) == 3


def trunk_of(root: Path, data: bytes, age: float = 0) -> Path:
    """A converted trunk beside the folder of all features, last used `age` seconds ago."""
    key = hashlib.sha256(b"key of " + data).hexdigest()[:32]
    path = root.parent / "trunks" / f"{key}.{hashlib.sha256(data).hexdigest()}.onnx"
    for each, content in ((path, data), (path.with_name(f"{key}.json"), b"{}")):
        write_bytes(each, content)
        os.utime(each, (time.time() - age,) * 2)
    return path


def test_f04_converted_trunks_go_like_features(tmp_path: Path) -> None:
    root = tmp_path / "features"
    folder = folder_of(root)
    os.utime(next(folder.path.glob("*.safetensors")), (time.time() - 500,) * 2)
    old, new = trunk_of(root, b"old" * 1000, 1000), trunk_of(root, b"new" * 1000)
    assert [trunk.bytes for trunk in list_trunks(root)] == [3002, 3002]
    room = list_features(root)[0].bytes
    kept = sorted(tmp_path.rglob("*"))
    planned = prune_features(root, room + 3002, dry_run=True)
    assert (planned.left, sorted(tmp_path.rglob("*"))) == (room + 3002, kept)
    assert prune_features(root, room + 3002) == planned
    assert [(each.what, each.path, each.bytes) for each in planned.removed] == [("converted trunk", old, 3002)]
    assert sorted(old.parent.iterdir()) == sorted([new, new.with_name(f"{new.name[:32]}.json")])
    assert [each.key for each in prune_features(root, 3002).removed] == [folder.spec.key]
    assert prune_features(root, older_than=600).left == 3002
    assert prune_features(root, 0).left == 0 and not list(new.parent.iterdir())


def test_f02_a_damaged_trunk_is_found_and_moved_aside_and_pruned(tmp_path: Path) -> None:
    root = tmp_path / "features"
    folder_of(root)
    good, bad = trunk_of(root, b"good"), trunk_of(root, b"bad")
    flip(bad)
    unfinished = good.with_name(".x.onnx.1.ab.tmp")
    unfinished.write_bytes(b"half")
    told = Told()
    findings = verify_features(root, progress=told)
    assert sorted(each.state for each in findings) == ["damaged", "whole", "whole"]
    assert (told.total, told.unit) == (told.done, "bytes")
    assert [each.moved_to for each in findings if each.state == "damaged"] == [bad.with_suffix(".corrupt")]
    assert [each.what for each in prune_features(root).removed] == ["damaged trunk"]
    assert unfinished.exists()  # its writer may live
    os.utime(unfinished, (1e9, 1e9))
    assert [each.what for each in prune_features(root).removed] == ["unfinished file"]
    assert sorted(each.state for each in verify_features(root)) == ["whole", "whole"]


class Told(Silent):
    """A progress that remembers."""

    total, done, unit = 0, 0, ""

    def start(self, total: int | None, unit: str) -> None:
        self.total, self.unit = total or 0, unit

    def advance(self, n: int, **figures: float) -> None:
        self.done += n


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder of features on a disk that cannot be written: one whole shard, and one whose bytes have changed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        folder_of(disk / "features", "whole")
        flip(next(folder_of(disk / "features", "damaged").path.glob("*.safetensors")))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        yield disk / "features"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_s04_on_a_disk_that_cannot_be_written_features_are_read_and_nothing_else(read_only: Path) -> None:
    entries = list_features(read_only)
    assert [(entry.rows, entry.users) for entry in entries] == [(100, ())] * 2
    states = [(each.state, each.moved_to) for each in verify_features(read_only)]
    assert sorted(states, key=str) == [("damaged", None), ("whole", None)]
    opened = []
    for entry in entries:
        folder = FeatureFolder(read_only, FeatureSpec(**{**entry.spec, "shape": tuple(entry.spec["shape"])}))
        with folder.lease():
            assert users(folder.path) == []
            folder.open()
            folder.record_use(1, 0)
            opened.append(len(folder.shards))
    assert sorted(opened) == [0, 1]
    assert len(prune_features(read_only, 0, dry_run=True).removed) == 2
    for act in (lambda: prune_features(read_only, 0), lambda: remove_features(read_only, everything=True)):
        with pytest.raises(DiskError, match="Cannot remove .*features.*Read-only"):
            act()
    with pytest.raises(DiskError, match="Read-only"):
        merge_features(read_only, folder_of(read_only.parent.parent / "other", "new").path.parent)


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


def test_importing_the_package_imports_no_tensorflow() -> None:
    code = (
        "import zoo.features, zoo.features.folder, zoo.features.housekeeping, zoo.features.merging\n"
        "print({'tensorflow', 'keras'} & set(sys.modules)); zoo.features.Features; zoo.features.FeatureStats\n"
        "print({'tensorflow', 'keras'} & set(sys.modules))\n"
    )
    assert child(code).communicate()[0] == b"set()\nset()\n"


def test_a_merge_that_is_tried_takes_nothing(tmp_path: Path) -> None:
    home, other = tmp_path / "features", tmp_path / "other"
    folder_of(other)
    assert [each.state for each in merge_features(home, other, dry_run=True)] == ["taken"]
    assert not home.exists()
    assert [each.state for each in merge_features(home, other)] == ["taken"]
    assert [each.state for each in merge_features(home, other, dry_run=True)] == ["there already"]


def _header_of(length: int) -> bytes:
    return length.to_bytes(8, "little") + b"{" * 100


def _safetensors(shape: list[int]) -> bytes:
    size = 4 * math.prod(shape)
    header = json.dumps({
        "keys": {"dtype": "U8", "shape": [shape[0], 32], "data_offsets": [0, 32 * shape[0]]},
        "features": {"dtype": "F32", "shape": shape, "data_offsets": [32 * shape[0], 32 * shape[0] + size]},
    }).encode()  # fmt: skip
    return len(header).to_bytes(8, "little") + header


HOSTILE = {
    "a header that is larger than the file": _header_of(1 << 62),
    "a header that is larger than any": _header_of(50_000_000) + b" " * 100,
    "braces without end": (1000).to_bytes(8, "little") + b"[" * 1000,
    "a tensor that is larger than the file": _safetensors([1 << 40, 4]),
    "rows of another width": _safetensors([2, 3]) + bytes(2 * 32 + 4 * 6),
    "sizes below 0": _safetensors([-1, 4]),
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_merge_refuses_what_is_named_rightly_and_is_no_shard_of_its_folder(tmp_path: Path, what: str) -> None:
    home, folder = tmp_path / "features", folder_of(tmp_path / "other")
    bad = folder.path / f"{hashlib.sha256(HOSTILE[what]).hexdigest()}.safetensors"
    bad.write_bytes(HOSTILE[what])
    merged = {each.path: each for each in merge_features(home, tmp_path / "other")}
    assert merged.pop(bad).state == "refused"
    assert [each.state for each in merged.values()] == ["taken"]
    assert_only_whole_shards(home, 1)


def assert_only_whole_shards(home: Path, count: int) -> None:
    files = [path for path in home.rglob("*") if path.is_file()]
    assert not any(path.is_symlink() or path.name.endswith(".tmp") for path in home.rglob("*"))
    assert [path.stem == sha256_of(path) for path in files if path.suffix == ".safetensors"] == [True] * count


def test_a_merge_follows_no_link_and_waits_for_no_pipe(tmp_path: Path) -> None:
    home, other, secret = tmp_path / "features", tmp_path / "other", folder_of(tmp_path / "secret")
    folder = folder_of(other)
    (shard,) = secret.path.glob("*.safetensors")
    (folder.path / f"{'1' * 64}.safetensors").symlink_to(shard)
    os.mkfifo(folder.path / f"{'2' * 64}.safetensors")
    (folder.path / f"{'3' * 64}.safetensors").mkdir()
    for name in ("../x.safetensors", "x.safetensors", f"{'A' * 64}.safetensors", ".lease.1.ab", "usage.jsonl"):
        (folder.path / name).write_bytes(b"not asked for")
    (other / ("4" * 64)).symlink_to(secret.path)
    linked = folder_of(other, "linked")
    (linked.path / "spec.json").unlink()
    (linked.path / "spec.json").symlink_to(secret.path / "spec.json")
    piped = folder_of(other, "piped")
    (piped.path / "spec.json").unlink()
    os.mkfifo(piped.path / "spec.json")
    merged = merge_features(home, other)
    assert sorted(each.path.name[:4] for each in merged if each.state == "refused") == sorted(
        ["1111", "2222", "3333", linked.path.name[:4], piped.path.name[:4]]
    )
    assert [each.state for each in merged].count("taken") == 1
    assert_only_whole_shards(home, 1)
    assert [path.name for path in home.iterdir()] == [folder.spec.key]


def test_a_merge_takes_no_shard_that_was_cut_short_or_lies_under_another_key(tmp_path: Path) -> None:
    home, other = tmp_path / "features", tmp_path / "other"
    cut, moved = folder_of(other, "cut"), folder_of(other, "moved")
    (shard,) = cut.path.glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1])
    moved.path.rename(other / ("5" * 64))
    merged = merge_features(home, other)
    assert {each.state for each in merged} == {"refused"}
    assert any("do not match its name" in each.reason for each in merged)
    assert any("does not belong to the key" in each.reason for each in merged)
    assert_only_whole_shards(home, 0)


def test_200_keys_are_listed_quickly_and_without_tensorflow(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # nothing here need survive a power loss
    for number in range(200):
        folder_of(home / "features", str(number), rows=10).record_use(1, 2)
    code = (
        "import time; began = time.process_time()\n"
        "from zoo.cli.main import cli\n"
        "for words in (['list'], ['prune', '--dry-run'], ['verify']):\n"
        "    cli.main(['cache', *words], standalone_mode=False)\n"
        "    print(words[0], time.process_time() - began)\n"
        "print({'tensorflow', 'keras'} & set(sys.modules))\n"
    )
    *lines, heavy = child(code).communicate()[0].decode().splitlines()
    seconds = next(float(line.split()[1]) for line in lines if line.startswith("list "))
    assert (heavy, sum("net" in line for line in lines)) == ("set()", 200)
    assert seconds < 2  # of this process, on a machine that others use, too: 0.5 s alone
