"""The run folder: what a transfer leaves behind, written whole or not at all, read without TensorFlow."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from zoo.errors import IntegrityError, NotFoundError, UsageError, nearest_names
from zoo.files import sha256_of, write_bytes

SCHEMA = 1
Kind = Literal["transfer", "pretraining"]

_COMMON = ("model", "data", "examples", "features", "training", "files", "input", "created")
_NEEDED: dict[Kind, tuple[str, ...]] = {
    "transfer": (*_COMMON, "reuse", "freeze", "metrics"),
    "pretraining": (*_COMMON, "method", "units", "figures"),
}
_INSTEAD: dict[Kind, str] = {
    "transfer": "a transfer (Python: zoo.open_run)",
    "pretraining": "a pretraining (Python: zoo.open_pretraining), whose model is reused so: zoo transfer {model}",
}


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as readable JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    write_bytes(path, as_bytes(f"{text}\n"))


def _plain(value: Any) -> Any:
    """Returns a number of NumPy as JSON has it.

    Raises:
        TypeError: It is no number.
    """
    if hasattr(value, "dtype") and not value.shape:
        return value.item()
    raise TypeError(f"Expected what JSON can hold; got {type(value).__name__}.")


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Writes a table with one header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    write_bytes(path, as_bytes(text.getvalue()))


def as_bytes(text: str) -> bytes:
    """Returns a text in UTF-8; what a file's name has that is none is escaped, as JSON reads it back."""
    return text.encode("utf-8", "backslashreplace")


def file_digests(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Returns the sha256 of files of a run, by name."""
    return {name: f"sha256:{sha256_of(folder / name)}" for name in names}


def kind_of(record: Mapping[str, Any]) -> Kind:
    """Returns what left a run's folder behind."""
    return "pretraining" if record.get("kind") == "pretraining" else "transfer"


def read_record(path: Path, kind: Kind | None = "transfer") -> dict[str, Any]:
    """Returns the parsed `run.json` of the run at `path`.

    Args:
        path: The run's folder.
        kind: What must have left it behind; None: either.

    Raises:
        NotFoundError: There is no run; the message offers those that are near.
        IntegrityError: Its `run.json` is damaged, or of a newer version.
        UsageError: Something else left it behind.
    """
    file = path / "run.json"
    if not file.is_file():
        siblings = [each.parent.name for each in path.parent.glob("*/run.json")] if path.parent.is_dir() else []
        raise NotFoundError(f"No run at {path}.{nearest_names(path.name, siblings)} See: zoo runs")
    try:
        record = json.loads(file.read_bytes())
    except ValueError as error:
        raise IntegrityError(f"{file} is no JSON ({error}); the run must be made again.") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else record
        raise IntegrityError(f"{file} has schema {found!r}; this version of zoo reads schema {SCHEMA}.")
    found = kind_of(record)
    missing = [key for key in _NEEDED[found] if key not in record]
    if missing:
        raise IntegrityError(f"{file} lacks {', '.join(missing)}; the run must be made again.")
    if kind not in (None, found):
        raise UsageError(f"Expected the folder of a {kind}; {path} is that of {_INSTEAD[found].format_map(record)}.")
    return record


def run_paths(folder: Path) -> list[Path]:
    """Returns the runs in `folder`, the newest first."""
    found = [file.parent for file in folder.glob("[!.]*/run.json")]
    return sorted(found, key=lambda path: (path / "run.json").stat().st_mtime, reverse=True)
