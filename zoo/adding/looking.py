"""What is in the copies of a model that is added: loaded where this version can, and told as an entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras

from zoo.adding.offered import FORMATS, kept_files, offered_copies
from zoo.adding.told import Added, Told
from zoo.adding.wanted import picture_size, wanted_input
from zoo.errors import CutError, IntegrityError, UsageError
from zoo.loading import is_whole_model, load_artifact, nonfinite_layers, recognise_weights
from zoo.recording import record_output
from zoo.registry import Entry, InputSpec, OutputSpec
from zoo.registry.architectures import ARCHITECTURES
from zoo.registry.presets import chosen_input
from zoo.store.guards.formats import Offered, check_format
from zoo.store.keeping import Copy, artifact
from zoo.store.unpacking import shown
from zoo.surgery import split_units

_NAMED = 5  # layers that a message names; the others are counted


def looked_at(told: Told, offered: Offered, copies: Sequence[Copy]) -> Added:
    """Returns the entry of a model whose copies are whole and safe."""
    draft = Entry(
        name=told.name,
        source="local",
        arch=told.arch,
        task="unknown",
        summary=told.summary or f"Added from {copies[0].name}",
        files=kept_files(offered, copies),
        input=None,
        output=OutputSpec(labels=told.labels, logits=None, background=None),
        metrics={},
        license=told.license,
        origin=f"added from {shown(str(offered.files[0][1].absolute()))}",
    )
    check_format(offered_copies(offered, copies))
    what = FORMATS[offered.format]
    if offered.format == "h5" and not is_whole_model(copies[0].path, copies[0].name):
        if told.arch is None:
            draft = dataclasses.replace(draft, files=(copies[0].spec("weights"),))
            return _kept(told, draft, f"{what} weights", _which_net(told.name))
        return _loaded(told, *_weights(told, draft, copies[0]), f"{what} weights of {told.arch}", copies)
    if told.arch is not None:
        raise UsageError(
            f"{copies[0].name} has a whole model in it, so --arch {told.arch} is not needed, and might be wrong. Run "
            "the same command without it."
        )
    if offered.format in ("keras", "h5"):
        return _loaded(told, draft, [], what, copies)
    return _kept(told, draft, what, f"this version keeps {what} files, and does not load them yet")


def _which_net(name: str) -> str:
    return (
        "which net these weights are of is not known. If it is one of keras.applications: zoo add PATH --name "
        f"{name} --replace --arch NET"
    )


def _kept(told: Told, draft: Entry, what: str, why: str) -> Added:
    spec = None
    if told.size is not None:
        spec = chosen_input(picture_size(told.size), told.preprocess, **told.numbers)
    elif told.tells_preprocessing:
        raise UsageError(f"How large pictures are is not read from {what} files: say it too, as in --input 224x224x3.")
    return Added(dataclasses.replace(draft, input=spec), what, (f"Kept, not loadable yet: {why}.",))


def _weights(told: Told, draft: Entry, copy: Copy) -> tuple[Entry, list[str]]:
    """Returns the entry of weights alone, once they are found to be those of the net."""
    arch = told.arch or ""
    spec = None if told.size is None else chosen_input(picture_size(told.size))
    found = recognise_weights(copy.path, arch, told.size, copy.name)
    lacks = ", ".join(map(shown, found.lacks[:_NAMED])) + (", ..." if len(found.lacks) > _NAMED else "")
    if found.lacks and not told.allow_partial:
        raise IntegrityError(
            f"{copy.name} lacks the weights of {len(found.lacks)} layers of {arch}: {lacks}. Nothing was kept. Get the "
            "whole file; or keep what is there, and start those layers as in training from scratch: --allow-partial"
        )
    notes = [f"It lacks {len(found.lacks)} layers, which start as in training from scratch: {lacks}."]
    entry = dataclasses.replace(
        draft,
        files=(copy.spec(found.role),),
        input=spec,
        output=dataclasses.replace(draft.output, classes=found.classes),
        lacks=found.lacks,
    )
    return entry, notes if found.lacks else []


def _loaded(told: Told, draft: Entry, notes: list[str], what: str, copies: Sequence[Copy]) -> Added:
    """Loads the copies and returns the entry with what the model tells of itself."""
    model = load_artifact(artifact(draft, copies))
    spec = wanted_input(told, model, notes)
    if bad := nonfinite_layers(model):
        named = ", ".join(map(shown, bad[:_NAMED])) + (f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else "")
        notes.append(
            f"Weights are not finite (NaN or infinite) in {named}. Whatever is made of it is worth nothing; zoo "
            "transfer refuses it."
        )
    recorded = record_output(model, spec)
    if isinstance(recorded, str):
        notes.append(f"No output was recorded, for zoo verify --deep to compare: {recorded}.")
    output = _output(draft.output, model)
    entry = dataclasses.replace(
        draft,
        task=_task(spec, output),
        input=spec,
        output=output,
        params=model.count_params() or None,
        units=ARCHITECTURES[draft.arch].units if draft.arch else _units(model, notes),
        recorded=None if isinstance(recorded, str) else recorded,
    )
    return Added(entry, what, tuple(notes))


def _units(model: keras.Model, notes: list[str]) -> int | None:
    try:
        return len(split_units(model)) or None
    except CutError as error:
        notes.append(f"It loads, but cannot be cut into units, nor transferred: {error}")
        return None


def _task(spec: InputSpec | None, output: OutputSpec) -> str:
    if spec is None:
        return "classification" if output.classes else "unknown"
    return "image-classification" if output.classes else "image-feature-vector"


def _output(known: OutputSpec, model: keras.Model) -> OutputSpec:
    """Returns what comes out, as far as the last layer tells: a softmax is of classes, other numbers of anything."""
    shape = model.outputs[0].shape
    if len(model.outputs) != 1 or len(shape) != 2 or not shape[1]:
        return known
    last = model.outputs[0]._keras_history.operation
    if isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax:
        return dataclasses.replace(known, classes=shape[1], logits=False)
    return known if known.classes else dataclasses.replace(known, features=shape[1])
