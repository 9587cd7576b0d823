"""The command `zoo lr-find`: a learning rate to train with, and the curve that it was read off."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from zoo.cli.options import DATA_OPTIONS, OPTIMIZERS, Widths, as_json, data_options, engine_options
from zoo.cli.output import Bar, quiet_tensorflow, say, show_json, show_pairs

import zoo
from zoo.files import write_bytes
from zoo.registry import find_loadable

if TYPE_CHECKING:
    from zoo.training.rates import RateSearch


@click.command("lr-find")
@click.argument("name", default="letters-cnn")
@click.option(
    "--data", default="digits", show_default=True,
    help="A folder with a sub-folder for each class, a .csv of path,label, an .npz, or digits.",
)  # fmt: skip
@click.option("--reuse", default="all", show_default=True, metavar="N", help="As of zoo transfer.")
@click.option("--freeze", metavar="K", help="As of zoo transfer.")
@click.option("--hidden", type=Widths(), default=(), metavar="N,N..", help="As of zoo transfer.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Examples a step.")
@click.option(
    "--optimizer", type=click.Choice(OPTIMIZERS),
    default="adam", show_default=True, help="The rate is for this one.",
)  # fmt: skip
@click.option("--train-per-class", type=click.IntRange(1), metavar="N", help="As of zoo transfer.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="As of zoo transfer.")
@click.option("--first", type=click.FloatRange(0, min_open=True), default=1e-6, show_default=True, help="Lowest rate.")
@click.option("--last", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, help="Highest rate.")
@click.option("--steps", type=click.IntRange(10), default=100, show_default=True, help="How many rates to try.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with the curve to FILE.")
@engine_options
@data_options
@as_json
def lr_find(name: str, data: str, html: Path | None, as_json: bool, **options: Any) -> None:
    """Look for a learning rate: let it rise from step to step, and see where the loss falls."""
    find_loadable(name)
    began = time.perf_counter()
    about_data = {key: options.pop(key) for key in DATA_OPTIONS}
    with quiet_tensorflow(), Bar() as bar:
        examples = zoo.open_data(data, progress=bar, **about_data)
        found = zoo.find_learning_rate(name, examples, **options, progress=bar)
    if html is not None:
        from zoo.runs.rate_page import render_rates

        write_bytes(html, render_rates(found, name, data).encode())
    if as_json:
        show_json(dataclasses.asdict(found))
        return
    pairs = [
        ("suggested", "none: the loss never falls" if found.suggested is None else f"--lr {found.suggested:.2g}"),
        ("falls fastest", "nowhere" if found.steepest is None else f"at {found.steepest:.2g}"),
        ("lowest", f"at {found.lowest:.2g}, {_beyond(found)}"),
        ("tried", f"{len(found.rates)} rates, {found.rates[0]:.2g} to {found.rates[-1]:.2g}; {found.stopped}"),
        ("in all", f"{time.perf_counter() - began:.1f} s"),
    ]
    show_pairs(pairs)
    if html is None:
        say("To see the curve: --html FILE")
    else:
        show_pairs([("page", str(html))])


def _beyond(found: RateSearch) -> str:
    """Returns what is known of rates above the lowest loss."""
    if found.lowest == found.rates[-1]:
        return "the highest that was tried"
    return "above which the loss rises"
