"""The commands, each thin over one function of `zoo`: options in, a table or JSON out."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import click
from zoo.cli.describing import entry_json, entry_pairs, entry_row, shape_text
from zoo.cli.options import DATA_OPTIONS, Count, Widths, as_json, data_options, engine_options
from zoo.cli.output import Bar, counted, number, quiet_tensorflow, say, show_json, show_pairs, show_table, size

import zoo
from zoo.errors import NotFoundError, UsageError
from zoo.registry import Entry, find_loadable
from zoo.registry.architectures import ARCHITECTURES
from zoo.registry.entry import SOURCES


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
                return zoo.split_units(load_what_is_here(entry))
            except NotFoundError:
                if entry.arch not in ARCHITECTURES:
                    raise
            net = build_architecture(entry.arch)
        if entry.source not in ("keras", "local"):
            say(
                f"These are the layers of {ARCHITECTURES[entry.arch or ''].function} in keras.applications, the same "
                f"net. In the files of {entry.name} their names, and where biases are, may differ."
            )
        return [_marked(unit) if absent & set(unit.layers) else unit for unit in zoo.split_units(net)]


def _marked(unit: Any) -> Any:
    """Returns a unit that says that weights of it are in no file of the model."""
    return dataclasses.replace(unit, reason=f"{unit.reason}; weights not in the file".removeprefix("; "))


@click.command()
@click.argument("name", default="letters-cnn")
@click.option(
    "--data",
    default="digits",
    show_default=True,
    help="A folder with a sub-folder for each class, a .csv of path,label, an .npz, or digits.",
)
@click.option(
    "--reuse",
    default="all",
    show_default=True,
    metavar="N",
    help="Keep the lowest N units: a number, a layer's name, a pattern of names, or all but the classifier.",
)
@click.option("--freeze", metavar="K", help="Freeze the lowest K of those.  [default: as many as are reused]")
@click.option("--hidden", type=Widths(), default=(), metavar="N,N..", help="New hidden layers, as in 20,10.")
@click.option(
    "--pool",
    type=click.Choice(["avg", "max", "avgmax", "flatten"]),
    default="avg",
    show_default=True,
    help="How feature maps become a vector; a cut that is a vector already stays so.",
)
@click.option("--epochs", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Examples a step.")
@click.option(
    "--lr",
    type=click.FloatRange(0, min_open=True),
    default=0.001,
    show_default=True,
    help="Learning rate of Adam.",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Stop after so many epochs without a lower validation loss.",
)
@click.option("--train-batchnorm", is_flag=True, help="Let BatchNormalization above the frozen units update.")
@click.option("--train-per-class", type=click.IntRange(1), metavar="N", help="Train on at most N examples a class.")
@click.option(
    "--views",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="V",
    help="Train on V augmented versions (flip, crop, colour) of each picture too; their features are kept.",
)
@engine_options
@data_options
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of split, weights and order."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/ and the data's name]")
@click.option("--plan", "only_plan", is_flag=True, help="Say what would happen, and do nothing.")
@click.option("--allow-nonfinite", is_flag=True, help="Go on with a model that has NaN or infinite weights.")
@click.option("--compare-scratch", is_flag=True, help="Also train the same shape from random weights.")
@as_json
def transfer(name: str, data: str, only_plan: bool, as_json: bool, compare_scratch: bool, **options: Any) -> None:
    """Make a model for your own data out of the pretrained model NAME (letters-cnn)."""
    find_loadable(name)
    began = time.perf_counter()
    about_data = {key: options.pop(key) for key in DATA_OPTIONS}
    if only_plan:
        with quiet_tensorflow(), Bar() as bar:
            examples = zoo.open_data(data, progress=bar, **about_data)
            plan = zoo.plan(name, examples, **options, compare_scratch=compare_scratch)
        show_json(dataclasses.asdict(plan)) if as_json else _show_plan(plan)
        return
    with quiet_tensorflow(), Bar() as bar:
        examples = zoo.open_data(data, progress=bar, **about_data)
        run = zoo.transfer(name, examples, **options, compare_scratch=compare_scratch, progress=bar)
    if as_json:
        show_json(run.record)
        return
    _show_run(run, time.perf_counter() - began)
    if options["out"] and run.path != options["out"]:
        say(f"{options['out']} is there already, so this run is {run.path}.")


def _show_run(run: zoo.Run, seconds: float) -> None:
    record = run.record
    reused = f"{record['reuse']} of {len(record['units'])} units reused, {record['freeze']} frozen"
    pairs = [
        ("model", f"{record['model']} for {record['data']}: {reused}"),
        ("test accuracy", f"{run.accuracy:.4f}  ({record['metrics']['test']['count']} examples)"),
    ]
    for warning in record["warnings"]:
        say(f"Warning: {warning}")
    if record["scratch"]:
        scratch = record["scratch"]["metrics"]["test"]["accuracy"]
        pairs.append(("from scratch", f"{scratch:.4f}  (same shape, random weights, same examples)"))
    pairs += [
        ("features", _features_text(record) if record["freeze"] else "none: nothing is frozen"),
        ("training", f"{counted(record['training']['epochs'], 'epoch')}, {record['training']['seconds']:.1f} s; "
                     f"{record['training']['stopped']}"),
        ("in all", _time_text(record["timings"], seconds)),
        ("report", str(run.report)),
        ("predict", f"zoo predict {run.path} PICTURE..."),
    ]  # fmt: skip
    show_pairs(pairs)


def _features_text(record: dict[str, Any]) -> str:
    features = record["features"]
    return f"{features['hits']} found, {features['misses']} computed" + (
        f" by {features['engine']} in {features['seconds']:.1f} s" if features["misses"] else ""
    )


def _time_text(timings: dict[str, float], seconds: float) -> str:
    """Returns how long all of it took, and the parts that can be told."""
    parts = [f"{name} {taken:.1f}" for name, taken in timings.items() if taken >= 0.05]
    rest = seconds - sum(timings.values())
    return f"{seconds:.1f} s: {', '.join([*parts, f'starting and the report {rest:.1f}'])}"


@click.command()
@click.argument("run")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@as_json
def predict(run: str, inputs: Sequence[str], as_json: bool) -> None:
    """Say what the model of RUN sees in pictures: files, or folders of them."""
    opened = zoo.open_run(run)
    with quiet_tensorflow():
        predictions = opened.predict(list(inputs))
    if as_json:
        rows = [{"file": each.file, "label": each.label, "probability": each.probability} for each in predictions]
        show_json(rows)
        return
    show_table(
        ["file", "label", "probability"],
        [[each.file, each.label, f"{each.probability:.4f}"] for each in predictions],
        right={"probability"},
    )


@click.command()
@click.argument("folder", default="runs")
@as_json
def runs(folder: str, as_json: bool) -> None:
    """List the runs in FOLDER (runs), the newest first."""
    found = zoo.list_runs(folder)
    if as_json:
        show_json([{"path": str(run.path), **run.record} for run in found])
        return
    if not found:
        say(f"No runs in {folder}. Make one: zoo transfer --reuse 3 --freeze 2")
        return
    show_table(
        ["run", "model", "data", "reuse", "freeze", "examples", "test accuracy", "made"],
        [
            [str(run.path), run.record["model"], run.record["data"], str(run.record["reuse"]),
             str(run.record["freeze"]), number(run.record["examples"]["train"]), f"{run.accuracy:.4f}",
             local_time(run.record["created"])]
            for run in found
        ],
        right={"reuse", "freeze", "examples", "test accuracy"},
        wide={"examples", "made"},
    )  # fmt: skip


def local_time(stamp: str) -> str:
    """Returns an ISO time as the reader's clock shows it, to the minute."""
    return datetime.datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M")


def _show_plan(plan: Any) -> None:
    parts = ", ".join(f"{count} {name}" for name, count in plan.examples.items())
    pairs = [
        ("model", f"{plan.model}: {plan.reuse} of {plan.units} units reused, {plan.freeze} frozen"),
        ("to fetch", ", ".join(plan.fetch) or "nothing"),
        ("parameters", ", ".join(f"{number(count)} {state}" for state, count in plan.parameters.items())),
        ("data", f"{plan.data}: {parts}"),
    ]
    if not plan.freeze:
        pairs.append(("features", "none: nothing is frozen, every epoch runs through the whole net"))
    else:
        total = sum(plan.examples.values()) + plan.views * plan.examples["train"]
        there = (
            f"{plan.cached} of {total} {'examples and views' if plan.views else 'examples'} are there already, "
            f"{total - plan.cached} to compute"
            if plan.cached is not None
            else "which are there already, only the weights can tell"
        )
        features = f"{shape_text(plan.feature_shape)} each, {size(plan.feature_bytes)} on disk; {there}"
        pairs.append(("features", features))
    show_pairs([*pairs, ("run folder", plan.out)])
