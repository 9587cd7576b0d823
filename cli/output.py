"""What people and machines see: tables, JSON, progress bars. Text from files is stripped of control characters."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click
from zoo.cli.tables import table_lines

if TYPE_CHECKING:
    from rich.progress import TaskID

_WIDE = 120  # columns of a terminal that shows every column of a table


def plain(text: str) -> str:
    """Returns text without characters that could steer a terminal or reverse its direction."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if unicodedata.category(each) not in ("Cc", "Cf", "Cs") else "�" for each in text)


def plain_lines(text: str) -> str:
    """Returns text of several lines without characters that could steer a terminal."""
    return "\n".join(plain(line) for line in text.split("\n"))


def say(text: str) -> None:
    """Tells people something that is not the result."""
    click.echo(plain_lines(text), err=True)


def show_json(document: Any) -> None:
    """Prints one JSON document to standard output: in UTF-8, as JSON is, whatever the terminal speaks.

    Names of files may hold bytes that are no text; they become escapes, which JSON reads back as they were.
    """
    click.echo(json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def show_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Collection[str] = (),
    wide: Collection[str] = (),
) -> None:
    """Prints a table that fits the terminal; columns in `right` are numbers, those in `wide` are for wide terminals.

    A table that goes to a file or a pipe is as wide as it needs to be.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if width is not None and width < _WIDE:
        shown = [number for number, name in enumerate(header) if name not in wide]
        header, rows = [header[number] for number in shown], [[row[number] for number in shown] for row in rows]
    head, *lines = table_lines(header, [[plain(cell) for cell in row] for row in rows], right, width)
    click.echo("\n".join([click.style(head, bold=True), *lines]))


def show_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Prints names and values, one pair a line."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {plain(value)}")


def number(value: int | None) -> str:
    """Returns a whole number with thousands apart, or ?."""
    return "?" if value is None else f"{value:,}"


def counted(count: int, what: str) -> str:
    """Returns how many there are, as in 1 file or 1,234 files.

    >>> counted(1, "file")
    '1 file'
    """
    return f"{number(count)} {what}{'s' * (count != 1)}"


def size(count: int | None) -> str:
    """Returns a number of bytes for people, as in 1.2 MB, or ?."""
    if count is None:
        return "?"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Imports TensorFlow, and keeps its notes from standard error, unless `--debug`."""
    context = click.get_current_context(silent=True)
    if "tensorflow" not in sys.modules and not (context and context.find_root().params.get("debug")):
        sys.stderr.flush()
        kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(sink, 2)
            import tensorflow as tf

            tf.constant(0.0)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(sink)
    log = logging.getLogger("tensorflow")
    level = log.level
    if not (context and context.find_root().params.get("debug")):
        log.setLevel(logging.ERROR)  # of how it traces functions, for whoever calls it
    try:
        yield
    finally:
        log.setLevel(level)


class Bar:
    """Draws progress: a bar in a terminal, one line a step elsewhere."""

    def __init__(self, what: str = "") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description:10}", markup=False), BarColumn(), TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(), TextColumn("{task.fields[figures]}"),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._total: int | None = None
        self._unit, self._done, self._figures, self._began = "", 0, "", 0.0
        self._bytes_of = {"bytes": plain(what), "packed bytes": f"unpacking {plain(what)}"}
        self._first: tuple[int, float] | None = None
        self._name = ""

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, total: int | None, unit: str) -> None:
        """Begins a step."""
        self._unit, self._done, self._figures, self._began = unit, 0, "", time.monotonic()
        self._first = None
        names = {
            "examples": "features",
            "epochs": "training",
            "models": "loading",
            **self._bytes_of,
        }
        self._name = names.get(unit, unit)
        self._total = total
        self._task = self._bar.add_task(self._name, total=total, count=self._count(), figures="")

    def expect(self, total: int) -> None:
        """Knows better how much there is."""
        self._total = total
        if self._task is not None:
            self._bar.update(self._task, total=total)

    def advance(self, n: int, **figures: float) -> None:
        """Counts, and shows the newest figures."""
        self._done += n
        self._first = self._first or (n, time.monotonic())
        shown = [*self._rate(), *(f"{name} {value:.4g}" for name, value in figures.items())]
        self._figures = "  ".join(shown)
        if self._task is not None and not self._bar.disable:
            self._bar.update(self._task, advance=n, count=self._count(), figures=self._figures)

    def close(self) -> None:
        """Ends the step; a file that did not come says nothing of itself."""
        broken = self._unit in self._bytes_of and (self._total is None or self._done < self._total)
        if self._bar.disable and not broken:
            seconds = time.monotonic() - self._began
            done = (
                size(self._done) if self._unit in self._bytes_of else counted(self._done, self._unit.removesuffix("s"))
            )
            say(f"{self._name}: {done} in {seconds:.1f} s  {self._figures}".rstrip())
        elif self._task is not None:
            self._bar.update(self._task, total=self._done, visible=not broken)

    def _count(self) -> str:
        if self._unit in self._bytes_of:
            return f"{size(self._done)} of {size(self._total)}" if self._total else size(self._done)
        return f"{self._done}/{'?' if self._total is None else self._total}"

    def _rate(self) -> list[str]:
        """Returns how fast it goes; what came first may have been there before, and says nothing of that."""
        count, since = self._first or (0, self._began)
        seconds = time.monotonic() - since
        if self._unit not in ("examples", *self._bytes_of) or seconds <= 0 or self._done == count:
            return []
        recent = self._bar.tasks[self._task].speed if self._task is not None else None
        rate = recent or (self._done - count) / seconds
        return [f"examples/s {rate:.4g}" if self._unit == "examples" else f"{size(int(rate))}/s"]
