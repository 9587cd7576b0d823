"""The command that ranks models for one's data, thin over `zoo.recommend`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from zoo.cli.options import DATA_OPTIONS, as_json, data_options, engine_options
from zoo.cli.output import Bar, counted, number, quiet_tensorflow, say, show_json, show_table

import zoo
from zoo.registry import find_loadable

if TYPE_CHECKING:
    from zoo.ranking import Candidate, Recommendation

_SCORES = {"classification": "accuracy", "multilabel": "F1", "regression": "error"}


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--data", default="digits", show_default=True, help="What zoo transfer --data takes.")
@click.option(
    "--max-examples", type=click.IntRange(2), default=2000, show_default=True, metavar="N",
    help="Look at no more training examples, of each class in proportion.",
)  # fmt: skip
@click.option("--train-per-class", type=click.IntRange(1), metavar="N", help="As of zoo transfer.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the split, as of zoo transfer.")
@engine_options
@data_options
@as_json
def recommend(names: Sequence[str], data: str, as_json: bool, **options: Any) -> None:
    """Rank models for DATA before any training: those named, or all that are on this machine.

    Each runs over training examples once, and what it puts out is kept for the transfer that follows. The order is that
    of the mean rank by loss, neighbour, H-score and LogME; = marks what may be as good as the first.

    \b
    zoo recommend --data flowers/
    zoo recommend --data flowers/ mobilenet_v2 resnet50 vgg16
    """
    for name in names:
        find_loadable(name)
    about_data = {key: options.pop(key) for key in DATA_OPTIONS}
    with quiet_tensorflow(), Bar() as bar:
        examples = zoo.open_data(data, progress=bar, **about_data)
        found = zoo.recommend(examples, names or None, **options, progress=bar)
    if as_json:
        show_json(found.to_json())
    else:
        _show(found, data)


def _show(found: Recommendation, data: str) -> None:
    judged = [each for each in found.candidates if each.rank is not None]
    score = _SCORES[found.task]
    columns = ["rank", "model", score, "loss", "neighbour", "H-score", "LogME", "static", "top-1", "parameters",
               "multiply-adds", "ms"]  # fmt: skip
    show_table(
        columns,
        [_row(each) for each in judged],
        right=set(columns) - {"model", "rank"},
        wide={"neighbour", "H-score", "LogME", "top-1"},
    )
    for each in found.candidates[len(judged) :]:
        say(f"{each.name} could not be judged: {each.reason}")
    best, cheapest = found.best, found.cheapest
    seen = "all" if found.examples == found.of else f"{number(found.examples)} of"
    say(f"Judged on {seen} {counted(found.of, 'training example')} in {found.seconds:.1f} s.")
    if cheapest is not best and best.multiply_adds and cheapest.multiply_adds:
        share = best.multiply_adds / cheapest.multiply_adds
        say(f"{cheapest.name} may be as good as {best.name}, and computes {share:.1f} times less.")
    say(f"Next: zoo transfer {best.name} --data {shlex.quote(data)}")


def _row(each: Candidate) -> list[str]:
    return [
        f"{each.rank}{' =' if each.as_good and each.rank != 1 else ''}",
        each.name,
        _figure(each.score),
        _figure(each.loss),
        _figure(each.nearest),
        _figure(each.h_score, 2),
        _figure(each.log_me, 3),
        str(each.static_rank),
        _figure(each.top1, 1),
        number(each.params),
        number(each.multiply_adds),
        "kept" if each.seconds is None else f"{each.seconds * 1000:.1f}",
    ]


def _figure(value: float | None, places: int = 4) -> str:
    return "" if value is None else f"{value:.{places}f}"
