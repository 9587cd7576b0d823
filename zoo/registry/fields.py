"""Checked fields of a JSON object: each is taken once, of the right kind, and what nobody asked for is refused.

Says what is wrong in words for the person who wrote the file; knows nothing of models.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable
from typing import Any, NoReturn

from zoo.errors import IntegrityError

_REQUIRED: Any = object()
_LARGEST = 2**63 - 1  # more than any size or count there is; far beyond it, float() overflows
_MOST_AXES = 8
_SHORT = reprlib.Repr()  # whatever the file holds, a message stays readable, and nothing nested too deep is followed
_SHORT.maxstring = _SHORT.maxother = 120


class Fields:
    """Takes checked fields out of a JSON object, and knows which were never asked for."""

    def __init__(self, what: str, record: Any) -> None:
        self.what = what
        if not isinstance(record, dict):
            raise IntegrityError(f"The registry's {what} is {_SHORT.repr(record)}; expected a JSON object.")
        self._rest = dict(record)
        if not all(map(str.isprintable, record)):  # messages print names as they are
            odd = next(key for key in record if not key.isprintable())
            raise IntegrityError(f"The registry's {what} has the name {odd!r}, which cannot be printed.")

    def get(self, key: str, kind: Any, default: Any = _REQUIRED) -> Any:
        """Takes a value of one kind; null only where the default is None."""
        if key not in self._rest:
            if default is _REQUIRED:
                raise IntegrityError(f"The registry's {self.what} has no {key!r}.")
            return default
        value = self._rest.pop(key)
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if wrong and not (value is None and default is None):
            raise IntegrityError(f"The registry's {self.what} has {key!r} = {_SHORT.repr(value)}, of the wrong kind.")
        if isinstance(value, str):
            self._require_text(key, value)
        return value

    def choice(self, key: str, choices: tuple[Any, ...], default: Any = _REQUIRED) -> Any:
        """Takes one of `choices`."""
        value = self.get(key, (str, type(None)), default)
        if value not in choices:
            self._refuse(key, value, f"one of {choices}")
        return value

    def sizes(self, key: str, count: int, *, optional: int = 0, default: Any = _REQUIRED) -> Any:
        """Takes `count` whole numbers above 0, of which the first `optional` may be null."""
        values = self.get(key, list, default)
        if values is None:
            return None
        given = [value for number, value in enumerate(values) if value is not None or number >= optional]
        if len(values) != count or not all(type(value) is int and 0 < value <= _LARGEST for value in given):
            self._refuse(key, values, f"{count} sizes")
        return tuple(values)

    def size_or_sizes(self, key: str) -> Any:
        """Takes one whole number above 0, or two, or null."""
        if type(self._rest.get(key)) is int:
            return self.count(key)
        return self.sizes(key, 2, default=None)

    def given(self, key: str) -> bool:
        """Says whether the field is there with a value, or not there at all; if null, takes it."""
        if key in self._rest and self._rest[key] is None:
            del self._rest[key]
            return False
        return True

    def count(self, key: str) -> int | None:
        """Takes a whole number above 0, or null."""
        value: int | None = self.get(key, int, None)
        if value is not None and not 0 < value <= _LARGEST:
            self._refuse(key, value, "a number above 0 and below 2**63")
        return value

    def whole(self, key: str, most: int) -> int:
        """Takes a whole number from 0 to `most`."""
        value: int = self.get(key, int)
        if not 0 <= value <= most:
            self._refuse(key, value, f"a whole number from 0 to {most}")
        return value

    def shape(self, key: str) -> tuple[int, ...]:
        """Takes the shape of a tensor: one to eight sizes, of no more elements than can be counted."""
        values = self.get(key, list)
        if not 0 < len(values) <= _MOST_AXES or not all(type(each) is int and each > 0 for each in values):
            self._refuse(key, values, f"the sizes of a tensor of 1 to {_MOST_AXES} axes")
        if math.prod(values) > _LARGEST:
            self._refuse(key, values, "a tensor of fewer than 2**63 elements")
        return tuple(values)

    def number(self, key: str, default: Any = _REQUIRED) -> float:
        """Takes a finite number."""
        return self._finite(key, self.get(key, (int, float), default))

    def numbers(self, key: str) -> tuple[float, ...]:
        """Takes a list of finite numbers."""
        return tuple(self._finite(key, value) for value in self.get(key, list, []))

    def strings(self, key: str) -> tuple[str, ...]:
        """Takes a list of strings."""
        values = self.get(key, list, [])
        self._require_strings(key, values, values)
        return tuple(values)

    def texts(self, key: str) -> dict[str, str]:
        """Takes an object of strings under printable names."""
        values: dict[str, str] = self.get(key, dict, {})
        self._require_strings(key, values, values.values())
        if not all(name.isprintable() for name in values):
            self._refuse(key, values, "names that can be printed")
        return values

    def refuse_rest(self) -> None:
        """Refuses what was never taken."""
        if self._rest:
            raise IntegrityError(f"The registry's {self.what} has unknown fields: {', '.join(sorted(self._rest))}.")

    def _finite(self, key: str, value: Any) -> float:
        if type(value) not in (int, float) or not -_LARGEST <= value <= _LARGEST:  # NaN neither
            self._refuse(key, value, "finite numbers below 2**63")
        return float(value)

    def _require_strings(self, key: str, field: Any, values: Iterable[Any]) -> None:
        for value in values:
            if not isinstance(value, str):
                self._refuse(key, field, "strings")
            self._require_text(key, value)

    def _require_text(self, key: str, value: str) -> None:
        r"""Refuses what JSON can spell (`"\ud800"`) and no file, terminal or address can hold."""
        if not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
            self._refuse(key, value, "text; half of a surrogate pair is none")

    def _refuse(self, key: str, value: Any, expected: str) -> NoReturn:
        raise IntegrityError(f"The registry's {self.what} has {key!r} = {_SHORT.repr(value)}; expected {expected}.")
