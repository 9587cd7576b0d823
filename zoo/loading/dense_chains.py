"""Makes a model of a checkpoint of dense layers alone, whose shapes tell the net."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from zoo.converters.restoring.chains import DenseLayer, dense_chain, layer_names
from zoo.converters.restoring.layouts import DoesNotFitError, Layout, LayoutLike, parsed_layout
from zoo.converters.restoring.pairing import renamed
from zoo.converters.restoring.patterns import Selection, compiled
from zoo.converters.restoring.report import RestoreReport
from zoo.converters.restoring.restorer import Known, planned
from zoo.converters.restoring.sources import Source
from zoo.errors import UsageError, nearest_names

Shapes = Mapping[str, tuple[int, ...]]


def dense_net(source: Source, activation: str | None, chosen: Mapping[str, Any]) -> tuple[keras.Model, RestoreReport]:
    """Returns the chain of dense layers that a checkpoint is, and what became of each variable.

    Args:
        source: The checkpoint.
        activation: That of the hidden layers.
        chosen: `include`, `exclude`, `rename` and `layout`, as the user gave them.

    Raises:
        UsageError: It is no such chain, its order cannot be told, or its activation is not said.
    """
    names = renamed(source.variables, chosen["rename"])
    shapes = _shapes(source, names, chosen["layout"])
    wanted, left = _wanted(names, chosen)
    layers = dense_chain({new: shape for new, shape in shapes.items() if new in wanted})
    wholes = (shapes, {new: shape for new, shape in shapes.items() if new not in left})  # beside another net, or not
    hidden = len(layers) if any(_goes_on(layers, each) for each in wholes) else len(layers) - 1
    model = _dense_model(layers, hidden, activation)
    known = Known(
        {
            variable: f"{name}/{own}"
            for name, each in zip(layer_names(layers), layers, strict=True)
            for own, variable in (("kernel", each.kernel), ("bias", each.bias))
            if variable is not None
        }
    )
    plan = planned(model, source, rename=chosen["rename"], layout=chosen["layout"], known=known)
    return model, plan.carry_out()


def _shapes(source: Source, names: Mapping[str, str], declared: Mapping[str, LayoutLike] | None) -> Shapes:
    """Returns the shapes of numbers as they lie in Keras, by their new names."""
    layouts = [
        (compiled(text, "layout"), parsed_layout(each) if isinstance(each, str) else each)
        for text, each in (declared or {}).items()
    ]
    return {
        new: _shape(source, name, new, layouts)
        for name, new in names.items()
        if source.variables[name].dtype.startswith(("float", "bfloat"))
    }


def _shape(source: Source, name: str, new: str, layouts: Sequence[tuple[re.Pattern[str], Any]]) -> tuple[int, ...]:
    shape = source.variables[name].shape
    for pattern, layout in layouts:
        is_of_rank = not isinstance(layout, Layout) or layout.fits(len(shape))
        if is_of_rank and (pattern.match(_in_model(new)) or pattern.match(name)):
            with contextlib.suppress(DoesNotFitError):  # which is told later, with all others
                return layout.shape(shape) if isinstance(layout, Layout) else np.shape(layout(source.read(name)))
            return shape
    return shape


def _in_model(name: str) -> str:
    """Returns what a variable is called in the model: layers have the last part of their scopes."""
    return "/".join(name.split("/")[-2:])


def _wanted(names: Mapping[str, str], chosen: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Returns the new names of the variables that the user wants, and of those that are to be left away."""
    include, exclude = Selection(chosen["include"], "include"), Selection(chosen["exclude"], "exclude")
    found, left = set[str](), set[str]()
    for name, new in names.items():
        known = (name, new, _in_model(new))
        if exclude.matches(*known):
            left.add(new)
        if include.matches(*known) or not include.is_given:
            found.add(new)
    for selection in (include, exclude):
        selection.refuse_useless(names)
    return found - left, left


def _goes_on(layers: Sequence[DenseLayer], shapes: Shapes) -> bool:
    """Returns whether the last of some layers is a hidden one of the net that all variables make up."""
    try:
        whole = dense_chain(shapes)
    except UsageError:
        return False
    return layers[-1] in whole and whole[-1] != layers[-1]


def _dense_model(layers: Sequence[DenseLayer], hidden: int, activation: str | None) -> keras.Model:
    if hidden and activation is None:
        raise UsageError(
            f"This is a net of dense layers ({layers[0].inputs}-{'-'.join(str(each.units) for each in layers)}), whose "
            f"checkpoint does not tell what is between them. Say it: --activation relu (or elu, selu, tanh, sigmoid, "
            "linear; Python: activation)."
        )
    _refuse_unknown(activation)
    x = inputs = keras.Input((layers[0].inputs,))
    for number, (name, layer) in enumerate(zip(layer_names(layers), layers, strict=True)):
        acts = activation if number < hidden else None
        x = keras.layers.Dense(layer.units, activation=acts, use_bias=layer.bias is not None, name=name)(x)
    return keras.Model(inputs, x)


def _refuse_unknown(activation: str | None) -> None:
    known = sorted(name for name in vars(keras.activations) if not name.startswith("_"))
    if activation is not None and activation not in set(known) - {"get", "serialize", "deserialize"}:
        near = nearest_names(activation, known)
        raise UsageError(f"Expected an activation of Keras, such as relu or elu; got {activation!r}.{near}")
