"""Pulls killed at the worst moments, then run again; the numbers are those of the table of faults.

Each is a process of its own that kills itself, without any warning, when it comes to a certain point.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import Puller, Web, assert_invariants, blobs_in, content, file, hash_of, slow

import zoo
from zoo.store.partial import Origin, _machine, is_abandoned, open_partial

DATA = content(3 << 20)
AddModel = Callable[..., None]
ZOO = str(Path(sys.executable).with_name("zoo"))
MEMBERS = {"net.ckpt.index": content(5_000), "net.ckpt.data": content(200_000, seed=1), "sub/assets": b"a"}

KILLED = """
import os, signal, sys
import zoo
{imports}

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{point}
zoo.pull("net")
"""
POINTS = {
    "k01_the_first_bytes": (
        "import zoo.store.partial as m; append = m.Partial.append",
        "m.Partial.append = lambda self, data: (append(self, data), die())",
    ),
    "k02_the_last_bytes": ("import zoo.store.download as m", "m._Download._check = die"),
    "k03_the_hash": ("import zoo.store.blobs as m", "m.Blobs.commit = die"),
    "k03_what_is_known_of_the_blob": ("import zoo.store.blobs as m", "m.move = die"),
    "k04_the_rename": ("import zoo.store.pulling as m", "m.write_record = die"),
}


def kill_at(point: str) -> None:
    imports, code = {**POINTS, **EXTRACTING}[point]
    words = [sys.executable, "-c", KILLED.format(imports=imports, point=code)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("hash", ["sha256", "md5", None])
@pytest.mark.parametrize("point", POINTS)
def test_k01_to_k04_a_pull_killed_after(
    point: str, hash: str | None, web: Web, home: Path, add_model: AddModel, puller: Puller
) -> None:
    """Whatever was on the disk is used: all kills and the second pull put one file on the wire."""
    data = b"\x89HDF\r\n\x1a\n" + DATA
    url = web.put("/net.h5", data)
    add_model("net", file(data, url, hash=hash_of(data, hash) if hash else None, bytes=len(data) if hash else None))
    kill_at(point)
    assert_invariants(home)
    assert not (home / "artifacts" / "net.json").exists()
    at_kill = web.sent
    puller.succeeds(data)
    if point.startswith("k01"):
        assert web.seen[1].headers["Range"].startswith("bytes=")
        assert int(web.seen[1].headers["Range"][6:-1]) > 0
    else:
        assert web.sent == at_kill == len(data)


def tarball() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, data in MEMBERS.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


EXTRACTING = {
    "k05_one_of_several_members": (
        "import os; calls = []; real = os.mkdir",
        "os.mkdir = lambda *a, **k: die() if 'dir_fd' in k and k['dir_fd'] is not None else real(*a, **k)",
    ),
    "k05_all_members": ("import zoo.store.extracted as m", "m._remove = die"),
    "k05_the_list_of_members": ("import zoo.store.extracted as m", "m.flush = die; m.Path.rename = die"),
}


@pytest.mark.parametrize("point", EXTRACTING)
def test_k05_a_pull_killed_while_it_extracts(
    point: str, web: Web, home: Path, add_model: AddModel, puller: Puller
) -> None:
    """What was extracted is invisible until all of it is there, and is done again without a download."""
    data = tarball()
    add_model("net", file(data, web.put("/net.tgz", data), name="net.tgz", role="archive"))
    kill_at(point)
    assert not [path for path in (home / "extracted").glob("*") if path.is_dir()]
    assert puller.run("net").exit_code == 0
    folder = zoo.pull("net").folder
    assert folder is not None
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == MEMBERS
    assert web.sent == len(data)
    assert {each.state for each in zoo.verify()} == {"whole"}
    left = list((home / "tmp").iterdir())
    for path in left:
        os.utime(path, (0, 0))
        for inner in path.rglob("*"):
            os.utime(inner, (0, 0))
    zoo.collect_garbage()
    assert list((home / "tmp").iterdir()) == []


def test_an_extracted_file_that_was_damaged_is_extracted_again(
    web: Web, home: Path, add_model: AddModel, puller: Puller
) -> None:
    data = tarball()
    add_model("net", file(data, web.put("/net.tgz", data), name="net.tgz", role="archive", hash=None))
    puller.run("net")
    folder = zoo.pull("net").folder
    assert folder is not None
    (folder / "net.ckpt.data").write_bytes(bytes(200_000))
    assert {each.name for each in zoo.verify() if each.state == "damaged"} == {"net.tgz: net.ckpt.data"}
    assert puller.run("net").exit_code == 0
    assert (folder / "net.ckpt.data").read_bytes() == MEMBERS["net.ckpt.data"]
    assert len(web.seen) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_k14_an_interruption_says_how_to_go_on(
    number: int, code: int, web: Web, home: Path, add_model: AddModel, puller: Puller
) -> None:
    add_model("net", file(DATA, web.put("/net.h5", DATA, slow(100_000, 0.05, 30))))
    with subprocess.Popen([ZOO, "pull", "net"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        while web.sent < 300_000:
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(number)
        output, message = child.communicate()
    assert child.returncode == code
    assert output == ""
    assert "run the same command again" in message
    assert "Traceback" not in message
    assert blobs_in(home) == []
    puller.succeeds(DATA)
    assert int(web.seen[1].headers["Range"][6:-1]) >= 100_000


def test_a_partial_of_a_running_process_is_not_taken(web: Web, home: Path, add_model: AddModel) -> None:
    """Another process that pulls beside it, as happens without locks, begins one of its own."""
    kinds = frozenset({"sha256"})
    with open_partial(home / "tmp", "key", kinds, "net.h5", pinned=True) as first:
        first.describe(Origin("https://models.example/a"))
        first.append(b"abc")
        with open_partial(home / "tmp", "key", kinds, "net.h5", pinned=True) as second:
            assert second.folder != first.folder
            assert second.size == 0
        alive = first.folder.with_name(first.folder.name.replace(f".{os.getpid()}.", f".{os.getppid()}."))
        assert not is_abandoned(alive)
    with open_partial(home / "tmp", "key", kinds, "net.h5", pinned=True) as third:
        assert third.digests() == {"sha256": hash_of(b"abc")[7:]}
        third.start_again()


def test_a_partial_that_says_nothing_of_its_origin_is_not_used(home: Path) -> None:
    kinds = frozenset({"sha256"})
    for origin in ("", "[]", '{"url": 7}', '{"url": "u", "etag": null, "total": "x"}'):
        with open_partial(home / "tmp", "key", kinds, "net.h5", pinned=True) as partial:
            partial.describe(Origin("https://models.example/a"))
            partial.append(b"abc")
            (partial.folder / "origin.json").write_text(origin)
        with open_partial(home / "tmp", "key", kinds, "net.h5", pinned=True) as partial:
            assert partial.size == 0


def test_what_other_machines_left_is_taken_over_after_an_hour(home: Path) -> None:
    """Their processes cannot be seen from here; those of this machine before its last start can be told to be dead."""
    other = home / "tmp" / f"key.1.{'0' * 16}.aaaaaaaa.partial"
    other.mkdir(parents=True)
    assert not is_abandoned(other)
    os.utime(other, (time.time() - 3_700,) * 2)
    assert is_abandoned(other)
    before = other.rename(other.with_name(f"key.1.{_machine()[:8]}{'0' * 8}.aaaaaaaa.partial"))
    os.utime(before)
    assert is_abandoned(before)


def test_without_a_hash_bytes_from_before_a_crash_of_the_machine_are_not_used(home: Path) -> None:
    """They may be zeros, where the disk had not yet taken them."""
    kinds = frozenset({"sha256"})
    with open_partial(home / "tmp", "key", kinds, "net.bin", pinned=False) as partial:
        partial.describe(Origin("https://models.example/a", '"one"'))
        partial.append(bytes(100))
    folder = partial.folder.rename(
        partial.folder.with_name(partial.folder.name.replace(_machine(), _machine()[:8] + "0" * 8))
    )
    with open_partial(home / "tmp", "key", kinds, "net.bin", pinned=False) as partial:
        assert partial.size == 0
    with open_partial(home / "tmp", "key", kinds, "net.bin", pinned=True) as partial:
        assert partial.size == 100
    assert not folder.exists()
