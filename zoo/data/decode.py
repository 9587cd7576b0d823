"""Decodes a picture file into pixels, the same way for training and predicting.

Only formats on a short list are tried, by content and not by name; the size is read from the header and capped before
a pixel is decoded. EXIF orientation is applied here and only here; transparency lies on white; 16 bits are scaled to 8.
A JPEG that is much larger than what a model looks at is reduced while it is decoded.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from zoo.data.signatures import FORMATS, SUFFIXES, opened_class, picture_format, webp_size
from zoo.data.whole_files import read_file
from zoo.errors import DataError, NotFoundError

if TYPE_CHECKING:
    from zoo.registry import InputSpec

__all__ = [
    "DECODER",
    "FORMATS",
    "MAX_PIXELS",
    "SUFFIXES",
    "DecodedColor",
    "decode_bytes",
    "decode_picture",
    "size_seen",
]

MAX_PIXELS = 100_000_000
DECODER = 1
"""The version of what is done here: another one where pictures come out otherwise."""

DecodedColor = Literal["RGB", "gray"]
Size = tuple[int, int]
"""Height and width in pixels."""

REDUCED_STILL = 2
"""How many times as large as what a model resizes to a reduced JPEG must still be, in both directions."""

_MOST_SCANS = 100  # of a JPEG; a progressive one has about ten, and each goes over the whole picture
_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")  # its marker, length and components
_BITS_PER_SAMPLE = 258  # a tag of TIFF

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)


def decode_picture(path: Path, color: DecodedColor, at_least: Size | None = None) -> NDArray[np.uint8]:
    """Returns the picture in `path` (its first frame) as uint8 [height, width, 3 (RGB) or 1 (gray)].

    Args:
        path: The file; a pipe or a device is never opened.
        color: What the channels are.
        at_least: As in `decode_bytes`.

    Raises:
        NotFoundError: There is no such file.
        DataError: It is no picture of a known format, damaged, or larger than 100 million pixels.
    """
    try:
        data = read_file(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFoundError(f"No picture {path}: {error.strerror}.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    return decode_bytes(data, color, str(path), at_least)


def decode_bytes(data: bytes, color: DecodedColor, name: str, at_least: Size | None = None) -> NDArray[np.uint8]:
    """Returns the picture (its first frame) in the bytes of a file: uint8 [height, width, 3 (RGB) or 1 (gray)].

    Args:
        data: The whole file.
        color: What the channels are.
        name: What the file is called in messages.
        at_least: Height and width (pixels) that a model resizes pictures to. A JPEG may then come out at a half, a
            quarter or an eighth of its size, where it is still twice as large in both directions. Measured on three
            photographs of 0.3 million pixels, resized bilinearly (as Keras does, from four pixels each) to 32..128:
            the mean outcome differs from that of the full decode by 1.7 to 10.7 of 255; from a resize that counts every
            pixel it differs by 1.8 to 11.4, and the full decode by 2.8 to 13.6, more each time. Where less is left than
            what is wanted, detail is lost and that turns round.

    Raises:
        DataError: It is no picture of a known format, damaged, or larger than 100 million pixels.
    """
    with opened_picture(data, name) as picture:
        if at_least is not None:
            reduce_jpeg(picture, (REDUCED_STILL * at_least[0], REDUCED_STILL * at_least[1]))
        picture.load()
        return pixels_of(upright(picture, orientation_of(picture)), color)


def size_seen(spec: InputSpec | None) -> Size | None:
    """Returns the height and width that pictures are resized to for a model; None where they are not, or to any.

    >>> from zoo.registry import InputSpec
    >>> size_seen(InputSpec((224, 224, 3), fit="center_crop", resize_to=256))
    (256, 256)
    """
    height, width, _ = (None, None, 0) if spec is None else spec.size
    if spec is None or height is None or width is None:
        return None
    if spec.applied_fit != "center_crop" or spec.resize_to is None:
        return (height, width)
    return (spec.resize_to, spec.resize_to) if isinstance(spec.resize_to, int) else spec.resize_to


@contextmanager
def opened_picture(data: bytes, name: str) -> Iterator[ImageFile.ImageFile]:
    """Gives the picture in the bytes of a file, its header read and no pixel decoded.

    Raises:
        DataError: It is no picture of a known format, too large, or whatever is done with it finds it damaged.
    """
    kind = picture_format(data)
    if not data:
        raise DataError(f"{name} is empty.")
    if kind is None:
        raise DataError(f"{name} is no picture of a known format ({', '.join(FORMATS)}).")
    try:
        if kind == "WEBP":  # whose decoder makes room for all pixels when it is opened
            _refuse_large(name, *webp_size(data))
        with opened_class(kind)(io.BytesIO(data)) as picture:
            _refuse_large(name, *picture.size)
            if kind == "JPEG" and len(_SCAN.findall(data)) > _MOST_SCANS:
                raise DataError(f"{name} has more than {_MOST_SCANS} scans, which would take for ever to decode.")
            yield picture
    except DataError:
        raise
    except Exception as error:  # whatever Pillow stumbles over in hostile bytes
        raise DataError(f"{name} cannot be decoded: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return str(error).rstrip(".") or type(error).__name__


def _refuse_large(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(f"{name} has {width}x{height} pixels; at most {MAX_PIXELS:,} are decoded.")


def reduce_jpeg(picture: ImageFile.ImageFile, at_least: Size) -> None:
    """Makes a JPEG come out at 1/8, 1/4 or 1/2, where it is still so high and wide once upright."""
    height, width = at_least[::-1] if orientation_of(picture) in _LYING else at_least
    picture.draft(None, (width, height))


def orientation_of(picture: Image.Image) -> int:
    """Returns how EXIF wants the picture seen, 1..8; 1 where it does not say so in a way that can be read."""
    try:
        value: Any = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF data do not make a damaged picture
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Returns the picture as its EXIF orientation wants it seen.

    `ImageOps.exif_transpose` would also write the EXIF data anew, and fails where a camera left them damaged.
    """
    method = _UPRIGHT.get(orientation)
    return picture if method is None else picture.transpose(method)


def pixels_of(picture: Image.Image, color: DecodedColor) -> NDArray[np.uint8]:
    """Returns the pixels of a loaded picture: uint8 [height, width, 3 (RGB) or 1 (gray)]."""
    pixels = np.asarray(on_white(picture).convert("L" if color == "gray" else "RGB"))
    return pixels[..., np.newaxis] if color == "gray" else pixels


def on_white(picture: Image.Image) -> Image.Image:
    """Returns a picture of 8 bits a value without transparency."""
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bits(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Returns a gray picture of 16 bits, or more, at 8 bits; Pillow's own conversion clips.

    16 bits lose the lower 8, as those of colour pictures do. What has more by what its file says, or fractions, has no
    range of its own: its largest value becomes 255.
    """
    values = np.asarray(picture)
    largest = max(1.0, float(np.max(values, where=np.isfinite(values), initial=0)))
    bits = _bits(picture)
    if picture.mode != "F" and bits <= 16 and largest <= 65535:
        return Image.fromarray((values.clip(0) >> (bits - 8)).astype(np.uint8))
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=largest, neginf=0.0)
    return Image.fromarray(np.rint(np.clip(finite / largest, 0, 1) * 255).astype(np.uint8))


def _bits(picture: Image.Image) -> int:
    """Returns how many bits a gray picture has by what its file says: of 16 in a TIFF, scanners leave 12."""
    told = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE)
    return int(told[0]) if told in ((12,), (32,)) else 16
