"""The commands that fetch and keep models, each thin over one function of `zoo`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import click
from zoo.cli.output import Bar, say, show_json, show_pairs, show_table, size

import zoo
from zoo.errors import DiskError, IntegrityError, ZooError

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what would happen, and do nothing.")
lock_timeout = click.option(
    "--lock-timeout",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Wait so long for another process at the same model.  [default: as long as it runs]",
)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--headless", is_flag=True, help="Fetch the smaller file without the classifier, where there is one.")
@click.option("--offline", is_flag=True, default=None, help="Open no connection; likewise ZOO_OFFLINE=1.")
@click.option("--allow-http", is_flag=True, help="Use plain http also for files whose hash nobody published.")
@click.option(
    "--mirror",
    metavar="URL=URL,..",
    help="Ask elsewhere for addresses that begin so; likewise ZOO_MIRROR. Its credential is in ZOO_TOKEN.",
)
@lock_timeout
@dry_run
@as_json
def pull(names: Sequence[str], headless: bool, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Fetch models: every byte checked, broken downloads taken up again.

    A pull that was interrupted or killed goes on where it was when the same command is run again.
    """
    if dry_run:
        _show_plans([zoo.plan_pull(name, headless=headless) for name in names], as_json)
        return
    with Bar() as bar:
        failed = _each(names, lambda name: _pull(name, bar, headless, options))
    here = [place for name in names if name not in failed for place in zoo.locate(name)]
    if as_json:
        show_json([_place_row(place) for place in here])
    elif here:
        _show_places(here)
    _fail(failed)


def _pull(name: str, bar: Bar, headless: bool, options: dict[str, Any]) -> None:
    bar.call(name)
    zoo.pull(name, headless=headless, progress=bar, **options)
    for spec in zoo.plan_pull(name, headless=headless).unpublished:
        say(f"{name}: {spec.name} is needed too, but has no published address: {spec.reported or 'see its publisher'}")


def _each(names: Sequence[str], work: Callable[[str], None]) -> dict[str, ZooError]:
    """Works on all names, and returns what failed; a disk that is full is full for all."""
    failed: dict[str, ZooError] = {}
    for name in dict.fromkeys(names):
        try:
            work(name)
        except DiskError:
            raise
        except ZooError as error:
            if len(names) == 1:
                raise
            failed[name] = error
            say(f"{name}: {error}")
    return failed


def _fail(failed: dict[str, ZooError]) -> None:
    if failed:
        first = next(iter(failed.values()))
        raise type(first)(f"{len(failed)} of the models failed, as told above: {', '.join(failed)}")


def _show_plans(plans: Sequence[zoo.PullPlan], as_json: bool) -> None:
    if as_json:
        show_json([{**dataclasses.asdict(plan), "bytes": plan.bytes} for plan in plans])
        return
    show_table(
        ["model", "file", "action", "size"],
        [[plan.name, step.file.name, step.action, size(step.bytes)] for plan in plans for step in plan.steps],
        right={"size"},
    )


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@as_json
def where(names: Sequence[str], as_json: bool) -> None:
    """Show where pulled models lie, and how large they are; all of them, or those called NAME."""
    records = zoo.pulled_models()
    damaged = [record.name for record in records if not record.files]
    wanted = names or [record.name for record in records if record.files]
    places = [place for name in wanted for place in zoo.locate(name)]
    if as_json:
        show_json([_place_row(place) for place in places])
        return
    if damaged and not names:
        say(f"Damaged records: {', '.join(damaged)}. Mend them: zoo pull {' '.join(damaged)}")
    if not places:
        say("Nothing has been pulled yet. Try: zoo pull vgg16")
        return
    _show_places(places)


def _place_row(place: zoo.Place) -> dict[str, Any]:
    return {**dataclasses.asdict(place), "path": str(place.path), "digest": f"sha256:{place.digest}"}


def _show_places(places: Sequence[zoo.Place]) -> None:
    """Prints the places one below the other: paths are for copying, so they are never cut."""
    for number, place in enumerate(places):
        if number:
            click.echo()
        show_pairs([
            (place.model, place.name),
            ("path", str(place.path)),
            ("size", size(place.bytes)),
            ("sha256", place.digest),
            ("checked", place.vouched),
        ])  # fmt: skip


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@as_json
def verify(names: Sequence[str], as_json: bool) -> None:
    """Read every byte of the store again, or of the models called NAME, and say what is not as it was.

    Damaged files are moved aside; the next pull of their model fetches them again. Ends with 4 where there is any.
    """
    with Bar("verifying") as bar:
        findings = zoo.verify(names, progress=bar)
    if as_json:
        show_json([{**dataclasses.asdict(each), "path": str(each.path)} for each in findings])
    else:
        _show_findings(findings)
    bad = [each for each in findings if each.state != "whole"]
    if bad:
        models = sorted({each.model for each in bad if each.model})
        mend = f" Mend them: zoo pull {' '.join(models)}" if models else ""
        raise IntegrityError(f"{len(bad)} of {len(findings)} files are not what they were.{mend}")


def _show_findings(findings: Sequence[zoo.Finding]) -> None:
    if not findings:
        say("There is nothing to verify: nothing has been pulled yet.")
        return
    show_table(
        ["model", "file", "size", "state"],
        [[each.model or "(none)", each.name, size(each.bytes), each.state] for each in findings],
        right={"size"},
    )


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@lock_timeout
@dry_run
@as_json
def rm(names: Sequence[str], lock_timeout: float | None, dry_run: bool, as_json: bool) -> None:
    """Remove pulled models; files that other models share stay, and so does what a running process reads."""
    _show_removals(zoo.remove(names, dry_run=dry_run, lock_timeout=lock_timeout), dry_run, as_json)


@click.command()
@dry_run
@as_json
def gc(dry_run: bool, as_json: bool) -> None:
    """Remove what belongs to no model: spare and damaged files, downloads that were given up a day ago."""
    _show_removals(zoo.collect_garbage(dry_run=dry_run), dry_run, as_json)


def _show_removals(removals: Sequence[zoo.Removal], dry_run: bool, as_json: bool) -> None:
    if as_json:
        show_json([{**dataclasses.asdict(each), "path": str(each.path)} for each in removals])
        return
    if removals:
        show_table(
            ["what", "size", "path"],
            [[each.what, size(each.bytes), str(each.path)] for each in removals],
            right={"size"},
            wide={"path"},
        )
    room = size(sum(each.bytes for each in removals))
    click.echo(f"{room} {'would be freed' if dry_run else 'freed'}." if removals else "There is nothing to remove.")
