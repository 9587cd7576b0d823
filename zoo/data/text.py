"""Texts as examples: a table (CSV) of `text,label[,split]`, and what people are shown of a text.

A text is taken letter by letter as it stands in the table, and known by the sha256 of its UTF-8 bytes.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from zoo.data.bad_files import BadFile, BadFilePolicy
from zoo.data.examples import Ids, Rows
from zoo.data.findings import Finding, Named, counted, found_in
from zoo.data.grouping import refuse_useless_groups
from zoo.data.listing import PARTS
from zoo.data.split import group_numbers, joined_groups, own_numbers
from zoo.data.table import columns_of, label_task, refuse_bytes, row_values, table_rows
from zoo.data.targets import Task, targets_of_names
from zoo.data.values import Spread, spread_of
from zoo.errors import DataError

if TYPE_CHECKING:
    from zoo.registry import InputSpec

COLUMN: Final = "text"
_LONGEST = 1 << 30  # letters of a field: more than any table has that is read


class TextExamples:
    """Labelled texts, in memory.

    Args:
        name: What the user called the data.
        table: The table's own name: texts are called by that and their lines.
        texts: The texts.
        names: What each is called: a class, labels with `|` between them, or a number.
        task: Which of these.
        lines: The line (from 1) of the table at which each begins.
        parts: The part of each: 0 train, 1 validation, 2 test, -1 not said; None where the table says nothing of any.
        groups: The name of the group of each, "" for none; None where no groups are asked for.
        policy: How many bad ones are too many; texts never are.

    Raises:
        DataError: A value is no finite number.

    >>> examples = TextExamples("reviews", "reviews.csv", ["good", "bad"], ["1", "0"], "classification", [2, 3])
    >>> examples.read(np.array([1])).tolist(), examples.paths[1], examples.labels.tolist()
    (['bad'], 'reviews.csv:3', [1, 0])
    """

    shape: tuple[int | None, ...] = ()
    opened: dict[str, Any] | None = None
    bad: tuple[BadFile, ...] = ()

    def __init__(
        self,
        name: str,
        table: str,
        texts: Sequence[str],
        names: Sequence[str],
        task: Task,
        lines: Sequence[int],
        parts: NDArray[np.int8] | None = None,
        groups: Sequence[str] | None = None,
        policy: BadFilePolicy | None = None,
    ) -> None:
        self.name, self.task, self.lines = name, task, list(lines)
        self.classes, self.labels = targets_of_names(names, task)
        self._texts: NDArray[np.object_] = np.array(texts, object)
        self.ids = text_ids(texts)
        self.decoding: dict[str, Any] = {}
        self.parts, self.policy = parts, policy or BadFilePolicy()
        self.groups = None if groups is None else joined_groups(self.ids, _group_numbers(groups, self.ids))
        self._paths = _Places(table, self.lines)

    @property
    def paths(self) -> Sequence[str]:
        """The table and the line of each."""
        return self._paths

    def __len__(self) -> int:
        return len(self._texts)

    def read(self, rows: Rows) -> NDArray[np.object_]:
        """Returns the texts at `rows`: `str`, [len(rows)]."""
        return self._texts[rows]

    def seen_by(self, spec: InputSpec | None) -> TextExamples:
        """Returns the same examples: nothing is left to decode."""
        return self


def text_ids(texts: Sequence[str]) -> Ids:
    """Returns the identity of each text: uint8 [n, 32], the sha256 of its UTF-8 bytes.

    >>> bytes(text_ids(["zoo"])[0]) == hashlib.sha256(b"zoo").digest()
    True
    """
    digests = b"".join(hashlib.sha256(text.encode()).digest() for text in texts)
    return np.frombuffer(digests, np.uint8).reshape(len(texts), 32)


def _group_numbers(names: Sequence[str], ids: Ids) -> NDArray[np.int64]:
    none = np.array([not name for name in names], bool)
    return np.where(none, own_numbers(ids), group_numbers(names))


class _Places(Sequence[str]):
    """Where texts stand, as in `reviews.csv:12`; made when asked for."""

    def __init__(self, table: str, lines: Sequence[int]) -> None:
        self._table, self._lines = table, lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return _Places(self._table, self._lines[at])
        return f"{self._table}:{self._lines[at]}"


# --- the table ---


def open_texts(
    name: str,
    path: Path,
    *,
    group_by: str | None = None,
    task: Task | None = None,
    policy: BadFilePolicy | None = None,
    unlabelled: bool = False,
) -> TextExamples:
    """Returns the texts of a table, with their labels.

    Args:
        name: What the user called it.
        path: The table.
        group_by: The column whose values name groups; an empty value: no group.
        task: What the labels are; None: several for each text where `|` stands in any of them, or else classes.
        policy: What the examples say of bad ones.
        unlabelled: Whether labels are not looked at; there need be none.

    Raises:
        DataError: It is no such table, or not in UTF-8; the message names the line.
        UsageError: There is no column `group_by`, or it tells no groups apart.
    """
    texts: list[str] = []
    labels: list[str] = []
    lines: list[int] = []
    parts: list[int] = []
    groups: list[str] = []
    with _long_fields():
        rows = table_rows(path)
        _, header = next(rows, (1, []))
        columns = columns_of(path, header, group_by, COLUMN, unlabelled=unlabelled)
        classes: set[str] = set()
        for line, fields in rows:
            values = row_values(path, line, fields, header, columns, classes, task, what=COLUMN, unlabelled=unlabelled)
            refuse_bytes(path, line, values[0])
            texts.append(values[0])
            labels.append(values[1])
            lines.append(line)
            parts.append(PARTS.get(values[2], -1))
            groups += values[3:]
    if not texts:
        raise DataError(f"{path} has no texts: it has no row below its header.")
    if group_by is not None:
        refuse_useless_groups(groups, group_by, "rows", f"line {lines[0]}")
    return TextExamples(
        name, path.name, texts, labels, label_task(labels, task), lines,
        np.array(parts, np.int8) if any(part >= 0 for part in parts) else None,
        groups if group_by is not None else None, policy,
    )  # fmt: skip


def open_lines(name: str, path: Path, policy: BadFilePolicy | None = None) -> TextExamples:
    """Returns the texts of a file with one a line, all of one class without a name.

    Args:
        name: What the user called it.
        path: The file; lines with nothing but spaces are none.
        policy: What the examples say of bad ones.

    Raises:
        DataError: It has no texts, cannot be read, or is not in UTF-8; the message names the line.
    """
    found = read_texts(path)
    if not found:
        raise DataError(f"{path} has no texts: it has no line with more than spaces.")
    lines, texts = zip(*found, strict=True)
    return TextExamples(name, path.name, texts, [""] * len(texts), "classification", lines, policy=policy)


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lets a field be longer than the 131,072 letters that Python's reader takes by itself."""
    before = csv.field_size_limit(_LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_texts(path: Path) -> list[tuple[int, str]]:
    """Returns the texts in a file, each with its line: those of the column `text` of a table, or one a line.

    Args:
        path: A `.csv` or `.tsv` table, or a file of lines (`.txt`); of that, lines with nothing but spaces are none.

    Raises:
        DataError: It cannot be read, is not in UTF-8, or the table has no such column.
    """
    if path.suffix.lower() in (".csv", ".tsv"):
        with _long_fields():
            return list(_column(path))
    from zoo.data.table import table_text  # which says of a file what it says of a table

    return list(texts_of_lines(table_text(path).split("\n"), str(path)))


def _column(path: Path) -> Iterator[tuple[int, str]]:
    rows = table_rows(path)
    _, header = next(rows, (1, []))
    names = [name.strip().lower() for name in header]
    if names.count(COLUMN) != 1:
        raise DataError(
            f"{path}, line 1: expected one column {COLUMN!r}; got {', '.join(map(repr, header)) or 'none'}. Or give a "
            ".txt file with one text a line."
        )
    at = names.index(COLUMN)
    for line, fields in rows:
        if len(fields) != len(header):
            raise DataError(f"{path}, line {line}: expected {len(header)} fields, as in its header; got {len(fields)}.")
        refuse_bytes(path, line, fields[at])
        yield line, fields[at]


def texts_of_lines(lines: Sequence[str], name: str, first: int = 1) -> Iterator[tuple[int, str]]:
    """Yields the texts in lines, with their numbers; lines with nothing but spaces are none.

    Args:
        lines: The lines; bytes that are no UTF-8 stand in them as `surrogateescape` has it.
        name: Where they are from.
        first: The number of the first line.

    Raises:
        DataError: A line is not in UTF-8.
    """
    for number, line in enumerate(lines, first):
        text = line.removesuffix("\r")
        refuse_bytes(Path(name), number, text)
        if text.strip():
            yield number, text


# --- what people are shown ---


def odd_texts(named: Named) -> tuple[Spread, list[Finding]]:
    """Returns how long texts are, in letters, and what is odd in them."""
    texts: NDArray[np.object_] = np.asarray(named.examples.read(np.arange(len(named.examples))), object)
    empty = [row for row, text in enumerate(texts) if not text.strip()]
    replaced = [row for row, text in enumerate(texts) if "\N{REPLACEMENT CHARACTER}" in text]
    lost = f"{counted(len(replaced), 'text')} with letters that were lost (\N{REPLACEMENT CHARACTER})"
    found = [
        *found_in(
            "empty", "warning", f"{counted(len(empty), 'text')} without a letter",
            "A model says the same of each: remove the rows.",
            tuple(named.case([row], named.label(row)) for row in empty),
        ),
        *found_in(
            "replaced letters", "note", lost,
            "Some program could not read them: make the table anew from where it came from, in UTF-8.",
            tuple(named.case([row]) for row in replaced),
        ),
    ]  # fmt: skip
    return spread_of([len(text) for text in texts]), found
