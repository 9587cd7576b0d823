"""What the folders that runs leave behind have in common: a record, a model that is checked, a page for people."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from zoo.errors import IntegrityError
from zoo.files import sha256_of
from zoo.runs.record import Kind, kind_of, read_record, run_paths

if TYPE_CHECKING:
    import keras

Opened = TypeVar("Opened", bound="RunFolder")


class RunFolder:
    """A folder that is whole, read from disk; only `load` needs TensorFlow.

    Args:
        path: The folder.
        kind: What must have left it behind.

    Attributes:
        path: The folder.
        record: All of `run.json`.

    Raises:
        NotFoundError: There is none.
        IntegrityError: It is damaged.
        UsageError: Something else left it behind.
    """

    def __init__(self, path: str | Path, kind: Kind) -> None:
        self.path = Path(path)
        self.record = read_record(self.path, kind)

    @property
    def report(self) -> Path:
        """The page that shows it to people."""
        return self.path / "report.html"

    def load(self) -> keras.Model:
        """Returns its model.

        Raises:
            IntegrityError: `model.keras` is not the file that was written.
        """
        return self._model

    @cached_property
    def _model(self) -> keras.Model:
        from zoo.loading import load_model

        path = self.kept("model.keras")
        if path is None:
            raise IntegrityError(f"{self.path / 'run.json'} tells of no model.keras; the run must be made again.")
        return load_model(path)

    def kept(self, name: str) -> Path | None:
        """Returns the path of a file that was written; None where there was none of that name.

        Raises:
            IntegrityError: It is gone, or no longer what was written.
        """
        expected, path = self.record["files"].get(name), self.path / name
        if expected is None:
            return None
        if not path.is_file():
            raise IntegrityError(f"{path} is missing; the run must be made again.")
        if (found := f"sha256:{sha256_of(path)}") != expected:
            raise IntegrityError(
                f"{path} is not the file that the run wrote: expected {expected}, found {found}. Make the run again."
            )
        return path


def run_folder(path: str | Path) -> Path:
    """Returns the folder of a run, given by that or by its name in `runs/`; the path as it is where there is none."""
    path = Path(path)
    beside = Path("runs") / path
    return beside if not (path / "run.json").exists() and (beside / "run.json").exists() else path


def readable_runs(folder: Path, kind: Kind, opened: Callable[[Path], Opened]) -> list[Opened]:
    """Returns the runs of a kind in `folder`, the newest first; of what cannot be read a warning tells."""
    found = []
    for path in run_paths(folder):
        try:
            if kind_of(read_record(path, None)) == kind:
                found.append(opened(path))
        except IntegrityError as error:
            if kind == "transfer":  # which all lists begin with: once is enough
                logging.getLogger("zoo").warning("%s", error)
    return found
