"""Trunks as ONNX, converted once and kept, `$ZOO_HOME/trunks/<key>.<sha256>.onnx`; and which engine was the fastest.

The key stands for what the trunk computes and for the version of the converter. Losing a file costs only time.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras

from zoo.converters import keras_to_onnx
from zoo.errors import DiskError
from zoo.files import write_bytes
from zoo.garbage import without_collection

# What the engine puts out is compared with Keras on real examples; here nets of random weights must pass, too.
_LIMIT = 0.05


def find_trunk(folder: Path, key: str) -> bytes | None:
    """Returns the ONNX file of a trunk that was converted before, or None; one that is damaged is removed."""
    for path in sorted(folder.glob(f"{key}.*.onnx")):
        with contextlib.suppress(OSError):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == path.name.split(".")[1]:
                path.touch()  # when it was last used
                return data
            path.unlink()
    return None


def convert_trunk(model: keras.Model, folder: Path, key: str) -> bytes:
    """Returns a trunk as an ONNX file, and keeps it where the disk allows.

    Raises:
        ZooError: It cannot be converted.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "trunk.onnx"
        with without_collection():
            keras_to_onnx(model, path, limit=_LIMIT, external_data=False)
        data = path.read_bytes()
    with contextlib.suppress(DiskError):
        write_bytes(folder / f"{key}.{hashlib.sha256(data).hexdigest()}.onnx", data)
    return data


def trunk_key(*parts: str) -> str:
    """Returns the key of what a trunk computes, given by `parts`, and of who converts it."""
    return hashlib.sha256("\n".join([version("zoo-transfer"), *parts]).encode()).hexdigest()[:32]


def machine_with(engines: Sequence[str]) -> dict[str, Any]:
    """Returns what decides which of these engines is the fastest: their versions, and the processors."""
    return {"processors": os.cpu_count(), "machine": platform.processor() or platform.machine()} | {
        name: library_version(name) for name in engines
    }


def library_version(name: str) -> str:
    """Returns the version of a library, whatever the distribution that it came with is called."""
    try:
        return version(name)
    except PackageNotFoundError:
        return str(getattr(importlib.import_module(name), "__version__", "?"))


def remembered_engine(folder: Path, key: str, machine: dict[str, Any]) -> str | None:
    """Returns the engine that was the fastest for a trunk on such a machine, or None."""
    try:
        found = json.loads((folder / f"{key}.json").read_bytes())
        return str(found["engine"]) if found["machine"] == machine else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def remember_engine(folder: Path, key: str, machine: dict[str, Any], engine: str) -> None:
    """Remembers which engine was the fastest for a trunk."""
    with contextlib.suppress(DiskError):
        write_bytes(folder / f"{key}.json", json.dumps({"engine": engine, "machine": machine}).encode())
