"""The command that looks a data set over, thin over `zoo.check_data`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from zoo.cli.options import as_json, data_options
from zoo.cli.output import Bar, counted, number, plain, say, show_json, show_pairs, show_table

import zoo
from zoo.errors import DataError

if TYPE_CHECKING:
    from zoo.data.checking import DataCheck
    from zoo.data.findings import Case, Finding

_CASES = 5  # of a finding
_NAMES = 3  # of a case
_CLASSES = 40
_COLORS = {"error": "red", "warning": "yellow", "note": "blue"}


@click.command()
@click.argument("data")
@click.option("--quick", is_flag=True, help="Look at each file, without decoding all of it.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the split that is foretold.")
@data_options
@click.option("--strict", is_flag=True, help="End with exit code 8 where there is any error or warning.")
@click.option(
    "--html", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with the pictures in question.",
)  # fmt: skip
@as_json
def check(data: str, strict: bool, html: Path | None, as_json: bool, **options: Any) -> None:
    """Look over the data set DATA: broken files, odd pictures, copies, wrong labels, classes, and the split.

    DATA is what zoo transfer --data takes. Nothing is changed. What is found does not make the command fail, unless
    the data cannot be used as it is: then it ends with exit code 8, after the report.

    \b
    zoo check flowers/
    zoo check flowers/ --html check.html
    """
    with Bar() as bar:
        found = zoo.check_data(data, progress=bar, **options)
    if as_json:
        show_json(found.to_json())
    else:
        _show(found)
    if html:
        say(f"Page: {found.save_html(html)}")
    elif not as_json and any(case.rows for each in found.findings for case in each.cases) and found.noun == "picture":
        say(f"To see the pictures: zoo check {shlex.quote(data)} --html check.html")
    if found.problem:
        raise DataError(found.problem)
    if strict and (count := found.count("error") + found.count("warning")):
        raise DataError(f"Expected no errors or warnings (--strict); there are {count}.")


def _show(found: DataCheck) -> None:
    show_pairs(_facts(found))
    click.echo()
    _show_classes(found)
    for finding in found.findings:
        click.echo()
        _show_finding(finding)
    if not found.findings and not found.problem:
        click.echo("\nNothing was found that needs a look.")


def _facts(found: DataCheck) -> list[tuple[str, str]]:
    def listed(counts: Any) -> str:
        return ", ".join(f"{number(count)} {name}" for name, count in counts.items())

    pairs = [
        ("data", found.name),
        ("usable", counted(found.examples, found.noun)),
        ("passed over", number(found.passed_over)),
        ("passed over in silence", _ignored(found.ignored)),
        ("formats", listed(found.formats)),
        ("colour modes", listed(found.modes)),
        *((name, f"{s.low:g} to {s.high:g}, median {s.median:g}") for name, s in found.sizes.items()),
        ("decoded", ("yes, every file in full" if found.decoded else "no (--quick)") if found.formats else ""),
    ]
    return [pair for pair in pairs if pair[1]]


def _ignored(counts: Mapping[str, int]) -> str:
    hints = {"links": " (--follow-links)"}
    return ", ".join(f"{counted(count, what.removesuffix('s'))}{hints.get(what, '')}" for what, count in counts.items())


def _show_classes(found: DataCheck) -> None:
    classes = sorted(found.classes, key=lambda each: -each.examples)
    shown = classes if len(classes) <= _CLASSES + 1 else [*classes[: _CLASSES // 2], *classes[-_CLASSES // 2 :]]
    rows = [
        [each.name, number(each.examples), number(each.train), number(each.validation), number(each.test)]
        for each in shown
    ]
    totals = [sum(getattr(each, name) for each in classes) for name in ("examples", "train", "validation", "test")]
    if len(shown) < len(classes):
        rows.insert(_CLASSES // 2, [f"({number(len(classes) - len(shown))} more)", "", "", "", ""])
    rows.append(["all", *map(number, totals)])
    header = ["class", f"{found.noun}s", "train", "validation", "test"]
    show_table(header, rows, right=set(header[1:]))


def _show_finding(finding: Finding) -> None:
    title = plain(finding.title[:1].upper() + finding.title[1:])
    click.echo(f"{click.style(finding.level, bold=True, fg=_COLORS[finding.level])}: {title}")
    for case in finding.cases[:_CASES]:
        click.echo(f"  {plain(_case(case))}")
    if len(finding.cases) > _CASES:
        click.echo(f"  and {number(len(finding.cases) - _CASES)} more")
    click.echo(f"  {click.style(plain(finding.advice), dim=True)}")


def _case(case: Case) -> str:
    more = len(case.names) - _NAMES
    names = " = ".join(case.names[:_NAMES]) + (f" = {number(more)} more" if more > 0 else "")
    return f"{names}: {case.detail}" if case.detail else names
