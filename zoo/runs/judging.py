"""Judges what was trained: the test examples are looked at here, once, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data import Examples, Rows
from zoo.data.targets import Task, target_names
from zoo.errors import DataError
from zoo.features import Features
from zoo.intervals import wider
from zoo.runs.job import Job
from zoo.runs.trained import Scratch, Trained, reader
from zoo.surgery import Surgery
from zoo.training import Evaluation, evaluate, predict
from zoo.training.baselines import guess, is_affordable, nearest_neighbors
from zoo.training.calibration import temperature

_NAMED = 5


@dataclass(frozen=True)
class Verdict:
    """What the model, and what it is compared with, say of the test examples.

    Attributes:
        outputs: Of the model: [n, classes], float32.
        test: Figures of those.
        scratch: What the rival says.
        baselines: Figures of what needs no training, by name.
        divided_by: What the model's logits were divided by, to `calibrate`; None: they are as they were trained.
    """

    outputs: NDArray[np.float32]
    test: Evaluation
    scratch: NDArray[np.float32] | None
    baselines: Mapping[str, Any]
    divided_by: float | None = None


def judge(job: Job, trained: Trained, scratch: Scratch | None) -> Verdict:
    """Returns what came out for the test examples; with `calibrate`, the model's logits are divided before.

    Args:
        job: What was to be done, cut as the last phase had it.
        trained: What came of it.
        scratch: The rival, where one was asked for.

    Raises:
        DataError: What it says of an example is not finite.
    """
    examples, surgery = job.examples, trained.surgery
    scale = None if examples.task == "regression" else _temperature(job, trained)
    divided_by = scale if job.settings.calibrate else None
    if divided_by is not None:
        _divide(surgery, divided_by)
        scale = 1.0
    part = job.part("test", trained.x)
    outputs = predict(surgery.trainable, part)
    refuse_infinite(outputs, part.rows, examples)
    labels = examples.labels[job.split.test]
    test = judged(outputs, labels, examples.ids[part.rows], examples.task, examples.classes, scale)
    rival = None
    if scratch:
        rival = predict(scratch.surgery.trainable, job.part("test", reader(job)))
    return Verdict(outputs, test, rival, _baselines(job, trained), divided_by)


def judged(
    outputs: NDArray[np.float32],
    labels: NDArray[Any],
    ids: NDArray[np.uint8],
    task: Task,
    classes: Sequence[str],
    temperature: float | None,
) -> Evaluation:
    """Returns figures of outputs; where examples are copies of others, intervals count each content once.

    Args:
        outputs: [n, classes].
        labels: As of `evaluate`.
        ids: uint8 [n, 32]: identities of the examples.
        task: What the labels are.
        classes: Their names.
        temperature: As of `evaluate`.
    """
    found = evaluate(outputs, labels, task, classes=classes, temperature=temperature)
    first = np.unique(ids, axis=0, return_index=True)[1]
    if len(first) == len(ids):
        return found
    intervals = evaluate(outputs[first], labels[first], task, classes=classes).intervals
    known = {name: value for name, value in found.figures.items() if value is not None}
    honest = {
        name: wider(ends, (known[name], known[name])) if name in known and ends[0] == ends[0] else ends
        for name, ends in intervals.items()
    }
    warning = (
        f"Of {len(ids):,} test examples {len(first):,} differ: copies count in the figures, and but once in their "
        "intervals."
    )
    return replace(found, intervals=honest, warnings=(*found.warnings, warning))


def refuse_infinite(outputs: NDArray[np.float32], rows: Rows, examples: Examples) -> None:
    """Refuses outputs that are not finite.

    Args:
        outputs: [n, classes].
        rows: int64 [n]: of which examples.
        examples: All of them.

    Raises:
        DataError: Some are not; the message names the examples.
    """
    faults = rows[~np.isfinite(outputs).all(axis=1)].tolist()
    if faults:
        shown = ", ".join(str(row) if examples.paths is None else examples.paths[row] for row in faults[:_NAMED])
        raise DataError(
            f"What the model puts out for {len(faults):,} of {len(rows):,} examples is not finite: {shown}"
            f"{', ...' if len(faults) > _NAMED else ''}. Look at their values: they may be far from those of training."
        )


def _temperature(job: Job, trained: Trained) -> float | None:
    if not len(job.split.validation):
        return None
    logits = predict(trained.surgery.logits, job.part("validation", trained.x))
    found = temperature(logits, job.examples.labels[job.split.validation])
    return found if math.isfinite(found) and found > 0 else None


def _divide(surgery: Surgery, scale: float) -> None:
    """Divides the logits: the last layer gives them, and its weights and biases in proportion."""
    last = surgery.logits.layers[-1]
    last.set_weights([weight / scale for weight in last.get_weights()])


def _baselines(job: Job, trained: Trained) -> dict[str, Any]:
    """Returns the scores of guessing, and of the nearest training examples on the features of the first phase."""
    examples, split = job.examples, job.split
    task, classes = examples.task, len(examples.classes)
    train, test = examples.labels[split.train], examples.labels[split.test]

    def score(outputs: NDArray[Any]) -> float:
        return evaluate(outputs, test, task).score

    found = {"majority" if task == "classification" else "guess": score(guess(train, len(test), task, classes))}
    x = trained.first
    if isinstance(x, Features) and is_affordable(len(split.train), len(split.test), x.shape):
        found["nearest_neighbor"] = score(nearest_neighbors(x, split.train, train, split.test, task, classes))
    return found


def predictions_table(job: Job, outputs: NDArray[np.float32]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Returns what the model says of each test example, as a table that `zoo compare` pairs on."""
    examples, rows = job.examples, job.split.test
    labels, paths = examples.labels[rows], examples.paths
    ids = [examples.ids[row].tobytes().hex() for row in rows]
    files = [str(row) if paths is None else paths[int(row)] for row in rows]
    true = target_names(labels, examples.classes, examples.task)
    if examples.task == "classification":
        best = outputs.argmax(axis=1)
        said = target_names(best, examples.classes, examples.task)
        probability, own = outputs.max(axis=1), outputs[np.arange(len(rows)), labels]
    else:
        found = (outputs > 0.5).astype(np.uint8) if examples.task == "multilabel" else outputs
        said = target_names(found, examples.classes, examples.task)
        probability = own = np.full(len(rows), np.nan)
        if examples.task == "multilabel":
            probability = np.maximum(outputs, 1 - outputs).min(axis=1)
            own = np.where(labels > 0, outputs, 1 - outputs).prod(axis=1)
    figures = [
        tuple("" if math.isnan(value) else f"{value:.8g}" for value in pair)
        for pair in zip(probability.tolist(), own.tolist(), strict=True)
    ]
    header = ["id", "file", "label", "predicted", "probability", "label_probability"]
    return header, [row[:4] + row[4] for row in zip(ids, files, true, said, figures, strict=True)]
