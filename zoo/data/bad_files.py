"""Files that cannot be used: what is told of them, and how many are too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zoo.errors import DataError, UsageError

_SHOWN = 5


@dataclass(frozen=True)
class BadFile:
    """A file that was passed over.

    Attributes:
        path: As people know it: relative to the data's folder where it lies below.
        reason: Why it cannot be used.
        line: Where a table names it; None for other data.
    """

    path: str
    reason: str
    line: int | None = None

    def __str__(self) -> str:
        where = "" if self.line is None else f" (line {self.line})"
        told = self.reason if self.path in self.reason else f"{self.path}: {self.reason}"
        return f"{told}{where}"


@dataclass(frozen=True)
class BadFilePolicy:
    """Whether bad files are passed over, and up to which share of all.

    Attributes:
        action: `skip`: pass over up to `limit`; `fail`: refuse the data for any.
        limit: A share, 0..1.

    Raises:
        UsageError: It is another action, or no share.

    >>> BadFilePolicy("skip", 0.5).judge([BadFile("a.jpg", "it is empty")], 2, "flowers")
    """

    action: Literal["skip", "fail"] = "skip"
    limit: float = 0.01

    def __post_init__(self) -> None:
        if self.action not in ("skip", "fail"):
            raise UsageError(f"Expected 'skip' or 'fail' for bad files; got {self.action!r}.")
        if not 0 <= self.limit <= 1:
            raise UsageError(f"Expected a share of bad files from 0 to 1 (0.01 is 1 %); got {self.limit!r}.")

    def judge(self, bad: Sequence[BadFile], total: int, name: str) -> None:
        """Refuses data with too many bad files.

        Args:
            bad: What cannot be used.
            total: Of how many files, the bad ones among them.
            name: What the data is called.

        Raises:
            DataError: They are more than the limit, or any at all where the action is `fail`.
        """
        if not bad or (self.action == "skip" and len(bad) <= self.limit * total):
            return
        allowed = "none may be" if self.action == "fail" else f"at most {100 * self.limit:g} % may be"
        way_on = (
            "--bad-files skip (bad_files='skip')"
            if self.action == "fail"
            else f"--max-bad {_percent_above(len(bad), total)}% (max_bad={_percent_above(len(bad), total) / 100:g})"
        )
        listed = "".join(f"\n  {_printable(str(each))}" for each in bad[:_SHOWN])
        more = f"\n  and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
        raise DataError(
            f"{len(bad):,} of {total:,} files of {name!r} cannot be used; {allowed}. Mend or remove them, or go on "
            f"without them: {way_on}.{listed}{more}"
        )


def _percent_above(count: int, total: int) -> int:
    """Returns the least whole percentage that allows so many."""
    return min(100, -(-100 * count // max(total, 1)))


def _printable(text: str) -> str:
    """Returns text on one line, with what no terminal should be sent written out."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
