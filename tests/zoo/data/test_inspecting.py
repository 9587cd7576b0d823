from __future__ import annotations

import io
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from zoo.data import inspecting, whole_files
from zoo.data.contents import RACY_NS
from zoo.data.inspecting import Survey, inspected, survey_files
from zoo.errors import DataError

RNG = np.random.default_rng(0)
LONG_AGO = time.time_ns() - 10 * RACY_NS


def picture(height: int = 90, width: int = 120) -> Image.Image:
    small = Image.fromarray(RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def encoded(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (image or picture()).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three pictures, last changed long ago as far as one can see."""
    monkeypatch.setattr("zoo.data.contents.RACY_NS", -(1 << 62))
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        path.write_bytes(encoded("PNG"))
    return paths


def survey(paths: list[Path]) -> Survey:
    return survey_files([str(path) for path in paths], [path.stat() for path in paths])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files in the order in which they were opened."""
    seen: list[str] = []
    read = whole_files.read_file

    def noting(path: Any, *arguments: Any) -> bytes:
        seen.append(Path(path).name)
        return read(path, *arguments)

    monkeypatch.setattr(inspecting, "read_file", noting)
    return seen


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "PPM", "WEBP"])
def test_what_a_picture_is_stands_in_its_inspection(kind: str) -> None:
    image = picture(90, 120)
    (format_, _, width, height, frames, orientation, fault, thumbnail), lasting = inspected(encoded(kind, image))

    assert (format_, width, height, frames, orientation, fault, lasting) == (kind, 120, 90, 1, 1, None, True)
    expected = np.asarray(image.convert("L").resize((17, 16), Image.Resampling.BOX)).astype(int)
    found = np.frombuffer(thumbnail, np.uint8).reshape(16, 17)
    assert np.abs(found - expected).mean() < (12 if kind == "GIF" else 3)  # a GIF has 256 colours


def test_a_picture_that_lies_is_told_upright() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image = picture(90, 120)
    (_, _, width, height, _, orientation, _, thumbnail), _ = inspected(encoded("JPEG", image, exif=exif, quality=95))

    assert (width, height, orientation) == (90, 120, 6)
    upright = image.transpose(Image.Transpose.ROTATE_270).convert("L").resize((17, 16), Image.Resampling.BOX)
    assert np.abs(np.frombuffer(thumbnail, np.uint8).reshape(16, 17) - np.asarray(upright).astype(int)).mean() < 3


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_b04_a_cut_jpeg_is_found_though_it_is_decoded_small(options: dict[str, Any], share: float) -> None:
    noise = Image.fromarray(RNG.integers(0, 256, (300, 400, 3), dtype=np.uint8))
    whole = encoded("JPEG", noise, quality=80, **options)
    assert inspected(whole)[0][6] is None

    fault = inspected(whole[: int(share * len(whole))])[0][6]
    assert fault is not None
    assert fault.startswith("it cannot be decoded")


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_b07_frames_are_counted(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    assert inspected(encoded(kind, frames[0], save_all=True, append_images=frames[1:]))[0][4] == 3


def test_b10_a_bomb_is_known_by_its_header() -> None:
    chunks = bytearray(encoded("PNG", Image.new("L", (1, 1))))
    chunks[16:24] = (50_000).to_bytes(4, "big") * 2
    import zlib

    chunks[29:33] = zlib.crc32(chunks[12:29]).to_bytes(4, "big")
    assert inspected(bytes(chunks))[0][6] == "it has 50000x50000 pixels; at most 100,000,000 are decoded"


def test_a_file_is_read_once_ever(files: list[Path], opened: list[str]) -> None:
    first = survey(files)
    again = survey(files)

    assert sorted(opened) == ["0.png", "1.png", "2.png"]
    assert np.array_equal(first.ids, again.ids)
    assert np.array_equal(first.inspections.thumbnails, again.inspections.thumbnails)
    assert [(each.format, each.width, each.height) for each in again.inspections] == [("PNG", 120, 90)] * 3


def test_faults_are_remembered_too(files: list[Path], opened: list[str]) -> None:
    files[1].write_bytes(b"")
    assert survey(files).faults == survey(files).faults == {1: "it is empty"}
    assert len(opened) == 3


def test_b15_a_changed_file_is_read_again(files: list[Path], opened: list[str]) -> None:
    before = survey(files)
    status = files[0].stat()
    content = encoded("PNG")
    content = content[: status.st_size].ljust(status.st_size, b"\0")
    files[0].write_bytes(content)
    os.utime(files[0], ns=(status.st_atime_ns, status.st_mtime_ns))  # of the same size and time, as rsync leaves it

    assert not np.array_equal(survey(files).ids[0], before.ids[0])
    assert opened[3:] == ["0.png"]


def test_b15_a_file_that_was_just_written_is_not_trusted(
    files: list[Path], opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.data.contents.RACY_NS", RACY_NS)
    survey(files)
    survey(files)

    assert len(opened) == 6


def test_a_moved_file_is_not_decoded_again(
    files: list[Path], opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    survey(files)
    files[0] = files[0].rename(files[0].with_name("moved.png"))
    monkeypatch.setattr(inspecting, "inspected", lambda data: pytest.fail("decoded again"))

    assert survey(files).faults == {}
    assert opened[3:] == ["moved.png"]


@pytest.mark.parametrize("damage", ["text", "cut", "another version", "a folder", "read-only", "no home"])
def test_a_database_that_cannot_be_used_is_made_anew_or_done_without(
    files: list[Path], home: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = survey(files).ids
    path = home / "contents.sqlite"
    if damage == "text":
        path.write_text("no database " * 1000)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "another version":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    elif damage == "read-only":
        path.chmod(0o400)
    else:
        path.unlink()
        home.rmdir()
        home.write_text("a file")

    assert np.array_equal(survey(files).ids, expected)
    assert np.array_equal(survey(files).ids, expected)


def test_a_locked_database_is_done_without(files: list[Path], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = survey(files).ids
    monkeypatch.setattr("zoo.data.contents._WAIT_SECONDS", 0.05)
    other = sqlite3.connect(home / "contents.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert np.array_equal(survey(files).ids, expected)
    other.close()


def test_b20_a_file_that_hangs_is_listed_and_holds_up_nothing(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    read = whole_files.read_file

    def hanging(path: Any, *arguments: Any) -> bytes:
        if Path(path) == files[0]:
            released.wait(30)
        return read(path, *arguments)

    monkeypatch.setattr(inspecting, "read_file", hanging)
    monkeypatch.setattr(inspecting, "PATIENCE", 0.3)
    monkeypatch.setattr(inspecting, "_threads", lambda: 1)
    began = time.monotonic()
    try:
        found = survey(files)
    finally:
        released.set()

    assert time.monotonic() - began < 5
    assert found.faults == {0: "it could not be read within 0.3 seconds; does the disk answer?"}
    assert found.ids[1:].any(axis=1).all()


def test_b20_a_disk_that_does_not_answer_is_given_up(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(inspecting, "read_file", lambda path, alive: released.wait(30))
    monkeypatch.setattr(inspecting, "PATIENCE", 0.05)
    monkeypatch.setattr(inspecting, "_MOST_HUNG", 2)
    try:
        with pytest.raises(DataError, match="2 files could not be read .* Look whether the disk"):
            survey(files)
    finally:
        released.set()


def test_b20_a_slow_file_that_gets_on_is_waited_for(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read = whole_files.read_file

    def slow(path: Any, alive: Any) -> bytes:
        for _ in range(6):
            time.sleep(0.1)
            alive()
        return read(path)

    monkeypatch.setattr(inspecting, "read_file", slow)
    monkeypatch.setattr(inspecting, "PATIENCE", 0.4)
    assert survey(files).faults == {}


def test_progress_is_told_of_each_file_that_is_read(files: list[Path]) -> None:
    told: list[Any] = []

    class Told:
        def start(self, total: int | None, unit: str) -> None:
            told.append((total, unit))

        def expect(self, total: int) -> None: ...

        def advance(self, n: int, **figures: float) -> None:
            told.append(n)

        def close(self) -> None:
            told.append("end")

    for _ in range(2):
        survey_files([str(path) for path in files], [path.stat() for path in files], Told())
    assert told == [(3, "files"), 1, 1, 1, "end"]  # and nothing the second time
