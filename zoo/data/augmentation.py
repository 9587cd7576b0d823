"""Augmented versions of pictures: flipped, cropped, with other colours, and always the same ones.

What happens to a picture is drawn from a hash of the settings, its identity and the number of the version; neither
order, threads nor the machine matter. So features of augmented pictures can be kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.errors import DataError, UsageError

_VERSION = 1  # of what the settings mean: a change of any pixel makes it another
_MOST_STRETCHED = 4 / 3
_LUMINANCE = 0.299, 0.587, 0.114  # of red, green and blue (ITU-R BT.601)
_STEPS = 1024  # of a colour's coefficients: their sums are exact in float32, on every processor


@dataclass(frozen=True)
class Augmentation:
    """How pictures are varied.

    Attributes:
        flip: Whether half of the versions are mirrored, left to right.
        crop: The least share of a picture's area that is kept, above 0 to 1; what is kept is a rectangle at a random
            place, whose sides relate as the picture's do, times 3/4 to 4/3 (Szegedy et al. 2014, arXiv:1409.4842).
        color: The most that brightness, contrast and saturation change, each by a factor 1 - color to 1 + color.
        seed: Another one gives other versions.

    >>> picture = np.zeros((40, 60, 3), np.uint8)
    >>> Augmentation().apply(picture, identity=bytes(32), view=1).shape
    (36, 55, 3)
    """

    flip: bool = True
    crop: float = 0.7
    color: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise UsageError(f"Expected crop, the least share of the area, above 0 and at most 1; got {self.crop}.")
        if not 0 <= self.color < 1:
            raise UsageError(f"Expected color, the most that colours change, from 0 to below 1; got {self.color}.")

    def to_json(self) -> dict[str, Any]:
        """Returns all that decides what versions look like, as plain data."""
        return {"version": _VERSION, **dataclasses.asdict(self)}

    def apply(self, picture: NDArray[np.uint8], identity: bytes, view: int) -> NDArray[np.uint8]:
        """Returns version number `view` of a picture: uint8 [height', width', channels]; version 0 is the picture.

        Args:
            picture: uint8 [height, width, 1 or 3], gray or RGB.
            identity: The picture's identity.
            view: From 0.

        Raises:
            DataError: It is no such picture.
        """
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3) or not picture.size:
            raise DataError(
                "Only pictures can be augmented: expected uint8 [height, width, 1 or 3]; "
                f"got {picture.dtype} {list(picture.shape)}. Leave augmented views (--views) out for such data."
            )
        if view == 0:
            return picture
        flip, area, stretch, top, left, brightness, contrast, saturation = self._draws(identity, view)
        part = _cropped(picture, self.crop, (area, stretch, top, left))
        image = Image.fromarray(np.ascontiguousarray(part if picture.shape[2] == 3 else part[:, :, 0]))
        if self.color:
            factors = (1 + self.color * (2 * draw - 1) for draw in (brightness, contrast, saturation))
            image = _recolored(image, _mean(part), *factors)
        if self.flip and flip < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.array(image).reshape(part.shape)

    def _draws(self, identity: bytes, view: int) -> list[float]:
        """Returns eight numbers from 0 to below 1: each is exact in float64."""
        settings = json.dumps(self.to_json(), sort_keys=True).encode()
        digest = hashlib.sha256(b"\0".join([settings, view.to_bytes(8, "little"), identity])).digest()
        return [float(number) / 2**32 for number in np.frombuffer(digest, "<u4")]


def _cropped(picture: NDArray[np.uint8], least: float, draws: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """Returns a part of a picture. Roots and products are rounded alike everywhere; powers would not be."""
    area, stretch, top, left = draws
    height, width = picture.shape[:2]
    share = least + (1 - least) * area
    widest = 1 + (min(_MOST_STRETCHED, 1 / share) - 1) * abs(2 * stretch - 1)
    aspect = widest if stretch < 0.5 else 1 / widest
    kept_height = min(height, max(1, round(height * math.sqrt(share / aspect))))
    kept_width = min(width, max(1, round(width * math.sqrt(share * aspect))))
    y, x = int(top * (height - kept_height + 1)), int(left * (width - kept_width + 1))
    return picture[y : y + kept_height, x : x + kept_width]


def _recolored(image: Image.Image, mean: float, brightness: float, contrast: float, saturation: float) -> Image.Image:
    """Returns a picture with other colours: one affine map of a pixel's channels for all three changes.

    Saturation mixes a colour with its gray, contrast with the picture's mean gray.
    """
    offset = np.rint(brightness * (1 - contrast) * mean * _STEPS) / _STEPS
    if image.mode == "L":
        factor = np.rint(brightness * contrast * _STEPS) / _STEPS
        return image.point(np.clip(np.floor(np.arange(256) * factor + offset + 0.5), 0, 255).astype(int).tolist())
    mixing = saturation * np.eye(3) + (1 - saturation) * np.array(_LUMINANCE)
    matrix = np.rint(brightness * contrast * mixing * _STEPS) / _STEPS
    return image.convert("RGB", tuple(np.column_stack([matrix, [offset] * 3]).reshape(-1).tolist()))


def _mean(picture: NDArray[np.uint8]) -> float:
    """Returns the mean gray of every eighth pixel of every eighth row."""
    sample = picture[::8, ::8].reshape(-1, picture.shape[2])
    sums = sample.sum(axis=0, dtype=np.int64)
    weights = _LUMINANCE if len(sums) == 3 else (1.0,)
    return math.fsum(weight * int(total) for weight, total in zip(weights, sums, strict=True)) / len(sample)
