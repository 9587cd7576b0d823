"""The registry: the shipped index and the user's own, whose names win."""

from __future__ import annotations

import fnmatch
import json
from functools import cache
from pathlib import Path
from typing import Any

from zoo.errors import IntegrityError, NotFoundError, nearest_names
from zoo.files import zoo_home
from zoo.registry.entry import Entry, parse_entry

SCHEMA = 1


def shipped_registry() -> Path:
    """Returns the path of the shipped `registry.json`: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "shipped" / "registry.json"
    return installed if installed.exists() else package.parent / "registry.json"


def read_registry(path: Path) -> dict[str, Entry]:
    """Returns the entries of one registry file by name.

    Raises:
        IntegrityError: The file is no JSON, breaks the schema, or was written by a newer version.
    """
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise IntegrityError(f"{path} is no JSON ({error}); restore it from a copy, or move it away.") from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if type(schema) is int and schema > SCHEMA:  # before all else: what follows is for the newer version to read
        raise IntegrityError(
            f"{path} has schema {schema}; this version of zoo reads schema {SCHEMA}. "
            "Upgrade zoo: pip install --upgrade zoo-transfer."
        )
    if type(schema) is not int or schema != SCHEMA or not isinstance(record.get("models"), dict):
        raise IntegrityError(f"{path}: expected {{'schema': {SCHEMA}, 'models': {{...}}}}; got schema {schema!r}.")
    try:
        return {name: parse_entry(name, entry) for name, entry in record["models"].items()}
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error}") from error


@cache
def _shipped_entries() -> dict[str, Entry]:
    return read_registry(shipped_registry())


def all_entries() -> dict[str, Entry]:
    """Returns every entry by name: the shipped ones and those of `$ZOO_HOME/registry.json`, which win."""
    own = zoo_home() / "registry.json"
    return {**_shipped_entries(), **(read_registry(own) if own.exists() else {})}


def list_models(pattern: str = "*") -> list[Entry]:
    """Returns the entries whose name matches the wildcard `pattern`, sorted by name.

    >>> [entry.name for entry in list_models("letters*")]
    ['letters-cnn']
    """
    entries = all_entries()
    return [entries[name] for name in sorted(entries) if fnmatch.fnmatchcase(name.lower(), pattern.lower())]


def find_entry(name: str) -> Entry:
    """Returns the entry called `name`.

    Raises:
        NotFoundError: There is none; the message offers the nearest names.
    """
    entries = all_entries()
    if name not in entries:
        near = nearest_names(name, entries)
        raise NotFoundError(f"No model named {name!r} in the registry.{near} See: zoo list")
    return entries[name]
