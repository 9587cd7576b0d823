"""Looks at each file of a data set once, ever: what it is, what it holds in little, and whether it can be decoded."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageFile

from zoo.data.contents import Contents, Fields
from zoo.data.decode import DECODER, on_white, opened_picture, orientation_of, upright
from zoo.data.patience import TooSlowError, patiently
from zoo.data.signatures import CLAIMING, SIGNATURE_BYTES, opened_class, picture_format
from zoo.data.whole_files import read_file, read_head
from zoo.errors import DataError
from zoo.files import zoo_home
from zoo.progress import Progress, Silent

THUMBNAIL = (16, 17)
PATIENCE = 60.0
"""Seconds without any progress after which a file is given up."""

_VERSION = f"1 {DECODER} {PIL.__version__}"
_MOST_HUNG = 16
_REMEMBERED_AT_ONCE = 2_000
_COUNTED_BYTES = 16 << 20  # frames of larger GIFs are not counted, which means to go through all of the file
_MOST_FRAMES = 1_000
_ROW = np.dtype(
    [("format", "U5"), ("mode", "U8"), ("width", "i4"), ("height", "i4"), ("frames", "i4"), ("orientation", "i1"),
     ("thumbnail", "u1", THUMBNAIL)]
)  # fmt: skip


@dataclass(frozen=True)
class Inspection:
    """What is known of a picture file.

    Attributes:
        format: As Pillow calls it ("JPEG"); empty where the file is no picture.
        mode: Colour mode, as Pillow calls it ("RGB", "CMYK", "I;16").
        width: In pixels, once it is upright.
        height: Likewise.
        frames: How many there are: at most 1,000; 2 for a GIF of more than 16 MB with several.
        thumbnail: uint8 [16, 17], gray, upright, transparency on white.
        fault: Why it cannot be decoded; None where it can.
        orientation: EXIF's, 1..8.
    """

    format: str
    mode: str
    width: int
    height: int
    frames: int
    thumbnail: NDArray[np.uint8]
    fault: str | None = None
    orientation: int = 1


class Inspections(Sequence[Inspection]):
    """What is known of many files, held in little memory.

    Attributes:
        thumbnails: uint8 [n, 16, 17], of all.
    """

    def __init__(self, table: NDArray[Any]) -> None:
        self._table = table
        self.thumbnails: NDArray[np.uint8] = table["thumbnail"]

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, at: Any) -> Any:
        """Returns the inspection with a number, or those of a slice or of an array of numbers."""
        if not isinstance(at, int | np.integer):
            return Inspections(self._table[at])
        kind, mode, width, height, frames, orientation, thumbnail = self._table[at]
        return Inspection(
            str(kind), str(mode), int(width), int(height), int(frames), thumbnail, orientation=int(orientation)
        )

    def column(self, name: str) -> NDArray[Any]:
        """Returns an attribute (`width`, `frames`, ...) of all."""
        column: NDArray[Any] = self._table[name]
        return column


class _Look(NamedTuple):
    """What one look at a file gave; an empty `sha256`: its first bytes are no picture's."""

    sha256: bytes
    fields: Fields | None
    began: int
    lasting: bool


class Survey:
    """What was found in files, row by row.

    Attributes:
        ids: uint8 [n, 32]: the sha256 of each.
        inspections: Of each; nothing for those with a fault or that are no pictures.
        faults: Why rows cannot be used.
        others: Rows that are no pictures, and do not claim to be.
    """

    def __init__(self, count: int) -> None:
        self.ids = np.zeros((count, 32), np.uint8)
        self._table = np.zeros(count, _ROW)
        self.faults: dict[int, str] = {}
        self.others: set[int] = set()

    @property
    def inspections(self) -> Inspections:
        """What is known of each file."""
        return Inspections(self._table)

    def enter(self, row: int, sha256: bytes, fields: Fields | None) -> None:
        """Enters what is known of a file."""
        if not sha256 or fields is None:
            self.others.add(row)
            return
        self.ids[row] = np.frombuffer(sha256, np.uint8)
        *known, fault, thumbnail = fields
        if fault is not None:
            self.faults[row] = fault
            return
        self._table[row] = (*known, np.frombuffer(thumbnail, np.uint8).reshape(THUMBNAIL))


def survey_files(paths: Sequence[str], statuses: Sequence[os.stat_result], progress: Progress | None = None) -> Survey:
    """Returns what is in files. Those that look as they did at an earlier look are not opened.

    Args:
        paths: Whole paths.
        statuses: Of each, from before it is read.
        progress: Told of each file that is read.

    Raises:
        DataError: Many files hang: the disk does not answer.
    """
    survey = Survey(len(paths))
    contents = Contents(zoo_home() / "contents.sqlite", _VERSION)
    try:
        left = []
        with contents.asked_often():
            for row, (path, status) in enumerate(zip(paths, statuses, strict=True)):
                known = contents.known(os.fsencode(path), status)
                if known is None or (known[0] and known[1] is None):
                    left.append(row)
                else:
                    survey.enter(row, *known)
        if left:
            _look_at(left, paths, statuses, survey, contents, progress or Silent())
    finally:
        contents.close()
    return survey


def _look_at(
    rows: Sequence[int],
    paths: Sequence[str],
    statuses: Sequence[os.stat_result],
    survey: Survey,
    contents: Contents,
    progress: Progress,
) -> None:
    seen: list[tuple[int, _Look]] = []
    hung = 0

    def keep() -> None:
        files = [(os.fsencode(paths[row]), statuses[row], look.sha256, look.began) for row, look in seen]
        contents.remember(files, [(look.sha256, look.fields) for _, look in seen if look.fields and look.lasting])
        seen.clear()

    progress.start(len(rows), "files")
    try:
        for row, found in patiently(lambda row, alive: _look(paths[row], contents, alive), rows, PATIENCE, _threads()):
            if isinstance(found, Exception):
                survey.faults[row] = _reason(found)
                hung += isinstance(found, TooSlowError)
            else:
                survey.enter(row, found.sha256, found.fields)
                seen.append((row, found))
            if len(seen) >= _REMEMBERED_AT_ONCE:
                keep()
            if hung >= _MOST_HUNG:
                raise DataError(
                    f"{hung} files could not be read within {PATIENCE:g} seconds each, the last: {paths[row]}. "
                    "Look whether the disk that they lie on answers."
                )
            progress.advance(1)
    finally:
        keep()
        progress.close()


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def _reason(error: Exception) -> str:
    if isinstance(error, TooSlowError | DataError):
        return str(error)
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror or error}"
    raise error


def _look(path: str, contents: Contents, alive: Any) -> _Look:
    began = time.time_ns()
    if not claims(path) and picture_format(read_head(path, SIGNATURE_BYTES)) is None:
        return _Look(b"", None, began, True)
    data = read_file(path, alive)
    sha256 = hashlib.sha256(data).digest()
    known = contents.of_content(sha256)
    if known is not None:
        return _Look(sha256, known, began, False)
    fields, lasting = inspected(data)
    return _Look(sha256, fields, began, lasting)


def claims(path: str) -> bool:
    """Returns whether a file's name says that it is a picture.

    >>> claims("cats/1.JPG"), claims("cats/README.txt")
    (True, False)
    """
    _, dot, suffix = path.rpartition(".")
    return dot + suffix.lower() in CLAIMING


def inspected(data: bytes) -> tuple[Fields, bool]:
    """Returns what is in the bytes of a file, and whether that would be found again another time.

    All of them are decoded; a JPEG at an eighth of its size where it is large, for which all of it must be read too.
    """
    try:
        with opened_picture(data, "it") as picture:
            return _fields(picture, data), True
    except DataError as error:
        lasting = not isinstance(error.__cause__, MemoryError)
        return (picture_format(data) or "", "", 0, 0, 0, 1, str(error).rstrip("."), b""), lasting


def _fields(picture: ImageFile.ImageFile, data: bytes) -> Fields:
    kind, mode, orientation = picture.format or "", picture.mode, orientation_of(picture)
    width, height = picture.size if orientation < 5 else picture.size[::-1]
    if kind == "JPEG":
        picture.draft("L", (2 * max(THUMBNAIL), 2 * max(THUMBNAIL)))
    picture.load()
    little = on_white(upright(picture, orientation)).convert("L").resize(THUMBNAIL[::-1], Image.Resampling.BOX)
    return kind, mode, width, height, _frames(picture, data), orientation, None, little.tobytes()


def _frames(picture: Any, data: bytes) -> int:
    """Returns how many frames there are; those after the first may be damaged."""
    if picture.format in ("PNG", "WEBP"):
        return min(int(picture.n_frames), _MOST_FRAMES)
    if picture.format not in ("GIF", "TIFF"):
        return 1
    found = 1
    with contextlib.suppress(Exception), opened_class(picture.format)(io.BytesIO(data)) as another:
        if picture.format == "GIF":
            found += getattr(another, "is_animated", False)
            return int(getattr(another, "n_frames", found)) if len(data) <= _COUNTED_BYTES else found
        while found < _MOST_FRAMES:
            another.seek(found)
            found += 1
    return found
