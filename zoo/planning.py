"""What a transfer would do, told before it does any of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from zoo.data.preprocessing import preprocessed_shape
from zoo.features import FeatureCache
from zoo.preparing import prepare
from zoo.runs.job import Job
from zoo.runs.unfinished import free_name
from zoo.searching import AUTO

_OF_RUNNING = ("compare_scratch", "progress", "search", "tensorboard")


@dataclass(frozen=True)
class Plan:
    """What a transfer would do.

    Attributes:
        model: Name of the model.
        data: Name of the data.
        out: Folder of the run.
        reuse: Number of reused units, of `units`.
        freeze: Number of frozen units.
        units: Number of the model's units.
        parameters: How many are `frozen`, `trained` and `new`.
        examples: How many are in the parts `train`, `validation` and `test`.
        views: How many augmented versions of each training example there will be.
        cached: How many of all those have their features on disk already; None where nothing is frozen, or files are to
            be fetched: only the weights can tell.
        feature_shape: Shape of the features of one example; None likewise.
        feature_bytes: Bytes on disk of the features of all examples; 0 where nothing is frozen.
        fetch: Files of the model that would be fetched first.
        phases: How many units are frozen in each phase of the training.
        search: Whether what to reuse or to freeze is looked for first; the rest then tells of as much as it may choose.
    """

    model: str
    data: str
    out: str
    reuse: int
    freeze: int
    units: int
    parameters: dict[str, int]
    examples: dict[str, int]
    views: int
    cached: int | None
    feature_shape: tuple[int | None, ...] | None
    feature_bytes: int
    fetch: tuple[str, ...] = ()
    phases: tuple[int, ...] = ()
    search: bool = False


def plan(model: str | keras.Model = "letters-cnn", data: Any = "digits", **options: Any) -> Plan:
    """Returns what `transfer` with the same arguments would do, and does none of it.

    >>> plan("letters-cnn", "digits", reuse=3, freeze=2).parameters["new"]
    970
    """
    kept = {name: options.pop(name) for name in ("home", "engine", "precision") if name in options}
    for name in _OF_RUNNING:
        options.pop(name, None)
    fixed = {name: value for name, value in options.items() if value != AUTO}  # as much as the search may choose
    job = prepare(model, data, **fixed, fetch=False)
    return dataclasses.replace(_describe(job, FeatureCache(**kept)), search=len(fixed) < len(options))


def _describe(job: Job, cache: FeatureCache) -> Plan:
    trunk = job.surgery.trunk
    seen = preprocessed_shape(job.origin.spec, job.examples.shape, job.surgery.stitch().input_shape[1:])
    later = job.settings.unfreeze.depths(job.surgery.freeze)
    count = len(job.examples) + job.settings.views * len(job.split.train)
    kept = [trunk, *(trunk.at(depth) for depth in later if depth)] if trunk else []
    shapes = [each.output_shape(seen) for each in kept]
    return Plan(
        model=job.origin.name,
        data=job.examples.name,
        out=str(free_name(job.out)),
        reuse=job.surgery.reuse,
        freeze=job.surgery.freeze,
        units=len(job.surgery.units),
        parameters=job.surgery.parameters(),
        examples=job.counts(),
        views=job.settings.views,
        cached=cache.cached(trunk, job.examples, **job.views()) if trunk and not job.missing else None,
        feature_shape=shapes[0] if shapes else None,
        feature_bytes=4 * count * sum(int(np.prod([size or 1 for size in shape])) for shape in shapes),
        fetch=job.missing,
        phases=(job.surgery.freeze, *later),
    )
