"""Several processes, threads and strangers at one store: each test does the other's part at the worst moment."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from loopback import Puller, Web, assert_invariants, blobs_in, content, file, hash_of, listing
from zoo.cli.main import cli

import zoo
from zoo.errors import BusyError, NotFoundError, OfflineError
from zoo.store import blobs, pulling, removal
from zoo.store.locks import Claim, for_removal
from zoo.store.partial import Origin, open_partial

DATA = content(300_000)
AddModel = Callable[..., None]
ZOO = str(Path(sys.executable).with_name("zoo"))


def command(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def tarball(**members: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"net/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


ARCHIVE = tarball(data=content(50_000), index=b"index")


@pytest.fixture
def two_of_one_file(web: Web, add_model: AddModel, quick: Any) -> None:
    """Two models that have one file in common, of which `a` was pulled."""
    url = web.put("/net.h5", DATA)
    add_model("a", file(DATA, url))
    add_model("b", file(DATA, url))
    assert command("pull", "a").exit_code == 0


def test_rm_leaves_what_another_model_claims_at_that_moment(
    two_of_one_file: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def claimed_before(path: Path, *more: Any) -> Iterator[Claim]:
        zoo.pull("b")
        with for_removal(path, *more) as claim:
            yield claim

    monkeypatch.setattr(removal, "for_removal", claimed_before)
    assert command("rm", "a").exit_code == 0
    assert_invariants(home)
    assert zoo.locate("b")[0].path.read_bytes() == DATA


def test_gc_leaves_what_a_model_claims_at_that_moment(
    two_of_one_file: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = (home / "artifacts" / "a.json").read_bytes()
    (home / "artifacts" / "a.json").unlink()

    @contextlib.contextmanager
    def claimed_before(path: Path, *more: Any) -> Iterator[Claim]:
        (home / "artifacts" / "a.json").write_bytes(record)
        with for_removal(path, *more) as claim:
            yield claim

    monkeypatch.setattr(removal, "for_removal", claimed_before)
    assert zoo.collect_garbage(everything=True) == []
    assert_invariants(home)


@pytest.mark.parametrize("model", ["a", "b"])
def test_a_pull_fetches_what_is_removed_after_it_was_planned(
    model: str, two_of_one_file: None, web: Web, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept (a) or adopted (b): it was there when the plan was made."""
    hold, removed = pulling._Pull._hold, []

    def hold_too_late(self: Any, blob: str) -> bool:
        if not removed:
            removed.append(blob)
            self._blobs.remove(blob)
        return hold(self, blob)

    (home / "about" / f"{hash_of(DATA)[7:]}.json").unlink()  # so that nothing is taken for whole without a look
    monkeypatch.setattr(pulling._Pull, "_hold", hold_too_late)
    assert zoo.pull(model).files["weights"].read_bytes() == DATA
    assert len(web.seen) == 2
    assert_invariants(home)


def test_a_blob_removed_in_the_moment_after_it_came_is_fetched_again(
    web: Web, add_model: AddModel, quick: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model("a", file(DATA, web.put("/net.h5", DATA)))
    commit, removed = blobs.Blobs.commit, []

    def commit_and_lose(self: Any, *more: Any) -> str:
        digest = commit(self, *more)
        if not removed:
            removed.append(digest)
            self.remove(digest)
        return digest

    monkeypatch.setattr(blobs.Blobs, "commit", commit_and_lose)
    assert zoo.pull("a").files["weights"].read_bytes() == DATA
    assert len(web.seen) == 2


def test_offline_holds_also_for_what_turns_out_to_be_damaged(two_of_one_file: None, web: Web, home: Path) -> None:
    blobs_in(home)[0].write_bytes(bytes(len(DATA)))
    with pytest.raises(OfflineError, match="a is not whole on this machine"):
        zoo.pull("a", offline=True)
    assert len(web.seen) == 1


def test_verify_does_not_move_away_what_a_pull_has_just_repaired(
    two_of_one_file: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (blob,) = blobs_in(home)
    blob.write_bytes(bytes(len(DATA)))
    read = blobs._digests

    def read_while_it_is_repaired(*words: Any) -> dict[str, str]:
        found = read(*words)
        good = blob.with_name(".good.tmp")
        good.write_bytes(DATA)
        good.replace(blob)
        return found

    monkeypatch.setattr(blobs, "_digests", read_while_it_is_repaired)
    zoo.verify()
    assert blob.read_bytes() == DATA


def test_verify_of_what_is_removed_meanwhile(
    two_of_one_file: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, asked = blobs.Blobs.size, []

    def size_then_gone(self: Any, digest: str) -> int | None:
        found = size(self, digest)
        asked.append(digest)
        if len(asked) == 2:  # after the sum of what is to be read, and the look at the blob itself
            self.remove(digest)
        return found

    monkeypatch.setattr(blobs.Blobs, "size", size_then_gone)
    assert [finding.state for finding in zoo.verify("a")] == ["missing"]


def test_two_models_with_one_archive_at_once(web: Web, add_model: AddModel, home: Path) -> None:
    url = web.put("/net.tgz", ARCHIVE)
    for name in "abcd":
        add_model(name, file(ARCHIVE, url, name="net.tgz", role="archive"))
    children = [
        subprocess.Popen([ZOO, "pull", name], stderr=subprocess.PIPE, stdout=subprocess.PIPE) for name in "abcd"
    ]
    told = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0] * 4, told
    assert {finding.state for finding in zoo.verify()} == {"whole"}
    assert list((home / "tmp").iterdir()) == []
    assert web.sent == len(ARCHIVE)


@pytest.fixture
def extracted(web: Web, add_model: AddModel, quick: Any) -> Path:
    """The folder of a pulled archive."""
    add_model("net", file(ARCHIVE, web.put("/net.tgz", ARCHIVE), name="net.tgz", role="archive"))
    folder = zoo.pull("net").folder
    assert folder is not None
    return folder


def test_an_extracted_file_that_was_touched_is_extracted_again(extracted: Path, web: Web, home: Path) -> None:
    """Also where the record was lost, and its size is what it was; what is in its way does not stay in tmp."""
    (extracted / "net" / "index").write_bytes(b"EVIL!")
    (home / "artifacts" / "net.json").unlink()
    assert zoo.pull("net").folder == extracted
    assert (extracted / "net" / "index").read_bytes() == b"index"
    assert list((home / "tmp").iterdir()) == []
    assert len(web.seen) == 1


@pytest.mark.parametrize("part", ["folder", "inside"])
def test_links_planted_where_an_archive_was_extracted(
    part: str, extracted: Path, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    evil = tmp_path_factory.mktemp("evil")
    for name in ("net/index", "net/data", "index", "data"):
        (evil / name).parent.mkdir(exist_ok=True)
        (evil / name).write_bytes(b"EVIL!" if name.endswith("index") else content(50_000))
    before = listing(evil)
    planted = extracted if part == "folder" else extracted / "net"
    planted.rename(home / "aside")
    planted.symlink_to(evil if part == "folder" else evil / "net")
    verified, pulled = command("verify"), command("pull", "net")
    assert listing(evil) == before
    if part == "folder":
        assert (verified.exit_code, pulled.exit_code) == (5, 5)
        assert "symbolic link" in pulled.stderr
    else:
        assert (verified.exit_code, pulled.exit_code) == (4, 0), pulled.stderr
        assert (extracted / "net" / "index").read_bytes() == b"index"
        assert not (extracted / "net").is_symlink()


HOSTILE = {
    "../evil": tarfile.REGTYPE,
    "/etc/evil": tarfile.REGTYPE,
    "link": tarfile.SYMTYPE,
    "device": tarfile.CHRTYPE,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_m01_m02_m04_a_hostile_archive_is_refused_by_pull(
    name: str, web: Web, add_model: AddModel, home: Path, puller: Puller
) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = HOSTILE[name], "/etc/passwd"
        archive.addfile(member)
    data = made.getvalue()
    add_model("net", file(data, web.put("/net.tgz", data), name="net.tgz", role="archive"))
    told = set()
    for _ in range(2):
        result = puller.run("net")
        assert result.exit_code == 5
        told.add(result.stderr.splitlines()[-1])
        assert blobs_in(home) == []
        assert not (home / "extracted").exists() or list((home / "extracted").iterdir()) == []
        assert list((home / "artifacts").iterdir()) == []
    assert len(told) == 1
    assert "Refused to unpack net.tgz of net" in told.pop()


def test_a_damaged_archive_costs_no_other_model_its_file(
    web: Web, add_model: AddModel, home: Path, puller: Puller
) -> None:
    url = web.put("/net.h5", DATA)
    add_model("x", file(DATA, url))
    add_model("y", file(DATA, url, name="net.tgz", role="archive"))
    assert puller.run("x").exit_code == 0
    assert puller.run("y").exit_code == 4
    assert zoo.locate("x")[0].path.read_bytes() == DATA


def test_a_pipe_in_the_place_of_a_blob_is_not_waited_for(two_of_one_file: None, home: Path) -> None:
    (blob,) = blobs_in(home)
    blob.unlink()
    os.mkfifo(blob)
    for words in (["pull", "a"], ["verify"], ["gc"]):
        result = command(*words)
        assert result.exit_code in (0, 5), words
        assert "fault of zoo" not in result.stderr
    assert "no regular file" in command("pull", "a").stderr


def test_planning_changes_nothing(two_of_one_file: None, home: Path) -> None:
    blobs_in(home)[0].write_bytes(bytes(len(DATA)))
    before = listing(home)
    assert json.loads(command("pull", "a", "--dry-run", "--json").stdout)[0]["steps"][0]["action"] == "check"
    assert command("pull", "b", "--dry-run").exit_code == 0
    assert listing(home) == before


DEEP = b"[" * 99_999
SMALL_FILES: dict[str, list[bytes]] = {
    "store.json": [DEEP, b"[]", b'{"schema": "x"}'],
    "about": [DEEP, b'{"url": []}', b'{"bytes": 1e400}', b'{"bytes": 1, "mtime_ns": 2, "hashes": {"sha256": 7}}'],
    "artifacts": [b'{"schema": 1, "name": "a", "files": [{"role": [], "name": "x"}]}', DEEP, b'{"schema": 1e999}'],
    "locks": [DEEP, b'{"pid": 1e999}', b'{"pid": {}}', b"\xff"],
}
CASES = [(where, number) for where, contents in SMALL_FILES.items() for number in range(len(contents))]


@pytest.mark.parametrize(("where", "number"), CASES)
def test_s11_no_small_file_breaks_anything(
    where: str, number: int, two_of_one_file: None, home: Path, web: Web
) -> None:
    place = home / where
    for path in [place] if place.is_file() else list(place.iterdir()):
        path.write_bytes(SMALL_FILES[where][number])
    for words in (["where"], ["verify"], ["gc"], ["list", "--pulled"], ["pull", "a"], ["rm", "a"]):
        result = command(*words)
        assert result.exit_code in (0, 4), (words, result.stderr)
        assert "fault of zoo" not in result.stderr, (words, result.stderr)
        assert "Traceback" not in result.stderr
    assert len(web.seen) == 1


def test_s11_a_lost_note_of_an_md5_is_found_out_again(web: Web, add_model: AddModel, home: Path, quick: Any) -> None:
    add_model("net", file(DATA, web.put("/net.h5", DATA), hash=hash_of(DATA, "md5")))
    zoo.pull("net")
    for path in [*(home / "about").iterdir(), *(home / "artifacts").iterdir()]:
        path.unlink()
    zoo.pull("net")
    assert len(web.seen) == 1


def test_a_file_whose_address_or_size_changed_in_the_registry_is_another_file(
    web: Web, add_model: AddModel, home: Path, quick: Any
) -> None:
    other = content(300_000, seed=9)
    add_model("net", file(DATA, web.put("/old.bin", DATA), name="net.bin", hash=None, bytes=None))
    zoo.pull("net")
    add_model("net", file(other, web.put("/new.bin", other), name="net.bin", hash=None, bytes=None))
    assert zoo.pull("net").files["weights"].read_bytes() == other
    add_model("net", file(other, web.url + "/new.bin", name="net.bin", hash=None, bytes=7))
    assert command("pull", "net").exit_code == 4


def test_gc_takes_what_renames_across_disks_have_left(two_of_one_file: None, home: Path) -> None:
    left = home / "blobs" / "sha256" / ".x.1.aaaaaaaa.tmp"
    left.write_bytes(bytes(500))
    assert zoo.collect_garbage() == []
    os.utime(left, (0, 0))
    assert [each.bytes for each in zoo.collect_garbage()] == [500]
    assert not left.exists()


def test_rm_of_two_models_at_once_leaves_what_is_read(
    two_of_one_file: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other goes between the two looks at what is shared: the file is nobody else's then, but not held either."""
    artifact = zoo.pull("b")
    own, asked = removal._own_blobs, []

    def own_and_then_alone(paths: Any, name: str, record: Any) -> list[str]:
        found = own(paths, name, record)
        asked.append(name)
        if asked == ["a"]:
            zoo.remove("b")
        return found

    with artifact.reading():
        monkeypatch.setattr(removal, "_own_blobs", own_and_then_alone)
        zoo.remove("a")
        assert artifact.files["weights"].read_bytes() == DATA
    assert zoo.pulled_models() == []


def test_what_was_replaced_since_it_was_opened_is_not_removed(two_of_one_file: None, home: Path) -> None:
    (blob,) = blobs_in(home)
    real, replaced = os.open, []

    with pytest.MonkeyPatch.context() as patch:

        def open_and_replace(path: Any, *more: Any, **named: Any) -> int:
            descriptor = real(path, *more, **named)
            if path == blob and not replaced:
                replaced.append(path)
                new = blob.with_name("new")
                new.write_bytes(DATA)
                new.replace(blob)
            return descriptor

        patch.setattr(os, "open", open_and_replace)
        with for_removal(blob) as claim:
            assert not claim.still_holds()


def test_a_record_goes_before_what_it_speaks_of(
    two_of_one_file: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever a removal is killed, no record speaks of a missing blob."""
    remove_blob, there = removal._remove_blob, []

    def look_and_remove(*words: Any) -> bool:
        there.append((home / "artifacts" / "a.json").exists())
        return remove_blob(*words)

    monkeypatch.setattr(removal, "_remove_blob", look_and_remove)
    zoo.remove("a")
    assert there == [False]


def test_what_verify_finds_wrong_in_an_archive_is_extracted_again(extracted: Path) -> None:
    """Also where size and time are what they were, so that a pull alone would not see it."""
    member = extracted / "net" / "index"
    times = member.stat()
    member.write_bytes(b"EVIL!")
    os.utime(member, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert zoo.pull("net").folder == extracted
    assert member.read_bytes() == b"EVIL!"
    assert "damaged" in {finding.state for finding in zoo.verify()}
    assert zoo.pull("net").folder == extracted
    assert member.read_bytes() == b"index"


def test_gc_leaves_what_a_pull_puts_in_the_place_of_what_it_has_claimed(
    two_of_one_file: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has locked a spare blob of the wrong size; a pull replaces that before it is removed."""
    (blob,) = blobs_in(home)
    (home / "artifacts" / "a.json").unlink()
    blob.write_bytes(b"short")

    @contextlib.contextmanager
    def replaced_after(path: Path, *more: Any) -> Iterator[Claim]:
        with for_removal(path, *more) as claim:
            new = path.with_name("new")
            new.write_bytes(DATA)
            new.replace(path)
            yield claim

    monkeypatch.setattr(removal, "for_removal", replaced_after)
    assert zoo.collect_garbage(everything=True) == []
    assert blob.read_bytes() == DATA


def test_gc_leaves_what_a_pull_commits_where_only_the_extracted_folder_was(
    extracted: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal was killed half-way: the blob is gone, the folder is not."""
    (home / "artifacts" / "net.json").unlink()
    (blob,) = blobs_in(home)
    blob.unlink()

    @contextlib.contextmanager
    def pulled_after(path: Path, *more: Any) -> Iterator[Claim]:
        with for_removal(path, *more) as claim:
            monkeypatch.setattr(removal, "for_removal", for_removal)
            zoo.pull("net")
            yield claim

    monkeypatch.setattr(removal, "for_removal", pulled_after)
    assert zoo.collect_garbage(everything=True) == []
    assert_invariants(home)
    assert (extracted / "net" / "index").read_bytes() == b"index"


def test_an_extracted_folder_that_was_only_touched_stays_for_those_who_read_it(extracted: Path) -> None:
    inode = extracted.stat().st_ino
    os.utime(extracted / "net" / "index")
    assert zoo.pull("net").folder == extracted
    assert extracted.stat().st_ino == inode


def test_verify_leaves_an_extracted_folder_to_those_who_read_it(extracted: Path) -> None:
    artifact = zoo.pull("net")
    (extracted / "net" / "index").write_bytes(b"EVIL!")
    with artifact.reading():
        assert "damaged" in {finding.state for finding in zoo.verify()}
        assert (extracted / "net" / "data").exists()
    zoo.verify()
    assert not extracted.exists()


def test_what_did_not_come_out_of_the_archive_is_noticed(extracted: Path) -> None:
    (extracted / "net" / "extra").write_bytes(b"EVIL!")
    assert command("where", "net").exit_code == 4
    assert command("verify").exit_code == 4
    assert zoo.pull("net").folder == extracted
    assert not (extracted / "net" / "extra").exists()


def test_what_was_extracted_may_be_read_by_those_who_may_read_the_store(extracted: Path) -> None:
    assert extracted.stat().st_mode == extracted.parent.stat().st_mode


AS_NOBODY = """
import logging, os, sys
import zoo.cli.main, zoo.store.download, zoo.store.inventory, zoo.store.pulling, zoo.store.removal, rich.progress
if os.geteuid() == 0:
    os.seteuid(65534)  # permissions do not bind root
zoo.cli.main.main()
"""


@pytest.mark.parametrize("locked_away", ["artifacts", "blobs/sha256", "extracted"])
def test_a_store_that_may_not_be_read_is_said_to_be_one(locked_away: str, extracted: Path, home: Path) -> None:
    for parent in (home, *home.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    (home / locked_away).chmod(0)
    for words in (["pull", "net"], ["pull", "net", "--dry-run"], ["where"], ["verify"], ["rm", "net", "--dry-run"]):
        run = [sys.executable, "-c", AS_NOBODY, *words]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 6), (words, done.stderr)
        assert "fault of zoo" not in done.stderr, (words, done.stderr)
    (home / locked_away).chmod(0o755)
    assert "Permission denied" in done.stderr or done.returncode == 0


def test_what_was_removed_cannot_be_held(two_of_one_file: None) -> None:
    artifact = zoo.pull("a")
    zoo.remove("a")
    with pytest.raises(NotFoundError, match="zoo pull a"), artifact.reading():
        pass


def test_gc_of_everything_takes_what_killed_extractions_left(two_of_one_file: None, home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    left = home / "tmp" / f".x.{dead.pid}.aaaaaaaa.tmp"
    alive = home / "tmp" / f".x.{os.getpid()}.aaaaaaaa.tmp"
    for folder in (left, alive):
        folder.mkdir()
    assert zoo.collect_garbage() == []
    assert [each.path for each in zoo.collect_garbage(everything=True)] == [left]
    assert alive.exists()


def test_gc_of_everything_leaves_a_download_that_goes_on(home: Path) -> None:
    with open_partial(home / "tmp", "key", frozenset({"sha256"}), "net.h5", pinned=True) as partial:
        partial.describe(Origin("https://models.example/a"))
        partial.append(b"abc")
        assert zoo.collect_garbage(everything=True) == []
        assert partial.folder.exists()
    assert next(each.bytes for each in zoo.collect_garbage(everything=True)) >= 3


def test_the_bound_of_fetching_anew(
    two_of_one_file: None, web: Web, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody removes it each time at once; five downloads are enough."""
    monkeypatch.setattr(pulling._Pull, "_hold", lambda self, blob: self._blobs.remove(blob) or False)
    with pytest.raises(BusyError, match="5 times"):
        zoo.pull("b")
    assert len(web.seen) == 1 + 5
