"""Lists the pictures that a table (CSV) names: `path,label[,split]`, and further columns to group by.

Format: RFC 4180, in UTF-8; a byte order mark, Windows line ends, and `;` or tabs between fields are taken as they come.
"""

from __future__ import annotations

import csv
import io
import logging
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from zoo.data.bad_files import BadFile
from zoo.data.grouping import refuse_useless_groups
from zoo.data.listing import PARTS, Listing
from zoo.data.targets import SEPARATOR, Task, finite_number
from zoo.data.whole_files import read_file
from zoo.errors import DataError, UsageError, nearest_names

MOST_CLASSES = 1_000_000
_SHOWN = 3
_OTHER_NAMES = {
    "path": ("file", "filename", "file_name", "filepath", "image", "image_path"),
    "label": ("class", "category", "class_name", "target"),
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
    rows = _rows(path)
    _, header = next(rows, (1, []))
    columns = _columns(path, header, group_by, unlabelled=unlabelled)
    listing = Listing(name, str(path.parent.absolute()))
    seen: dict[tuple[str, ...], int] = {}
    classes: set[str] = set()
    missing: list[str] = []
    repeated = 0
    for line, fields in rows:
        if len(fields) != len(header):
            raise DataError(
                f"{path}, line {line}: expected {len(header)} fields, as in its header; got {len(fields)}. "
                "A field with a comma in it stands in double quotes."
            )
        values = ["" if column is None else fields[column] for column in columns]
        _check(path, line, values, classes, task, unlabelled=unlabelled)
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
    listing.task = task or ("multilabel" if any(SEPARATOR in label for label in listing.labels) else "classification")
    return listing


def _rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a table that are not blank, the header first."""
    text = _text(path)
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


def _text(path: Path) -> str:
    try:
        data = read_file(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}, line 1: expected a table in UTF-8; this one is in UTF-16. Save it as CSV UTF-8.")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}, line {line}: expected text; got a NUL character.")
    return text


def _columns(path: Path, header: Sequence[str], group_by: str | None, *, unlabelled: bool = False) -> list[int | None]:
    """Returns the numbers of the columns path, label, split (None: there is none) and the group's, if asked for."""
    names = [name.strip().lower() for name in header]
    for wanted in ("path",) if unlabelled else ("path", "label"):
        if wanted not in names:
            raise DataError(
                f"{path}, line 1: expected columns path,label (and split, if you like); no column {wanted!r} among "
                f"{', '.join(map(repr, header)) or 'none'}."
                + next((f" Rename {each!r} to {wanted!r}." for each in _OTHER_NAMES[wanted] if each in names), "")
            )
    twice = [name for name in ("path", "label", "split") if names.count(name) > 1]
    if twice:
        raise DataError(f"{path}, line 1: expected one column {twice[0]!r}; got {names.count(twice[0])}.")
    found = [names.index(name) if name in names else None for name in ("path", "label", "split")]
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


def _check(
    path: Path, line: int, values: list[str], classes: set[str], task: Task | None, *, unlabelled: bool = False
) -> None:
    """Brings a row's label and split into one form, and refuses what cannot be."""
    values[1] = values[1].strip()
    values[2] = values[2].strip().lower()
    for what, value in (("path", values[0]), ("label", values[1])):
        if not value.strip() and not (what == "label" and (task == "multilabel" or unlabelled)):
            way = " If it has none of several labels, say so: --task multilabel." if what == "label" else ""
            raise DataError(f"{path}, line {line}: the {what} is empty.{way}")
    if values[2] and values[2] not in PARTS:
        raise DataError(f"{path}, line {line}: expected a split of {', '.join(PARTS)} or nothing; got {values[2]!r}.")
    _refuse_bytes(path, line, values[1])
    if task == "regression":
        try:
            finite_number(values[1])
        except DataError as error:
            raise DataError(f"{path}, line {line}: {error}.") from error
        return
    classes.add(values[1])
    if len(classes) > MOST_CLASSES:
        raise DataError(f"{path}, line {line}: more than {MOST_CLASSES:,} classes. Is label the right column?")


def _refuse_bytes(path: Path, line: int, value: str) -> None:
    """Refuses bytes that are no UTF-8; only the path of a file that is there may have such."""
    odd = next((ord(each) - 0xDC00 for each in value if "\udc80" <= each <= "\udcff"), None)
    if odd is not None:
        raise DataError(f"{path} is not UTF-8 (byte 0x{odd:02x} in line {line}); save it as CSV UTF-8.")


def _enter(listing: Listing, line: int, values: list[str], grouped: bool, missing: list[str]) -> None:
    try:
        status = Path(listing.folder, values[0]).stat()
    except (FileNotFoundError, NotADirectoryError):
        _refuse_bytes(Path(listing.name), line, values[0])
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
