"""A run as a model to be added: its net without preprocessing, and all that the run tells about it.

The net is written as a file of its own, the same bytes each time, and then goes the way of every other file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.adding.told import OfRun
from zoo.data.npz import NpzFile
from zoo.data.seen import FACTS, TRAINED_ON, packed_ids
from zoo.errors import UsageError
from zoo.files import disk_errors, temporary_name
from zoo.registry import InputSpec
from zoo.registry.presets import chosen_input
from zoo.runs import Pretrained, Run
from zoo.runs.folder import RunFolder, run_folder
from zoo.runs.parts import net_of, recorded_spec
from zoo.runs.record import kind_of, read_record
from zoo.runs.saving import save_alike
from zoo.store.guards.formats import Offered, recognise
from zoo.store.layout import layout, prepare, refuse_without_room
from zoo.store.unpacking import shown

_HINT = "free some space (zoo gc --all), or set ZOO_HOME to a larger disk"


def run_among(paths: Sequence[Path]) -> Run | Pretrained | None:
    """Returns the run that is to be added: its folder, or its name in `runs/`; None where files of a model are."""
    if len(paths) != 1:
        return None
    beside = Path("runs") / paths[0]
    places = (paths[0], beside) if paths[0].suffix == "" else (paths[0],)
    if not any((each / "run.json").is_file() for each in places):
        return None
    path = run_folder(paths[0])
    return Pretrained(path) if kind_of(read_record(path, None)) == "pretraining" else Run(path)


def refuse_told_twice(run: RunFolder, given: Mapping[str, Any]) -> None:
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
def of_run(run: Run | Pretrained) -> Iterator[tuple[Offered, OfRun]]:
    """Gives the files of a run's net, and what the run tells of it, for as long as the context lasts.

    Raises:
        IntegrityError: The run is damaged.
        DiskError: There is no room for it.
    """
    spec = recorded_spec(run.record)
    net = net_of(run.load(), spec) if isinstance(run, Run) else run.load()
    paths = layout()
    with disk_errors(paths.home, _HINT):
        prepare(paths)
        refuse_without_room(2 * (run.path / "model.keras").stat().st_size, run.path.name, paths.home)
        folder = temporary_name(paths.tmp / "run")
        folder.mkdir(mode=0o700)
    try:
        called = run.path.resolve().name if isinstance(run, Run) else run.name.rpartition("/")[2]
        file = folder / f"{called}.keras"
        with disk_errors(file, _HINT):
            save_alike(net, file)
            facts: dict[str, Any] = {"classes": list(run.classes)} if isinstance(run, Run) else {}
            facts |= {TRAINED_ON: _trained_on(run)}
            (folder / FACTS).write_text(json.dumps(facts, ensure_ascii=False) + "\n", "utf-8")
        offered = recognise([file])
        offered = dataclasses.replace(offered, files=(*offered.files, ("definition", folder / FACTS)))
        yield offered, _told_by(run, spec, tuple(net.input_shape[1:]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _told_by(run: Run | Pretrained, spec: InputSpec | None, shape: tuple[int | None, ...]) -> OfRun:
    record = run.record
    if isinstance(run, Pretrained):
        count, labels = record["examples"]["train"], "" if record["labels_used"] else " without labels"
        summary = f"{record['title']} of {record['data']}: learned from {count:,} examples{labels}"
        return OfRun(summary[:1].upper() + summary[1:], f"a pretraining of {record['created']}", None, spec)
    count = record["metrics"]["test"]["count"]
    if spec is None and record["input"]["decoded"] in ("gray", "RGB"):
        spec = chosen_input((shape[0], shape[1], shape[2] or 0), "none")  # as they were: 0..255
    return OfRun(
        summary=f"{record['model']} for {record['data']}: {run.score_name} {run.score:.4g} on {count} test examples",
        origin=f"the run {shown(str(run.path.resolve()))} of {record['created']}",
        labels=str(record["data"]),
        input=spec,
    )


def _trained_on(run: RunFolder) -> str | None:
    """Returns the beginnings of the identities of what the run was trained on; None where it does not tell."""
    path = run.kept("split.npz")
    if path is None:
        return None
    parts = ("train", "validation") if isinstance(run, Pretrained) else ("train",)  # of which neither was to be seen
    return packed_ids(np.concatenate([NpzFile(path).array(part) for part in parts]))
