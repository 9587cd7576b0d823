"""Archives of models, ordinary, damaged and hostile. The hostile ones are numbered M01 to M07 by kind of attack."""

from __future__ import annotations

import contextlib
import errno
import functools
import gzip
import hashlib
import io
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import tracemalloc
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import DiskError, IntegrityError, NotFoundError, UnsafeFileError, ZooError
from zoo.progress import Silent
from zoo.store.archives import USUAL_LIMITS, Limits, Member, archive_kind, extract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20
GRAPH = b"graph def"


# --- tar archives by hand: tarfile refuses to write most of these ---


def tar_header(
    name: str | bytes,
    size: int = 0,
    kind: bytes = b"0",
    *,
    link: bytes = b"",
    mode: int = 0o644,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    size_field: bytes | None = None,
) -> bytes:
    raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
    assert len(raw) <= 100
    size_field = size_field or b"%011o\0" % size
    fields = struct.pack(
        "100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x",
        *(raw, b"%07o\0" % mode, b"0000000\0", b"0000000\0", size_field, b"%011o\0" % 0, b" " * 8, kind, link, magic),
        *(b"root", b"root", b"0000000\0", b"0000000\0", prefix),
    )
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def tar_member(name: str | bytes, data: bytes = b"", kind: bytes = b"0", **fields: Any) -> bytes:
    return tar_header(name, fields.pop("size", len(data)), kind, **fields) + padded(data)


def tar_of(*parts: bytes) -> bytes:
    return b"".join(parts) + bytes(1024)


def pax_record(key: str, value: str | bytes) -> bytes:
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    rest = b" " + key.encode() + b"=" + raw + b"\n"
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def pax(kind: bytes = b"x", /, **records: str | bytes) -> bytes:
    return tar_member("PaxHeader", b"".join(pax_record(key.replace("__", "."), records[key]) for key in records), kind)


def long_name(name: str | bytes) -> bytes:
    raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
    return tar_member("././@LongLink", raw + b"\0", b"L")


def in_gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


# --- zip archives by hand ---


@dataclass
class Zipped:
    """A member of a zip; `local` and `central` override what one of its two headers tells."""

    name: bytes = b"saved_model.pb"
    data: bytes = GRAPH
    method: int = 8
    flags: int = 0
    mode: int = 0o100644
    packed: bytes | None = None
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)
    after: bytes = b""

    def content(self) -> bytes:
        return self.packed if self.packed is not None else raw_deflate(self.data) if self.method == 8 else self.data

    def told(self, overrides: dict[str, Any]) -> dict[str, Any]:
        known = {"name": self.name, "flags": self.flags, "method": self.method, "crc": zlib.crc32(self.data)}
        known |= {"packed": len(self.content()), "unpacked": len(self.data), "extra": b"", "disk": 0}
        return known | overrides

    def local_header(self) -> bytes:
        told = self.told(self.local)
        values = (told["crc"], told["packed"], told["unpacked"], len(told["name"]), len(told["extra"]))
        head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, told["flags"], told["method"], 0, 33, *values)
        return b"".join([head, told["name"], told["extra"]])

    def central_header(self, offset: int) -> bytes:
        told = {"offset": offset} | self.told(self.central)
        values = (told["crc"], told["packed"], told["unpacked"], len(told["name"]), len(told["extra"]), 0)
        head = struct.pack("<4s6H3L3H", b"PK\1\2", 3 << 8 | 20, 20, told["flags"], told["method"], 0, 33, *values)
        tail = struct.pack("<2H2L", told["disk"], 0, self.mode << 16, told["offset"])
        return b"".join([head, tail, told["name"], told["extra"]])


@functools.cache
def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zip_of(
    *members: Zipped, before: bytes = b"", gap: bytes = b"", wide: dict[str, int] | None = None, **end: Any
) -> bytes:
    """Returns a zip: `gap` goes before the directory, `wide` asks for a zip64 end record, `end` overrides the end's."""
    body, directory = before, b""
    for member in members:
        directory += member.central_header(len(body))
        body += member.local_header() + member.content() + member.after
    body += gap
    told: dict[str, Any] = {
        "disk": 0,
        "count": len(members),
        "size": len(directory),
        "offset": len(body),
        "comment": b"",
    } | end
    counts = (told["disk"], told["disk"], told.get("here", told["count"]), told["count"])
    last = struct.pack("<4s4H2LH", b"PK\5\6", *counts, told["size"], told["offset"], len(told["comment"]))
    return b"".join([body, directory, wide_end(members, directory, body, wide), last, told["comment"]])


def wide_end(members: tuple[Zipped, ...], directory: bytes, body: bytes, wide: dict[str, int] | None) -> bytes:
    if wide is None:
        return b""
    told = {"length": 44, "count": len(members), "size": len(directory), "offset": len(body)}
    told |= {"at": len(body) + len(directory), "magic": 0x06064B50} | wide
    values = (told["count"], told["count"], told["size"], told["offset"])
    record = struct.pack("<LQ2H2L4Q", told["magic"], told["length"], 45, 45, 0, 0, *values)
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, told["at"], 1)


def zip64(*values: int) -> bytes:
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


# --- the oracle: what must hold after every refusal ---


def state_of(folder: Path) -> dict[str, tuple[int, str]]:
    """Returns the mode and the digest of everything below a folder."""
    found = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        content = path.read_bytes() if stat.S_ISREG(mode) else bytes(path.readlink()) if stat.S_ISLNK(mode) else b""
        found[str(path.relative_to(folder))] = mode, hashlib.sha256(content).hexdigest()
    return found


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with a target's parent in it, two levels deep, and a canary on each level."""
    folder = tmp_path / "world"
    (folder / "inner").mkdir(parents=True)
    for place in (tmp_path, folder, folder / "inner"):
        (place / "canary").write_bytes(b"alive")
    return folder


def refuses(
    world: Path, data: bytes, cause: str, error: type[ZooError] = UnsafeFileError, limits: Limits = USUAL_LIMITS
) -> None:
    """Asserts that an archive is refused, twice in the same words, and that nothing is left or touched anywhere."""
    archive = world / "model.archive"
    archive.write_bytes(data)
    before = state_of(world.parent)
    messages = []
    for _ in range(2):
        with pytest.raises(error) as caught:
            extract(archive, world / "inner" / "target", limits)
        messages.append(str(caught.value))
        assert state_of(world.parent) == before
    assert messages[0] == messages[1]
    assert messages[0].isprintable()  # no control character gets to a terminal
    assert str(archive) in messages[0]
    assert cause in messages[0]
    assert "Nothing of it was kept." in messages[0]
    assert ("Get another copy" if error is UnsafeFileError else "Fetch it again") in messages[0]
    assert caught.value.exit_code == (5 if error is UnsafeFileError else 4)


def unpacks(world: Path, data: bytes, files: dict[str, bytes], folders: set[str] | None = None) -> None:
    """Asserts that an archive becomes exactly these files (and folders), and says so."""
    archive, target = world / "model.archive", world / "inner" / "target"
    archive.write_bytes(data)

    members = extract(archive, target)

    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert list(members) == [Member(name, len(files[name]), digests[name]) for name in sorted(files)]
    found = {str(path.relative_to(target)): path for path in target.rglob("*")}
    assert {name: path.read_bytes() for name, path in found.items() if path.is_file()} == files
    above = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    assert {name for name, path in found.items() if path.is_dir()} == above | (folders or set())


# --- ordinary archives ---

LONG = "/".join(["variables-of-a-model-with-a-rather-long-name"] * 6) + "/variables.data-00000-of-00001"  # 300 bytes
MODEL = {
    "saved_model.pb": GRAPH,
    "variables/variables.index": bytes(range(256)),
    "variables/variables.data-00000-of-00001": random.Random(0).randbytes(700_000),  # some pieces
    "assets/naïve vocabulary.txt": b"one\ntwo\n",
    "assets/empty": b"",
}


def tree_of(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "assets.extra").mkdir()  # an empty folder, as SavedModels have them
    return folder


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("top", [".", "model"])
def test_a_tar_of_a_saved_model(world: Path, tmp_path: Path, mode: str, format: int, top: str) -> None:
    files = {**MODEL, **({} if format == tarfile.USTAR_FORMAT else {LONG: b"long"})}
    tree, stream = tree_of(tmp_path / "tree", files), io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=format) as tar:  # type: ignore[call-overload]
        tar.add(tree, arcname=top)
    if top == "model":
        files = {f"model/{name}": content for name, content in files.items()}

    unpacks(world, stream.getvalue(), files, {str(Path(top, "assets.extra"))} | ({"model"} - {top} - {"model"}))


@pytest.mark.skipif(subprocess.run(["which", "tar"], capture_output=True).returncode != 0, reason="no tar here")
@pytest.mark.parametrize("format", ["gnu", "oldgnu", "ustar", "posix"])
def test_what_the_tar_command_makes(world: Path, tmp_path: Path, format: str) -> None:
    tree = tree_of(tmp_path / "tree", MODEL)
    command = ["tar", "-C", str(tree), f"--format={format}", "-czf", str(tmp_path / "model.tgz"), "."]
    subprocess.run(command, check=True, capture_output=True)

    unpacks(world, (tmp_path / "model.tgz").read_bytes(), MODEL, {"assets.extra"})


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("wide", [False, True], ids=["zip32", "zip64"])
@pytest.mark.parametrize("seekable", [True, False], ids=["plain", "descriptors"])
def test_a_zip_of_a_saved_model(world: Path, method: int, wide: bool, seekable: bool) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream if seekable else Unseekable(stream), "w", method) as file:
        file.writestr("assets.extra/", "")
        for name, content in MODEL.items():
            with file.open(name, "w", force_zip64=wide) as member:
                member.write(content)
        file.comment = b"a comment is fine"

    unpacks(world, stream.getvalue(), MODEL, {"assets.extra"})


class Unseekable(io.RawIOBase):
    """Makes zipfile write sizes behind the data."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._stream.write(data)


def test_zips_with_all_kinds_of_legal_fields(world: Path) -> None:
    wide = Zipped(
        data=b"w" * 50,
        local={"packed": 0xFFFFFFFF, "unpacked": 0xFFFFFFFF, "extra": zip64(50, 50)},
        central={"unpacked": 0xFFFFFFFF, "extra": b"UT\5\0\3abcd" + zip64(50)},
        method=0,
        name=b"a/wide",
    )
    crc = zlib.crc32(GRAPH)
    size = len(raw_deflate(GRAPH))
    unknown = {"crc": 0, "packed": 0, "unpacked": 0}
    descriptors = [
        Zipped(name=b"%d" % number, flags=8, local=unknown, after=after)
        for number, after in enumerate([
            struct.pack("<3L", crc, size, 9), b"PK\7\x08" + struct.pack("<3L", crc, size, 9),
            struct.pack("<L2Q", crc, size, 9), b"PK\7\x08" + struct.pack("<L2Q", crc, size, 9),
        ])
    ]  # fmt: skip
    names = Zipped(name="naïve".encode(), flags=1 << 11)
    folder = Zipped(name=b"folder/", data=b"", mode=0o040755)
    data = zip_of(wide, *descriptors, names, folder, wide={}, count=0xFFFF, offset=0xFFFFFFFF)

    files = {"a/wide": b"w" * 50, "naïve": GRAPH, **{f"{number}": GRAPH for number in range(4)}}
    unpacks(world, data, files, {"folder"})


def test_tars_with_all_kinds_of_legal_fields(world: Path) -> None:
    data = tar_of(
        pax(b"g", comment="as git archive writes it"),
        tar_member("./", kind=b"5", magic=b"\0" * 8),
        tar_member("old/", kind=b"\0"),  # V7's folder
        tar_member("old/file", GRAPH, kind=b"\0"),
        pax(path="new/fi" + "l" * 200 + "e", size=str(len(GRAPH)), SCHILY__xattr__user="x=y\n=z"),
        tar_member("short", GRAPH, size=0),  # the size stands in the pax header alone
        tar_member("binary", GRAPH, size_field=b"\x80" + len(GRAPH).to_bytes(11, "big")),
        tar_member("file", GRAPH, prefix=b"split/path"),
        tar_member("gnu", GRAPH, magic=b"ustar  \0", prefix=b"12345670123"),  # there it is a time, no prefix
    )
    names = ["old/file", "new/fi" + "l" * 200 + "e", "binary", "split/path/file", "gnu"]

    unpacks(world, data, dict.fromkeys(names, GRAPH))


@pytest.mark.parametrize("name", ["weights.npz", "model.KERAS"])
def test_members_that_are_zips_by_format_are_let_through(world: Path, name: str) -> None:
    inner = zip_of(Zipped())

    unpacks(world, tar_of(tar_member(name, inner)), {name: inner})


@pytest.mark.parametrize("data", [b"\x1f\x8b\x09 no gzip", b"BZh is how a text may begin", b"P", b"PK", b"\x28\xb5"])
def test_members_that_only_begin_a_little_like_an_archive_are_let_through(world: Path, data: bytes) -> None:
    unpacks(world, tar_of(tar_member("data", data)), {"data": data})


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (tar_of(tar_member("x")), "tar"),
        (in_gzip(tar_of(tar_member("x"))), "tar.gz"),
        (zip_of(Zipped()), "zip"),
        (zip_of(), "zip"),
        (in_gzip(b"something else"), None),
        (b"\x1f\x8b\x08 but damaged", None),
        (b"BZh91AY&SY", None),
        (b"", None),
        (b"<html>not found</html>", None),
    ],
)
def test_archive_kind_looks_at_the_content(tmp_path: Path, data: bytes, kind: str | None) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(data)

    assert archive_kind(path) == kind


def test_what_is_no_file_is_no_archive_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "work"):
        with pytest.raises(IntegrityError, match=f"{name} is no regular file"):
            archive_kind(tmp_path / name)
    with pytest.raises(NotFoundError, match="There is no archive .*none; fetch it first"):
        extract(tmp_path / "none", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_files_and_folders_get_plain_modes_and_are_durable(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, target, flush = world / "archive", world / "target", os.fsync
    archive.write_bytes(tar_of(tar_member("a/b/file", GRAPH, mode=0o400), tar_member("empty/", kind=b"5", mode=0o777)))
    flushed = set()

    def watched(descriptor: int) -> None:
        flushed.add(os.fstat(descriptor).st_ino)
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    old = os.umask(0)
    try:
        extract(archive, target)
    finally:
        os.umask(old)

    modes = {name: stat.S_IMODE(mode) for name, (mode, _) in state_of(target).items()}
    assert modes == {"a": 0o755, "a/b": 0o755, "a/b/file": 0o644, "empty": 0o755}
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert flushed == {path.stat().st_ino for path in (target, *target.rglob("*"))}


@pytest.mark.parametrize(
    "data", [in_gzip(tar_of(tar_member("x", bytes(999)))), tar_of(tar_member("x")), zip_of(Zipped())]
)
def test_the_progress_is_told(world: Path, data: bytes) -> None:
    class Told(Silent):
        done, closed = 0, 0
        total: int | None = None

        def start(self, total: int | None, unit: str) -> None:
            assert unit == "packed bytes"
            self.total = total

        def advance(self, n: int, **figures: float) -> None:
            self.done += n

        def close(self) -> None:
            self.closed += 1

    (world / "archive").write_bytes(data)
    told = Told()
    extract(world / "archive", world / "target", progress=told)

    assert (told.total, told.closed) == (len(data), 1)
    assert 0 < told.done <= len(data)


# --- M01: paths that lead elsewhere ---

BAD_PATHS = {
    "../x": "the part '..'", "..": "the part '..'", "a/../x": "the part '..'", "a/..": "the part '..'",
    "./../x": "the part '..'", "../../../../../../canary": "the part '..'", "/abs": "the part ''",
    "//host/share": "the part ''", "/": "the part ''", "a//b": "the part ''", "a/./b": "the part '.'",
    "././a": "the part '.'", "C:\\x": "the character", "C:x": "the character ':'", "\\\\host\\x": "the character",
    "a\\..\\x": "the character", "\\x": "the character", "con": "a device on Windows", "a/nul.txt": "a device",
    "a.": "ends with a dot", "a /b": "ends with a space", "x\x1b[2Jy": "'\\x1b'", "line\nfeed": "'\\n'",
    "right-to-left\u202emark": "'\\u202e'", "not-utf8-\udcff": "'\\udcff'", "": "the part ''", ".": "the part '.'",
}  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize("how", ["ustar", "gzip", "gnu", "pax", "zip"])
def test_m01_paths_that_lead_elsewhere_have_the_whole_archive_refused(world: Path, path: str, how: str) -> None:
    good, bad = tar_member("saved_model.pb", GRAPH), tar_member(path, b"harm")
    raw = path.encode("utf-8", "surrogateescape")
    data = {
        "ustar": tar_of(good, bad),
        "gzip": in_gzip(tar_of(good, bad)),
        "gnu": tar_of(good, long_name(path), tar_member("harmless", b"harm")),
        "pax": tar_of(good, pax(path=path), tar_member("harmless", b"harm")),
        "zip": zip_of(Zipped(), Zipped(name=raw, data=b"harm", flags=1 << 11)),
    }[how]
    in_a_zip_a_folder = how == "zip" and path.endswith("/")

    refuses(world, data, "is a folder, yet has content" if in_a_zip_a_folder else BAD_PATHS[path])


@pytest.mark.parametrize("path", ["../x/", "/abs/", "/", "//", "a/../b/", "a/..", "C:/", "././", "a//"])
def test_m01_folders_that_lead_elsewhere(world: Path, path: str) -> None:
    good = tar_member("saved_model.pb", GRAPH)
    refuses(world, tar_of(good, tar_member(path, kind=b"5")), "member")
    refuses(world, tar_of(good, tar_member(f"{path}/".replace("//", "/"), kind=b"\0")), "member")
    if path.endswith("/"):
        refuses(world, zip_of(Zipped(), Zipped(name=path.encode(), data=b"")), "member")


def test_m01_a_prefix_that_leads_elsewhere(world: Path) -> None:
    refuses(world, tar_of(tar_member("x", b"harm", prefix=b"..")), "the part '..'")


@pytest.mark.parametrize("name", [b"a\0b", b"saved_model.pb\0.exe"])
def test_m01_names_with_a_nul(world: Path, name: bytes) -> None:
    refuses(world, tar_of(tar_member(name)), "NUL in its name")
    refuses(world, tar_of(tar_member("x", prefix=name)), "NUL in its name")
    refuses(world, tar_of(long_name(name), tar_member("x")), "NUL in its name")
    refuses(world, tar_of(pax(path=name), tar_member("x")), r"the character '\x00'")
    refuses(world, zip_of(Zipped(name=name)), r"the character '\x00'")


def test_m01_a_path_for_all_members(world: Path) -> None:
    refuses(world, tar_of(pax(b"g", path="../x"), tar_member("a")), "one path or one size")


# --- M02: links ---

FILE = tar_member("saved_model.pb", GRAPH)
LINKS = {
    "symbolic": [tar_member("link", kind=b"2", link=b"saved_model.pb")],
    "symbolic, absolute": [tar_member("link", kind=b"2", link=b"/etc/passwd")],
    "hard": [tar_member("link", kind=b"1", link=b"saved_model.pb")],
    "hard, outside": [tar_member("link", kind=b"1", link=b"../../canary")],
    "then a file through it": [tar_member("link", kind=b"2", link=b".."), tar_member("link/canary", b"dead")],
    "then a file over it": [tar_member("link", kind=b"2", link=b"../../canary"), tar_member("link", b"dead")],
    "then .. behind it": [tar_member("a", kind=b"2", link=b"."), tar_member("a/../x", b"harm")],
    "over a file": [tar_member("saved_model.pb", kind=b"2", link=b"../canary")],
    "with content": [tar_member("link", b"content", kind=b"2", link=b"../canary")],
    "with a long name": [tar_member("././@LongLink", b"../canary\0", kind=b"K"), tar_member("link", kind=b"2")],
    "in a pax header": [pax(linkpath="../canary", path="link"), tar_member("x", kind=b"2", link=b"x")],
    "hard to symbolic": [
        tar_member("a", kind=b"2", link=b"../canary"),
        tar_member("b", kind=b"1", link=b"a"),
        tar_member("b", b"dead"),
    ],
}


@pytest.mark.parametrize("parts", LINKS.values(), ids=LINKS)
def test_m02_links_are_refused(world: Path, parts: list[bytes]) -> None:
    refuses(world, tar_of(FILE, *parts), "link")
    refuses(world, in_gzip(tar_of(*parts, FILE)), "link")


@pytest.mark.parametrize("name", [b"link", b"link/"])
def test_m02_symbolic_links_in_a_zip(world: Path, name: bytes) -> None:
    link = Zipped(name=name, data=b"../canary", mode=0o120777)
    refuses(world, zip_of(Zipped(), link), "is a symbolic link")
    refuses(world, zip_of(link, Zipped(name=b"link/canary")), "is a symbolic link")


def test_m02_a_link_planted_while_unpacking_is_not_followed(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, target, make = world / "archive", world / "target", os.mkdir
    archive.write_bytes(tar_of(tar_member("a/b/canary", b"dead")))

    def plant(name: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if name == "b":  # another process puts a link where the folder should be
            os.symlink(world, name, dir_fd=dir_fd)
        else:
            make(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", plant)
    before = state_of(world)
    with pytest.raises(DiskError, match="Cannot write .*a/b/canary: Not a directory|Too many levels"):
        extract(archive, target)

    assert state_of(world) == before


@pytest.mark.parametrize("planted", ["link", "dangling link", "file", "folder"])
def test_m02_a_target_that_is_there_is_left_alone(world: Path, planted: str) -> None:
    archive, target = world / "archive", world / "target"
    archive.write_bytes(tar_of(FILE))
    if planted == "file":
        target.write_bytes(b"mine")
    elif planted == "folder":
        target.mkdir()
        (target / "mine").write_bytes(b"mine")
    else:
        target.symlink_to(world / "inner" if planted == "link" else world / "nowhere")
    before = state_of(world)
    with pytest.raises(DiskError, match=r"target: File exists; to unpack .*archive, free some space or choose"):
        extract(archive, target)

    assert state_of(world) == before


# --- M03: paths longer than the system resolves ---


def realpath_trick() -> bytes:
    """CVE-2025-4517: folders and links nested until `realpath` gives up, then a link that climbs out of them."""
    parts, where = [], ""
    for letter in "abcdefghijklmnop":
        folder = "d" * 247
        parts += [long_name(f"{where}{folder}"), tar_member("d", kind=b"5")]
        parts += [long_name(f"{where}{letter}"), tar_member("l", kind=b"2", link=b"d" * 100)]
        where += f"{letter}/"
    parts += [long_name(f"{where}{'l' * 254}"), tar_member("l", kind=b"2", link=b"../" * 16)]
    return tar_of(*parts, tar_member("escape", kind=b"2", link=b"l"), tar_member("escape/canary", b"dead"))


def test_m03_the_realpath_trick(world: Path) -> None:
    refuses(world, realpath_trick(), "is a symbolic link")
    refuses(world, in_gzip(realpath_trick()), "is a symbolic link")


LONG_PATHS = {
    "a long part": ("x" * 256, "longer than 255 bytes"),
    "a long part, of two bytes a letter": ("é" * 128, "longer than 255 bytes"),
    "many parts": ("x/" * 100 + "x", "more than 64 folders deep"),
    "long parts, too": ("/".join(["x" * 250] * 5), "longer than 1024 bytes"),
    "more than PATH_MAX": ("/".join(["x" * 200] * 30), "longer than 1024 bytes"),
    "a megabyte": ("x/" * 500_000, "longer than 1024 bytes"),
    "climbing at the end": ("x/" * 3000 + "../" * 3001 + "canary", "longer than 1024 bytes"),
}


@pytest.mark.parametrize(("path", "cause"), LONG_PATHS.values(), ids=LONG_PATHS)
def test_m03_paths_over_the_limits(world: Path, path: str, cause: str) -> None:
    refuses(world, tar_of(FILE, long_name(path), tar_member("x")), cause)
    refuses(world, in_gzip(tar_of(FILE, pax(path=path), tar_member("x"))), cause)
    if len(path) < 0xFFFF:
        refuses(world, zip_of(Zipped(), Zipped(name=path.encode(), flags=1 << 11)), cause)


# --- M04: what is no file or folder ---

KINDS = {
    b"3": "a character device", b"4": "a block device", b"6": "a named pipe", b"S": "a sparse file",
    b"7": "unknown kind b'7'", b"D": "unknown kind b'D'", b"M": "unknown kind b'M'", b"N": "unknown kind b'N'",
    b"V": "unknown kind b'V'", b"X": "unknown kind b'X'", b"A": "unknown kind b'A'", b"s": "unknown kind b's'",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=bytes.decode)
def test_m04_kinds_of_members_in_a_tar(world: Path, kind: bytes) -> None:
    refuses(world, tar_of(FILE, tar_member("x", kind=kind)), f"member 'x' is {'of the ' * ('unk' in KINDS[kind])}")
    refuses(world, in_gzip(tar_of(FILE, tar_member("x", b"content", kind=kind))), KINDS[kind])


@pytest.mark.parametrize(
    "kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK], ids=["char", "block", "pipe", "socket"]
)
def test_m04_kinds_of_members_in_a_zip(world: Path, kind: int) -> None:
    refuses(world, zip_of(Zipped(), Zipped(name=b"x", mode=kind | 0o644)), "is a device, a pipe or a socket")


SPARSE = {
    "0.0": {"GNU__sparse__size": "9", "GNU__sparse__numblocks": "1", "GNU__sparse__offset": "0"},
    "0.1": {"GNU__sparse__size": "9", "GNU__sparse__map": "0,9", "GNU__sparse__name": "../x"},
    "1.0": {"GNU__sparse__major": "1", "GNU__sparse__minor": "0", "GNU__sparse__realsize": "1000000000000"},
}


@pytest.mark.parametrize("records", SPARSE.values(), ids=SPARSE)
def test_m04_sparse_members_of_pax(world: Path, records: dict[str, str]) -> None:
    refuses(world, tar_of(pax(**records), tar_member("x", GRAPH)), "a sparse file")
    refuses(world, tar_of(pax(b"g", **records), tar_member("x", GRAPH)), "a sparse file")


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1777, 0o7777, 0o000])
def test_m04_modes_are_not_taken_over(world: Path, mode: int) -> None:
    for number, data in enumerate(
        [tar_of(tar_member("x", GRAPH, mode=mode)), zip_of(Zipped(name=b"x", mode=0o100000 | mode))]
    ):
        (world / "archive").write_bytes(data)
        extract(world / "archive", world / f"target{number}")
        assert stat.S_IMODE((world / f"target{number}" / "x").stat().st_mode) & ~0o644 == 0


@pytest.mark.parametrize("data", [b"content", bytes(512)])
def test_m04_folders_with_content(world: Path, data: bytes) -> None:
    refuses(world, tar_of(FILE, tar_member("x/", data, kind=b"5")), "is a folder, yet has content")
    refuses(world, tar_of(FILE, tar_member("x/", data, kind=b"\0")), "is a folder, yet has content")
    refuses(world, zip_of(Zipped(name=b"x/", data=data)), "is a folder, yet has content")
    refuses(world, zip_of(Zipped(name=b"x/", data=data, local={"unpacked": 0}, central={"unpacked": 0})), "holds more")
    refuses(world, zip_of(Zipped(name=b"x", mode=0o040755)), "is a folder by its mode, not by its name")


# --- M05: bombs ---

ZEROS = bytes(16 * MIB)  # packs a thousandfold: 16 KiB, which may become 2.6 MiB


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes lay in each folder that was removed."""
    seen, remove = [], shutil.rmtree

    def watched(folder: Path, ignore_errors: bool = False) -> None:
        seen.append(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
        remove(folder, ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", watched)
    return seen


BOMBS = {
    "tar": in_gzip(tar_of(tar_member("x", ZEROS))),
    "tar, many files": in_gzip(tar_of(*(tar_member(f"{number}", bytes(MIB)) for number in range(16)))),
    "zip": zip_of(Zipped(data=ZEROS)),
    "zip, many files": zip_of(*(Zipped(name=b"%d" % number, data=bytes(MIB)) for number in range(16))),
    "zip that claims little": zip_of(Zipped(data=ZEROS, local={"unpacked": 100}, central={"unpacked": 100})),
    "zip that claims 1 MiB": zip_of(Zipped(data=ZEROS, local={"unpacked": MIB}, central={"unpacked": MIB})),
    "zip that claims 1 MiB later": zip_of(
        Zipped(data=ZEROS, flags=8, local={"crc": 0, "packed": 0, "unpacked": 0}, central={"unpacked": MIB},
               after=struct.pack("<3L", zlib.crc32(ZEROS), len(raw_deflate(ZEROS)), MIB)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_m05_bombs_are_stopped_by_what_really_comes(world: Path, written: list[int], name: str) -> None:
    data = BOMBS[name]
    most = {"zip that claims little": 100}.get(name, MIB if "claims" in name else 100 * len(data) + MIB)

    tracemalloc.start()
    try:
        refuses(world, data, f"more than the {most:,} bytes")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(written) == 2  # `refuses` unpacks twice
    assert max(written) <= most
    assert peak < 4 * MIB


@pytest.mark.parametrize("pack", [tar_of, lambda data: in_gzip(tar_of(data))], ids=["tar", "tar.gz"])
def test_m05_more_than_the_absolute_limit(world: Path, pack: Callable[[bytes], bytes]) -> None:
    data = pack(tar_member("x", random.Random(1).randbytes(3000)))
    refuses(world, data, "unpacks to more than the 2,000 bytes allowed", limits=Limits(bytes=2000))


def test_m05_more_than_the_absolute_limit_in_a_zip(world: Path) -> None:
    data = zip_of(Zipped(), Zipped(name=b"x", data=random.Random(1).randbytes(3000)))
    refuses(world, data, "unpacks to more than the 2,000 bytes allowed", limits=Limits(bytes=2000))


def test_m05_zeros_without_end_behind_the_end_mark(world: Path) -> None:
    refuses(world, in_gzip(tar_of(FILE) + ZEROS), "unpacks to more than")


def test_m05_more_members_than_allowed(world: Path) -> None:
    limits = Limits(members=20)
    paths = [f"{number}" for number in range(21)]
    refuses(world, tar_of(*map(tar_member, paths)), "more than 20 files and folders", limits=limits)
    refuses(world, tar_of(*(tar_member(path, kind=b"5") for path in paths)), "more than 20 files", limits=limits)
    refuses(world, zip_of(*(Zipped(name=path.encode()) for path in paths)), "more than 20 files", limits=limits)
    # folders that no member is, only parts of paths
    deep = "/".join("abcdefghijklmnopqrst")
    refuses(world, tar_of(tar_member(f"{deep}/x")), "more than 20 files and folders", limits=limits)
    refuses(world, zip_of(Zipped(name=f"{deep}/x".encode())), "more than 20 files and folders", limits=limits)


def test_m05_as_many_members_as_allowed_are_unpacked(world: Path) -> None:
    (world / "archive").write_bytes(tar_of(*(tar_member(f"{number}") for number in range(20))))

    assert len(extract(world / "archive", world / "target", Limits(members=20))) == 20


def test_m05_more_members_than_usual(world: Path) -> None:
    data = in_gzip(b"".join(tar_header(f"{number}", kind=b"5") for number in range(10_001)) + bytes(1024))
    (world / "archive").write_bytes(data)
    with pytest.raises(UnsafeFileError, match="more than 10,000 files and folders"):
        extract(world / "archive", world / "target", Limits(ratio=10_000))
    assert not (world / "target").exists()


INNER = {
    "zip": zip_of(Zipped()),
    "empty zip": zip_of(),
    "spanned zip": b"PK\7\x08" + zip_of(Zipped()),
    "gzip": in_gzip(b"weights"),
    "bzip2": b"BZh91AY&SY" + bytes(20),
    "empty bzip2": b"BZh9\x17\x72\x45\x38\x50\x90" + bytes(4),
    "xz": b"\xfd7zXZ\0" + bytes(20),
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(20),
    "tar": tar_of(FILE),
    "gnu tar": tar_of(tar_member("x", magic=b"ustar  \0")),
}


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
def test_m05_archives_in_archives(world: Path, inner: bytes) -> None:
    name = "weights.npz" if inner[:2] != b"PK" else "weights.bin"
    refuses(world, tar_of(FILE, tar_member(name, inner)), f"member '{name}' is an archive or compressed file itself")
    refuses(world, in_gzip(tar_of(FILE, tar_member(name, inner))), "is an archive or compressed file itself")
    refuses(world, zip_of(Zipped(), Zipped(name=name.encode(), data=inner)), "compressed file itself")
    refuses(world, zip_of(Zipped(), Zipped(name=name.encode(), data=inner, method=0)), "compressed file itself")


HEADER_BOMBS = {
    "pax": tar_member("x", bytes(64 * MIB), b"x"),
    "pax for all": tar_member("x", bytes(64 * MIB), b"g"),
    "long name": tar_member("x", b"x" * 64 * MIB, b"L"),
    "claimed pax": tar_header("x", kind=b"x", size_field=b"\x80" + (1 << 80).to_bytes(11, "big")),
    "claimed long name": tar_header("x", 0o77777777777, b"L"),
    "many pax for all": pax(b"g", comment="x" * MIB) * 9,
}


@pytest.mark.parametrize("bomb", HEADER_BOMBS.values(), ids=HEADER_BOMBS)
def test_m05_bombs_in_headers_are_not_read_into_memory(world: Path, bomb: bytes) -> None:
    refuses_in_little_memory(world, in_gzip(tar_of(bomb, FILE)), 12 * MIB)


def test_m05_many_small_headers(world: Path) -> None:
    refuses(world, tar_of(pax(b"g", comment="x") * 8, FILE), "8 extension headers or more stand before one member")
    parts = [pax(comment="x" * 1000) + tar_member(f"{number}") for number in range(30)]
    refuses(world, tar_of(*parts), "extension headers hold more than the 20,000 bytes", limits=Limits(metadata=20_000))


def test_m05_a_huge_directory_of_a_zip_is_not_read_into_memory(world: Path) -> None:
    data = zip_of(Zipped(name=b"x" * 60_000), Zipped())
    refuses(world, data, "its directory claims more than the 50,000 bytes", limits=Limits(metadata=50_000))
    claims = zip_of(Zipped(), wide={"size": 1 << 62}, size=0xFFFFFFFF)
    refuses_in_little_memory(world, claims, 2 * MIB)


def refuses_in_little_memory(world: Path, data: bytes, most: int) -> None:
    (world / "archive").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(UnsafeFileError):
            extract(world / "archive", world / "target")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most
    assert not (world / "target").exists()


def test_m05_a_process_with_little_memory_survives_bombs(world: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from zoo.errors import UnsafeFileError
from zoo.store.archives import Limits, extract
import hashlib, zlib
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (48 << 20), now + (48 << 20)))
for path in sys.argv[2:]:
    try:
        extract(Path(path), Path(sys.argv[1]), Limits(ratio=10_000))
    except UnsafeFileError as error:
        print(type(error).__name__)
    else:
        print("unpacked")
        __import__("shutil").rmtree(sys.argv[1])
"""
    bombs = [HEADER_BOMBS["pax"], HEADER_BOMBS["long name"], tar_member("x", bytes(64 * MIB))]
    for number, bomb in enumerate(bombs):
        (world / f"{number}").write_bytes(in_gzip(tar_of(bomb)))
    paths = [str(world / f"{number}") for number in range(len(bombs))]
    command = [sys.executable, "-c", code, str(world / "target"), *paths]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60)

    # the last is large, yet within the limits given: it goes through the same little memory
    assert child.stdout.split() == ["UnsafeFileError", "UnsafeFileError", "unpacked"], child.stderr


# --- M06: members that contradict each other or themselves ---

TWINS = {
    "duplicate": ("a/x", "a/x", "is there twice"),
    "case": ("a/Model", "a/model", "are one path"),
    "case of a folder": ("A/x", "a/y", "are one path"),
    "case folding": ("straße", "STRASSE", "are one path"),
    "unicode": ("naïve", unicodedata.normalize("NFD", "naïve"), "are one path"),
    "file, then folder": ("a", "a/b", "is both a file and a folder"),
    "folder, then file": ("a/b", "a", "is both a file and a folder"),
    "file, then folder by case": ("A", "a/b", "are one path"),
}


@pytest.mark.parametrize(("one", "other", "cause"), TWINS.values(), ids=TWINS)
def test_m06_paths_that_collide(world: Path, one: str, other: str, cause: str) -> None:
    refuses(world, tar_of(tar_member(one, b"1"), tar_member(other, b"2")), cause)
    refuses(world, in_gzip(tar_of(tar_member(one, b"1"), pax(path=other), tar_member("x", b"2"))), cause)
    refuses(world, zip_of(*(Zipped(name=name.encode(), flags=1 << 11) for name in (one, other))), cause)


def test_m06_paths_that_collide_when_tidied_and_folders_twice(world: Path) -> None:
    folder = tar_member("a/", kind=b"5")
    refuses(world, tar_of(tar_member("a"), tar_member("./a")), "is there twice")
    refuses(world, tar_of(FILE, folder, folder), "is there twice")
    refuses(world, tar_of(tar_member("./", kind=b"5"), FILE, tar_member(".", kind=b"5")), "is there twice")
    refuses(world, tar_of(folder, tar_member("a")), "is both a file and a folder")
    refuses(world, tar_of(tar_member("a"), folder), "is both a file and a folder")
    refuses(world, zip_of(Zipped(name=b"a/", data=b""), Zipped(name=b"a")), "is both a file and a folder")
    refuses(world, zip_of(Zipped(), Zipped()), "is there twice")


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "name": ({"name": b"other_model.pb"}, "contradicts the directory"),
    "longer name": ({"name": b"saved_model.pb.exe"}, "contradicts the directory"),
    "method": ({"method": 0}, "contradicts the directory"),
    "flags": ({"flags": 1 << 11}, "contradicts the directory"),
    "encrypted": ({"flags": 1}, "contradicts the directory"),
    "descriptor": ({"flags": 8}, "contradicts the directory"),
    "crc": ({"crc": 7}, "has other sizes than the directory"),
    "packed": ({"packed": 7}, "has other sizes than the directory"),
    "unpacked": ({"unpacked": 7}, "has other sizes than the directory"),
    "no sizes": ({"crc": 0, "packed": 0, "unpacked": 0}, "has other sizes than the directory"),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_m06_headers_that_contradict_the_directory(world: Path, what: str) -> None:
    told, cause = CONTRADICTIONS[what]
    refuses(world, zip_of(Zipped(local=told), Zipped(name=b"x")), cause)
    own = {"method": "is stored, yet has two sizes", "encrypted": "is encrypted"}  # faults without comparing
    refuses(world, zip_of(Zipped(central=told), Zipped(name=b"x")), own.get(what, cause))
    refuses(world, zip_of(Zipped(name=b"x"), Zipped(local=told)), cause)


def test_m06_members_that_overlap(world: Path) -> None:
    one, other = Zipped(name=b"a"), Zipped(name=b"b")
    body = len(one.local_header() + one.content())
    cause = "overlaps the next one"
    refuses(world, zip_of(one, Zipped(name=b"a", central={"offset": 0})), cause)
    refuses(world, zip_of(one, Zipped(name=b"b", central={"offset": body - 1})), cause)
    refuses(world, zip_of(one, Zipped(name=b"b", central={"offset": 10})), cause)
    refuses(world, zip_of(one, Zipped(name=b"b", central={"packed": 5000})), cause)
    quoted = Zipped(name=b"outer", data=other.local_header() + other.content(), method=0)  # David Fifield's bomb
    inside = len(quoted.local_header())
    refuses(world, zip_of(quoted, Zipped(name=b"b", central={"offset": inside}), gap=b""), cause)


def test_m06_members_out_of_bounds(world: Path) -> None:
    last = Zipped(name=b"b")
    refuses(world, zip_of(Zipped(), Zipped(name=b"b", central={"offset": 1 << 31})), "lies outside of the zip")
    wide = {"offset": 0xFFFFFFFF, "extra": zip64((1 << 64) - 1)}
    refuses(world, zip_of(Zipped(), Zipped(name=b"b", central=wide)), "lies outside of the zip")
    huge = {"packed": 0xFFFFFFFF, "extra": zip64((1 << 64) - 1)}
    refuses(world, zip_of(Zipped(), Zipped(name=b"b", central=huge)), "overlaps the next one")
    refuses(world, zip_of(Zipped(), last, offset=1 << 31), "its directory does not lie where")
    refuses(world, zip_of(Zipped(), last, size=1), "its directory does not lie where")
    refuses(world, zip_of(Zipped(), last, size=1 << 31), "its directory claims more than")


def test_m06_tar_members_with_two_paths_or_sizes(world: Path) -> None:
    refuses(world, tar_of(pax(size="1024"), tar_member("x", bytes(512))), "has two sizes, 512 and 1,024 bytes")
    refuses(world, tar_of(long_name("a"), long_name("b"), tar_member("x")), "tell the path of a member twice")
    refuses(world, tar_of(pax(path="a"), long_name("b"), tar_member("x")), "tell the path of a member twice")
    twice = tar_member("x", pax_record("path", "a") + pax_record("path", "b"), b"x")
    refuses(world, tar_of(twice, tar_member("x")), "tells the path of a member twice")
    refuses(world, tar_of(tar_member("x", size_field=b"\xff" * 12)), "negative or absurd number")


# --- M07: encryption, zip64 that lies, data where none may be ---

ENCRYPTED = {
    "traditional": ({"flags": 1}, "is encrypted"),
    "strong": ({"flags": 1 << 6 | 1}, "is encrypted"),
    "masked headers": ({"flags": 1 << 13}, "is encrypted"),
    "AES": ({"method": 99, "packed": GRAPH}, "is packed by method 99"),
    "bzip2": ({"method": 12, "packed": GRAPH}, "is packed by method 12"),
    "LZMA": ({"method": 14, "packed": GRAPH}, "is packed by method 14"),
    "deflate64": ({"method": 9, "packed": GRAPH}, "is packed by method 9"),
    "patch data": ({"flags": 1 << 5}, "has unknown flags (0x0020)"),
    "unknown flag": ({"flags": 1 << 15}, "has unknown flags (0x8000)"),
}


@pytest.mark.parametrize(("fields", "cause"), ENCRYPTED.values(), ids=ENCRYPTED)
def test_m07_encryption_and_unknown_methods(world: Path, fields: dict[str, Any], cause: str) -> None:
    refuses(world, zip_of(Zipped(name=b"x"), Zipped(**fields)), cause)


WIDE = 0xFFFFFFFF
WIDE_TOLD = {"unpacked": WIDE, "extra": zip64(1 << 60)}
FEW, MANY = "holds less than the end record says", "holds more than the end record says"
RECORDS, PLACE = "contradict each other", "its directory does not lie where the end record says"
FIELD = "the zip64 field of member 'saved_model.pb' does not hold the sizes that it should"
WIDE_LIES = {
    "members": (zip_of(Zipped(), wide={"count": 2}, count=0xFFFF), FEW),
    "contradicting members": (zip_of(Zipped(), wide={"count": 2}), RECORDS),
    "no members": (zip_of(Zipped(), wide={"count": 0}, count=0xFFFF), MANY),
    "2**64 - 1 members": (zip_of(Zipped(), wide={"count": (1 << 64) - 1}, count=0xFFFF), "more than 10,000 files"),
    "offset": (zip_of(Zipped(), wide={"offset": 0}, offset=WIDE), PLACE),
    "contradicting offset": (zip_of(Zipped(), wide={"offset": 0}), RECORDS),
    "huge offset": (zip_of(Zipped(), wide={"offset": (1 << 64) - 1}, offset=WIDE), PLACE),
    "size": (zip_of(Zipped(), wide={"size": 1}, size=WIDE), PLACE),
    "place of the record": (zip_of(Zipped(), wide={"at": 0}), "does not lie where its locator says"),
    "huge place of the record": (zip_of(Zipped(), wide={"at": (1 << 64) - 1}), "does not lie where its locator says"),
    "longer record": (zip_of(Zipped(), wide={"length": 60}), "its zip64 end record is none"),
    "no record": (zip_of(Zipped(), wide={"magic": 0}), "its zip64 end record is none"),
    "missing record": (zip_of(Zipped(), count=0xFFFF), "more than 10,000 files"),
    "missing field": (zip_of(Zipped(central={"unpacked": WIDE})), FIELD),
    "short field": (zip_of(Zipped(central={"unpacked": WIDE, "packed": WIDE, "extra": zip64(9)})), FIELD),
    "long field": (zip_of(Zipped(central={"unpacked": WIDE, "extra": zip64(9, 9, 9)})), FIELD),
    "field of no use": (zip_of(Zipped(central={"extra": zip64(1 << 60)})), FIELD),
    "field of no use before the data": (zip_of(Zipped(local={"extra": zip64(1 << 60)})), FIELD),
    "two fields": (zip_of(Zipped(central={"unpacked": WIDE, "extra": zip64(9) + zip64(10)})), "has two zip64 fields"),
    "2**60 bytes": (zip_of(Zipped(local=WIDE_TOLD, central=WIDE_TOLD)), "unpacks to more than"),
    "2**60 bytes, stored": (zip_of(Zipped(method=0, central=WIDE_TOLD)), "is stored, yet has two sizes"),
    "a byte more": (
        zip_of(Zipped(local={"unpacked": 10}, central={"unpacked": WIDE, "extra": zip64(10)})),
        "holds 9 bytes and claims 10",
    ),
    "a byte less": (
        zip_of(Zipped(local={"unpacked": 8}, central={"unpacked": WIDE, "extra": zip64(8)})),
        "holds more than the 8 bytes that it claims",
    ),
    "another size before the data": (
        zip_of(Zipped(local={"unpacked": WIDE, "extra": zip64(8)})),
        "has other sizes than the directory",
    ),
}


@pytest.mark.parametrize(("data", "cause"), WIDE_LIES.values(), ids=WIDE_LIES)
def test_m07_zip64_that_lies(world: Path, data: bytes, cause: str) -> None:
    refuses(world, data, cause)


HIDDEN = {
    "after a zip": (zip_of(Zipped()) + b"x", "follows the end of the zip"),
    "after a zip, zeros": (zip_of(Zipped()) + bytes(1000), "follows the end of the zip"),
    "another zip after a zip": (zip_of(Zipped()) * 2, "does not lie where"),
    "before a zip": (b"#!/bin/sh\n" + zip_of(Zipped()), "stands before the zip"),
    "before a zip, well counted": (zip_of(Zipped(), before=b"#!/bin/sh\n"), "stands before the zip"),
    "before a zip, like one": (zip_of(Zipped(), before=b"PK\3\4" + bytes(30)), "before the first member"),
    "between members": (zip_of(Zipped(after=b"gap"), Zipped(name=b"x")), "unknown data follows"),
    "a descriptor of no use": (zip_of(Zipped(after=struct.pack("<3L", 0, 0, 0))), "unknown data follows"),
    "a wrong descriptor": (zip_of(Zipped(flags=8, after=struct.pack("<3L", 1, 2, 3))), "unknown data follows"),
    "no descriptor": (zip_of(Zipped(flags=8)), "unknown data follows"),
    "before the directory": (zip_of(Zipped(), gap=b"gap"), "unknown data follows"),
    "a hidden member": (zip_of(Zipped(), gap=Zipped(name=b"x").local_header() + GRAPH), "unknown data follows"),
    "in the directory": (zip_of(Zipped(), Zipped(name=b"x"), count=1), "holds more than the end record says"),
    "too few members": (zip_of(Zipped(), count=2), "holds less than the end record says"),
    "several disks": (zip_of(Zipped(), disk=1), "over several disks"),
    "counts that differ": (zip_of(Zipped(), here=0), "over several disks"),
    "a member on another disk": (zip_of(Zipped(central={"disk": 1})), "lies on another disk"),
    "an end record in the comment": (zip_of(Zipped(), comment=zip_of()), "does not lie where"),
    "after deflated data": (zip_of(Zipped(packed=raw_deflate(GRAPH) + b"hidden")), "other data follows member"),
    "only hidden members": (zip_of(gap=Zipped().local_header()), "before the first member"),
    "after gzip": (in_gzip(tar_of(FILE)) + b"x", "other data follows the gzip stream"),
    "zeros after gzip": (in_gzip(tar_of(FILE)) + bytes(512), "other data follows the gzip stream"),
    "another gzip": (in_gzip(tar_of(FILE)) * 2, "other data follows the gzip stream"),
    "gzip far behind": (in_gzip(tar_of(FILE)) + bytes(300_000), "other data follows the gzip stream"),
    "after a tar": (tar_of(FILE) + b"x", "follows the end of the tar"),
    "another tar": (tar_of(FILE) * 2, "follows the end of the tar"),
    "far after a tar": (in_gzip(tar_of(FILE) + bytes(400_000) + b"x"), "follows the end of the tar"),
}


@pytest.mark.parametrize(("data", "cause"), HIDDEN.values(), ids=HIDDEN)
def test_m07_data_where_none_may_be(world: Path, data: bytes, cause: str) -> None:
    refuses(world, data, cause)


# --- damaged archives ---

ORDINARY = {
    "tar": tar_of(*(tar_member(f"./{name}", data) for name, data in MODEL.items())),
    "zip": zip_of(*(Zipped(name=name.encode(), data=data, flags=1 << 11) for name, data in MODEL.items())),
    "stored zip": zip_of(
        *(Zipped(name=name.encode(), data=data, flags=1 << 11, method=0) for name, data in MODEL.items())
    ),
}
ORDINARY["tar.gz"] = in_gzip(ORDINARY["tar"])


@pytest.mark.parametrize("percent", [0, 10, 50, 99])
@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY)
def test_truncated_archives(world: Path, data: bytes, percent: int) -> None:
    refuses(world, data[: len(data) * percent // 100], "", IntegrityError)


@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY)
def test_archives_without_their_last_byte(world: Path, data: bytes) -> None:
    refuses(world, data[:-1], "cut short", IntegrityError)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("data", [ORDINARY["tar.gz"], ORDINARY["stored zip"]], ids=["tar.gz", "zip"])
def test_flipped_bits_in_content(world: Path, data: bytes, place: float) -> None:
    at = int(len(data) * place)
    refuses(world, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "damaged", IntegrityError)


DAMAGED = {
    "gzip's checksum": (ORDINARY["tar.gz"][:-8] + bytes(8), "the gzip stream is damaged"),
    "a header's checksum": (tar_of(FILE, tar_member("x").replace(b"x", b"y", 1)), "wrong checksum"),
    "no number": (tar_of(tar_member("x", size_field=b"9999\0\0\0\0\0\0\0\0")), "no number where one should be"),
    "no end mark": (FILE, "cut short in the midst"),
    "half an end mark": (FILE + bytes(512), "cut short in its end mark"),
    "an odd end mark": (FILE + bytes(1025), "cut short in its end mark"),
    "an extension for nothing": (tar_of(pax(path="x")), "ends behind an extension header"),
    "pax without a length": (tar_of(tar_member("x", b"path=x\n", b"x"), FILE), "a pax header is damaged"),
    "pax too long": (tar_of(tar_member("x", b"99 path=x\n", b"x"), FILE), "a pax header is damaged"),
    "pax length 0": (tar_of(tar_member("x", b"0 path=x\n", b"x"), FILE), "a pax header is damaged"),
    "pax without =": (tar_of(tar_member("x", b"7 path\n", b"x"), FILE), "a pax header is damaged"),
    "pax size": (tar_of(pax(size="-5"), FILE), "no number for a size"),
    "no file in a tar": (tar_of(tar_member("x/", kind=b"5")), "it holds no file"),
    "no file in a zip": (zip_of(), "it holds no file"),
    "crc in a zip": (zip_of(Zipped(local={"crc": 7}, central={"crc": 7})), "is damaged (wrong checksum)"),
    "deflate in a zip": (zip_of(Zipped(packed=b"\xff\xff\xff")), "member 'saved_model.pb' is damaged"),
    "short deflate": (zip_of(Zipped(packed=raw_deflate(GRAPH)[:-3])), "member 'saved_model.pb' is cut short"),
    "directory of a zip": (zip_of(Zipped()).replace(b"PK\1\2", b"PK\1\3"), "its directory is damaged"),
    "extra field": (
        zip_of(Zipped(central={"extra": b"UT\x50\0abc"})),
        "the extra field of member 'saved_model.pb' is damaged",
    ),
    "a web page": (b"<html>sign in to this network</html>" * 50, "expected a tar, a gzipped tar or a zip"),
    "random": (random.Random(3).randbytes(5000), "found something else"),
    "gzip of no tar": (in_gzip(b"text" * 500), "found gzip with no tar in it"),
    "bzip2": (b"BZh91AY&SY" + bytes(99), "found bzip2"),
    "empty": (b"", "found something else"),
}


@pytest.mark.parametrize(("data", "cause"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_archives(world: Path, data: bytes, cause: str) -> None:
    refuses(world, data, cause, IntegrityError)


def test_an_archive_that_shrinks_while_it_is_read(world: Path) -> None:
    class Cutting(Silent):
        def start(self, total: int | None, unit: str) -> None:
            os.truncate(world / "archive", 600)

    (world / "archive").write_bytes(ORDINARY["tar"])
    with pytest.raises(IntegrityError, match="it ends at byte 600, in the midst"):
        extract(world / "archive", world / "target", progress=Cutting())
    assert not (world / "target").exists()


# --- the disk, and being stopped ---


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root, where mounting is allowed, can make a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY)
def test_a_full_disk_is_a_disk_error_that_leaves_nothing(world: Path, small_disk: Path, data: bytes) -> None:
    archive = world / "archive"
    archive.write_bytes(data)  # 700 KB
    before = open_descriptors()
    for _ in range(2):
        with pytest.raises(DiskError, match=r"data-00000-of-00001: No space left on device; to unpack .*archive, free"):
            extract(archive, small_disk / "target")
        assert list(small_disk.iterdir()) == []
    assert open_descriptors() == before


@pytest.mark.parametrize("code", [errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_fails_to_flush_is_a_disk_error(world: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    (world / "archive").write_bytes(ORDINARY["zip"])
    before = state_of(world)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskError, match="Cannot write .*target") as caught:
        extract(world / "archive", world / "target")

    assert caught.value.exit_code == 6
    assert state_of(world) == before


def test_an_archive_that_cannot_be_read_is_a_disk_error(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (world / "archive").write_bytes(ORDINARY["tar"])
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(DiskError, match="Cannot read .*archive: Input/output error; check"):
        extract(world / "archive", world / "target")


def test_a_parent_that_is_missing_is_a_disk_error(world: Path) -> None:
    (world / "archive").write_bytes(ORDINARY["tar"])
    with pytest.raises(DiskError, match="No such file or directory"):
        extract(world / "archive", world / "none" / "target")


def test_refusals_leak_no_descriptor(world: Path) -> None:
    bad = [tar_of(FILE, *LINKS["symbolic"]), in_gzip(tar_of(FILE))[:-9], zip_of(Zipped(), Zipped()), b"", BOMBS["zip"]]
    before = open_descriptors()
    for data in bad:
        (world / "archive").write_bytes(data)
        with pytest.raises(ZooError):
            extract(world / "archive", world / "target")
    assert open_descriptors() == before


def test_an_interruption_leaves_nothing(world: Path) -> None:
    class Interrupting(Silent):
        def advance(self, n: int, **figures: float) -> None:
            raise KeyboardInterrupt

    (world / "archive").write_bytes(ORDINARY["zip"])
    before = state_of(world)
    with pytest.raises(KeyboardInterrupt):
        extract(world / "archive", world / "target", progress=Interrupting())

    assert state_of(world) == before


@pytest.mark.parametrize("kill_at", [1, 3, 6])  # flushes of 5 files, then of folders
@pytest.mark.parametrize("data", [ORDINARY["tar.gz"], ORDINARY["zip"]], ids=["tar.gz", "zip"])
def test_a_killed_process_leaves_its_own_folder_alone(world: Path, data: bytes, kill_at: int) -> None:
    archive, target = world / "archive", world / "target"
    archive.write_bytes(data)
    before = state_of(world)
    code = """
import os, signal, sys
from pathlib import Path
from zoo.store.archives import extract
calls, flush = 0, os.fsync
def fsync(descriptor):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    flush(descriptor)
os.fsync = fsync
extract(Path(sys.argv[1]), Path(sys.argv[2]))
"""
    command = [sys.executable, "-c", code, str(archive), str(target), str(kill_at)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert child.returncode == -signal.SIGKILL, child.stderr
    after = {name: state for name, state in state_of(world).items() if name.partition("/")[0] != "target"}
    assert after == before
    assert target.is_dir()
    unpacks(world, data, MODEL)  # as if nothing had been


# --- random damage ---

SMALL = {
    "tar": tar_of(pax(path="a/long"), tar_member("x", b"1"), tar_member("./b", GRAPH), tar_member("c/", kind=b"5")),
    "zip": zip_of(
        Zipped(), Zipped(name=b"a/stored", method=0), Zipped(name=b"b/", data=b""),
        Zipped(name=b"c", flags=8, local={"crc": 0, "packed": 0, "unpacked": 0},
               after=struct.pack("<3L", zlib.crc32(GRAPH), len(raw_deflate(GRAPH)), len(GRAPH))),
        wide={}, count=0xFFFF,
    ),
}  # fmt: skip
SMALL["tar.gz"] = in_gzip(SMALL["tar"])
EXPECTED = {"tar": {"a/long", "b"}, "tar.gz": {"a/long", "b"}, "zip": {"saved_model.pb", "a/stored", "c"}}


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """Some bytes changed, cut out, put in or doubled; of a gzipped tar also those inside."""
    kind = draw(st.sampled_from(sorted(SMALL)))
    inside = kind == "tar.gz" and draw(st.booleans())
    data = bytearray(SMALL["tar" if inside else kind])
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 8))
        what = draw(st.sampled_from(["set", "cut", "insert", "double"]))
        new = draw(st.binary(min_size=length, max_size=length)) if what in ("set", "insert") else b""
        if what == "double":
            new = bytes(data[at : at + length]) * 2
        data[at : at + (0 if what == "insert" else length)] = new
    return kind, in_gzip(bytes(data)) if inside else bytes(data)


@settings(max_examples=400, deadline=None)
@given(damaged())
def test_random_damage_is_found_or_harmless(case: tuple[str, bytes]) -> None:
    kind, data = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "archive").write_bytes(data)
        with contextlib.suppress(UnsafeFileError, IntegrityError):
            members = extract(folder / "archive", folder / "target")
            assert {member.path: member.sha256 for member in members} == {
                path: hashlib.sha256((folder / "target" / path).read_bytes()).hexdigest()
                for path in (member.path for member in members)
            }
            if data == SMALL[kind]:
                assert {member.path for member in members} == EXPECTED[kind]
        assert {path.name for path in folder.iterdir()} <= {"archive", "target"}
