"""The commands that look after the feature cache, each thin over one function of `zoo.features.housekeeping`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click
from zoo.cli.options import as_json, dry_run
from zoo.cli.output import Bar, counted, number, say, show_json, show_pairs, show_table, size

from zoo.errors import IntegrityError, UsageError
from zoo.files import zoo_home

if TYPE_CHECKING:
    from zoo.features.housekeeping import FeatureEntry, Pruning


class _Scaled(click.ParamType[float]):
    """A number with a unit behind it."""

    units: ClassVar[dict[str, float]]
    example: str
    least: ClassVar[float] = 0.0  # without a unit: less was meant in another

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the number, in the smallest unit."""
        text = str(value).strip().lower()
        unit = max((unit for unit in self.units if text.endswith(unit)), key=len)
        try:
            amount = float(text.removesuffix(unit)) * self.units[unit]
        except ValueError:
            amount = -1.0
        if not 0 <= amount < float("inf") or (not unit and 0 < amount < self.least):
            self.fail(f"expected {self.example}; got {value!r}", param, ctx)
        return amount


class Size(_Scaled):
    """A number of bytes, as in 500MB, 10GB or 1.5e9."""

    name = "size"
    units: ClassVar = {"": 1, "b": 1,
             **{f"{letter}{end}": 1000.0**power for power, letter in enumerate("kmgt", 1) for end in ("", "b")},
             **{f"{letter}ib": 1024.0**power for power, letter in enumerate("kmgt", 1)}}  # fmt: skip
    example = "a size such as 500MB, 10GB or 1.5e9"
    least = 1e6


class Age(_Scaled):
    """A time, as in 30d, 12h or 90m; seconds without a unit."""

    name = "age"
    units: ClassVar = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
    example = "a time such as 30d, 12h or 90m"


def _root() -> Path:
    return zoo_home() / "features"


@click.group()
def cache() -> None:
    """Look after the feature cache: what frozen units put out, kept on disk."""


@cache.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List what is kept, what was used last first."""
    from zoo.features.housekeeping import list_features, list_trunks

    entries, trunks = list_features(_root()), list_trunks(_root())
    if as_json:
        show_json([_row(entry) for entry in entries])
        return
    if not entries:
        say("The feature cache is empty.")
    else:
        show_table(
            ["key", "model", "unit/tap", "view", "rows", "size", "dtype", "hits", "last use", "in use"],
            [_cells(entry) for entry in entries],
            right={"rows", "size", "hits"},
        )
        click.echo(f"{counted(len(entries), 'key')}, {size(sum(entry.bytes for entry in entries))} in {_root()}")
    if trunks:
        room = size(sum(trunk.bytes for trunk in trunks))
        click.echo(f"{counted(len(trunks), 'converted trunk')}, {room} in {trunks[0].paths[0].parent}")


def _cells(entry: FeatureEntry) -> list[str]:
    spec, rate = entry.spec, entry.usage.hit_rate
    return [
        entry.key[:12], str(spec.get("model", "?")), f"{spec.get('unit', '?')}/{spec.get('tap', '?')}",
        _view(spec), number(entry.rows), size(entry.bytes), str(spec.get("dtype", "?")),
        "" if rate is None else f"{rate:.0%}",
        _date(entry.last_use), f"pid {entry.users[0].pid}" if entry.users else "",
    ]  # fmt: skip


def _view(spec: Mapping[str, Any]) -> str:
    """Returns which augmented version of the examples it is; nothing for the examples themselves."""
    view = spec.get("view")
    return str(view.get("number", "?")) if isinstance(view, dict) else ""


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _row(entry: FeatureEntry) -> dict[str, Any]:
    return {**dataclasses.asdict(entry), "path": str(entry.path), "hit_rate": entry.usage.hit_rate}


@cache.command()
@click.argument("key")
@as_json
def show(key: str, as_json: bool) -> None:
    """Show all that is known of KEY, of which a unique beginning is enough."""
    from zoo.features.housekeeping import find_features

    (entry,) = find_features(_root(), [key])
    if as_json:
        show_json(_row(entry))
        return
    rate = entry.usage.hit_rate
    show_pairs([
        ("key", entry.key), *((name, str(value)) for name, value in entry.spec.items()),
        ("shards", number(entry.shards)), ("rows", number(entry.rows)), ("size", size(entry.bytes)),
        ("of no use", size(entry.leftover)), ("uses", number(entry.usage.uses)),
        ("hit rate", "?" if rate is None else f"{rate:.1%}"), ("last use", _date(entry.last_use)),
        ("in use by", ", ".join(map(str, entry.users)) or "nobody"),
        *((f"written by {library}", ", ".join(found)) for library, found in entry.versions.items()),
        ("path", str(entry.path)),
    ])  # fmt: skip


@cache.command()
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@as_json
def verify(keys: Sequence[str], as_json: bool) -> None:
    """Read every byte again, of all keys or of KEY, and move damaged files aside. Ends with 4 where there is any.

    Without KEY, converted trunks are read, too.
    """
    from zoo.features.housekeeping import verify_features

    with Bar("verifying") as bar:
        findings = verify_features(_root(), keys, progress=bar)
    bad = [each for each in findings if each.state != "whole"]
    if as_json:
        show_json([{**dataclasses.asdict(each), "path": str(each.path),
                    "moved_to": str(each.moved_to) if each.moved_to else None} for each in findings])  # fmt: skip
    else:
        for each in bad:
            where = f"moved to {each.moved_to}" if each.moved_to else f"and cannot be moved aside: {each.path}"
            click.echo(f"{each.key[:12]}  {size(each.bytes)}  damaged, {where}")
        click.echo(f"{counted(len(findings), 'file')}, {number(len(findings) - len(bad))} whole")
    if bad:
        raise IntegrityError(
            f"Damaged: {len(bad)} of {len(findings)} files, as told above. What was in them is computed again when "
            "it is next asked for; zoo cache prune removes what was moved aside."
        )


@cache.command()
@click.option("--max-bytes", type=Size(), help="Remove what was not used for longest until no more than this is left.")
@click.option("--older-than", type=Age(), help="Remove what was not used for so long, as in 30d.")
@dry_run
@as_json
def prune(max_bytes: float | None, older_than: float | None, dry_run: bool, as_json: bool) -> None:
    """Remove what is of no use, and what was not used for longest; never what a running process uses.

    Converted trunks count, and go, like features.
    """
    from zoo.features.housekeeping import prune_features

    _show(prune_features(_root(), max_bytes, older_than=older_than, dry_run=dry_run), dry_run, as_json)


@cache.command()
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--all", "everything", is_flag=True, help="Remove all of them, but for those in use.")
@dry_run
@as_json
def rm(keys: Sequence[str], everything: bool, dry_run: bool, as_json: bool) -> None:
    """Remove features; they are computed again when they are next asked for. Converted trunks stay: zoo cache prune."""
    from zoo.features.housekeeping import remove_features

    if everything == bool(keys):
        raise UsageError("Expected keys, or --all: zoo cache rm KEY... See them: zoo cache list")
    _show(remove_features(_root(), keys, everything=everything, dry_run=dry_run), dry_run, as_json)


def _show(pruning: Pruning, dry_run: bool, as_json: bool) -> None:
    from zoo.features.housekeeping import in_use_message

    for entry in pruning.in_use:
        say(f"{in_use_message(entry)} They stay.")
    if as_json:
        show_json({"removed": [{**dataclasses.asdict(each), "path": str(each.path)} for each in pruning.removed],
                   "in_use": [_row(entry) for entry in pruning.in_use], "bytes_left": pruning.left})  # fmt: skip
        return
    if not pruning.removed:
        click.echo("There is nothing to remove.")
        return
    show_table(
        ["key", "what", "size"], [[each.key[:12], each.what, size(each.bytes)] for each in pruning.removed], {"size"}
    )
    freed = size(sum(each.bytes for each in pruning.removed))
    click.echo(f"{freed} {'would be freed' if dry_run else 'freed'}; {size(pruning.left)} left.")


@cache.command()
@click.argument("other", type=click.Path(path_type=Path))
@dry_run
@as_json
def merge(other: Path, dry_run: bool, as_json: bool) -> None:
    """Take over the features in OTHER: a features folder, or the ZOO_HOME of another machine."""
    from zoo.features.merging import merge_features

    merged = merge_features(_root(), other, dry_run=dry_run)
    refused = [each for each in merged if each.state == "refused"]
    if as_json:
        show_json([{**dataclasses.asdict(each), "path": str(each.path)} for each in merged])
    else:
        for each in refused:
            say(f"Refused {each.path}: {each.reason}")
        taken = [each for each in merged if each.state == "taken"]
        click.echo(f"{counted(len(taken), 'shard')} ({size(sum(each.bytes for each in taken))}) "
                   f"{'would be taken' if dry_run else 'taken'}, "
                   f"{number(len(merged) - len(taken) - len(refused))} there already")  # fmt: skip
    if refused:
        raise IntegrityError(f"Refused: {len(refused)} of {len(merged)} files of {other}, as told above.")
