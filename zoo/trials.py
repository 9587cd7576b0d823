"""What a search for the best cut may cost, what it tries, and what it tells."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

from zoo.errors import UsageError
from zoo.training.fitting import Fitting


@dataclass(frozen=True)
class Search:
    """How long to look for the best combination.

    Attributes:
        max_trials: Train at most so many combinations.
        max_seconds: Begin no further epoch of them after so many seconds; None: no limit. Features of the units, and a
            first epoch of the first combination, there are in any case.

    Raises:
        UsageError: A value that cannot be.
    """

    max_trials: int = 6
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.max_trials < 1:
            raise UsageError(f"Expected at least 1 trial; got {self.max_trials}.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise UsageError(f"Expected more than 0 seconds; got {self.max_seconds}.")


@dataclass(frozen=True)
class Trial:
    """What was tried, and how well it did on the validation examples.

    Attributes:
        kind: `probe`: a linear model on the features; `trained`: head, and units that are not frozen, as a transfer
            trains them.
        reuse: Number of reused units.
        freeze: Number of frozen units.
        hidden: Widths of the hidden layers.
        score: Of the validation examples: accuracy, F1, or the mean absolute error.
        loss: What it is ranked by: of what was trained, the lowest validation loss; of a probe, the mean over
            validation examples and training examples that were held out. The two are not on one scale.
        epochs: How many it was trained.
        seconds: Wall time.
        chosen: Whether it was the best.
    """

    kind: str
    reuse: int
    freeze: int
    hidden: tuple[int, ...]
    score: float
    loss: float
    epochs: int
    seconds: float
    chosen: bool = False


@dataclass(frozen=True)
class SearchResult:
    """What was tried, and what to take.

    Attributes:
        reuse: Of the best.
        freeze: Of the best.
        hidden: Of the best.
        trials: All that was tried: probes from the lowest depth up, then what was trained, the best first.
        seconds: Wall time.
        stopped: Why no more was tried.
        failed: What could not be trained, and why, a sentence each.
    """

    reuse: int
    freeze: int
    hidden: tuple[int, ...]
    trials: tuple[Trial, ...]
    seconds: float
    stopped: str
    failed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the same as JSON has it."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Combination:
    """Numbers of units to reuse and to freeze, and widths of the hidden layers of a head."""

    reuse: int
    freeze: int
    hidden: tuple[int, ...]

    def __str__(self) -> str:
        return f"reuse {self.reuse}, freeze {self.freeze}, hidden {' '.join(map(str, self.hidden)) or 'none'}"


class Running:
    """A combination that is being trained."""

    def __init__(self, combination: Combination, fitting: Fitting, seconds: float) -> None:
        self.combination, self._fitting, self.seconds = combination, fitting, seconds

    def run(self, until: int, deadline: float | None) -> None:
        """Trains on, up to an epoch, or until it is late."""
        began = time.perf_counter()
        self.history = self._fitting.run(until=until, deadline=deadline)
        self.seconds += time.perf_counter() - began

    @property
    def epochs(self) -> int:
        """How many it was trained."""
        return len(self.history.epochs)

    @property
    def loss(self) -> float:
        """The lowest validation loss so far."""
        return self.loss_until(None)

    def loss_until(self, epoch: int | None) -> float:
        """Returns the lowest validation loss up to an epoch; None: so far."""
        return min(float(each.val_loss or 0.0) for each in self.history.epochs[:epoch])

    def trial(self, *, chosen: bool) -> Trial:
        """Returns what is told of it."""
        best, of = self.history.best, self.combination
        return Trial(
            "trained", of.reuse, of.freeze, of.hidden, float(best.val_score or 0.0), self.loss,
            len(self.history.epochs), self.seconds, chosen,
        )  # fmt: skip
