"""The last step of a transfer: what came out becomes figures, a report and a model in a run folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.examples import are_texts
from zoo.features import Features, FeatureStats
from zoo.files import write_bytes
from zoo.runs.card import render_card
from zoo.runs.facts import as_npz, library_versions, made_now, split_digests, split_ids, training_record
from zoo.runs.job import Job
from zoo.runs.judging import Verdict, predictions_table
from zoo.runs.record import SCHEMA, file_digests, write_csv, write_json
from zoo.runs.report import Mistake, Report, render_report
from zoo.runs.shown import shown_examples
from zoo.runs.trained import Scratch, Trained, records
from zoo.surgery import Surgery
from zoo.training import evaluate

_SAMPLES = 4


@dataclass(frozen=True)
class Outcome:
    """What came out of a job.

    Attributes:
        trained: What was trained.
        verdict: What the test examples say of it.
        scratch: The rival with random weights, where one was asked for.
        parity: Largest difference between the saved model and what was trained, and on how many test examples.
        search: What was tried to find what is reused.
        timings: Seconds that each step took.
    """

    trained: Trained
    verdict: Verdict
    scratch: Scratch | None
    parity: tuple[float, int]
    search: Mapping[str, Any] | None
    timings: Mapping[str, float]


def write_run(folder: Path, job: Job, outcome: Outcome) -> None:
    """Writes all files of a run, but the model that is there already, into `folder`; the report last."""
    history, outputs = outcome.trained.history, outcome.verdict.outputs
    write_json(folder / "labels.json", list(job.examples.classes))
    write_csv(folder / "history.csv", *history.table())
    if outcome.scratch:
        write_csv(folder / "history_scratch.csv", *outcome.scratch.history.table())
    write_csv(folder / "test_predictions.csv", *predictions_table(job, outputs))
    lines = (json.dumps(dataclasses.asdict(each)) + "\n" for each in job.bad)
    write_bytes(folder / "bad_files.jsonl", "".join(lines).encode())
    write_bytes(folder / "samples.npz", as_npz(_samples(job)))
    write_bytes(folder / "split.npz", as_npz(split_ids(job.examples, job.split)))
    record = _record(job, outcome)
    write_bytes(folder / "README.md", render_card(record).encode())
    record["files"] = file_digests(folder, sorted(path.name for path in folder.iterdir() if path.is_file()))
    write_json(folder / "run.json", record)
    scratch = outcome.scratch.history if outcome.scratch else None
    mistakes, uncertain = _shown(job, outputs)
    targets, said = (_labels(job), outputs) if job.examples.task == "regression" else (None, None)
    report = Report(record, history, scratch, mistakes, uncertain, targets, said)
    write_bytes(folder / "report.html", render_report(report).encode())


def _labels(job: Job) -> NDArray[Any]:
    return job.examples.labels[job.split.test]


def _shown(job: Job, outputs: NDArray[np.float32]) -> tuple[list[Mistake], list[Mistake]]:
    """Returns the test examples that went wrong most, and those that the model was least sure of."""
    examples, rows = job.examples, job.split.test
    return shown_examples(
        outputs, _labels(job), examples.classes, examples.task,
        lambda number: np.asarray(examples.read(rows[number : number + 1])[0]),
    )  # fmt: skip


def _samples(job: Job) -> dict[str, NDArray[Any]]:
    """Returns a few test examples as the model takes them: what other formats of it are compared on."""
    examples = job.examples.read(job.split.test[:_SAMPLES])
    return {f"x{number}": np.asarray(example) for number, example in enumerate(examples)}


def _record(job: Job, outcome: Outcome) -> dict[str, Any]:
    """Returns what `run.json` says, but for the digests of the files beside it."""
    surgery, trained, verdict = job.surgery, outcome.trained, outcome.verdict
    best, score = trained.history.best, trained.history.score_name
    return {
        "schema": SCHEMA,
        "created": made_now(),
        "model": job.origin.name,
        "data": job.examples.name,
        "task": job.examples.task,
        "reuse": surgery.reuse,
        "freeze": trained.phases[0][0].freeze,
        "source": {"kind": job.origin.source, "files": job.origin.files},
        "settings": dataclasses.asdict(job.settings),
        "input": _input_record(job),
        "units": _unit_records(surgery),
        "classes": list(job.examples.classes),
        "parameters": surgery.parameters(),
        "examples": job.counts(),
        "bad_files": len(job.bad),
        "warnings": [*job.warnings, *verdict.test.warnings],
        "split": {"seed": job.settings.seed, "digests": split_digests(job.examples, job.split)},
        "search": outcome.search,
        "features": _feature_record(trained),
        "training": training_record(job.settings.fit, trained.history),
        "phases": list(records(trained)),
        "metrics": {
            # A mean over the epoch, while the weights changed.
            "running_train": {score: best.score, "loss": best.loss},
            "validation": {score: best.val_score, "loss": best.val_loss},
            "test": verdict.test.to_json(),
            "baselines": dict(verdict.baselines),
            "logits_divided_by": verdict.divided_by,
        },
        "parity": {"largest_difference": outcome.parity[0], "examples": outcome.parity[1]},
        "scratch": _scratch_record(job, outcome),
        "timings": dict(outcome.timings),
        "versions": library_versions(),
    }


def _feature_record(trained: Trained) -> dict[str, Any]:
    """Returns what it took to get the features of the first phase, and their folder in the feature cache."""
    x = trained.first
    stats, key = (x.stats, x.key) if isinstance(x, Features) else (FeatureStats(0, 0, 0.0, 0), None)
    return {**dataclasses.asdict(stats), "key": key}


def _input_record(job: Job) -> dict[str, Any]:
    shape = job.examples.shape
    decoded = None
    if are_texts(job.examples):
        decoded = "text"
    elif len(shape) == 3 and job.examples.read(job.split.test[:1])[0].dtype == np.uint8:
        decoded = {1: "gray", 3: "RGB"}.get(shape[-1] or 0)
    return {
        "shape": list(shape),
        # What files are decoded to; picture files are no use to a model of numbers that were not 0..255.
        "decoded": decoded,
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


def _scratch_record(job: Job, outcome: Outcome) -> dict[str, Any] | None:
    """Returns the rival's figures, and how many test examples only one of the two got right."""
    rival, outputs = outcome.scratch, outcome.verdict.scratch
    if rival is None or outputs is None:
        return None
    labels, task = job.examples.labels[job.split.test], job.examples.task
    test = evaluate(outputs, labels, task, classes=job.examples.classes)
    record = {"metrics": {"test": test.to_json()}, "training": training_record(rival.settings, rival.history)}
    if task == "classification":
        right, theirs = (each.argmax(axis=1) == labels for each in (outcome.verdict.outputs, outputs))
        record["right_in_one_only"] = {"reused": int((right & ~theirs).sum()), "scratch": int((theirs & ~right).sum())}
    return record
