"""The `zoo` command: its groups of options, and how errors become messages and exit codes.

Results that were asked for (tables, `--json`) go to standard output; progress, warnings and errors to standard error.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

import click
from zoo.cli.adding import add
from zoo.cli.caching import cache
from zoo.cli.checking import check
from zoo.cli.commands import layers, list_, runs, show
from zoo.cli.converting import convert, export
from zoo.cli.extracting import features
from zoo.cli.judging import compare, evaluate
from zoo.cli.keeping import gc, pull, rm, verify, where
from zoo.cli.output import plain_lines, say
from zoo.cli.predicting import predict
from zoo.cli.pretraining import pretrain
from zoo.cli.rating import lr_find
from zoo.cli.recommending import recommend
from zoo.cli.transferring import transfer

from zoo.errors import ZooError

_interrupted: list[int] = []


class Zoo(click.Group):
    """A group that ends with the exit code of the error, and shows a traceback only where it was asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if _interrupted:  # a library caught the interruption and made something else of it
                raise click.Abort() from error
            if ctx.params.get("debug"):
                import traceback

                traceback.print_exc()
            _explain(error)
            ctx.exit(error.exit_code if isinstance(error, ZooError) else 1)


def _explain(error: Exception) -> None:
    if isinstance(error, ZooError):
        message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        click.secho(f"Error: {plain_lines(message)}", err=True, fg="red")
    else:
        click.secho(plain_lines(f"Unexpected error: {type(error).__name__}: {error}"), err=True, fg="red")
        click.echo("This is a fault of zoo. Run `zoo --debug ...` again and report what it prints.", err=True)


@click.group(cls=Zoo, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="zoo-transfer", prog_name="zoo")
@click.option("--debug", is_flag=True, envvar="ZOO_DEBUG", help="Show tracebacks and what libraries say.")
def cli(debug: bool) -> None:
    """Reuse pretrained networks: cut them, keep what the frozen part puts out, train only the rest.

    Try:  zoo transfer --reuse 3 --freeze 2
    """
    import logging  # here, for the sake of a quick `zoo --help`

    class Teller(logging.Handler):
        """Tells what is logged to whoever standard error is at that moment: a bar may have taken it over."""

        def emit(self, record: logging.LogRecord) -> None:
            say(self.format(record))

    logging.basicConfig(format="%(levelname)s: %(message)s", handlers=[Teller()], force=True)
    logging.getLogger("zoo").setLevel(logging.DEBUG if debug else logging.WARNING)
    if not debug:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


for command in (
    list_,
    show,
    layers,
    pull,
    add,
    where,
    verify,
    rm,
    gc,
    check,
    features,
    recommend,
    cache,
    pretrain,
    transfer,
    lr_find,
    predict,
    runs,
    compare,
    evaluate,
    export,
    convert,
):
    cli.add_command(command)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _interrupted.append(number)
    raise KeyboardInterrupt


def main() -> None:
    """Runs the command line and exits; an interruption ends with 130, a termination with 143."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)  # as an exception, so that what is half written is removed
    try:
        code = cli.main(prog_name="zoo", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.secho(
            "Interrupted. What was fetched or computed is kept: go on as said above, or run the same command again.",
            err=True,
            fg="red",
        )
        sys.exit(128 + (signal.SIGTERM if signal.SIGTERM in _interrupted else signal.SIGINT))
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away: nobody is left to tell
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
