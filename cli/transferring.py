"""The command `zoo transfer`: options in, a run out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from zoo.cli.describing import SCORE_NAMES, interval_text, score_text, shape_text
from zoo.cli.options import (
    DATA_OPTIONS,
    OPTIMIZERS,
    REGRESSION_LOSSES,
    SCHEDULES,
    Share,
    Weights,
    Widths,
    as_json,
    data_options,
    engine_options,
    with_options,
)  # fmt: skip
from zoo.cli.output import Bar, counted, number, quiet_tensorflow, say, show_json, show_pairs, show_table, size

import zoo
from zoo.errors import UsageError
from zoo.registry import find_loadable

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIMIZER = (
    "momentum", "rho", "beta_1", "beta_2", "epsilon", "initial_accumulator", "weight_decay", "clip_value", "clip_norm",
    "clip_global_norm",
)  # fmt: skip
_POSITIVE = click.FloatRange(0, min_open=True)


def _model_options(command: Command) -> Command:
    return with_options(
        command,
        click.option(
            "--reuse", default="all", show_default=True, metavar="N",
            help="Keep the lowest N units: a number, a layer's name, a pattern of names, all but the classifier; or "
                 "auto: what validation examples like best.",
        ),
        click.option(
            "--freeze", metavar="K", help="Freeze the lowest K of those; or auto.  [default: as many as are reused]"
        ),
        click.option("--max-trials", type=click.IntRange(1), metavar="N", help="With auto: train at most N of them.  "
                     "[default: 6]"),
        click.option("--max-seconds", type=_POSITIVE, metavar="S", help="With auto: begin nothing after S seconds."),
        click.option("--hidden", type=Widths(), default=(), metavar="N,N..", help="New hidden layers, as in 20,10."),
        click.option("--activation", default="relu", show_default=True, metavar="NAME", help="Of the hidden layers."),
        click.option("--dropout", type=Share(), default="0", show_default=True, metavar="SHARE",
                     help="Leave out this share of the inputs of each new layer at random, while training."),
        click.option("--batchnorm", is_flag=True, help="Give the hidden layers BatchNormalization."),
        click.option(
            "--pool", type=click.Choice(["avg", "max", "avgmax", "flatten"]), default="avg", show_default=True,
            help="How feature maps become a vector; a cut that is a vector already stays so.",
        ),
    )  # fmt: skip


def _training_options(command: Command) -> Command:
    return with_options(
        command,
        click.option("--epochs", type=click.IntRange(1), default=100, show_default=True, help="At most so many."),
        click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Examples a step."),
        click.option("--lr", type=_POSITIVE, default=0.001, show_default=True,
                     help="Learning rate, the highest that the schedule reaches. Look for one: zoo lr-find"),
        click.option("--patience", type=click.IntRange(1), default=10, show_default=True,
                     help="Stop after so many epochs without a lower validation loss."),
        click.option(
            "--optimizer", type=click.Choice(OPTIMIZERS), default="adam", show_default=True,
            help="How gradients become steps. Adam and AdamW: beta 0.9 and 0.999, epsilon 1e-8, which Keras adds to "
                 "the root before it corrects the bias; momentum and nesterov: 0.9; rmsprop: rho 0.9.",
        ),
        *(click.option(f"--{name.replace('_', '-')}", type=float, metavar="X", help=text) for name, text in _HYPER),
        click.option(
            "--schedule", type=click.Choice(SCHEDULES), default="constant",
            show_default=True, help="How the learning rate changes over the epochs.",
        ),
        click.option("--warmup", type=click.FloatRange(0), default=0.0, metavar="EPOCHS",
                     help="Let the learning rate rise to its height over so many epochs first."),
        click.option("--decay", type=click.FloatRange(0, 1, min_open=True), default=0.95, show_default=True,
                     metavar="X", help="Of the schedule exponential: an epoch's rate over that of the one before."),
        click.option("--label-smoothing", type=click.FloatRange(0, 1, max_open=True), default=0.0, metavar="SHARE",
                     help="Give this share of the true class's probability to all classes alike."),
        click.option("--class-weights", type=Weights(), metavar="W",
                     help="balanced: rare classes count more; or weights, as in cat=2,dog=1."),
        click.option("--regression-loss", type=click.Choice(REGRESSION_LOSSES), default="mse", show_default=True,
                     help="With --task regression: what is minimized."),
        click.option("--unfreeze", type=click.IntRange(0), default=0, metavar="N",
                     help="Once the head fits, train N more units from the top of the frozen ones, more slowly."),
        click.option("--gradual", is_flag=True, help="With --unfreeze: one more unit in every phase."),
        click.option("--unfreeze-lr", type=_POSITIVE, metavar="X",
                     help="With --unfreeze: the rate of the head and the highest unit.  [default: a tenth of --lr]"),
        click.option("--unit-decay", type=click.FloatRange(1), default=2.6, show_default=True, metavar="X",
                     help="With --unfreeze: each unit's rate is that of the one above it, divided by X."),
        click.option("--unfreeze-epochs", type=click.IntRange(1), metavar="N",
                     help="With --unfreeze: at most so many a phase.  [default: as --epochs]"),
        click.option("--train-batchnorm", is_flag=True, help="Let BatchNormalization above the frozen units update."),
        click.option("--train-per-class", type=click.IntRange(1), metavar="N",
                     help="Train on at most N examples a class; of a regression, in all."),
        click.option(
            "--views", type=click.IntRange(0), default=0, show_default=True, metavar="V",
            help="Train on V augmented versions (flip, crop, colour) of each picture too; their features are kept.",
        ),
        click.option("--calibrate", is_flag=True, help="Make the probabilities fit the validation examples "
                     "(temperature scaling)."),
    )  # fmt: skip


_HYPER = (
    ("momentum", "Of momentum, nesterov and rmsprop."),
    ("rho", "Of rmsprop: the decay of its mean of squares."),
    ("beta_1", "Of Adam and AdamW: the decay of the mean of gradients."),
    ("beta_2", "Of Adam and AdamW: that of the mean of squares."),
    ("epsilon", "Of Adam, AdamW, adagrad and rmsprop: what is added to the denominator."),
    ("initial_accumulator", "Of adagrad: where its sums begin."),
    ("weight_decay", "Take this share of each kernel away in a step, times the learning rate."),
    ("clip_value", "Let no element of a gradient be further from 0."),
    ("clip_norm", "Let the gradient of no variable be longer."),
    ("clip_global_norm", "Let all gradients together be no longer."),
)


@click.command()
@click.argument("name", default="letters-cnn")
@click.option(
    "--data",
    default="digits",
    show_default=True,
    help="A folder with a sub-folder for each class, a .csv of path,label or of text,label, an .npz, or digits.",
)
@_model_options
@_training_options
@engine_options
@data_options
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of split, weights and order."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/ and the data's name]")
@click.option("--plan", "only_plan", is_flag=True, help="Say what would happen, and do nothing.")
@click.option(
    "--resume",
    "resumed",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with a run that was killed; it has its settings.",
)
@click.option("--force", is_flag=True, help="With --resume: go on though settings, data or model are others than then.")
@click.option("--tensorboard", type=click.Path(path_type=Path), metavar="DIR", help="Log the training for TensorBoard.")
@click.option("--allow-nonfinite", is_flag=True, help="Go on with a model that has NaN or infinite weights.")
@click.option("--compare-scratch", is_flag=True, help="Also train the same shape from random weights.")
@as_json
@click.pass_context
def transfer(
    context: click.Context, /, name: str, data: str, only_plan: bool, resumed: Path | None, force: bool, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Make a model for your own data out of the pretrained model NAME (letters-cnn)."""
    began = time.perf_counter()
    about_data = {key: options.pop(key) for key in DATA_OPTIONS}
    if resumed is not None:
        if only_plan:
            raise UsageError(
                "--plan tells of a new run; what --resume RUN would do is decided. Leave one of them away."
            )
        with quiet_tensorflow(), Bar() as bar:
            run = zoo.resume(resumed, force=force, progress=bar, **_changes(context, options))
        show_json(run.record) if as_json else _show_run(run, time.perf_counter() - began)
        return
    if force:
        raise UsageError("--force belongs to --resume RUN.")
    find_loadable(name)
    with quiet_tensorflow(), Bar() as bar:
        examples = zoo.open_data(data, progress=bar, **about_data)
        arguments = _arguments(options)
        if only_plan:
            plan = zoo.plan(name, examples, **arguments)
            show_json(dataclasses.asdict(plan)) if as_json else _show_plan(plan)
            return
        run = zoo.transfer(name, examples, **arguments, progress=bar)
    if as_json:
        show_json(run.record)
        return
    _show_run(run, time.perf_counter() - began)
    if options["out"] and run.path != options["out"]:
        say(f"{options['out']} is there already, so this run is {run.path}.")


def _arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `zoo.transfer` that the options are."""
    found = dict(options)
    hyper = {name: found.pop(name) for name in _OPTIMIZER}
    found["optimizer"] = zoo.Optimizer(found["optimizer"], **hyper)
    found["schedule"] = zoo.Schedule(found["schedule"], warmup=found.pop("warmup"), decay=found.pop("decay"))
    found["loss"] = zoo.Loss(found.pop("label_smoothing"), found.pop("class_weights"), found.pop("regression_loss"))
    found["unfreeze"] = zoo.Unfreeze(
        found["unfreeze"], found.pop("gradual"), found.pop("unfreeze_lr"), found.pop("unit_decay"),
        found.pop("unfreeze_epochs"),
    )  # fmt: skip
    budget = {name: found.pop(name) for name in ("max_trials", "max_seconds")}
    given = {name: value for name, value in budget.items() if value is not None}
    found["search"] = zoo.Search(**given) if given else None
    return found


def _changes(context: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments that were given beside `--resume`, and not by default."""
    given = {name for name in options if context.get_parameter_source(name) == ParameterSource.COMMANDLINE}
    for name in ("name", "data", *DATA_OPTIONS):
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            shown = "NAME" if name == "name" else f"--{name.replace('_', '-')}"
            raise UsageError(f"A resumed run has its model and its data; leave {shown} away.")
    parts = {
        "optimizer": {"optimizer", *_OPTIMIZER},
        "schedule": {"schedule", "warmup", "decay"},
        "loss": {"label_smoothing", "class_weights", "regression_loss"},
        "unfreeze": {"unfreeze", "gradual", "unfreeze_lr", "unit_decay", "unfreeze_epochs"},
        "search": {"max_trials", "max_seconds"},
    }
    arguments = _arguments(options)
    return {name: value for name, value in arguments.items() if given & parts.get(name, {name})}


_EXAMPLES = {"gray": "PICTURE...", "RGB": "PICTURE...", "text": "TEXTS.txt"}


def _show_run(run: zoo.Run, seconds: float) -> None:
    record = run.record
    reused = f"{record['reuse']} of {len(record['units'])} units reused, {record['freeze']} frozen"
    pairs = [("model", f"{record['model']} for {record['data']}: {reused}")]
    for warning in record["warnings"]:
        say(f"Warning: {warning}")
    if record["search"]:
        _show_search(record["search"], record["metrics"]["test"]["score_name"])
    pairs += _test_pairs(record)
    pairs += [
        ("features", _features_text(record) if record["freeze"] else "none: nothing is frozen"),
        ("training", f"{counted(record['training']['epochs'], 'epoch')}, {record['training']['seconds']:.1f} s; "
                     f"{record['training']['stopped']}"),
        ("in all", _time_text(record["timings"], seconds)),
        ("report", str(run.report)),
        ("predict", f"zoo predict {run.path} {_EXAMPLES.get(record['input']['decoded'], 'ROWS.npy')}"),
    ]  # fmt: skip
    show_pairs(pairs)


def _test_pairs(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the figures of the test examples, and what they are to be compared with."""
    test = record["metrics"]["test"]
    name = test["score_name"]
    of = "; ".join(filter(None, [counted(test["count"], "example"), interval_text(test[f"{name}_interval"], name)]))
    pairs = [(f"test {SCORE_NAMES[name]}", f"{score_text(test['score'], name)}  ({of})")]
    words = {
        "majority": "always the most frequent class",
        "guess": "always the same",
        "nearest_neighbor": "nearest neighbours on the features",
    }
    told = [f"{score_text(value, name)} {words[key]}" for key, value in record["metrics"]["baselines"].items()]
    pairs.append(("without training", ", ".join(told)))
    if record["scratch"]:
        scratch = score_text(record["scratch"]["metrics"]["test"]["score"], name)
        pairs.append(("from scratch", f"{scratch}  (same shape, random weights, same examples)"))
    return pairs


def _show_search(search: Mapping[str, Any], score: str) -> None:
    rows = [
        [str(each["reuse"]), str(each["freeze"]), " ".join(map(str, each["hidden"])) or "none", each["kind"],
         score_text(each["score"], score), f"{each['loss']:.4g}", str(each["epochs"] or ""), f"{each['seconds']:.1f}",
         "chosen" if each["chosen"] else ""]
        for each in search["trials"]
    ]  # fmt: skip
    show_table(
        ["reuse", "freeze", "hidden", "tried as", "validation", "loss", "epochs", "seconds", ""],
        rows,
        right={"reuse", "freeze", "validation", "loss", "epochs", "seconds"},
    )
    if search["stopped"] == "the time was over":
        say("The time for the search was over before all that looked promising was tried: more may do better.")
    for each in search["failed"]:
        say(f"Could not be trained: {each}")


def _features_text(record: Mapping[str, Any]) -> str:
    features = record["features"]
    return f"{features['hits']} found, {features['misses']} computed" + (
        f" by {features['engine']} in {features['seconds']:.1f} s" if features["misses"] else ""
    )


def _time_text(timings: Mapping[str, float], seconds: float) -> str:
    """Returns how long all of it took, and the parts that can be told."""
    parts = [f"{name} {taken:.1f}" for name, taken in timings.items() if taken >= 0.05]
    rest = seconds - sum(timings.values())
    return f"{seconds:.1f} s: {', '.join([*parts, f'starting and the report {rest:.1f}'])}"


def _show_plan(plan: Any) -> None:
    parts = ", ".join(f"{count} {name}" for name, count in plan.examples.items())
    most = "at most " if plan.search else ""
    pairs = [
        ("model", f"{plan.model}: {most}{plan.reuse} of {plan.units} units reused, {most}{plan.freeze} frozen"),
        *(
            [("search", "what of these is best, by a few trainings; --max-trials and --max-seconds limit it")]
            if plan.search
            else []
        ),
        ("to fetch", ", ".join(plan.fetch) or "nothing"),
        ("parameters", ", ".join(f"{number(count)} {state}" for state, count in plan.parameters.items())),
        ("data", f"{plan.data}: {parts}"),
    ]
    if len(plan.phases) > 1:
        pairs.append(("phases", ", then ".join(f"{depth} frozen" for depth in plan.phases)))
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
