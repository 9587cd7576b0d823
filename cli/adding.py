"""The command that adds a model of one's own, thin over `zoo.add`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from zoo.cli.describing import entry_json, input_text, preprocessing_text, shape_text
from zoo.cli.options import Number, Numbers, Sizes, as_json, named_sizes
from zoo.cli.output import Bar, number, quiet_tensorflow, say, show_json, show_pairs, size

import zoo
from zoo.errors import UsageError, ZooError
from zoo.registry.presets import PRESETS, chosen_input

if TYPE_CHECKING:
    from zoo.registry import InputSpec

_HELP = "How pictures become numbers: {}; or a model that wants the same, such as vgg16."


class _Input(click.ParamType[Any]):
    """A size, as in 224x224x3, or the name of a tensor, as in X:0."""

    name = "input"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        """Returns numbers, or a name."""
        return value if isinstance(value, str) and ":" in value else Sizes().convert(value, param, context)


def _pairs_of(_: click.Context, parameter: click.Parameter, told: tuple[str, ...]) -> dict[str, str] | None:
    """Returns what each name becomes, of texts such as "old=new"."""
    found = dict[str, str]()
    for each in told:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"Expected NAME=VALUE; got {each!r}.", param=parameter)
        found[name] = value
    return found or None


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--name", metavar="NAME", help="What it will be called.  [default: as the file]")
@click.option(
    "--arch",
    metavar="NET",
    help="Of weights alone: the net of keras.applications, such as vgg16, or a .json or .keras file that describes it; "
    "of a checkpoint also one of TF-Slim.",
)
@click.option(
    "--input",
    "input_size",
    type=_Input(),
    multiple=True,
    metavar="HxWxC|TENSOR",
    help="Size of the input where the files leave it open, as in 224x224x3; of TensorFlow 1 also its tensor, as X:0.",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    metavar="TENSOR",
    help="Of TensorFlow: where the net ends, as dnn/outputs/BiasAdd:0, or an output of the signature.",
)
@click.option("--signature", metavar="NAME", help="Of a SavedModel: what is called of it.")
@click.option(
    "--shape", "shapes", multiple=True, metavar="NAME=SIZES", callback=named_sizes,
    help="Of a graph of TensorFlow: the sizes of an input, as it has them; ? varies: X=?,784.",
)  # fmt: skip
@click.option(
    "--limit", type=click.FloatRange(0, min_open=True), metavar="X",
    help="Of a graph of TensorFlow: the largest difference that passes, relative to the largest output.  "
    "[default: 1e-4]",
)  # fmt: skip
@click.option("--activation", metavar="NAME", help="Of a checkpoint without a graph: that of its hidden layers.")
@click.option("--include", multiple=True, metavar="REGEX", help="Of weights: the variables that are wanted,")
@click.option("--exclude", multiple=True, metavar="REGEX", help="those that are not,")
@click.option("--rename", multiple=True, metavar="REGEX=NAME", callback=_pairs_of, help="what their names become,")
@click.option(
    "--layout",
    multiple=True,
    metavar="REGEX=AXES",
    callback=_pairs_of,
    help="and how they lie, as in conv.*=OIHW->HWIO.",
)
@click.option(
    "--preprocess",
    metavar="HOW",
    help=_HELP.format("; ".join(f"{name} ({preset.what})" for name, preset in PRESETS.items())),
)
@click.option("--color", metavar="ORDER", help="Instead, in numbers: RGB, BGR or gray,")
@click.option("--scale", type=Number(), metavar="X", help="a factor on pixel values 0..255, such as 1/255,")
@click.option("--mean", type=Numbers(), metavar="X[,X,X]", help="what is subtracted then, for all channels or each,")
@click.option("--std", type=Numbers(), metavar="X[,X,X]", help="and what is divided by last.")
@click.option("--labels", metavar="TEXT", help="Name of the list of classes.")
@click.option("--logits", is_flag=True, help="It puts out the logits of classes; taken for features otherwise.")
@click.option("--summary", metavar="TEXT", help="One line on what it is.")
@click.option("--license", metavar="TEXT", help="Its license.")
@click.option("--replace", is_flag=True, help="Take the place of a model of that name.")
@click.option("--allow-partial", is_flag=True, help="Take weights that lack layers; those start from scratch.")
@as_json
def add(paths: Sequence[str], as_json: bool, **options: Any) -> None:
    """Add a model of your own: its files are checked, copied into the store, and loaded where zoo can.

    PATH is a .keras, .h5, .weights.h5, .onnx, .npz or .safetensors file, the folder of a SavedModel, a frozen graph
    (.pb), a .prototxt and its .caffemodel (with the .binaryproto of its mean picture), or the prefix of a TensorFlow
    checkpoint; the address of a module of TF Hub; or a run, which tells all about its model. What cannot be loaded is
    kept, and says so. How pictures become numbers is asked for in a terminal, and never guessed.

    \b
    zoo add flowers.keras --preprocess unit
    zoo add net.onnx --preprocess torch
    zoo add runs/flowers --name my-flowers
    zoo add old.h5 --arch resnet50 --preprocess resnet50 --name my-resnet
    zoo add deploy.prototxt net.caffemodel imagenet_mean.binaryproto
    zoo add train_val.prototxt net.caffemodel --input 227x227x3 --preprocess caffe
    zoo add my_model_final.ckpt --name dnn
    zoo add old.ckpt --arch resnet_v1_50 --name old
    """
    told = options["input_size"]
    sizes = [each for each in told if not isinstance(each, str)]
    if len(sizes) > 1:
        raise UsageError("Expected one size of the input; got several.")
    options["tensors"] = tuple(each for each in told if isinstance(each, str))
    options["input_size"] = sizes[0] if sizes else None
    is_there = not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    with quiet_tensorflow():
        added = zoo.add(paths, **options, ask=_ask if is_there else None, progress=_Bars(paths[0]))
    for note in added.notes:
        say(note)
    if as_json:
        show_json({**entry_json(added.entry), "format": added.format, "notes": list(added.notes)})
    else:
        _show(added, _again(added.entry.name, paths, options))


class _Bars:
    """A bar for each step, so that the terminal is free for a question between them."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._bar = Bar(what)

    def start(self, total: int | None, unit: str) -> None:
        """Begins a step."""
        self._bar = Bar(self._what)
        self._bar.__enter__()
        self._bar.start(total, unit)

    def expect(self, total: int) -> None:
        """Knows better how much there is."""
        self._bar.expect(total)

    def advance(self, n: int, **figures: float) -> None:
        """Counts."""
        self._bar.advance(n, **figures)

    def close(self) -> None:
        """Ends the step."""
        self._bar.close()
        self._bar.__exit__(None, None, None)


def _ask(spec: InputSpec, hint: str) -> str | None:
    """Asks how pictures become numbers; None where that is not known."""
    say("How do pictures become the numbers that this model was trained on? The file does not tell.")
    for name, preset in PRESETS.items():
        say(f"  {name:6} {preset.what}")
    say("  MODEL  as a model of the registry wants them, such as vgg16")
    say("  ?      not known now; it can be said later, and until then it is not transferred")
    if hint:
        say(hint)

    def known(answer: str) -> str | None:
        if answer == "?":
            return None
        try:
            chosen_input(spec.size, answer)
        except ZooError as error:
            raise click.UsageError(str(error)) from error
        return answer

    answer: str | None = click.prompt("Preprocessing", value_proc=known, err=True)
    return answer


def _show(added: zoo.Added, again: str) -> None:
    entry = added.entry
    files = [pair for file in entry.files for pair in (
        ("file", f"{file.name}, {size(file.bytes)}"), ("sha256", (file.hash or "").removeprefix("sha256:")),
    )]  # fmt: skip
    loads = "load" in entry.can
    taken = None if entry.task == "text-embedding" else entry.recorded
    numbers = taken and f"no pictures; {shape_text(taken.input[1:])} numbers ({taken.dtype})"
    other = "texts" if entry.task == "text-embedding" else "no pictures, or not known"
    show_pairs([
        ("name", entry.name),
        ("format", added.format),
        *files,
        ("input", input_text(entry.input) if entry.input else numbers or other),
        *([("preprocessing", preprocessing_text(entry.input))] if entry.input else []),
        *([("units", "not counted" if entry.units is None else number(entry.units))] if loads else []),
        ("can", "be loaded" if loads else "be kept; this version cannot load it"),
        ("next", _next(added, again)),
    ])  # fmt: skip


def _again(name: str, paths: Sequence[str], options: Mapping[str, Any]) -> str:
    """Returns the command that adds the same once more in its own place, with all that was said but preprocessing."""
    given = {
        "--name": name,
        "--arch": options["arch"],
        "--input": options["input_size"] and shape_text(options["input_size"]),
        "--labels": options["labels"],
        "--summary": options["summary"],
        "--license": options["license"],
        "--signature": options["signature"],
        "--activation": options["activation"],
        "--limit": options["limit"] and f"{options['limit']:g}",
    }
    several = {
        "--input": options["tensors"],
        "--output": options["outputs"],
        "--shape": [f"{name}={_sizes_text(sizes)}" for name, sizes in options["shapes"].items()],
        "--include": options["include"],
        "--exclude": options["exclude"],
        "--rename": [f"{name}={value}" for name, value in (options["rename"] or {}).items()],
        "--layout": [f"{name}={value}" for name, value in (options["layout"] or {}).items()],
    }
    said = [word for option, value in given.items() if value for word in (option, value)]
    said += [word for option, values in several.items() for value in values for word in (option, value)]
    said += ["--allow-partial"] * options["allow_partial"] + ["--logits"] * options["logits"]
    return f"zoo add {shlex.join([*paths, *said])} --replace"


def _sizes_text(sizes: Sequence[int | None]) -> str:
    return ",".join("?" if size is None else str(size) for size in sizes)


def _next(added: zoo.Added, again: str) -> str:
    entry = added.entry
    if "load" not in entry.can or entry.units is None:
        return f"zoo show {entry.name}"
    if entry.input is not None and entry.input.scale is None:
        return f"{again} --preprocess HOW"
    if added.nonfinite:
        return "get another copy, whose weights are finite"
    if entry.task == "text-embedding":
        return f"zoo transfer {entry.name} --data TEXTS.csv"
    if entry.input is not None and None not in entry.input.size:
        return f"zoo transfer {entry.name} --data digits"
    if entry.input is not None:
        return f"zoo.transfer({entry.name!r}, (x, y)) in Python, with examples of yours"
    return f"zoo transfer {entry.name} --data YOURS.npz, with arrays x and y"
