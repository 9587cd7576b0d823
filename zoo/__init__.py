"""Pretrained networks for one's own task: find them, cut them, keep the frozen part's features, train only the rest.

    zoo.transfer("letters-cnn", data="digits", reuse=3, freeze=2)

Importing this package imports no TensorFlow; the names below do, when they need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.adding import Added, add
    from zoo.data import open_data
    from zoo.data.augmentation import Augmentation
    from zoo.data.checking import DataCheck, check_data
    from zoo.evaluating import evaluate
    from zoo.exporting import Exported, convert
    from zoo.extracting import extract_features, save_features
    from zoo.features import FeatureCache, Features
    from zoo.loading import load_model
    from zoo.loading.restoring import restore
    from zoo.making import pretrain, resume_pretraining
    from zoo.pipeline import resume, transfer
    from zoo.planning import plan
    from zoo.rate_finding import find_learning_rate
    from zoo.recommending import Recommendation, recommend
    from zoo.recording import OutputFinding, verify_outputs
    from zoo.registry import InputSpec, find_entry, list_models
    from zoo.runs import Pretrained, Run, export, list_pretrainings, list_runs, open_pretraining, open_run
    from zoo.runs.comparing import Comparison, compare
    from zoo.searching import search
    from zoo.store import (
        Artifact,
        Finding,
        Place,
        PullPlan,
        Removal,
        collect_garbage,
        locate,
        plan_pull,
        pull,
        pulled_models,
        pulled_names,
        remove,
        verify,
    )
    from zoo.surgery import Head, Surgery, split_units
    from zoo.training import Evaluation, Loss, Optimizer, Schedule, Unfreeze
    from zoo.trials import Search, SearchResult

_HOMES = {
    "Added": "zoo.adding",
    "Artifact": "zoo.store",
    "Augmentation": "zoo.data.augmentation",
    "Comparison": "zoo.runs.comparing",
    "DataCheck": "zoo.data.checking",
    "Evaluation": "zoo.training",
    "Exported": "zoo.exporting",
    "FeatureCache": "zoo.features",
    "Features": "zoo.features",
    "Finding": "zoo.store",
    "Head": "zoo.surgery",
    "InputSpec": "zoo.registry",
    "Loss": "zoo.training",
    "Optimizer": "zoo.training",
    "OutputFinding": "zoo.recording",
    "Place": "zoo.store",
    "Pretrained": "zoo.runs",
    "PullPlan": "zoo.store",
    "Recommendation": "zoo.recommending",
    "Removal": "zoo.store",
    "Run": "zoo.runs",
    "Schedule": "zoo.training",
    "Search": "zoo.trials",
    "SearchResult": "zoo.trials",
    "Surgery": "zoo.surgery",
    "Unfreeze": "zoo.training",
    "add": "zoo.adding",
    "check_data": "zoo.data.checking",
    "collect_garbage": "zoo.store",
    "compare": "zoo.runs.comparing",
    "convert": "zoo.exporting",
    "evaluate": "zoo.evaluating",
    "export": "zoo.runs",
    "extract_features": "zoo.extracting",
    "find_entry": "zoo.registry",
    "find_learning_rate": "zoo.rate_finding",
    "list_models": "zoo.registry",
    "list_pretrainings": "zoo.runs",
    "list_runs": "zoo.runs",
    "load_model": "zoo.loading",
    "locate": "zoo.store",
    "open_data": "zoo.data",
    "open_pretraining": "zoo.runs",
    "open_run": "zoo.runs",
    "plan": "zoo.planning",
    "plan_pull": "zoo.store",
    "pretrain": "zoo.making",
    "pull": "zoo.store",
    "pulled_models": "zoo.store",
    "pulled_names": "zoo.store",
    "recommend": "zoo.recommending",
    "remove": "zoo.store",
    "restore": "zoo.loading.restoring",
    "resume": "zoo.pipeline",
    "resume_pretraining": "zoo.making",
    "save_features": "zoo.extracting",
    "search": "zoo.searching",
    "split_units": "zoo.surgery",
    "transfer": "zoo.pipeline",
    "verify": "zoo.store",
    "verify_outputs": "zoo.recording",
}

__all__ = [
    "Added",
    "Artifact",
    "Augmentation",
    "Comparison",
    "DataCheck",
    "Evaluation",
    "Exported",
    "FeatureCache",
    "Features",
    "Finding",
    "Head",
    "InputSpec",
    "Loss",
    "Optimizer",
    "OutputFinding",
    "Place",
    "Pretrained",
    "PullPlan",
    "Recommendation",
    "Removal",
    "Run",
    "Schedule",
    "Search",
    "SearchResult",
    "Surgery",
    "Unfreeze",
    "add",
    "check_data",
    "collect_garbage",
    "compare",
    "convert",
    "evaluate",
    "export",
    "extract_features",
    "find_entry",
    "find_learning_rate",
    "list_models",
    "list_pretrainings",
    "list_runs",
    "load_model",
    "locate",
    "open_data",
    "open_pretraining",
    "open_run",
    "plan",
    "plan_pull",
    "pretrain",
    "pull",
    "pulled_models",
    "pulled_names",
    "recommend",
    "remove",
    "restore",
    "resume",
    "resume_pretraining",
    "save_features",
    "search",
    "split_units",
    "transfer",
    "verify",
    "verify_outputs",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
