"""Trains what a job is about, phase by phase: first over the features of all that is frozen, then with more units.

Each phase runs over the features of what is still frozen; those of all phases are computed in one pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoo.data import SomeExamples, Split
from zoo.data.reading import Reader
from zoo.errors import DataError
from zoo.features import FeatureCache, Features
from zoo.laps import Laps
from zoo.progress import Progress
from zoo.runs.job import Job
from zoo.runs.trained import Phase, Scratch, Trained, reader
from zoo.surgery import Surgery
from zoo.training import Checkpoint, History, fit, joined
from zoo.training.fitting import Watch
from zoo.training.standardizing import standard_of


def phases_of(job: Job) -> list[Phase]:
    """Returns the phases that the settings ask for.

    >>> from zoo.preparing import prepare
    >>> [(phase.number, phase.freeze) for phase in phases_of(prepare("letters-cnn", "digits", unfreeze=2))]
    [(1, 5), (2, 3)]
    """
    first, unfreeze = job.settings.fit, job.settings.unfreeze
    later = dataclasses.replace(
        first,
        learning_rate=unfreeze.learning_rate or first.learning_rate / 10,
        epochs=unfreeze.epochs or first.epochs,
    )
    freeze = job.surgery.freeze
    return [
        Phase(1, freeze, first),
        *(Phase(number, depth, later, unfreeze.decay) for number, depth in enumerate(unfreeze.depths(freeze), 2)),
    ]


def train(
    job: Job,
    cache: FeatureCache,
    checkpoints: Callable[[str], Path] | None,
    progress: Progress,
    laps: Laps,
    watch: Watch | None = None,
) -> tuple[Job, Trained]:
    """Trains a job's model, and returns it with the job, without the examples that turned out not to be readable.

    Args:
        job: The job.
        cache: Where features are.
        checkpoints: Where the checkpoint of a training of some name is to be; None: nowhere.
        progress: Told about features and epochs.
        laps: Told when features were computed, and when a phase was trained.
        watch: Called after every epoch, counted over all phases, with the learning rate of its end.

    Raises:
        ZooError: As `zoo.transfer` does.
    """
    first = x = first_features(job, cache, progress)
    job = with_features(job, x)
    laps.end("features")
    surgery, done = job.surgery, list[tuple[Phase, History]]()
    for phase in phases_of(job):
        if phase.number > 1:
            before, surgery = (surgery, x), job.cut(job.surgery.reuse, phase.freeze)
            surgery.take_weights(before[0])
            x = _features(job, surgery, cache, progress)
            _refuse_lost(job, x)
            laps.end("features")
        history = fit(
            surgery.logits, job.part("train", x), job.part("validation", x), phase.settings, progress,
            objective=job.objective(), groups=phase.groups(surgery), beat_start=phase.number > 1,
            checkpoint=Checkpoint(checkpoints(str(phase.number))) if checkpoints else None,
            watch=_counted(watch, phase.number, sum(len(each.epochs) for _, each in done)),
        )  # fmt: skip
        done.append((phase, history))
        if phase.number > 1 and not history.best_epoch:
            surgery, x = before  # nothing got better, so nothing was changed
        laps.end("training")
    return job, Trained(surgery, x, first, joined([history for _, history in done]), tuple(done))


def _counted(watch: Watch | None, phase: int, before: int) -> Watch | None:
    """Returns what a phase is to call, whose own epochs begin with 1."""
    if watch is None:
        return None
    return lambda epoch, rate: watch(dataclasses.replace(epoch, epoch=before + epoch.epoch, phase=phase), rate)


def train_scratch(job: Job, checkpoints: Callable[[str], Path] | None, progress: Progress) -> Scratch:
    """Trains the same shape from random weights, fairly: all of it, for as many steps as it wants."""
    head = job.settings.head(job.examples, job.split.train)
    surgery = Surgery(job.model, job.surgery.reuse, 0, head, train_batchnorm=True, random=True, whole=job.surgery.units)
    settings, x = job.settings.fit.from_scratch(len(job.split.train)), reader(job)
    history = fit(
        surgery.logits, job.part("train", x), job.part("validation", x), settings, progress,
        objective=job.objective(), checkpoint=Checkpoint(checkpoints("scratch")) if checkpoints else None,
    )  # fmt: skip
    return Scratch(settings, history, surgery)


def first_features(job: Job, cache: FeatureCache, progress: Progress | None) -> Features | Reader:
    """Returns what the first phase is fed with; the features of the later ones are computed in the same pass."""
    trunk = job.surgery.trunk
    if trunk is None:
        return reader(job)
    lower = [trunk.at(depth) for depth in job.settings.unfreeze.depths(job.surgery.freeze) if depth]
    if not lower:
        return cache.features(trunk, job.examples, **job.views(), progress=progress)
    return cache.features_of_each([trunk, *lower], job.examples, **job.views(), progress=progress)[0]


def _features(job: Job, surgery: Surgery, cache: FeatureCache, progress: Progress) -> Features | Reader:
    if surgery.trunk is None:
        return reader(job)
    return cache.features(surgery.trunk, job.examples, **job.views(), progress=progress)


def with_features(job: Job, x: Features | Reader) -> Job:
    """Returns the job without the examples that turned out not to be readable, its head made for the features."""
    if not isinstance(x, Features):
        return job
    found, surgery = readable(job, x), job.surgery
    is_input = surgery.freeze == surgery.reuse  # of the head; else units that train stand between
    found = dataclasses.replace(found, standard=standard_of(x, found.split.train) if is_input else None)
    if found.standard is None and (found.examples is job.examples or job.examples.task != "regression"):
        return found
    # The features want another scale; or values do, which are brought to that of the training examples that are left.
    return dataclasses.replace(found, surgery=found.cut(surgery.reuse, surgery.freeze))


def readable(job: Job, x: Features) -> Job:
    """Returns the job without the examples that turned out not to be readable.

    Raises:
        DataError: No training or no test example is left.
    """
    kept = x.kept[: len(x) // (job.settings.views + 1)]
    if len(kept) == len(job.examples):
        return job
    parts = [np.flatnonzero(np.isin(kept, part)) for part in (job.split.train, job.split.validation, job.split.test)]
    found = dataclasses.replace(
        job, examples=SomeExamples(job.examples, kept), split=Split(*parts), unread=x.bad[len(job.examples.bad) :]
    )
    for name in ("train", "test"):
        if not len(getattr(found.split, name)):
            raise DataError(f"No {name} example of {job.examples.name!r} can be read: {found.unread[0]}")
    return found


def _refuse_lost(job: Job, x: Features | Reader) -> None:
    """Refuses features of fewer examples than the first phase had."""
    if isinstance(x, Features) and len(x) < len(job.examples) * (job.settings.views + 1):
        raise DataError(
            f"Files of {job.examples.name!r} that could be read when training began can be read no longer: "
            f"{x.bad[-1] if x.bad else 'see the warnings'}. Bring them back, and go on: zoo transfer --resume RUN"
        )
