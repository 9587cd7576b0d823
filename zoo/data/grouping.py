"""Refuses groups of the user's that protect nothing: a pattern or column that names none, or the same for all."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from zoo.errors import UsageError


def refuse_useless_groups(names: Sequence[str], group_by: str, noun: str, example: str) -> None:
    """Raises `UsageError` where names of groups say nothing, and warns where some examples have none.

    Args:
        names: The name of each example's group, "" for none.
        group_by: What the user asked for.
        noun: What has a group, in the plural: `paths`.
        example: One of those.
    """
    named = sum(map(bool, names))
    if not named:
        raise UsageError(
            f"--group-by {group_by!r} matches 0 of {len(names):,} {noun} (such as {example}): no group is found."
        )
    if named < len(names):
        logging.getLogger("zoo").warning(
            "--group-by %r matches %s of %s %s; the others are each a group of their own.",
            group_by, f"{named:,}", f"{len(names):,}", noun,
        )  # fmt: skip
    elif len(names) > 1 and len(set(names)) == 1:
        raise UsageError(
            f"All {len(names):,} examples are one group: --group-by {group_by!r} finds the same {names[0]!r} in each. "
            "Group by what differs, such as the patient or the place; or leave --group-by out."
        )
