"""The commands, each thin over one function of `zoo`: options in, a table or JSON out."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import click
from zoo.cli.describing import SCORE_NAMES, entry_json, entry_pairs, entry_row, score_text, shape_text
from zoo.cli.options import Count, as_json
from zoo.cli.output import number, quiet_tensorflow, say, show_json, show_pairs, show_table, size

import zoo
from zoo.errors import NotFoundError, UsageError
from zoo.registry import Entry
from zoo.registry.architectures import ARCHITECTURES
from zoo.registry.entry import SOURCES
from zoo.runs.unfinished import how_to_go_on, unfinished_runs


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--source", metavar="SOURCE", help=f"Only models from there: {', '.join(SOURCES)}.")
@click.option("--task", metavar="TASK", help="Only models trained for that, such as image-classification.")
@click.option("--max-params", type=Count(), metavar="N", help="Only models of at most so many parameters, as in 25M.")
@click.option("--pulled", is_flag=True, help="Only models of which files are on this machine.")
@click.option(
    "--sort", metavar="KEY", help="name; top1: the best first; params or bytes: the smallest first.  [default: name]"
)
@as_json
def list_(pattern: str, pulled: bool, as_json: bool, **options: Any) -> None:
    """List the models that are known; PATTERN is a part of a name, or a name with wildcards.

    The column "can" says what this version does with a model: load it (and so transfer it), or only pull its files.
    """
    here = zoo.pulled_names() if pulled or as_json else None
    entries = zoo.list_models(pattern, among=here if pulled else None, **options)
    if as_json:
        show_json([{**entry_json(entry), "pulled": _is_here(entry, here or ())} for entry in entries])
        return
    if not entries:
        asked = " and the options" if pulled or any(value is not None for value in options.values()) else ""
        say(f"No model matches {pattern!r}{asked}. See: zoo list")
        return
    rows = [entry_row(entry) for entry in entries]
    show_table(
        list(rows[0]),
        [list(row.values()) for row in rows],
        right={"input", "units", "parameters", "top-1", "size"},
        wide={"source", "task", "input", "units", "summary"},
    )


def _is_here(entry: Entry, pulled: Container[str]) -> bool:
    return entry.source == "embedded" or entry.name in pulled


@click.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show all that is known about the model NAME, and where that was published."""
    entry = zoo.find_entry(name)
    is_here = _is_here(entry, zoo.pulled_names())
    if as_json:
        show_json({**entry_json(entry), "pulled": is_here})
    else:
        show_pairs([*entry_pairs(entry), ("here", f"yes: zoo where {entry.name}" if is_here else "no")])


@click.command()
@click.argument("name", default="letters-cnn")
@as_json
def layers(name: str, as_json: bool) -> None:
    """Show the numbered units of the model NAME: what --reuse and --freeze count. Nothing is downloaded."""
    units = _units(zoo.find_entry(name))
    if as_json:
        show_json([dataclasses.asdict(unit) for unit in units])
        return
    show_table(
        ["unit", "name", "layers", "output", "parameters", "multiply-adds", "features", "cut", "note"],
        [
            [str(unit.index), unit.name, " ".join(unit.layers), shape_text(unit.output_shape), number(unit.params),
             number(unit.multiply_adds), size(unit.feature_bytes),
             "yes" if unit.legal else "no", unit.reason]
            for unit in units
        ],
        right={"unit", "parameters", "multiply-adds", "features"},
        wide={"layers", "note"},
    )  # fmt: skip


def _units(entry: Entry) -> Sequence[Any]:
    """Returns the units of the net of `keras.applications` that a model is an example of, or else of the model."""
    if "load" not in entry.can and entry.arch not in ARCHITECTURES:
        raise UsageError(
            f"The units of {entry.name!r} cannot be shown: this version cannot load it, and its architecture "
            f"({entry.arch or 'not published'}) is none that Keras builds by itself. Known of it: zoo show {entry.name}"
        )
    with quiet_tensorflow():
        from zoo.loading import absent_layers, bare_net, build_architecture, load_what_is_here

        net, absent = bare_net(entry), set(absent_layers(entry))
        if net is None:
            try:
                return zoo.split_units(load_what_is_here(entry), headless=entry.ends_in_features or None)
            except NotFoundError:
                if entry.arch not in ARCHITECTURES:
                    raise
            net = build_architecture(entry.arch)
        if entry.source not in ("keras", "local"):
            say(
                f"These are the layers of {ARCHITECTURES[entry.arch or ''].function} in keras.applications, the same "
                f"net. In the files of {entry.name} their names, and where biases are, may differ."
            )
        units = zoo.split_units(net, headless=entry.ends_in_features or None)
        return [_marked(unit) if absent & set(unit.layers) else unit for unit in units]


def _marked(unit: Any) -> Any:
    """Returns a unit that says that weights of it are in no file of the model."""
    return dataclasses.replace(unit, reason=f"{unit.reason}; weights not in the file".removeprefix("; "))


@click.command()
@click.argument("folder", default="runs")
@as_json
def runs(folder: str, as_json: bool) -> None:
    """List the transfers and pretrainings in FOLDER (runs), the newest first."""
    found, made = zoo.list_runs(folder), zoo.list_pretrainings(folder)
    if as_json:
        documents = [{"path": str(run.path), "kind": "transfer", **run.record} for run in found]
        show_json(documents + [{"path": str(each.path), **each.record} for each in made])
        return
    unfinished = unfinished_runs(Path(folder))
    if not found and not made and not unfinished:
        say(f"No runs in {folder}. Make one: zoo transfer --reuse 3 --freeze 2")
    if found:
        _show_runs(found)
    if made:
        _show_pretrainings(made)
    for path in unfinished:
        say(f"Not finished: {path}. To go on: {how_to_go_on(path)}")


def _show_runs(found: Sequence[zoo.Run]) -> None:
    show_table(
        ["run", "model", "data", "reuse", "freeze", "examples", "test", "", "made"],
        [
            [str(run.path), run.record["model"], run.record["data"], str(run.record["reuse"]),
             str(run.record["freeze"]), number(run.record["examples"]["train"]), score_text(run.score, run.score_name),
             SCORE_NAMES[run.score_name],
             local_time(run.record["created"])]
            for run in found
        ],
        right={"reuse", "freeze", "examples", "test"},
        wide={"examples", "made"},
    )  # fmt: skip


def _show_pretrainings(found: Sequence[zoo.Pretrained]) -> None:
    show_table(
        ["pretraining", "model", "method", "data", "units", "examples", "made"],
        [
            [str(each.path), each.name, each.method, each.record["data"], str(len(each.record["units"]) - 1),
             number(each.record["examples"]["train"]), local_time(each.record["created"])]
            for each in found
        ],
        right={"units", "examples"},
        wide={"examples", "made"},
    )  # fmt: skip


def local_time(stamp: str) -> str:
    """Returns an ISO time as the reader's clock shows it, to the minute."""
    return datetime.datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M")
