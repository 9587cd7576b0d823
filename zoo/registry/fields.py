"""Checked fields of a JSON object: each is taken once, of the right kind, and what nobody asked for is refused.

Says what is wrong in words for the person who wrote the file; knows nothing of models.
"""

from __future__ import annotations

import math
from typing import Any

from zoo.errors import IntegrityError

_REQUIRED: Any = object()


class Fields:
    """Takes checked fields out of a JSON object, and knows which were never asked for."""

    def __init__(self, what: str, record: Any) -> None:
        self.what = what
        if not isinstance(record, dict):
            raise IntegrityError(f"The registry's {what} is {record!r}; expected a JSON object.")
        self._rest = dict(record)

    def get(self, key: str, kind: Any, default: Any = _REQUIRED) -> Any:
        """Takes a value of one kind; null only where the default is None."""
        if key not in self._rest:
            if default is _REQUIRED:
                raise IntegrityError(f"The registry's {self.what} has no {key!r}.")
            return default
        value = self._rest.pop(key)
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if wrong and not (value is None and default is None):
            raise IntegrityError(f"The registry's {self.what} has {key!r} = {value!r}, of the wrong kind.")
        return value

    def choice(self, key: str, choices: tuple[Any, ...], default: Any = _REQUIRED) -> Any:
        """Takes one of `choices`."""
        value = self.get(key, (str, type(None)), default)
        if value not in choices:
            raise IntegrityError(f"The registry's {self.what} has {key!r} = {value!r}; expected one of {choices}.")
        return value

    def sizes(self, key: str, count: int, *, optional: int = 0, default: Any = _REQUIRED) -> Any:
        """Takes `count` whole numbers above 0, of which the first `optional` may be null."""
        values = self.get(key, list, default)
        if values is None:
            return None
        given = [value for number, value in enumerate(values) if value is not None or number >= optional]
        if len(values) != count or not all(type(value) is int and value > 0 for value in given):
            raise IntegrityError(f"The registry's {self.what} has {key!r} = {values!r}; expected {count} sizes.")
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
        if value is not None and value <= 0:
            raise IntegrityError(f"The registry's {self.what} has {key!r} = {value!r}; expected a number above 0.")
        return value

    def number(self, key: str, default: Any = _REQUIRED) -> float:
        """Takes a finite number."""
        return _finite(self.what, key, self.get(key, (int, float), default))

    def numbers(self, key: str) -> tuple[float, ...]:
        """Takes a list of finite numbers."""
        return tuple(_finite(self.what, key, value) for value in self.get(key, list, []))

    def strings(self, key: str) -> tuple[str, ...]:
        """Takes a list of strings."""
        values = self.get(key, list, [])
        if not all(isinstance(value, str) for value in values):
            raise IntegrityError(f"The registry's {self.what} has {key!r} = {values!r}; expected strings.")
        return tuple(values)

    def texts(self, key: str) -> dict[str, str]:
        """Takes an object of strings."""
        values: dict[str, str] = self.get(key, dict, {})
        if not all(isinstance(value, str) for value in values.values()):
            raise IntegrityError(f"The registry's {self.what} has {key!r} = {values!r}; expected strings.")
        return values

    def refuse_rest(self) -> None:
        """Refuses what was never taken."""
        if self._rest:
            raise IntegrityError(f"The registry's {self.what} has unknown fields: {', '.join(sorted(self._rest))}.")


def _finite(what: str, key: str, value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise IntegrityError(f"The registry's {what} has {key!r} = {value!r}; expected finite numbers.")
    return float(value)
