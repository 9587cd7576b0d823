"""The first steps of a transfer: data and model become a job, before anything is computed or written."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.data import Examples, Split, open_data, split_of
from zoo.data.checking import data_warnings
from zoo.data.examples import are_texts
from zoo.data.preprocessing import preprocessed_shape
from zoo.data.seen import seen_before
from zoo.data.split import used_examples
from zoo.errors import CutError, DataError, UsageError
from zoo.garbage import without_collection
from zoo.laps import Laps
from zoo.loading.building import without_memory
from zoo.progress import Progress
from zoo.registry import InputSpec
from zoo.reusing import Reused, reused_by_name, reused_in_memory
from zoo.runs.job import Job, Origin, Settings
from zoo.runs.saving import refuse_unsavable
from zoo.surgery import Surgery, refuse_to_train_opaque, select_units
from zoo.training import FitSettings, Loss, Optimizer, Schedule, Unfreeze


def prepare(
    model: str | keras.Model,
    data: Any,
    *,
    out: str | Path | None = None,
    preprocessing: InputSpec | None = None,
    epochs: int = 100,
    batch_size: int = 32,
    lr: float = 0.001,
    patience: int = 10,
    optimizer: str | Optimizer = "adam",
    schedule: str | Schedule = "constant",
    loss: Loss | None = None,
    unfreeze: int | Unfreeze = 0,
    seed: int = 0,
    hidden: int | Sequence[int] = (),
    progress: Progress | None = None,
    laps: Laps | None = None,
    fetch: bool = True,
    compare_scratch: bool = False,
    **options: Any,
) -> Job:
    """Returns the job that a transfer with these arguments has to do; nothing is computed yet.

    Arguments are those of `zoo.transfer`, but for `laps`, which is told when the data and the net are ready, and
    `fetch`, which says whether to fetch files of the model that are missing.

    Raises:
        ZooError: As `zoo.transfer` does.
    """
    laps = laps or Laps()
    seed = operator.index(seed)
    fitting = FitSettings(
        epochs, batch_size, lr, patience, seed,
        optimizer=Optimizer(optimizer) if isinstance(optimizer, str) else optimizer,  # type: ignore[arg-type]
        schedule=Schedule(schedule) if isinstance(schedule, str) else schedule,  # type: ignore[arg-type]
        loss=loss or Loss(),
    )  # fmt: skip
    widths = (hidden,) if isinstance(hidden, int) else hidden
    unfreeze = unfreeze if isinstance(unfreeze, Unfreeze) else Unfreeze(operator.index(unfreeze))
    settings = Settings(
        hidden=tuple(operator.index(width) for width in widths), seed=seed, unfreeze=unfreeze, fit=fitting, **options
    )
    examples, split = _split(open_data(data, progress=progress), settings)
    laps.end("data")
    if isinstance(model, str):
        reused = reused_by_name(model, preprocessing, settings, progress, fetch=fetch)
    else:
        reused = reused_in_memory(model, preprocessing, examples, settings)
    surgery = _cut(reused, settings, examples, split)
    spec = reused.origin.spec
    examples = examples.seen_by(spec)
    refuse_unsavable(surgery)
    _refuse_impossible_phases(surgery, settings, examples, reused.origin.name)
    _check_range(examples, spec)
    seen = preprocessed_shape(spec, examples.shape, surgery.stitch().input_shape[1:])
    if None in seen and (compare_scratch or surgery.trunk is None or unfreeze.units == surgery.freeze):
        raise DataError(
            f"Where nothing is frozen{', as in a rival from scratch' if compare_scratch else ''}, pictures of several "
            f"sizes ({list(seen)}) make no batch to train on. Give them one size: preprocessing=zoo.InputSpec((height, "
            "width, channels)); or leave a unit frozen: --freeze 1, and no --compare-scratch."
        )
    folder = Path(out) if out else Path("runs") / plain_name(examples.name)
    if fitting.loss.regression != "mse" and examples.task != "regression":
        raise UsageError(f"--regression-loss {fitting.loss.regression} is for values; the labels are {examples.task}.")
    if settings.calibrate and (examples.task == "regression" or not len(split.validation)):
        why = "values have none" if examples.task == "regression" else "there are no validation examples to fit them to"
        raise UsageError(f"--calibrate is about probabilities, and {why}. Leave it away (calibrate).")
    warnings = (*data_warnings(examples, split), *_seen(reused.origin, surgery, examples, split))
    job = Job(
        reused.origin, reused.model, examples, split, surgery, settings, folder, reused.missing, warnings,
        whole=reused.whole,
    )  # fmt: skip
    job.objective()  # which refuses weights of classes that do not exist
    laps.end("build")
    return job


def plain_name(data: str) -> str:
    """Returns what a run on this data is called: as the folder or file is, without what a path could be upset by."""
    last = Path(data).resolve().name if data.startswith(".") or "/" in data or os.sep in data else data
    return re.sub(r"[^\w.-]+", "-", re.sub(r"[.](csv|npz|txt)$", "", last)).strip("-.") or "data"


def _cut(reused: Reused, settings: Settings, examples: Examples, split: Split) -> Surgery:
    head = settings.head(examples, split.train)

    def cut() -> Surgery:
        return Surgery(
            reused.model, settings.reuse, settings.freeze, head, preprocessing=reused.origin.spec,
            train_batchnorm=settings.train_batchnorm, random=bool(reused.missing), whole=reused.whole,
            name=reused.origin.name,
        )  # fmt: skip

    with without_collection():
        return without_memory(cut) if reused.missing else cut()


def _split(examples: Examples, settings: Settings) -> tuple[Examples, Split]:
    """Returns the examples that some part of the split uses, and the split of those."""
    if len(examples.classes) < 2 and examples.task == "classification":
        raise DataError(f"Data {examples.name!r} has {len(examples.classes)} class; a classifier needs two or more.")
    if not examples.classes:
        raise DataError(f"Data {examples.name!r} has no labels at all; there is nothing to learn.")
    split = split_of(examples, settings.seed, settings.train_per_class)
    if not len(split.test):
        numbers = all(re.fullmatch(r"-?[0-9.]+([eE][-+]?[0-9]+)?", name) for name in examples.classes)
        raise DataError(
            f"Data {examples.name!r} has no class with two different examples; none is left to test on."
            f"{' If the labels are values, say so: --task regression (open_data).' if numbers else ''}"
        )
    return used_examples(examples, split)


def _seen(origin: Origin, surgery: Surgery, examples: Examples, split: Split) -> Iterator[str]:
    """Yields a warning of test examples that the reused units were trained on, in the run that they are of."""
    if origin.trained_on is None or not surgery.reuse:
        return
    count = int(seen_before(examples.ids[split.test], origin.trained_on).sum())
    if count:
        yield (
            f"{origin.name} was trained on {count:,} of these {len(split.test):,} test examples: the figures flatter "
            "what is made of it. With the --seed of the run that it is of they are fewer, or none."
        )


def _refuse_impossible_phases(surgery: Surgery, settings: Settings, examples: Examples, name: str) -> None:
    if settings.views and are_texts(examples):
        raise UsageError("Expected no --views: they are versions of pictures, and these are texts.")
    if settings.views and surgery.trunk is None:
        raise UsageError("Expected --views with frozen units, whose features they are; nothing is frozen: --freeze 1.")
    if settings.unfreeze.units > surgery.freeze:
        raise CutError(
            f"Expected to unfreeze at most the {surgery.freeze} units that are frozen; got {settings.unfreeze.units}."
        )
    refuse_to_train_opaque(surgery.units, surgery.reuse, surgery.freeze - settings.unfreeze.units)
    for depth in settings.unfreeze.depths(surgery.freeze):
        select_units(surgery.units, surgery.reuse, depth, name=name)  # which refuses what cannot be cut
    if settings.views and settings.unfreeze.units == surgery.freeze > 0:
        raise UsageError(
            "Expected --views with units that stay frozen, whose features they are; none does. Nearest: --unfreeze "
            f"{surgery.freeze - 1}."
        )


def _check_range(examples: Examples, spec: InputSpec | None) -> None:
    """Refuses pictures that were scaled already."""
    if spec is None or len(examples.shape) != 3 or examples.paths is not None:  # files hold 0 to 255
        return
    sample = np.concatenate([np.ravel(picture) for picture in examples.read(np.arange(min(64, len(examples))))])
    if sample.dtype.kind == "f" and 0 < sample.max() <= 1 and sample.min() >= -1:
        raise DataError(
            f"The pictures of {examples.name!r} have values {sample.min():g} to {sample.max():g}; the model's own "
            "preprocessing expects 0 to 255. Multiply them by 255."
        )
