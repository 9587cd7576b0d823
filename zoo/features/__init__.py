"""The feature cache: what the frozen part of a network puts out, kept on disk.

Importing this package imports no TensorFlow: `zoo cache list` reads folders, and needs none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.features.cache import FeatureCache
    from zoo.features.features import Features, FeatureStats

_HOMES = {
    "FeatureCache": "zoo.features.cache",
    "FeatureStats": "zoo.features.features",
    "Features": "zoo.features.features",
}

__all__ = ["FeatureCache", "FeatureStats", "Features"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
