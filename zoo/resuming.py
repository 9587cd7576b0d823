"""What a killed transfer is called again with: its arguments as JSON, and digests of what it works on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data import open_data
from zoo.errors import UsageError
from zoo.progress import Progress
from zoo.registry import InputSpec
from zoo.runs.facts import split_digests
from zoo.runs.job import Job
from zoo.runs.unfinished import UnfinishedRun, read_job
from zoo.surgery import split_units, unit_digests
from zoo.training import Loss, Optimizer, Schedule, Unfreeze
from zoo.trials import Search

_MADE_OF: dict[str, Callable[..., Any]] = {
    "optimizer": Optimizer,
    "schedule": Schedule,
    "loss": Loss,
    "unfreeze": Unfreeze,
    "search": Search,
    "preprocessing": InputSpec,
}
_WHO_AND_WHERE = ("home", "out", "tensorboard", "engine")  # of which no result depends


def job_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a transfer that are not the model, the data, or who is told."""
    return {name: _plain(value) for name, value in arguments.items() if name not in ("model", "data", "progress")}


def _plain(value: Any) -> Any:
    """Returns a number of NumPy as one of Python; all else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def job_record(
    job: Job,
    model: Any,
    data: Any,
    options: Mapping[str, Any],
    search: Mapping[str, Any] | None,
    before: Mapping[str, Any] | None = None,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Returns what `job.json` says.

    Args:
        job: What is to be done.
        model: As `zoo.transfer` got it.
        data: Likewise.
        options: Its other arguments.
        search: What was tried to find what is reused.
        before: What it said before a kill.
        force: Whether data and model may be others than then.

    Raises:
        UsageError: They are others.
    """
    digests = {**split_digests(job.examples, job.split), "model": _model_digest(job)}
    if before and not force and before["digests"] != digests:
        changed = [name for name, digest in digests.items() if before["digests"].get(name) != digest]
        raise UsageError(
            f"No longer what the run began with: {', '.join(changed)}. Bring it back, or begin anew; to go on all the "
            "same: --force (Python: force=True)."
        )
    return {
        "model": model if isinstance(model, str) else None,
        "data": data_record(data) if before is None else before["data"],
        "options": {name: to_json(value) for name, value in options.items()},
        "search": search,
        "digests": digests,
    }


def resumed_options(
    run: UnfinishedRun, changes: Mapping[str, Any], *, force: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what `job.json` says, and the arguments to go on with.

    Raises:
        UsageError: They are others than those that the run began with, and `force` is not set.
        IntegrityError: `job.json` cannot be read.
    """
    record = read_job(run.path)
    options = {name: from_json(name, value) for name, value in record["options"].items()}
    unknown = [name for name in changes if name not in options]
    if unknown:
        raise TypeError(f"resume() got an unexpected keyword argument {unknown[0]!r}")
    different = [
        f"{name} {_shown(options[name])} (now {_shown(value)})"
        for name, value in changes.items()
        if name not in _WHO_AND_WHERE and to_json(options[name]) != to_json(from_json(name, value))
    ]
    if different and not force:
        raise UsageError(
            f"{run.wanted} began with other settings: {'; '.join(different)}. Leave them away, or insist, though the "
            "result is then neither that of the old settings nor of the new: --force (Python: force=True)."
        )
    return record, options | dict(changes)


def reopened(record: Mapping[str, Any], model: Any, data: Any, progress: Progress | None) -> tuple[Any, Any]:
    """Returns model and data as a run was begun with.

    Raises:
        UsageError: They were in memory, and must be passed again.
    """
    if model is None:
        model = record["model"]
        if model is None:
            raise UsageError("The model of this run was in memory: pass it again, zoo.resume(run, model=...).")
    return model, reopened_data(record, data, "zoo.resume", progress)


def reopened_data(record: Mapping[str, Any], data: Any, called: str, progress: Progress | None) -> Any:
    """Returns the data that a run was begun with, unless they are given; `called` is how to give them.

    Raises:
        UsageError: They were in memory, and must be passed again.
    """
    if data is not None:
        return data
    if record["data"] is None:
        raise UsageError(f"The data of this run were in memory: pass them again, {called}(run, data=...).")
    return open_data(record["data"]["spec"], **record["data"]["options"], progress=progress)


def data_record(data: Any) -> dict[str, Any] | None:
    """Returns how to open data again; None for what was in memory."""
    opened = {"spec": str(data), "options": {}} if isinstance(data, str | Path) else getattr(data, "opened", None)
    return dict(opened) if opened else None


def _model_digest(job: Job) -> str:
    """Returns the digest of the units that are reused, with their weights."""
    return "sha256:" + unit_digests(split_units(job.model), job.surgery.reuse)[-1]


def to_json(value: Any) -> Any:
    """Returns a value as JSON has it once it was written and read."""
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
    return json.loads(
        json.dumps(plain, default=lambda each: _plain(each) if isinstance(each, np.generic) else str(each))
    )


def from_json(name: str, value: Any) -> Any:
    """Returns an argument that JSON had, of the class that it was of."""
    if isinstance(value, Mapping) and name in _MADE_OF:
        return _MADE_OF[name](**{key: tuple(each) if isinstance(each, list) else each for key, each in value.items()})
    return tuple(value) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    return json.dumps(to_json(value))
