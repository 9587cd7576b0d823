"""What a training leaves: the phases that it had, and the model that came out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zoo.data.reading import Reader
from zoo.features import Features
from zoo.runs.job import Job
from zoo.runs.saving import input_dtype
from zoo.surgery import Surgery
from zoo.training import FitSettings, Group, History


@dataclass(frozen=True)
class Phase:
    """A phase of the training.

    Attributes:
        number: From 1.
        freeze: How many units are frozen.
        settings: How to train.
        decay: Each unit's rate is that of the one above it, divided by this.
    """

    number: int
    freeze: int
    settings: FitSettings
    decay: float = 1.0

    def groups(self, surgery: Surgery) -> list[Group]:
        """Returns the variables that train, each with the factor of its learning rate: the head's is 1."""
        head, *units = surgery.trained_variables()
        return [Group(head), *(Group(unit, self.decay**-below) for below, unit in enumerate(units))]


@dataclass(frozen=True)
class Trained:
    """What came of the training.

    Attributes:
        surgery: The model with what was trained, cut where the last phase had it.
        x: What its trainable part is fed with.
        first: What the first phase was fed with.
        history: Of all phases.
        phases: Each phase with its own history.
    """

    surgery: Surgery
    x: Features | Reader
    first: Features | Reader
    history: History
    phases: tuple[tuple[Phase, History], ...]


@dataclass(frozen=True)
class Scratch:
    """The rival with random weights."""

    settings: FitSettings
    history: History
    surgery: Surgery


def reader(job: Job) -> Reader:
    """Returns the examples themselves, as the net sees them."""
    return Reader(job.examples, job.origin.spec, input_dtype(job))


def records(trained: Trained) -> Iterator[dict[str, Any]]:
    """Yields what run.json says of each phase."""
    for phase, history in trained.phases:
        units = trained.phases[0][0].freeze - phase.freeze
        yield {
            "phase": phase.number,
            "freeze": phase.freeze,
            "learning_rate": phase.settings.learning_rate,
            "unit_decay": phase.decay if units else None,
            "epochs": len(history.epochs),
            "best_epoch": history.best_epoch,
            "steps": history.steps,
            "seconds": history.seconds,
            "stopped": history.stopped,
        }
