"""Options that several commands have, and the kinds of values that they take."""

from __future__ import annotations

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
