"""Opens what `--data` names: so far the embedded digits, and arrays in memory."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from zoo.data.examples import ArrayExamples, Examples
from zoo.errors import DataError, NotFoundError, nearest_names


def open_data(spec: Any) -> Examples:
    """Returns the examples that `spec` names.

    Args:
        spec: `"digits"` (scikit-learn's 1,797 handwritten digits, 8x8 gray), a part of them (`"digits:5-9"`,
            `"digits:0,2,4-6"`), an array `x`, a pair of arrays `(x, y)`, or examples opened before.

    Raises:
        NotFoundError: There is no such data.
        DataError: There is, but not in a form that can be used.

    >>> examples = open_data("digits:5-9")
    >>> len(examples), examples.classes, examples.shape
    (896, ('5', '6', '7', '8', '9'), (8, 8, 1))
    """
    if isinstance(spec, str):
        kind, _, part = spec.partition(":")
        if kind == "digits" and spec in ("digits", f"digits:{part}"):
            return _digits(spec, part)
        raise NotFoundError(
            f"No data named {spec!r}.{nearest_names(spec, ['digits', 'digits:5-9'])} "
            "Expected digits, or a part of them such as digits:5-9; from Python, arrays (x, y) too."
        )
    if hasattr(spec, "read") and hasattr(spec, "ids"):
        return spec  # type: ignore[no-any-return]
    if isinstance(spec, tuple):
        if len(spec) != 2:
            raise DataError(f"Expected a pair of arrays (x, y); got {len(spec)} of them.")
        return ArrayExamples(*spec)
    return ArrayExamples(spec)


def _digits(name: str, part: str) -> ArrayExamples:
    from sklearn.datasets import load_digits

    wanted = _parse_digits(name, part)
    data = load_digits()
    rows = np.isin(data.target, wanted)
    # scikit-learn counts 0..16 inked pixels per cell; a decoded picture is uint8 0..255.
    pictures = np.rint(data.images[rows] * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    return ArrayExamples(pictures, np.searchsorted(wanted, data.target[rows]), name, [str(digit) for digit in wanted])


def _parse_digits(name: str, part: str) -> list[int]:
    """Returns the digits, sorted, that `part` ("" for all, "3", "5-9", "0,2,4-6") names."""
    if name == "digits":
        return list(range(10))
    digits: set[int] = set()
    for piece in part.split(","):
        match = re.fullmatch(r"([0-9])(?:-([0-9]))?", piece.strip())
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise DataError(f"Data {name!r}: {piece!r} is no digit or range; expected digits:5-9 or digits:0,2,4-6.")
        digits.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    if len(digits) < 2:
        raise DataError(f"Data {name!r} has one class; a classifier needs at least two, such as digits:5-9.")
    return sorted(digits)
