"""A list of picture files with their labels, as a folder or a table gives it, before any file was opened."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from zoo.data.bad_files import BadFile
from zoo.data.targets import Task

PARTS = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}


@dataclass
class Listing:
    """Picture files with their labels, row by row.

    Attributes:
        name: What the user called the data.
        folder: What paths are relative to; a whole path.
        paths: Of each file; whole ones where the user gave such.
        statuses: Of each file, from before it is opened.
        labels: Name of each file's class.
        parts: Part of each: 0 train, 1 validation, 2 test, -1 not said; empty where the data says nothing of any.
        groups: Name of the group of each, "" for none; empty where no groups are asked for.
        lines: Of the table that names each; empty for folders.
        bad: What cannot be used.
        empty: Names of class folders without pictures.
        links: Names of links that were not followed.
        others: How many files, beside the paths, are no pictures and do not claim to be.
        task: What the labels are: classes, several labels with `|` between them, or numbers.
    """

    name: str
    folder: str
    paths: list[str] = field(default_factory=list)
    statuses: list[os.stat_result] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[BadFile] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    others: int = 0
    task: Task = "classification"

    def whole_path(self, row: int) -> str:
        """Returns where a file lies."""
        path = self.paths[row]
        return str(Path(self.folder, path)) if self.lines else f"{self.folder}/{path}"
