"""Weights as they are published: random ones, written by Keras 2 itself, and a mirror that has them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loopback import Web

from zoo.registry import Entry
from zoo.registry.architectures import ARCHITECTURES
from zoo.registry.index import read_registry, shipped_registry

KERAS_2_WARNS = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Keras 2
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square"),
]
PUBLISHED = "https://storage.googleapis.com/"
_FOLDER = tempfile.TemporaryDirectory(prefix="published-")


@functools.cache
def weight_file(arch: str, *, top: bool = True, seed: int = 1) -> Path:
    """Returns random weights of a net as its publisher would save them: by Keras 2, in its layout."""
    import tf_keras  # Keras 2, kept alive under this name

    options: dict[str, Any] = {} if top else {"input_shape": shipped(arch).input.size}
    tf_keras.backend.clear_session()  # names that Keras counts begin anew
    tf_keras.utils.set_random_seed(seed)
    model = getattr(tf_keras.applications, ARCHITECTURES[arch].function)(weights=None, include_top=top, **options)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if len(weight.shape) == 1:  # zeros and ones would hide that two of them were exchanged
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    path = Path(_FOLDER.name) / f"{arch}-{top}-{seed}.h5"
    model.save_weights(path)
    if top:
        np.save(path.with_suffix(".npy"), model(picture(shipped(arch).input.size), training=False).numpy())
    return path


def shipped(name: str) -> Entry:
    """Returns an entry as it ships, whatever the user's own registry says."""
    return read_registry(shipped_registry())[name]


def said(arch: str) -> np.ndarray[Any, Any]:
    """Returns what the net whose weights are in `weight_file` said of `picture`, in Keras 2."""
    return np.load(weight_file(arch).with_suffix(".npy"))


def mirror_of(web: Web) -> str:
    """Returns what `--mirror` takes to ask a server for what is published."""
    return f"{PUBLISHED}={web.url}/"


def mirrored(home: Path, web: Web, arch: str, parts: Sequence[str], side: int | None = None) -> str:
    """Has files of `arch` on a server, its entry with their hashes in `home`; returns what `--mirror` takes.

    Its pictures have `side` pixels each way, where that is given, so that they are quick to compute.
    """
    entry = shipped(arch)
    files = []
    for file in entry.files:
        if file.role not in parts:
            continue
        data = weight_file(arch, top=file.role == "weights").read_bytes()
        (address,) = file.urls[:1]
        web.put("/" + address.removeprefix(PUBLISHED), data)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        files.append(dataclasses.replace(file, hash=digest, hash_from="publisher", bytes=None))
    spec = dataclasses.replace(entry.input, size=(side, side, 3)) if side else entry.input
    record = dataclasses.replace(entry, files=tuple(files), input=spec).to_json()
    del record["name"]
    home.mkdir(exist_ok=True)
    (home / "registry.json").write_text(json.dumps({"schema": 1, "models": {arch: record}}))
    return mirror_of(web)


def picture(size: Sequence[int | None], count: int = 1, seed: int = 0) -> np.ndarray[Any, Any]:
    """Returns random pictures, float32 [count, height, width, channels] of 0..255."""
    shape = (count, *(each or 64 for each in size))
    return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")
