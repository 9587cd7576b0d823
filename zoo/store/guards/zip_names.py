"""Guesses at the names in a zip, to tell of which format it is. Nothing is unpacked by these: `zoo.store.zips` does.

Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

from zoo.store.unpacking import Source

_DIRECTORY = 8 << 20  # of a zip: as much of its end is looked through for names
_LOCAL, _CENTRAL, _LOCATOR, _WIDE_END = 30, 46, 20, 56  # bytes of a zip's records, without what may have any length
_LONGEST_NAME = 0xFFFF


def zip_names(source: Source) -> list[str]:
    """Returns the names in a zip, the first one twice, as far as they can be found.

    Raises:
        DiskError: The file cannot be read.
    """
    first = source.read_at(0, min(source.size, _LOCAL + _LONGEST_NAME))
    names = [first[_LOCAL:][: int.from_bytes(first[26:28], "little")]]
    start = max(0, source.size - _DIRECTORY)
    tail = source.read_at(start, source.size - start)
    stop = tail.rfind(b"PK\5\6")
    size = int.from_bytes(tail[stop + 12 : stop + 16], "little")
    if tail[max(0, stop - _LOCATOR) :].startswith(b"PK\6\7"):
        stop -= _LOCATOR + _WIDE_END
    at = stop - size
    while 0 <= at < stop and tail.startswith(b"PK\1\2", at):
        name, extra, comment = (int.from_bytes(tail[at + place : at + place + 2], "little") for place in (28, 30, 32))
        names.append(tail[at + _CENTRAL : at + _CENTRAL + name])
        at += _CENTRAL + name + extra + comment
    return [name.decode("utf-8", "replace") for name in names]
