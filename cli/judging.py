"""The commands that judge finished runs: `zoo evaluate` and `zoo compare`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from zoo.cli.options import DATA_OPTIONS, as_json, data_options
from zoo.cli.output import Bar, number, plain, quiet_tensorflow, say, show_json, show_pairs, show_table

if TYPE_CHECKING:
    from zoo.training import Evaluation

_FIGURES = {
    "accuracy": "accuracy",
    "example_f1": "F1, mean over examples",
    "macro_f1": "F1, mean over classes",
    "micro_f1": "F1, all labels together",
    "subset_accuracy": "exactly right",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "mean_average_precision": "mean average precision",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "median_absolute_error": "median absolute error",
    "r2": "R2",
    "spearman": "Spearman correlation",
    "brier": "Brier score",
}
_MISTAKES = 5
_CLASSES = 30


@click.command()
@click.argument("run")
@click.option("--data", required=True, help="What zoo transfer --data takes; of the run's classes, or some of them.")
@click.option(
    "--part", type=click.Choice(["all", "train", "validation", "test"]), default="all", show_default=True,
    help="All of it; or the part that a transfer with the run's seed makes of it.",
)  # fmt: skip
@data_options
@as_json
def evaluate(run: str, data: str, part: Any, as_json: bool, **options: Any) -> None:
    """Say how well the model of RUN does on DATA.

    \b
    zoo evaluate flowers --data new-flowers/
    zoo evaluate flowers --data flowers/ --part test
    """
    from zoo.runs import open_run

    opened = open_run(run)
    with quiet_tensorflow(), Bar() as bar:
        from zoo.evaluating import evaluate as judged

        about_data = {key: options[key] for key in DATA_OPTIONS}
        found = judged(opened, data, part=part, progress=bar, **about_data)
    if as_json:
        show_json({"run": str(opened.path), "data": data, "part": part, **found.to_json()})
        return
    _show(found)


def _show(found: Evaluation) -> None:
    for warning in found.warnings:
        say(f"Warning: {warning}")
    show_pairs([("examples", number(found.count)), *_pairs(found)])
    if found.per_class:
        click.echo()
        _show_classes(found)
    confused = _confused(found)
    if confused:
        click.echo()
        show_table(["taken for", "true", "times"], confused, right={"times"})


def _pairs(found: Evaluation) -> Iterator[tuple[str, str]]:
    for name, what in _FIGURES.items():
        value = found.figures.get(name)
        if value is not None:
            low, high = found.intervals.get(name, (None, None))
            interval = f"  (95 % interval {low:.4g} to {high:.4g})" if low is not None and low == low else ""
            yield what, f"{value:.4f}{interval}" if found.task != "regression" else f"{value:.4g}{interval}"
    if found.task != "regression":
        yield "log-loss", f"{found.loss:.4f}"
    known = found.calibration
    if known:
        yield "calibration error", f"{known.error:.4f}{_scaled(known)}"


def _scaled(known: Any) -> str:
    if known.scaled_error is None or known.temperature == 1:
        return ""
    return f"  ({known.scaled_error:.4f} with the logits divided by {known.temperature:.3g})"


def _show_classes(found: Evaluation) -> None:
    """Shows the classes; of many, those that are found worst."""
    classes = sorted(found.per_class, key=lambda each: -1.0 if each.f1 is None else each.f1)
    shown = found.per_class if len(classes) <= _CLASSES else [each for each in classes if each.count][:_CLASSES]
    if len(shown) < len(classes):
        say(f"Of {number(len(classes))} classes, the {len(shown)} that are found worst:")
    header = ["class" if found.task == "classification" else "label", "examples", "precision", "recall", "F1"]
    rows = [
        [each.name, number(each.count), *(_share(value) for value in (each.precision, each.recall, each.f1))]
        for each in shown
    ]
    show_table(header, rows, right=set(header[1:]))


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _confused(found: Evaluation) -> list[list[str]]:
    """Returns the most frequent mistakes."""
    if found.confusion is None:
        return []
    names = [each.name for each in found.per_class]
    mistakes = [
        (-int(count), true, said)
        for true, row in enumerate(found.confusion)
        for said, count in enumerate(row)
        if count and true != said
    ]
    return [[names[said], names[true], number(-count)] for count, true, said in sorted(mistakes)[:_MISTAKES]]


@click.command()
@click.argument("run")
@click.argument("other")
@as_json
def compare(run: str, other: str, as_json: bool) -> None:
    """Say whether the runs RUN and OTHER differ by more than chance, on the test examples that both have.

    \b
    zoo compare flowers flowers-2
    """
    from zoo.runs.comparing import compare as compared

    found = compared(run, other)
    if as_json:
        show_json(found.to_json())
        return
    for warning in found.warnings:
        say(f"Warning: {warning}")
    rows = [
        [each.words, f"{each.run:.4g}", f"{each.other:.4g}", f"{each.difference:+.4g}",
         f"{each.interval[0]:+.4g} to {each.interval[1]:+.4g}", f"{each.p:.3f}" if each.p >= 0.001 else "<0.001",
         "real" if each.is_real else "may be chance"]
        for each in found.differences
    ]  # fmt: skip
    header = ["figure", found.run, found.other, "difference", "95 % interval", "p", ""]
    show_table(header, rows, right=set(header[1:6]))
    if found.right_in_one_only:
        one, two = found.right_in_one_only
        click.echo(f"\n{plain(f'Right in {found.run} only: {number(one)}; in {found.other} only: {number(two)}.')}")
    click.echo(plain(found.sentence))
