"""Splits examples into training, validation and test parts by what they are, never by where they lie.

Each example falls where a hash of its identity and the seed puts it, so adding, moving or renaming examples moves no
other one. What belongs together (equal content, near duplicates, groups of the user's) falls into one part. Only that,
and the rule that each class has an example in each part where it has enough, may move some.
Parts that the data itself gives are obeyed.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.data.duplicates import connected
from zoo.data.examples import Examples, Ids, Rows, SomeExamples
from zoo.data.targets import strata
from zoo.errors import DataError

Groups = NDArray[np.int64]
Parts = NDArray[np.int8]

TRAIN, VALIDATION, TEST = 0, 1, 2
PART_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Row numbers (int64) of the three parts, each sorted."""

    train: Rows
    validation: Rows
    test: Rows


def split_examples(
    ids: Ids,
    labels: NDArray[np.int64],
    seed: int = 0,
    *,
    validation: float = 0.15,
    test: float = 0.15,
    train_per_class: int | None = None,
    parts: Parts | None = None,
    groups: Groups | None = None,
) -> Split:
    """Returns the split of examples with these identities.

    Args:
        ids: uint8 [n, 32]. Examples with equal identity fall into the same part, unless `parts` says otherwise.
        labels: int64 [n].
        seed: Another seed, another split.
        validation: Share of the examples (0..1) for choosing when to stop.
        test: Share for the final figures.
        train_per_class: Keep at most this many training examples of each class; a smaller number's choice is part
            of a larger one's. Validation and test parts stay as they are.
        parts: int8 [n]: the part of each example as the data has it, 0 train, 1 validation, 2 test; -1 where it does
            not say. A validation or test part that it names nowhere is taken out of the rest by hash.
        groups: int64 [n], as `joined_groups` numbers them: examples with equal numbers fall into the same part,
            unless `parts` says otherwise.

    Raises:
        DataError: A share is out of range, or nothing is left to train on.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise DataError(f"Expected shares with validation + test < 1; got validation={validation}, test={test}.")
    if train_per_class is not None and train_per_class < 1:
        raise DataError(f"Expected at least 1 training example per class; got {train_per_class}.")
    shares = {TEST: test, VALIDATION: validation}
    joined = joined_groups(ids, groups)
    part = _given_parts(len(ids), parts, joined)
    free = _free(part, joined)
    place = _group_places(ids, joined, f"split {seed}")
    wanted = [number for number, share in shares.items() if share and not np.any(part == number)]
    _place_by_hash(part, free, place, {number: shares[number] for number in wanted})
    shared = _in_several_classes(place, labels)
    for rows in _rows_of_each_class(labels):
        _fill_empty_parts(part, place, rows, rows[free[rows] & ~shared[rows]], wanted)
    if groups is not None:
        _move_mixed_groups(part, place, labels, np.flatnonzero(free), wanted)
    train = np.flatnonzero(part == TRAIN)
    if train_per_class is not None:
        train = _first_of_each_class(train, labels, hashed_places(ids, f"sample {seed}"), train_per_class)
    if not len(train):
        raise DataError(f"No training examples are left of {len(ids)}; use more examples.")
    return Split(train, np.flatnonzero(part == VALIDATION), np.flatnonzero(part == TEST))


def split_of(examples: Examples, seed: int = 0, train_per_class: int | None = None) -> Split:
    """Returns the split of examples as a transfer makes it, whatever their task is; see `split_examples`.

    Args:
        examples: Of any task: several labels are kept in proportion by the rarest of each example; values have no
            classes, and of them `train_per_class` counts all.
        seed: Another seed, another split.
        train_per_class: As of `split_examples`.
    """
    return split_examples(
        examples.ids, strata(examples.labels, examples.task), seed,
        train_per_class=train_per_class, parts=examples.parts, groups=examples.groups,
    )  # fmt: skip


def used_examples(examples: Examples, split: Split) -> tuple[SomeExamples, Split]:
    """Returns the examples that some part of a split uses, part by part, and the split of those.

    >>> from zoo.data.examples import ArrayExamples
    >>> examples = ArrayExamples(np.arange(8.0).reshape(4, 2), ["a", "b", "a", "b"])
    >>> some, split = used_examples(examples, Split(np.array([3]), np.array([0]), np.array([1])))
    >>> some.labels.tolist(), split.test.tolist()
    ([1, 0, 1], [2])
    """
    parts = split.train, split.validation, split.test
    ends = np.cumsum([0, *(len(part) for part in parts)])
    ranges = [np.arange(begin, end) for begin, end in itertools.pairwise(ends)]
    return SomeExamples(examples, np.concatenate(parts)), Split(*ranges)


def hashed_places(ids: Ids, salt: str) -> NDArray[np.float64]:
    """Returns a place in [0, 1) for each identity, uniform over identities and fixed for a salt."""
    digests = b"".join(hashlib.sha256(salt.encode() + row.tobytes()).digest()[:8] for row in ids)
    return np.frombuffer(digests, "<u8") / 2.0**64


def group_numbers(names: Iterable[str]) -> Groups:
    """Returns the number of the group of each name, the same wherever that name stands: int64 [n]."""
    digests = [hashlib.sha256(b"group " + name.encode("utf-8", "surrogatepass")).digest()[:8] for name in names]
    return np.frombuffer(b"".join(digests), "<i8").astype(np.int64)


def own_numbers(ids: Ids) -> Groups:
    """Returns the group number of each example that is in no group with others, made of its identity: int64 [n]."""
    return np.ascontiguousarray(ids[:, :8]).view("<i8")[:, 0].astype(np.int64)


def joined_groups(ids: Ids, groups: Groups | None = None, clusters: NDArray[np.int64] | None = None) -> Groups:
    """Returns group numbers, int64 [n], of which equal ones belong together for any of the reasons given.

    A group has the number of the user's group in it (the least, where several were joined) or else the least of its
    examples' own numbers, so that what else is in the data changes nothing.

    Args:
        ids: uint8 [n, 32]. Equal content belongs together.
        groups: int64 [n]: the user's groups as `group_numbers` has them; `own_numbers` for examples without.
        clusters: int64 [n]: any number for each cluster of near duplicates, -1 for pictures without.
    """
    own = own_numbers(ids)
    numbers = own if groups is None else groups
    component = _components(len(ids), [own, numbers], [] if clusters is None else [clusters])
    # Sorted by component, then numbers of the user's before those of examples, then by number.
    order = np.lexsort((numbers, np.isin(numbers, own), component))
    _, first = np.unique(component[order], return_index=True)
    result: Groups = numbers[order][first][component]
    return result


def _components(
    count: int, numbers: Sequence[NDArray[np.int64]], clusters: Sequence[NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Returns the component of each of `count` rows, joined where any numbers, or clusters of at least 0, are equal."""
    nodes, links = count, []
    for values, rows in [(each, np.arange(count)) for each in numbers] + [
        (each, np.flatnonzero(each >= 0)) for each in clusters
    ]:
        distinct, place = np.unique(values[rows], return_inverse=True)
        links.append(np.stack([rows, nodes + place]))
        nodes += len(distinct)
    _, component = np.unique(connected(nodes, np.concatenate(links, axis=1))[:count], return_inverse=True)
    return component


def _given_parts(count: int, parts: Parts | None, groups: Groups) -> NDArray[np.int64]:
    """Returns the part of each example as far as it is given, and else that of its group, or training."""
    if parts is None:
        return np.zeros(count, np.int64)
    _, group = np.unique(groups, return_inverse=True)
    of_group = np.zeros(count, np.int64)
    np.maximum.at(of_group, group, parts)
    return np.where(parts >= 0, parts, of_group[group])


def _free(part: NDArray[np.int64], groups: Groups) -> NDArray[np.bool_]:
    """Returns which examples a hash may place: those in training of which the whole group is."""
    return ~np.isin(groups, groups[part > TRAIN])


def _group_places(ids: Ids, groups: Groups, salt: str) -> NDArray[np.float64]:
    """Returns the place of each example's group: that of the example it has its number from, or of the number."""
    distinct, first, group = np.unique(groups, return_index=True, return_inverse=True)
    own = own_numbers(ids)
    order = np.argsort(own, kind="stable")
    at = np.minimum(np.searchsorted(own, distinct, sorter=order), len(ids) - 1)
    leader = order[at] if len(ids) else first
    has_leader = own[leader] == distinct
    places = np.empty(len(distinct))
    places[has_leader] = hashed_places(ids[leader[has_leader]], salt)
    places[~has_leader] = hashed_places(distinct[~has_leader].astype("<i8")[:, np.newaxis].view(np.uint8), salt)
    return places[group]


def _place_by_hash(
    part: NDArray[np.int64], free: NDArray[np.bool_], place: NDArray[np.float64], shares: dict[int, float]
) -> None:
    """Moves what is free into the parts of `shares`: place 0..1 is cut at their sums."""
    begin = 0.0
    for number, share in shares.items():
        part[free & (begin <= place) & (place < begin + share)] = number
        begin += share


def _rows_of_each_class(labels: NDArray[np.int64]) -> list[Rows]:
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(labels) else []


def _in_several_classes(place: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns which examples belong together with one of another class; to move one would part the two."""
    _, group = np.unique(place, return_inverse=True)
    pairs = np.unique(np.stack([group, labels]), axis=1)
    return np.bincount(pairs[0])[group] > 1


def _fill_empty_parts(
    part: NDArray[np.int64], place: NDArray[np.float64], rows: Rows, own: Rows, wanted: Sequence[int]
) -> None:
    """Gives the class with these rows an example in each part: in training first, then in the `wanted` parts.

    Of the `rows`, only those that are the class's `own` may move.
    """
    places = np.unique(place[own])  # what belongs together has equal places, so whole groups move
    moves = [*zip([TRAIN], places[-1:], strict=False), *zip(wanted, places[:-1], strict=False)]
    for number, moved in moves:
        if not np.any(part[rows] == number):
            part[own[place[own] == moved]] = number


def _move_mixed_groups(
    part: NDArray[np.int64], place: NDArray[np.float64], labels: NDArray[np.int64], free: Rows, wanted: Sequence[int]
) -> None:
    """Gives classes that lack a part a whole group of several classes, where that leaves no class without another part.

    Args:
        part: Changed in place.
        place: Equal for what belongs together.
        labels: Numbers of the classes.
        free: Rows that may move.
        wanted: Parts that each class should be in, beside training.
    """
    classes, number = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(classes), len(PART_NAMES)), np.int64)
    np.add.at(counts, (number, part), 1)
    for target in (TRAIN, *wanted):
        lacking = counts[:, target] == 0
        places = np.unique(place[free[lacking[number[free]]]])
        for each in places[::-1] if target == TRAIN else places:
            members = free[place[free] == each]
            source, inside = part[members[0]], np.bincount(number[members], minlength=len(classes))
            useful = np.any(counts[inside > 0, target] == 0)
            if source != target and useful and np.all((counts[:, source] > inside) | (inside == 0)):
                part[members] = target
                counts[:, source] -= inside
                counts[:, target] += inside


def _first_of_each_class(rows: Rows, labels: NDArray[np.int64], place: NDArray[np.float64], count: int) -> Rows:
    ordered = rows[np.argsort(place[rows], kind="stable")]
    kept = [ordered[of_class[:count]] for of_class in _rows_of_each_class(labels[ordered])]
    return np.sort(np.concatenate(kept)) if kept else rows
