"""The index of pretrained models, and what one entry of it says."""

from zoo.registry.entry import Entry, FileSpec, InputSpec, OutputSpec
from zoo.registry.index import all_entries, find_entry, find_loadable, list_models
from zoo.registry.recorded import Figures, RecordedOutput

__all__ = [
    "Entry",
    "Figures",
    "FileSpec",
    "InputSpec",
    "OutputSpec",
    "RecordedOutput",
    "all_entries",
    "find_entry",
    "find_loadable",
    "list_models",
]
