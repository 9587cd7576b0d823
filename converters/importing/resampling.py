"""From which places an axis is resampled, and how much each counts: the arithmetic of ONNX's Resize along one axis.

Axes are resampled one after the other, whatever the mode. All of it can be computed by NumPy, or by `keras.ops` where
sizes vary: the functions take either as `xp`. It computes in 32 bits, as onnxruntime does: where two places are equally
near, rounding decides.

Definition: https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_TAPS = 4096  # places that count for one of the result: a picture of 1,000 places made one of a single place
_REACH = {"linear": 1, "cubic": 2}  # how far away, in places, something counts


@dataclass(frozen=True)
class Rule:
    """How all axes are resampled.

    Attributes:
        mode: "nearest", "linear" or "cubic".
        coordinates: How a place of the result is found in the input, as ONNX names it: "half_pixel".
        rounding: What is nearest, as ONNX names it, or "simple": downwards, and upwards where the result is smaller.
        cubic_a: The parameter of the cubic curve.
        is_antialiased: Whether more places count where the result is smaller.
        excludes_outside: Whether what lies outside does not count; else it is as the edge.
    """

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic_a: float = -0.75
    is_antialiased: bool = False
    excludes_outside: bool = False


def resized(size: int, scale: float) -> int:
    """Returns the size of a result.

    >>> resized(5, 0.6), resized(3, 2.0)
    (3, 6)
    """
    return int(np.floor(np.float32(scale) * np.float32(size)))


def positions(xp: Any, rule: Rule, places: Any, size: Any, out: Any, scale: Any, roi: Any = (0.0, 1.0)) -> Any:
    """Returns where places of the result lie in the input: numbers of 32 bits that are no whole ones.

    Args:
        xp: NumPy or `keras.ops`.
        rule: The rule.
        places: Numbers from 0 on, of 32 bits.
        size: That of the input, of 32 bits too.
        out: That of the result.
        scale: How much larger the result is, before its size was rounded; None where its size alone is told.
        roi: The part of the input that is wanted, where `coordinates` is "tf_crop_and_resize".
    """
    if scale is None:
        if rule.coordinates == "asymmetric":
            return _quotient(xp, places, size, out, rule.mode == "nearest")
        scale = out / size
    centred = (places + 0.5) / scale - 0.5
    span, is_one = xp.maximum(out - 1.0, 1.0), out <= 1
    match rule.coordinates:
        case "half_pixel":
            return centred
        case "pytorch_half_pixel":
            return xp.where(is_one, xp.zeros_like(centred), centred)
        case "half_pixel_symmetric":
            return size / 2 * (1 - out / (size * scale)) + (places + 0.5) / scale - 0.5
        case "align_corners":
            return places * (size - 1) / span
        case "tf_half_pixel_for_nn":
            return (places + 0.5) / scale
        case "tf_crop_and_resize":
            start, end = roi
            inside = start * (size - 1) + places * (end - start) * (size - 1) / span
            return xp.where(is_one, xp.zeros_like(places) + 0.5 * (start + end) * (size - 1), inside)
        case "asymmetric":
            return places / scale
    raise ValueError(f"Expected a mode of coordinates that is known; got {rule.coordinates!r}.")


def _quotient(xp: Any, places: Any, size: Any, out: Any, only_halves: bool) -> Any:
    """Returns places * size / out, in whole numbers as far as it decides what is nearest.

    TensorFlow compiles a product and a quotient in another order than they are written, and what is halfway moves.

    Args:
        xp: NumPy or `keras.ops`.
        places: Numbers from 0 on.
        size: That of the input.
        out: That of the result.
        only_halves: Whether it only counts on which side of the middle between two places a position is.
    """
    places, size, out = (each.astype(np.int32) if xp is np else xp.cast(each, "int32") for each in (places, size, out))
    whole, rest = places * size // out, places * size % out
    if only_halves:
        side = xp.where(2 * rest == out, 0.5, xp.where(2 * rest < out, 0.25, 0.75))
        rest, out = xp.where(rest == 0, 0.0, side), 1
    if xp is np:
        return (whole + rest / out).astype(np.float32)
    return xp.cast(whole, "float32") + xp.cast(rest, "float32") / xp.cast(out, "float32")


def nearest(xp: Any, rounding: str, at: Any, scale: Any) -> Any:
    """Returns the nearest whole place of each position."""
    match rounding:
        case "round_prefer_floor":
            return xp.ceil(at - 0.5)
        case "round_prefer_ceil":
            return xp.floor(at + 0.5)
        case "floor":
            return xp.floor(at)
        case "ceil":
            return xp.ceil(at)
        case "simple":
            return xp.ceil(at) if scale < 1 else xp.floor(at)
    raise ValueError(f"Expected a way of rounding that is known; got {rounding!r}.")


def taps(xp: Any, rule: Rule, at: Any, size: Any, scale: Any) -> list[tuple[Any, Any]]:
    """Returns pairs: one whole place for each position, and how much it counts there; None where it alone does."""
    if rule.mode == "nearest":
        return [(xp.clip(nearest(xp, rule.rounding, at, scale), 0, size - 1), None)]
    narrow = min(scale, 1.0) if rule.is_antialiased else 1.0
    first = math.floor(-_REACH[rule.mode] / narrow) + 1
    if 2 - 2 * first > MOST_TAPS:
        raise ValueError(f"Expected at most {MOST_TAPS:,} places to count for one. Received: scale={scale}")
    base = xp.floor(at)
    found, total = [], xp.zeros_like(at)
    for step in range(first, 2 - first):
        place, distance = base + step, xp.abs(step - (at - base)) * narrow
        weight = _cubic(xp, distance, rule.cubic_a) if rule.mode == "cubic" else xp.maximum(1 - distance, 0)
        if rule.excludes_outside:
            weight = xp.where((place < 0) | (place > size - 1), xp.zeros_like(weight), weight)
        total = total + weight
        found.append((xp.clip(place, 0, size - 1), weight))
    if not rule.excludes_outside and not rule.is_antialiased:
        return found
    return [(place, weight / total) for place, weight in found]


def _cubic(xp: Any, distance: Any, a: float) -> Any:
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return xp.where(distance <= 1, near, xp.where(distance < 2, far, xp.zeros_like(far)))
