"""Conversions of what TensorFlow has saved: kept beside what they were made of in the store, or made for once.

What was found not to be convertible is remembered in the same place, so that it is not tried again at each load.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras

from zoo.errors import DiskError, IntegrityError, NotConvertible
from zoo.files import sha256_of
from zoo.loading.from_onnx import about, converted_onnx
from zoo.loading.whole import load_archive
from zoo.store.converted import Conversion
from zoo.store.documents import read_json

if TYPE_CHECKING:
    from zoo.converters import ConversionReport

_ONNX, _KERAS, _REPORT, _REFUSAL = "model.onnx", "model.keras", "report.json", "refusal.json"
_log = logging.getLogger("zoo")
Converted = tuple[keras.Model, "ConversionReport"]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is converted, and of which part of it a model is wanted: as `tensorflow_to_onnx` has it."""

    path: Path
    kind: Literal["saved model", "checkpoint", "graph"]
    name: str
    bytes: int
    options: dict[str, Any]
    limit: float

    @property
    def settings(self) -> str:
        """Returns what decides about the result besides the files."""
        return json.dumps(
            {key: value for key, value in self.options.items() if value is not None}, sort_keys=True, default=repr
        )


def converted(wanted: Wanted, keep: str | None, graph: Path) -> Converted:
    """Returns the model of something that a guard has judged, and how well it was converted.

    Args:
        wanted: What is converted.
        keep: The sha256 (hex) of its file in the store, to keep what it becomes beside that; None: it is not kept.
        graph: The file of it that has the graph.

    Raises:
        ZooError: As `zoo.converters.tensorflow_to_onnx`; `NotConvertible` where no model of layers can be made.
    """
    if keep is None:
        return _made_once(wanted)
    conversion = _conversion(wanted, keep, sha256_of(graph), (_KERAS, _REPORT))
    if (found := _found(conversion, wanted)) is not None:
        return found
    made = None
    try:
        with conversion.alone():
            if (found := _found(conversion, wanted)) is not None:  # another process has made it meanwhile
                return found
            with _remembering(conversion, wanted), conversion.making(room=2 * wanted.bytes) as folder:
                made = _made_once(wanted, folder)
                made[0].save(folder / _KERAS)
                (folder / _REPORT).write_text(json.dumps(dataclasses.asdict(made[1])))
    except DiskError as error:
        _log.warning("What %s is converted to is not kept, and made anew each time: %s", wanted.name, error)
    return made or _made_once(wanted)


def _conversion(wanted: Wanted, weights: str, graph: str, names: tuple[str, ...]) -> Conversion:
    from zoo.converters.importing.layers import VERSION as LAYERS_VERSION
    from zoo.converters.tensorflow.importer import VERSION

    return Conversion(weights, graph, wanted.settings, f"tensorflow {VERSION}, layers {LAYERS_VERSION}", names)


@contextlib.contextmanager
def _remembering(conversion: Conversion, wanted: Wanted) -> Iterator[None]:
    """Remembers that no model of layers can be made, where that turns out, for as long as the converter is the same."""
    try:
        yield
    except NotConvertible as error:
        refusal = dataclasses.replace(conversion, names=(_REFUSAL,))
        with contextlib.suppress(DiskError), refusal.making(room=1 << 16) as folder:
            (folder / _REFUSAL).write_text(json.dumps({"limit": wanted.limit, "why": str(error)}))
        raise


def _refuse_again(conversion: Conversion, wanted: Wanted) -> None:
    """Refuses what was refused before, unless more may differ now.

    Raises:
        NotConvertible: It was.
    """
    refusal = conversion.find(_REFUSAL)
    told = read_json(refusal) if refusal is not None else None
    if isinstance(told, dict) and isinstance(limit := told.get("limit"), int | float) and wanted.limit <= limit:
        raise NotConvertible(str(told.get("why")))


def _found(conversion: Conversion, wanted: Wanted) -> Converted | None:
    """Returns what was made before, if it is near enough to the original.

    Raises:
        NotConvertible: It was found that nothing can be made.
    """
    from zoo.converters import ConversionReport

    _refuse_again(conversion, wanted)
    model, report = conversion.find(_KERAS), conversion.find(_REPORT)
    told = read_json(report) if report is not None else None
    if model is None or not isinstance(told, dict):
        return None
    told["layouts"] = {key: tuple(order) for key, order in told["layouts"].items()}
    found = ConversionReport(**{**told, "notes": tuple(told["notes"])})
    is_enough = found.error <= max(wanted.limit, found.rounding)
    return (load_archive(model, wanted.name), found) if is_enough else None


def _made_once(wanted: Wanted, room: Path | None = None) -> tuple[keras.Model, ConversionReport]:
    """Returns the model; of what it was in between nothing is left.

    Args:
        wanted: What is converted.
        room: The folder where that is written; None: that of temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="zoo-", dir=room) as folder:
        return _made(wanted, Path(folder))


def _made(wanted: Wanted, folder: Path) -> tuple[keras.Model, ConversionReport]:
    """Returns the model, and writes what it was in between to a folder."""
    from zoo.converters.tensorflow.importer import tensorflow_to_onnx_file  # here: it takes long to import

    with about(wanted.name):
        written = tensorflow_to_onnx_file(
            wanted.path, folder / _ONNX, kind=wanted.kind, limit=wanted.limit, **wanted.options
        )
        with _not_convertible():
            model, report = converted_onnx(folder / _ONNX, limit=wanted.limit)
    steps = {"TensorFlow to ONNX": written.error, "ONNX to Keras": report.error}
    return model, dataclasses.replace(
        report, notes=(*written.notes, *report.notes), source="TensorFlow", error=max(steps.values()), steps=steps,
        rounding=written.rounding,
    )  # fmt: skip


@contextlib.contextmanager
def _not_convertible() -> Iterator[None]:
    """Says of a model that was read without fault that layers cannot compute it."""
    try:
        yield
    except IntegrityError as error:
        raise NotConvertible(str(error)) from error
