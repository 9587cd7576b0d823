"""Picture formats: which are decoded, how their first bytes look, and which names claim to be one."""

from __future__ import annotations

import struct
from collections.abc import Callable

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
CLAIMING = SUFFIXES | {
    ".apng", ".avif", ".dib", ".eps", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jxl", ".pbm", ".pnm", ".psd", ".tga",
}  # fmt: skip
"""Suffixes of files that are pictures, or broken: not files that only lie beside pictures."""

SIGNATURE_BYTES = 12

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_BITMAP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)

_CLASSES: dict[str, Callable[..., ImageFile.ImageFile]] = {
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}


def picture_format(head: bytes) -> str | None:
    """Returns the format that a file's first bytes are of, as Pillow calls it; None for none of `FORMATS`.

    >>> picture_format(b"GIF89a..."), picture_format(b"%PDF-1.7")
    ('GIF', None)
    """
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            return name
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b" ", b"\t", b"\n", b"\r", b"#"):
        return "PPM"
    return "BMP" if _is_bitmap(head) else None


def _is_bitmap(head: bytes) -> bool:
    """Returns whether a file begins as a bitmap: "BM" alone begins many a text."""
    if not head.startswith(b"BM"):
        return False
    return len(head) < 18 or int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS


def opened_class(format: str) -> Callable[..., ImageFile.ImageFile]:
    """Returns Pillow's class for a format; it reads the header of what it is given.

    Not `Image.open`, which loads all plug-ins, and takes a phone's JPEG with a second picture for a format of its own.
    """
    return _CLASSES[format]


def webp_size(data: bytes) -> tuple[int, int]:
    """Returns the width and height that the header of a WebP file tells.

    Format: https://developers.google.com/speed/webp/docs/riff_container
    """
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise ValueError("the file is cut short in its header")
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", body[6:10])
    return width & 0x3FFF, height & 0x3FFF
