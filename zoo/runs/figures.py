"""What a page or a card says in numbers, taken from a run's record. It knows no HTML and draws nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.intervals import mcnemar, wilson_interval
from zoo.runs.wording import loss, percent, shape

_SPREAD = 0.02  # a mean difference of probabilities and what comes true that is worth a word

NOUNS = {"classification": "class", "multilabel": "label", "regression": "value"}


@dataclass(frozen=True)
class Score:
    """The figure that people ask for first.

    Attributes:
        name: `accuracy`, `f1` or `mae`.
        value: On the test examples.
        low: Where its 95 % interval begins; None where there is none.
        high: Where it ends.
        count: Of the test examples.
        right: How many of them are right; None where the task has no such thing.
        guess: What one gets without a look at the examples; None where unknown.
        neighbor: What the most similar training examples give; None where unknown.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    count: int
    right: int | None
    guess: float | None
    neighbor: float | None

    @property
    def less_is_better(self) -> bool:
        """Whether it is an error."""
        return self.name == "mae"

    def beats(self, rival: float | None) -> bool | None:
        """Returns whether `rival` is worse than all of the interval; None where that is not known."""
        if rival is None or self.low is None or self.high is None:
            return None
        return rival > self.high if self.less_is_better else rival < self.low

    def is_beaten_by(self, rival: float | None) -> bool:
        """Returns whether `rival` is better than all of the interval."""
        if rival is None or self.low is None or self.high is None:
            return False
        return rival < self.low if self.less_is_better else rival > self.high

    def said(self, value: float | None) -> str:
        """Returns such a figure as people read it."""
        if value is None:
            return "–"
        return loss(value) if self.less_is_better else percent(value)


def task_of(record: Mapping[str, Any]) -> str:
    """Returns what the run's model says: `classification`, `multilabel` or `regression`."""
    return str(record.get("task", "classification"))


def noun_of(record: Mapping[str, Any]) -> str:
    """Returns what an example of the run is: a `picture`, a `text` or a `row`."""
    decoded = record["input"]["decoded"]
    return "text" if decoded == "text" else "picture" if decoded else "row"


def score_of(test: Mapping[str, Any], task: str, baselines: Mapping[str, Any]) -> Score:
    """Returns the main figure of test figures.

    Args:
        test: As of `Evaluation.to_json`.
        task: What the model says.
        baselines: What needs no training, by name.
    """
    neighbor = baselines.get("nearest_neighbor")
    if task != "classification":
        name = "example_f1" if task == "multilabel" else "mae"
        low, high = test.get(f"{name}_interval") or (None, None)
        return Score(name, float(test[name]), low, high, test["count"], None, baselines.get("guess"), neighbor)
    confusion = np.asarray(test["confusion"], np.int64)
    count, right = int(confusion.sum()), int(confusion.trace())
    low, high = test.get("accuracy_interval") or wilson_interval(right, count)
    majority = baselines.get("majority", float(confusion.sum(axis=1).max() / count))
    return Score("accuracy", right / count, low, high, count, right, majority, neighbor)


_FIGURES: dict[str, tuple[str, str]] = {
    "accuracy": ("Accuracy", "share of the test that is right"),
    "mae": ("Mean absolute error", "how far off on average"),
    "rmse": ("Root mean squared error", "the same, large errors counting more"),
    "median_absolute_error": ("Median absolute error", "half of the test is off by less"),
    "r2": ("R²", "share of the variance that is explained; 1 is all, 0 as the mean would"),
    "spearman": ("Rank correlation (Spearman)", "whether larger values are called larger; 1 is always"),
    "example_f1": ("F1, mean over examples", "labels found and labels rightly named, balanced"),
    "micro_f1": ("F1, all labels together", "frequent labels count more"),
    "subset_accuracy": ("Exactly right", "share of the test with all labels right, and none too many"),
    "macro_f1": ("F1, mean over {}", "rare ones count as much as frequent ones"),
    "mean_average_precision": ("Average precision, mean", "how well examples are ranked for each label"),
    "roc_auc": ("Area under the ROC curve", "how often the right one of two gets the higher probability"),
    "average_precision": ("Average precision", "of the second class, over all thresholds"),
    "brier": ("Brier score", "squared error of the probabilities, lower is better"),
}
_SHARES = ("accuracy", "example_f1", "micro_f1", "subset_accuracy", "macro_f1")


def figure_rows(test: Mapping[str, Any], task: str) -> list[tuple[str, str, str, str]]:
    """Returns the figures of the test as rows: name, value, interval (or nothing), and what it is."""
    rows = []
    for key, (name, what) in _FIGURES.items():
        if test.get(key) is None:
            continue
        say = percent if key in _SHARES else loss
        low, high = test.get(f"{key}_interval") or (None, None)
        interval = "" if low is None or high is None else f"{say(low)} to {say(high)}"
        plural = "labels" if task == "multilabel" else "classes"
        rows.append((name.format(plural), say(test[key]), interval, what))
    if test.get("loss") is not None:
        known = ("Mean squared error", "the loss") if task == "regression" else ("Log-loss", "sure mistakes cost most")
        rows.append((known[0], loss(test["loss"]), "", known[1]))
    return rows


def rival_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the net from random weights beside the reused one, and whether their difference can be chance.

    Both saw the same test examples, so only those that one of them alone got right tell (McNemar 1947, exact).
    """
    task, scratch = task_of(record), record["scratch"]
    ours = score_of(record["metrics"]["test"], task, {})
    theirs = score_of(scratch["metrics"]["test"], task, {})
    alone = scratch.get("right_in_one_only")
    return {
        "score": theirs,
        "loss": scratch["metrics"]["test"]["loss"],
        "training": scratch["training"],
        "more": None if theirs.right is None or ours.right is None else theirs.right - ours.right,
        "alone": alone,
        "chance": alone is not None and mcnemar(alone["reused"], alone["scratch"]) > 0.05,
        "times": scratch["training"]["steps"] / max(1, record["training"]["steps"]),
    }


def unit_groups(units: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the units of each state, the highest first; of long groups the ends, and None for the rest."""
    groups = {}
    for state in ("frozen", "trained", "dropped"):
        inside = [unit for unit in units if unit["state"] == state][::-1]
        ends = 1 if state == "dropped" else 3
        shown = inside if len(inside) <= 2 * ends + 2 else [*inside[:ends], None, *inside[-ends:]]
        params = sum(unit["params"] for unit in inside)
        groups[state] = {"count": len(inside), "params": params, "shown": shown}
    return groups


def sureness(calibration: Mapping[str, Any]) -> str | None:
    """Returns `surer` or `less sure` where probabilities are on the whole too high or too low; None where neither."""
    bins = [each for each in calibration["bins"] if each["count"]]
    count = sum(each["count"] for each in bins)
    if not count:
        return None
    over = sum(each["count"] * (each["confidence"] - each["accuracy"]) for each in bins) / count
    return None if abs(over) < _SPREAD else "surer" if over > 0 else "less sure"


_STEPS = {
    "search": "Search for the best depths", "data": "Looking over the data", "net": "Building the net",
    "features": "Features of the frozen part", "training": "Training", "scratch": "The rival from random weights",
    "test": "Test and baselines", "save": "Saving and checking the model",
}  # fmt: skip


def timing_rows(timings: Mapping[str, float]) -> list[dict[str, Any]]:
    """Returns what each step took, in order, and its share (0..1) of the longest."""
    longest = max(timings.values(), default=0.0) or 1.0
    return [
        {"name": _STEPS.get(step, step.capitalize()), "seconds": seconds, "share": seconds / longest}
        for step, seconds in timings.items()
        if seconds >= longest / 1000
    ]


def details(record: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Returns what only experts look up, by title: names as paths into the record (`fit.epochs`), values as text."""
    parts = {
        "Settings": record["settings"],
        "Input": record["input"],
        "Split": {**record["examples"], **record["split"]},
        "Versions": record["versions"],
        "Files of the pretrained model": record["source"]["files"],
        "Files of the run": record.get("files", {}),
    }
    return {title: list(_flat(value)) for title, value in parts.items() if value}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    elif value is None or value == [] or value == ():
        yield name, "none"
    else:
        yield name, shape(value, ", ") if _is_list(value) else str(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
