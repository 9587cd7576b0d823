"""Regular expressions of the user's, on the names of variables; each has to match something.

They match from the beginning of a name, as `tf.get_collection(scope=...)` has it: `hidden[12]` matches
`hidden1/kernel`, and `hidden12/kernel` too; `hidden[12]/` matches the former alone, `.*kernel` every kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from zoo.converters.restoring.report import few

from zoo.errors import UsageError, nearest_names

Patterns = str | Sequence[str]


class Selection:
    """Names that match one of some patterns."""

    def __init__(self, patterns: Patterns | None, option: str) -> None:
        """Takes patterns, or None, and what the option is called by which they were given."""
        texts = [patterns] if isinstance(patterns, str) else list(patterns or ())
        self.is_given = patterns is not None
        self._option = option
        self._found = dict.fromkeys(texts, False)
        self._patterns = {text: compiled(text, option) for text in texts}

    def matches(self, *names: str | None) -> bool:
        """Returns whether a name matches one of the patterns; remembers which do."""
        hits = [text for text, pattern in self._patterns.items() if any(name and pattern.match(name) for name in names)]
        self._found |= dict.fromkeys(hits, True)
        return bool(hits)

    def refuse_useless(self, names: Iterable[str]) -> None:
        """Refuses patterns that have matched nothing of what they were shown: they are misspelled.

        Raises:
            UsageError: There is one.
        """
        refuse_useless(self._found, self._option, names)


def compiled(text: str, option: str) -> re.Pattern[str]:
    """Returns a regular expression.

    Raises:
        UsageError: It is none.
    """
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"Expected {option} to be a regular expression; {text!r} is none: {error}.") from error


def refuse_useless(found: dict[str, bool], option: str, names: Iterable[str]) -> None:
    """Refuses patterns that have matched nothing.

    Raises:
        UsageError: There is one.
    """
    useless = [text for text, hit in found.items() if not hit]
    if useless:
        known = list(dict.fromkeys(names))
        near = nearest_names(useless[0], {part for name in known for part in (name, name.rpartition("/")[0]) if part})
        told = few(known)
        raise UsageError(
            f"{option} {useless[0]!r} matches none of the variables (from the beginning of a name, as in {told}).{near}"
        )
