"""Judges a finished run's model on data: on other examples than it was tested with, or on a part of its own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from zoo.compiled import compiled
from zoo.data import Examples, Rows, open_data, split_of
from zoo.data.npz import NpzFile
from zoo.data.preprocessing import preprocessed_shape
from zoo.data.reading import Reader
from zoo.data.targets import Task
from zoo.errors import DataError, UsageError
from zoo.progress import Progress, Silent
from zoo.runs.judging import judged, refuse_infinite
from zoo.runs.parts import net_of, recorded_spec
from zoo.runs.run import Run, open_run
from zoo.training import Evaluation

PartName = Literal["all", "train", "validation", "test"]
PARTS: tuple[PartName, ...] = ("all", "train", "validation", "test")

_BATCH = 64
_NAMED = 5


def evaluate(
    run: str | Path | Run,
    data: Any,
    *,
    part: PartName = "all",
    progress: Progress | None = None,
    **options: Any,
) -> Evaluation:
    """Returns how well a run's model does on data.

    Its `warnings` tell of examples that the model was trained on, or that chose when to stop: on those any model looks
    better than it is.

    Args:
        run: The run, its folder, or its name in `runs/`.
        data: What `zoo.open_data` takes, or what it returned. Its classes are those of the run, or some of them.
        part: `all` of it; or those that were in the run's own `train`, `validation` or `test` part. Of data of which
            the run had nothing: what a transfer with its seed makes that part.
        progress: Told about files and examples.
        **options: Of `zoo.open_data`, where `data` is not open yet.

    Raises:
        NotFoundError: No such run or data.
        IntegrityError: A file of the run is damaged.
        UsageError: No such part.
        DataError: Data that cannot be used, or that the run's model does not know: another task, other classes, or
            examples of another shape.

    >>> import tempfile
    >>> from zoo.pipeline import transfer
    >>> with tempfile.TemporaryDirectory() as home:
    ...     run = transfer(train_per_class=5, epochs=3, out=f"{home}/run", home=home)
    ...     found = evaluate(run, "digits", part="test")
    ...     found.count == run.record["examples"]["test"], round(found.accuracy - run.accuracy, 6)
    (True, 0.0)
    """
    if part not in PARTS:
        raise UsageError(f"Expected a part of {', '.join(PARTS)}; got {part!r}.")
    opened, progress = run if isinstance(run, Run) else open_run(run), progress or Silent()
    spec, task = recorded_spec(opened.record), cast(Task, opened.task)
    examples = _opened(data, task, options, progress)
    labels = _labels(examples, opened, task)
    rows = _rows(examples, part, opened)
    outputs, kept = _outputs(opened, examples.seen_by(spec), rows, progress)
    refuse_infinite(outputs, kept, examples)
    calibration = opened.record["metrics"]["test"].get("calibration") or {}
    found = judged(
        outputs, labels[kept], examples.ids[kept], task, opened.classes, calibration.get("temperature")
    )  # fmt: skip
    warnings = [*_seen_before(opened, examples, kept), *_unread(len(rows), len(kept))]
    return dataclasses.replace(found, warnings=(*warnings, *found.warnings))


def _opened(data: Any, task: Task, options: dict[str, Any], progress: Progress) -> Examples:
    if hasattr(data, "read") and hasattr(data, "ids"):
        examples = open_data(data, **options)
    elif not isinstance(data, str | bytes | os.PathLike | tuple):
        raise DataError(f"Expected data with labels, such as a pair of arrays (x, y); got {type(data).__name__}.")
    else:
        examples = open_data(data, **{**options, "task": options.get("task") or task}, progress=progress)
    if examples.task != task:
        raise DataError(f"The run's task is {task}; the labels of {examples.name!r} are {examples.task}.")
    return examples


def _labels(examples: Examples, run: Run, task: Task) -> NDArray[Any]:
    """Returns the targets of examples with the run's own numbers of the classes."""
    if task == "regression":
        if len(examples.classes) != len(run.classes):
            raise DataError(
                f"The run puts out {len(run.classes)} values; {examples.name!r} has {len(examples.classes)} each."
            )
        return examples.labels
    number = {name: at for at, name in enumerate(run.classes)}
    unknown = [name for name in examples.classes if name not in number]
    if unknown:
        raise DataError(
            f"Expected classes that {run.path} knows ({_listed(run.classes)}); {examples.name!r} also has "
            f"{_listed(unknown)}. Leave these out, or rename them."
        )
    columns = np.array([number[name] for name in examples.classes], np.int64)
    if task == "classification":
        return np.asarray(columns[examples.labels])
    labels = np.zeros((len(examples), len(run.classes)), np.uint8)
    labels[:, columns] = examples.labels
    return labels


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more


def _rows(examples: Examples, part: PartName, run: Run) -> Rows:
    rows = np.arange(len(examples)) if part == "all" else _rows_of(examples, part, run)
    if not len(rows):
        raise DataError(f"There are no examples in {examples.name!r} (part: {part}).")
    return rows


def _rows_of(examples: Examples, part: PartName, run: Run) -> Rows:
    parts, ids = _parts(run), [row.tobytes() for row in examples.ids]
    if parts is not None and any(each in some for each in ids for some in parts.values()):
        return np.flatnonzero([each in parts[part] for each in ids])
    found: Rows = getattr(split_of(examples, run.record["split"]["seed"]), part)
    return found


def _parts(run: Run) -> dict[str, set[bytes]] | None:
    """Returns the identities of the examples of each part of a run's data; None of a run of old."""
    path = run.kept("split.npz")
    if path is None:
        return None
    file = NpzFile(path)
    return {name: {row.tobytes() for row in file.array(name)} for name in PARTS if name != "all"}


def _outputs(run: Run, examples: Examples, rows: Rows, progress: Progress) -> tuple[NDArray[np.float32], Rows]:
    """Returns what the run's model puts out, [m, classes], and for which of the rows: those that can be read."""
    spec, model = recorded_spec(run.record), run.load()
    net = net_of(model, spec)
    preprocessed_shape(spec, examples.shape, net.input_shape[1:])
    reader = Reader(examples, spec, str(model.inputs[0].dtype))
    compute = compiled(net)
    outputs, kept, bad = [np.empty((0, *net.output_shape[1:]), np.float32)], [rows[:0]], list(examples.bad)
    progress.start(len(rows), "predictions")
    try:
        for batch in reader.batches(rows, _BATCH):
            bad += [each for _, each in batch.bad]
            if len(batch.rows):
                outputs.append(np.asarray(compute(batch.x)))
                kept.append(batch.rows)
            progress.advance(len(batch.rows) + len(batch.bad))
    finally:
        progress.close()
    examples.policy.judge(bad, len(examples) + len(examples.bad), examples.name)
    return np.concatenate(outputs), np.concatenate(kept)


def _seen_before(run: Run, examples: Examples, rows: Rows) -> list[str]:
    """Returns warnings of examples that the run's model owes something to, by what they contain."""
    parts = _parts(run)
    if parts is None:
        return ["The run, made by an older version, does not tell which examples it was trained on; some may be among "
                "these."]  # fmt: skip
    ids, found = [row.tobytes() for row in examples.ids[rows]], list[str]()
    for name, what in (("train", "trained on"), ("validation", "stopped by")):
        if count := sum(each in parts[name] for each in ids):
            found.append(f"{what} {count:,}")
    if not found:
        return []
    return [
        f"The model was {' and '.join(found)} of these {len(ids):,} examples: the figures flatter it. Of its own data, "
        "part='test' (--part test) is what it has not seen."
    ]


def _unread(wanted: int, read: int) -> list[str]:
    return [f"{wanted - read:,} of {wanted:,} examples could not be read, and do not count."] if read < wanted else []
