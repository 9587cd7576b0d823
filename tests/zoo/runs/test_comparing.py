"""Runs compared by the files that they left behind: what is paired, what is refused, and what is said of it."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import DataError, IntegrityError, NotFoundError, UsageError
from zoo.runs.comparing import compare, read_predictions
from zoo.runs.run import Run

HEADER = ["id", "file", "label", "predicted", "probability", "label_probability"]
FILE = "test_predictions.csv"
Row = tuple[str, str, str, float | str]


def rows(count: int, right: Callable[[int], bool], begin: int = 0) -> list[Row]:
    """Returns what a model says of examples `begin` to `begin + count`, of which every other is a cat."""
    found = list[Row]()
    for number in range(begin, begin + count):
        label, wrong = ("cat", "dog") if number % 2 else ("dog", "cat")
        ok = right(number)
        found.append((f"{number:064x}", label, label if ok else wrong, 0.9 if ok else 0.2))
    return found


def write_run(
    path: Path, said: Sequence[Row] | None, task: str | None = "classification", classes: Sequence[str] = ("cat", "dog")
) -> Run:
    """Writes the files of a run that are read here; the others nobody asks for."""
    path.mkdir(parents=True)
    (path / "labels.json").write_text(json.dumps(classes))
    files = {}
    if said is not None:
        with (path / FILE).open("w", newline="", encoding="utf-8") as file:
            lines = [(each[0], "x", each[1], each[2], "", each[3]) for each in said]
            csv.writer(file, lineterminator="\n").writerows([HEADER, *lines])
        files[FILE] = f"sha256:{hashlib.sha256((path / FILE).read_bytes()).hexdigest()}"
    empty: dict[str, Any] = {
        name: {}
        for name in ("model", "data", "reuse", "freeze", "examples", "features", "training", "input", "created")
    }
    record = {**empty, "schema": 1, "metrics": {"test": {}}, "files": files, **({"task": task} if task else {})}
    (path / "run.json").write_text(json.dumps(record))
    return Run(path)


def test_a_better_run_is_called_better() -> None:
    write_run(Path("runs/a"), rows(200, lambda number: number % 4 != 0))
    write_run(Path("runs/b"), rows(200, lambda number: number % 20 != 0))
    found = compare("a", "b")
    assert (found.run, found.other, found.count) == ("runs/a", "runs/b", 200)
    assert found.right_in_one_only == (0, 40)
    assert found.is_real
    assert found.warnings == ()
    assert found.sentence.startswith(
        "runs/b is better than runs/a: accuracy 0.95 against 0.75 on the same 200 examples"
    )
    assert found.sentence.endswith("The difference is real.")
    assert "worse" in compare("b", "a").sentence


def test_a_small_difference_can_be_chance_and_none_is_none() -> None:
    one = write_run(Path("a"), rows(100, lambda number: number > 9))
    two = write_run(Path("b"), rows(100, lambda number: number > 7))
    same = write_run(Path("c"), rows(100, lambda number: number < 90))
    found = compare(one, two)
    assert not found.is_real
    assert "b has accuracy 0.92 against 0.9 of a" in found.sentence.replace(" on the same 100 examples", "")
    assert "can be chance" in found.sentence
    assert compare(one, same).sentence.startswith("Both have the same accuracy, 0.9, on the same 100 examples.")


def test_where_only_the_loss_differs_that_is_said() -> None:
    said = rows(100, lambda number: number > 9)
    one = write_run(Path("a"), said)
    two = write_run(Path("b"), [(*each[:3], 0.6 if each[3] == 0.9 else 0.2) for each in said])
    found = compare(one, two)
    assert not found.is_real
    assert "By more than chance they differ in log-loss" in found.sentence


def test_only_examples_of_both_are_compared_and_that_is_told() -> None:
    one = write_run(Path("a"), rows(60, lambda number: True))
    two = write_run(Path("b"), rows(60, lambda number: True, begin=20), classes=["cat", "dog", "owl"])
    found = compare(one, two)
    assert found.count == 40
    assert "20 of the 60 test examples of a are not among those of b" in found.warnings[0]
    assert "different classes" in found.warnings[1]
    assert "Only 20 examples" in compare(write_run(Path("c"), rows(20, bool)), one).warnings[1]


def test_examples_of_other_labels_are_left_out() -> None:
    said = rows(50, lambda number: True)
    other = [(key, "bird" if at < 5 else label, told, sure) for at, (key, label, told, sure) in enumerate(said)]
    found = compare(write_run(Path("a"), said), write_run(Path("b"), other))
    assert found.count == 45
    assert "5 examples carry another label" in found.warnings[0]
    swapped = [(key, "bird", told, sure) for key, _, told, sure in said]
    with pytest.raises(DataError, match="50 are in both, but with other labels"):
        compare("a", write_run(Path("c"), swapped))


def test_equal_examples_count_once() -> None:
    key = "f" * 64
    one = write_run(Path("a"), [(key, "cat", "cat", 0.9), (key, "cat", "dog", 0.1)])
    two = write_run(Path("b"), [(key, "cat", "cat", 0.9)] * 3)
    assert len(read_predictions(one)) == 2
    found = compare(one, two)
    assert found.count == 1
    assert len(found.warnings) == 1  # that so few say little; and not that the test parts differ


def test_labels_and_values_are_compared_by_their_own_figures() -> None:
    labels: list[Row] = [(f"{at:064x}", "a|b", "a" if at % 2 else "a|b", 0.4) for at in range(40)]
    exact: list[Row] = [(key, true, true, 0.4) for key, true, _, _ in labels]
    found = compare(write_run(Path("a"), labels, "multilabel"), write_run(Path("b"), exact, "multilabel"))
    assert [each.name for each in found.differences] == ["example_f1", "subset_accuracy"]
    assert found.is_real
    off: list[Row] = [(f"{at:064x}", str(at), str(at + 1 + at % 3), "") for at in range(40)]
    near: list[Row] = [(f"{at:064x}", str(at), str(at + 0.5), "") for at in range(40)]
    found = compare(write_run(Path("c"), off, "regression"), write_run(Path("d"), near, "regression"))
    assert [each.name for each in found.differences] == ["mae", "rmse"]
    assert found.right_in_one_only is None
    assert "d is better than c: mean absolute error 0.5 against" in found.sentence


def test_the_json_has_no_nan() -> None:
    found = compare(write_run(Path("a"), rows(1, lambda n: True)), write_run(Path("b"), rows(1, lambda n: False)))
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["differences"][1]["interval"] == [None, None]
    assert document["differences"][0]["is_real"] is document["is_real"] is False
    assert document["sentence"] == found.sentence


def test_what_cannot_be_compared_is_refused() -> None:
    one = write_run(Path("a"), rows(10, bool))
    with pytest.raises(UsageError, match="got a twice"):
        compare(one, "a")
    with pytest.raises(UsageError, match="a is classification, and r is regression"):
        compare(one, write_run(Path("r"), rows(10, bool), "regression"))
    with pytest.raises(DataError, match=r"a has 10, b has 10, and none is in both.*zoo evaluate"):
        compare(one, write_run(Path("b"), rows(10, bool, begin=10)))
    with pytest.raises(NotFoundError, match="No run at nowhere"):
        compare(one, "nowhere")
    with pytest.raises(NotFoundError, match=r"old has no test_predictions.csv: an older version made it"):
        compare(one, write_run(Path("old"), None, task=None))


def test_files_that_are_not_what_the_run_wrote_are_refused() -> None:
    one = write_run(Path("a"), rows(10, bool))
    (one.path / FILE).write_text("id,label\n")
    with pytest.raises(IntegrityError, match="is not the file that the run wrote"):
        read_predictions(one)
    (one.path / FILE).unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        read_predictions(one)
    two = write_run(Path("b"), [("0" * 64, "cat", "cat", "a lot")])
    with pytest.raises(IntegrityError, match="expected columns id, label"):
        read_predictions(two)
    assert two.kept("split.npz") is None


def test_comparing_needs_no_tensorflow() -> None:
    write_run(Path("runs/a"), rows(40, lambda number: number % 4 != 0))
    write_run(Path("runs/b"), rows(40, lambda number: True))
    code = (
        "import sys; from zoo.runs.comparing import compare; print(compare('a', 'b').count); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "40\n"), done.stderr
