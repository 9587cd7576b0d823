"""Writes tar archives: the same bytes for the same files, whenever, by whomever and in whatever order they were made.

Format: POSIX.1-2001 (pax), uncompressed.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator

_BLOCK = 512


def tar_pieces(members: Iterable[tuple[str, int, Iterator[bytes]]]) -> Iterator[bytes]:
    """Yields the bytes of a tar archive of regular files; each has mode 0644, no owner and no time.

    Args:
        members: Path, size and content of each, in the order in which they come to stand in the archive. A content must
            have its size.
    """
    for path, size, content in members:
        header = tarfile.TarInfo(path)  # its mode is 0644, its time and owners are 0 and empty
        header.size = size
        yield header.tobuf(tarfile.PAX_FORMAT)
        yield from content
        yield bytes(-size % _BLOCK)
    yield bytes(2 * _BLOCK)
