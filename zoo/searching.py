"""Finds how many units to reuse and to freeze, and which head to put on, for `reuse="auto"` and `freeze="auto"`.

One pass gives the pooled output of every unit. A linear probe on each ranks the depths; the most promising combinations
are then trained as a transfer trains them, all of them for a few epochs, the better third of those for three times as
many, and so on (successive halving: Jamieson and Talwalkar 2016). Validation examples alone decide; test examples are
never looked at.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from zoo.errors import UsageError
from zoo.features import FeatureCache, Features
from zoo.phases import with_features
from zoo.preparing import prepare
from zoo.progress import Progress, Silent
from zoo.runs.job import Job
from zoo.runs.trained import reader
from zoo.surgery import Head
from zoo.training.fitting import Fitting, memory_errors
from zoo.training.probes import probe

AUTO = "auto"

_WIDTH = 128  # of the hidden layer that heads are tried with
_FIRST_EPOCHS, _FIRST_STEPS = 4, 80  # at least so many of both: before that, a new head says little
_FASTER = 3  # of the combinations, one in so many goes on, for so many times as many epochs
_DEPTHS = 3  # that the probes like best are trained
_BELOW = 2  # of the frozen units, at most so many are tried as trained ones
_DEAREST = 3.0  # times what it costs to run all examples through the net: more than that is not tried
_CHEAP = 3e9  # multiply-adds that nobody waits for


@dataclass(frozen=True)
class Search:
    """How long to look for the best combination.

    Attributes:
        max_trials: Train at most so many combinations.
        max_seconds: Begin no further epochs of them after so many seconds; None: no limit.

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
    """

    reuse: int
    freeze: int
    hidden: tuple[int, ...]
    trials: tuple[Trial, ...]
    seconds: float
    stopped: str

    def to_json(self) -> dict[str, Any]:
        """Returns the same as JSON has it."""
        return dataclasses.asdict(self)


def search(
    model: str | keras.Model = "letters-cnn",
    data: Any = "digits",
    *,
    reuse: Any = AUTO,
    freeze: Any = AUTO,
    search: Search | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> SearchResult:
    """Returns how many units of `model` to reuse and to freeze for `data`, and which head does best.

    Args:
        model: As of `zoo.transfer`.
        data: Likewise.
        reuse: `"auto"`, or what is to be reused whatever comes out.
        freeze: `"auto"`, or what is to be frozen.
        search: How long to look.
        progress: Told about features, and epochs of what is tried.
        **options: Others of `zoo.transfer`.

    Raises:
        UsageError: There is nothing to choose, or there are no validation examples to choose by.
        ZooError: As `zoo.transfer` does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     found = search(train_per_class=5, home=home, search=Search(max_trials=2))
    ...     1 <= found.freeze <= found.reuse <= 5, len(found.trials)
    (True, 7)
    """
    kept = {name: options.pop(name) for name in ("home", "engine", "precision") if name in options}
    options |= {"reuse": "all" if reuse == AUTO else reuse, "freeze": None if freeze == AUTO else freeze, "views": 0}
    job = prepare(model, data, **options, progress=progress)
    if not len(job.split.validation):
        raise UsageError("There are no validation examples to choose by; say what to reuse: --reuse all.")
    fixed_reuse = None if reuse == AUTO else job.surgery.reuse
    fixed_freeze = None if freeze == AUTO else job.surgery.freeze
    if job.surgery.reuse == 0:
        raise UsageError("Nothing is reused, so there is nothing to choose: --reuse 0 has no depths.")
    return _Searching(job, FeatureCache(**kept), search or Search(), progress or Silent()).run(
        fixed_reuse, fixed_freeze
    )


def resolved(
    model: Any, data: Any, options: Mapping[str, Any], progress: Progress
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Returns the options of a transfer with numbers in place of `auto`, and what was tried; None where nothing was."""
    if AUTO not in (options["reuse"], options["freeze"]):
        if options["search"] is not None:
            raise UsageError("Expected --reuse auto or --freeze auto with a budget to search (search, --max-trials).")
        return dict(options), None
    without = {name: value for name, value in options.items() if name not in ("compare_scratch", "tensorboard")}
    found = search(model, data, **without, progress=progress)
    chosen = {"reuse": found.reuse, "freeze": found.freeze, "hidden": found.hidden, "search": None}
    return {**options, **chosen}, found.to_json()


@dataclass(frozen=True)
class _Combination:
    reuse: int
    freeze: int
    hidden: tuple[int, ...]


class _Running:
    """A combination that is being trained."""

    def __init__(self, combination: _Combination, fitting: Fitting, seconds: float) -> None:
        self.combination, self._fitting, self.seconds = combination, fitting, seconds

    def run(self, until: int) -> None:
        """Trains on, up to an epoch."""
        began = time.perf_counter()
        self.history = self._fitting.run(until=until)
        self.seconds += time.perf_counter() - began

    @property
    def loss(self) -> float:
        """The lowest validation loss so far."""
        return min(float(each.val_loss or 0.0) for each in self.history.epochs)

    def trial(self, *, chosen: bool) -> Trial:
        """Returns what is told of it."""
        best, of = self.history.best, self.combination
        return Trial(
            "trained", of.reuse, of.freeze, of.hidden, float(best.val_score or 0.0), self.loss,
            len(self.history.epochs), self.seconds, chosen,
        )  # fmt: skip


class _Searching:
    """One search, for a job that reuses as much as may be reused."""

    def __init__(self, job: Job, cache: FeatureCache, budget: Search, progress: Progress) -> None:
        self._job, self._cache, self._budget, self._progress = job, cache, budget, progress
        self._began = time.perf_counter()
        self._pooled: dict[int, Features] = {}

    def run(self, reuse: int | None, freeze: int | None) -> SearchResult:
        probes = self._probed(reuse, freeze)
        ranked = sorted(probes, key=lambda each: (each.loss, each.reuse))
        combinations = self._combinations([each.reuse for each in ranked], freeze)
        running, stopped = self._halved(combinations)
        order = sorted(running, key=lambda each: each.loss)
        best = order[0].combination
        trials = (*probes, *(each.trial(chosen=each is order[0]) for each in order))
        return SearchResult(best.reuse, best.freeze, best.hidden, trials, self._seconds, stopped)

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._began

    @property
    def _is_late(self) -> bool:
        limit = self._budget.max_seconds
        return limit is not None and self._seconds >= limit

    def _probed(self, reuse: int | None, freeze: int | None) -> list[Trial]:
        """Returns a probe of each depth that may be reused."""
        job, top = self._job, self._job.surgery.reuse
        depths = [reuse] if reuse else list(range(max(1, freeze or 1), top + 1))
        self._compute(depths)
        train, validation = job.split.train, job.split.validation
        labels, task, trials = job.examples.labels, job.examples.task, []
        for depth in depths:
            x = self._pooled[depth]
            found = probe(x[train], labels[train], x[validation], labels[validation], task)
            trials.append(Trial("probe", depth, depth, (), found.score, found.loss, 0, found.seconds))
        return trials

    def _compute(self, depths: Sequence[int]) -> None:
        """Computes the pooled outputs of units in one pass; of examples that cannot be read the job loses sight."""
        job = self._job
        head = job.settings.head(job.examples, job.split.train)
        whole = job.surgery
        if whole.freeze < whole.reuse:
            whole = job.cut(whole.reuse, whole.reuse)
        assert whole.trunk is not None
        trunks = [whole.trunk.at(depth, head.pool) for depth in depths]
        found = self._cache.features_of_each(trunks, job.examples, progress=self._progress)
        self._job = with_features(job, found[0])
        self._pooled = dict(zip(depths, found, strict=True))

    def _combinations(self, depths: Sequence[int], freeze: int | None) -> list[_Combination]:
        """Returns what is worth training, the most promising first, of depths in the order of their merit."""
        heads = [self._job.settings.hidden] if self._job.settings.hidden else [(), (_WIDTH,)]
        chosen = depths[:_DEPTHS]
        lowest = [_Combination(depth, depth if freeze is None else freeze, heads[0]) for depth in chosen]
        more = [_Combination(depths[0], lowest[0].freeze, head) for head in heads[1:]]
        if freeze is None:
            for below in range(1, _BELOW + 1):
                more += [_Combination(depth, depth - below, heads[0]) for depth in chosen[:2] if depth - below > 0]
        affordable = [each for each in (*lowest, *more) if self._cost(each) <= self._dearest]
        return list(dict.fromkeys(affordable or lowest[:1]))[: self._budget.max_trials]

    @property
    def _dearest(self) -> float:
        whole = sum(unit.multiply_adds or 0 for unit in self._job.surgery.units[: self._job.surgery.reuse])
        return max(_CHEAP, _DEAREST * whole * len(self._job.examples))

    def _cost(self, combination: _Combination) -> float:
        """Returns about how many multiply-adds its first epochs take; a step back costs as much as two ahead."""
        units = self._job.surgery.units[combination.freeze : combination.reuse]
        return 3.0 * self._first_epochs * len(self._job.split.train) * sum(unit.multiply_adds or 0 for unit in units)

    @property
    def _first_epochs(self) -> int:
        settings = self._job.settings.fit
        steps = settings.steps(len(self._job.split.train))
        return min(settings.epochs, max(_FIRST_EPOCHS, math.ceil(_FIRST_STEPS / steps)))

    def _halved(self, combinations: Sequence[_Combination]) -> tuple[list[_Running], str]:
        """Trains combinations, ever fewer of them for ever longer; returns them all, and why it ended."""
        settings = self._job.settings.fit
        until = self._first_epochs
        everyone, stopped = list[_Running](), "all that looked promising was tried"
        self._progress.start(len(combinations), "trials")
        try:
            for combination in combinations:
                if everyone and self._is_late:
                    stopped = "the time was over"
                    break
                everyone.append(self._begun(combination, until))
                self._progress.advance(1)
            left = everyone
            while len(left) > 1 and until < settings.epochs and not self._is_late:
                left = sorted(left, key=lambda each: each.loss)[: math.ceil(len(left) / _FASTER)]
                until = min(until * _FASTER, settings.epochs)
                for each in left:
                    each.run(until)
        finally:
            self._progress.close()
        return everyone, stopped

    def _begun(self, combination: _Combination, until: int) -> _Running:
        job, began = self._job, time.perf_counter()
        model, x = self._trainable(combination)
        with memory_errors(job.settings.fit):
            fitting = Fitting(model, job.part("train", x), job.part("validation", x), job.settings.fit, job.objective())
            running = _Running(combination, fitting, time.perf_counter() - began)
            running.run(until)
        return running

    def _trainable(self, combination: _Combination) -> tuple[keras.Model, Any]:
        """Returns what is fitted, and on what: a head alone on pooled features, or with units below it."""
        job = self._job
        if combination.freeze == combination.reuse:
            x = self._pooled[combination.reuse]
            features = keras.Input(x.shape[1:], dtype=str(x.dtype))
            return keras.Model(features, self._head(combination).build(features)[0]), x
        surgery = job.cut(combination.reuse, combination.freeze, self._head(combination))
        if surgery.trunk is None:
            return surgery.logits, reader(job)
        return surgery.logits, self._cache.features(surgery.trunk, job.examples, progress=self._progress)

    def _head(self, combination: _Combination) -> Head:
        settings = dataclasses.replace(self._job.settings, hidden=combination.hidden)
        return settings.head(self._job.examples, self._job.split.train)
