from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data import Ids, Split, open_data, split_examples
from zoo.data.split import group_numbers, hashed_places, joined_groups, own_numbers
from zoo.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SHARE = 0.15  # the default of both the validation and the test part

# An example is a content (of which the identity is made) and a class.
Contents = list[tuple[int, int]]
distinct = st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=60)
with_duplicates = st.lists(st.integers(0, 30), min_size=1, max_size=60)
seeds = st.integers(0, 1000)
patient = settings(deadline=None)  # the machine may be busy


def identities(contents: Sequence[int]) -> Ids:
    digests = b"".join(hashlib.sha256(str(content).encode()).digest() for content in contents)
    return np.frombuffer(digests, np.uint8).reshape(-1, 32)


def classes(contents: Sequence[int], count: int = 3) -> NDArray[np.int64]:
    return np.array(contents, np.int64) % count


def parts(split: Split, count: int) -> NDArray[np.int64]:
    """Returns each example's part (0 training, 1 validation, 2 test), checked to be exactly one."""
    rows = np.concatenate([split.train, split.validation, split.test])
    assert np.array_equal(np.sort(rows), np.arange(count))
    part = np.full(count, -1)
    for number, chosen in enumerate((split.train, split.validation, split.test)):
        assert np.all(np.diff(chosen) > 0)
        part[chosen] = number
    return part


def part_by_content(contents: Sequence[int], seed: int) -> dict[int, int]:
    part = parts(split_examples(identities(contents), classes(contents), seed), len(contents))
    return {content: int(number) for content, number in zip(contents, part, strict=True)}


def threshold_part(content: int, seed: int) -> int:
    """Returns where the hash alone puts an example, spelled out once more."""
    digest = hashlib.sha256(f"split {seed}".encode() + hashlib.sha256(str(content).encode()).digest()).digest()
    place = int.from_bytes(digest[:8], "little") / 2**64
    return 2 if place < SHARE else 1 if place < 2 * SHARE else 0


def full_classes(contents: Sequence[int], seed: int) -> set[int]:
    """Returns the classes that have an example in each part by the hash alone."""
    return {
        number
        for number in range(3)
        if len({threshold_part(content, seed) for content in contents if content % 3 == number}) == 3
    }


@patient
@given(with_duplicates, seeds)
def test_each_example_is_in_exactly_one_part_and_duplicates_are_in_the_same(contents: list[int], seed: int) -> None:
    part = parts(split_examples(identities(contents), classes(contents), seed), len(contents))

    for content in set(contents):
        assert len({number for other, number in zip(contents, part, strict=True) if other == content}) == 1


@patient
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=40), seeds)
def test_duplicates_stay_together_even_where_their_labels_disagree(examples: Contents, seed: int) -> None:
    contents, labels = [content for content, _ in examples], np.array([label for _, label in examples])
    try:
        split = split_examples(identities(contents), labels, seed)
    except DataError:  # all of so few may fall out of training, and may not be parted
        assert {threshold_part(content, seed) for content in contents} <= {1, 2}
        return
    part = parts(split, len(contents))

    for content in set(contents):
        assert len({number for other, number in zip(contents, part, strict=True) if other == content}) == 1


@patient
@given(with_duplicates, seeds)
def test_every_class_has_an_example_in_each_part_where_it_can(contents: list[int], seed: int) -> None:
    part = part_by_content(contents, seed)

    for number in range(3):
        own = {content for content in contents if content % 3 == number}
        filled = {part[content] for content in own}
        assert filled == {0, 1, 2} if len(own) >= 3 else 0 in filled or not own


@patient
@given(distinct, seeds)
def test_an_example_is_where_its_hash_puts_it_unless_its_class_lacks_a_part(contents: list[int], seed: int) -> None:
    full, part = full_classes(contents, seed), part_by_content(contents, seed)

    moved = [content for content in contents if part[content] != threshold_part(content, seed)]

    assert not {content % 3 for content in moved} & full
    assert all(sum(content % 3 == number for content in moved) <= 3 for number in range(3))  # one for each part


@patient
@given(distinct, distinct, seeds)
def test_adding_or_removing_examples_moves_no_other(before: list[int], more: list[int], seed: int) -> None:
    after = sorted({*before, *more}, reverse=True)
    part_before, part_after = part_by_content(before, seed), part_by_content(after, seed)
    changed = [content for content in before if part_before[content] != part_after[content]]

    # Only the rule of one of each class in each part may move some, and of such a class alone.
    assert all(content % 3 not in full_classes(before, seed) for content in changed)
    untouched = {0, 1, 2} - {content % 3 for content in set(after) - set(before)}
    assert all(content % 3 not in untouched for content in changed)


@patient
@given(with_duplicates, seeds, st.randoms())
def test_the_order_of_the_examples_does_not_matter(contents: list[int], seed: int, random: Any) -> None:
    shuffled = random.sample(contents, len(contents))

    assert part_by_content(shuffled, seed) == part_by_content(contents, seed)


def test_in_a_usual_data_set_nothing_moves_at_all() -> None:
    contents = list(range(1000))  # ~333 a class: each has all parts by the hash alone
    whole = part_by_content(contents, seed=0)

    for kept in (contents[::2], contents[:700], [*contents[500:], *range(5000, 5100)]):
        part = part_by_content(kept, seed=0)
        assert all(part[content] == whole[content] for content in kept if content < 1000)


def test_the_parts_have_their_shares() -> None:
    count = 10_000
    split = split_examples(identities(range(count)), classes(range(count)), validation=0.1, test=0.3)

    # The standard deviation of a binomial share of 10,000 is below 0.005; six of them.
    assert len(split.validation) / count == pytest.approx(0.1, abs=0.03)
    assert len(split.test) / count == pytest.approx(0.3, abs=0.03)


def test_another_seed_is_another_split_and_the_same_seed_the_same() -> None:
    first, again, other = (part_by_content(range(200), seed) for seed in (0, 0, 1))

    assert first == again
    assert first != other


def test_the_split_of_the_digits_never_changes() -> None:
    digits = open_data("digits")

    split = split_examples(digits.ids, digits.labels)
    # Recorded once: a change would let a later version test on what an earlier one trained on.
    assert [len(split.train), len(split.validation), len(split.test)] == [1306, 244, 247]
    assert hashlib.sha256(split.test.astype("<i8").tobytes()).hexdigest()[:16] == "2d45b06c2ac52d18"


@pytest.mark.parametrize("shares", [(0.0, 0.2), (0.2, 0.0), (0.0, 0.0)])
def test_a_share_of_zero_is_an_empty_part(shares: tuple[float, float]) -> None:
    ids, labels = identities(range(60)), classes(range(60))

    split = split_examples(ids, labels, validation=shares[0], test=shares[1])

    assert (len(split.validation) == 0, len(split.test) == 0) == (shares[0] == 0, shares[1] == 0)
    assert np.array_equal(np.unique(labels[split.train]), [0, 1, 2])


def test_ever_larger_samples_of_the_digits_are_nested() -> None:
    digits = open_data("digits")
    samples = [
        set(split_examples(digits.ids, digits.labels, train_per_class=count).train) for count in (1, 2, 5, 10, 50)
    ]

    assert [len(sample) for sample in samples] == [10, 20, 50, 100, 500]  # of ten classes
    assert all(few < more for few, more in pairwise(samples))


@patient
@given(with_duplicates, seeds, st.integers(1, 8))
def test_n_per_class_are_part_of_more_per_class_and_of_all(contents: list[int], seed: int, n: int) -> None:
    ids, labels = identities(contents), classes(contents)
    few, more, every = (split_examples(ids, labels, seed, train_per_class=count) for count in (n, n + 1, None))

    assert set(few.train) <= set(more.train) <= set(every.train)
    assert np.array_equal(few.validation, every.validation)
    assert np.array_equal(few.test, every.test)
    for number in np.unique(labels):
        available = int((labels[every.train] == number).sum())
        assert (labels[few.train] == number).sum() == min(n, available)


@patient
@given(distinct, distinct, seeds)
def test_the_chosen_few_change_only_where_a_new_example_takes_a_place(
    before: list[int], more: list[int], seed: int
) -> None:
    after = sorted({*before, *more})
    full = full_classes(before, seed)
    chosen = []
    for contents in (before, after):
        split = split_examples(identities(contents), classes(contents), seed, train_per_class=3)
        chosen.append({contents[row] for row in split.train if contents[row] % 3 in full})

    came, went = chosen[1] - chosen[0], chosen[0] - chosen[1]
    assert came <= set(more) - set(before)
    assert len(went) <= len(came)


@pytest.mark.parametrize(
    "options",
    [
        {"validation": -0.1},
        {"test": 1.0},
        {"validation": 0.5, "test": 0.5},
        {"test": float("nan")},
        {"train_per_class": 0},
        {"train_per_class": -1},
    ],
)
def test_settings_that_leave_nothing_to_train_on_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="Expected"):
        split_examples(identities(range(9)), classes(range(9)), **options)


def test_no_examples_are_refused() -> None:
    with pytest.raises(DataError, match="No training examples are left of 0"):
        split_examples(identities([]), classes([]))


def test_places_are_uniform_and_differ_with_the_salt() -> None:
    ids = identities(range(4000))
    places, others = hashed_places(ids, "a"), hashed_places(ids, "b")

    assert 0 <= places.min() <= places.max() < 1
    # The mean of 4,000 uniform numbers has a standard deviation of 0.0046, their correlation one of 0.016.
    assert places.mean() == pytest.approx(0.5, abs=0.02)
    assert abs(np.corrcoef(places, others)[0, 1]) < 0.07


grouped = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 8)), unique_by=lambda each: each[0], max_size=40)


def groups_of(contents: Sequence[int], names: Sequence[int]) -> NDArray[np.int64]:
    """Returns group numbers of these names; below 0 is none."""
    numbers = group_numbers([str(name) for name in names])
    return np.where(np.array(names) < 0, own_numbers(identities(contents)), numbers)


@patient
@given(grouped, seeds, st.sampled_from([None, 2]))
def test_a_group_is_in_one_part_wherever_its_examples_stand(
    examples: Contents, seed: int, train_per_class: int | None
) -> None:
    contents, names = [each for each, _ in examples] + [-1, -2], [name for _, name in examples] + [-1, -1]
    ids, groups, labels = identities(contents), groups_of(contents, names), classes(contents)
    try:
        split = split_examples(ids, labels, seed, groups=groups, train_per_class=train_per_class)
    except DataError:  # all may be one group
        return
    held = [set(groups[rows]) for rows in (split.train, split.validation, split.test)]
    backwards = split_examples(ids[::-1], labels[::-1], seed, groups=groups[::-1], train_per_class=train_per_class)

    assert not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2])
    assert set(len(contents) - 1 - backwards.train) == set(split.train)


def test_new_members_move_no_group_and_new_groups_no_other() -> None:
    before = list(range(600))
    after = [*before, *range(5000, 5300)]
    part = [
        parts(
            split_examples(
                ids := identities(each), np.zeros(len(each), np.int64), groups=groups_of(each, [c % 70 for c in each])
            ),
            len(ids),
        )
        for each in (before, after)
    ]

    assert np.array_equal(part[0], part[1][:600])


@patient
@given(with_duplicates, seeds)
def test_examples_each_for_itself_are_split_as_without_groups(contents: list[int], seed: int) -> None:
    ids, labels = identities(contents), classes(contents)
    plain = parts(split_examples(ids, labels, seed), len(ids))

    for options in ({"groups": own_numbers(ids)}, {"groups": joined_groups(ids)}, {"parts": np.full(len(ids), -1)}):
        assert np.array_equal(parts(split_examples(ids, labels, seed, **options), len(ids)), plain)


def test_near_duplicates_lie_where_one_of_them_would_alone() -> None:
    ids, labels = identities(range(300)), np.zeros(300, np.int64)
    clusters = np.where(np.arange(300) < 200, np.arange(300) // 2, -1)
    alone, together = (
        parts(split_examples(ids, labels, groups=groups), 300)
        for groups in (None, joined_groups(ids, clusters=clusters))
    )

    assert np.array_equal(together[:200:2], together[1:200:2])
    assert np.all((together[:200:2] == alone[:200:2]) | (together[:200:2] == alone[1:200:2]))
    assert np.array_equal(together[200:], alone[200:])


@patient
@given(grouped, st.lists(st.integers(-1, 5), min_size=40, max_size=40), st.randoms())
def test_joined_groups_join_for_any_reason_and_depend_on_no_order(
    examples: Contents, clusters: list[int], random: Any
) -> None:
    contents, names = [each for each, _ in examples], [name - 2 for _, name in examples]
    ids, groups, cluster = (
        identities(contents),
        groups_of(contents, names),
        np.array(clusters[: len(contents)], np.int64),
    )
    joined = joined_groups(ids, groups, cluster)
    order = np.array(random.sample(range(len(ids)), len(ids)), np.int64)

    assert np.array_equal(joined_groups(ids[order], groups[order], cluster[order]), joined[order])
    assert np.array_equal(joined_groups(ids, joined), joined)
    for numbers in (groups, np.where(cluster < 0, groups, cluster)):
        for number in np.unique(numbers):
            assert len(set(joined[numbers == number])) == 1
    assert set(joined) <= set(groups)


def test_every_class_is_in_each_part_where_groups_hold_several_classes() -> None:
    """Six patients, each with pictures of all three classes: by chance alone a part is often empty."""
    contents = list(range(60))
    groups = groups_of(contents, [content // 10 for content in contents])
    for seed in range(20):
        split = split_examples(identities(contents), classes(contents), seed, groups=groups)
        for rows in (split.train, split.validation, split.test):
            assert set(classes(contents)[rows]) == {0, 1, 2}


@patient
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(-1, 2)), min_size=1, max_size=60), seeds)
def test_parts_that_the_data_gives_are_obeyed(examples: Contents, seed: int) -> None:
    contents, given_parts = [each for each, _ in examples], np.array([part for _, part in examples], np.int8)
    ids, labels = identities(contents), classes(contents)
    try:
        split = split_examples(ids, labels, seed, parts=given_parts)
    except DataError:
        assert not np.any(given_parts <= 0) or not np.all(given_parts >= 0)
        return
    part = parts(split, len(contents))

    assert np.array_equal(part[given_parts > 0], given_parts[given_parts > 0])
    missing = {1, 2} - set(given_parts)
    # What the data says nothing of follows what it is a copy of; training examples leave for missing parts alone.
    copied = {content for content, number in zip(contents, given_parts, strict=True) if number > 0}
    assert all(number in missing for number in part[(given_parts == 0) & (part != 0)])
    for row, content in enumerate(contents):
        if content in copied and given_parts[row] == 0:
            assert part[row] == 0
        if content in copied and given_parts[row] < 0:
            assert part[row] > 0


def test_missing_parts_are_taken_from_the_training_part() -> None:
    ids, labels = identities(range(1000)), classes(range(1000))
    given_parts = np.where(np.arange(1000) < 200, 2, 0).astype(np.int8)

    split = split_examples(ids, labels, parts=given_parts)

    assert np.array_equal(split.test, np.arange(200))
    # A binomial share of 0.15 of 800 has a standard deviation of 0.0126; five of them.
    assert len(split.validation) / 800 == pytest.approx(SHARE, abs=0.063)
    assert len(split.train) + len(split.validation) == 800


def test_b17_copies_on_two_sides_stay_where_the_data_says() -> None:
    contents = [1, 2, 3, 4, 1, 5]
    given_parts = np.array([0, 0, 0, 1, 2, 2], np.int8)

    split = split_examples(identities(contents), np.array([0, 1, 0, 1, 0, 1]), parts=given_parts)

    assert parts(split, 6).tolist() == given_parts.tolist()


def test_training_copies_of_what_is_held_out_do_not_move_to_another_part() -> None:
    contents = [*range(200), *range(100)]
    given_parts = np.array([0] * 200 + [2] * 100, np.int8)

    part = parts(split_examples(identities(contents), np.zeros(300, np.int64), parts=given_parts), 300)

    assert np.all(part[:100] == 0)
    assert 0 < np.sum(part[100:200] == 1) < 100


def test_a_near_duplicate_joins_the_users_group_and_never_the_other_way_round() -> None:
    for content in range(20):
        ids = identities([content, content + 100])
        groups = groups_of([content, content + 100], [-1, 7])
        assert set(joined_groups(ids, groups, np.array([0, 0]))) == set(group_numbers(["7"]))
