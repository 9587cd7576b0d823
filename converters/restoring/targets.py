"""The variables of a model by name: the names of the layers on the way to it, and its own: `hidden1/kernel`.

Keras calls the same variable `sequential/hidden1/kernel` or `hidden1/kernel`, by how the model was made; here it has
one name, which begins with that of a layer of the model.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class Target:
    """A variable of a model.

    Attributes:
        name: Its name in the model.
        number: The same with its number in the layer instead of its own name, as Keras 3 has it in its files.
        variable: The variable itself.
        shape: Its shape.
        dtype: Its type.
    """

    name: str
    number: str
    variable: Any
    shape: tuple[int, ...]
    dtype: str


def model_targets(model: keras.Layer) -> dict[str, Target]:
    """Returns the variables of a model by their names, in its order; the model may be bare."""
    found: dict[str, Target] = {}
    seen: set[int] = set()
    numbers: Counter[str] = Counter()
    for name, variable in _named(model):
        if id(variable) in seen:
            continue
        seen.add(id(variable))
        scope = name.rpartition("/")[0]
        number = f"{scope}/{numbers[scope]}"
        numbers[scope] += 1
        unique = next(each for each in _numbered(name) if each not in found)
        dtype = str(keras.backend.standardize_dtype(variable.dtype))
        found[unique] = Target(unique, number, variable, tuple(variable.shape), dtype)
    return found


def _numbered(name: str) -> Iterator[str]:
    """Yields a name, and then the same with numbers, for variables of one name in one layer."""
    yield name
    yield from (f"{name}_{number}" for number in itertools.count(1))


def _named(model: keras.Layer) -> Iterator[tuple[str, Any]]:
    for layer in getattr(model, "layers", ()):
        for variable in layer.weights:
            yield _name(layer, variable), variable
    for variable in model.weights:
        yield variable.path, variable


def _name(layer: Any, variable: Any) -> str:
    parts = variable.path.split("/")
    if layer.name in parts:
        return "/".join(parts[parts.index(layer.name) :])
    inner = next((each for each in getattr(layer, "layers", ()) if _has(each, variable)), None)
    return f"{layer.name}/{variable.path if inner is None else _name(inner, variable)}"


def _has(layer: Any, variable: Any) -> bool:
    return any(each is variable for each in layer.weights)


def finalize(model: keras.Layer) -> None:
    """Makes what layers keep beside their variables anew, as a Normalization does of its statistics."""
    for layer in getattr(model, "layers", ()):
        finalize(layer)
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
