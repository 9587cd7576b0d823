"""What TensorFlow has saved, and weights from anywhere, made a `.keras` file before it is added: that is kept."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from zoo.adding import noting
from zoo.adding.options import has_graph, is_by_graph
from zoo.adding.told import Told
from zoo.converters.report import ConversionReport
from zoo.converters.restoring.report import RestoreReport, few
from zoo.errors import IntegrityError, NotConvertible, UsageError
from zoo.files import disk_errors, temporary_name
from zoo.loading.from_checkpoint import load_checkpoint
from zoo.loading.from_tensorflow import load_frozen_graph, load_meta_checkpoint, load_saved_model
from zoo.loading.saved_model_layer import opaque_model
from zoo.runs.saving import save_alike
from zoo.store.guards.formats import Offered
from zoo.store.layout import layout, prepare

_HINT = "free some space (zoo gc --all), or set ZOO_HOME to a larger disk"


@dataclass(frozen=True)
class Made:
    """What is offered, as a file that is loaded like any other.

    Attributes:
        offered: That file, or what was offered, where it is kept as it is.
        notes: What there is to say of it.
        lacks: Its layers whose weights were not in what was offered, or not wanted of it.
    """

    offered: Offered
    notes: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Model:
    model: keras.Model
    notes: Sequence[str]
    lacks: tuple[str, ...] = ()


@contextlib.contextmanager
def as_keras(offered: Offered, told: Told) -> Iterator[Made]:
    """Gives what is offered as a file that is loaded like any other, and what there is to say of that.

    Raises:
        UsageError: What is asked for is not in it, or nothing tells which net it is of though something was said.
        IntegrityError: A file is damaged, or does not fit the net.
        UnsafeFileError: A file could do harm.
        DiskError: There is no room for it.
    """
    make = _maker(offered, told)
    if make is None:
        yield Made(offered)
        return
    paths = layout()
    with disk_errors(paths.home, _HINT):
        prepare(paths)
        folder = temporary_name(paths.tmp / "converted")
        folder.mkdir(mode=0o700)
    try:
        try:
            made = make()
        except UsageError as error:
            if told.tells_net or offered.format != "checkpoint" or has_graph(offered):
                raise
            yield Made(offered, (str(error),))  # kept as it is: nothing tells what its values are of
            return
        path = folder / f"{told.name}.keras"
        with disk_errors(path, _HINT):
            save_alike(made.model, path)
        notes, lacks = tuple(made.notes), made.lacks
        del made
        yield Made(Offered("keras", (("model", path),)), notes, lacks)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _maker(offered: Offered, told: Told) -> Callable[[], _Model] | None:
    """Returns what makes a model of what is offered; None where it is kept as it is."""
    path = offered.files[0][1]
    match offered.format:
        case "savedmodel":
            return lambda: _saved_model(path, told)
        case "graph":
            return lambda: _with_parity(*load_frozen_graph(path, path.name, **_ends(told)))
        case "checkpoint":
            prefix = path.with_name(offered.prefix or path.name)
            if is_by_graph(told, offered):
                return lambda: _with_parity(*load_meta_checkpoint(prefix, prefix.name, **_ends(told)))
            return lambda: _weights(prefix, told, f"{prefix.name}.meta" if has_graph(offered) else "")
        case "npz" | "safetensors" if told.tells_net:
            return lambda: _weights(path, told)
        case "h5" if told.activation or told.chooses_variables or told.names_definition:
            return lambda: _weights(path, told)
        case _:
            return None


def _ends(told: Told) -> dict[str, Any]:
    ends: dict[str, Any] = {"inputs": told.tensors or None, "outputs": told.outputs or None, "shapes": told.shapes}
    return ends if told.limit is None else {**ends, "limit": told.limit}


def _with_parity(model: keras.Model, report: ConversionReport) -> _Model:
    return _Model(model, [f"Converted: {report}.", *report.notes])


def _saved_model(folder: Path, told: Told) -> _Model:
    called = told.handle or folder.name
    try:
        return _with_parity(*load_saved_model(folder, called, signature=told.signature, **_ends(told)))
    except NotConvertible as error:
        _refuse_of_layers(told, called, error)
        output = told.outputs[0] if told.outputs else None
        model = opaque_model(folder, told.signature, output=output, name=told.name)
        return _Model(model, [f"It is one frozen unit, for layers cannot compute it: {error}"])


def _refuse_of_layers(told: Told, called: str, why: NotConvertible) -> None:
    """Refuses what only a model of layers could have, where none can be made."""
    of_layers = {
        "--input X:0 (tensors)": told.tensors,
        "--shape (shapes)": told.shapes,
        "more than one --output (outputs)": told.outputs[1:],
        "--output with a tensor's name (outputs)": [each for each in told.outputs if ":" in each],
    }
    for option, value in of_layers.items():
        if value:
            raise UsageError(
                f"{called} becomes one frozen unit, for layers cannot compute it, and that takes no {option}. Leave it "
                f"away, or name an output of its signature. Why it is no model of layers: {why}"
            ) from why


def _weights(path: Path, told: Told, graph: str = "") -> _Model:
    model, report = load_checkpoint(
        path, arch=told.arch, activation=told.activation, size=told.size, **told.variables
    )  # fmt: skip
    _refuse_lacking(report, told, path.name)
    lacks = () if _is_filled(told.arch) else _lacks(model, report)
    notes = [f"Restored: {report}.", *noting.lacking(lacks)]
    return _Model(model, [*notes, *([f"Its graph, {graph}, was not looked at."] if graph else [])], lacks)


def _is_filled(arch: str | None) -> bool:
    """Returns whether what tells the net has values too, which stay where weights lack some: a `.keras` file."""
    return arch is not None and Path(arch).suffix.casefold() == ".keras"


def _lacks(model: keras.Model, report: RestoreReport) -> tuple[str, ...]:
    """Returns the layers of which a variable was not restored, in the model's order."""
    named = {name.partition("/")[0] for name in (*report.left, *report.missing)}
    return tuple(layer.name for layer in model.layers if layer.name in named)


def _refuse_lacking(report: RestoreReport, told: Told, name: str) -> None:
    """Refuses weights that lack what nobody left away.

    Raises:
        IntegrityError: They lack variables.
    """
    if report.missing and not told.allow_partial:
        raise IntegrityError(
            f"{name} lacks {len(report.missing)} variables of the net: {few(report.missing)}. Nothing was kept. Get "
            "the whole file; name what is called otherwise (--rename); leave away what is not wanted (--exclude); or "
            "keep what is there, and start the rest as in training from scratch: --allow-partial (Python: "
            "allow_partial=True)"
        )
