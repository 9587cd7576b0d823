"""Entries of the user's own registry, `$ZOO_HOME/registry.json`: put in and taken out, one at a time, all others kept.

The file is written anew under a lock, wholly or not at all. What it says of other models stays as it was written, also
where this version would have written it otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from zoo.files import disk_errors, write_bytes
from zoo.registry import Entry
from zoo.registry.index import SCHEMA, own_entries, own_registry
from zoo.registry.text import document_text, entry_record
from zoo.store.layout import Layout, refuse_link
from zoo.store.locks import locked


def put_entry(paths: Layout, entry: Entry) -> None:
    """Writes an entry into the user's own registry, in the place of another of its name.

    Raises:
        IntegrityError: The file that is there is no registry; it stays as it is.
        UnsafeFileError: A link stands in its place.
        DiskError: The disk does not take it; the file stays as it was.
    """
    record = entry_record(entry)

    def put(models: dict[str, Any]) -> None:
        models[entry.name] = record

    _change(paths, f"note {entry.name}", put)


def remove_entry(paths: Layout, name: str) -> None:
    """Takes an entry out of the user's own registry, if it is there.

    Raises:
        IntegrityError: The file that is there is no registry; it stays as it is.
        UnsafeFileError: A link stands in its place.
        DiskError: The disk does not take it; the file stays as it was.
    """
    _change(paths, f"forget {name}", lambda models: models.pop(name, None))


def _change(paths: Layout, work: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = own_registry()
    with locked(paths.lock("registry"), work):
        refuse_link(path)
        own_entries()  # refused where this version would lose what it does not understand
        document: dict[str, Any] = {"schema": SCHEMA, "models": {}}
        if path.exists():
            with disk_errors(path, doing="read"):
                document = json.loads(path.read_bytes())
        before = json.dumps(document["models"])
        change(document["models"])
        if json.dumps(document["models"]) != before:
            write_bytes(path, document_text(document).encode())
