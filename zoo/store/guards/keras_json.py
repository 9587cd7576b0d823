"""Reads the JSON config of a Keras model within bounds of memory and stack. What stands in it is not judged here."""

from __future__ import annotations

import json
import re
from typing import Any

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.unpacking import shown

_MOST_BYTES = 64 << 20
_MOST_VALUES = 2_000_000  # each takes up to 200 bytes of memory; the nets of keras.applications have up to 64,000
_DEEPEST = 100  # a model in a model takes three levels, a layer up to ten
_STRING = re.compile(r'"[^"\\]*+(?:\\.?[^"\\]*+)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def parsed(text: bytes | str, name: str) -> dict[str, Any]:
    """Returns the JSON object in a config.

    Args:
        text: The config.
        name: What the file that it is of is called in messages.

    Raises:
        UnsafeFileError: It is larger or deeper than any model's, or says something twice.
        IntegrityError: It is no JSON object.
    """
    if len(text) > _MOST_BYTES:
        raise UnsafeFileError(
            f"Refused {name} unread: its config has {len(text):,} bytes; at most {_MOST_BYTES:,} are read."
        )
    try:
        text = text.decode() if isinstance(text, bytes) else text
        _refuse_excess(text, name)
        found = json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, name))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"Expected the config of a Keras model (JSON) in {name}; found text that is none ({error}). "
            "Fetch or save the file again."
        ) from error
    if not isinstance(found, dict):
        raise IntegrityError(
            f"Expected the config of a Keras model in {name}, a JSON object; found a {type(found).__name__}."
        )
    return found


def _refuse_excess(text: str, name: str) -> None:
    """Refuses what would take too much memory, or too deep a stack, to parse or to walk."""
    bare = _STRING.sub("", text)
    values = bare.count(",") + bare.count("[") + bare.count("{")
    depth = deepest = 0
    for bracket in _BRACKET.finditer(bare):
        depth += 1 if bracket[0] in "[{" else -1
        deepest = max(deepest, depth)
    for what, count, most in (("values", values, _MOST_VALUES), ("levels", deepest, _DEEPEST)):
        if count > most:
            raise UnsafeFileError(f"Refused {name} unread: its config has {count:,} {what}; at most {most:,} are read.")


def _unique(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise UnsafeFileError(
            f"Refused {name} unread: its config says {shown(twice)} twice in one place, and readers disagree "
            "about which counts."
        )
    return found
