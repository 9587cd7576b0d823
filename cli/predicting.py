"""The command `zoo predict`: what a run's model says, written as it is computed."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from zoo.cli.output import Bar, plain, quiet_tensorflow, say
from zoo.cli.tables import text_width

import zoo
from zoo.errors import DataError, UsageError, ZooError

if TYPE_CHECKING:
    from zoo.progress import Progress
    from zoo.runs import Prediction, Run

_PIECE = 1 << 16
_MOST_BYTES = 1 << 30
_WIDEST = 40  # columns of a label, where names of classes are long


@click.command()
@click.argument("run")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE|DIR|-...")
@click.option("--top-k", type=click.IntRange(1), default=None, metavar="K", help="Tell the K most probable classes.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.5,
    show_default=True,
    metavar="P",
    help="Of a run with several labels: tell those that are more probable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values instead.")
@click.option(
    "-0", "--null", "by_null", is_flag=True, help="With -: paths or texts end with a NUL, as find -print0 writes them."
)
def predict(
    run: str, inputs: Sequence[str], top_k: int | None, threshold: float, as_json: bool, as_csv: bool, by_null: bool
) -> None:  # fmt: skip
    """Say what the model of RUN sees in pictures: files, or folders of them.

    Of -, paths are read from standard input, one a line; or one picture, where it begins as one. A run that was trained
    on rows takes files of rows: .npy, .npz or .csv; one that was trained on texts takes .txt files with a text a line,
    tables (.csv) with a column text, and of - a text a line. Files that cannot be read are told, and passed over.

    \b
    zoo predict runs/flowers photo.jpg holiday/
    find . -name '*.jpg' -print0 | zoo predict runs/flowers - -0 --csv > found.csv
    """
    if as_json and as_csv:
        raise UsageError("Expected --json or --csv; got both.")
    opened = zoo.open_run(run)
    takes_texts = opened.record["input"]["decoded"] == "text"
    write = _Writer(opened, _kind(as_json, as_csv), top_k or 0)
    failures: list[ZooError] = []
    is_single = len(inputs) == 1 and inputs[0] != "-" and not Path(inputs[0]).is_dir()

    def failed(error: ZooError) -> None:
        failures.append(error)
        if not is_single:  # of a single file it is the error that the command ends with
            say(f"Passed over: {error}")

    with quiet_tensorflow():
        for some in _text_chunks(inputs, by_null) if takes_texts else _chunks(inputs, by_null):
            with _progress() as bar:
                for each in opened.predictions(
                    some, top_k=top_k or 0, threshold=threshold, failed=failed, progress=bar
                ):
                    write.row(each)
    if failures and not write.count:
        from zoo.runs.prediction import failure_of

        raise failure_of(failures)
    write.end()


def _kind(as_json: bool, as_csv: bool) -> str:
    return "json" if as_json else "csv" if as_csv else "text"


@contextlib.contextmanager
def _progress() -> Iterator[Progress | None]:
    """Gives a bar, unless the results themselves come to the terminal."""
    if sys.stdout.isatty():
        yield None
        return
    with Bar() as bar:
        yield bar


def _chunks(inputs: Sequence[str], by_null: bool) -> Iterator[list[str | bytes]]:
    """Yields inputs, some at a time: those that were named together, and those of standard input as they come."""
    named: list[str | bytes] = []
    for each in inputs:
        if each != "-":
            named.append(each)
            continue
        if named:
            yield named
        named = []
        yield from _standard_input(by_null)
    if named:
        yield named


def _standard_input(by_null: bool) -> Iterator[list[str | bytes]]:
    """Yields the picture on standard input, or the paths that come together.

    It is read without a buffer of Python's: what has come is used at once, and nothing holds a lock when it ends.
    """
    from zoo.data.signatures import SIGNATURE_BYTES, picture_format

    buffered = sys.stdin.buffer
    stream: IO[bytes] = getattr(buffered, "raw", buffered)
    end = b"\0" if by_null else b"\n"
    head = stream.read(_PIECE) or b""
    while head and len(head) < SIGNATURE_BYTES and end not in head and (more := stream.read(_PIECE)):
        head += more
    if picture_format(head) is not None:
        yield [head + _rest(stream, _MOST_BYTES - len(head))]
        return
    for lines in _lines_as_they_come(stream, head, end):
        if paths := _paths(lines):
            yield paths


def _lines_as_they_come(stream: IO[bytes], head: bytes, end: bytes) -> Iterator[list[bytes]]:
    """Yields the lines of a stream of which `head` is read already, those together that come together."""
    left, piece = b"", head
    while piece:
        *whole, left = (left + piece).split(end)
        yield whole
        piece = stream.read(_PIECE) or b""
    yield [left]


def _text_chunks(inputs: Sequence[str], by_null: bool) -> Iterator[list[Any]]:
    """Yields files of texts, and the texts on standard input as they come."""
    from zoo.runs.texts import named_lines

    for each in inputs:
        if each != "-":
            yield [Path(each)]
            continue
        stream: IO[bytes] = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        number = 1
        for lines in _lines_as_they_come(stream, stream.read(_PIECE) or b"", b"\0" if by_null else b"\n"):
            yield list(named_lines(lines, each, number))
            number += len(lines)


def _paths(lines: Sequence[bytes]) -> list[str | bytes]:
    return [os.fsdecode(line.removesuffix(b"\r")) for line in lines if line.strip()]


def _rest(stream: IO[bytes], most: int) -> bytes:
    found = io.BytesIO()
    while piece := stream.read(_PIECE):
        found.write(piece)
        if found.tell() > most:
            raise DataError(f"The picture on standard input has more than {_MOST_BYTES:,} bytes; so many are read.")
    return found.getvalue()


class _Writer:
    """Writes predictions to standard output, one after the other."""

    def __init__(self, run: Run, kind: str, top_k: int) -> None:
        self.count = 0
        self._run, self._kind, self._top_k = run, kind, top_k
        self._out = sys.stdout  # a bar may take its place
        widths = [text_width(plain(name)) for name in ("label", *run.classes)]
        self._width = 12 if run.task == "regression" else min(_WIDEST, max(widths))

    def row(self, prediction: Prediction) -> None:
        """Writes one."""
        write: Callable[[Prediction], str] = getattr(self, f"_{self._kind}")
        self._put(write(prediction))
        self.count += 1

    def end(self) -> None:
        """Writes what comes behind the last."""
        if self._kind == "json":
            self._put("\n]\n" if self.count else "[]\n")

    def _put(self, text: str) -> None:
        click.echo(text.encode("utf-8", "backslashreplace"), file=self._out, nl=False)

    def _json(self, each: Prediction) -> str:
        document: dict[str, Any] = {"file": each.file, "label": each.label, "probability": each.probability}
        if self._run.task == "multilabel":
            document["labels"] = _pairs(
                (name, each.probabilities[self._run.classes.index(name)]) for name in each.labels
            )
        if self._run.task == "regression":
            document["values"] = dict(zip(self._run.classes, each.values, strict=True))
        if self._top_k:
            document["top"] = _pairs(each.top)
        return ("," if self.count else "[") + "\n  " + json.dumps(document, ensure_ascii=False)

    def _csv(self, each: Prediction) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        most = min(self._top_k, len(self._run.classes))
        numbers = range(2 if self._run.task == "classification" else 1, most + 1)
        if self._run.task == "regression":
            header, cells = ["file", *self._run.classes], [each.file, *(f"{value:.7g}" for value in each.values)]
        else:
            header = ["file", "label", "probability"]
            cells = [each.file, each.label, f"{each.probability:.6g}"]
            header += [f"{name}_{number}" for number in numbers for name in ("label", "probability")]
            cells += [cell for name, value in self._others(each) for cell in (name, f"{value:.6g}")]
        if not self.count:
            writer.writerow(header)
        writer.writerow(cells)
        return text.getvalue()

    def _text(self, each: Prediction) -> str:
        lines = (
            []
            if self.count
            else [self._line("label" if each.probability is not None else "value", "probability", "file")]
        )
        certain = "" if each.probability is None else f"{each.probability:.4f}"
        lines.append(self._line(each.label or "(none)", certain, each.file))
        lines += [self._line(f"  {name}", f"{value:.4f}", "") for name, value in self._others(each)]
        return "".join(f"{line.rstrip()}\n" for line in lines)

    def _others(self, each: Prediction) -> tuple[tuple[str, float], ...]:
        """Returns what the most probable classes are beside the label; of several labels, all of those."""
        return each.top[1:] if self._run.task == "classification" else each.top

    def _line(self, label: str, certain: str, file: str) -> str:
        shown = plain(label)
        between = [] if self._run.task == "regression" else [f"{certain:>11}"]
        return "  ".join([shown + " " * max(0, self._width - text_width(shown)), *between, plain(file)])


def _pairs(some: Any) -> list[dict[str, Any]]:
    return [{"label": name, "probability": probability} for name, probability in some]
