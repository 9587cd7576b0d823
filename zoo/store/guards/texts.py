"""Tells text from bytes, whatever the text is about."""

from __future__ import annotations

import codecs
import re

from zoo.errors import IntegrityError
from zoo.store.unpacking import Source

_CONTROL = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")


def refuse_other_than_text(source: Source, encoding: str = "utf-8") -> None:
    """Sees whether a file is text, without what only terminals understand.

    Raises:
        IntegrityError: It is not.
        DiskError: It cannot be read.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for chunk in source.chunks(0, source.size):
            decoder.decode(chunk)
            if found := _CONTROL.search(chunk):
                raise IntegrityError(f"it is no text, for it has the byte {found[0][0]:#04x}")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise IntegrityError(f"it is no text in {encoding.upper()}") from error
