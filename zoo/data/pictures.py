"""Examples that lie in picture files. Only paths and what was seen at a first look are held; pictures are read anew."""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.data import inspecting
from zoo.data.bad_files import BadFile, BadFilePolicy
from zoo.data.decode import DECODER, REDUCED_STILL, DecodedColor, Size, decode_bytes, size_seen
from zoo.data.duplicates import near_duplicates
from zoo.data.examples import Ids, Rows
from zoo.data.image_folder import no_images
from zoo.data.inspecting import Inspections, Survey, survey_files
from zoo.data.listing import Listing
from zoo.data.patience import TooSlowError, Workers
from zoo.data.split import group_numbers, joined_groups, own_numbers
from zoo.data.targets import targets_of_names
from zoo.data.whole_files import read_file
from zoo.errors import DataError
from zoo.progress import Progress

if TYPE_CHECKING:
    from zoo.registry import InputSpec

_READERS = Workers(64)
_SHOWN = 5


@dataclass(frozen=True)
class PictureRules:
    """Which pictures are taken.

    Attributes:
        policy: What to do about bad files.
        min_side: Pixels that the shorter side must have.
        one_frame: Whether pictures of several frames are bad.
        near_duplicates: Whether near duplicates are kept together.
        follow_links: Whether links were followed (for messages).
    """

    policy: BadFilePolicy
    min_side: int = 1
    one_frame: bool = False
    near_duplicates: bool = True
    follow_links: bool = False


class FileExamples:
    """Labelled picture files, known by the sha256 of their bytes.

    Attributes:
        inspections: What is known of the file of each.
        lines: Of the table that names each; None for folders.
        ignored: How many links (not followed) and other files a folder has beside the pictures.

    Made by `open_data`.
    """

    opened: dict[str, Any] | None = None

    def __init__(
        self,
        listing: Listing,
        rows: Rows,
        ids: Ids,
        inspections: Inspections,
        bad: Sequence[BadFile],
        policy: BadFilePolicy,
    ) -> None:
        chosen = rows.tolist()
        self.name, self._folder = listing.name, listing.folder
        self._paths = [listing.paths[row] for row in chosen]
        self.lines = [listing.lines[row] for row in chosen] if listing.lines else None
        self.task = listing.task
        self.classes, self.labels = targets_of_names([listing.labels[row] for row in chosen], listing.task)
        self.ids, self.inspections = ids, inspections
        self.parts = np.array(listing.parts, np.int8)[rows] if listing.parts else None
        self.groups: NDArray[np.int64] | None = None
        self.ignored: dict[str, int] = {}
        self.bad, self.policy = tuple(bad), policy
        self._see("RGB", None)

    def _see(self, color: DecodedColor, at_least: Size | None) -> None:
        self._color, self._at_least = color, at_least
        self.shape: tuple[int | None, ...] = (None, None, 1 if color == "gray" else 3)
        self.decoding: dict[str, Any] = {
            "color": color,
            "decoder": DECODER,
            "jpeg_at_least": [REDUCED_STILL * size for size in at_least] if at_least else None,
        }

    @property
    def paths(self) -> Sequence[str]:
        """Where each lies, relative to the folder of the data; whole where a table gave whole paths."""
        return self._paths

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, rows: Rows) -> list[NDArray[np.uint8]]:
        """Returns the decoded pictures at `rows`: uint8 [height, width, 3 or 1].

        Raises:
            DataError: A file cannot be read or decoded, or is no longer the one that was looked at.
        """
        return [self._read(int(row)) for row in np.asarray(rows)]

    def _read(self, row: int) -> NDArray[np.uint8]:
        path = self._paths[row]
        task = _READERS.submit(read_file, Path(self._folder, path))
        try:
            data = task.result(inspecting.PATIENCE)
        except TooSlowError as error:
            _READERS.give_up_one()
            raise DataError(f"{path}: {error}.") from error
        except FileNotFoundError as error:
            raise DataError(f"{path} was there when the data was opened, and is gone.") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
        if hashlib.sha256(data).digest() != self.ids[row].tobytes():
            raise DataError(f"{path} was changed after the data was opened; open it again.")
        return decode_bytes(data, self._color, path, self._at_least)

    def seen_by(self, spec: InputSpec | None) -> FileExamples:
        """Returns the same pictures decoded for a model: gray where it wants gray; JPEGs reduced as it resizes them."""
        seen = copy.copy(self)
        seen._see("gray" if spec is not None and spec.color == "gray" else "RGB", size_seen(spec))
        return seen


def open_listing(listing: Listing, rules: PictureRules, progress: Progress | None = None) -> FileExamples:
    """Returns the examples of a listing: every file is looked at, and what cannot be used is told apart.

    Raises:
        DataError: More is bad than the policy allows, or nothing is left.
    """
    whole = [listing.whole_path(row) for row in range(len(listing.paths))]
    survey = survey_files(whole, listing.statuses, progress)
    kept, bad = _judged(listing, survey, rules)
    total = len(kept) + len(bad)
    if not total:
        raise DataError(no_images(listing.folder, listing.paths, rules.follow_links))
    rules.policy.judge(bad, total, listing.name)
    if not len(kept):
        raise DataError(f"None of the {total:,} pictures of {listing.name!r} can be used; the first: {bad[0]}.")
    examples = FileExamples(listing, kept, survey.ids[kept], survey.inspections[kept], bad, rules.policy)
    examples.groups = _groups(examples, [listing.groups[row] for row in kept] if listing.groups else None, rules)
    if not listing.lines:
        counts = {"links": len(listing.links), "other files": listing.others + len(survey.others)}
        examples.ignored = {what: count for what, count in counts.items() if count}
    _tell_empty(listing, examples)
    return examples


def _judged(listing: Listing, survey: Survey, rules: PictureRules) -> tuple[Rows, list[BadFile]]:
    """Returns the rows that can be used, and what cannot."""
    table = survey.inspections
    side = np.minimum(table.column("width"), table.column("height"))
    reasons = {int(row): f"its shorter side has {side[row]} pixels; at least {rules.min_side} are wanted"
               for row in np.flatnonzero(side < rules.min_side)}  # fmt: skip
    if rules.one_frame:
        frames = table.column("frames")
        reasons |= {int(row): f"it has {frames[row]} frames" for row in np.flatnonzero(frames > 1)}
    reasons |= survey.faults
    by_table = bool(listing.lines)
    for row in survey.others:
        reasons[row] = "it is no picture of a known format"
    bad = [
        BadFile(listing.paths[row], reasons[row], listing.lines[row] if by_table else None)
        for row in sorted(reasons)
        if by_table or row not in survey.others
    ]
    kept = np.ones(len(listing.paths), bool)
    kept[list(reasons)] = False
    return np.flatnonzero(kept), [*listing.bad, *bad]


def _groups(examples: FileExamples, names: list[str] | None, rules: PictureRules) -> NDArray[np.int64] | None:
    """Returns the numbers of what belongs together, by the names of groups ("": none) and by likeness."""
    clusters = near_duplicates(examples.inspections.thumbnails) if rules.near_duplicates else None
    if names is None and (clusters is None or not np.any(clusters >= 0)):
        return None
    return joined_groups(examples.ids, None if names is None else numbers_of_groups(names, examples.ids), clusters)


def numbers_of_groups(names: Sequence[str], ids: Ids) -> NDArray[np.int64]:
    """Returns the group numbers of examples with these groups' names; "" is no group."""
    none = np.array([not name for name in names], bool)
    return np.where(none, own_numbers(ids), group_numbers(names))


def _tell_empty(listing: Listing, examples: FileExamples) -> None:
    """Warns of classes that no picture is left of; they are no classes of the examples."""
    empty = sorted({*listing.empty, *listing.labels} - {*examples.classes} if not listing.lines else set())
    if empty:
        more = f" and {len(empty) - _SHOWN:,} more" if len(empty) > _SHOWN else ""
        logging.getLogger("zoo").warning(
            "%s: no pictures in %s%s; left out.", listing.name, ", ".join(f"{name}/" for name in empty[:_SHOWN]), more
        )
