"""The user's own files in the store: copied whole or not at all, kept once, never lost by the store itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner, Result
from loopback import assert_invariants, blobs_in, content, hash_of, listing
from zoo.cli.main import cli

import zoo
from zoo.errors import BusyError, DiskError, IntegrityError, NotFoundError, UnsafeFileError, UsageError, ZooError
from zoo.registry import Entry, OutputSpec
from zoo.registry.index import own_entries
from zoo.store import keeping
from zoo.store.keeping import Own, copied, keep, refuse_taken
from zoo.store.locks import in_use

DATA = content(3 << 20)
INDEX, SHARD = content(5_000), content(200_000, seed=1)


def command(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def kept(name: str, *files: Own, replace: bool = False, member: str | None = None) -> Entry:
    """Keeps files as a model that nothing looks into."""
    with copied(files) as copies:
        roles = ["archive"] if member else ["weights", "definition"]
        specs = tuple(copy.spec(role, member) for role, copy in zip(roles, copies, strict=False))
        entry = Entry(name, "local", None, "unknown", "Mine.", specs, None, OutputSpec(), {})
        keep(entry, copies, replace=replace)
    return entry


@pytest.fixture
def mine() -> Path:
    path = Path("mine.npz")
    path.write_bytes(DATA)
    return path


@pytest.fixture
def checkpoint() -> dict[str, Path]:
    """The files of a TF checkpoint, by their names in the archive; they come to stand there in another order."""
    paths = {
        "net.ckpt.index": Path("net.ckpt.index"),
        "net.ckpt.data-00000-of-00001": Path("net.ckpt.data-00000-of-00001"),
    }
    for path, data in zip(paths.values(), (INDEX, SHARD), strict=True):
        path.write_bytes(data)
    return paths


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """A home in a file system of 5 MB: the 3 MB of DATA go into it once, with the room that is kept for the rest."""
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(home)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root, where mounting is allowed, can make a small disk")
    yield home
    subprocess.run(["umount", "-l", str(home)], check=True)


def unfinished(home: Path) -> list[Path]:
    return sorted((home / "tmp").iterdir())


# --- keeping ---


def test_what_is_kept_is_a_model_with_its_blob_and_the_original_stays(mine: Path, home: Path, no_sockets: None) -> None:
    entry = kept("my/net", Own("mine.npz", mine))

    assert zoo.find_entry("my/net") == entry
    assert entry.files[0].hash == hash_of(DATA)
    assert zoo.pull("my/net").files["weights"].read_bytes() == DATA == mine.read_bytes()
    (place,) = zoo.locate("my/net")
    assert (place.vouched, place.state, place.url) == ("sha256 of what was added", "whole", None)
    assert unfinished(home) == []
    assert_invariants(home)


def test_the_same_bytes_under_two_names_are_one_blob(mine: Path, home: Path) -> None:
    Path("copy.npz").write_bytes(DATA)
    kept("one", Own("mine.npz", mine))
    kept("two", Own("copy.npz", Path("copy.npz")))
    kept("two", Own("copy.npz", Path("copy.npz")))

    assert [path.name for path in blobs_in(home)] == [hashlib.sha256(DATA).hexdigest()]
    assert sorted(own_entries()) == ["one", "two"]


def test_a_reader_of_a_blob_is_not_disturbed_by_the_same_bytes_coming_again(mine: Path, home: Path) -> None:
    kept("one", Own("mine.npz", mine))
    (blob,) = blobs_in(home)
    with in_use(blob):
        kept("two", Own("mine.npz", mine))
        zoo.remove("two")
        with pytest.raises(BusyError):
            zoo.remove("one")

    assert blob.read_bytes() == DATA


def test_a_damaged_blob_is_mended_by_adding_its_bytes_again(mine: Path, home: Path) -> None:
    kept("one", Own("mine.npz", mine))
    (blob,) = blobs_in(home)
    blob.write_bytes(bytes(len(DATA)))
    kept("two", Own("mine.npz", mine))

    assert_invariants(home)
    assert {finding.state for finding in zoo.verify()} == {"whole"}


def test_a_checkpoint_is_one_archive_and_unpacked_at_once(
    checkpoint: dict[str, Path], home: Path, no_sockets: None
) -> None:
    entry = kept("net", Own("net.ckpt.tar", checkpoint), member="net.ckpt")
    assert [place.state for place in zoo.locate("net")] == ["whole"]
    artifact = zoo.pull("net")

    assert entry.files[0].member == "net.ckpt"
    assert artifact.folder is not None
    assert {path.name: path.read_bytes() for path in artifact.folder.iterdir()} == {
        "net.ckpt.index": INDEX,
        "net.ckpt.data-00000-of-00001": SHARD,
    }
    assert unfinished(home) == []


def test_an_archive_is_the_same_whenever_and_in_whatever_order_its_files_were_made(
    checkpoint: dict[str, Path], home: Path
) -> None:
    kept("one", Own("net.ckpt.tar", checkpoint), member="net.ckpt")
    for path in checkpoint.values():
        os.utime(path, (0, 0))
        path.chmod(0o600)
    kept("two", Own("other.tar", dict(reversed(checkpoint.items()))), member="net.ckpt")

    (blob,) = blobs_in(home)
    with tarfile.open(blob) as archive:
        assert [
            (each.name, each.mode, each.uid, each.gid, each.uname, each.gname, each.mtime, each.isreg())
            for each in archive
        ] == [(name, 0o644, 0, 0, "", "", 0, True) for name in sorted(checkpoint)]


@pytest.mark.parametrize("name", ["n" * 120, "é" * 60, "/".join(["folder" * 8] * 6)])
def test_an_archive_has_names_of_any_length_and_script(name: str, home: Path) -> None:
    """A header of the oldest kind has 100 bytes for a name."""
    Path("file").write_bytes(b"here")
    kept("net", Own("net.tar", {name: Path("file")}), member=name)
    folder = zoo.pull("net").folder

    assert folder is not None
    assert (folder / name).read_bytes() == b"here"


def test_other_entries_stay_as_they_were_written(mine: Path, home: Path) -> None:
    """Also fields that this version would have left out, and what stands beside the models."""
    other = {"source": "keras", "task": "t", "summary": "s", "files": [], "input": None, "output": {"classes": None},
             "metrics": {}, "license": None}  # fmt: skip
    home.mkdir()
    (home / "registry.json").write_text(json.dumps({"schema": 1, "note": "mine", "models": {"other": other}}))
    kept("net", Own("mine.npz", mine))
    zoo.remove("net")

    assert json.loads((home / "registry.json").read_text()) == {
        "schema": 1, "note": "mine", "models": {"other": other},
    }  # fmt: skip


# --- names ---


@pytest.mark.parametrize(
    ("taken", "free"), [("vgg16", "vgg16-2"), ("VGG16", "VGG16-2"), ("letters-cnn", "letters-cnn-2")]
)
def test_a_shipped_name_is_taken(taken: str, free: str, mine: Path, home: Path) -> None:
    with pytest.raises(UsageError, match=f"--name {free}"):
        kept(taken, Own("mine.npz", mine))

    assert blobs_in(home) == []
    assert own_entries() == {}


def test_a_name_of_ones_own_is_taken_and_the_free_one_is_free(mine: Path) -> None:
    for name in ("net", "net-2"):
        kept(name, Own("mine.npz", mine))
    Path("other.npz").write_bytes(b"other")

    with pytest.raises(UsageError, match=r"which you added.*--name net-3; or .*--replace"):
        kept("net", Own("other.npz", Path("other.npz")))


def test_a_replaced_model_hides_the_shipped_one_until_it_is_removed(mine: Path) -> None:
    shipped = zoo.find_entry("vgg16")
    kept("vgg16", Own("mine.npz", mine), replace=True)
    assert zoo.find_entry("vgg16").source == "local"
    zoo.remove("vgg16")

    assert zoo.find_entry("vgg16") == shipped


def test_a_name_that_differs_in_case_only_is_not_replaced(mine: Path) -> None:
    """On some systems their records are one file."""
    kept("net", Own("mine.npz", mine))

    with pytest.raises(UsageError, match="taken by net"):
        refuse_taken("Net", replace=True)


def test_a_replaced_models_files_are_the_new_ones(mine: Path, home: Path) -> None:
    kept("net", Own("mine.npz", mine))
    mine.write_bytes(b"newer")
    kept("net", Own("mine.npz", mine), replace=True)

    assert zoo.pull("net").files["weights"].read_bytes() == b"newer"
    zoo.collect_garbage(everything=True)
    assert [path.read_bytes() for path in blobs_in(home)] == [b"newer"]


# --- sources ---


def test_a_file_that_is_not_there(home: Path) -> None:
    with pytest.raises(NotFoundError, match="'gone.npz'"), copied([Own("gone.npz", Path("gone.npz"))]):
        pass

    assert not home.exists()


def test_a_file_that_may_not_be_read(mine: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said by a patched open: root, as whom tests may run, reads everything."""
    real = os.open

    def refuse(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == mine:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(keeping.os, "open", refuse)
    with pytest.raises(DiskError, match="chmod u\\+r"):
        kept("net", Own("mine.npz", mine))


def test_a_disk_that_cannot_give_the_bytes(mine: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pread

    def pread(descriptor: int, length: int, place: int) -> bytes:
        if place:
            raise OSError(5, "Input/output error")
        return real(descriptor, length, place)

    monkeypatch.setattr(keeping.os, "pread", pread)
    with pytest.raises(DiskError, match=r"Cannot read 'mine.npz': Input/output error"):
        kept("net", Own("mine.npz", mine))

    assert (unfinished(home), blobs_in(home)) == ([], [])


def test_a_pipe_is_refused_and_not_waited_for(home: Path) -> None:
    os.mkfifo("pipe.npz")
    with pytest.raises(UnsafeFileError, match="no regular file"):
        kept("net", Own("pipe.npz", Path("pipe.npz")))


def test_a_link_to_a_file_is_followed_but_none_inside_a_folder(mine: Path, home: Path) -> None:
    Path("link.npz").symlink_to(mine)
    kept("net", Own("link.npz", Path("link.npz")))
    with pytest.raises(UnsafeFileError, match="cp -rL"):
        kept("folder", Own("folder.tar", {"link.npz": Path("link.npz")}), member="x")

    assert zoo.pull("net").files["weights"].read_bytes() == DATA
    assert sorted(own_entries()) == ["net"]


@pytest.mark.parametrize("place", ["the file", "its folder"])
def test_a_link_that_is_put_into_a_folder_as_it_is_copied_is_not_followed(
    place: str, mine: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks first and opens then opens what was put there between: here, as the file is measured."""
    secret = Path("secret")
    secret.mkdir()
    (secret / "x").write_bytes(bytes(9))
    inside = Path("net/variables")
    inside.mkdir(parents=True)
    (inside / "x").write_bytes(bytes(9))
    real = keeping._pieces

    def pieces(path: Path, *arguments: Any, **options: Any) -> Iterator[bytes]:
        if place == "the file":
            (inside / "x").unlink()
            (inside / "x").symlink_to(Path("secret/x").absolute())
        else:
            inside.rename("net/was")
            inside.symlink_to(secret.absolute())
        return real(path, *arguments, **options)

    monkeypatch.setattr(keeping, "_pieces", pieces)
    with pytest.raises(UnsafeFileError, match="symbolic link, or lies behind one"):
        kept("folder", Own("net.tar", {"variables/x": inside / "x"}), member="variables")

    assert (unfinished(home), blobs_in(home)) == ([], [])


def test_a_folder_behind_a_link_is_kept(mine: Path, home: Path) -> None:
    Path("real").mkdir()
    Path("real/net").write_bytes(DATA)
    Path("link").symlink_to("real")
    kept("net", Own("net.tar", {"net": Path("link/net")}), member="net")

    assert "net" in own_entries()


@pytest.mark.parametrize("change", ["grows", "shrinks", "is written to"])
@pytest.mark.parametrize("archive", [False, True])
def test_a_file_that_changes_while_it_is_copied(
    change: str, archive: bool, mine: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pread

    def pread(descriptor: int, length: int, place: int) -> bytes:
        piece = real(descriptor, length, place)
        if place == 1 << 20:
            size = {"grows": len(DATA) + 1, "shrinks": len(DATA) // 2, "is written to": len(DATA)}[change]
            os.truncate(mine, size)
            os.utime(mine, ns=(0, 0))
        return piece

    monkeypatch.setattr(keeping.os, "pread", pread)
    with pytest.raises(IntegrityError, match="changed while it was copied"):
        kept("net", Own("net", {"mine.npz": mine} if archive else mine), member="x" if archive else None)

    assert (unfinished(home), blobs_in(home), own_entries()) == ([], [], {})


@pytest.mark.parametrize("name", ["../x", "a/../../x", "con", "a\\b"])
def test_a_name_in_an_archive_that_some_system_would_misread(name: str, mine: Path, home: Path) -> None:
    with pytest.raises(UnsafeFileError):
        kept("net", Own("net.tar", {name: mine}), member="x")

    assert (unfinished(home), blobs_in(home)) == ([], [])


# --- the disk ---


def test_s02_a_disk_without_room_is_refused_before_it_is_filled(mine: Path, small_disk: Path) -> None:
    kept("net", Own("mine.npz", mine))
    before = listing(small_disk)
    Path("other.npz").write_bytes(content(3 << 20, seed=2))
    with pytest.raises(DiskError, match="needs 3,145,728 bytes more"):
        kept("other", Own("other.npz", Path("other.npz")))

    assert listing(small_disk, small_disk / "locks") == {
        path: digest for path, digest in before.items() if "/locks/" not in path
    }


def test_s02_a_disk_that_fills_up_meanwhile(mine: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (small_disk / "filler").write_bytes(content(3 << 20, seed=3))
    monkeypatch.setattr(keeping, "refuse_without_room", lambda *_: None)
    with pytest.raises(DiskError, match="No space left"):
        kept("net", Own("mine.npz", mine))

    assert (unfinished(small_disk), blobs_in(small_disk), own_entries()) == ([], [], {})
    (small_disk / "filler").unlink()
    kept("net", Own("mine.npz", mine))
    assert_invariants(small_disk)


def test_s14_a_link_in_the_place_of_the_registry_is_not_written_through(mine: Path, home: Path) -> None:
    home.mkdir()
    Path("elsewhere.json").write_text('{"schema": 1, "models": {}}')
    (home / "registry.json").symlink_to(Path("elsewhere.json").absolute())
    with pytest.raises(UnsafeFileError, match="symbolic link"):
        kept("net", Own("mine.npz", mine))

    assert Path("elsewhere.json").read_text() == '{"schema": 1, "models": {}}'


@pytest.mark.parametrize("text", ["", "{", '{"schema": 2, "models": {}}', '{"schema": 1, "models": {"a": {}}}'])
def test_s11_a_registry_that_cannot_be_read_stays_as_it_is(text: str, mine: Path, home: Path) -> None:
    home.mkdir()
    (home / "registry.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"registry\.json"):
        kept("net", Own("mine.npz", mine))

    assert (home / "registry.json").read_text() == text
    assert blobs_in(home) == []


# --- killed, and two at once ---

ADDING = """
import os, signal, sys
from pathlib import Path
from zoo.registry import Entry, OutputSpec
from zoo.store import keeping as m
from zoo.store.keeping import Own, copied, keep

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{point}
with copied([Own("mine.npz", Path("mine.npz"))]) as copies:
    {inside}
    specs = (copies[0].spec("weights"),)
    entry = Entry("net", "local", None, "unknown", {summary!r}, specs, None, OutputSpec(), {{}})
    keep(entry, copies, replace={replace})
"""
# How far each gets: whether the model is there afterwards, whole.
POINTS: dict[str, tuple[str, str, bool]] = {
    "the_first_bytes": ("real = os.pread; m.os.pread = lambda *a: real(*a) if a[2] == 0 else die()", "pass", False),
    "the_copy": ("m.os.fsync = die", "pass", False),
    "the_check": ("pass", "die()", False),
    "what_is_known_of_the_blob": ("import zoo.store.blobs as b; b.move = die", "pass", False),
    "the_blob": ("m.put_entry = die", "pass", False),
    "the_new_registry": ("import zoo.files as f; real = f.Path.replace; f.Path.replace = lambda self, to: "
                         "die() if to.name == 'registry.json' else real(self, to)", "pass", False),
    "the_entry": ("m.write_record = die", "pass", True),
}  # fmt: skip


def kill_at(point: str, *, summary: str = "Mine.", replace: bool = False) -> None:
    code, inside, _ = POINTS[point]
    words = [sys.executable, "-c", ADDING.format(point=code, inside=inside, summary=summary, replace=replace)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("point", POINTS)
def test_k06_killed_after(point: str, mine: Path, home: Path) -> None:
    """Either there is no model, or all of it; the same command again brings it, and nothing stays behind."""
    kill_at(point)
    is_there = POINTS[point][2]
    assert_invariants(home)
    assert [entry.name for entry in zoo.list_models(source="local")] == (["net"] if is_there else [])
    assert zoo.pulled_names() == frozenset()
    if is_there:
        assert zoo.pull("net").files["weights"].read_bytes() == DATA

    kept("net", Own("mine.npz", mine), replace=is_there)
    assert zoo.pull("net").files["weights"].read_bytes() == DATA
    assert {finding.state for finding in zoo.verify()} == {"whole"}
    for path in [*unfinished(home), *home.glob(".*.tmp")]:
        os.utime(path, (0, 0))
        for inner in path.rglob("*"):
            os.utime(inner, (0, 0))
    zoo.collect_garbage()
    assert unfinished(home) == []
    assert len(blobs_in(home)) == 1


@pytest.mark.parametrize("point", POINTS)
def test_k06_killed_while_it_replaced_a_model_after(point: str, mine: Path, home: Path) -> None:
    """The old model is there, or the new one; never half of each."""
    mine.write_bytes(b"older")
    kept("net", Own("mine.npz", mine))
    mine.write_bytes(DATA)
    kill_at(point, summary="Newer.", replace=True)

    entry, found = zoo.find_entry("net"), zoo.pull("net").files["weights"].read_bytes()
    assert (entry.summary, found) == (("Newer.", DATA) if POINTS[point][2] else ("Mine.", b"older"))
    assert_invariants(home)


def test_two_processes_that_add_one_name_at_once(mine: Path, home: Path) -> None:
    """Both have looked whether it is free; the second to come is told."""
    Path("other.npz").write_bytes(b"other")
    first_copied, second_done = threading.Event(), threading.Event()
    told: list[ZooError] = []

    def slow() -> None:
        try:
            with copied([Own("mine.npz", mine)]) as copies:
                first_copied.set()
                second_done.wait(30)
                specs = (copies[0].spec("weights"),)
                keep(Entry("net", "local", None, "unknown", "Mine.", specs, None, OutputSpec(), {}), copies)
        except ZooError as error:
            told.append(error)

    thread = threading.Thread(target=slow)
    thread.start()
    assert first_copied.wait(30)
    kept("net", Own("other.npz", Path("other.npz")))
    second_done.set()
    thread.join()

    assert "--name net-2" in str(told[0])
    assert zoo.pull("net").files["weights"].read_bytes() == b"other"
    assert (len(blobs_in(home)), unfinished(home)) == (1, [])


def test_c02_many_processes_that_add_different_models(mine: Path, home: Path) -> None:
    """The registry is one file: no entry may be lost by another being written. The bytes are the same: one blob."""
    code = ADDING.replace('Entry("net"', "Entry(sys.argv[1]").format(point="", inside="pass", summary="", replace=False)
    names = [f"net-{number}" for number in range(6)]
    children = [subprocess.Popen([sys.executable, "-c", code, name]) for name in names]

    assert [child.wait() for child in children] == [0] * 6
    assert sorted(own_entries()) == sorted(zoo.pulled_names()) == names
    assert len(blobs_in(home)) == 1
    assert_invariants(home)


# --- afterwards ---


def test_a_lost_record_is_mended_by_a_pull_without_a_connection(mine: Path, home: Path, no_sockets: None) -> None:
    kept("net", Own("mine.npz", mine))
    (home / "artifacts" / "net.json").unlink()
    with pytest.raises(NotFoundError, match="zoo pull net"):
        zoo.locate("net")

    assert [step.action for step in zoo.plan_pull("net").steps] == ["adopt"]
    zoo.pull("net")
    assert [place.state for place in zoo.locate("net")] == ["whole"]


@pytest.mark.parametrize("record", ["there", "lost"])
@pytest.mark.parametrize("blob", ["gone", "truncated", "changed"])
def test_s09_a_lost_blob_can_only_be_added_again(
    blob: str, record: str, mine: Path, home: Path, no_sockets: None
) -> None:
    kept("net", Own("mine.npz", mine))
    (path,) = blobs_in(home)
    damage: dict[str, Callable[[], object]] = {
        "gone": path.unlink,
        "truncated": lambda: os.truncate(path, 9),
        "changed": lambda: path.write_bytes(bytes(len(DATA))),
    }
    damage[blob]()
    if record == "lost":
        (home / "artifacts" / "net.json").unlink()
    for _ in range(2):
        result = command("pull", "net")
        assert result.exit_code == 3, result.stderr
        assert "zoo add PATH --name net --replace" in result.stderr
    kept("net", Own("mine.npz", mine), replace=True)
    assert zoo.pull("net").files["weights"].read_bytes() == DATA


@pytest.mark.parametrize("record", ["there", "lost", "damaged"])
def test_rm_forgets_a_model_of_ones_own(record: str, mine: Path, home: Path) -> None:
    Path("extra.prototxt").write_bytes(b"shared")
    shared = Own("extra.prototxt", Path("extra.prototxt"))
    kept("net", Own("mine.npz", mine), shared)
    Path("other.npz").write_bytes(b"other")
    kept("other", Own("other.npz", Path("other.npz")), shared)
    if record == "lost":
        (home / "artifacts" / "net.json").unlink()
    if record == "damaged":
        (home / "artifacts" / "net.json").write_text("{")
    told = [removal.what for removal in zoo.remove("net", dry_run=True)]
    assert sorted(own_entries()) == ["net", "other"]
    assert [removal.what for removal in zoo.remove("net")] == told

    assert told == ["mine.npz of net", "entry of net", "record of net"]
    assert sorted(own_entries()) == ["other"]
    assert sorted(path.read_bytes() for path in blobs_in(home)) == [b"other", b"shared"]
    with pytest.raises(NotFoundError, match="No model named 'net'"):
        zoo.pull("net")


def test_rm_killed_behind_the_entry_leaves_no_half_model(mine: Path, home: Path) -> None:
    kept("net", Own("mine.npz", mine))
    code = (
        "import os, signal, zoo; import zoo.store.removal as m\n"
        "m.remove_record = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "zoo.remove('net')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert own_entries() == {}
    zoo.remove("net")

    assert blobs_in(home) == []
    assert zoo.pulled_names() == frozenset()


@pytest.mark.parametrize("everything", [False, True])
def test_s17_gc_keeps_what_the_users_registry_speaks_of_even_without_a_record(
    everything: bool, mine: Path, checkpoint: dict[str, Path], home: Path
) -> None:
    kept("net", Own("mine.npz", mine))
    kept("archive", Own("net.tar", checkpoint), member="net.ckpt")
    zoo.pull("archive")
    for path in home.glob("artifacts/*.json"):
        path.unlink()
    for path in home.rglob("*"):
        os.utime(path, (time.time() - 7_200,) * 2)  # older than what gc takes for somebody's work

    assert zoo.collect_garbage(everything=everything) == []
    assert len(blobs_in(home)) == 2


def test_gc_does_nothing_while_the_users_registry_cannot_be_read(mine: Path, home: Path) -> None:
    kept("net", Own("mine.npz", mine))
    (home / "artifacts" / "net.json").unlink()
    (home / "registry.json").write_text("{")
    with pytest.raises(IntegrityError, match="no JSON"):
        zoo.collect_garbage(everything=True)

    assert len(blobs_in(home)) == 1


def test_what_is_in_the_entry_is_checked_before_anything_is_kept(mine: Path, home: Path) -> None:
    with copied([Own("mine.npz", mine)]) as copies:
        spec = dataclasses.replace(copies[0].spec("weights"), name="../mine.npz")
        entry = Entry("net", "local", None, "unknown", "Mine.", (spec,), None, OutputSpec(), {})
        with pytest.raises(IntegrityError, match=r"\.\."):
            keep(entry, copies)

    assert blobs_in(home) == []
