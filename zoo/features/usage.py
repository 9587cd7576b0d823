"""How often features are asked for: one line for each time, summed up now and then. Losing it loses only figures."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import DiskError
from zoo.files import open_regular, write_bytes
from zoo.locking import is_at, try_lock

_log = logging.getLogger("zoo")
NAME = "usage.jsonl"
_COMPACT = 64 << 10
_MOST_READ = 4 << 20
_PATIENCE = 1.0


@dataclass(frozen=True)
class Usage:
    """What use was made of a folder of features.

    Attributes:
        uses: How often they were asked for.
        hits: Examples whose features were there.
        misses: Examples whose features had to be computed.
        last: When they were last asked for (s since 1970); None: never.
    """

    uses: int = 0
    hits: int = 0
    misses: int = 0
    last: float | None = None

    @property
    def hit_rate(self) -> float | None:
        """The share of examples whose features were there; None where none was asked for."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None


def record_use(folder: Path, hits: int, misses: int) -> None:
    """Notes one use of a folder of features. It never fails: what cannot be noted is not."""
    path = folder / NAME
    try:
        with _held(path) as descriptor:
            # A line that a full disk cut short ends where the next begins.
            os.write(descriptor, b"\n" + _line(Usage(1, int(hits), int(misses), time.time())))
            if os.fstat(descriptor).st_size > _COMPACT:
                write_bytes(path, _line(usage(folder)))
    except (OSError, DiskError) as error:
        _log.debug("The use of %s is not noted: %s", folder, error)


def usage(folder: Path) -> Usage:
    """Returns what use was made of a folder of features; lines that are damaged are passed over."""
    try:
        with open_regular(folder / NAME) as file:
            lines = file.read(_MOST_READ).splitlines()
    except OSError:
        return Usage()
    noted = [each for line in lines if (each := _noted(line)) is not None]
    last = max((each.last for each in noted if each.last is not None), default=None)
    return Usage(
        sum(each.uses for each in noted), sum(each.hits for each in noted), sum(each.misses for each in noted), last
    )


def _noted(line: bytes) -> Usage | None:
    try:
        record: Any = json.loads(line)
        found = Usage(int(record["uses"]), int(record["hits"]), int(record["misses"]), float(record["last"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    sound = min(found.uses, found.hits, found.misses) >= 0 and found.last is not None and math.isfinite(found.last)
    return found if sound else None


def _line(use: Usage) -> bytes:
    return json.dumps({"uses": use.uses, "hits": use.hits, "misses": use.misses, "last": use.last}).encode() + b"\n"


@contextlib.contextmanager
def _held(path: Path) -> Iterator[int]:
    """Gives the file of a folder's use, for appending; alone, where others let it and the file system knows locks."""
    until = time.monotonic() + _PATIENCE
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        try:
            while try_lock(descriptor) is False and time.monotonic() < until:
                time.sleep(0.005)
            if is_at(path, descriptor) or time.monotonic() > until:
                yield descriptor
                return
        finally:
            os.close(descriptor)
