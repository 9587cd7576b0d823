"""Tables of plain text: columns that fit a width, names that are never cut. Draws nothing and knows no terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

_GAP = "  "
_NARROWEST = 6  # a text column is cut down to this, or to its header


def table_lines(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str], width: int | None
) -> list[str]:
    """Returns the lines of a table, its header first.

    The first column of text holds names that people copy: one that is too long for its column stands on a line of its
    own, with the rest of its row below. Other columns of text end in an ellipsis where they must; numbers are whole.

    Args:
        header: Names of the columns.
        rows: Their cells, without control characters.
        right: Names of the columns of numbers.
        width: Columns of the terminal; None: as wide as it needs to be.
    """
    is_number = [name in right for name in header]
    key = is_number.index(False) if False in is_number else -1
    widths = [max(map(text_width, column)) for column in zip(header, *rows, strict=True)]
    if width is not None:
        least = [
            size if number else _least(name, size) for name, size, number in zip(header, widths, is_number, strict=True)
        ]
        widths = _fitted(widths, least, key, width - len(_GAP) * (len(header) - 1))
    return [line for row in (header, *rows) for line in _row_lines(row, widths, is_number, key)]


def _least(name: str, size: int) -> int:
    return min(size, max(_NARROWEST, text_width(name)))


def _fitted(widths: list[int], least: list[int], key: int, room: int) -> list[int]:
    """Returns widths that fit the room, where they can.

    The names' column gives way first, for it can, but not below a third; then the widest of the columns of text, one
    after the other; then the names' column again.
    """
    widths = list(widths)

    def give(at: int, least: int) -> None:
        widths[at] = max(min(widths[at], least), widths[at] - max(0, sum(widths) - room))

    if key >= 0:
        give(key, room // 3)
    while sum(widths) > room:
        size, at = max((size - least[at] and size, at) for at, size in enumerate(widths) if at != key)
        if not size:
            break
        widths[at] -= 1
    if key >= 0:
        give(key, least[key])
    return widths


def _row_lines(row: Sequence[str], widths: list[int], is_number: list[bool], key: int) -> list[str]:
    cells = [
        cell if at == key else _padded(cell, size, number)
        for at, (cell, size, number) in enumerate(zip(row, widths, is_number, strict=True))
    ]
    if key < 0:
        return [_GAP.join(cells).rstrip()]
    before, name, after = cells[:key], cells[key], cells[key + 1 :]
    missing = widths[key] - text_width(name)
    if missing >= 0:
        return [_GAP.join([*before, name + " " * missing, *after]).rstrip()]
    blanks = [" " * size for size in widths[: key + 1]]
    return [_GAP.join([*before, name]), _GAP.join([*blanks, *after]).rstrip()]


def _padded(cell: str, size: int, number: bool) -> str:
    missing = size - text_width(cell)
    if missing < 0:
        cell = _cut(cell, size - 1) + "…"
        missing = size - text_width(cell)
    return " " * missing + cell if number else cell + " " * missing


def _cut(text: str, size: int) -> str:
    """Returns the beginning of the text that is at most `size` columns wide."""
    while text_width(text) > size:
        text = text[:-1]
    return text


def text_width(text: str) -> int:
    """Returns how many columns of a terminal the text takes: East Asian wide characters two, combining ones none.

    >>> text_width("vgg16"), text_width("模型"), text_width("e\\u0301")
    (5, 4, 1)
    """
    if text.isascii():
        return len(text)
    return sum(_character_width(each) for each in text)


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
