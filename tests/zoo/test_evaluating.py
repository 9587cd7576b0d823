"""Finished runs judged on data: their own parts, other data, and what they must not be judged on unsaid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.data import ArrayExamples, open_data
from zoo.errors import DataError, NotFoundError, UsageError
from zoo.evaluating import evaluate
from zoo.pipeline import transfer
from zoo.runs import Run

COUNT = 150
DIGITS = "digits:5-7"


def pictures() -> tuple[Any, Any]:
    """Returns pictures of the digits 5 to 7, and these."""
    digits = open_data(DIGITS)
    return digits.read(np.arange(COUNT)), digits.labels[:COUNT] + 5


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One run of each task, hardly trained."""
    folder = tmp_path_factory.mktemp("runs")
    options: dict[str, Any] = {"home": folder / "home", "epochs": 3, "lr": 0.01}
    x, digits = pictures()
    labels = np.stack([digits % 2 == 0, digits > 5], axis=1).astype(np.uint8)
    several = ArrayExamples(x, labels, "several", ["even", "large"], task="multilabel")
    numbers = ArrayExamples(x, digits.astype(np.float32), "numbers", task="regression")
    return {
        "classification": transfer(data=DIGITS, train_per_class=20, out=folder / "one", **options),
        "multilabel": transfer(data=several, out=folder / "several", **options),
        "regression": transfer(data=numbers, out=folder / "numbers", **options),
    }


def test_its_own_test_part_gives_the_figures_of_the_run(runs: dict[str, Run]) -> None:
    run = runs["classification"]
    found, test = evaluate(run, DIGITS, part="test"), run.record["metrics"]["test"]
    assert (found.count, found.accuracy) == (test["count"], test["accuracy"])
    assert found.loss == pytest.approx(test["loss"], rel=1e-4)
    assert found.to_json()["confusion"] == test["confusion"]
    assert found.warnings == ()
    assert found.calibration is not None
    assert found.calibration.temperature == test["calibration"]["temperature"]


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_likewise_of_the_other_tasks(runs: dict[str, Run], task: str) -> None:
    run, (x, digits) = runs[task], pictures()
    labels = np.stack([digits % 2 == 0, digits > 5], axis=1).astype(np.uint8) if task == "multilabel" else digits
    data = ArrayExamples(x, labels, "again", ["even", "large"] if task == "multilabel" else None, task=task)  # type: ignore[arg-type]
    found = evaluate(run.path, data, part="test")
    assert found.score == pytest.approx(run.record["metrics"]["test"]["score"], rel=1e-3)
    assert found.count == run.record["examples"]["test"]


def test_examples_that_it_was_trained_on_are_told(runs: dict[str, Run]) -> None:
    run = runs["classification"]
    found = evaluate(run, DIGITS)
    (warning,) = found.warnings
    counts = run.record["examples"]
    assert f"trained on {counts['train']} and stopped by {counts['validation']} of these 542 examples" in warning
    assert "flatter" in warning
    assert evaluate(run, DIGITS, part="validation").warnings[0].startswith("The model was stopped by")


def test_arrays_have_the_runs_own_task_and_columns_any_order(runs: dict[str, Run]) -> None:
    x, digits = pictures()
    x = x.copy()
    x[:, 0, 0] = 1  # other examples than those of the run
    straight = ArrayExamples(x, np.stack([digits % 2 == 0, digits > 5], axis=1).astype(int), "a", ["even", "large"],
                             task="multilabel")  # fmt: skip
    crossed = ArrayExamples(x, np.stack([digits > 5, digits % 2 == 0], axis=1).astype(int), "b", ["large", "even"],
                            task="multilabel")  # fmt: skip
    one, other = (evaluate(runs["multilabel"], each) for each in (straight, crossed))
    assert one.figures == other.figures
    assert [each.name for each in other.per_class] == ["even", "large"]
    assert one.warnings == ()
    numbers = evaluate(runs["regression"], (x, digits))
    assert numbers.task == "regression"
    assert numbers.score < 2


def test_some_of_the_classes_will_do_and_the_others_are_told(runs: dict[str, Run]) -> None:
    run = runs["classification"]
    found = evaluate(run, "digits:6-7", part="test")
    whole = np.array(run.record["metrics"]["test"]["confusion"])
    assert found.confusion is not None
    assert found.confusion[:1].sum() == 0
    assert found.confusion[1:].tolist() == whole[1:].tolist()
    assert "No example is of the class '5'" in found.warnings[-1]


def write_pictures(folder: Path) -> None:
    x, digits = pictures()
    for number in range(60):
        path = folder / str(digits[number]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = (8, 16, 40)[number % 3]
        Image.fromarray(x[number, ..., 0]).resize((side, side)).save(path)


def test_picture_files_of_several_sizes_and_one_that_cannot_be_read(runs: dict[str, Run]) -> None:
    folder = Path("scans")
    write_pictures(folder)
    found = evaluate(runs["classification"], folder)
    assert found.count == 60
    assert found.accuracy > 0.6
    examples = open_data("scans", max_bad=0.05)
    (folder / "5" / "0.png").write_bytes(b"changed")
    left = evaluate(runs["classification"], examples)
    assert left.count == 59
    assert "1 of 60 examples could not be read" in left.warnings[0]
    with pytest.raises(DataError, match="cannot be used"):
        evaluate(runs["classification"], folder, max_bad=0)


def test_runs_of_old_do_not_tell_what_they_were_trained_on(runs: dict[str, Run]) -> None:
    old = Run(runs["classification"].path)
    old.record = {**old.record, "files": {"model.keras": old.record["files"]["model.keras"]}}
    old.record["metrics"] = {"test": {"accuracy": 0.5}}
    assert "does not tell which examples it was trained on" in evaluate(old, DIGITS, part="test").warnings[0]


def test_data_that_the_run_does_not_know_is_refused(runs: dict[str, Run]) -> None:
    x, digits = pictures()
    run = runs["classification"]
    with pytest.raises(DataError, match=r"\('5', '6', '7'\).*also has '0', '1'. Leave these out"):
        evaluate(run, "digits:0-1,5")
    with pytest.raises(DataError, match="task is classification; the labels of 'n' are regression"):
        evaluate(run, ArrayExamples(x, digits, "n", task="regression"))
    with pytest.raises(DataError, match="puts out 1 values; 'two' has 2 each"):
        evaluate(runs["regression"], ArrayExamples(x, np.stack([digits, digits], 1), "two", task="regression"))
    with pytest.raises(DataError, match="The model wants examples of shape"):
        evaluate(run, (np.zeros((10, 5)), digits[:10]))
    with pytest.raises(DataError, match=r"a pair of arrays \(x, y\); got ndarray"):
        evaluate(run, x)
    with pytest.raises(UsageError, match="Expected a part of all, train, validation, test; got 'tests'"):
        evaluate(run, DIGITS, part="tests")  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        evaluate("no-such-run", DIGITS)
    with pytest.raises(NotFoundError):
        evaluate(run, "no-such-data")


def test_outputs_that_are_not_finite_are_refused(runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(run: Run, examples: Any, rows: Any, progress: Any) -> Any:
        outputs = np.full((len(rows), 3), 1 / 3, np.float32)
        outputs[[2, 7]] = np.nan
        return outputs, rows

    monkeypatch.setattr("zoo.evaluating._outputs", overflow)
    with pytest.raises(DataError, match="for 2 of 542 examples is not finite: 2, 7. Look at"):
        evaluate(runs["classification"], DIGITS)


def test_the_runs_own_parts_are_told_by_what_is_in_them(tmp_path: Path) -> None:
    """Whatever options decided about the parts then, they are not said again."""
    x, digits = pictures()
    np.savez("who.npz", x=x, y=digits, who=np.arange(COUNT) // 10)
    run = transfer(data=open_data("who.npz", group_by="who"), epochs=1, out=tmp_path / "run", home=tmp_path / "home")

    found = evaluate(run, "who.npz", part="test")

    assert (found.count, found.warnings) == (run.record["examples"]["test"], ())
    assert found.accuracy == run.accuracy
