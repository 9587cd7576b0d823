"""What may be wrong with labelled examples, found without reading one: copies, leaks, odd pictures, small classes.

Each finding is for people to judge. Nothing here decodes, prints or refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.data.examples import are_texts, as_classes, excerpt
from zoo.data.split import PART_NAMES, Split

if TYPE_CHECKING:
    from zoo.data.bad_files import BadFile
    from zoo.data.examples import Examples, Rows

Level = Literal["error", "warning", "note"]

_UNEVEN = 10.0  # times as many examples in the largest class as in the smallest
_FEW = 10  # examples of a class
_LETTERS = 40  # of a text, beside where it stands


@dataclass(frozen=True)
class Case:
    """One instance of a finding: the names of the examples (or classes) that it is about, and their rows, if any."""

    names: tuple[str, ...]
    detail: str = ""
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something that people should look at.

    Attributes:
        kind: A word for machines, the same for ever.
        level: `error`: passed over or unusable; `warning`: figures may be wrong; `note`: worth knowing.
        title: What was found, with how many, in one sentence.
        advice: What to do.
        cases: Where.
    """

    kind: str
    level: Level
    title: str
    advice: str
    cases: tuple[Case, ...]


class Named:
    """Names of examples and of what belongs to them.

    Args:
        examples: Of any task.

    Attributes:
        examples: The same, with one class each: that of several labels is the set of them.
        noun: What an example is.
        classes: What is counted: classes, or labels; nothing of a regression.
        word: What one of these is called.
    """

    def __init__(self, examples: Examples) -> None:
        self._given, self.examples = examples, as_classes(examples)
        self.noun = "text" if are_texts(examples) else "picture" if _are_pictures(examples) else "row"
        self.classes = () if examples.task == "regression" else examples.classes
        self.word = "label" if examples.task == "multilabel" else "class"

    def name(self, row: int) -> str:
        """Returns what people call the example; of a text how it begins, too."""
        paths = self.examples.paths
        if self.noun == "text" and paths is not None:
            return f'{paths[row]} "{excerpt(str(self.examples.read(np.array([row]))[0]), _LETTERS)}"'
        return f"row {row}" if paths is None else paths[row]

    def label(self, row: int) -> str:
        """Returns the name of the example's class."""
        return self.examples.classes[int(self.examples.labels[row])]

    def case(self, rows: Iterable[int], detail: str = "") -> Case:
        """Returns a case of these examples."""
        rows = tuple(int(row) for row in rows)
        names = tuple(self.name(row) for row in rows)
        lines = getattr(self.examples, "lines", None)
        if lines and len(set(names)) < len(names):
            names = tuple(f"{name} (line {lines[row]})" for name, row in zip(names, rows, strict=True))
        return Case(names, detail, rows)

    def count(self, number: int) -> str:
        """Returns a number of examples, as in 1 picture."""
        return counted(number, self.noun)

    def counts(self, rows: Any = slice(None)) -> NDArray[np.int64]:
        """Returns how many of the examples at `rows` have each of `classes`: int64 [classes]."""
        labels = self._given.labels[rows]
        if not self.classes:
            return np.zeros(0, np.int64)
        if self.word == "label":
            return np.asarray(labels.sum(axis=0, dtype=np.int64))
        return np.asarray(np.bincount(labels, minlength=len(self.classes)), np.int64)


def counted(number: int, noun: str) -> str:
    """Returns a number and its noun.

    >>> counted(1, "class"), counted(1200, "class"), counted(2, "copy")
    ('1 class', '1,200 classes', '2 copies')
    """
    plural = f"{noun}es" if noun.endswith("s") else f"{noun[:-1]}ies" if noun.endswith("py") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _are_pictures(examples: Examples) -> bool:
    return len(examples.shape) == 3 and examples.shape[-1] in (1, 3)


def bad_files(bad: Sequence[BadFile]) -> list[Finding]:
    """Returns what was passed over, as a finding."""
    lines = ["" if each.line is None else f", line {each.line}" for each in bad]
    cases = tuple(Case((each.path + line,), each.reason) for each, line in zip(bad, lines, strict=True))
    title = f"{counted(len(bad), 'file')} cannot be used"
    return found_in("broken", "error", title, "Mend, replace or remove them; a transfer passes them over.", cases)


def equal_contents(named: Named) -> list[Finding]:
    """Returns the findings about examples with the same content."""
    examples = named.examples
    _, identity = np.unique(identity_words(examples), return_inverse=True)
    together = list(groups_of(identity))
    collisions = [rows for rows in together if len(set(examples.labels[rows])) > 1]
    leaks = [rows for rows in together if _is_leak(examples, rows)]
    odd = {int(rows[0]) for rows in (*collisions, *leaks)}
    copies = [rows for rows in together if int(rows[0]) not in odd]
    spare = sum(len(rows) - 1 for rows in copies)
    return [
        *found_in(
            "label collision", "warning", f"{counted(len(collisions), named.noun)} in several classes at once",
            "The content is the same to the bit: at most one of the labels can be right. Remove the wrong ones.",
            _cases(named, collisions, named.label),
        ),
        *found_in(
            "copy across parts", "warning",
            f"{counted(_held_out(examples, leaks), f'held-out {named.noun}')} with the same content in another part",
            "What is tested on was trained on, so the test flatters. They stay where the data says; remove one side.",
            _cases(named, leaks, lambda row: _part_name(examples, row)),
        ),
        *found_in(
            "copy", "note", f"{counted(spare, named.noun)} more than once",
            "They stay in one part of the split. Copies count several times in training and in figures.",
            _cases(named, copies),
        ),
    ]  # fmt: skip


def near_copies(named: Named, clusters: NDArray[np.int64]) -> list[Finding]:
    """Returns the findings about pictures that are nearly the same, of cluster numbers (-1: none)."""
    examples = named.examples
    words = identity_words(examples)
    together = [rows for rows in groups_of(clusters) if clusters[rows[0]] >= 0 and len(np.unique(words[rows])) > 1]
    mixed = [rows for rows in together if len(set(examples.labels[rows])) > 1]
    leaks = [rows for rows in together if _is_leak(examples, rows)]
    odd = {int(rows[0]) for rows in (*mixed, *leaks)}
    rest = [rows for rows in together if int(rows[0]) not in odd]
    return [
        *found_in(
            "near duplicate across classes", "warning",
            f"{counted(len(mixed), 'group')} of nearly the same picture in several classes",
            "Compressed, resized or trimmed copies of one picture; look whether the labels are right.",
            _cases(named, mixed, named.label),
        ),
        *found_in(
            "near duplicate across parts", "warning",
            f"{counted(_held_out(examples, leaks), 'held-out picture')} nearly the same as one in another part",
            "What is tested on was all but trained on, so the test flatters. They stay where the data says.",
            _cases(named, leaks, lambda row: _part_name(examples, row)),
        ),
        *found_in(
            "near duplicate", "note", f"{counted(len(rest), 'group')} of nearly the same picture",
            "Each group stays in one part of the split.", _cases(named, rest),
        ),
    ]  # fmt: skip


def small_classes(named: Named) -> list[Finding]:
    """Returns as a finding the classes, or labels, that have few examples."""
    counts = named.counts()
    cases = tuple(_class_case(named, at, counts) for at in np.flatnonzero(counts < _FEW))
    title = f"{counted(len(cases), named.word)} with fewer than {_FEW} examples"
    advice = (
        f"Add examples or remove the {named.word}: so few can neither be learned from nor tested on with certainty."
    )
    return found_in("small class", "warning", title, advice, cases)


def uneven_classes(named: Named) -> list[Finding]:
    """Returns as a finding the largest and the smallest class, or label, where these differ much."""
    counts = named.counts()
    ordered = np.argsort(counts, kind="stable")
    ends = [ordered[0], ordered[-1]] if len(ordered) else []
    if len(ends) < 2 or counts[ends[1]] <= _UNEVEN * max(1, counts[ends[0]]):
        return []
    title = f"the largest {named.word} has more than ten times the examples of the smallest"
    advice = f"The figures of all together hide how the small ones fare: look at those of each {named.word}."
    return found_in("imbalance", "note", title, advice, tuple(_class_case(named, at, counts) for at in ends))


def _class_case(named: Named, at: Any, counts: NDArray[np.int64]) -> Case:
    return Case((named.classes[at],), named.count(int(counts[at])))


def like_named_classes(named: Named) -> list[Finding]:
    """Returns as a finding the classes whose names differ only in case."""
    alike: dict[str, list[str]] = {}
    for name in named.examples.classes:
        alike.setdefault(name.casefold(), []).append(name)
    cases = tuple(Case(tuple(names)) for names in alike.values() if len(names) > 1)
    title = f"{counted(len(cases), 'group')} of classes whose names differ only in upper and lower case"
    return found_in("like-named classes", "warning", title, "If they are one class, give it one name.", cases)


def joined_across_parts(named: Named, split: Split) -> list[Finding]:
    """Returns as a finding what is held out though it belongs together with something that is trained on."""
    examples = named.examples
    if examples.groups is None:
        return []
    held, words = np.concatenate([split.validation, split.test]), identity_words(examples)
    held = held[~np.isin(words[held], words[split.train])]  # what is the same to the bit is told of elsewhere
    count = int(np.isin(examples.groups[held], examples.groups[split.train]).sum())
    what = f"{counted(count, f'held-out {named.noun}')} of one group, or nearly the same, with training ones"
    return found_in("leak", "warning", what, "They stay where the data says.", (Case(()),) if count else ())


def without_a_part(named: Named, split: Split) -> list[Finding]:
    """Returns as findings the classes, or labels, that no example of a part has where others have some."""
    found = []
    for part, rows in zip(PART_NAMES, (split.train, split.validation, split.test), strict=True):
        counts = named.counts(rows)
        missing = tuple(Case((named.classes[at],)) for at in np.flatnonzero(counts == 0)) if counts.any() else ()
        advice = "They have too few different examples, or the data's own parts leave them out."
        title = f"{counted(len(missing), named.word)} without a {part} example"
        found += found_in(f"no {part}", "warning", title, advice, missing)
    return found


def found_in(kind: str, level: Level, title: str, advice: str, cases: tuple[Case, ...]) -> list[Finding]:
    """Returns a finding as a list of one, or of none where there are no cases."""
    return [Finding(kind, level, title, advice, cases)] if cases else []


def _cases(named: Named, together: Sequence[Rows], what: Callable[[int], str] | None = None) -> tuple[Case, ...]:
    """Returns a case for each group of rows; its detail is what is told of each row."""
    return tuple(
        named.case(rows, ", ".join(dict.fromkeys(what(int(row)) for row in rows)) if what else "") for rows in together
    )


def identity_words(examples: Examples) -> NDArray[np.int64]:
    """Returns 64 bits of each identity; that two of a million are equal by chance has a probability below 1e-7."""
    return np.ascontiguousarray(examples.ids[:, :8]).view("<i8")[:, 0]


def groups_of(numbers: NDArray[np.int64]) -> Iterable[Rows]:
    """Returns the rows of each number that several rows have, in the order of their first rows."""
    order = np.argsort(numbers, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1) if len(order) else []
    return sorted((run for run in runs if len(run) > 1), key=lambda run: int(run[0]))


def _is_leak(examples: Examples, rows: Rows) -> bool:
    if examples.parts is None:
        return False
    parts = set(examples.parts[rows].tolist())
    return bool(parts & {1, 2}) and len(parts - {-1}) > 1


def _held_out(examples: Examples, leaks: Sequence[Rows]) -> int:
    """Returns how many examples of the leaks the data holds out."""
    return sum(int((examples.parts[rows] > 0).sum()) for rows in leaks) if examples.parts is not None else 0


def _part_name(examples: Examples, row: int) -> str:
    part = -1 if examples.parts is None else int(examples.parts[row])
    return "no part" if part < 0 else PART_NAMES[part]
