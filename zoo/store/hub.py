"""Modules of TF Hub: where its own library keeps them, and how that is asked for what nobody else has."""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path
from urllib.parse import urlsplit

from zoo.errors import NotFoundError
from zoo.registry import Entry
from zoo.store.guards.places import kind_of
from zoo.store.guards.saved_models import GRAPHS
from zoo.store.policy import shown

HUB_CACHE = "TFHUB_CACHE_DIR"
_FORMAT = "?tf-hub-format=compressed"


def is_handle(text: str) -> bool:
    """Returns whether a text is the address of a module.

    >>> is_handle("https://tfhub.dev/google/nnlm-en-dim128/2"), is_handle("nnlm/saved_model")
    (True, False)
    """
    return text.startswith(("https://", "http://"))


def compressed(handle: str) -> str:
    """Returns where the archive of a module is.

    >>> compressed("https://tfhub.dev/google/nnlm-en-dim128/2")
    'https://tfhub.dev/google/nnlm-en-dim128/2?tf-hub-format=compressed'
    """
    return f"{handle}{'&' if '?' in handle else '?'}{_FORMAT.removeprefix('?')}"


def handle_name(handle: str) -> str:
    """Returns what a module may be called: by its address, without who published it and its version.

    >>> handle_name("https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5")
    'imagenet-mobilenet_v2_100_224-feature_vector'
    """
    parts = [part for part in urlsplit(handle).path.split("/") if part]
    if len(parts) > 1 and parts[-1].isdecimal():
        parts.pop()
    return "-".join(parts[1:] or parts) or "module"


def hub_module(handle: str) -> Path | None:
    """Returns the folder of a module in the cache of `tensorflow_hub` (`TFHUB_CACHE_DIR`); None where it is not there.

    Args:
        handle: Its address, such as https://tfhub.dev/google/nnlm-en-dim128/2.
    """
    cache = os.environ.get(HUB_CACHE)
    if not cache:
        return None
    folder = Path(cache) / hashlib.sha1(handle.encode()).hexdigest()  # as tensorflow_hub names it
    return folder if any(kind_of(folder / name) == "file" for name in GRAPHS) else None


def cached_module(entry: Entry) -> Path | None:
    """Returns the folder of an entry's module in the cache of `tensorflow_hub`; None where it is not there."""
    if entry.source != "tfhub":
        return None
    handles = [url.removesuffix(_FORMAT) for file in entry.files for url in file.urls]
    return next((found for handle in handles if (found := hub_module(handle)) is not None), None)


def resolved_module(handle: str) -> Path:
    """Returns the folder of a module, which `tensorflow_hub` fetches by its own rules, and keeps.

    Args:
        handle: Its address.

    Raises:
        NotFoundError: It cannot be had.
    """
    try:
        return Path(importlib.import_module("tensorflow_hub").resolve(handle))  # here: it takes long to import
    except Exception as error:  # of many kinds, of TensorFlow's and of Python's network
        raise NotFoundError(
            f"tensorflow_hub cannot fetch {shown(handle)}: {' '.join(str(error).split())[:300]}. See what the registry "
            "knows: zoo list --source tfhub"
        ) from error
