"""Which pretrained model suits one's data: ranks those that are here before anything is trained.

Each runs over some training examples once, and its features are kept: the transfer that follows finds them. Scores of
the features rank the models; validation and test examples are never looked at.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.data import Examples, Rows, SomeExamples, open_data, split_of
from zoo.data.split import hashed_places, joined_groups
from zoo.data.targets import strata
from zoo.errors import DataError, NotFoundError, UsageError, ZooError
from zoo.features import FeatureCache, Features, FeatureStats
from zoo.progress import Progress, Silent
from zoo.ranking import Candidate, Found, Recommendation, ranked
from zoo.registry import Entry, all_entries, find_loadable
from zoo.reusing import Reused, reused_by_name, reused_in_memory
from zoo.runs.job import Settings
from zoo.store import pulled_names
from zoo.surgery import Head, Surgery
from zoo.training.linear import Ints, one_thread, spread_rows
from zoo.training.transferability import h_score, linear_probe, log_me, nearest_neighbor_accuracy

__all__ = ["Recommendation", "recommend"]

_LEAST = 2
_log = logging.getLogger("zoo")


def recommend(
    data: Any = "digits",
    names: Iterable[str | keras.Model] | None = None,
    *,
    max_examples: int = 2000,
    train_per_class: int | None = None,
    seed: int = 0,
    engine: str = "tensorflow",
    precision: str = "float32",
    home: str | Path | None = None,
    progress: Progress | None = None,
) -> Recommendation:
    """Returns models in the order of how well their features suit some data, before anything is trained.

    The order is that of the mean of the ranks by four scores of the features of all units but the classifier: the
    log-loss of a linear model in cross-validation, the accuracy of the nearest neighbour, the H-score, and LogME. All
    see training examples alone, not the validation and test examples of a transfer with the same seed. A model that
    cannot be judged stands at the end, with the reason.

    Args:
        data: What `zoo.open_data` takes, or what it returned.
        names: Models to choose from: names in the registry, whose files are fetched where they are missing, or built
            Keras models; None: all on this machine that this version can load.
        max_examples: Look at no more training examples, of each class in proportion.
        train_per_class: As of `zoo.transfer`.
        seed: Likewise.
        engine: Likewise.
        precision: Likewise.
        home: Where features are kept; None: `$ZOO_HOME`.
        progress: Told about bytes that are fetched, and examples, of all models together, as they are done.

    Raises:
        UsageError: A setting that cannot be right, or a model that this version cannot load.
        NotFoundError: No such data, or no such model.
        DataError: The data cannot be used to train on.
        ZooError: No model could be judged; where it is the same for all, that error.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     found = recommend("digits", ["letters-cnn"], max_examples=100, home=home)
    ...     found.best.name, found.best.units, found.best.score > 0.8
    ('letters-cnn', 5, True)
    """
    began = time.perf_counter()
    if max_examples < _LEAST:
        raise UsageError(f"Expected at least {_LEAST} examples to look at; got {max_examples}.")
    models = _models(names)
    cache = FeatureCache(home, engine=engine, precision=precision)
    examples = open_data(data, progress=progress)
    _refuse_unlabelled(examples)
    train = split_of(examples, seed, train_per_class).train
    some = SomeExamples(examples, train[_looked_at(examples, train, max_examples, seed)])
    overall = _Overall(progress or Silent(), len(some) * len(models))
    try:
        found = [_judged(model, some, cache, overall, fetch=names is not None) for model in models]
    finally:
        overall.end()
    _refuse_none([each for each in found if not each.losses.size], len(found))
    return Recommendation(
        examples.name, examples.task, len(examples.classes), len(some), len(train), ranked(found),
        time.perf_counter() - began,
    )  # fmt: skip


def _models(names: Iterable[str | keras.Model] | None) -> list[Entry | keras.Model]:
    """Returns the models to judge: entries that this version can load, or models in memory."""
    if names is None:
        here = pulled_names()
        entries = [entry for _, entry in sorted(all_entries().items())]
        return [each for each in entries if "load" in each.can and (each.source == "embedded" or each.name in here)]
    names = [names] if isinstance(names, str) else list(names)
    models = [find_loadable(each) if isinstance(each, str) else each for each in names]
    if not models:
        raise UsageError("Expected at least one model to judge; got none. See: zoo list --pulled")
    twins = {each.name for number, each in enumerate(models) if each.name in {other.name for other in models[:number]}}
    if twins:
        raise UsageError(f"Expected each model once; got more than one called {', '.join(sorted(twins))}.")
    return models


def _refuse_unlabelled(examples: Examples) -> None:
    if examples.task == "classification" and len(examples.classes) < 2:
        raise DataError(
            f"Data {examples.name!r} has {len(examples.classes)} class; to choose a model takes two or more."
        )
    if not examples.classes:
        raise DataError(f"Data {examples.name!r} has no labels at all; there is nothing to choose a model by.")


def _looked_at(examples: Examples, train: Rows, count: int, seed: int) -> Rows:
    """Returns which of the training examples to look at: a smaller number's choice is mostly part of a larger one's."""
    seen = strata(examples.labels[train], examples.task)
    rows = spread_rows(seen, hashed_places(examples.ids[train], f"recommend {seed}"), count)
    if len(rows) < _LEAST:
        raise DataError(f"Expected at least {_LEAST} training examples in {examples.name!r}; got {len(rows)}.")
    return rows


def _judged(
    model: Entry | keras.Model, examples: SomeExamples, cache: FeatureCache, progress: _Overall, *, fetch: bool
) -> Found:
    """Returns what the features of a model tell; whatever goes wrong with it, the others go on."""
    if isinstance(model, Entry):
        plain = Candidate(model.name, model.source, top1=model.top1, params=model.params)
    else:
        plain = Candidate(str(getattr(model, "name", model)), "memory")
    try:
        return _scored(plain, model, examples, cache, progress, fetch=fetch)
    except Exception as error:  # of whatever kind: one model that fails must not cost the others
        _log.debug("%s could not be judged", plain.name, exc_info=True)
        told = str(error) if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"
        reason = told.strip().split("\n")[0] or type(error).__name__
        return Found(dataclasses.replace(plain, reason=reason), np.empty(0), np.empty(0, np.int64), error)
    finally:
        progress.model_done(len(examples))


def _scored(
    plain: Candidate,
    model: Entry | keras.Model,
    examples: SomeExamples,
    cache: FeatureCache,
    progress: _Overall,
    *,
    fetch: bool,
) -> Found:
    reused = _reused(model, examples, progress, fetch=fetch)
    surgery = Surgery(
        reused.model, "all", None, Head(2), preprocessing=reused.origin.spec, whole=reused.whole,
        name=reused.origin.name,
    )  # fmt: skip
    if surgery.trunk is None:
        raise UsageError(f"{plain.name} has one unit alone, the classifier, which is always replaced.")
    features = cache.features(surgery.trunk, examples, progress=progress)
    used = surgery.units[: surgery.reuse]
    costs = [unit.multiply_adds for unit in used]
    candidate = dataclasses.replace(
        plain,
        params=plain.params or reused.model.count_params(),
        units=surgery.reuse,
        width=features.shape[1],
        multiply_adds=None if None in costs else sum(cost or 0 for cost in costs),
        seconds=_seconds(features.stats),
    )
    with one_thread():
        return _with_scores(candidate, features, examples)


def _reused(model: Entry | keras.Model, examples: SomeExamples, progress: Progress, *, fetch: bool) -> Reused:
    if isinstance(model, Entry):
        reused = reused_by_name(model.name, None, Settings(), progress, fetch=fetch)
        if reused.missing:
            raise NotFoundError(f"{', '.join(reused.missing)} is not here. Fetch it: zoo pull {model.name}")
        return reused
    return reused_in_memory(model, None, examples, Settings())


def _seconds(stats: FeatureStats) -> float | None:
    return (stats.reading + stats.computing) / stats.misses if stats.misses else None


def _with_scores(candidate: Candidate, features: Features, examples: SomeExamples) -> Found:
    if features.ndim != 2:
        raise UsageError(
            f"Expected a vector of features for each example; {candidate.name} gives {features.shape[1:]}."
        )
    x, labels, kept = np.asarray(features), features.labels, features.kept
    groups: Ints = joined_groups(examples.ids[kept], None if examples.groups is None else examples.groups[kept])
    probed = linear_probe(x, labels, examples.task, groups=groups)
    is_classes = examples.task == "classification"
    scored = dataclasses.replace(
        candidate,
        score=probed.score,
        loss=probed.loss,
        nearest=nearest_neighbor_accuracy(x, labels, groups=groups) if is_classes else None,
        h_score=h_score(x, labels) if is_classes else None,
        log_me=log_me(x, labels, examples.task),
    )
    return Found(scored, probed.losses, kept)


def _refuse_none(failed: Sequence[Found], count: int) -> None:
    """Raises what went wrong, where no model could be judged."""
    if count and len(failed) < count:
        return
    if not failed:
        raise NotFoundError("No model is on this machine that this version can load. Get one: zoo pull NAME")
    errors = [each.error for each in failed]
    if len({str(error) for error in errors}) == 1 and isinstance(errors[0], ZooError):
        raise errors[0]
    told = "; ".join(f"{each.candidate.name}: {each.candidate.reason}" for each in failed)
    raise DataError(f"None of {count} models could be judged on this data. {told}") from errors[0]


class _Overall:
    """Makes one step of the features of all models, so that what is left of it can be told.

    Whatever else takes long, such as fetching, is a step of its own in between.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._left = progress, total
        self._ahead = 0  # examples of the present model that were counted
        self._is_open = self._is_other = False

    def start(self, total: int | None, unit: str) -> None:
        """Begins, or goes on with, the features; or begins another step."""
        self._is_other = unit != "examples"
        if self._is_other:
            self.end()
            self._progress.start(total, unit)
        else:
            self._open()

    def expect(self, total: int) -> None:
        """Hands on what another step expects."""
        if self._is_other:
            self._progress.expect(total)

    def advance(self, n: int, **figures: float) -> None:
        """Counts."""
        if not self._is_other:
            self._left -= n
            self._ahead += n
        self._progress.advance(n, **figures)

    def close(self) -> None:
        """Ends another step; features of further models may follow."""
        if self._is_other:
            self._progress.close()
            self._is_other = False

    def model_done(self, examples: int) -> None:
        """Counts those of a model's examples that needed no computing, or that it failed on."""
        rest, self._ahead = examples - self._ahead, 0
        self._left -= rest
        if self._is_open and rest > 0:
            self._progress.advance(rest)

    def end(self) -> None:
        """Ends the step of the features."""
        if self._is_open:
            self._progress.close()
            self._is_open = False

    def _open(self) -> None:
        if not self._is_open:
            self._progress.start(self._left, "examples")
            self._is_open = True
