"""Compares two runs on the test examples that both have: is the difference real? Needs no TensorFlow."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from zoo.data.targets import Task
from zoo.errors import DataError, IntegrityError, NotFoundError, UsageError
from zoo.runs.differences import Difference, Said, differences_of, right_in_one_only
from zoo.runs.run import Run, open_run

Key = tuple[str, int]  # the identity of an example; equal ones are counted

_FILE = "test_predictions.csv"
_COLUMNS = ("id", "label", "predicted", "label_probability")
_FEW = 30


@dataclass(frozen=True)
class Comparison:
    """How two runs differ on the test examples that both have.

    Attributes:
        run: Folder of the one.
        other: Folder of the other.
        task: What both say.
        count: Number of examples that are compared.
        differences: Figures; the first is what people ask for first.
        right_in_one_only: How many examples only the one got right, and only the other; None for values.
        warnings: What makes the comparison less fair.
    """

    run: str
    other: str
    task: Task
    count: int
    differences: tuple[Difference, ...]
    right_in_one_only: tuple[int, int] | None
    warnings: tuple[str, ...]

    @property
    def is_real(self) -> bool:
        """Whether chance is an unlikely reason for the difference in the first figure."""
        return self.differences[0].is_real

    @property
    def sentence(self) -> str:
        """What it comes to, for people."""
        first, *others = self.differences
        what = first.words
        values = f"{what} {first.other:.4g} against {first.run:.4g} on the same {self.count:,} examples"
        if first.difference == 0:
            told = f"Both have the same {what}, {first.run:.4g}, on the same {self.count:,} examples."
        elif first.is_real:
            better = "better" if first.is_better else "worse"
            told = f"{self.other} is {better} than {self.run}: {values} ({_doubt(first)}). The difference is real."
        else:
            told = f"{self.other} has {values} of {self.run} ({_doubt(first)}). The difference can be chance."
        real = [each for each in others if each.is_real and not first.is_real]
        if real:
            also = ", ".join(f"{each.words} ({each.other:.4g} against {each.run:.4g})" for each in real)
            told += f" By more than chance they differ in {also}."
        return told

    def to_json(self) -> dict[str, Any]:
        """Returns the same as JSON has it; what is not known is null."""
        differences = [
            {**asdict(each), "interval": [_known(end) for end in each.interval], "is_real": each.is_real}
            for each in self.differences
        ]
        return {**asdict(self), "differences": differences, "is_real": self.is_real, "sentence": self.sentence}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _doubt(each: Difference) -> str:
    low, high = each.interval
    p = "p < 0.001" if each.p < 0.001 else f"p = {each.p:.3f}"
    return f"95 % interval of the difference {low:+.4g} to {high:+.4g}, {p}"


def compare(run: str | Path | Run, other: str | Path | Run) -> Comparison:
    """Returns how two runs differ on the test examples that both have, and whether that can be chance.

    It is a paired bootstrap of 2,000 resamples; whether the accuracies differ, McNemar's exact test says, too. What is
    told holds for other examples like these, not for other seeds of the training.

    Args:
        run: A run, its folder, or its name in `runs/`.
        other: Likewise.

    Raises:
        NotFoundError: There is no such run, or it was made without a file of its predictions.
        IntegrityError: That file is damaged.
        UsageError: It is the same run, or they have different tasks.
        DataError: No test example is in both.
    """
    one, two = (each if isinstance(each, Run) else open_run(each) for each in (run, other))
    _refuse_unlike(one, two)
    ours, theirs = (_different(read_predictions(each)) for each in (one, two))
    common = sorted(ours.keys() & theirs.keys())
    keys = [key for key in common if ours[key].label == theirs[key].label]
    if not keys:
        raise DataError(_nothing_common(one, two, len(ours), len(theirs), len(common)))
    task = cast(Task, one.task)
    lines, others = [ours[key] for key in keys], [theirs[key] for key in keys]
    alone = right_in_one_only(lines, others) if task != "regression" else None
    warnings = tuple(_unfair(one, two, ours, theirs, len(common), len(keys)))
    differences = differences_of(lines, others, task)
    return Comparison(str(one.path), str(two.path), task, len(keys), differences, alone, warnings)


def _different(said: Mapping[Key, Said]) -> dict[Key, Said]:
    """Returns what is said of examples that differ: of copies one tells all."""
    return {key: each for key, each in said.items() if not key[1]}


def _refuse_unlike(one: Run, two: Run) -> None:
    if one.path.resolve() == two.path.resolve():
        raise UsageError(f"Expected two runs to compare; got {one.path} twice. See: zoo runs")
    if one.task != two.task:
        raise UsageError(
            f"Expected two runs of one task; {one.path} is {one.task}, and {two.path} is {two.task}. See: zoo runs"
        )


def _nothing_common(one: Run, two: Run, ours: int, theirs: int, common: int) -> str:
    which = f"{common} are in both, but with other labels" if common else "none is in both"
    return (
        f"Expected test examples that both runs have; {one.path} has {ours}, {two.path} has {theirs}, and {which}. "
        "Compare runs of the same data and --seed, or judge each on one data set: zoo evaluate RUN --data DATA."
    )


def _unfair(
    one: Run, two: Run, ours: Mapping[Key, Said], theirs: Mapping[Key, Said], common: int, compared: int
) -> Iterator[str]:
    if len(ours) > common or len(theirs) > common:
        yield (
            f"The test parts differ: {len(ours) - common} of the {len(ours)} test examples of {one.path} are not among "
            f"those of {two.path}, and {len(theirs) - common} of the {len(theirs)} the other way round. Those of "
            "both are compared."
        )
    if common > compared:
        yield f"{common - compared} examples carry another label in one run than in the other; they are left out."
    if one.task != "regression" and {*one.classes} != {*two.classes}:
        yield "The runs know different classes; the one that knows fewer has the easier task."
    if compared < _FEW:
        yield f"Only {compared} examples are compared; none but large differences show."


def read_predictions(run: Run) -> dict[Key, Said]:
    """Returns what a run says of each of its test examples.

    Raises:
        NotFoundError: The run has no file of them.
        IntegrityError: It is damaged.
    """
    path = run.kept(_FILE)
    if path is None:
        raise NotFoundError(
            f"{run.path} has no {_FILE}: an older version made it. Make it again with zoo transfer, or judge each run "
            "on one data set: zoo evaluate RUN --data DATA."
        )
    with path.open(encoding="utf-8", newline="") as file:
        try:
            return _numbered(list(csv.DictReader(file)))
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise IntegrityError(
                f"{path}: expected columns {', '.join(_COLUMNS)}; found a fault ({error}). Make the run again."
            ) from error


def _numbered(rows: Sequence[Mapping[str, str]]) -> dict[Key, Said]:
    seen, found = Counter[str](), dict[Key, Said]()
    for row in rows:
        said = Said(row["label"], row["predicted"], float(row["label_probability"] or "nan"))
        found[row["id"], seen[row["id"]]] = said
        seen[row["id"]] += 1
    return found
