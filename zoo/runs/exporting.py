"""Takes the model of a run, or one that the registry knows, to another format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import NotFoundError, UsageError
from zoo.registry import find_entry
from zoo.runs.folder import run_folder
from zoo.runs.pretrained import Pretrained
from zoo.runs.record import kind_of, read_record
from zoo.runs.run import Run, open_run

if TYPE_CHECKING:
    from zoo.exporting import Exported


def export(what: Any, target: str | os.PathLike[str], **options: Any) -> Exported:
    """Writes a model to a file of the format that its suffix says, and returns what came of it.

    Args:
        what: A run or a pretraining, its folder or its name in `runs/`; or a model's name, the path of a file that
            `zoo.load_model` takes, or a `keras.Model`.
        target: A `.onnx`, `.keras` or `.tflite` file, or a folder without a suffix for a SavedModel.
        **options: Those of `zoo.exporting.convert`: replace, opset, limit.

    Raises:
        UsageError: The suffix is another, or there is a file and `replace` was not said.
        NotFoundError: There is no such run or model.
        IntegrityError: A layer cannot be taken over, or the result differs; nothing is written then.
    """
    if isinstance(what, Run | Pretrained):
        return what.export(target, **options)
    if isinstance(what, str | os.PathLike):
        folder = run_folder(os.fspath(what))
        if (folder / "run.json").exists():
            if kind_of(read_record(folder, None)) == "transfer":
                return Run(folder).export(target, **options)
            if folder == Path(what) or not _is_known(os.fspath(what)):
                return Pretrained(folder).export(target, **options)
        from zoo.exporting import SOURCES, checked_target, export_model
        from zoo.loading import load_model

        checked_target(Path(target), bool(options.get("replace")))  # before anything is pulled
        if Path(what).suffix.lower() not in SOURCES:
            _refuse_unknown(os.fspath(what))
        return export_model(load_model(what), target, **options)
    from zoo.exporting import export_model

    return export_model(what, target, **options)


def _is_known(name: str) -> bool:
    """Returns whether the registry has a model of that name."""
    try:
        find_entry(name)
    except (NotFoundError, UsageError):
        return False
    return True


def _refuse_unknown(what: str) -> None:
    """Refuses what is neither a run nor a model's name, and says so of both."""
    try:
        find_entry(what)
    except (NotFoundError, UsageError) as no_model:
        try:
            open_run(what if len(Path(what).parts) > 1 else Path("runs", what))
        except NotFoundError as no_run:
            raise type(no_model)(f"{no_run}. Nor is there such a model: {no_model}") from no_model
        raise
