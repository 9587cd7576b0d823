"""Options that several commands have, and the kinds of values that they take."""

from __future__ import annotations

import math
from typing import Any

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what would happen, and do nothing.")
lock_timeout = click.option(
    "--lock-timeout",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Wait so long for another process at the same model.  [default: as long as it runs]",
)


class Widths(click.ParamType[tuple[int, ...]]):
    """Widths of hidden layers, as in 20,10."""

    name = "widths"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Returns the widths."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(width) for width in value.split(","))
        except ValueError:
            self.fail(f"expected widths such as 20,10; got {value!r}", param, ctx)


class Sizes(click.ParamType[tuple[int | None, ...]]):
    """Sizes of an input, as in 224x224x3; ? where any will do."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int | None, ...]:
        """Returns the sizes."""
        if isinstance(value, tuple):
            return value
        parts = value.split("x")
        if not all(part == "?" or (part.isascii() and part.isdecimal() and 0 < int(part) < 1 << 31) for part in parts):
            self.fail(f"expected height x width x channels such as 224x224x3, or ?x?x3; got {value!r}", param, ctx)
        return tuple(None if part == "?" else int(part) for part in parts)


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers, one or one for each channel, as in 0.485,0.456,0.406."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Returns the numbers."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(_number(part) for part in value.split(","))
        except (ValueError, ZeroDivisionError):
            numbers = (math.nan,)
        if not all(map(math.isfinite, numbers)):
            self.fail(f"expected numbers such as 0.5, 1/255 or 0.485,0.456,0.406; got {value!r}", param, ctx)
        return numbers


class Number(click.ParamType[float]):
    """One number, also as a fraction, as in 1/255."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the number."""
        numbers = Numbers().convert(value if isinstance(value, str) else (value,), param, ctx)
        if len(numbers) != 1:
            self.fail(f"expected one number such as 1/255; got {value!r}", param, ctx)
        return numbers[0]


def _number(text: str) -> float:
    top, slash, bottom = text.partition("/")
    return float(top) / float(bottom) if slash else float(top)


class Count(click.ParamType[float]):
    """A number of parameters, as in 25M, 1.5e6 or 4000000."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the number."""
        if isinstance(value, float):
            return value
        factor = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9}.get(value[-1:].lower(), 1.0)
        try:
            count = float(value[:-1] if factor > 1 else value) * factor
        except ValueError:
            count = -1.0
        if not 0 <= count < float("inf"):
            self.fail(f"expected a number such as 25M, 1.5e6 or 4000000; got {value!r}", param, ctx)
        return count
