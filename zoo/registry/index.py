"""The registry: the shipped index and the user's own, whose names win."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import shlex
from collections.abc import Callable, Collection, Container
from functools import cache
from pathlib import Path
from typing import Any

from zoo.errors import IntegrityError, NotFoundError, UsageError, nearest_names
from zoo.files import disk_errors, zoo_home
from zoo.names import name_fault
from zoo.registry.abilities import why_not_loaded
from zoo.registry.entry import SOURCES, Entry, Source, parse_entry

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
        DiskError: It cannot be read.
    """
    with _reading(path):
        data = path.read_bytes()
    try:
        record: Any = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
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


def _reading(path: Path) -> contextlib.AbstractContextManager[None]:
    return disk_errors(
        path, "let your user read it and pass its folders (chmod u+rX), or set ZOO_HOME to another", "read"
    )


@cache
def _shipped_entries() -> dict[str, Entry]:
    return read_registry(shipped_registry())


def all_entries() -> dict[str, Entry]:
    """Returns every entry by name: the shipped ones and the user's own, which win.

    Raises:
        IntegrityError: The user's own file is no registry.
        DiskError: It cannot be read, or nobody can say whether it is there.
    """
    return {**_shipped_entries(), **own_entries()}


def own_registry() -> Path:
    """Returns the path of the user's own `registry.json`, which may not be there."""
    return zoo_home() / "registry.json"


def own_entries() -> dict[str, Entry]:
    """Returns the entries of the user's own registry by name.

    Raises:
        IntegrityError: The file is no registry.
        DiskError: It cannot be read, or nobody can say whether it is there.
    """
    own = own_registry()
    with _reading(own):  # exists() itself is refused below a folder that is not ours to pass
        is_there = own.exists()
    return read_registry(own) if is_there else {}


def is_local(name: str) -> bool:
    """Returns whether a model of exactly this name was added from this machine."""
    entry = own_entries().get(name)
    return entry is not None and entry.source == "local"


def list_models(
    pattern: str = "*",
    *,
    source: str | None = None,
    task: str | None = None,
    max_params: float | None = None,
    among: Container[str] | None = None,
    sort: str | None = None,
) -> list[Entry]:
    """Returns the entries whose name matches `pattern`, in any case.

    Args:
        pattern: A name with the wildcards `*`, `?` and `[...]`; or, without any of those, a part of a name.
        source: Only entries from there, such as `keras`.
        task: Only entries trained for that, such as `image-classification`.
        max_params: Only entries known to have at most so many parameters.
        among: Only entries of these names, such as `zoo.pulled_names()`.
        sort: `top1` (the best first), `params` or `bytes` (the smallest first); what is not known comes last. `name`,
            None, and among equals: by name.

    Raises:
        UsageError: No such source, task or order; the message names those there are.

    >>> [entry.name for entry in list_models("vgg*", sort="params")]
    ['vgg16', 'vgg19']
    """
    entries = all_entries()
    wanted = pattern.lower() if _WILDCARDS & set(pattern) else f"*{pattern.lower()}*"
    if not isinstance(max_params, int | float | None):
        raise UsageError(f"Expected max_params to be a number such as 25e6; got {max_params!r}.")
    _require("source", source, SOURCES)
    _require("task", task, sorted({entry.task for entry in entries.values()}))
    _require("sort", sort, ("name", *_ORDERS))
    chosen = [
        entry
        for name, entry in sorted(entries.items())
        if fnmatch.fnmatchcase(name.lower(), wanted)
        and source in (None, entry.source)
        and task in (None, entry.task)
        and (among is None or name in among)
        and (max_params is None or (entry.params is not None and entry.params <= max_params))
    ]
    return chosen if sort in (None, "name") else sorted(chosen, key=_ORDERS[sort])


def _require(what: str, value: str | None, known: Collection[str]) -> None:
    if value is not None and value not in known:
        near = nearest_names(value, known)
        raise UsageError(f"Expected {what} to be one of {', '.join(known)}; got {value!r}.{near}")


def _unknown_last(value: float | None) -> tuple[bool, float]:
    return (value is None, 0.0 if value is None else value)


_WILDCARDS = set("*?[")
_ORDERS: dict[str, Callable[[Entry], tuple[bool, float]]] = {
    "top1": lambda entry: _unknown_last(None if entry.top1 is None else -entry.top1),
    "params": lambda entry: _unknown_last(entry.params),
    "bytes": lambda entry: _unknown_last(entry.bytes),
}
# Where a name without its source is looked for, one after the other: nearest to what this version loads first.
_BARE_NAMES: tuple[Source, ...] = ("local", "embedded", "keras", "onnx", "caffe", "slim", "tfhub")
_MODEL_FILES = (".keras", ".h5", ".hdf5", ".onnx", ".npz", ".prototxt", ".caffemodel")
_TFHUB = "https://tfhub.dev/"


def find_entry(name: str) -> Entry:
    """Returns the entry called `name`, in any case: its whole name, a handle of TF Hub, or a name without its source.

    Raises:
        UsageError: `name` cannot be a model's name.
        NotFoundError: There is none; the message offers the nearest names.

    >>> find_entry("inception_v4").name
    'slim/inception_v4'
    >>> find_entry("https://tfhub.dev/google/nnlm-en-dim50/2?tf-hub-format=compressed").name
    'tfhub/google/nnlm-en-dim50/2'
    """
    entries = all_entries()
    wanted = name
    if name.startswith(_TFHUB):
        wanted = "tfhub/" + name.removeprefix(_TFHUB).partition("?")[0].rstrip("/")
    spellings = [wanted, *(f"{source}/{wanted}" for source in _BARE_NAMES)]
    for known in (entries, {known.casefold(): entry for known, entry in entries.items()}):
        for spelled in spellings:
            if spelled in known:
                return known[spelled]
        spellings = [spelled.casefold() for spelled in spellings]
    if _is_model_file(name):
        raise NotFoundError(
            f"No model named {name!r} in the registry, but there is such a file. Add it first, then give its name: "
            f"zoo add {shlex.quote(name)} (Python: zoo.add({name!r}))"
        )
    if _WILDCARDS & set(name):
        raise UsageError(f"{name!r} is a pattern, where one model's name is expected. See: zoo list '{name}'")
    folder = _folder_hint(name)
    if fault := name_fault(wanted):
        raise UsageError(f"{name!r} cannot be a model's name: {fault}. See: zoo list{folder}")
    near = nearest_names(wanted, entries)
    raise NotFoundError(f"No model named {name!r} in the registry.{near} See: zoo list{folder}")


def _is_model_file(name: str) -> bool:
    """Returns whether what was said as a name is the path of what `zoo.add` takes."""
    path = Path(name)
    with contextlib.suppress(OSError):  # a name that is too long, or below a folder that is not ours to pass
        is_one = name.casefold().endswith(_MODEL_FILES) and path.is_file()
        return name.isprintable() and (is_one or (path / "saved_model.pb").is_file())
    return False


def _folder_hint(name: str) -> str:
    """Returns what to do with a folder that was said as a name; empty where there is no such folder."""
    with contextlib.suppress(OSError, ValueError):
        if name.isprintable() and (Path(name) / "run.json").is_file():
            return f". To make a file of the model of that run: zoo export {shlex.quote(name)} net.keras"
        if name.isprintable() and Path(name).is_dir():
            return f". To learn from what is in that folder: zoo transfer --data {shlex.quote(name)}"
    return ""


def find_loadable(name: str) -> Entry:
    """Returns the entry called `name` if this version can load it as a Keras model; nothing is fetched.

    Raises:
        UsageError: It cannot; the message says what can be done with it.
        NotFoundError: There is no such entry.
    """
    entry = find_entry(name)
    if "load" in entry.can:
        return entry
    if entry.source == "local":
        files = ", ".join(file.name for file in entry.files)
        raise UsageError(
            f"{entry.name!r} is kept, but nothing tells which net its files ({files}) are of, so that it cannot be "
            "loaded. Add them again, and say it: zoo add FILE --arch NET"
        )
    why = f": {reason}" if (reason := why_not_loaded(entry)) else ""
    today = f"fetch its files: zoo pull {entry.name}" if "pull" in entry.can else f"tell of it: zoo show {entry.name}"
    raise UsageError(
        f"This version cannot load {entry.name!r} (source {entry.source}) as a Keras model{why}. It can {today}. "
        'What can be transferred says "load" in the column "can" of: zoo list'
    )
