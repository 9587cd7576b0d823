"""Checks a data set as a whole, for `zoo check`: opens it, decodes everything, and says what people should look at."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.data import findings as find
from zoo.data.bad_files import BadFile, BadFilePolicy
from zoo.data.duplicates import near_duplicates as clusters_of
from zoo.data.examples import Examples, are_texts
from zoo.data.findings import Case, Finding, Named
from zoo.data.inspecting import Inspection
from zoo.data.odd_pictures import odd_pictures
from zoo.data.sources import open_data
from zoo.data.split import Split, split_of
from zoo.data.text import odd_texts
from zoo.data.values import Spread, median_of, odd_rows, spread_of
from zoo.errors import DataError
from zoo.files import write_bytes
from zoo.progress import Progress, Silent

_AT_ONCE = 256  # examples that are decoded before progress is told
_NAMED = 3  # of the cases of a warning


@dataclass(frozen=True)
class ClassCount:
    """A class, how many examples it has, and how many of them each part would get."""

    name: str
    examples: int
    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class DataCheck:
    """What `check_data` found.

    Attributes:
        name: What the data was called.
        noun: What an example is: a picture, a text or a row.
        examples: How many can be used.
        passed_over: How many cannot.
        ignored: How many links (not followed) and other files lie beside the pictures of a folder.
        decoded: Whether every example was decoded in full (not with `quick`).
        classes: In the order of their numbers, with what each part of the split would get.
        formats: How many pictures of each file format; empty for arrays.
        modes: How many of each colour mode, as Pillow calls them; empty for arrays.
        sizes: width and height of pictures in pixels; letters of texts; values of arrays.
        sides: (from, below, count) of pictures by their shorter side.
        findings: What to look at: errors first, then warnings, then notes.
        problem: Why the data cannot be used as it is; None where it can.
        seconds: How long it took.
    """

    name: str
    noun: str
    examples: int
    passed_over: int
    ignored: Mapping[str, int]
    decoded: bool
    classes: tuple[ClassCount, ...]
    formats: Mapping[str, int]
    modes: Mapping[str, int]
    sizes: Mapping[str, Spread]
    sides: tuple[tuple[int, int, int], ...]
    findings: tuple[Finding, ...]
    problem: str | None
    seconds: float
    source: Examples = field(repr=False, compare=False)

    def count(self, level: str) -> int:
        """Returns how many findings are of the level `error`, `warning` or `note`."""
        return sum(each.level == level for each in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Returns all of it as what JSON can hold."""
        names = [name for name in self.__dataclass_fields__ if name not in ("source", "classes", "sizes", "findings")]
        return {
            "schema": 1,
            **{name: getattr(self, name) for name in names},
            "sizes": {name: asdict(spread) for name, spread in self.sizes.items()},
            "classes": [asdict(each) for each in self.classes],
            "findings": [asdict(each) for each in self.findings],
        }

    def to_html(self) -> str:
        """Returns a page for people, with the pictures in question in it."""
        from zoo.data.check_page import render_check

        return render_check(self)

    def save_html(self, path: str | os.PathLike[str]) -> Path:
        """Writes the page, wholly or not at all, and returns its path."""
        return write_bytes(Path(path), self.to_html().encode("utf-8", "backslashreplace"))


def check_data(
    data: Any,
    *,
    quick: bool = False,
    seed: int = 0,
    bad_files: Literal["skip", "fail"] = "skip",
    max_bad: float = 0.01,
    near_duplicates: bool = True,
    progress: Progress | None = None,
    **options: Any,
) -> DataCheck:
    """Returns what people should know of a data set before they train on it. It changes nothing.

    Args:
        data: As for `open_data`: a folder, a CSV or NPZ file, digits, or arrays.
        quick: Believe what a first look at each file says, instead of decoding all of them in full.
        seed: Of the split that is foretold.
        bad_files: `fail`: any file that cannot be used is a problem; `skip`: only more than `max_bad` are.
        max_bad: The share (0..1) of files that may be passed over.
        near_duplicates: Look for pictures that are nearly the same.
        progress: Told how far it is.
        **options: Further ones of `open_data` (`min_side`, `frames`, `group_by`, `follow_links`).

    Raises:
        NotFoundError: There is no such data.
        DataError: There is nothing in it that could be checked.

    >>> check = check_data("digits")
    >>> check.examples, check.classes[0], [finding.kind for finding in check.findings]
    (1797, ClassCount(name='0', examples=178, train=127, validation=24, test=27), [])
    """
    began = time.monotonic()
    progress = progress or Silent()
    # Everything is to be seen, however much of it is bad; what the limit says of it comes last.
    examples = open_data(
        data, bad_files="skip", max_bad=1.0, near_duplicates=near_duplicates, progress=progress, **options
    )
    split, problem = _split(examples, seed)
    named = Named(examples)
    examples = named.examples
    inspections = inspections_of(examples)
    undecodable = [] if quick else _undecodable(examples, progress)
    bad = (*examples.bad, *undecodable)
    found = [*find.bad_files(bad), *find.equal_contents(named)]
    if near_duplicates and inspections:
        found += find.near_copies(named, clusters_of(np.stack([each.thumbnail for each in inspections])))
    found += [
        *find.small_classes(named),
        *find.uneven_classes(named),
        *find.like_named_classes(named),
        *(find.without_a_part(named, split) if split else []),
    ]
    found += odd_pictures(named, inspections) if inspections else []
    odd_sizes, odd_values = _odd_values(named) if inspections is None else ({}, [])
    return DataCheck(
        name=examples.name,
        noun=named.noun,
        examples=len(examples) - len(undecodable),
        passed_over=len(bad),
        ignored=getattr(examples, "ignored", {}),
        decoded=not quick,
        classes=_class_counts(named, split),
        formats=_counts([each.format for each in inspections or ()]),
        modes=_counts([each.mode for each in inspections or ()]),
        sizes=_sizes(inspections) if inspections else odd_sizes,
        sides=_sides(inspections) if inspections else (),
        findings=tuple(sorted([*found, *odd_values], key=lambda each: ("error", "warning", "note").index(each.level))),
        problem=_refusal(bad, len(examples) + len(examples.bad), examples.name, BadFilePolicy(bad_files, max_bad))
        or _unusable(odd_values)
        or problem,
        seconds=time.monotonic() - began,
        source=examples,
    )


def data_warnings(examples: Examples, split: Split) -> tuple[str, ...]:
    """Returns what should be said of examples before a training, one sentence each; no file is read."""
    named = Named(examples)
    found = [
        *find.bad_files(examples.bad),
        *(each for each in find.equal_contents(named) if each.level == "warning"),
        *find.joined_across_parts(named, split),
        *find.without_a_part(named, split),
        *find.uneven_classes(named),
    ]
    return tuple(_sentence(each) for each in found)


def inspections_of(examples: Examples) -> Sequence[Inspection] | None:
    """Returns what is known of the file of each example; None for arrays."""
    found: Sequence[Inspection] | None = getattr(examples, "inspections", None)
    return found


def pictures_shape(examples: Examples) -> tuple[int | None, ...]:
    """Returns height, width and channels of pictures, as far as all have the same: 1 channel where all are gray."""
    found = inspections_of(examples)
    if not found:
        return tuple(examples.shape)
    kinds = {(each.height, each.width, _is_gray(each.mode)) for each in found}
    heights, widths, grays = (set(side) for side in zip(*kinds, strict=True))
    height, width = (sides.pop() if len(sides) == 1 else None for sides in (heights, widths))
    return height, width, 1 if grays == {True} else 3


def _is_gray(mode: str) -> bool:
    return mode in ("1", "L", "LA", "La", "F") or mode.startswith("I")


def _sentence(finding: Finding) -> str:
    shown = [_case_text(case) for case in finding.cases[:_NAMED] if case.names]
    more = len(finding.cases) - len(shown)
    listed = "; ".join(shown) + (f"; {more:,} more" if shown and more else "")
    return finding.title[:1].upper() + finding.title[1:] + (f": {listed}." if listed else ".")


def _case_text(case: Case) -> str:
    names = " = ".join(case.names[:_NAMED]) + (" = ..." if len(case.names) > _NAMED else "")
    return f"{names} ({case.detail})" if case.detail else names


def _undecodable(examples: Examples, progress: Progress) -> list[BadFile]:
    """Returns the examples that turn out to be bad when they are decoded in full."""
    if examples.paths is None or are_texts(examples):
        return []
    paths = examples.paths

    def fault(row: int) -> BadFile | None:
        try:
            examples.read(np.array([row]))
        except DataError as error:
            return BadFile(paths[row], str(error))
        return None

    found = []
    progress.start(len(examples), "pictures")
    try:
        with ThreadPoolExecutor(_threads(), thread_name_prefix="zoo-check") as pool:
            for begin in range(0, len(examples), _AT_ONCE):
                rows = range(begin, min(begin + _AT_ONCE, len(examples)))
                found += [each for each in pool.map(fault, rows) if each]
                progress.advance(len(rows))
    finally:
        progress.close()
    return found


def _odd_values(named: Named) -> tuple[dict[str, Spread], list[Finding]]:
    """Returns how large the values of an array are, or how long texts, and what is odd in them."""
    if named.noun == "text":
        letters, found = odd_texts(named)
        return {"letters": letters}, found
    values, found = odd_rows(named)
    return {"values": values} if values else {}, found


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def _split(examples: Examples, seed: int) -> tuple[Split | None, str | None]:
    """Returns what the split would be, and why the examples cannot be trained on, if they cannot."""
    if len(examples.classes) < 2 and examples.task == "classification":
        count = find.counted(len(examples.classes), "class")
        return None, f"Data {examples.name!r} has {count}; a classifier needs two or more."
    try:
        split = split_of(examples, seed)
    except DataError as error:
        return None, str(error)
    if not len(split.test) and _is_one_group(examples):
        return split, f"All {len(examples):,} examples of {examples.name!r} are one group; none is left to test on."
    if not len(split.test):
        return split, f"Data {examples.name!r} has no class with two different examples; none is left to test on."
    return split, None


def _is_one_group(examples: Examples) -> bool:
    return examples.groups is not None and len(np.unique(examples.groups)) == 1


def _unusable(findings: Sequence[Finding]) -> str | None:
    """Returns why an array's numbers cannot be trained on; a training refuses each of these errors too."""
    errors = [each for each in findings if each.level == "error"]
    return f"{_sentence(errors[0])} {errors[0].advice}" if errors else None


def _refusal(bad: Sequence[BadFile], total: int, name: str, policy: BadFilePolicy) -> str | None:
    try:
        policy.judge(bad, total, name)
    except DataError as error:
        return str(error)
    return None


def _class_counts(named: Named, split: Split | None) -> tuple[ClassCount, ...]:
    nothing = np.zeros(0, np.int64)
    parts = (split.train, split.validation, split.test) if split else (nothing, nothing, nothing)
    if not named.classes:
        return (ClassCount("any value", len(named.examples), *map(len, parts)),)
    columns = [named.counts().tolist(), *(named.counts(rows).tolist() for rows in parts)]
    return tuple(ClassCount(name, *row) for name, *row in zip(named.classes, *columns, strict=True))


def _counts(values: Sequence[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _sizes(inspections: Sequence[Inspection]) -> dict[str, Spread]:
    return {
        name: replace(spread_of(sides), median=median_of(sides))
        for name in ("width", "height")
        for sides in [[getattr(each, name) for each in inspections]]
    }


def _sides(inspections: Sequence[Inspection]) -> tuple[tuple[int, int, int], ...]:
    """Returns (from, below, count) of the shorter sides, between powers of the root of 2 that are rounded."""
    sides = np.array([min(each.width, each.height) for each in inspections])
    powers = np.arange(np.floor(2 * np.log2(sides.min())), np.floor(2 * np.log2(sides.max())) + 2)
    edges = np.unique(np.rint(2 ** (powers / 2)).astype(np.int64))
    edges = np.append(edges, edges[-1] + 1) if edges[-1] <= sides.max() else edges
    counts, _ = np.histogram(sides, edges)
    return tuple((int(a), int(b), int(n)) for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True))
