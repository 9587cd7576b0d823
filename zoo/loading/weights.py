"""Loads the weights in an HDF5 file into an architecture that Keras builds. The file passes its guard first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras

from zoo.errors import IntegrityError
from zoo.loading.building import build_architecture, roomy_copy
from zoo.loading.layer_weights import fill_from, is_layered, lacking, paired, saved_layers, weighted_layers
from zoo.loading.variables import explained, named, other_variables, refuse_other_numbers, saved_shapes, shapes
from zoo.store.guards.hdf5 import Outline, hdf5_outline


@dataclass(frozen=True)
class Weights:
    """What a file of weights has of an architecture.

    Attributes:
        role: `weights`: the whole net's; `weights_notop`: those of all layers below its classifier.
        classes: How many the classifier tells apart; None where there is none.
        lacks: Layers of the net that are not in the file.
    """

    role: Literal["weights", "weights_notop"]
    classes: int | None
    lacks: tuple[str, ...] = ()


def recognise_weights(path: Path, arch: str, size: Sequence[int | None] | None = None, name: str = "") -> Weights:
    """Returns what an HDF5 file has of the architecture `arch`; reads no weights.

    Raises:
        IntegrityError: It has another net's weights; the message names the first layer that does not fit.
        UnsafeFileError: It could do harm.
        UsageError: Keras has no such architecture.
    """
    name = name or path.name
    outline = hdf5_outline(path, name)
    headless = build_architecture(arch, size, top=False)
    if not is_layered(outline):
        return _recognise_variables(outline, arch, size, headless, name)
    saved = saved_layers(outline, name)
    if len(saved) == len(weighted_layers(headless)):
        paired(saved, headless, name, arch=arch)
        return Weights("weights_notop", None)
    whole = build_architecture(arch, size, _classes([each.shapes for each in saved]))
    lacks = lacking(saved, whole)
    paired(saved, whole, name, lacks=lacks, arch=arch)
    return Weights("weights", whole.output_shape[-1], lacks)


def _classes(layers: Sequence[Sequence[tuple[int, ...]]]) -> int | None:
    """Returns how many classes a net has whose layers have weights of these shapes: the last kernel says it."""
    kernels = [shape for shapes in layers for shape in shapes if len(shape) >= 2]
    return kernels[-1][-1] if kernels else None


def _recognise_variables(
    outline: Outline, arch: str, size: Sequence[int | None] | None, headless: keras.Model, name: str
) -> Weights:
    """Returns what a `.weights.h5` of Keras 3 has: it names variables by number, so shapes are all there is to tell."""
    found = saved_shapes(outline)
    if found == shapes(headless):
        return Weights("weights_notop", None)
    kernels = found - shapes(headless)
    last = [shape for shape in kernels if len(shape) >= 2]
    whole = build_architecture(arch, size)
    for classes in (whole.output_shape[-1], *sorted({shape[-1] for shape in last})):
        whole = build_architecture(arch, size, classes)
        if found == shapes(whole):
            return Weights("weights", classes)
    whole = build_architecture(arch, size)
    raise IntegrityError(other_variables(found, whole, name, arch=arch, outline=outline))


def load_weights(
    path: Path,
    arch: str,
    size: Sequence[int | None] | None = None,
    classes: int | None = None,
    *,
    headless: bool = False,
    lacks: Collection[str] = (),
    name: str = "",
) -> keras.Model:
    """Returns the net `arch` of `keras.applications` with the weights in an HDF5 file.

    Args:
        path: The file: in the layout of Keras 2, or a `.weights.h5` of Keras 3.
        arch: A key of `zoo.registry.architectures.ARCHITECTURES`.
        size: Height, width and channels of the input; None, or None in it: as Keras has it.
        classes: How many the classifier tells apart; None: as Keras has it.
        headless: The file has only the layers below the classifier. The model then ends where the first layer would
            follow that the file does not have.
        lacks: Layers that the file may lack; they start as in training from scratch.
        name: What the file is called in messages.

    Raises:
        IntegrityError: The file is damaged or another net's: the message names the first layer that does not fit.
        UnsafeFileError: It could do harm.
    """
    name = name or path.name
    outline = hdf5_outline(path, name)
    whole = build_architecture(arch, size, classes)
    net = build_architecture(arch, _size_of(whole), top=False) if headless else whole
    if not is_layered(outline):
        if (stored := saved_shapes(outline)) != shapes(net):
            raise IntegrityError(other_variables(stored, net, name, arch=arch, outline=outline))
        return _load_variables(path, outline, net, whole, name)
    found = paired(saved_layers(outline, name), net, name, lacks=lacks, arch=arch)
    model = roomy_copy(_below(whole, found) if headless else whole, lacks)
    fill_from(path, model, found, name)
    return model


def _size_of(model: keras.Model) -> tuple[int | None, ...]:
    return tuple(model.input_shape[1:])


def _below(model: keras.Model, known: Collection[str]) -> keras.Model:
    """Returns the part of `model` below its first layer with weights that is not `known`."""
    first = next((layer for layer in weighted_layers(model) if layer.name not in known), None)
    return model if first is None else keras.Model(model.input, first.input, name=model.name)


def _load_variables(path: Path, outline: Outline, net: keras.Model, whole: keras.Model, name: str) -> keras.Model:
    loaded = roomy_copy(net)
    with named(path, "model.weights.h5") as link, explained(name, "weights"):
        refuse_other_numbers(path, outline, loaded, name)
        loaded.load_weights(link)
    if net is whole:
        return loaded
    known = {layer.name for layer in weighted_layers(net)}
    model = roomy_copy(_below(whole, known))
    for layer in weighted_layers(model):
        layer.set_weights(loaded.get_layer(layer.name).get_weights())
    return model
