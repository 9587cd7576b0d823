from __future__ import annotations

import pytest

from zoo.data.bad_files import BadFile, BadFilePolicy
from zoo.errors import DataError, UsageError

BAD = [BadFile(f"cat/{number}.jpg", "it is empty") for number in range(7)]


@pytest.mark.parametrize(
    ("policy", "count", "total", "passes"),
    [
        (BadFilePolicy(), 1, 100, True),
        (BadFilePolicy(), 2, 100, False),
        (BadFilePolicy("skip", 1.0), 7, 7, True),
        (BadFilePolicy("skip", 0.0), 0, 7, True),
        (BadFilePolicy("skip", 0.0), 1, 1000, False),
        (BadFilePolicy("fail"), 1, 1000, False),
        (BadFilePolicy("fail"), 0, 1000, True),
    ],
)
def test_b04_a_share_of_bad_files_is_too_much(policy: BadFilePolicy, count: int, total: int, passes: bool) -> None:
    if passes:
        policy.judge(BAD[:count], total, "pets")
        return
    with pytest.raises(DataError, match=f"{count} of {total:,} files of 'pets' cannot be used"):
        policy.judge(BAD[:count], total, "pets")


def test_the_first_few_are_listed_with_the_way_on() -> None:
    with pytest.raises(DataError) as raised:
        BadFilePolicy().judge([*BAD, BadFile("c", "r")], 80, "pets")
    lines = str(raised.value).splitlines()
    assert lines[0].endswith("go on without them: --max-bad 10% (max_bad=0.1).")
    assert lines[1] == "  cat/0.jpg: it is empty"
    assert lines[-1] == "  and 3 more"


def test_names_are_printed_so_that_no_terminal_obeys_them() -> None:
    bad = BadFile("a\n\x1b[31m\udce9.jpg", "it is empty", 3)
    with pytest.raises(DataError) as raised:
        BadFilePolicy("fail").judge([bad], 1, "pets")
    assert str(raised.value).splitlines()[1] == r"  a\n\x1b[31m\udce9.jpg: it is empty (line 3)"


def test_a_policy_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="Expected a share"):
        BadFilePolicy("skip", 5)
