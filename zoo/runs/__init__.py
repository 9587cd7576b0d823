"""Runs: the folders that transfers leave behind, and how to read, show and use them."""

from zoo.runs.exporting import export
from zoo.runs.run import Prediction, Run, list_runs, open_run

__all__ = ["Prediction", "Run", "export", "list_runs", "open_run"]
