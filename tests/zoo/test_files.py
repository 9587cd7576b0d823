from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

import zoo.files
from zoo.errors import DiskError, UsageError
from zoo.files import (
    disk_errors,
    make_folder,
    open_regular,
    private_folder,
    put_in_place,
    remove_leftovers,
    sha256_of,
    temporary_name,
    write_bytes,
    write_whole,
    zoo_home,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAY = 86_400.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root, where mounting is allowed, can make a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def run_child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_zoo_home_is_what_the_environment_says(home: Path) -> None:
    assert zoo_home() == home
    assert not home.exists()  # asking makes nothing


@pytest.mark.parametrize("value", [None, ""])
def test_zoo_home_is_else_the_users_data_folder(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    if value is not None:
        monkeypatch.setenv("ZOO_HOME", value)

    assert zoo_home().name == "zoo"
    assert zoo_home().is_absolute()


def test_zoo_home_knows_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", "~/models")

    assert zoo_home() == Path.home() / "models"


def test_zoo_home_of_a_user_who_is_not_there_is_wrong_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", "~nosuchuser/models")

    with pytest.raises(UsageError, match=r"'~nosuchuser/models'.*Set ZOO_HOME"):
        zoo_home()


def test_a_written_file_holds_the_bytes_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"

    assert write_bytes(path, b"all of it") == path

    assert path.read_bytes() == b"all of it"
    assert names_in(path.parent) == ["file"]


def test_a_second_write_replaces_the_first(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "file", b"a long first version")

    write_bytes(path, b"short")

    assert path.read_bytes() == b"short"


def test_a_writer_that_fails_leaves_the_old_file_and_no_descriptor(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "file", b"old")
    before = open_descriptors()

    def fail(file: IO[bytes]) -> None:
        file.write(b"half of the new")
        raise RuntimeError("the writer's own error")

    for _ in range(20):  # a leak of one each would be plain to see
        with pytest.raises(RuntimeError, match="the writer's own error"):
            write_whole(path, fail)

    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["file", "work"]  # work: conftest.py's working folder
    assert open_descriptors() == before


def test_writing_leaks_no_descriptor(tmp_path: Path) -> None:
    before = open_descriptors()

    for number in range(20):
        write_bytes(tmp_path / str(number), b"x")

    assert open_descriptors() == before


def test_a_full_disk_is_a_disk_error_that_leaves_nothing(small_disk: Path) -> None:
    before = open_descriptors()

    with pytest.raises(DiskError, match=r"Cannot write .*big: No space left on device; free some space"):
        write_bytes(small_disk / "big", bytes(100_000))  # > 64 KiB

    assert names_in(small_disk) == []
    assert open_descriptors() == before
    assert write_bytes(small_disk / "small", bytes(30_000)).stat().st_size == 30_000  # the space is free again


def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    path = write_bytes(small_disk / "file", b"old")

    with pytest.raises(DiskError):
        write_bytes(path, bytes(100_000))

    assert path.read_bytes() == b"old"
    assert names_in(small_disk) == ["file"]


def folder_with(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "saved_model.pb").write_text(text)
    return path


def put(path: Path, text: str = "new") -> None:
    with private_folder(path) as folder:
        put_in_place(folder_with(folder / "model", text), path)


def text_of(path: Path) -> str:
    return (path / "saved_model.pb").read_text()


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("before", ["folder", "link", "nothing"])
def test_a_folder_takes_the_place_of_another(
    before: str, can_exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(zoo.files, "_exchange", lambda *_: False)
    top = tmp_path / "top"
    path = top / "out"
    if before != "nothing":
        top.mkdir()
        folder_with(path if before == "folder" else top / "linked", "old")
    if before == "link":
        path.symlink_to("linked")
    put(path)

    assert text_of(path) == "new"
    assert names_in(top) == (["linked", "out"] if before == "link" else ["out"])
    assert before != "link" or text_of(top / "linked") == "old"


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), SystemExit(143)])
def test_a_folder_that_cannot_be_replaced_comes_back(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder_with(tmp_path / "out", "old")
    monkeypatch.setattr(zoo.files, "_exchange", lambda *_: False)
    monkeypatch.setattr(Path, "replace", failing(error))
    with pytest.raises(DiskError if isinstance(error, OSError) else type(error)):
        put(path)

    assert text_of(path) == "old"
    assert names_in(tmp_path) == ["out", "work"]


def test_a_folder_that_cannot_even_be_put_back_is_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder_with(tmp_path / "out", "old")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if target == path:
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(zoo.files, "_exchange", lambda *_: False)
    monkeypatch.setattr(Path, "replace", failing(KeyboardInterrupt()))
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(
        DiskError, match=r"KeyboardInterrupt; nor can .*Permission denied.*move it to its place"
    ) as told:
        put(path)

    assert text_of(Path(str(told.value).partition("whole in ")[2].partition(": move")[0])) == "old"


PUT = """
import os, signal, sys
from pathlib import Path
import zoo.files
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
{point}
path = Path(sys.argv[1])
with zoo.files.private_folder(path) as folder:
    (folder / "model").mkdir()
    (folder / "model" / "saved_model.pb").write_text("new")
    zoo.files.put_in_place(folder / "model", path)
"""


@pytest.mark.parametrize(
    ("point", "left"),
    [
        ("zoo.files.flush = die", "old"),
        ("zoo.files._exchange = die", "old"),
        ("zoo.files.shutil.rmtree = die", "new"),
        ("exchange = zoo.files._exchange; zoo.files._exchange = lambda *names: exchange(*names) and die()", "new"),
    ],
    ids=["before", "at once", "after", "at once after"],
)
def test_k10_a_process_killed_while_it_replaces_a_folder_leaves_a_whole_one(
    point: str, left: str, tmp_path: Path
) -> None:
    """Never half of one, and never none; what it leaves beside does not harm, and doing it again succeeds."""
    path = folder_with(tmp_path / "out", "old")
    child = run_child(PUT.format(point=point), path)

    assert child.returncode == -signal.SIGKILL, child.stderr
    assert text_of(path) == left
    assert names_in(path) == ["saved_model.pb"]
    assert run_child(PUT.format(point=""), path).returncode == 0
    assert text_of(path) == "new"


def test_a_name_that_is_too_long_is_not_a_matter_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"File name too long; choose a shorter name\.$"):
        write_bytes(tmp_path / ("x" * 300), b"")


def test_a_file_larger_than_allowed_is_a_disk_error(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from zoo.errors import DiskError
from zoo.files import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path(sys.argv[1]), bytes(2000))
except DiskError as error:
    print(error)
"""
    child = run_child(code, tmp_path / "target" / "big")

    assert "File too large" in child.stdout, child.stderr
    assert names_in(tmp_path / "target") == []


def test_a_read_only_file_system_is_a_disk_error(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with pytest.raises(DiskError, match="Read-only file system"):
        write_bytes(small_disk / "file", b"x")


def test_a_read_only_folder_is_a_disk_error(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    code = """
import os, sys
from pathlib import Path
from zoo.errors import DiskError
from zoo.files import write_bytes
if os.geteuid() == 0:
    os.seteuid(65534)  # nobody: permissions do not bind root
try:
    write_bytes(Path(sys.argv[1]), b"x")
except DiskError as error:
    print(error)
"""
    for parent in (tmp_path, *tmp_path.parents[:2]):  # pytest's folders are its user's alone
        parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    child = run_child(code, folder / "file")

    assert "Permission denied" in child.stdout, child.stderr
    assert names_in(folder) == []


@pytest.mark.parametrize("name", ["file/below", "folder"])
def test_a_path_that_cannot_be_a_file_is_a_disk_error(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / "file", b"")
    (tmp_path / "folder").mkdir()

    with pytest.raises(DiskError):
        write_bytes(tmp_path / name, b"x")

    assert names_in(tmp_path / "folder") == []
    assert names_in(tmp_path) == ["file", "folder", "work"]


def test_a_name_too_long_for_the_disk_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="name too long"):
        write_bytes(tmp_path / ("x" * 300), b"x")  # Linux allows 255 bytes


def test_other_errors_pass_through_and_disk_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError), disk_errors(tmp_path):
        raise ConnectionResetError(104, "reset")
    with pytest.raises(DiskError, match=r"^inner$"), disk_errors(tmp_path):
        raise DiskError("inner")


def test_make_folder_makes_parents_and_is_content_with_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"

    assert make_folder(folder) == folder == make_folder(folder)
    assert folder.is_dir()


@pytest.mark.parametrize("kill_at", [1, 2], ids=["file written, not renamed", "renamed, folder not flushed"])
def test_a_killed_process_leaves_a_whole_file_or_none(tmp_path: Path, kill_at: int) -> None:
    path = write_bytes(tmp_path / "target" / "file", b"old")
    code = """
import os, signal, sys
from pathlib import Path
from zoo.files import write_bytes
calls, flush = 0, os.fsync
def fsync(descriptor):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    flush(descriptor)
os.fsync = fsync
write_bytes(Path(sys.argv[1]), b"new" * 1000)
"""
    child = run_child(code, path, kill_at)

    assert child.returncode == -signal.SIGKILL, child.stderr
    assert path.read_bytes() == (b"old" if kill_at == 1 else b"new" * 1000)
    hidden = [name for name in names_in(path.parent) if name != "file"]
    assert all(name.startswith(".") and name.endswith(".tmp") for name in hidden)
    assert len(hidden) == (1 if kill_at == 1 else 0)

    remove_leftovers(path.parent, older_than=-1)  # as if a day had passed
    assert names_in(path.parent) == ["file"]


def test_the_file_is_flushed_before_it_gets_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flush = tmp_path / "target" / "file", os.fsync
    seen: list[tuple[bool, bool]] = []

    def watched(descriptor: int) -> None:
        seen.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_bytes(path, b"x")

    assert seen == [(False, False), (True, True)]  # (is a folder, file has its name)


def test_temporary_names_are_hidden_private_and_in_the_same_folder(tmp_path: Path) -> None:
    names = {temporary_name(tmp_path / "file") for _ in range(100)}

    assert len(names) == 100
    assert all(name.parent == tmp_path and name.name.startswith(".file.") for name in names)


def test_leftovers_go_after_a_day_and_nothing_else_does(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    old, young = temporary_name(folder / "a"), temporary_name(folder / "b")
    kept = [folder / ".hidden", folder / "visible.tmp", folder / "file"]
    for path in (old, young, *kept):
        write_bytes(path, b"x")
    for path in (old, *kept):
        os.utime(path, (time.time() - DAY - 60,) * 2)

    remove_leftovers(folder)

    assert names_in(folder) == sorted(path.name for path in (young, *kept))


def test_leftovers_of_a_folder_that_is_not_there_are_no_error(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "none")


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_sha256_of_is_that_of_the_bytes(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)

    assert sha256_of(write_bytes(tmp_path / "file", data)) == hashlib.sha256(data).hexdigest()


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"abc"
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("link", "pipe", ".", "nothing"):
        with pytest.raises(OSError):
            open_regular(tmp_path / name)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
