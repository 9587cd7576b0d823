"""The commands that fetch and keep models, each thin over one function of `zoo`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import click
from zoo.cli.options import as_json, dry_run, lock_timeout
from zoo.cli.output import Bar, counted, number, quiet_tensorflow, say, show_json, show_pairs, show_table, size

import zoo
from zoo.errors import DiskError, IntegrityError, UnsafeFileError, ZooError


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
    names = list(dict.fromkeys(names))
    if dry_run:
        _show_plans([zoo.plan_pull(name, headless=headless) for name in names], as_json)
        return
    pulled: list[zoo.Place] = []
    failed: dict[str, ZooError] = {}
    for name in names:
        try:
            places = _pull(name, headless, options)
        except DiskError:
            raise  # a full disk is full for all of them
        except ZooError as error:
            if len(names) == 1:
                raise
            failed[name] = error
            say(f"{name}: {error}")
            continue
        pulled += places
        if not as_json:
            _show_places(places)
    if as_json:
        show_json([_place_row(place) for place in pulled])
    if failed:
        first = next(iter(failed.values()))
        raise type(first)(f"{len(failed)} of {len(names)} models failed, as told above: {', '.join(failed)}")


def _pull(name: str, headless: bool, options: dict[str, Any]) -> list[zoo.Place]:
    plan = zoo.plan_pull(name, headless=headless)
    if all(step.action == "keep" for step in plan.steps):
        say(f"{plan.name} is here already.")
    begun = sum(step.begun for step in plan.steps)
    if begun:
        say(f"{plan.name}: going on behind {size(begun)} that came before.")
    with Bar(plan.name) as bar:
        artifact = zoo.pull(name, headless=headless, progress=bar, **options)
    for file in artifact.unpublished:
        say(f"{plan.name}: {file.name} is needed too, but has no published address ({file.reported or 'ask for it'}).")
    return zoo.locate(plan.name)


def _show_plans(plans: Sequence[zoo.PullPlan], as_json: bool) -> None:
    if as_json:
        show_json([{**dataclasses.asdict(plan), "missing": plan.missing} for plan in plans])
        return
    rows = [
        [plan.name, step.file.name, step.action, size(step.bytes), size(step.missing)]
        for plan in plans
        for step in plan.steps
    ]
    rows += [[plan.name, file.name, "no address", "?", "?"] for plan in plans for file in plan.unpublished]
    show_table(["model", "file", "action", "size", "to come"], rows, right={"size", "to come"})


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@as_json
def where(names: Sequence[str], as_json: bool) -> None:
    """Show what was pulled and how large it is; of models called NAME, also where it lies.

    Ends with 4 where a file is not there any more.
    """
    records = zoo.pulled_models()
    places = [
        place for name in names or [record.name for record in records if record.files] for place in zoo.locate(name)
    ]
    unreadable = [] if names else [record.name for record in records if not record.files]
    if as_json:
        show_json([_place_row(place) for place in places])
    elif names:
        _show_places(places)
    elif places:
        _show_overview(places)
    elif not unreadable:
        say("Nothing has been pulled yet. Try: zoo pull vgg16")
    if unreadable:
        say(f"Damaged records: {', '.join(unreadable)}. Mend them: zoo pull {' '.join(unreadable)}")
    missing = sorted({place.model for place in places if place.state != "whole"})
    if missing:
        raise IntegrityError(f"Files are missing of {', '.join(missing)}. Mend that: zoo pull {' '.join(missing)}")


def _place_row(place: zoo.Place) -> dict[str, Any]:
    folder = None if place.folder is None else str(place.folder)
    return {**dataclasses.asdict(place), "path": str(place.path), "folder": folder, "digest": f"sha256:{place.digest}"}


def _show_overview(places: Sequence[zoo.Place]) -> None:
    show_table(
        ["model", "file", "size", "checked", "state"],
        [[place.model, place.name, size(place.bytes), place.vouched, place.state] for place in places],
        right={"size"},
    )
    files = {place.digest: place.bytes for place in places}
    click.echo(f"{counted(len(files), 'file')}, {size(sum(files.values()))}")


def _show_places(places: Sequence[zoo.Place]) -> None:
    """Prints the places one below the other: paths are for copying, so they are never cut."""
    for place in places:
        show_pairs([
            (place.model, place.name),
            ("size", size(place.bytes)),
            ("sha256", place.digest),
            ("checked", place.vouched),
            ("path", str(place.path) + ("" if place.state == "whole" else f"  ({place.state})")),
            *([("extracted", str(place.folder))] if place.folder else []),
        ])  # fmt: skip


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--deep", is_flag=True, help="Also load the models, and compare what they put out with what is recorded.")
@as_json
def verify(names: Sequence[str], deep: bool, as_json: bool) -> None:
    """Read every byte of the store again, or of the models called NAME, and say what is not as it was.

    Damaged files are moved aside; the next pull of their model fetches them again. With --deep, models whose files are
    whole are loaded too, and run on the input that their recorded output belongs to. Ends with 4 where there is any
    damage or difference. A model that needs a class of yours is only named: the command line does not know the class.
    """
    with Bar("verifying") as bar:
        findings = zoo.verify(names, progress=bar)
    outputs = _verified_outputs(names, findings) if deep else []
    rows = [{**dataclasses.asdict(each), "path": str(each.path)} for each in findings]
    if as_json:
        show_json({"files": rows, "models": [_output_row(each) for each in outputs]} if deep else rows)
    elif not findings and not deep:
        say("There is nothing to verify: nothing has been pulled yet.")
    else:
        _show_findings(findings)
        _show_outputs(outputs)
    _refuse_damage(findings)
    if bad := [each for each in outputs if each.exit_code]:
        told = "".join(f"\n{each.model}: {each.state}: {each.message}" for each in bad)
        kinds = {each.exit_code for each in bad}
        error = UnsafeFileError if UnsafeFileError.exit_code in kinds else IntegrityError
        raise error(f"Not as it was recorded: {len(bad)} of {len(outputs)} models.{told}")


def _refuse_damage(findings: Sequence[zoo.Finding]) -> None:
    bad = [each for each in findings if each.state != "whole"]
    if bad:
        models = sorted({each.model for each in bad if each.model})
        mend = f" Mend that: zoo pull {' '.join(models)}" if models else ""
        raise IntegrityError(f"Not as it was: {len(bad)} of {len(findings)} files.{mend}")


def _verified_outputs(names: Sequence[str], findings: Sequence[zoo.Finding]) -> list[zoo.OutputFinding]:
    """Returns what the models do whose files were found to be whole."""
    damaged = {each.model for each in findings if each.state != "whole"}
    with quiet_tensorflow(), Bar() as bar:
        return zoo.verify_outputs(names, but=damaged, progress=bar)


def _output_row(found: zoo.OutputFinding) -> dict[str, Any]:
    row = dataclasses.asdict(found)
    if found.difference is not None and not math.isfinite(found.difference):
        row["difference"] = None  # JSON knows no infinity
    return row


def _show_outputs(findings: Sequence[zoo.OutputFinding]) -> None:
    if not findings:
        return
    show_table(
        ["model", "output", "difference", "allowed"],
        [[each.model, _STATES[each.state], *map(_share, (each.difference, each.tolerance))] for each in findings],
        right={"difference", "allowed"},
    )
    compared = sum(each.state == "as recorded" for each in findings)
    click.echo(f"{counted(len(findings), 'model')}; {number(compared)} as recorded")
    for each in findings:
        if each.state == "class missing":
            say(f"{each.model} was not compared: {each.message}")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


_STATES = {
    "as recorded": "as recorded",
    "differs": "differs",
    "not recorded": "loads; no output was recorded",
    "not loadable": "this version cannot load it",
    "class missing": "cannot be loaded here: it needs a class that zoo does not know",
    "not here": "not all of it is here",
    "broken": "broken: cannot be loaded",
}


def _show_findings(findings: Sequence[zoo.Finding]) -> None:
    if not findings:
        return
    show_table(
        ["model", "file", "size", "state"],
        [[each.model or "(none)", each.name, size(each.bytes), each.state] for each in findings],
        right={"size"},
    )
    if all(each.state == "whole" for each in findings):
        click.echo(f"{counted(len(findings), 'file')}, all whole")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@lock_timeout
@dry_run
@as_json
def rm(names: Sequence[str], lock_timeout: float | None, dry_run: bool, as_json: bool) -> None:
    """Remove models from this machine; files that other models share stay, and so does what a running process reads.

    A model that you added is forgotten altogether: zoo has no other copy of it.
    """
    _show_removals(zoo.remove(names, dry_run=dry_run, lock_timeout=lock_timeout), dry_run, as_json)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also broken downloads that the next pull would take up again.")
@dry_run
@as_json
def gc(everything: bool, dry_run: bool, as_json: bool) -> None:
    """Remove what belongs to no model: spare and damaged files, downloads that were given up a day ago."""
    _show_removals(zoo.collect_garbage(everything=everything, dry_run=dry_run), dry_run, as_json)


def _show_removals(removals: Sequence[zoo.Removal], dry_run: bool, as_json: bool) -> None:
    if as_json:
        show_json([{**dataclasses.asdict(each), "path": str(each.path)} for each in removals])
        return
    if not removals:
        click.echo("There is nothing to remove.")
        return
    show_table(
        ["what", "size", "path"],
        [[each.what, size(each.bytes), str(each.path)] for each in removals],
        right={"size"},
        wide={"path"},
    )
    click.echo(f"{size(sum(each.bytes for each in removals))} {'would be freed' if dry_run else 'freed'}.")
