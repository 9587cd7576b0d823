"""Verified files of models on this machine: fetched, kept, checked, removed.

A name is imported when it is first used: `zoo list` asks only what was pulled, and needs neither HTTP nor archives.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.store.artifact import Artifact
    from zoo.store.inventory import Finding, Place, locate, pulled_models, verify
    from zoo.store.planning import PullPlan, PullStep, plan_pull
    from zoo.store.pulling import pull, pull_entry
    from zoo.store.records import Record, StoredFile, pulled_names
    from zoo.store.removal import Removal, collect_garbage, remove

_HOMES = {
    "Artifact": "artifact",
    "Finding": "inventory",
    "Place": "inventory",
    "PullPlan": "planning",
    "PullStep": "planning",
    "Record": "records",
    "Removal": "removal",
    "StoredFile": "records",
    "collect_garbage": "removal",
    "locate": "inventory",
    "plan_pull": "planning",
    "pull": "pulling",
    "pull_entry": "pulling",
    "pulled_models": "inventory",
    "pulled_names": "records",
    "remove": "removal",
    "verify": "inventory",
}

__all__ = [
    "Artifact",
    "Finding",
    "Place",
    "PullPlan",
    "PullStep",
    "Record",
    "Removal",
    "StoredFile",
    "collect_garbage",
    "locate",
    "plan_pull",
    "pull",
    "pull_entry",
    "pulled_models",
    "pulled_names",
    "remove",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo.store' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"zoo.store.{_HOMES[name]}"), name)
    return value
