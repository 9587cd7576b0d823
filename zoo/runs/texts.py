"""Texts to predict, as they come: by themselves, in files, or as lines of standard input. Knows no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.data.text import read_texts, texts_of_lines
from zoo.errors import DataError, NotFoundError, ZooError

TEXT_FILES = (".txt", ".csv", ".tsv")


@dataclass(frozen=True)
class NamedText:
    """A text, and what it is called: its number, or where it stands, as in `reviews.txt:12`."""

    name: str
    text: str


def named_texts(inputs: Iterable[Any], failed: Callable[[ZooError], object]) -> Iterator[NamedText]:
    """Yields the texts that inputs are, or that are in them.

    Args:
        inputs: Texts (`str`, or UTF-8 `bytes`), texts with names, or files (`Path`): `.txt` with one text a line, or
            a table with a column `text`.
        failed: Told about each that is none, or cannot be read.
    """
    for number, each in enumerate(inputs):
        try:
            if isinstance(each, NamedText):
                yield each
            elif isinstance(each, Path):
                yield from _in_file(each)
            else:
                yield NamedText(str(number), _decoded(each, number))
        except ZooError as error:
            failed(error)


def named_lines(lines: Sequence[bytes], name: str, first: int) -> Iterator[NamedText]:
    """Yields the texts in lines of bytes; lines with nothing but spaces are none.

    Args:
        lines: The lines, without their ends.
        name: Where they come from.
        first: The number of the first line.

    Raises:
        DataError: A line is not in UTF-8.
    """
    decoded = [line.decode("utf-8", "surrogateescape") for line in lines]
    if first == 1 and decoded:
        decoded[0] = decoded[0].removeprefix("\ufeff")
    for number, text in texts_of_lines(decoded, name, first):
        yield NamedText(f"{name}:{number}", text)


def _in_file(path: Path) -> Iterator[NamedText]:
    single = "A single text: echo 'a text' | zoo predict RUN -"
    if not path.exists():
        raise NotFoundError(f"No file {path}. {single}")
    if path.suffix.lower() not in TEXT_FILES:
        raise DataError(
            f"{path}: this run takes texts; expected a file that ends with {', '.join(TEXT_FILES)}. {single}"
        )
    for line, text in read_texts(path):
        yield NamedText(f"{path}:{line}", text)


def _decoded(text: Any, number: int) -> str:
    if isinstance(text, str):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"Text {number} has half a surrogate pair at {error.start}; UTF-8 has none.") from error
        return str(text)
    if not isinstance(text, bytes):
        raise DataError(f"Expected texts; got {type(text).__name__} at {number}.")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"Text {number} is not UTF-8 (byte 0x{text[error.start]:02x} at {error.start}).") from error
