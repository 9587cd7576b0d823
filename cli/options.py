"""Options that several commands have, and the kinds of values that they take."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

DATA_OPTIONS = ("bad_files", "max_bad", "min_side", "frames", "group_by", "follow_links", "near_duplicates", "task")

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "exponential", "one-cycle")
REGRESSION_LOSSES = ("mse", "mae", "huber")
TASKS = ("classification", "multilabel", "regression")

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what would happen, and do nothing.")
lock_timeout = click.option(
    "--lock-timeout",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Wait so long for another process at the same model.  [default: as long as it runs]",
)

_engine = click.option(
    "--engine", type=click.Choice(["auto", "tensorflow", "onnxruntime", "openvino"]), default="tensorflow",
    show_default=True, help="Who runs the frozen units; auto: the fastest, measured on the first examples.",
)  # fmt: skip
_precision = click.option(
    "--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True,
    help="What it computes in; bfloat16 needs openvino and a processor that has it.",
)  # fmt: skip


def with_options(command: Command, *options: Callable[[Command], Command]) -> Command:
    """Returns the command with options, which help shows in their order."""
    for option in reversed(options):
        command = option(command)
    return command


def data_options(command: Command) -> Command:
    """Returns the command with the options of all that opens data."""
    return data_options_but()(command)


def data_options_but(*left_out: str) -> Callable[[Command], Command]:
    """Returns what gives a command the options of all that opens data, without some of them."""
    named = zip(DATA_OPTIONS, _data_options(), strict=True)
    taken = [option for name, option in named if name not in left_out]
    return lambda command: with_options(command, *taken)


def _data_options() -> list[Callable[[Any], Any]]:
    """Returns the options, in the order of `DATA_OPTIONS`."""
    return [
        click.option(
            "--bad-files", type=click.Choice(["skip", "fail"]), default="skip", show_default=True,
            help="What to do with files that cannot be used.",
        ),
        click.option(
            "--max-bad", type=Share(), default="1%", show_default=True, metavar="SHARE",
            help="With skip: end with exit code 8 where more than this share of the files is bad.",
        ),
        click.option(
            "--min-side", type=click.IntRange(1), default=1, show_default=True, metavar="PIXELS",
            help="Pictures with a side below this count as bad.",
        ),
        click.option(
            "--frames", type=click.Choice(["first", "error"]), default="first", show_default=True,
            help="Of a file with several frames: take the first, or count it as bad.",
        ),
        click.option(
            "--group-by", metavar="WHAT",
            help="Keep on one side of a split what is equal in this: a column of a .csv, an array of an .npz, or what "
                 "a regular expression finds in the paths of a folder.",
        ),
        click.option("--follow-links", is_flag=True, help="Follow symbolic links inside the folder."),
        click.option(
            "--near-duplicates/--no-near-duplicates", default=True, show_default=True,
            help="Look for pictures that are nearly the same, and keep them on one side of a split.",
        ),
        click.option(
            "--task", type=click.Choice(TASKS),
            help="What the labels are: a class each; any of several (a|b in a .csv); or numbers.  "
                 "[default: classes, or several where a .csv has a | in any]",
        ),
    ]  # fmt: skip


def engine_options(command: Command) -> Command:
    """Returns the command with the options of who runs the frozen units, and how precisely."""
    return _engine(_precision(command))


class Share(click.ParamType[float]):
    """A share of 0 to 1, also in percent, as in 5%."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the share."""
        if isinstance(value, float):
            return value
        try:
            share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"expected a share such as 5% or 0.05; got {value!r}", param, ctx)
        return share


class Widths(click.ParamType[tuple[int, ...]]):
    """Widths of hidden layers, as in 20,10."""

    name = "widths"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Returns the widths."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(width) for width in value.split(","))
        except ValueError:
            self.fail(f"expected widths such as 20,10; got {value!r}", param, ctx)


class Sides(click.ParamType[tuple[int, int]]):
    """Height and width of pictures, as in 64x64, or 64 of both."""

    name = "sides"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Returns height and width."""
        if isinstance(value, tuple):
            return value
        parts = value.split("x")
        if len(parts) > 2 or not all(part.isascii() and part.isdecimal() and int(part) for part in parts):
            self.fail(f"expected height x width such as 64x64; got {value!r}", param, ctx)
        return int(parts[0]), int(parts[-1])


class Weights(click.ParamType[Any]):
    """Weights of classes: balanced, or as in cat=2,dog=1."""

    name = "weights"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns `balanced`, or weights by name."""
        if not isinstance(value, str) or value == "balanced":
            return value
        try:
            pairs = [part.rsplit("=", 1) for part in value.split(",")]
            return {name: float(weight) for name, weight in pairs}
        except ValueError:
            self.fail(f"expected balanced, or weights such as cat=2,dog=1; got {value!r}", param, ctx)


class Sizes(click.ParamType[tuple[int | None, ...]]):
    """Sizes of an input, as in 224x224x3; ? where any will do."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int | None, ...]:
        """Returns the sizes."""
        if isinstance(value, tuple):
            return value
        parts = value.split("x")
        if not all(part == "?" or (part.isascii() and part.isdecimal() and 0 < int(part) < 1 << 31) for part in parts):
            self.fail(f"expected height x width x channels such as 224x224x3, or ?x?x3; got {value!r}", param, ctx)
        return tuple(None if part == "?" else int(part) for part in parts)


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers, one or one for each channel, as in 0.485,0.456,0.406."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Returns the numbers."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(_number(part) for part in value.split(","))
        except (ValueError, ZeroDivisionError):
            numbers = (math.nan,)
        if not all(map(math.isfinite, numbers)):
            self.fail(f"expected numbers such as 0.5, 1/255 or 0.485,0.456,0.406; got {value!r}", param, ctx)
        return numbers


class Number(click.ParamType[float]):
    """One number, also as a fraction, as in 1/255."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the number."""
        numbers = Numbers().convert(value if isinstance(value, str) else (value,), param, ctx)
        if len(numbers) != 1:
            self.fail(f"expected one number such as 1/255; got {value!r}", param, ctx)
        return numbers[0]


def _number(text: str) -> float:
    top, slash, bottom = text.partition("/")
    return float(top) / float(bottom) if slash else float(top)


class Count(click.ParamType[float]):
    """A number of parameters, as in 25M, 1.5e6 or 4000000."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the number."""
        if isinstance(value, float):
            return value
        factor = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9}.get(value[-1:].lower(), 1.0)
        try:
            count = float(value[:-1] if factor > 1 else value) * factor
        except ValueError:
            count = -1.0
        if not 0 <= count < float("inf"):
            self.fail(f"expected a number such as 25M, 1.5e6 or 4000000; got {value!r}", param, ctx)
        return count


def named_sizes(
    _: click.Context, parameter: click.Parameter, told: tuple[str, ...]
) -> dict[str, tuple[int | None, ...]]:
    """Returns the sizes of inputs by name, of texts such as "input=?,3,224,224"."""
    found: dict[str, tuple[int | None, ...]] = {}
    for each in told:
        name, sizes = each.rpartition("=")[::2]
        parts = [part.strip() for part in sizes.split(",")]
        if not name or not all(part == "?" or (part.isdecimal() and int(part) > 0) for part in parts):
            raise click.BadParameter(f"Expected NAME=?,3,224,224, where ? varies; got {each!r}.", param=parameter)
        if name in found:
            raise click.BadParameter(f"Expected sizes once for each input; got {name!r} twice.", param=parameter)
        found[name] = tuple(None if part == "?" else int(part) for part in parts)
    return found
