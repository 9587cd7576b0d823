"""The command `zoo pretrain`: examples without labels in, a model of one's own out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from zoo.cli.options import (
    DATA_OPTIONS,
    OPTIMIZERS,
    Number,
    Share,
    Sides,
    Widths,
    as_json,
    data_options_but,
    with_options,
)
from zoo.cli.output import Bar, counted, number, quiet_tensorflow, say, show_json, show_pairs

import zoo
from zoo.errors import UsageError
from zoo.runs.wording import spoken

METHODS = ("autoencoder", "rbm", "auxiliary", "pairs")

Command = TypeVar("Command", bound=Callable[..., Any])

_POSITIVE = click.FloatRange(0, min_open=True)
_TASKS = ("rotated", "shuffled", "exchanged", "replaced")
_LOSSES = ("mse", "crossentropy", "classification", "margin", "contrastive", "triplet")


_LAYERS = (
    click.option("--units", type=Widths(), default=(), metavar="N,N..", help="Widths of dense layers, from below."),
    click.option("--conv", type=Widths(), default=(), metavar="N,N..",
                 help="Filters of 3x3 convolutions below them, each followed by max pooling."),
    click.option("--size", type=Sides(), metavar="HxW", help="Bring pictures to this size, as in 64x64."),
    click.option("--activation", metavar="NAME", help="Of the layers.  [default: relu; of rbm always sigmoid]"),
    click.option("--loss", type=click.Choice(_LOSSES),
                 help="Of autoencoder: mse or crossentropy; of auxiliary: classification or margin; of pairs: "
                      "contrastive or triplet.  [default: the first]"),
)  # fmt: skip
_OF_AUTOENCODER = (
    click.option("--mask", type=Share(), metavar="SHARE", help="autoencoder: set this share of the numbers to 0."),
    click.option("--noise", type=click.FloatRange(0), metavar="X", help="autoencoder: add noise of this deviation."),
    click.option("--tied", is_flag=True, default=None,
                 help="autoencoder: decoders have the weights of the layers, transposed."),
    click.option("--sparsity", type=_POSITIVE, metavar="X", help="autoencoder: draw the mean of each unit to this."),
    click.option("--sparsity-weight", type=click.FloatRange(0), metavar="X",
                 help="autoencoder: how strongly.  [default: 0.1]"),
    click.option("--finetune", is_flag=True, default=None, help="autoencoder: at the end train all layers together."),
)  # fmt: skip
_OF_RBM = (
    click.option("--visible", type=click.Choice(["bernoulli", "gaussian"]),
                 help="rbm: what its lowest units are.  [default: as the numbers are]"),
    click.option("--steps", type=click.IntRange(1), metavar="K",
                 help="rbm: Gibbs steps of an update: the k of CD-k.  [default: 1]"),
    click.option("--persistent", is_flag=True, default=None, help="rbm: chains go on from update to update."),
    click.option("--sample-visible", is_flag=True, default=None, help="rbm: chains draw visible units."),
    click.option("--momentum", type=float, metavar="X",
                 help="rbm: share of an update that the next repeats.  [default: 0.9]"),
    click.option("--weight-decay", type=float, metavar="X",
                 help="rbm: share of each weight that an update takes away, times the learning rate.  [default: "
                      "0.0002]"),
)  # fmt: skip
_OF_TASKS = (
    click.option("--task", type=click.Choice(_TASKS),
                 help="auxiliary: what is done to an example that is to be told from a good one: a picture rotated, or "
                      "its patches shuffled; values of rows exchanged; words of a text replaced.  [default: what "
                      "suits the data, rotated for square pictures]"),
    click.option("--margin", type=_POSITIVE, metavar="X",
                 help="auxiliary, pairs: by how much one is above the other.  [default: 1; of triplet 0.2]"),
    click.option("--patches", type=click.IntRange(2), metavar="N",
                 help="auxiliary: so many patches in a row.  [default: 2]"),
    click.option("--share", type=Share(), metavar="SHARE",
                 help="auxiliary: of the values or words of an example.  [default: 30%]"),
    click.option("--vocabulary", type=click.IntRange(2), metavar="N",
                 help="auxiliary: know so many words at most.  [default: 10000]"),
    click.option("--embedding", type=click.IntRange(2), metavar="N",
                 help="pairs: dimensions of the space.  [default: 32]"),
    click.option("--identity", type=click.Choice(["class", "group"]),
                 help="pairs: what makes two the same: their class, or what --group-by finds.  [default: class]"),
)  # fmt: skip
_TRAINING = (
    click.option("--epochs", type=click.IntRange(1), default=100, show_default=True, help="At most so many, a layer."),
    click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Examples a step."),
    click.option("--lr", type=Number(), metavar="X", help="Learning rate.  [default: 0.001; of rbm 0.05]"),
    click.option("--patience", type=click.IntRange(1), metavar="N",
                 help="Stop after so many epochs without a lower validation loss; not of rbm.  [default: 10]"),
    click.option("--optimizer", type=click.Choice(OPTIMIZERS), help="Not of rbm.  [default: adam]"),
    click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True,
                 help="Of split, weights and order."),
)  # fmt: skip


def _method_options(command: Command) -> Command:
    return with_options(command, *_LAYERS, *_OF_AUTOENCODER, *_OF_RBM, *_OF_TASKS, *_TRAINING)


@click.command()
@click.argument("method", required=False, type=click.Choice(METHODS))
@click.option(
    "--data",
    default="digits",
    show_default=True,
    help="A folder of pictures, a .csv of paths or texts, a .txt of texts, an .npz with x, or digits. Labels are not "
    "looked at, but by pairs.",
)
@click.option("--name", metavar="NAME", help="What the model will be called.  [default: after data and method]")
@_method_options
@data_options_but("task")
@click.option("--replace", is_flag=True, help="Take the place of a model of that name.")
@click.option("--out", type=click.Path(path_type=Path), help="Its folder.  [default: runs/ and its name]")
@click.option(
    "--resume",
    "resumed",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with one that was killed; it has its settings.",
)
@as_json
@click.pass_context
def pretrain(
    context: click.Context, /, method: str | None, data: str, resumed: Path | None, as_json: bool, **options: Any
) -> None:
    """Make a model out of examples without labels, for `zoo transfer` to reuse.

    METHOD: autoencoder (layers that restore examples), rbm (restricted Boltzmann machines), auxiliary (telling good
    examples from corrupted ones) or pairs (putting the same close together).

    Try:  zoo pretrain autoencoder --units 300,100 --name mine
    """
    began = time.perf_counter()
    if resumed is not None:
        _refuse_settings(context)
        with quiet_tensorflow(), Bar() as bar:
            made = zoo.resume_pretraining(resumed, name=options["name"], replace=options["replace"], progress=bar)
    else:
        if method is None:
            raise UsageError(f"Expected a method: {', '.join(METHODS)}; as in zoo pretrain autoencoder --units 300,100")
        about_data = {name: options.pop(name) for name in DATA_OPTIONS if name != "task"}
        with quiet_tensorflow(), Bar() as bar:
            from zoo.making import checked

            way, settings = checked(method, options)  # before any file is looked at
            unlabelled = not way.needs_classes(settings)
            examples = zoo.open_data(data, **about_data, unlabelled=unlabelled, progress=bar)
            made = zoo.pretrain(method, examples, **options, progress=bar)
    if as_json:
        show_json({"path": str(made.path), **made.record})
        return
    _show(made, time.perf_counter() - began)


def _refuse_settings(context: click.Context) -> None:
    """Refuses what is said beside `--resume` and is settled already."""
    open_still = ("resumed", "as_json", "name", "replace")
    given = [name for name in context.params if context.get_parameter_source(name) == ParameterSource.COMMANDLINE]
    if settled := [name for name in given if name not in open_still]:
        shown = "METHOD" if settled[0] == "method" else f"--{settled[0].replace('_', '-')}"
        raise UsageError(f"What is resumed has its method, its data and its settings; leave {shown} away.")


def _show(made: zoo.Pretrained, seconds: float) -> None:
    record = made.record
    for warning in record["warnings"]:
        say(f"Warning: {warning}")
    learned, examples = record["units"][:-1], record["examples"]
    layers = ", ".join(f"{each['name']} {'x'.join(map(str, each['output_shape']))}" for each in learned)
    show_pairs(
        [
            ("model", f"{made.name}: {counted(len(learned), 'unit')} learned from {record['data']}: {layers}"),
            ("examples", f"{number(examples['train'])} to learn from, {number(examples['validation'])} to judge by, "
                         f"{number(examples['test'])} left aside"),
            *((spoken(name), f"{value:.4g}") for name, value in made.figures.items()),
            ("training", f"{counted(record['training']['epochs'], 'epoch')}, {record['training']['seconds']:.1f} s; "
                         f"{record['training']['stopped']}"),
            ("in all", f"{seconds:.1f} s"),
            ("report", str(made.report)),
            ("reuse it", f"zoo transfer {made.name} --data D"),
        ]
    )  # fmt: skip
