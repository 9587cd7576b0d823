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
import numpy as np

from zoo.errors import CutError, DataError, TrainingError, UsageError
from zoo.features import FeatureCache, Features
from zoo.phases import readable
from zoo.preparing import prepare
from zoo.progress import Progress, Silent
from zoo.runs.job import Job
from zoo.runs.trained import reader
from zoo.surgery import Head
from zoo.training.fitting import Fitting, memory_errors
from zoo.training.probes import probe
from zoo.training.standardizing import standard_of
from zoo.trials import Combination, Running, Search, SearchResult, Trial

AUTO = "auto"
LATE = "the time was over"

_WIDTH = 128  # of the hidden layer that heads are tried with
_FIRST_EPOCHS, _FIRST_STEPS = 4, 80  # at least so many of both: before that, a new head says little
_FASTER = 3  # of the combinations, one in so many goes on, for so many times as many epochs
_DEPTHS = 3  # that the probes like best are trained
_BELOW = 2  # of the frozen units, at most so many are tried as trained ones
_DEAREST = 3.0  # times what it costs to run all examples through the net: more than that is not tried
_CHEAP = 3e9  # multiply-adds that nobody waits for


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
        freeze: `"auto"`; None or `"all"`: as much as is reused; or what is to be frozen.
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
    options.pop("tensorboard", None)
    is_fixed, views = freeze not in (AUTO, None, "all"), options.pop("views", 0)
    options |= {"reuse": "all" if reuse == AUTO else reuse, "freeze": freeze if is_fixed else None}
    job = prepare(model, data, **options, progress=progress)
    if not len(job.split.validation):
        raise UsageError("There are no validation examples to choose by; say what to reuse: --reuse all.")
    if job.surgery.reuse == 0:
        raise UsageError("Nothing is reused, so there is nothing to choose: --reuse 0 has no depths.")
    wanted = _Wanted(
        None if reuse == AUTO else job.surgery.reuse, job.surgery.freeze if is_fixed else None, freeze == AUTO, views
    )
    return _Searching(job, wanted, FeatureCache(**kept), search or Search(), progress or Silent()).run()


def resolved(
    model: Any, data: Any, options: Mapping[str, Any], progress: Progress
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Returns the options of a transfer with numbers in place of `auto`, and what was tried; None where nothing was."""
    if AUTO not in (options["reuse"], options["freeze"]):
        if options["search"] is not None:
            raise UsageError("Expected --reuse auto or --freeze auto with a budget to search (search, --max-trials).")
        return dict(options), None
    found = search(model, data, **options, progress=progress)
    chosen = {"reuse": found.reuse, "freeze": found.freeze, "hidden": found.hidden, "search": None}
    return {**options, **chosen}, found.to_json()


@dataclass(frozen=True)
class _Wanted:
    """What is given, whatever comes out: numbers of units, whether fewer may be frozen than are reused, and views."""

    reuse: int | None
    freeze: int | None
    fewer: bool
    views: int


class _Searching:
    """One search, for a job that reuses as much as may be reused."""

    def __init__(self, job: Job, wanted: _Wanted, cache: FeatureCache, budget: Search, progress: Progress) -> None:
        self._job, self._wanted, self._cache, self._progress = job, wanted, cache, progress
        self._most, self._began = budget.max_trials, time.perf_counter()
        self._deadline = None if budget.max_seconds is None else self._began + budget.max_seconds
        self._pooled: dict[int, Features] = {}
        self._failed: list[str] = []

    def run(self) -> SearchResult:
        probes = self._probed()
        ranked = sorted(probes, key=lambda each: (each.loss, each.reuse))
        running, stopped = self._halved(self._combinations([each.reuse for each in ranked]))
        order = self._ordered(running)
        best = order[0].combination
        trials = (*probes, *(each.trial(chosen=each is order[0]) for each in order))
        seconds = time.perf_counter() - self._began
        return SearchResult(best.reuse, best.freeze, best.hidden, trials, seconds, stopped, tuple(self._failed))

    def _ordered(self, running: list[Running]) -> list[Running]:
        """Returns what was trained, the best first; where there was no time for some, all by what they did as early."""
        least = min(each.epochs for each in running)
        until = least if least < self._first_epochs else None
        return sorted(running, key=lambda each: each.loss_until(until))

    @property
    def _is_late(self) -> bool:
        return self._deadline is not None and time.perf_counter() >= self._deadline

    def _probed(self) -> list[Trial]:
        """Returns a probe of each depth that may be reused."""
        job, units, lowest = self._job, self._job.surgery.units, max(1, self._wanted.freeze or 1)
        depths = [depth for depth in range(lowest, job.surgery.reuse + 1) if units[depth - 1].legal]
        self._compute([self._wanted.reuse] if self._wanted.reuse else depths)
        job, trials = self._job, list[Trial]()
        train, validation, labels = job.split.train, job.split.validation, job.examples.labels
        for depth, x in self._pooled.items():
            found = probe(x[train], labels[train], x[validation], labels[validation], job.examples.task)
            trials.append(Trial("probe", depth, depth, (), found.score, found.loss, 0, found.seconds))
        return trials

    def _compute(self, depths: Sequence[int]) -> None:
        """Computes the pooled outputs of units in one pass; of examples that cannot be read the job loses sight."""
        job = self._job
        whole = job.surgery
        if whole.freeze < whole.reuse:
            whole = job.cut(whole.reuse, whole.reuse)
        assert whole.trunk is not None
        pool = "avg" if self._is_flat else job.settings.pool  # whole maps of all units are more than a disk may hold
        trunks = [whole.trunk.at(depth, pool) for depth in depths]
        found = self._cache.features_of_each(trunks, job.examples, progress=self._progress)
        if any(not np.array_equal(each.kept, found[0].kept) for each in found):
            raise DataError(f"Some files of {job.examples.name!r} can be read no longer. Look: zoo check")
        self._job = readable(job, found[0])
        self._pooled = dict(zip(depths, found, strict=True))

    @property
    def _is_flat(self) -> bool:
        return self._job.settings.pool == "flatten"

    def _combinations(self, depths: Sequence[int]) -> list[Combination]:
        """Returns what is worth training, the most promising first, of depths in the order of their merit."""
        heads = [self._job.settings.hidden] if self._job.settings.hidden else [(), (_WIDTH,)]
        chosen, freeze = depths[:_DEPTHS], self._wanted.freeze
        chosen = [*chosen[:1], *dict.fromkeys([max(depths), *chosen[1:]])]  # what a plain transfer takes, early
        tried = [Combination(depth, depth if freeze is None else freeze, heads[0]) for depth in chosen]
        tried += [dataclasses.replace(tried[0], hidden=head) for head in heads[1:]]
        if self._wanted.fewer:
            for below in range(1, _BELOW + 1):
                tried += [Combination(depth, depth - below, heads[0]) for depth in chosen[:2] if depth - below > 0]
        possible = [each for each in dict.fromkeys(tried) if self._is_possible(each)]
        if not possible:
            raise UsageError(
                f"None of the depths that look best ({', '.join(map(str, sorted(chosen)))}) goes with "
                f"--unfreeze {self._job.settings.unfreeze.units} and --views {self._wanted.views}. Leave these "
                "away, or say what to reuse and to freeze."
            )
        return ([each for each in possible if self._cost(each) <= self._dearest] or possible[:1])[: self._most]

    def _is_possible(self, combination: Combination) -> bool:
        """Returns whether the model can be cut so, in this phase and in those that follow."""
        units, unfreeze = self._job.surgery.units, self._job.settings.unfreeze
        if unfreeze.units > combination.freeze or (self._wanted.views and unfreeze.units == combination.freeze):
            return False
        cuts = [combination.freeze, *unfreeze.depths(combination.freeze)]
        return all(units[depth - 1].legal for depth in cuts if depth)

    @property
    def _dearest(self) -> float:
        whole = sum(unit.multiply_adds or 0 for unit in self._job.surgery.units[: self._job.surgery.reuse])
        return max(_CHEAP, _DEAREST * whole * len(self._job.examples))

    def _cost(self, combination: Combination) -> float:
        """Returns about how many multiply-adds its first epochs take; a step back costs as much as two ahead."""
        units = self._job.surgery.units[combination.freeze : combination.reuse]
        return 3.0 * self._first_epochs * len(self._job.split.train) * sum(unit.multiply_adds or 0 for unit in units)

    @property
    def _first_epochs(self) -> int:
        settings = self._job.settings.fit
        steps = settings.steps(len(self._job.split.train))
        return min(settings.epochs, max(_FIRST_EPOCHS, math.ceil(_FIRST_STEPS / steps)))

    def _halved(self, combinations: Sequence[Combination]) -> tuple[list[Running], str]:
        """Trains combinations, ever fewer of them for ever longer; returns them all, and why it ended."""
        until, stopped = self._first_epochs, "all that looked promising was tried"
        running = list[Running]()
        self._progress.start(len(combinations), "trials")
        try:
            for combination in combinations:
                if running and self._is_late:
                    stopped = LATE
                    break
                running += self._begun(combination, until)
                self._progress.advance(1)
            if not running:
                raise TrainingError(f"Nothing that was tried could be trained. {self._failed[0]}")
            return self._narrowed(running, until), stopped
        finally:
            self._progress.close()

    def _narrowed(self, running: list[Running], until: int) -> list[Running]:
        """Trains the best on, until one is left or all epochs were run; returns all that could be trained."""
        left, least, most = running, 2, self._job.settings.fit.epochs
        while until < most and not self._is_late:
            left = sorted(left, key=lambda each: each.loss)
            left = left[: max(least, math.ceil(len(left) / _FASTER))]
            if len(left) < 2:
                break
            until, least = min(until * _FASTER, most), 1
            failed = [each for each in left if not self._went_on(each, until)]
            running, left = ([each for each in some if each not in failed] for some in (running, left))
        return running

    def _begun(self, combination: Combination, until: int) -> list[Running]:
        """Returns the combination, trained for its first epochs; nothing where that cannot be done."""
        job, began = self._job, time.perf_counter()
        try:
            model, x = self._trainable(combination)
            parts = job.part("train", x), job.part("validation", x)
            with memory_errors(job.settings.fit):
                fitting = Fitting(model, *parts, job.settings.fit, job.objective())
        except (TrainingError, CutError) as error:
            self._failed.append(f"{combination}: {error}")
            return []
        running = Running(combination, fitting, time.perf_counter() - began)
        return [running] if self._went_on(running, until) else []

    def _went_on(self, running: Running, until: int) -> bool:
        """Trains on, and returns whether that could be done."""
        try:
            with memory_errors(self._job.settings.fit):
                running.run(until, self._deadline)
        except TrainingError as error:
            self._failed.append(f"{running.combination}: {error}")
            return False
        return True

    def _trainable(self, combination: Combination) -> tuple[keras.Model, Any]:
        """Returns what is fitted, and on what: a head alone on pooled features, or with units below it."""
        job = self._job
        if combination.freeze == combination.reuse and not self._is_flat:
            x = self._pooled[combination.reuse]
            features = keras.Input(x.shape[1:], dtype=str(x.dtype))
            return keras.Model(features, self._head(combination).build(features)[0]), x
        surgery = job.cut(combination.reuse, combination.freeze, self._head(combination))
        if surgery.trunk is None:
            return surgery.logits, reader(job)
        return surgery.logits, self._cache.features(surgery.trunk, job.examples, progress=self._progress)

    def _head(self, combination: Combination) -> Head:
        is_input = combination.freeze == combination.reuse and not self._is_flat
        standard = standard_of(self._pooled[combination.reuse], self._job.split.train) if is_input else None
        return dataclasses.replace(self._job.head(standard), hidden=combination.hidden)
