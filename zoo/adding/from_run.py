"""A run as a model to be added: its net without preprocessing, and all that the run tells about it.

The net is written as a file of its own, the same bytes each time, and then goes the way of every other file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.adding.told import OfRun
from zoo.data.npz import NpzFile
from zoo.data.seen import FACTS, TRAINED_ON, packed_ids
from zoo.errors import UsageError
from zoo.files import disk_errors, temporary_name
from zoo.registry import InputSpec
from zoo.registry.presets import chosen_input
from zoo.runs import Run, open_run
from zoo.runs.parts import net_of, recorded_spec
from zoo.store.guards.formats import Offered, recognise
from zoo.store.layout import layout, prepare, refuse_without_room
from zoo.store.unpacking import shown

_HINT = "free some space (zoo gc --all), or set ZOO_HOME to a larger disk"
_METADATA = "metadata.json"
_NO_DATE = "1980-01-01@00:00:00"  # instead of when the file was written, which tells nothing of the model


def run_among(paths: Sequence[Path]) -> Run | None:
    """Returns the run that is to be added: its folder, or its name in `runs/`; None where files of a model are."""
    if len(paths) != 1:
        return None
    beside = Path("runs") / paths[0]
    places = (paths[0], beside) if paths[0].suffix == "" else (paths[0],)
    return open_run(paths[0]) if any((each / "run.json").is_file() for each in places) else None


def refuse_told_twice(run: Run, given: Mapping[str, Any]) -> None:
    """Refuses what a user says of a run's model that the run knows itself.

    Args:
        run: The run.
        given: Arguments by name; those that are None or false were not given.
    """
    said = [name for name, value in given.items() if value is not None and value is not False]
    if said:
        raise UsageError(
            f"{run.path} is a run, which tells itself how its model takes pictures and what comes out. Leave "
            f"{', '.join(said)} away."
        )


@contextlib.contextmanager
def of_run(run: Run) -> Iterator[tuple[Offered, OfRun]]:
    """Gives the files of a run's net, and what the run tells of it, for as long as the context lasts.

    Raises:
        IntegrityError: The run is damaged.
        DiskError: There is no room for it.
    """
    spec = recorded_spec(run.record)
    net = net_of(run.load(), spec)
    paths = layout()
    with disk_errors(paths.home, _HINT):
        prepare(paths)
        refuse_without_room(2 * (run.path / "model.keras").stat().st_size, run.path.name, paths.home)
        folder = temporary_name(paths.tmp / "run")
        folder.mkdir(mode=0o700)
    try:
        file = folder / f"{run.path.resolve().name}.keras"
        with disk_errors(file, _HINT):
            net.save(folder / "saved.keras")
            _write_without_dates(folder / "saved.keras", file)
            facts = {"classes": list(run.classes), TRAINED_ON: _trained_on(run)}
            (folder / FACTS).write_text(json.dumps(facts, ensure_ascii=False) + "\n", "utf-8")
        offered = recognise([file])
        offered = dataclasses.replace(offered, files=(*offered.files, ("definition", folder / FACTS)))
        yield offered, _told_by(run, spec, tuple(net.input_shape[1:]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _told_by(run: Run, spec: InputSpec | None, shape: tuple[int | None, ...]) -> OfRun:
    record = run.record
    count = record["metrics"]["test"]["count"]
    if spec is None and record["input"]["decoded"] in ("gray", "RGB"):
        spec = chosen_input((shape[0], shape[1], shape[2] or 0), "none")  # as they were: 0..255
    return OfRun(
        summary=f"{record['model']} for {record['data']}: {run.score_name} {run.score:.4g} on {count} test examples",
        origin=f"the run {shown(str(run.path.resolve()))} of {record['created']}",
        labels=str(record["data"]),
        input=spec,
    )


def _trained_on(run: Run) -> str | None:
    """Returns the beginnings of the identities of what the run was trained on; None where it does not tell."""
    path = run.kept("split.npz")
    return None if path is None else packed_ids(NpzFile(path).array("train"))


def _write_without_dates(source: Path, target: Path) -> None:
    """Writes an archive of Keras anew without the times at which it was made: the same net is the same bytes."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "x") as new:
        for member in old.infolist():
            with old.open(member) as file, new.open(zipfile.ZipInfo(member.filename), "w", force_zip64=True) as sink:
                if member.filename == _METADATA:
                    sink.write(json.dumps({**json.load(file), "date_saved": _NO_DATE}).encode())
                else:
                    shutil.copyfileobj(file, sink, 1 << 20)
