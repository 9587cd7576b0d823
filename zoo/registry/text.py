"""The text of a registry file: entries as JSON without their defaults, in lines that people can read and compare."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from typing import Any

from zoo.errors import IntegrityError
from zoo.registry.entry import Entry, parse_entry
from zoo.registry.index import SCHEMA

# Said even where nothing is known: whether these are published is what people ask.
_ALWAYS = {"hash", "hash_from", "bytes", "params", "units", "license"}
_LINE = 120


def registry_text(entries: Iterable[Entry]) -> str:
    """Returns the text of `registry.json`: indented, defaults left out, short lists and objects on one line.

    Raises:
        IntegrityError: An entry would not be read back as it is.
    """
    return document_text({"schema": SCHEMA, "models": {entry.name: entry_record(entry) for entry in entries}})


def document_text(document: dict[str, Any]) -> str:
    """Returns JSON indented, with short lists and objects on one line."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return _on_one_line(_on_one_line(text, r"\[", r"\]", r"[^{}\[\]]"), r"\{", r"\}", r"[^{}]") + "\n"


def entry_record(entry: Entry) -> dict[str, Any]:
    """Returns an entry as JSON, without its name and without defaults.

    Raises:
        IntegrityError: It would not be read back as it is.
    """
    record: dict[str, Any] = _without_defaults(entry)
    del record["name"]
    if "origin" in record:
        record["from"] = record.pop("origin")
    if "sources" in record:  # last, as it speaks of what stands above
        record["sources"] = record.pop("sources")
    if parse_entry(entry.name, record) != entry:
        raise IntegrityError(f"Entry {entry.name!r} is not read back as it is: {record}")
    return record


def _without_defaults(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_without_defaults(each) for each in value]
    if not dataclasses.is_dataclass(value):
        return value
    record = {}
    for field in dataclasses.fields(value):
        mine = getattr(value, field.name)
        default = {} if field.default_factory is dict else field.default
        if field.name in _ALWAYS or mine != default:
            record[field.name] = _without_defaults(mine)
    return record


def _on_one_line(text: str, opening: str, closing: str, inside: str) -> str:
    """Returns JSON with the innermost lists or objects on one line each, where it is not too long; takes patterns."""

    def joined(match: re.Match[str]) -> str:
        line = re.sub(r"\n *", " ", match["inside"])
        line = f"{match['before']}{line}{match['after']}"
        return line if len(line) <= _LINE else match[0]

    return re.sub(rf"(?m)^(?P<before>.*{opening})\n *(?P<inside>{inside}*?)\n *(?P<after>{closing},?)$", joined, text)
