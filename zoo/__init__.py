"""Pretrained networks for one's own task: find them, cut them, keep the frozen part's features, train only the rest.

    zoo.transfer("letters-cnn", data="digits", reuse=3, freeze=2)

Importing this package imports no TensorFlow; the names below do, when they need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.data import open_data
    from zoo.features import FeatureCache
    from zoo.loading import load_model
    from zoo.pipeline import plan, transfer
    from zoo.registry import InputSpec, find_entry, list_models
    from zoo.runs import Run, list_runs, open_run
    from zoo.surgery import Head, Surgery, split_units

_HOMES = {
    "FeatureCache": "zoo.features",
    "Head": "zoo.surgery",
    "InputSpec": "zoo.registry",
    "Run": "zoo.runs",
    "Surgery": "zoo.surgery",
    "find_entry": "zoo.registry",
    "list_models": "zoo.registry",
    "list_runs": "zoo.runs",
    "load_model": "zoo.loading",
    "open_data": "zoo.data",
    "open_run": "zoo.runs",
    "plan": "zoo.pipeline",
    "split_units": "zoo.surgery",
    "transfer": "zoo.pipeline",
}

__all__ = [
    "FeatureCache",
    "Head",
    "InputSpec",
    "Run",
    "Surgery",
    "find_entry",
    "list_models",
    "list_runs",
    "load_model",
    "open_data",
    "open_run",
    "plan",
    "split_units",
    "transfer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
