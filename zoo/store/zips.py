"""Reads zip archives as entries. The central directory and the headers before the members must tell the same.

Readers disagree about which of the two they believe, and about bytes that neither mentions: there, hostile archives
live. So the file must be exactly: header, data (and descriptor) of each member, the directory, the end record.
Format: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.unpacking import Entry, Limits, Meter, Source, inflated, shown, tidy

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 0xFFFF
_NARROW, _NARROW_COUNT = 0xFFFFFFFF, 0xFFFF  # "see the zip64 field"
_ZIP64 = 1
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_DESCRIPTOR, _UTF8 = 1 << 3, 1 << 11
_KNOWN_FLAGS = 1 << 1 | 1 << 2 | _DESCRIPTOR | _UTF8  # the first two: how hard the packer tried


@dataclass(frozen=True)
class _Directory:
    count: int
    offset: int
    size: int


@dataclass(frozen=True)
class _Sizes:
    """A member's checksum and sizes: they stand in its header, in the directory, and maybe behind its data."""

    crc: int
    packed: int
    unpacked: int


@dataclass(frozen=True)
class _Member:
    raw_name: bytes
    flags: int
    method: int
    sizes: _Sizes
    offset: int
    mode: int

    @property
    def name(self) -> str:
        return _decoded(self.raw_name, self.flags)

    @property
    def is_folder(self) -> bool:
        return self.raw_name.endswith(b"/")


def _decoded(raw_name: bytes, flags: int) -> str:
    return raw_name.decode("utf-8", "surrogateescape") if flags & _UTF8 else raw_name.decode("cp437")


def zip_entries(source: Source, meter: Meter, limits: Limits) -> Iterator[Entry]:
    """Yields the files and folders of a zip archive, in the order in which they lie in the file.

    Nothing is unpacked before the structure of the whole archive has been found right.

    Raises:
        IntegrityError: The archive is damaged or cut short.
        UnsafeFileError: It is encrypted, contradicts itself, or has other things in it than files and folders.
    """
    directory = _directory(source, limits)
    members = _members(source, directory)
    starts = _data_starts(source, members, directory)
    meter.check(sum(member.sizes.unpacked for member in members))
    for member, start in zip(members, starts, strict=True):
        yield Entry(tidy(member.name, member.is_folder), member.is_folder, _content(source, member, start, meter))


def has_end_record(source: Source) -> bool:
    """Returns whether the file ends like a zip without a comment, whatever it begins with."""
    return source.size >= _END.size and source.read_at(source.size - _END.size, 4) == b"PK\5\6"


def _directory(source: Source, limits: Limits) -> _Directory:
    end = _end_offset(source)
    _, disk, first_disk, *narrow, _ = _END.unpack(source.read_at(end, _END.size))
    values = tuple(narrow)
    if wide := _wide_end(source, end):
        end, disk, first_disk, *values_64 = wide
        for value, wide_value, missing in zip(values, values_64, (_NARROW_COUNT,) * 2 + (_NARROW,) * 2, strict=True):
            if value not in (wide_value, missing):
                raise UnsafeFileError("its end record and its zip64 end record contradict each other")
        values = tuple(values_64)
    here, count, size, offset = values
    if disk or first_disk or here != count:
        raise UnsafeFileError("it is a part of a zip over several disks")
    if count > limits.members:
        raise UnsafeFileError(f"it holds more than {limits.members:,} files and folders")
    Meter(limits.metadata, "its directory claims").count(size)
    if offset + size != end:
        raise UnsafeFileError("its directory does not lie where the end record says, right before it")
    return _Directory(count, offset, size)


def _end_offset(source: Source) -> int:
    start = max(0, source.size - _END.size - _LONGEST_COMMENT)
    tail = source.read_at(start, source.size - start)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or found + _END.size > len(tail):
        raise IntegrityError("it has no zip end record: it is cut short, or other data follows")
    stop = found + _END.size + int.from_bytes(tail[found + 20 : found + 22], "little")
    if stop > len(tail):
        raise IntegrityError("it is cut short in its last comment")
    if stop < len(tail):
        raise UnsafeFileError("other data follows the end of the zip")
    return start + found


def _wide_end(source: Source, end: int) -> tuple[int, ...] | None:
    """Returns where the zip64 end record lies, if there is one, and its two disks, two counts, size and offset."""
    at = end - _LOCATOR.size
    if at < 0:
        return None
    magic, disk, offset, disks = _LOCATOR.unpack(source.read_at(at, _LOCATOR.size))
    if magic != b"PK\6\7":
        return None
    if disk or disks > 1 or offset + _END64.size != at:
        raise UnsafeFileError("its zip64 end record does not lie where its locator says")
    magic, length, _, _, *values = _END64.unpack(source.read_at(offset, _END64.size))
    if magic != b"PK\6\6" or length != _END64.size - 12:
        raise UnsafeFileError("its zip64 end record is none")
    return offset, *values


def _members(source: Source, directory: _Directory) -> list[_Member]:
    """Returns the members as the central directory tells them, in the order of their places in the file."""
    data = source.read_at(directory.offset, directory.size)
    members, position = [], 0
    for _ in range(directory.count):
        if position == len(data):
            raise UnsafeFileError("its directory holds less than the end record says")
        member, position = _central_member(data, position)
        members.append(member)
    if position != len(data):
        raise UnsafeFileError("its directory holds more than the end record says")
    return sorted(members, key=lambda member: member.offset)


def _central_member(data: bytes, position: int) -> tuple[_Member, int]:
    fields = data[position : position + _CENTRAL.size]
    if len(fields) < _CENTRAL.size or not fields.startswith(b"PK\1\2"):
        raise IntegrityError("its directory is damaged")
    (_, _, _, flags, method, _, _, crc, packed, unpacked, name_size, extra_size, comment_size, disk, _, attributes,
     offset) = _CENTRAL.unpack(fields)  # fmt: skip
    name_at = position + _CENTRAL.size
    extra_at = name_at + name_size
    stop = extra_at + extra_size + comment_size
    if stop > len(data):
        raise IntegrityError("its directory is damaged")
    name, extra = data[name_at:extra_at], data[extra_at : extra_at + extra_size]
    unpacked, packed, offset = _widened((unpacked, packed, offset), extra, _decoded(name, flags))
    member = _Member(name, flags, method, _Sizes(crc, packed, unpacked), offset, attributes >> 16)
    _refuse_unsafe(member, disk)
    return member, stop


def _refuse_unsafe(member: _Member, disk: int) -> None:
    kind = stat.S_IFMT(member.mode)
    faults = {
        "is encrypted": member.flags & _ENCRYPTED,
        f"has unknown flags ({member.flags:#06x})": member.flags & ~_KNOWN_FLAGS,
        f"is packed by method {member.method}, neither stored nor deflated": member.method not in (_STORED, _DEFLATED),
        "is a symbolic link": kind == stat.S_IFLNK,
        f"is a device, a pipe or a socket (mode {member.mode:#o})": kind not in (0, stat.S_IFREG, stat.S_IFDIR),
        "is a folder by its mode, not by its name": kind == stat.S_IFDIR and not member.is_folder,
        "is a folder, yet has content": member.is_folder and member.sizes.unpacked,
        "is stored, yet has two sizes": member.method == _STORED and member.sizes.packed != member.sizes.unpacked,
        "lies on another disk": disk,
    }
    if fault := next((fault for fault, is_there in faults.items() if is_there), None):
        raise UnsafeFileError(f"member {shown(member.name)} {fault}")


def _widened(values: tuple[int, ...], extra: bytes, name: str) -> tuple[int, ...]:
    """Returns `values`, those that do not fit 32 bits taken from the zip64 part of `extra`, which holds just these."""
    missing = values.count(_NARROW)
    wide = _zip64_part(extra, name)
    if wide is None and not missing:
        return values
    if wide is None or len(wide) != 8 * missing:
        raise UnsafeFileError(f"the zip64 field of member {shown(name)} does not hold the sizes that it should")
    following = iter(struct.unpack(f"<{missing}Q", wide))
    return tuple(next(following) if value == _NARROW else value for value in values)


def _zip64_part(extra: bytes, name: str) -> bytes | None:
    """Returns what is zip64's in an extra field; fewer than four bytes at its end are padding of some writers."""
    found, at = [], 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        at += 4 + size
        if at > len(extra):
            raise IntegrityError(f"the extra field of member {shown(name)} is damaged")
        if kind == _ZIP64:
            found.append(extra[at - size : at])
    if len(found) > 1:
        raise UnsafeFileError(f"member {shown(name)} has two zip64 fields")
    return found[0] if found else None


def _data_starts(source: Source, members: list[_Member], directory: _Directory) -> list[int]:
    """Returns where each member's data begins, once members and directory are seen to fill the file without a gap."""
    stops = [*(member.offset for member in members), directory.offset]
    if stops[0] != 0:
        raise UnsafeFileError("other data stands before the first member of the zip")
    if members and members[-1].offset > directory.offset:
        raise UnsafeFileError(f"member {shown(members[-1].name)} lies outside of the zip")
    return [_data_start(source, member, stop) for member, (_, stop) in zip(members, pairwise(stops), strict=True)]


def _data_start(source: Source, member: _Member, stop: int) -> int:
    """Compares a member's own header, and the descriptor behind its data, with the directory."""
    if member.offset + _LOCAL.size > stop:
        raise UnsafeFileError(f"member {shown(member.name)} overlaps the next one")
    fields = source.read_at(member.offset, _LOCAL.size)
    magic, _, flags, method, _, _, crc, packed, unpacked, name_size, extra_size = _LOCAL.unpack(fields)
    start: int = member.offset + _LOCAL.size + name_size + extra_size
    room = stop - start - member.sizes.packed  # what is left for a descriptor
    if room < 0:
        raise UnsafeFileError(f"member {shown(member.name)} overlaps the next one")
    text = source.read_at(member.offset + _LOCAL.size, name_size + extra_size)
    unpacked, packed = _widened((unpacked, packed), text[name_size:], member.name)
    told = (magic, text[:name_size], flags, method)
    if told != (b"PK\3\4", member.raw_name, member.flags, member.method):
        raise UnsafeFileError(f"the header of member {shown(member.name)} contradicts the directory")
    _compare_sizes(_Sizes(crc, packed, unpacked), member)
    _compare_descriptor(source.read_at(stop - room, min(room, 25)), member)
    return start


def _compare_sizes(local: _Sizes, member: _Member) -> None:
    unknown = _Sizes(0, 0, 0)  # when the header was written; a descriptor tells them afterwards
    if local != member.sizes and not (member.flags & _DESCRIPTOR and local == unknown):
        raise UnsafeFileError(f"the header of member {shown(member.name)} has other sizes than the directory")


def _compare_descriptor(found: bytes, member: _Member) -> None:
    sizes = (member.sizes.crc, member.sizes.packed, member.sizes.unpacked)
    possible = [b""]
    if member.flags & _DESCRIPTOR:  # with or without its magic, narrow or wide: nothing says which
        formats = ["<LLL", "<LQQ"] if max(sizes) <= _NARROW else ["<LQQ"]
        possible = [magic + struct.pack(format, *sizes) for magic in (b"", b"PK\7\x08") for format in formats]
    if found not in possible:
        raise UnsafeFileError(f"unknown data follows member {shown(member.name)}")


def _content(source: Source, member: _Member, start: int, meter: Meter) -> Iterator[bytes]:
    import zlib  # here, for the sake of a quick import

    what = f"member {shown(member.name)}"
    pieces = source.chunks(start, member.sizes.packed)
    if member.method == _DEFLATED:
        pieces = inflated(pieces, -15, what)
    crc = total = 0
    for piece in meter.counted(pieces):
        crc, total = zlib.crc32(piece, crc), total + len(piece)
        if total > member.sizes.unpacked:
            raise UnsafeFileError(f"{what} holds more than the {member.sizes.unpacked:,} bytes that it claims")
        yield piece
    if crc != member.sizes.crc:
        raise IntegrityError(f"{what} is damaged (wrong checksum)")
    if total != member.sizes.unpacked:
        raise UnsafeFileError(f"{what} holds {total:,} bytes and claims {member.sizes.unpacked:,}")
