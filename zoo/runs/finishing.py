"""The last step of a transfer: what came out becomes figures, a report and a model in a run folder."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.features import FeatureStats
from zoo.files import write_bytes
from zoo.runs.job import PARTS, Job
from zoo.runs.record import SCHEMA, file_digests, write_csv, write_json
from zoo.runs.report import Mistake, Report, render_report
from zoo.surgery import Surgery
from zoo.training import Evaluation, FitSettings, History, evaluate, worst_mistakes

_SHOWN_MISTAKES = 24


@dataclass(frozen=True)
class Training:
    """One training and what its model says of the test part: probabilities float32 [n, classes]."""

    settings: FitSettings
    history: History
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class Outcome:
    """What came out of a job.

    Attributes:
        features: What it took to get the features.
        feature_key: Their folder in the feature cache; None where nothing was frozen.
        training: Of tail and head.
        scratch: Of the rival with random weights, where one was asked for.
        parity: Largest difference between the saved model and what was trained, and on how many test examples.
        timings: Seconds that each step took.
    """

    features: FeatureStats
    feature_key: str | None
    training: Training
    scratch: Training | None
    parity: tuple[float, int]
    timings: Mapping[str, float]


def write_run(folder: Path, job: Job, outcome: Outcome) -> None:
    """Writes all files of a run, but the model that is there already, into `folder`; the report last."""
    labels = job.examples.labels[job.split.test]
    test = evaluate(outcome.training.probabilities, labels)
    write_json(folder / "labels.json", list(job.examples.classes))
    write_csv(folder / "history.csv", *_table(outcome.training.history))
    if outcome.scratch:
        write_csv(folder / "history_scratch.csv", *_table(outcome.scratch.history))
    lines = (json.dumps(dataclasses.asdict(each)) + "\n" for each in job.bad)
    write_bytes(folder / "bad_files.jsonl", "".join(lines).encode())
    record = _record(job, outcome, test)
    record["files"] = file_digests(folder, sorted(path.name for path in folder.iterdir()))
    write_json(folder / "run.json", record)
    scratch = outcome.scratch.history if outcome.scratch else None
    mistakes = _mistakes(job, outcome.training.probabilities, labels)
    report = render_report(Report(record, outcome.training.history, scratch, mistakes))
    write_bytes(folder / "report.html", report.encode())


def _table(history: History) -> tuple[list[str], list[tuple[Any, ...]]]:
    header = [each.name for each in dataclasses.fields(history.epochs[0])]
    return header, [dataclasses.astuple(epoch) for epoch in history.epochs]


def _mistakes(job: Job, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> list[Mistake]:
    classes, mistakes = job.examples.classes, []
    for number in worst_mistakes(probabilities, labels, _SHOWN_MISTAKES):
        row = probabilities[number]
        example = job.examples.read(job.split.test[number : number + 1])[0]
        picture = example if example.ndim == 3 and example.dtype == np.uint8 else None
        mistakes.append(Mistake(picture, classes[labels[number]], classes[row.argmax()], float(row.max())))
    return mistakes


def _record(job: Job, outcome: Outcome, test: Evaluation) -> dict[str, Any]:
    """Returns what `run.json` says, but for the digests of the files beside it."""
    surgery, history = job.surgery, outcome.training.history
    best = history.epochs[history.best_epoch - 1]
    return {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "model": job.origin.name,
        "data": job.examples.name,
        "reuse": surgery.reuse,
        "freeze": surgery.freeze,
        "source": {"kind": job.origin.source, "files": job.origin.files},
        "settings": dataclasses.asdict(job.settings),
        "input": _input_record(job),
        "units": _unit_records(surgery),
        "classes": list(job.examples.classes),
        "parameters": surgery.parameters(),
        "examples": job.counts(),
        "bad_files": len(job.bad),
        "warnings": list(job.warnings),
        "split": {"seed": job.settings.seed, "digests": _split_digests(job)},
        "features": {**dataclasses.asdict(outcome.features), "key": outcome.feature_key},
        "training": _training_record(outcome.training),
        "metrics": {
            # A mean over the epoch, while the weights changed.
            "running_train": {"accuracy": best.accuracy, "loss": best.loss},
            "validation": {"accuracy": best.val_accuracy, "loss": best.val_loss},
            "test": _figures(test),
        },
        "parity": {"largest_difference": outcome.parity[0], "examples": outcome.parity[1]},
        "scratch": _scratch_record(job, outcome),
        "timings": dict(outcome.timings),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("zoo-transfer", "keras", "tensorflow", "numpy")},
        },
    }


def _input_record(job: Job) -> dict[str, Any]:
    shape = job.examples.shape
    pictures = len(shape) == 3 and job.examples.read(job.split.test[:1])[0].dtype == np.uint8
    return {
        "shape": list(shape),
        # What picture files are decoded to; files are no use to a model of numbers that were not 0..255.
        "decoded": {1: "gray", 3: "RGB"}.get(shape[-1] or 0) if pictures else None,
        "decoding": job.examples.decoding,
        "preprocessing": dataclasses.asdict(job.origin.spec.applied()) if job.origin.spec else None,
    }


def _unit_records(surgery: Surgery) -> list[dict[str, Any]]:
    states = ["frozen"] * surgery.freeze + ["trained"] * (surgery.reuse - surgery.freeze)
    states += ["dropped"] * (len(surgery.units) - surgery.reuse)
    return [
        {
            "index": unit.index,
            "name": unit.name,
            "params": unit.params,
            "output_shape": list(unit.output_shape),
            "state": state,
        }
        for unit, state in zip(surgery.units, states, strict=True)
    ]


def _split_digests(job: Job) -> dict[str, str]:
    """Returns a sha256 for each part: of its examples' identities, sorted."""
    digests = {}
    for name in PARTS:
        ids = sorted(row.tobytes() for row in job.examples.ids[getattr(job.split, name)])
        digests[name] = f"sha256:{hashlib.sha256(b''.join(ids)).hexdigest()}"
    return digests


def _training_record(training: Training) -> dict[str, Any]:
    history = training.history
    return {
        **dataclasses.asdict(training.settings),
        "most_epochs": training.settings.epochs,
        "epochs": len(history.epochs),
        "best_epoch": history.best_epoch,
        "steps": history.steps,
        "seconds": history.seconds,
        "stopped": history.stopped,
    }


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "accuracy": evaluation.accuracy,
        "loss": evaluation.loss,
        "count": evaluation.count,
        "confusion": evaluation.confusion.tolist(),
    }


def _scratch_record(job: Job, outcome: Outcome) -> dict[str, Any] | None:
    """Returns the rival's figures, and how many test examples only one of the two got right."""
    if outcome.scratch is None:
        return None
    labels = job.examples.labels[job.split.test]
    right, rival = (each.probabilities.argmax(axis=1) == labels for each in (outcome.training, outcome.scratch))
    return {
        "metrics": {"test": _figures(evaluate(outcome.scratch.probabilities, labels))},
        "training": _training_record(outcome.scratch),
        "right_in_one_only": {"reused": int((right & ~rival).sum()), "scratch": int((rival & ~right).sum())},
    }
