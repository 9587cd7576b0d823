"""What is in the copies of a model that is added: loaded where this version can, and told as an entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from zoo.adding import noting
from zoo.adding.offered import kept_files, offered_copies
from zoo.adding.options import FORMATS
from zoo.adding.told import Added, Told
from zoo.adding.wanted import picture_size, wanted_input
from zoo.errors import CutError, IntegrityError, UsageError
from zoo.loading import absent_layers, is_whole_model, load_artifact, nonfinite_layers, recognise_weights
from zoo.recording import record_output
from zoo.registry import Entry, InputSpec, OutputSpec
from zoo.registry.architectures import ARCHITECTURES
from zoo.registry.presets import chosen_input
from zoo.store.guards.formats import Offered, check_format
from zoo.store.keeping import Copy, artifact
from zoo.store.policy import shown as shown_address
from zoo.store.unpacking import shown
from zoo.surgery import split_units

_NOT_KNOWN = (
    "If it takes pictures: how they become numbers is not known, and not guessed. Say it with --input HxWxC and "
    "--preprocess (none, unit, tf, torch, caffe or a model), and --replace (Python: input_size, preprocess, "
    "replace=True)."
)


def looked_at(
    told: Told, offered: Offered, copies: Sequence[Copy], source: Offered, lacks: Sequence[str] = ()
) -> Added:
    """Returns the entry of a model whose copies are whole and safe.

    Args:
        told: What the user says of it.
        offered: What was copied.
        copies: The copies.
        source: What the user offered, which `offered` may have been made of.
        lacks: Its layers whose weights were not in what the user offered.
    """
    path = source.files[0][1]
    labels = told.labels or (told.run.labels if told.run else None)
    of_hub = told.handle and shown_address(told.handle)
    source_name = of_hub or source.prefix or path.name
    draft = Entry(
        name=told.name,
        source="local",
        arch=told.arch,
        task="unknown",
        summary=told.summary or (told.run.summary if told.run else f"Added from {source_name}"),
        files=kept_files(offered, copies),
        input=None,
        output=OutputSpec(labels=labels, logits=told.logits or None, background=None),
        metrics={},
        license=told.license,
        lacks=tuple(lacks),
        origin=told.run.origin if told.run else f"added from {of_hub or shown(str(path.absolute()))}",
    )
    check_format(offered_copies(offered, copies))
    what = FORMATS[source.format] + (", kept as a Keras 3 archive" if source is not offered else "")
    if source is not offered and offered.format == "keras":
        told = dataclasses.replace(told, arch=None)  # the net is in the file
        draft = dataclasses.replace(draft, arch=None)
    if offered.format == "h5" and not is_whole_model(copies[0].path, copies[0].name):
        if told.arch is None:
            draft = dataclasses.replace(draft, files=(copies[0].spec("weights"),))
            return _kept(told, draft, f"{what} weights", _which_net(told.name))
        return _loaded(told, *_weights(told, draft, copies[0]), f"{what} weights of {told.arch}", copies)
    if told.arch is not None:
        raise UsageError(
            f"{copies[0].name} has a whole model in it, so --arch {told.arch} (Python: arch) is not needed, and might "
            "be wrong. Leave it away."
        )
    if offered.format == "caffe" and told.size is not None:  # a definition for training does not say it
        draft = dataclasses.replace(draft, input=chosen_input(picture_size(told.size)))
    if offered.format in ("keras", "h5", "onnx", "caffe"):
        return _loaded(told, draft, [], what, copies)
    return _kept(told, draft, what, _which_net(told.name))


def _which_net(name: str) -> str:
    return (
        "which net these weights are of is not known. If it is one of keras.applications: zoo add PATH --name "
        f"{name} --replace --arch NET (Python: name, replace=True, arch)"
    )


def _kept(told: Told, draft: Entry, what: str, why: str) -> Added:
    spec = None
    if told.size is not None:
        spec = chosen_input(picture_size(told.size), told.preprocess, **told.numbers)
    elif told.tells_preprocessing:
        raise UsageError(
            f"How large pictures are is not read from {what} files: say it too, as in --input 224x224x3 (Python: "
            "input_size=(224, 224, 3))."
        )
    notes = [f"Kept, not loadable yet: {why}."]
    if spec is None or spec.scale is None:
        notes.append(_NOT_KNOWN)
    return Added(dataclasses.replace(draft, input=spec), what, tuple(notes))


def _weights(told: Told, draft: Entry, copy: Copy) -> tuple[Entry, list[str]]:
    """Returns the entry of weights alone, once they are found to be those of the net."""
    arch = told.arch or ""
    spec = None if told.size is None else chosen_input(picture_size(told.size))
    found = recognise_weights(copy.path, arch, told.size, copy.name)
    lacks = noting.some(found.lacks)
    if found.lacks and not told.allow_partial:
        raise IntegrityError(
            f"{copy.name} lacks the weights of {len(found.lacks)} layers of {arch}: {lacks}. Nothing was kept. Get the "
            "whole file; or keep what is there, and start those layers as in training from scratch: --allow-partial "
            "(Python: allow_partial=True)"
        )
    notes = noting.lacking(found.lacks)
    entry = dataclasses.replace(
        draft,
        files=(copy.spec(found.role),),
        input=spec,
        output=dataclasses.replace(draft.output, classes=found.classes),
        lacks=found.lacks,
    )
    if found.role == "weights_notop":
        notes.append(noting.headless(absent_layers(entry)))
    return entry, notes


def _loaded(told: Told, draft: Entry, notes: list[str], what: str, copies: Sequence[Copy]) -> Added:
    """Loads the copies and returns the entry with what the model tells of itself."""
    model = load_artifact(artifact(draft, copies))
    if not getattr(model, "inputs", None):
        raise UsageError(
            f"{copies[0].name} has a model of a class of its own ({type(model).__name__}); only functional and "
            "sequential models are added. Build it as one of those, or load this one in Python: zoo.load_model(path)"
        )
    spec = wanted_input(told, model, notes)
    if draft.arch and told.size is None:
        notes += noting.sizes(draft, model)
    if bad := nonfinite_layers(model):
        notes.append(noting.nonfinite(bad))
    notes += noting.own_classes(model)
    recorded = record_output(model, spec)
    if isinstance(recorded, str):
        notes.append(f"No output was recorded, for zoo verify --deep to compare: {recorded}.")
    output = _output(draft.output, model, is_of_run=told.run is not None)
    notes += noting.features(output, model)
    entry = dataclasses.replace(
        draft,
        task="text-embedding" if _takes_texts(model) else _task(spec, output),
        input=spec,
        output=output,
        params=model.count_params() or sum(getattr(layer, "parameters", 0) for layer in model.layers) or None,
        units=ARCHITECTURES[draft.arch].units if draft.arch else _units(model, notes),
        recorded=None if isinstance(recorded, str) else recorded,
    )
    return Added(entry, what, tuple(notes), tuple(bad))


def _units(model: keras.Model, notes: list[str]) -> int | None:
    try:
        return len(split_units(model)) or None
    except CutError as error:
        notes.append(f"It loads, but cannot be cut into units, nor transferred: {error}")
        return None


def _takes_texts(model: keras.Model) -> bool:
    return bool(model.inputs[0].dtype == "string")


def _task(spec: InputSpec | None, output: OutputSpec) -> str:
    if spec is None:
        return "classification" if output.classes else "unknown"
    return "image-classification" if output.classes else "image-feature-vector"


def _output(known: OutputSpec, model: keras.Model, *, is_of_run: bool) -> OutputSpec:
    """Returns what comes out, as far as the last layer tells: a softmax is of classes, other numbers of anything.

    Features that no classifier puts out have no logits for certain: the last unit can then be reused as the others. A
    linear layer may put out logits, one with a sigmoid labels; and the last unit of a run is never one to reuse.

    Raises:
        UsageError: The user calls them logits, and they cannot be such.
    """
    shape = model.outputs[0].shape
    is_vector = len(model.outputs) == 1 and len(shape) == 2 and bool(shape[1])
    last = model.outputs[0]._keras_history.operation
    softmax, linear = keras.activations.softmax, keras.activations.linear
    end = softmax if isinstance(last, keras.layers.Softmax) else getattr(last, "activation", linear)
    if known.logits and not (is_vector and end is linear):
        puts_out = f"ends in {getattr(end, '__name__', 'a layer of its own')}" if is_vector else f"puts out {shape}"
        raise UsageError(
            f"Expected logits, one number a class before any softmax; the last layer, {shown(last.name)}, {puts_out}. "
            "Leave --logits (Python: logits) away."
        )
    if not is_vector:
        return known
    if end is softmax:
        return dataclasses.replace(known, classes=shape[1], logits=False)
    if known.logits:
        return dataclasses.replace(known, classes=shape[1])
    if known.classes:
        return known
    may_be_classes = is_of_run or end is keras.activations.sigmoid or (end is linear and _has_kernel(last))
    return dataclasses.replace(known, features=shape[1], logits=None if may_be_classes else False)


def _has_kernel(layer: Any) -> bool:
    return any(len(weight.shape) > 1 for weight in layer.weights)
