"""What disks, other processes and other people do to a store; numbers in names are those of the table of faults."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from loopback import (
    Puller,
    Web,
    assert_invariants,
    blobs_in,
    content,
    cut,
    file,
    hash_of,
    listing,
    open_descriptors,
    reply,
    slow,
    whole,
)
from zoo.cli.main import cli

import zoo
from zoo.store.layout import Layout, short_key
from zoo.store.locks import in_use, locked
from zoo.store.partial import _machine

DATA = content(300_000)
OTHER = content(300_000, seed=1)
AddModel = Callable[..., None]
ZOO = str(Path(sys.executable).with_name("zoo"))


def command(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def mount(folder: Path, options: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root, where mounting is allowed, can make a small disk")


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path, str], None]]:
    """Returns a function that mounts a small file system."""
    mounted: list[Path] = []

    def make(folder: Path, options: str) -> None:
        mount(folder, options)
        mounted.append(folder)

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def net(web: Web, add_model: AddModel) -> Callable[..., str]:
    """Returns a function that serves `DATA` and puts it into the registry as `net`."""

    def make(*script: Any, **more: Any) -> str:
        data = more.pop("data", DATA)
        url = web.put("/net.h5", data, *script)
        add_model("net", file(data, url, **more))
        return url

    return make


def test_s01_a_disk_too_small_is_refused_before_anything_comes(
    net: Any, web: Web, home: Path, puller: Puller, small_disk: Any
) -> None:
    small_disk(home, "size=1m")
    net(data=content(2 << 20))
    result = puller.run("net")
    assert result.exit_code == 6
    assert f"net needs {2 << 20:,} bytes" in result.stderr
    assert re.search(r"where [\d,]+ are free", result.stderr)
    assert web.seen == []
    assert not list(home.rglob("data"))


def test_s01_a_disk_too_small_is_noticed_when_the_server_says_the_size(
    net: Any, web: Web, home: Path, puller: Puller, small_disk: Any
) -> None:
    small_disk(home, "size=2m")
    net(data=content(3 << 20), bytes=None)
    result = puller.run("net")
    assert result.exit_code == 6
    assert f"net.h5 needs {3 << 20:,} bytes more" in result.stderr
    assert sum(path.stat().st_size for path in home.rglob("data")) == 0


def test_s01_what_has_come_before_needs_no_room(net: Any, home: Path, puller: Puller, small_disk: Any) -> None:
    """Two megabytes of three are there; another three would not fit."""
    data = content(3 << 20)
    small_disk(home, "size=5m")
    net(cut(2 << 20), reply(404), data=data)
    assert puller.run("net").exit_code == 3
    net(data=data)
    puller.succeeds(data)


def test_s02_a_disk_that_fills_up_ends_the_pull_and_a_larger_one_goes_on(
    net: Any, web: Web, home: Path, puller: Puller, small_disk: Any
) -> None:
    """Nobody says the size beforehand, so it is found out the hard way: once, without a second request."""
    data = content(3 << 20)
    small_disk(home, "size=2m")
    net(*[whole(data=data, length=None)] * 2, data=data, bytes=None)
    result = puller.run("net")
    assert result.exit_code == 6
    assert "No space left on device" in result.stderr
    assert "what has come of net.h5 is kept" in result.stderr
    assert len(web.seen) == 1
    web.files["/net.h5"].script.clear()
    subprocess.run(["mount", "-o", "remount,size=20m", str(home)], check=True)
    puller.succeeds(data)
    assert web.seen[1].headers["Range"].startswith("bytes=")


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.ENOSPC])
def test_s04_no_quota_left(number: int, net: Any, puller: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotas need a file system made for them; here the kernel's answer is put in its mouth."""

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    net()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        result = puller.run("net")
    assert result.exit_code == 6
    assert os.strerror(number) in result.stderr
    assert blobs_in(puller.home) == []
    puller.succeeds(DATA)


def test_s04_a_read_only_store(net: Any, home: Path, puller: Puller, small_disk: Any) -> None:
    """What is there is found; what is not cannot come."""
    small_disk(home, "size=8m")
    net()
    puller.succeeds(DATA)
    net(name="other.h5")
    subprocess.run(["mount", "-o", "remount,ro", str(home)], check=True)
    result = puller.run("net")
    assert result.exit_code == 6
    assert "Read-only file system" in result.stderr
    assert str(home) in result.stderr


def test_s04_a_read_only_store_still_gives_what_it_has(net: Any, home: Path, puller: Puller, small_disk: Any) -> None:
    small_disk(home, "size=8m")
    net()
    puller.succeeds(DATA)
    subprocess.run(["mount", "-o", "remount,ro", str(home)], check=True)
    assert puller.run("net").exit_code == 0
    assert command("verify").exit_code == 0


AS_NOBODY = """
import logging, os, sys
import zoo.cli.main, zoo.store.download, zoo.store.inventory, zoo.store.pulling, rich.progress, rich.console
if os.geteuid() == 0:
    os.seteuid(65534)  # permissions do not bind root
zoo.cli.main.main()
"""


def test_s04_a_store_that_is_not_ours_to_write(net: Any, home: Path) -> None:
    net()
    for parent in (home, *home.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    before = listing(home)
    done = subprocess.run([sys.executable, "-c", AS_NOBODY, "pull", "net"], capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert "Permission denied" in done.stderr
    assert str(home) in done.stderr
    assert listing(home) == before


def pull_at_once(count: int, *names: str, code: str | None = None) -> list[subprocess.CompletedProcess[str]]:
    """Pulls each of `names` in `count` processes, all started before any is waited for."""
    words = [ZOO, "pull"] if code is None else [sys.executable, "-c", code]
    children = [
        subprocess.Popen([*words, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in names for _ in range(count)
    ]  # fmt: skip
    told = [child.communicate() for child in children]
    return [
        subprocess.CompletedProcess(child.args, child.returncode, *each)
        for child, each in zip(children, told, strict=True)
    ]


NO_LOCKS = """
import sys
import zoo, zoo.store.locks
zoo.locking.flock = lambda *_: None
print(zoo.pull(sys.argv[1]).files)
"""


def test_s05_without_locks_nothing_but_work_is_lost(net: Any, web: Web, home: Path) -> None:
    net()
    done = pull_at_once(4, "net", code=NO_LOCKS)
    assert [each.returncode for each in done] == [0] * 4, [each.stderr for each in done]
    assert_invariants(home)
    assert [path.read_bytes() for path in blobs_in(home)] == [DATA]
    assert len(DATA) <= web.sent <= 4 * len(DATA)


def test_s06_blobs_on_another_disk(
    net: Any, home: Path, puller: Puller, small_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename from tmp/ to there is impossible."""
    flushed: list[str] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    small_disk(home / "blobs", "size=8m")
    net()
    assert (home / "blobs").stat().st_dev != home.stat().st_dev
    puller.succeeds(DATA)
    assert [path.name for path in (home / "blobs" / "sha256").iterdir()] == [hash_of(DATA)[7:]]
    (copied,) = [number for number, name in enumerate(flushed) if name.startswith(f".{hash_of(DATA)[7:]}.")][-1:]
    assert flushed.index("sha256") > copied  # the copy, then the folder that it was renamed in
    assert puller.run("net").exit_code == 0
    assert json.loads(command("verify", "--json").stdout)[0]["state"] == "whole"


def test_s07_a_disk_that_cannot_flush_commits_nothing(
    net: Any, home: Path, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def broken(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "data":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    net()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        result = puller.run("net")
    assert result.exit_code == 6
    assert "Input/output error" in result.stderr
    assert blobs_in(home) == []
    assert list((home / "artifacts").iterdir()) == []
    puller.succeeds(DATA)


def test_s08_bytes_are_flushed_before_they_get_their_name_and_names_after(
    net: Any, home: Path, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that survives a loss of power: write, flush the file, rename, flush the folder."""
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watch_fsync(descriptor: int) -> None:
        order.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def watch_replace(source: Any, target: Any, **more: Any) -> None:
        order.append(f"rename {Path(target).name}")
        replace(source, target, **more)

    net()
    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "replace", watch_replace)
    puller.run("net")
    digest = hash_of(DATA)[7:]
    steps = [
        "fsync data",
        f"rename {digest}.json",
        f"rename {digest}",
        "fsync sha256",
        "rename net.json",
        "fsync artifacts",
    ]
    places = [order.index(step) for step in steps]
    assert places == sorted(places), order


@pytest.mark.parametrize("damage", [b"", bytes(len(DATA)), DATA[:-1]])
def test_s09_a_blob_emptied_by_a_loss_of_power_is_noticed_and_pulled_anew(
    damage: bytes, net: Any, web: Web, home: Path, puller: Puller
) -> None:
    net()
    puller.succeeds(DATA)
    for repair in ("pull", "verify"):
        blobs_in(home)[0].write_bytes(damage)
        with pytest.raises(AssertionError):
            assert_invariants(home)
        if repair == "verify":
            assert command("verify").exit_code == 4
            assert command("where", "net").exit_code == 4
        puller.succeeds(DATA)
    assert len(web.seen) == 3


def test_s10_a_flipped_bit_is_found_by_verify_moved_aside_and_repaired(
    net: Any, web: Web, home: Path, puller: Puller
) -> None:
    """Even where size and time of the file are what they were."""
    net()
    puller.succeeds(DATA)
    (blob,) = blobs_in(home)
    times = blob.stat()
    blob.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    os.utime(blob, ns=(times.st_atime_ns, times.st_mtime_ns))
    result = command("verify")
    assert result.exit_code == 4
    assert "damaged" in result.stdout
    assert "zoo pull net" in result.stderr
    assert blobs_in(home) == []
    assert len(list((home / "corrupt").iterdir())) == 1
    puller.succeeds(DATA)
    assert command("verify").exit_code == 0


NO_RECORDS = [
    b"", b"{", b"\xff\xfe", b"[]", b'{"schema": 1}', b'{"schema": 1, "name": "net", "files": [7]}', b"[" * 99_999,
]  # fmt: skip


@pytest.mark.parametrize("damage", NO_RECORDS, ids=[str(number) for number in range(len(NO_RECORDS))])
def test_s11_a_damaged_record_is_made_anew_without_a_download(
    damage: bytes, net: Any, web: Web, home: Path, puller: Puller
) -> None:
    """The file has an md5 only: what is known of its blob says which that is."""
    net(hash=hash_of(DATA, "md5"))
    puller.succeeds(DATA)
    record = home / "artifacts" / "net.json"
    good = record.read_text()
    record.write_bytes(damage)
    for words in (["where", "net"], ["verify"]):
        result = command(*words)
        assert result.exit_code == 4, words
        assert "zoo pull net" in result.stderr
    assert command("where").exit_code == 0
    assert "Damaged records: net" in command("where").stderr
    assert command("list", "--pulled").exit_code == 0
    result = puller.run("net")
    assert result.exit_code == 0, result.stderr
    assert json.loads(record.read_text())["files"][0]["blob"] == json.loads(good)["files"][0]["blob"]
    assert len(web.seen) == 1


def test_s11_a_damaged_registry_of_ones_own(home: Path) -> None:
    home.mkdir()
    (home / "registry.json").write_text("{")
    result = command("pull", "net")
    assert result.exit_code == 4
    assert "registry.json is no JSON" in result.stderr


def test_s11_what_is_known_of_blobs_may_be_lost(net: Any, web: Web, home: Path, puller: Puller) -> None:
    net()
    puller.succeeds(DATA)
    for about in (home / "about").iterdir():
        about.write_text("nonsense")
    puller.succeeds(DATA)
    assert len(web.seen) == 1


@pytest.mark.parametrize("where", ["store.json", "artifacts/net.json"])
def test_s12_a_store_of_a_newer_version_is_left_alone(where: str, net: Any, home: Path, puller: Puller) -> None:
    net()
    puller.succeeds(DATA)
    path = home / where
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    before = listing(home)
    for words in (["pull", "net"], ["gc"], ["rm", "net"]):
        result = command(*words)
        assert result.exit_code == 4, words
        assert "pip install --upgrade zoo-transfer" in result.stderr
    assert listing(home, home / "locks") == {path: digest for path, digest in before.items() if "/locks/" not in path}
    assert command("list").exit_code == 0
    assert command("list", "--pulled").exit_code == 0


BAD_NAMES = [
    "../x",
    "a/../b",
    "/etc/passwd",
    "a\0b",
    "C:x",
    "c:\\x",
    "CON",
    "nul.txt",
    "a/aux",
    "dot.",
    "-x",
    "a" * 200,
    "a//b",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_s13_names_that_are_no_names_are_refused_on_every_system(name: str, home: Path) -> None:
    around = listing(home.parent)
    for words in (["pull"], ["rm"], ["where"], ["verify"], ["show"]):
        result = command(*words, "--", name)
        assert result.exit_code in (2, 3), (words, result.stderr)
        assert result.stderr.strip()
        assert "Traceback" not in result.stderr
    assert listing(home.parent) == around


@pytest.mark.parametrize("name", ["../net.h5", "a/b.h5", "NUL", "net.h5 ", "a\\b", "x" * 300])
def test_s13_file_names_in_a_registry_are_refused_too(name: str, web: Web, add_model: AddModel, puller: Puller) -> None:
    add_model("net", file(DATA, web.put("/net.h5", DATA), name=name))
    result = puller.run("net")
    assert result.exit_code == 4
    assert web.seen == []


@pytest.mark.parametrize("planted", ["blob", "record", "partial", "lock", "folder of a partial"])
def test_s14_planted_links_are_not_followed(
    planted: str, net: Any, home: Path, puller: Puller, tmp_path_factory: pytest.TempPathFactory
) -> None:
    canary = tmp_path_factory.mktemp("elsewhere") / "canary"
    canary.write_bytes(b"untouched")
    (canary.parent / "data").write_bytes(DATA)
    net()
    paths = Layout(home)
    links = {
        "blob": paths.blobs / hash_of(DATA)[7:],
        "record": paths.artifact("net"),
        "partial": paths.tmp / f"{short_key(hash_of(DATA))}.{os.getpid()}.{_machine()}.aaaaaaaa.partial",
        "lock": paths.lock("model", "net"),
        "folder of a partial": paths.tmp / f"{short_key(hash_of(DATA))}.{os.getpid()}.{_machine()}.bbbbbbbb.partial",
    }
    link = links[planted]
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(canary.parent if planted == "folder of a partial" else canary)
    result = CliRunner().invoke(cli, ["pull", "net"])
    if planted in ("blob", "record", "lock"):
        assert result.exit_code == 5, result.stderr
        assert "symbolic link" in result.stderr
        link.unlink()
        assert CliRunner().invoke(cli, ["pull", "net"]).exit_code == 0
    else:
        assert result.exit_code == 0, result.stderr
    assert canary.read_bytes() == b"untouched"
    assert (canary.parent / "data").read_bytes() == DATA


def test_s15_a_store_that_everybody_may_write_is_pointed_out(net: Any, home: Path, puller: Puller) -> None:
    net()
    home.chmod(0o777)
    assert "Everybody can write to the store" in puller.run("net").stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_s15_a_store_of_somebody_else_is_pointed_out(net: Any, home: Path, puller: Puller) -> None:
    net()
    os.chown(home, 65534, 65534)
    assert "belongs to another user (uid 65534)" in puller.run("net").stderr


def test_s16_no_inodes_left(net: Any, home: Path, puller: Puller, small_disk: Any) -> None:
    small_disk(home, "size=8m,nr_inodes=6")
    net()
    before = open_descriptors()
    result = puller.run("net")
    assert result.exit_code == 6
    assert "No space left on device" in result.stderr
    assert open_descriptors() <= before + 1  # the server's end of a connection may take a moment


FEW_FILES = """
import os, resource, sys
import zoo, zoo.cli.main, zoo.store.download, encodings.idna
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv.pop(1)) + len(os.listdir('/proc/self/fd')), 4096))
zoo.cli.main.main()
"""


@pytest.mark.parametrize("spare", range(1, 7))
def test_s16_no_descriptors_left(spare: int, net: Any, home: Path) -> None:
    """Whichever file is one too many: a lock, the partial, the socket."""
    net()
    words = [sys.executable, "-c", FEW_FILES, str(spare), "pull", "net"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 6), done.stderr
    assert done.returncode == 0 or "Too many open files" in done.stderr
    assert "Traceback" not in done.stderr
    assert spare > 2 or done.returncode == 6
    assert_invariants(home)


def test_s16_descriptors_are_closed_after_success_and_failure(net: Any, web: Web, puller: Puller) -> None:
    net()
    puller.run("net")
    before = open_descriptors()
    for _ in range(3):
        assert command("rm", "net").exit_code == 0
        assert puller.run("net").exit_code == 0
        net(data=OTHER, name="other.h5", hash=hash_of(DATA[1:]))
        assert puller.run("net").exit_code == 4
        net()
    for _ in range(100):  # the server's threads close their ends when they come to it
        if open_descriptors() <= before:
            break
        time.sleep(0.05)
    assert open_descriptors() <= before


def test_s17_nothing_is_removed_while_it_is_read(net: Any, home: Path, puller: Puller) -> None:
    net()
    puller.succeeds(DATA)
    (blob,) = blobs_in(home)
    with in_use(blob):
        result = command("rm", "net")
        assert result.exit_code == 7
        assert "being read" in result.stderr
        assert zoo.locate("net")
        (home / "artifacts" / "net.json").unlink()  # now it is of no model
        os.utime(blob, (0, 0))
        assert zoo.collect_garbage() == []
        assert blob.read_bytes() == DATA
    assert [each.path for each in zoo.collect_garbage()] == [blob]
    assert blobs_in(home) == []


def test_s17_a_blob_whose_record_is_about_to_be_written_is_left_alone(
    net: Any, home: Path, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collecting at the worst moment, without the hour of grace that young files have."""
    collected: list[Any] = []

    def collect_first(paths: Any, record: Any) -> None:
        collected.append(zoo.collect_garbage(everything=True))
        write(paths, record)

    import zoo.store.pulling as pulling

    write = pulling.write_record
    net()
    monkeypatch.setattr(pulling, "write_record", collect_first)
    puller.succeeds(DATA)
    assert collected == [[]]


def test_s17_young_files_of_no_model_are_left_alone(net: Any, home: Path, puller: Puller) -> None:
    """Where there are no locks, time is what protects a pull."""
    net()
    puller.succeeds(DATA)
    (home / "artifacts" / "net.json").unlink()
    assert zoo.collect_garbage() == []
    assert len(blobs_in(home)) == 1


def test_c01_eight_pulls_of_one_model_at_once_fetch_it_once(net: Any, web: Web, home: Path) -> None:
    net()
    done = pull_at_once(8, "net")
    assert [each.returncode for each in done] == [0] * 8, [each.stderr for each in done]
    assert web.sent == len(DATA)
    assert_invariants(home)


def test_c02_different_models_with_the_same_files_at_once(web: Web, home: Path, add_model: AddModel) -> None:
    """Four models, two processes each; one file is in all of them."""
    shared = web.put("/shared.h5", DATA, slow(10_000, 0.01, 30), slow(10_000, 0.01, 30))  # long enough to overlap
    for number in range(4):
        own = content(100_000, seed=10 + number)
        add_model(f"net{number}", file(DATA, shared, name="shared.h5"),
                  file(own, web.put(f"/own{number}", own), name="own.h5", role="definition"))  # fmt: skip
    done = pull_at_once(2, *(f"net{number}" for number in range(4)))
    assert [each.returncode for each in done] == [0] * 8, [each.stderr for each in done]
    assert_invariants(home)
    assert len(blobs_in(home)) == 5
    assert web.sent == len(DATA) + 4 * 100_000
    assert len(web.requests("/shared.h5")) == 1


HOLD = """
import sys, time
from pathlib import Path
from zoo.store.locks import locked
with locked(Path(sys.argv[1]), "pull net"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of `net` and does nothing."""
    lock = str(Layout(home).lock("model", "net"))
    with subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


def test_c03_who_waits_says_for_whom_and_not_for_ever(net: Any, puller: Puller, holder: subprocess.Popen[str]) -> None:
    net()
    result = puller.run("net", "--lock-timeout", "1.2")  # after a second it says that it waits
    assert result.exit_code == 7
    assert f"Waiting to pull net: process {holder.pid} (to pull net, for" in result.stderr
    assert "did not let go within 1.2 s" in result.stderr
    assert "--lock-timeout" in result.stderr


def test_k13_the_lock_of_a_killed_process_is_free_at_once(
    net: Any, puller: Puller, holder: subprocess.Popen[str]
) -> None:
    net()
    threading.Timer(0.3, holder.kill).start()
    puller.run("net", "--lock-timeout", "1.3")  # a second after it was killed
    assert len(blobs_in(puller.home)) == 1


def test_a_lock_is_exclusive_also_within_a_process(tmp_path: Path) -> None:
    from zoo.errors import BusyError

    lock = tmp_path / "locks" / "lock"
    with locked(lock, "work"), pytest.raises(BusyError), locked(lock, "work", timeout=0):
        pass
    with locked(lock, "work", timeout=0):
        pass


def test_a_model_without_a_published_hash_must_stay_what_it_was(
    web: Web, home: Path, add_model: AddModel, puller: Puller
) -> None:
    """The first download is the measure: it is shown as verified by nobody, and a later one must be the same."""
    url = web.put("/net.bin", DATA)
    add_model("net", file(DATA, url, name="net.bin", hash=None, bytes=None))
    assert "unverified by publisher" in puller.succeeds(DATA).stdout
    blobs_in(home)[0].unlink()
    web.put("/net.bin", OTHER)
    result = command("pull", "net")
    assert result.exit_code == 4
    assert "must be what first came" in result.stderr
    assert command("rm", "net").exit_code == 0
    puller.succeeds(OTHER)


def test_headless_fetches_the_smaller_file_and_both_can_be_there(web: Web, add_model: AddModel, puller: Puller) -> None:
    add_model("net", file(DATA, web.put("/whole.h5", DATA), name="whole.h5"),
              file(OTHER, web.put("/part.h5", OTHER), name="part.h5", role="weights_notop"))  # fmt: skip
    puller.run("net", "--headless")
    assert [seen.path for seen in web.seen] == ["/part.h5"]
    assert list(zoo.pull("net", headless=True).files) == ["weights_notop"]
    puller.run("net")
    assert [seen.path for seen in web.seen] == ["/part.h5", "/whole.h5"]
    assert {place.name for place in zoo.locate("net")} == {"whole.h5", "part.h5"}


def test_several_models_are_pulled_though_one_fails(web: Web, add_model: AddModel, puller: Puller) -> None:
    add_model("net", file(DATA, web.put("/net.h5", DATA)))
    result = puller.run("nett", "net")
    assert result.exit_code == 3
    assert "Did you mean net" in result.stderr
    assert len(blobs_in(puller.home)) == 1


def test_a_dry_run_says_what_would_come(net: Any, web: Web, home: Path, puller: Puller) -> None:
    net()
    (plan,) = json.loads(puller.run("net", "--dry-run", "--json").stdout)
    assert [step["action"] for step in plan["steps"]] == ["fetch"]
    assert plan["missing"] == len(DATA)
    assert web.seen == []
    puller.run("net")
    assert "keep" in puller.run("net", "--dry-run").stdout


def test_a_model_that_nobody_published(add_model: AddModel, puller: Puller) -> None:
    add_model("net", file(DATA))
    assert "Nobody published where the files of 'net' are" in puller.run("net").stderr


def test_progress_never_goes_back(net: Any, quick: Any) -> None:
    """Not even where a download starts again from 0, or a size is learned late."""

    class Watch:
        done, most, total = 0, 0, None

        def start(self, total: int | None, unit: str) -> None:
            assert (total, unit) == (None, "bytes")

        def expect(self, total: int) -> None:
            self.total = total

        def advance(self, n: int, **figures: float) -> None:
            assert n > 0
            self.done += n

        def close(self) -> None:
            self.closed = True

    watch = Watch()
    net(cut(200_000), whole(data=OTHER), bytes=None)
    zoo.pull("net", progress=watch)
    assert (watch.done, watch.total, watch.closed) == (len(DATA), len(DATA), True)
