"""Image folders, with the faults that real ones have; B01 and the like are the faults' numbers."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from zoo.data import open_data
from zoo.data.bad_files import BadFile
from zoo.data.split import split_examples
from zoo.data.targets import targets_of_names
from zoo.errors import DataError, NotFoundError, UsageError

if TYPE_CHECKING:
    from zoo.data.pictures import FileExamples

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pets"


def put(path: Path, **options: Any) -> Path:
    """Writes a picture like no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(path, format="PNG", **options)
    return path


def opened(folder: Path | str, **options: Any) -> FileExamples:
    examples: Any = open_data(folder, **{"max_bad": 1.0, "near_duplicates": False} | options)
    return examples


def test_each_sub_folder_is_a_class_however_deep_its_pictures_lie(folder: Path) -> None:
    for name in ("dog/b.png", "cat/a.png", "cat/more/still/c.png"):
        put(folder / name)

    examples = opened(folder)

    assert examples.classes == ("cat", "dog")
    assert list(examples.paths) == ["cat/a.png", "cat/more/still/c.png", "dog/b.png"]
    assert examples.labels.tolist() == [0, 0, 1]
    assert (examples.shape, examples.parts, examples.groups, examples.bad) == ((None, None, 3), None, None, ())
    with Image.open(folder / "dog/b.png") as picture:
        assert np.array_equal(examples.read(np.array([2]))[0], np.asarray(picture))


def test_folders_of_parts_are_obeyed(folder: Path) -> None:
    for name in ("train/cat/1", "train/dog/2", "validation/cat/3", "Test/dog/4", "notes/README.txt"):
        put(folder / name)
    (folder / "notes/README.txt").write_text("what this is")

    examples = opened(folder)

    parts = dict(zip(examples.paths, examples.parts.tolist() if examples.parts is not None else [], strict=True))
    assert parts == {"train/cat/1": 0, "train/dog/2": 0, "validation/cat/3": 1, "Test/dog/4": 2}
    assert examples.classes == ("cat", "dog")


def test_classes_may_be_called_as_parts_are(folder: Path) -> None:
    for name in ("train/1.png", "bus/2.png"):
        put(folder / name)

    assert opened(folder).classes == ("bus", "train")


@pytest.mark.parametrize(
    ("names", "said"),
    [(["train/1.png", "test/2.png"], "lie directly in test/, train/"), (["val/a/1.png", "test/b/2.png"], "no train/")],
)
def test_parts_that_cannot_be_used_are_refused(folder: Path, names: list[str], said: str) -> None:
    for name in names:
        put(folder / name)
    with pytest.raises(DataError, match=said):
        opened(folder)


def test_numbers_are_in_their_own_order(folder: Path) -> None:
    for name in ("10", "9", "2"):
        put(folder / name / "1.png")

    assert opened(folder).classes == ("2", "9", "10")
    assert targets_of_names(["2", "9" * 5_000], "classification")[0] == ("2", "9" * 5_000)


def test_b01_an_empty_folder(folder: Path) -> None:
    folder.mkdir()
    with pytest.raises(DataError, match=r"No images under .*pets: it is empty\. Expected a folder for each class"):
        opened(folder)


def test_b01_only_hidden_files(folder: Path) -> None:
    for name in (".hidden/1.png", "cat/.2.png", "__MACOSX/cat/3.png", "cat/Thumbs.db"):
        put(folder / name)
    with pytest.raises(DataError, match="No images under .*hidden files only"):
        opened(folder)


def test_b01_no_images(folder: Path) -> None:
    for name in ("cat/notes.txt", "dog/list"):
        put(folder / name).write_text("words")
    with pytest.raises(DataError, match="No images under .*2 files, none of them a picture, such as cat/notes.txt"):
        opened(folder)


def test_b01_pictures_without_class_folders(folder: Path) -> None:
    put(folder / "1.png")
    with pytest.raises(DataError, match=r"1 pictures in .*1\.png.* lie in no class folder.*Expected a folder for each"):
        opened(folder)


def test_b02_a_class_folder_without_pictures_is_told_and_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("cat/1.png", "dog/2.png"):
        put(folder / name)
    (folder / "empty").mkdir()

    assert opened(folder).classes == ("cat", "dog")
    assert "no pictures in empty/" in caplog.text


def test_b02_one_class_is_opened_for_features(folder: Path) -> None:
    put(folder / "cat/1.png")

    assert opened(folder).classes == ("cat",)


def test_b03_fewer_pictures_than_classes_can_be_asked_of(folder: Path) -> None:
    for name in ("a/1.png", "b/2.png", "c/3.png"):
        put(folder / name)
    examples = opened(folder)

    assert len(split_examples(examples.ids, examples.labels).train) == 3


def test_b04_broken_files_are_listed_and_many_are_refused(folder: Path) -> None:
    whole = put(folder / "cat/whole.png").read_bytes()
    for name, content in {"zero.png": b"", "text.jpg": b"words", "cut.png": whole[:300]}.items():
        (folder / "cat" / name).write_bytes(content)

    examples = opened(folder)
    assert list(examples.paths) == ["cat/whole.png"]
    assert [bad.path for bad in examples.bad] == ["cat/cut.png", "cat/text.jpg", "cat/zero.png"]
    assert [bad.reason.split(" (")[0].split(":")[0] for bad in examples.bad] == [
        "it cannot be decoded",
        "it is no picture of a known format",
        "it is empty",
    ]
    with pytest.raises(DataError, match=r"3 of 4 files of .* cannot be used; at most 1 %.*--max-bad 75%") as raised:
        opened(folder, max_bad=0.01)
    assert raised.value.exit_code == 8
    with pytest.raises(DataError, match="none may be"):
        opened(folder, bad_files="fail")


def test_b07_pictures_of_several_frames_can_be_refused(folder: Path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    put(folder / "cat/still.png")
    frames[0].save(folder / "cat/moving.gif", save_all=True, append_images=frames[1:])

    first = opened(folder)
    assert [each.frames for each in first.inspections] == [2, 1]
    assert np.abs(first.read(np.array([0]))[0][0, 0].astype(int) - [255, 0, 0]).max() < 2
    assert opened(folder, frames="error").bad == (BadFile("cat/moving.gif", "it has 2 frames"),)


def test_b09_content_decides_and_not_the_name(folder: Path) -> None:
    for name in ("png.jpg", "UPPER.PNG", "none", "odd.dat"):
        put(folder / "cat" / name)
    for name in ("README.txt", "eps.eps"):
        (folder / "cat" / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")

    examples = opened(folder)

    assert sorted(examples.paths) == ["cat/UPPER.PNG", "cat/none", "cat/odd.dat", "cat/png.jpg"]
    assert [bad.path for bad in examples.bad] == ["cat/eps.eps"]  # which claims to be one; a README does not


def test_b11_tiny_pictures_are_kept_unless_a_side_is_asked_for(folder: Path) -> None:
    for name, size in {"one": (1, 1), "long": (1, 10_000), "usual": (16, 12)}.items():
        (folder / "cat").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "red").save(folder / "cat" / f"{name}.png")

    assert len(opened(folder)) == 3
    assert [bad.path for bad in opened(folder, min_side=2).bad] == ["cat/long.png", "cat/one.png"]


NAMES = ["caf\u00e9.png", "cafe\u0301.png", "\U0001f408.png", " two  spaces .png", "line\nbreak.png"]


def test_b12_names_of_every_kind_come_back(folder: Path) -> None:
    for name in NAMES:
        put(folder / "cl\u00e0ss" / name)
    put(folder / "cl\u00e0ss" / os.fsdecode(b"latin-\xe9.png"))

    examples = opened(folder)

    assert sorted(examples.paths) == sorted(f"cl\u00e0ss/{name}" for name in [*NAMES, "latin-\udce9.png"])
    assert len(examples.read(np.arange(6))) == 6


def test_b13_links_are_not_followed_unless_asked(folder: Path, tmp_path: Path) -> None:
    put(folder / "cat/1.png")
    outside = put(tmp_path / "elsewhere/2.png")
    (folder / "cat/out.png").symlink_to(outside)
    (folder / "cat/dir").symlink_to(outside.parent)
    (folder / "cat/loop").symlink_to(folder)
    (folder / "cat/nothing.png").symlink_to(tmp_path / "gone")

    assert list(opened(folder).paths) == ["cat/1.png"]
    followed = opened(folder, follow_links=True)
    assert list(followed.paths) == ["cat/1.png", "cat/dir/2.png", "cat/out.png"]
    assert [bad.path for bad in followed.bad] == ["cat/nothing.png"]


def test_b13_links_alone_are_told_of(folder: Path, tmp_path: Path) -> None:
    (folder / "cat").mkdir(parents=True)
    (folder / "cat/1.png").symlink_to(put(tmp_path / "1.png"))
    with pytest.raises(DataError, match="1 symbolic links, which are not followed .--follow-links"):
        opened(folder)


def test_b13_pipes_sockets_and_devices_are_never_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder / "cat/1.png")
    os.mkfifo(folder / "cat/pipe.png")
    monkeypatch.chdir(folder / "cat")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        assert list(opened(folder).paths) == ["cat/1.png"]


def test_b13_a_pipe_that_takes_a_files_place_is_not_waited_for(folder: Path) -> None:
    path = put(folder / "cat/1.png")
    examples = opened(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="no picture but a pipe"):
        examples.read(np.array([0]))


def test_b14_what_may_not_be_read_is_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, whom no permission stops; so the system's refusal is made up."""
    for name in ("cat/1.png", "cat/2.png", "cat/shut/3.png"):
        put(folder / name)
    shut = {str(folder / "cat/2.png"), str(folder / "cat/shut")}

    def refusing(function: Any) -> Any:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            if str(path) in shut:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return function(path, *arguments, **options)

        return call

    monkeypatch.setattr(os, "open", refusing(os.open))
    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
    assert opened(folder).bad == (
        BadFile("cat/shut", "the folder cannot be read: Permission denied"),
        BadFile("cat/2.png", "it cannot be read: Permission denied"),
    )


@pytest.mark.parametrize(("failures", "bad"), [(1, 0), (2, 1)])
def test_b14_an_input_error_is_tried_again_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failures: int, bad: int
) -> None:
    put(folder / "cat/good.png")
    inode = put(folder / "cat/weak.png").stat().st_ino
    left, read = [failures], os.read

    def weak(descriptor: int, size: int) -> bytes:
        if os.fstat(descriptor).st_ino == inode and left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", weak)
    assert [each.reason for each in opened(folder).bad] == ["it cannot be read: Input/output error"] * bad


def test_b16_a_picture_that_is_added_moves_no_other(folder: Path) -> None:
    for name in ("cat/2.png", "dog/1.png"):
        put(folder / name)
    before = opened(folder)
    put(folder / "cat/1.png")
    after = opened(folder)

    assert {row.tobytes() for row in before.ids} < {row.tobytes() for row in after.ids}
    assert before.decoding == after.decoding


def test_b17_one_picture_in_two_classes_is_there_twice_with_one_identity(folder: Path) -> None:
    content = put(folder / "cat/1.png").read_bytes()
    (folder / "dog").mkdir()
    (folder / "dog/1.png").write_bytes(content)

    examples = opened(folder)

    assert examples.labels.tolist() == [0, 1]
    assert np.array_equal(examples.ids[0], examples.ids[1])


def test_groups_are_named_by_a_pattern(folder: Path) -> None:
    for name in ("cat/anna-1.png", "cat/bob-1.png", "dog/anna-2.png", "dog/nobody.png", "dog/none.png"):
        put(folder / name)

    groups = opened(folder, group_by=r"/(\w+)-\d").groups
    assert groups is not None
    assert groups[0] == groups[2]
    assert len(set(groups.tolist())) == 4
    (folder / "cat/bob-1.png").unlink()
    alone = opened(folder, group_by=r"/(\w+)-\d").groups
    assert alone is not None
    assert alone[0] == groups[0]  # whatever else there is
    with pytest.raises(UsageError, match="Expected a regular expression"):
        opened(folder, group_by="(")


def test_near_duplicates_are_grouped(folder: Path) -> None:
    noise = Image.fromarray(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
        (200, 160), Image.Resampling.BICUBIC
    )
    (folder / "cat").mkdir(parents=True)
    noise.save(folder / "cat/1.png")
    noise.save(folder / "cat/2.jpg", quality=80)
    put(folder / "cat/3.png")

    groups = opened(folder, near_duplicates=True).groups
    assert groups is not None
    assert groups[0] == groups[1] != groups[2]
    assert opened(folder, near_duplicates=False).groups is None


def test_a_folder_may_be_named_in_every_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder / "cat/1.png")
    monkeypatch.chdir(folder.parent)
    for spec in ("pets", "pets/", "./pets", Path("pets"), folder, os.fsencode(folder)):
        examples: Any = open_data(spec)
        monkeypatch.chdir("/")
        assert len(examples.read(np.array([0]))) == 1
        monkeypatch.chdir(folder.parent)


def test_a_slip_in_a_path_is_recognised(folder: Path) -> None:
    put(folder / "cat/1.png")
    with pytest.raises(NotFoundError, match=r"Did you mean pets\?"):
        open_data(str(folder)[:-1])


def test_another_file_is_no_data(folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"Expected a folder of pictures, a \.csv \(of pictures or texts\) or an \.npz file"
    ):
        open_data(put(folder / "1.png"))


@pytest.mark.parametrize("options", [{"min_side": 0}, {"frames": "all"}, {"bad_files": "?"}, {"max_bad": 2}])
def test_options_that_cannot_be_are_refused(folder: Path, options: dict[str, Any]) -> None:
    put(folder / "cat/1.png")
    with pytest.raises(UsageError, match="Expected"):
        opened(folder, **options)


def test_a_pattern_that_tells_no_groups_apart_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a/img1.png", "a/img2.png", "b/img3.png", "b/4.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 3), (len(name), ord(name[-5]), 0)).save(path)
    with pytest.raises(UsageError, match=r"matches 0 of 4 paths \(such as a/img1.png\)"):
        opened(tmp_path, group_by="patient")
    with pytest.raises(UsageError, match=r"All 4 examples are one group: --group-by '\[.\]png' finds the same '.png'"):
        opened(tmp_path, group_by="[.]png")
    opened(tmp_path, group_by="img.")
    assert "matches 3 of 4 paths; the others are each a group of their own" in caplog.text


def test_a_folder_beside_parts_makes_no_classes_of_them(tmp_path: Path) -> None:
    """`train/` and `test/` are parts, whatever was left beside them; a class may be called train."""
    noise = Image.fromarray(RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    for place in ("train/cat", "train/dog", "test/cat", "test/dog", "extra"):
        (tmp_path / "data" / place).mkdir(parents=True)
        noise.save(tmp_path / "data" / place / "1.png")
    with pytest.raises(DataError, match="extra/ beside"):
        open_data(tmp_path / "data")
    for place in ("train", "car"):
        (tmp_path / "vehicles" / place).mkdir(parents=True)
        noise.save(tmp_path / "vehicles" / place / "1.png")
    assert open_data(tmp_path / "vehicles").classes == ("car", "train")
