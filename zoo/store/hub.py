"""Modules of TF Hub: where its own library keeps them, and how that is asked for what nobody else has."""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path

from zoo.errors import NotFoundError, OfflineError
from zoo.registry import Entry
from zoo.store.guards.places import kind_of
from zoo.store.guards.saved_models import GRAPHS

HUB_CACHE = "TFHUB_CACHE_DIR"
_FORMAT = "?tf-hub-format=compressed"


def is_handle(text: str) -> bool:
    """Returns whether a text is the address of a module.

    >>> is_handle("https://tfhub.dev/google/nnlm-en-dim128/2"), is_handle("nnlm/saved_model")
    (True, False)
    """
    return text.startswith(("https://", "http://"))


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


def resolved_module(handle: str, *, offline: bool) -> Path:
    """Returns the folder of a module, which `tensorflow_hub` fetches where its cache has it not.

    Args:
        handle: Its address.
        offline: Whether no connection may be opened.

    Raises:
        OfflineError: It is not in the cache, and no connection may be opened.
        NotFoundError: It cannot be had.
    """
    if (found := hub_module(handle)) is not None:
        return found
    if offline:
        raise OfflineError(
            f"{handle} is not in the cache of tensorflow_hub ({HUB_CACHE}), and the network may not be used. When "
            "online: zoo add, again; or give the folder of the module, if you have it."
        )
    try:
        return Path(importlib.import_module("tensorflow_hub").resolve(handle))  # here: it takes long to import
    except Exception as error:  # of many kinds, of TensorFlow's and of Python's network
        raise NotFoundError(
            f"tensorflow_hub cannot fetch {handle}: {' '.join(str(error).split())[:300]}. See what the registry knows: "
            "zoo list --source tfhub"
        ) from error
