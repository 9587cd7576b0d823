"""Configs that take too much to be read: too deep, too large, or without an end."""

from __future__ import annotations

import pytest

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.store.guards.keras_json import parsed


# One more level than is read; more than Python's own parser stands; brackets that never close.
@pytest.mark.parametrize("text", ["[" * 101 + "]" * 101, "[" * 50_000 + "]" * 50_000, '{"a":' * 1_000_000])
def test_a_config_that_is_too_deep_is_refused_before_it_is_parsed(text: str) -> None:
    with pytest.raises(UnsafeFileError, match="levels; at most 100"):
        parsed('{"class_name": "Sequential", "config": ' + text + "}", "x.keras")


@pytest.mark.parametrize("text", ["0," * 2_000_001, "[]," * 1_000_001, '{"a":0},' * 1_000_001])
def test_a_config_of_too_many_values_is_refused_before_it_is_parsed(text: str) -> None:
    with pytest.raises(UnsafeFileError, match="values; at most 2,000,000"):
        parsed(f'{{"class_name": "Sequential", "config": [{text}0]}}', "x.keras")


def test_a_config_of_too_many_bytes_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(UnsafeFileError, match="67,108,865 bytes"):
        parsed(b" " * ((64 << 20) + 1), "x.keras")


# Each would take a reader that goes back minutes: a text that never ends, quotes in it, a lone escape.
@pytest.mark.parametrize("text", ['"' + "a" * 5_000_000, '"' + '\\"' * 2_000_000, '"' + "\\" * 3_000_001])
def test_a_text_that_never_ends_is_given_up_in_linear_time(text: str) -> None:
    with pytest.raises(IntegrityError, match="Expected the config"):
        parsed('{"class_name": ' + text, "x.keras")
