"""The last step of a pretraining: what was learned becomes figures, a report and a model in a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.data import Examples, Split
from zoo.data.bad_files import BadFile
from zoo.data.examples import are_texts
from zoo.data.reading import Reader
from zoo.errors import IntegrityError
from zoo.files import write_bytes
from zoo.pretraining.methods import Method
from zoo.pretraining.pairs import identities
from zoo.pretraining.steps import Learned
from zoo.registry import InputSpec
from zoo.runs.facts import (
    as_npz,
    counts,
    library_versions,
    made_now,
    split_digests,
    split_ids,
    training_record,
)
from zoo.runs.pretraining_page import render_pretraining
from zoo.runs.record import SCHEMA, file_digests, write_csv, write_json
from zoo.runs.saving import save_alike
from zoo.surgery import split_units

_COMPARED = 4  # examples


@dataclass(frozen=True)
class Pretraining:
    """What a pretraining was asked to do, and works on; nothing is computed yet.

    Attributes:
        name: What the entry will be called.
        method: How it is made.
        settings: Of the method.
        examples: Of all parts.
        split: Which of them are learned from, and which are left aside.
        spec: What pictures become; None: the examples stay as they are.
        out: Where its folder is to be.
        warnings: What is to be said of the examples.
        bad: Files that were passed over.
    """

    name: str
    method: Method
    settings: Any
    examples: Examples
    split: Split
    spec: InputSpec | None
    out: Path
    warnings: tuple[str, ...] = ()
    bad: Sequence[BadFile] = ()

    @property
    def seed(self) -> int:
        """Of the split, the weights and the order of the examples."""
        settings = getattr(self.settings, "fit", self.settings)
        return int(settings.seed)

    @property
    def title(self) -> str:
        """What is made, for people."""
        is_one_machine = self.method.name == "rbm" and len(self.settings.units) == 1
        return "a restricted Boltzmann machine" if is_one_machine else self.method.title

    def digests(self) -> dict[str, str]:
        """Returns digests of the examples of each part, and of which are the same where that is looked at."""
        found = split_digests(self.examples, self.split)
        if self.method.needs_identities:
            same = identities(self.examples, self.settings.identity)
            rows = sorted(row.tobytes() + number.tobytes() for row, number in zip(self.examples.ids, same, strict=True))
            found["identities"] = f"sha256:{hashlib.sha256(b''.join(rows)).hexdigest()}"
        return found


def write_pretraining(folder: Path, pretraining: Pretraining, learned: Learned, timings: Mapping[str, float]) -> None:
    """Writes all files of a pretraining into `folder`; the report last.

    Raises:
        IntegrityError: The model, loaded back, says something else than what was trained.
    """
    save_alike(learned.model, folder / "model.keras")
    parity = _parity(pretraining, learned.model, folder / "model.keras")
    write_csv(folder / "history.csv", *learned.history.table())
    lines = (json.dumps(dataclasses.asdict(each)) + "\n" for each in pretraining.bad)
    write_bytes(folder / "bad_files.jsonl", "".join(lines).encode())
    write_bytes(folder / "split.npz", as_npz(split_ids(pretraining.examples, pretraining.split)))
    record = _record(pretraining, learned, parity, timings)
    record["files"] = file_digests(folder, sorted(path.name for path in folder.iterdir() if path.is_file()))
    write_json(folder / "run.json", record)
    page = render_pretraining(record, learned.history, learned.pictures)
    write_bytes(folder / "report.html", page.encode())


def _parity(pretraining: Pretraining, model: keras.Model, path: Path) -> tuple[float, int]:
    """Returns the largest difference between the saved model and the trained one, and on how many examples."""
    rows = pretraining.split.train[:_COMPARED]
    x = Reader(pretraining.examples, pretraining.spec, str(model.inputs[0].dtype))[rows]
    tensor = keras.ops.convert_to_tensor(x.tolist() if x.dtype == object else x, model.inputs[0].dtype)
    loaded = keras.models.load_model(path, compile=False, safe_mode=True)
    difference = float(np.abs(np.asarray(loaded(tensor)) - np.asarray(model(tensor))).max())
    if not difference <= 1e-5:  # the same graph with the same weights
        raise IntegrityError(
            f"The saved model puts out something else than what was trained: it differs by {difference:.2g}, so it is "
            "not kept. That is a fault of zoo: please report it."
        )
    return difference, len(rows)


def _record(
    pretraining: Pretraining, learned: Learned, parity: tuple[float, int], timings: Mapping[str, float]
) -> dict[str, Any]:
    """Returns what `run.json` says, but for the digests of the files beside it."""
    settings = getattr(pretraining.settings, "fit", pretraining.settings)
    units = split_units(learned.model)
    return {
        "schema": SCHEMA,
        "kind": "pretraining",
        "created": made_now(),
        "model": pretraining.name,
        "method": pretraining.method.name,
        "title": pretraining.title,
        "data": pretraining.examples.name,
        "settings": dataclasses.asdict(pretraining.settings),
        "input": {
            "shape": list(pretraining.examples.shape),
            "decoded": "text" if are_texts(pretraining.examples) else _channels(pretraining.spec),
            "preprocessing": dataclasses.asdict(pretraining.spec.applied()) if pretraining.spec else None,
        },
        "units": [
            {"index": each.index, "name": each.name, "params": each.params, "output_shape": list(each.output_shape)}
            for each in units
        ],
        "examples": counts(pretraining.split),
        "labels_used": pretraining.method.needs_identities,
        "bad_files": len(pretraining.bad),
        "warnings": [*pretraining.warnings, *learned.warnings],
        "split": {"seed": pretraining.seed, "digests": pretraining.digests()},
        "features": {
            "hits": sum(each.hits for each in learned.features),
            "misses": sum(each.misses for each in learned.features),
            "seconds": sum(each.seconds for each in learned.features),
            "layers": len(learned.features),
        },
        "training": training_record(settings, learned.history),
        "figures": dict(learned.figures),
        "parity": {"largest_difference": parity[0], "examples": parity[1]},
        "timings": dict(timings),
        "versions": library_versions(),
    }


def _channels(spec: InputSpec | None) -> str | None:
    return None if spec is None else "gray" if spec.size[2] == 1 else "RGB"
