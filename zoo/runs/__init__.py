"""Runs: the folders that transfers and pretrainings leave behind, and how to read, show and use them."""

from zoo.runs.exporting import export
from zoo.runs.pretrained import Pretrained, list_pretrainings, open_pretraining
from zoo.runs.run import Prediction, Run, list_runs, open_run

__all__ = [
    "Prediction",
    "Pretrained",
    "Run",
    "export",
    "list_pretrainings",
    "list_runs",
    "open_pretraining",
    "open_run",
]
