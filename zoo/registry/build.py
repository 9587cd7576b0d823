"""Compiles `registry.json` from collected facts. For maintainers.

    python -m zoo.registry.build --facts DIR [--out registry.json] [--check]

DIR holds one JSON file a source: keras_applications, slim, tfhub, caffe_zoo, onnx_hub. Entries of models that ship
inside the package are kept as they are. `--check` writes nothing; it says whether the file is what the facts give.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from zoo.errors import IntegrityError, NotFoundError
from zoo.files import write_bytes
from zoo.names import folded
from zoo.registry.entry import Entry
from zoo.registry.facts_caffe_onnx import caffe_entries, onnx_entries
from zoo.registry.facts_tensorflow import Facts, keras_entries, slim_entries, tfhub_entries
from zoo.registry.index import read_registry, shipped_registry
from zoo.registry.text import registry_text

SOURCES: dict[str, Callable[[Facts], list[Entry]]] = {
    "keras_applications": keras_entries,
    "slim": slim_entries,
    "tfhub": tfhub_entries,
    "caffe_zoo": caffe_entries,
    "onnx_hub": onnx_entries,
}


def compiled_entries(facts: Path, kept: Iterable[Entry]) -> list[Entry]:
    """Returns the kept entries and those of all sources.

    Raises:
        NotFoundError: The facts of a source are missing.
        IntegrityError: Two names are the same to a file system without case.
    """
    entries = list(kept)
    for name, make in SOURCES.items():
        path = facts / f"{name}.json"
        if not path.exists():
            raise NotFoundError(f"Expected the facts {path}; it is not there. See the help of --facts.")
        entries += make(json.loads(path.read_text(encoding="utf-8")))
    twice = [name for name, count in Counter(folded(entry.name) for entry in entries).items() if count > 1]
    if twice:
        raise IntegrityError(f"Expected names that differ in more than case; found twice: {', '.join(twice)}.")
    return entries


def counted(entries: Iterable[Entry]) -> str:
    """Returns a table by source: entries, files, who published their hashes, how many of their addresses are dead."""
    counts: dict[str, Counter[str]] = {}
    for entry in entries:
        count = counts.setdefault(entry.source, Counter())
        count["entries"] += 1
        for file in entry.files:
            count["files"] += 1
            count[file.hash_from or "no hash"] += 1
            count["no address"] += not file.urls
            count["reported dead"] += "403 on these" in (file.reported or "")
    columns = ("entries", "files", "publisher", "third_party", "no hash", "no address", "reported dead")
    counts["all"] = sum(counts.values(), Counter())
    lines = [f"{'':10}" + "".join(f"{column:>15}" for column in columns)]
    lines += [f"{name:10}" + "".join(f"{count[column]:15}" for column in columns) for name, count in counts.items()]
    return "\n".join(lines)


def main(words: list[str] | None = None) -> int:
    """Writes or checks the registry; returns the exit code."""
    parser = argparse.ArgumentParser(description="Compile registry.json from collected facts.")
    parser.add_argument("--facts", type=Path, required=True, metavar="DIR", help=f"{', '.join(SOURCES)} (.json)")
    parser.add_argument("--out", type=Path, default=shipped_registry(), help="[default: %(default)s]")
    parser.add_argument("--check", action="store_true", help="Write nothing; say whether the file is what they give.")
    options = parser.parse_args(words)
    present = read_registry(options.out if options.out.exists() else shipped_registry())
    entries = compiled_entries(options.facts, [entry for entry in present.values() if entry.source == "embedded"])
    text = registry_text(entries)
    print(counted(entries))
    if not options.check:
        write_bytes(options.out, text.encode())
        print(f"wrote {options.out}")
        return 0
    same = options.out.exists() and options.out.read_text(encoding="utf-8") == text
    print(f"{options.out} is {'exactly' if same else 'not'} what the facts give")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
