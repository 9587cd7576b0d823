"""Facts that records of transfers and of pretrainings have alike: parts of the data, a training, times and versions."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import io
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data import Examples, Split
from zoo.training import History

PARTS = ("train", "validation", "test")


def as_npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Returns arrays as an `.npz` file has them."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def split_ids(examples: Examples, split: Split) -> dict[str, NDArray[np.uint8]]:
    """Returns the identities of the examples of each part: uint8 [n, 32]."""
    return {name: examples.ids[getattr(split, name)] for name in PARTS}


def split_digests(examples: Examples, split: Split) -> dict[str, str]:
    """Returns a sha256 for each part: of its examples' identities, sorted."""
    found = {name: sorted(row.tobytes() for row in ids) for name, ids in split_ids(examples, split).items()}
    return {name: f"sha256:{hashlib.sha256(b''.join(ids)).hexdigest()}" for name, ids in found.items()}


def counts(split: Split) -> dict[str, int]:
    """Returns how many examples each part has."""
    return {name: len(getattr(split, name)) for name in PARTS}


def training_record(settings: Any, history: History) -> dict[str, Any]:
    """Returns what a record says of a training.

    Args:
        settings: A dataclass with `epochs`.
        history: What came of it.
    """
    return {
        **dataclasses.asdict(settings),
        "most_epochs": settings.epochs,
        "epochs": len(history.epochs),
        "best_epoch": history.best_epoch,
        "steps": history.steps,
        "seconds": history.seconds,
        "stopped": history.stopped,
    }


def made_now() -> str:
    """Returns the time, to the second, as a record says it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def library_versions() -> dict[str, str]:
    """Returns the versions of what computes."""
    names = ("zoo-transfer", "keras", "tensorflow", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
