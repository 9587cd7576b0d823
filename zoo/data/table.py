"""Reads tables (CSV) of examples: `path,label[,split]` for pictures, which are listed here, and columns to group by.

Format: RFC 4180, in UTF-8; a byte order mark, Windows line ends, and `;` or tabs between fields are taken as they come.
"""

from __future__ import annotations

import csv
import io
import logging
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from zoo.data.bad_files import BadFile
from zoo.data.grouping import refuse_useless_groups
from zoo.data.listing import PARTS, Listing
from zoo.data.targets import SEPARATOR, Task, finite_number
from zoo.data.whole_files import read_file, read_head
from zoo.errors import DataError, UsageError, nearest_names

MOST_CLASSES = 1_000_000
_SHOWN = 3
_HEAD = 1 << 16
_BYTES = re.compile("[\udc80-\udcff]")
_OTHER_NAMES = {
    "path": ("file", "filename", "file_name", "filepath", "image", "image_path"),
    "label": ("class", "category", "class_name", "target"),
    "text": ("review", "sentence", "comment", "content", "document"),
}

Row = tuple[int, list[str]]
"""The number of a row's first line, from 1, and its fields."""


def list_table(
    name: str, path: Path, *, group_by: str | None = None, task: Task | None = None, unlabelled: bool = False
) -> Listing:
    """Returns the files that a table names, with their classes.

    Paths are relative to the table's folder; whole ones, and links, are followed: it is the user's own table.
    A row that says the same of a file again is counted once; a file with two labels is there twice.

    Args:
        name: What the user called it.
        path: The table.
        group_by: The column whose values name groups; an empty value: no group.
        task: What the labels are; None: several for each file where `|` stands in any of them, or else classes.
        unlabelled: Whether labels are not looked at; there need be none.

    Raises:
        DataError: It is no such table; the message names the line.
        UsageError: There is no column `group_by`, or it tells no groups apart.
    """
    rows = table_rows(path)
    _, header = next(rows, (1, []))
    columns = columns_of(path, header, group_by, unlabelled=unlabelled)
    listing = Listing(name, str(path.parent.absolute()))
    seen: dict[tuple[str, ...], int] = {}
    classes: set[str] = set()
    missing: list[str] = []
    repeated = 0
    for line, fields in rows:
        values = row_values(path, line, fields, header, columns, classes, task, unlabelled=unlabelled)
        repeated += tuple(values) in seen
        if seen.setdefault(tuple(values), line) == line:
            _enter(listing, line, values, len(columns) > 3, missing)
    if missing:
        more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
        raise DataError(
            f"{path} names files that are not there: {'; '.join(missing[:_SHOWN])}{more}. Paths are relative to "
            "the folder of the table."
        )
    if repeated:
        logging.getLogger("zoo").warning("%s: %d rows say again what others say; they count once.", path, repeated)
    if not listing.paths and not listing.bad:
        raise DataError(f"{path} names no pictures: it has no row below its header.")
    if group_by is not None and listing.groups:
        refuse_useless_groups(listing.groups, group_by, "rows", f"line {listing.lines[0]}")
    if all(part < 0 for part in listing.parts):
        listing.parts = []
    listing.task = label_task(listing.labels, task)
    return listing


def names_texts(path: Path) -> bool:
    """Returns whether the header of a table has a column `text`, and none `path`."""
    try:
        head = read_head(path, _HEAD).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
        line = head.lstrip().split("\n", 1)[0].removesuffix("\r")
        header = next(csv.reader([line], delimiter=max(",;\t", key=line.count)), [])
    except (OSError, DataError, csv.Error):  # which is told when it is read
        return False
    names = [name.strip().lower() for name in header]
    return "text" in names and "path" not in names


def label_task(labels: Sequence[str], task: Task | None) -> Task:
    """Returns what labels are, where nobody says it: several for each example where `|` stands in any of them."""
    return task or ("multilabel" if any(SEPARATOR in label for label in labels) else "classification")


def table_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a table that are not blank, the header first.

    Raises:
        DataError: It cannot be read, or is no table; the message names the line.
    """
    text = table_text(path)
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line}: {error}. A field with a quote in it stands in double quotes, the quote doubled."
        ) from error


def table_text(path: Path) -> str:
    """Returns what stands in a file of text in UTF-8; bytes that are none stand in it as `surrogateescape` has it.

    Raises:
        DataError: It cannot be read, or is none; the message names the line.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}, line 1: expected text in UTF-8; this is in UTF-16. Save it in UTF-8 (as CSV UTF-8).")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}, line {line}: expected text; got a NUL character.")
    return text


def columns_of(
    path: Path,
    header: Sequence[str],
    group_by: str | None,
    what: Literal["path", "text"] = "path",
    *,
    unlabelled: bool = False,
) -> list[int | None]:
    """Returns the numbers of the columns `what`, label, split (None: there is none) and the group's, if asked for.

    Raises:
        DataError: There is no such column, or it is there twice.
        UsageError: There is no column `group_by`.
    """
    names = [name.strip().lower() for name in header]
    for wanted in (what,) if unlabelled else (what, "label"):
        if wanted not in names:
            raise DataError(
                f"{path}, line 1: expected columns {_expected(what)} (and split, if you like); no column "
                f"{wanted!r} among {', '.join(map(repr, header)) or 'none'}." + _hint(names, wanted)
            )
    twice = [name for name in (what, "label", "split") if names.count(name) > 1]
    if twice:
        raise DataError(f"{path}, line 1: expected one column {twice[0]!r}; got {names.count(twice[0])}.")
    found = [names.index(name) if name in names else None for name in (what, "label", "split")]
    found[1] = None if unlabelled else found[1]
    if group_by is not None:
        exact = [name.strip() for name in header]
        if group_by not in exact:
            raise UsageError(
                f"No column {group_by!r} to group by in {path}; it has {', '.join(exact)}."
                f"{nearest_names(group_by, exact)}"
            )
        found.append(exact.index(group_by))
    return found


def _hint(names: Sequence[str], wanted: str) -> str:
    """Returns which column may be the one that is wanted, by another name."""
    for which in (wanted, "text") if wanted == "path" else (wanted,):
        for each in _OTHER_NAMES[which]:
            if each in names:
                return f" Rename {each!r} to {which!r}."
    return ""


def _expected(what: str) -> str:
    return "path,label for pictures, or text,label for texts" if what == "path" else "text,label"


def row_values(
    path: Path,
    line: int,
    fields: Sequence[str],
    header: Sequence[str],
    columns: Sequence[int | None],
    classes: set[str],
    task: Task | None,
    what: Literal["path", "text"] = "path",
    *,
    unlabelled: bool = False,
) -> list[str]:
    """Returns the values of a row in `columns`, its label and split brought into one form; adds to the `classes`.

    Raises:
        DataError: Something in it cannot be; the message names the line.
    """
    if len(fields) != len(header):
        raise DataError(
            f"{path}, line {line}: expected {len(header)} fields, as in its header; got {len(fields)}. "
            "A field with a comma in it stands in double quotes."
        )
    values = ["" if column is None else fields[column] for column in columns]
    _check(path, line, values, classes, task, what, unlabelled=unlabelled)
    return values


def _check(
    path: Path, line: int, values: list[str], classes: set[str], task: Task | None, what: str, *, unlabelled: bool
) -> None:
    """Brings a row's label and split into one form, and refuses what cannot be: a text may be empty, a path not."""
    values[1] = values[1].strip()
    values[2] = values[2].strip().lower()
    if what == "path" and not values[0].strip():
        raise DataError(f"{path}, line {line}: the path is empty.")
    if not values[1] and task != "multilabel" and not unlabelled:
        raise DataError(
            f"{path}, line {line}: the label is empty. If it has none of several labels, say so: --task multilabel."
        )
    if values[2] and values[2] not in PARTS:
        raise DataError(f"{path}, line {line}: expected a split of {', '.join(PARTS)} or nothing; got {values[2]!r}.")
    refuse_bytes(path, line, values[1])
    if task == "regression":
        try:
            finite_number(values[1])
        except DataError as error:
            raise DataError(f"{path}, line {line}: {error}.") from error
        return
    classes.add(values[1])
    if len(classes) > MOST_CLASSES:
        raise DataError(f"{path}, line {line}: more than {MOST_CLASSES:,} classes. Is label the right column?")


def refuse_bytes(path: Path, line: int, value: str) -> None:
    """Refuses bytes that are no UTF-8; only the path of a file that is there may have such.

    Args:
        path: The table.
        line: The line at which the row begins.
        value: A field of it, which may have several lines.

    Raises:
        DataError: There are such; the message names the line.
    """
    if odd := _BYTES.search(value):
        byte, at = ord(odd[0]) - 0xDC00, line + value.count("\n", 0, odd.start())
        kind = "CSV UTF-8" if path.suffix.lower() in (".csv", ".tsv") else "UTF-8"
        raise DataError(f"{path} is not UTF-8 (byte 0x{byte:02x} in line {at}); save it as {kind}.")


def _enter(listing: Listing, line: int, values: list[str], grouped: bool, missing: list[str]) -> None:
    try:
        status = Path(listing.folder, values[0]).stat()
    except (FileNotFoundError, NotADirectoryError):
        refuse_bytes(Path(listing.name), line, values[0])
        missing.append(f"{values[0]!r} (line {line})")
        return
    except OSError as error:
        listing.bad.append(BadFile(values[0], f"it cannot be looked at: {error.strerror}", line))
        return
    if not stat.S_ISREG(status.st_mode):
        listing.bad.append(BadFile(values[0], "it is no file but a folder, a pipe, a socket or a device", line))
        return
    listing.paths.append(values[0])
    listing.statuses.append(status)
    listing.labels.append(values[1])
    listing.lines.append(line)
    listing.parts.append(PARTS.get(values[2], -1))
    if grouped:
        listing.groups.append(values[3])
