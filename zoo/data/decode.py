"""Decodes a picture file into pixels, the same way for training and predicting.

Only formats on a short list are tried, by content and not by name; the size is read from the header and capped before
a pixel is decoded. EXIF orientation is applied here and only here; transparency lies on white; 16 bits are scaled to 8.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from zoo.errors import DataError, NotFoundError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 100_000_000

DecodedColor = Literal["RGB", "gray"]

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_picture(path: Path, color: DecodedColor) -> NDArray[np.uint8]:
    """Returns the picture in `path` (its first frame) as uint8 [height, width, 3 (RGB) or 1 (gray)].

    Raises:
        NotFoundError: There is no such file.
        DataError: It is no picture of a known format, damaged, or larger than 100 million pixels.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is no picture but a pipe or a device.")  # to open a pipe would wait for ever
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise DataError(
                    f"{path} has {picture.width}x{picture.height} pixels; at most {MAX_PIXELS:,} are decoded."
                )
            picture.load()
            return _to_array(_upright(picture), color)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(f"No picture {path}: {error.strerror}.") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is no picture of a known format ({', '.join(FORMATS)}).") from error
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be decoded: {error}.") from error


def _upright(picture: Image.Image) -> Image.Image:
    """Returns the picture as its EXIF orientation wants it seen.

    `ImageOps.exif_transpose` would also write the EXIF data anew, and fails where a camera left them damaged.
    """
    method = _UPRIGHT.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if method is None else picture.transpose(method)


def _to_array(picture: Image.Image, color: DecodedColor) -> NDArray[np.uint8]:
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bits(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    pixels = np.asarray(picture.convert("L" if color == "gray" else "RGB"))
    return pixels[..., np.newaxis] if color == "gray" else pixels


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Returns a 16-bit gray picture at 8 bits; Pillow's own conversion clips."""
    pixels = np.asarray(picture).astype(np.float64)
    full = 65535.0 if picture.mode.startswith("I") else max(1.0, float(pixels.max(initial=1.0)))
    return Image.fromarray(np.rint(np.clip(pixels / full, 0, 1) * 255).astype(np.uint8))
