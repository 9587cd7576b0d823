"""Converted trunks, `$ZOO_HOME/trunks/<key>.<sha256>.onnx`, and what is remembered of each, `<key>.json`, as files.

What they mean is for the engines to know. They are read whole and at once, so that none is ever in use.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.features.entries import files_in, is_leftover

_NAME = re.compile(r"([0-9a-f]{32})(?:\.([0-9a-f]{64})\.onnx|\.json)")
_UNFINISHED = 86_400.0  # a temporary file that was not touched for so long (s) is not being written any more


@dataclass(frozen=True)
class ConvertedTrunk:
    """A trunk that was converted for an engine.

    Attributes:
        key: What it computes, and who converted it.
        paths: Its files.
        bytes: The room that they take.
        last_use: When it was last used (s since 1970).
    """

    key: str
    paths: tuple[Path, ...]
    bytes: int
    last_use: float


def trunks_beside(root: Path) -> Path:
    """Returns where converted trunks are, given the folder of all features."""
    return root.with_name("trunks")


def list_trunks(root: Path) -> list[ConvertedTrunk]:
    """Returns the converted trunks that belong to the features below `root`, what was used last first."""
    folder = trunks_beside(root)
    found: dict[str, dict[Path, tuple[int, float]]] = {}
    for name, status in _regular_files(folder):
        if match := _NAME.fullmatch(name):
            found.setdefault(match[1], {})[folder / name] = (status.st_size, status.st_mtime)
    trunks = [
        ConvertedTrunk(
            key, tuple(files), sum(size for size, _ in files.values()), max(used for _, used in files.values())
        )
        for key, files in found.items()
    ]
    return sorted(trunks, key=lambda trunk: -trunk.last_use)


def wanted_sha256(path: Path) -> str | None:
    """Returns what a converted trunk's file should hash to, as its name says; None for what is not hashed."""
    match = _NAME.fullmatch(path.name)
    return match[2] if match else None


def trunk_leftovers(root: Path) -> Iterator[tuple[Path, int]]:
    """Returns what is of no use beside the converted trunks, and its bytes: damaged ones, and what a kill left."""
    folder = trunks_beside(root)
    for name, status in _regular_files(folder):
        if is_leftover(name) and (name.endswith(".corrupt") or time.time() - status.st_mtime > _UNFINISHED):
            yield folder / name, status.st_size


def _regular_files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    if folder.is_dir():
        for name, status in files_in(folder).items():
            if stat.S_ISREG(status.st_mode):
                yield name, status
