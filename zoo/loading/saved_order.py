"""In which order the weights of one layer lie in a file of the layout of Keras 2, and which is which.

Keras writes what is trainable before what is not. Of a model that is a layer, the order therefore depends on which of
its layers were frozen when it was saved, and that may not be so any more where it is loaded: Keras 3 freezes all
layers of a frozen model. So the layers' names in the names of the weights decide.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from zoo.errors import IntegrityError
from zoo.store.guards.hdf5 import Dataset
from zoo.store.unpacking import shown

_SPELLINGS = (("/", "_"), (":0", ""), ("batchnorm", "bn"))  # names with slashes are forbidden in Keras 3


@dataclass(frozen=True)
class SavedLayer:
    """One layer in a file.

    Attributes:
        name: Its name there.
        weights: Where each of its weights is, in the order in which Keras saved them.
    """

    name: str
    weights: tuple[Dataset, ...]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Returns the shape of each of its weights."""
        return [weight.shape for weight in self.weights]


def layer_variables(layer: Any) -> list[Any]:
    """Returns a layer's variables in the order in which Keras 2 saves them."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def spelled(name: str) -> str:
    """Returns a layer's name as it is compared."""
    name = name.casefold()
    for old, new in _SPELLINGS:
        name = name.replace(old, new)
    return name


def in_order_of(layer: Any, saved: SavedLayer, name: str, *, plain: bool = False) -> SavedLayer:
    """Returns a layer in a file with its weights in the order of `layer_variables(layer)`, as far as can be told.

    Args:
        layer: The layer that they are for.
        saved: The layer in the file.
        name: What the file is called in messages.
        plain: Whether nothing was frozen when the file was written, so that the order can be trusted.

    Raises:
        IntegrityError: The layer is a model, its weights have other names than its layers, and some the same shape.
    """
    leaves = list(_leaves(layer, (layer.name,)))
    if [leaf for leaf, _ in leaves] == [layer]:
        return replace(saved, weights=_by_own_names(saved.weights, layer_variables(layer)))
    if (decided := _by_layer(saved, layer, leaves)) is not None:
        return replace(saved, weights=decided)
    fits = Counter(saved.shapes) == Counter(tuple(variable.shape) for variable in layer_variables(layer))
    is_model = not isinstance(layer, keras.layers.Bidirectional)
    if fits and is_model and not plain and len(set(saved.shapes)) < len(saved.weights):
        raise IntegrityError(
            f"{name} does not tell which weight is which in {layer.name!r}, a model in the model: their names (such as "
            f"{shown(_name_in(saved, saved.weights[0]))}) are not those of its layers, some have one shape, and their "
            "order depends on what was frozen. Nothing was loaded. Load it with the Keras that wrote it and save it "
            "again, which names them after the layers."
        )
    return saved


def _leaves(layer: Any, above: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yields the layers with weights that are no models, each with the names of what it is in, then its own."""
    inside = layer.layer if isinstance(layer, keras.layers.Wrapper) else layer
    if isinstance(layer, keras.layers.Bidirectional):  # either half may have been frozen by itself
        parts = [layer.forward_layer, layer.backward_layer]
    elif isinstance(inside, keras.Model):
        parts = inside.layers
    else:
        yield layer, above
        return
    for each in parts:
        if each.weights:
            yield from _leaves(each, (*above, each.name))


def _by_layer(
    saved: SavedLayer, layer: Any, leaves: Sequence[tuple[Any, tuple[str, ...]]]
) -> tuple[Dataset, ...] | None:
    """Returns the weights of a model in the order of its variables; None where names do not decide."""
    known: dict[str, set[int]] = {}
    for leaf, names in leaves:
        for start in range(len(names)):
            known.setdefault(spelled("/".join(names[start:])), set()).add(id(leaf))
    found: dict[int, list[Dataset]] = {}
    for weight in saved.weights:
        leaf = _leaf(_name_in(saved, weight).split("/")[:-1], known)
        if leaf is None:
            return None
        found.setdefault(leaf, []).append(weight)
    places: dict[int, Dataset] = {}
    for leaf, _ in leaves:
        variables, weights = layer_variables(leaf), found.get(id(leaf), [])
        if len(weights) != len(variables):
            return None
        ordered = _by_own_names(weights, variables)
        places |= {id(variable): weight for variable, weight in zip(variables, ordered, strict=True)}
    wanted = [id(variable) for variable in layer_variables(layer)]
    return tuple(places[each] for each in wanted) if set(wanted) == set(places) else None


def _name_in(saved: SavedLayer, weight: Dataset) -> str:
    return weight.path.removeprefix("model_weights/").removeprefix(f"{saved.name}/")


def _leaf(scopes: Sequence[str], known: dict[str, set[int]]) -> int | None:
    """Returns which layer is named by the parts of a weight's name: outer parts count first, and long names."""
    for start in range(len(scopes)):
        for stop in range(len(scopes), start, -1):
            name = spelled("/".join(scopes[start:stop]))
            # TensorFlow 1 numbered what was built twice in a session: layer `conv`, weight `conv_1/kernel:0`.
            for each in (name, re.sub(r"_\d+$", "", name)):
                if len(layers := known.get(each, set())) == 1:
                    return next(iter(layers))
    return None


def _by_own_names(weights: Sequence[Dataset], variables: Sequence[Any]) -> tuple[Dataset, ...]:
    """Returns the weights of a layer in the order of `variables`: by name where names agree, as gamma and beta may."""
    by_name = {weight.path.rpartition("/")[2].removesuffix(":0"): weight for weight in weights}
    names = [variable.name for variable in variables]
    if len(by_name) == len(variables) and set(by_name) == set(names):
        ordered = tuple(by_name[name] for name in names)
        if all(weight.shape == tuple(variable.shape) for weight, variable in zip(ordered, variables, strict=True)):
            return ordered
    return tuple(weights)
