"""What TensorFlow has saved, and weights from anywhere, made a `.keras` file before it is added: that is kept."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from zoo.adding.told import Told
from zoo.converters.report import ConversionReport
from zoo.converters.restoring.report import RestoreReport, few
from zoo.errors import IntegrityError, NotConvertible, UsageError
from zoo.files import disk_errors, temporary_name
from zoo.loading.from_checkpoint import load_checkpoint
from zoo.loading.from_tensorflow import load_frozen_graph, load_meta_checkpoint, load_saved_model
from zoo.loading.saved_model_layer import opaque_model
from zoo.store.guards.formats import Offered
from zoo.store.guards.places import kind_of
from zoo.store.layout import layout, prepare

Made = tuple[keras.Model, Sequence[str]]
_HINT = "free some space (zoo gc --all), or set ZOO_HOME to a larger disk"


@contextlib.contextmanager
def as_keras(offered: Offered, told: Told) -> Iterator[tuple[Offered, Sequence[str]]]:
    """Gives what is offered as a file that is loaded like any other, and what there is to say of that.

    Raises:
        UsageError: What is asked for is not in it, or nothing tells which net it is of though something was said.
        IntegrityError: A file is damaged, or does not fit the net.
        UnsafeFileError: A file could do harm.
        DiskError: There is no room for it.
    """
    make = _maker(offered, told)
    if make is None:
        yield offered, ()
        return
    paths = layout()
    with disk_errors(paths.home, _HINT):
        prepare(paths)
        folder = temporary_name(paths.tmp / "converted")
        folder.mkdir(mode=0o700)
    try:
        try:
            model, notes = make()
        except UsageError as error:
            if told.tells_conversion or offered.format != "checkpoint":
                raise
            yield offered, [str(error)]  # kept as it is: nothing tells what its values are of
            return
        path = folder / f"{told.name}.keras"
        with disk_errors(path, _HINT):
            model.save(path)
        del model
        yield Offered("keras", (("model", path),)), notes
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _maker(offered: Offered, told: Told) -> Callable[[], Made] | None:
    """Returns what makes a model of what is offered; None where it is kept as it is."""
    path = offered.files[0][1]
    match offered.format:
        case "savedmodel":
            return lambda: _saved_model(path, told)
        case "graph":
            return lambda: _with_parity(*load_frozen_graph(path, path.name, **_ends(told)))
        case "checkpoint":
            prefix = path.with_name(offered.prefix or path.name)
            return lambda: _checkpoint(prefix, told)
        case "npz" | "safetensors" if told.arch is not None:
            return lambda: _weights(path, told)
        case "h5" if told.chooses_variables:
            return lambda: _weights(path, told)
        case _:
            return None


def _ends(told: Told) -> dict[str, Any]:
    return {"inputs": told.tensors or None, "outputs": told.outputs or None}


def _with_parity(model: keras.Model, report: ConversionReport) -> Made:
    return model, [f"Converted: {report}.", *report.notes]


def _saved_model(folder: Path, told: Told) -> Made:
    try:
        return _with_parity(*load_saved_model(folder, folder.name, signature=told.signature, **_ends(told)))
    except NotConvertible as error:
        output = told.outputs[0] if told.outputs else None
        model = opaque_model(folder, told.signature, output=output, name=told.name)
        return model, [f"It is one frozen unit, for layers cannot compute it: {error}"]


def _checkpoint(prefix: Path, told: Told) -> Made:
    has_graph = kind_of(prefix.with_name(f"{prefix.name}.meta")) == "file"
    if has_graph and told.arch is None and not told.chooses_variables:
        return _with_parity(*load_meta_checkpoint(prefix, prefix.name, **_ends(told)))
    return _weights(prefix, told)


def _weights(path: Path, told: Told) -> Made:
    model, report = load_checkpoint(
        path, arch=told.arch, activation=told.activation, size=told.size, **told.variables
    )  # fmt: skip
    return model, _restored(report, told, path.name)


def _restored(report: RestoreReport, told: Told, name: str) -> list[str]:
    """Returns what there is to say of weights that were restored; refuses some that lack what nobody left away.

    Raises:
        IntegrityError: They lack variables.
    """
    is_chosen = told.allow_partial or told.variables["include"] or told.variables["exclude"]
    if report.missing and not is_chosen:
        raise IntegrityError(
            f"{name} lacks {len(report.missing)} variables of the net: {few(report.missing)}. Nothing was kept. Get "
            "the whole file; name what is called otherwise (--rename); or keep what is there, and start the rest as in "
            "training from scratch: --allow-partial (Python: allow_partial=True)"
        )
    return [f"Restored: {report}."]
