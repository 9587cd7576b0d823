"""Pictures that can be used but are not like others, found by what is known of their files without decoding them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from zoo.data.findings import Finding, Level, Named, found_in
from zoo.data.values import median_of

if TYPE_CHECKING:
    from zoo.data.inspecting import Inspection

_BLANK = 1.5  # standard deviation in gray levels below which a picture shows nothing
_LONG = 4.0  # times as long as wide
_SMALL = 16.0  # times fewer pixels than the median
_SMALLEST = 16  # pixels of the shorter side
_SUFFIXES = {
    "BMP": {".bmp", ".dib"},
    "GIF": {".gif"},
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png", ".apng"},
    "PPM": {".ppm", ".pgm", ".pbm", ".pnm"},
    "TIFF": {".tif", ".tiff"},
    "WEBP": {".webp"},
}
_KNOWN = {suffix for suffixes in _SUFFIXES.values() for suffix in suffixes}


@dataclass(frozen=True)
class _Oddity:
    """What pictures can be: `detail` says of one how it is so, or "" where it is not."""

    kind: str
    level: Level
    one: str
    several: str
    advice: str
    detail: Callable[[str, Inspection], str]


def odd_pictures(named: Named, inspections: Sequence[Inspection]) -> list[Finding]:
    """Returns the findings about what sets some pictures apart."""
    found: list[Finding] = []
    for oddity in _oddities(inspections):
        details = [(row, oddity.detail(named.name(row), each)) for row, each in enumerate(inspections)]
        cases = tuple(named.case([row], detail) for row, detail in details if detail)
        title = f"{named.count(len(cases))} {oddity.one if len(cases) == 1 else oddity.several}"
        found += found_in(oddity.kind, oddity.level, title, oddity.advice, cases)
    return found


def _oddities(inspections: Sequence[Inspection]) -> list[_Oddity]:
    pixels = np.array([each.width * each.height for each in inspections])
    usual = float(np.median(pixels))
    median = "x".join(str(median_of([getattr(each, side) for each in inspections])) for side in ("width", "height"))

    def small(name: str, each: Inspection) -> str:
        is_small = each.width * each.height * _SMALL < usual or min(each.width, each.height) < _SMALLEST < usual**0.5
        return _size(each) if is_small else ""

    return [
        _Oddity(
            "blank", "warning", "shows hardly anything", "show hardly anything",
            "Remove them, or look what went wrong.", _blank,
        ),
        _Oddity(
            "small", "warning", "is much smaller than the others", "are much smaller than the others",
            f"Often icons or previews; the median is {median}.", small,
        ),
        _Oddity(
            "long", "warning", "is very long and narrow", "are very long and narrow",
            "Stretched to the square that most networks want, little of them is left.", _long,
        ),
        _Oddity("animated", "note", "has several frames", "have several frames", "The first frame is used.", _animated),
        _Oddity(
            "turned", "note", "is stored lying or mirrored", "are stored lying or mirrored",
            "Their EXIF orientation is applied here; other tools may ignore it.", _turned,
        ),
        _Oddity(
            "CMYK", "note", "has the colours of print (CMYK)", "have the colours of print (CMYK)",
            "They are converted without a colour profile.", lambda _, each: each.mode if each.mode == "CMYK" else "",
        ),
        _Oddity(
            "16 bit", "note", "has more than 8 bits a value", "have more than 8 bits a value",
            "They are scaled to 8 bits.", lambda _, each: each.mode if each.mode[:1] in ("I", "F") else "",
        ),
        _Oddity(
            "suffix", "note", "has the suffix of another format", "have the suffix of another format",
            "They are read as what they are; other tools may not.", _misnamed,
        ),
    ]  # fmt: skip


def _size(each: Inspection) -> str:
    return f"{each.width}x{each.height}"


def _blank(_: str, each: Inspection) -> str:
    return "nearly constant" if float(np.std(each.thumbnail)) < _BLANK else ""


def _long(_: str, each: Inspection) -> str:
    return _size(each) if max(each.width, each.height) >= _LONG * min(each.width, each.height) else ""


def _animated(_: str, each: Inspection) -> str:
    return f"{each.frames} frames" if each.frames > 1 else ""


def _turned(_: str, each: Inspection) -> str:
    return f"orientation {each.orientation}" if each.orientation not in (0, 1) else ""


def _misnamed(name: str, each: Inspection) -> str:
    suffix = PurePath(name).suffix.lower()
    return f"is {each.format}" if suffix in _KNOWN and suffix not in _SUFFIXES.get(each.format, _KNOWN) else ""
