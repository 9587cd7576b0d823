"""Reads protobuf's text format, and writes what a table of fields names of it as protobuf. Knows no format of models.

It is stricter than readers of that format: what two of them could read in different ways is refused.
Format: https://protobuf.dev/reference/protobuf/textformat-spec
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.unpacking import shown

Messages: TypeAlias = Mapping[str, Mapping[str, tuple[int, str]]]
"""The fields of each message by name: the number, and "text", "number" or the message that it holds."""

_DEEPEST = 100
_MOST_WORDS = 5_000_000  # some ten seconds
_GAP = re.compile(rb"(?:[ \t\r\n]++|#[^\n]*+)++")
_WORD = re.compile(
    rb"(?P<string>\"[^\"\\\n]*+(?:\\[^\n][^\"\\\n]*+)*+\"|'[^'\\\n]*+(?:\\[^\n][^'\\\n]*+)*+')"
    rb"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    rb"|(?P<number>(?:[0-9]|\.[0-9])[A-Za-z0-9_.]*(?:(?<=[eE])[+-][0-9]+[fF]?)?)|(?P<mark>[{}<>\[\]:,;/.-])"
)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))", re.S)
_ESCAPED = dict(zip(b"abfnrtv\\'\"", b"\a\b\f\n\r\t\v\\'\"", strict=True))
_INTEGER = re.compile(rb"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")
_CLOSING = {b"{": b"}", b"<": b">"}


def encoded(text: bytes, messages: Messages, kind: str) -> bytes:
    """Returns the message that a text stands for, without the fields that `messages` does not name.

    >>> encoded(b'name: "a" "\\\\142" other { x: [1, 2.5] } # c', {"m": {"name": (3, "text")}}, "m")
    b'\\x1a\\x02ab'

    Raises:
        IntegrityError: It is no such text.
        UnsafeFileError: It nests deeper, or has more words, than models do.
    """
    return _Reader(text, messages).message(kind, b"")


class _Reader:
    """One text, and how far it is read."""

    def __init__(self, text: bytes, messages: Messages) -> None:
        self._text, self._messages = text, messages
        self._at, self._words, self._depth = 0, 0, 0
        self._word, self._is = b"", ""
        self._next()

    def _next(self) -> bytes:
        """Goes one word on, and returns the one before."""
        last = self._word
        self._words += 1
        if self._words > _MOST_WORDS:
            raise UnsafeFileError("it has more words than any model that this version accepts")
        if gap := _GAP.match(self._text, self._at):
            self._at = gap.end()
        found = _WORD.match(self._text, self._at)
        if not found and self._at < len(self._text):
            raise self._fault("what is no word")
        self._word, self._is = (found[0], found.lastgroup or "") if found else (b"", "end")
        self._at = found.end() if found else self._at
        return last

    def _fault(self, found: str = "") -> IntegrityError:
        line = self._text.count(b"\n", 0, self._at) + 1
        return IntegrityError(f"line {line:,} has {found or shown(self._word.decode('latin-1'))} where none may be")

    def message(self, kind: str, closing: bytes) -> bytes:
        """Returns the fields up to the mark that closes the message, and goes past it."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnsafeFileError(f"it nests more than {_DEEPEST} messages")
        fields, out = self._messages.get(kind, {}), []
        while self._word != closing or (not closing and self._is != "end"):
            number, below = fields.get(self._name(), (0, ""))
            out.append(self._field(number, below))
            if self._word in (b",", b";"):
                self._next()
        self._depth -= 1
        if closing:
            self._next()
        return b"".join(out)

    def _name(self) -> str:
        """Returns the name of a field; in brackets that of an extension, or of what a message of any kind is."""
        if self._is == "name":
            return self._next().decode()
        if self._word != b"[":
            raise self._fault()
        words = [self._next()]
        while self._word != b"]":
            if self._is not in ("name", "number") and self._word not in (b".", b"/", b"-"):
                raise self._fault()
            words.append(self._next())
        name = b"".join([*words[1:]]).decode().rpartition("/")[2]  # whoever names it there, readers look at this alone
        self._next()
        return f"[{name}]"

    def _field(self, number: int, below: str) -> bytes:
        has_colon = self._word == b":"
        if has_colon:
            self._next()
        if self._word != b"[":
            return self._value(number, below, has_colon)
        self._next()
        values = []
        while self._word != b"]":
            values.append(self._value(number, below, has_colon))
            if self._word == b",":
                self._next()
            elif self._word != b"]":
                raise self._fault()
        self._next()
        return b"".join(values)

    def _value(self, number: int, below: str, has_colon: bool) -> bytes:
        is_message = self._word in _CLOSING
        if number and is_message != (below in self._messages):
            raise self._fault()
        if is_message:
            return _field(number, self.message(below, _CLOSING[self._next()]))
        if not has_colon:
            raise self._fault()
        if self._is == "string":
            texts = []
            while self._is == "string":
                texts.append(self._next()[1:-1])
            if number and below != "text":
                raise self._fault()
            return _field(number, b"".join(map(_unescaped, texts))) if number else b""
        value = self._scalar()
        if not number:
            return b""
        if below != "number" or not _INTEGER.fullmatch(value.removeprefix(b"-")):
            raise self._fault()
        return _varint(number << 3) + _varint(_integer(value))

    def _scalar(self) -> bytes:
        """Returns a number or a name: of a member of an enumeration, `true`, `inf` and the like."""
        sign = self._next() if self._word == b"-" else b""
        if self._is not in ("name", "number"):
            raise self._fault()
        return sign + self._next()


def _unescaped(text: bytes) -> bytes:
    return _ESCAPE.sub(_byte, text) if b"\\" in text else text


def _byte(found: re.Match[bytes]) -> bytes:
    octal, hexadecimal, other = found.groups()
    if other and other[0] not in _ESCAPED:
        raise IntegrityError(f"it has the escape {shown(found[0].decode('latin-1'))}, which is not read here")
    value = _ESCAPED[other[0]] if other else int(octal or hexadecimal, 8 if octal else 16)
    if value > 0xFF:
        raise IntegrityError(f"it has the escape {shown(found[0].decode('latin-1'))}, which is no byte")
    return bytes([value])


def _integer(value: bytes) -> int:
    digits = value.removeprefix(b"-")
    base = 16 if digits[:2] in (b"0x", b"0X") else 8 if digits[:1] == b"0" else 10
    number = int(digits, base) * (-1 if digits != value else 1)
    if not -(1 << 63) <= number < 1 << 64:
        raise IntegrityError("it has a number that is larger than any")
    return number


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content if number else b""


def _varint(value: int) -> bytes:
    value %= 1 << 64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
