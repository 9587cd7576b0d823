"""Files of Keras 3, which numbers its variables: what their shapes tell, and how Keras is made to read them."""

from __future__ import annotations

import math
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.errors import IntegrityError, ZooError
from zoo.loading.layer_weights import (
    BFLOAT16,
    cast,
    listed,
    number_kind,
    pieces,
    snake_case,
    weighted_layers,
    what_fits,
)
from zoo.store.guards.hdf5 import Dataset, Outline
from zoo.store.unpacking import shown

_LORA = {"lora_kernel_a", "lora_kernel_b", "lora_embeddings_a", "lora_embeddings_b"}
_LORA_ALLOWANCE = 1 << 20  # numbers: of small models they may be more than the rest
_BOLD = re.compile(r"\x1b\[[0-9;]*m")


def other_variables(
    found: Counter[Any], model: keras.Model, name: str, *, arch: str = "", outline: Outline | None = None
) -> str:
    """Returns why variables of the shapes `found` are not those of `model`, in words.

    Args:
        found: How many there are of which shape.
        model: The model; it may be bare.
        name: What the file is called in messages.
        arch: What the user calls the net, where Keras has built it; empty: it is a model of its own.
        outline: Of a `.weights.h5`, which tells what the first layer that does not fit is like in the file.
    """
    wanted = shapes(model)
    layer = next(
        (each for each in weighted_layers(model) if any(not found[tuple(var.shape)] for var in each.weights)), None
    )
    first = f" The first that is not there belongs to layer {layer.name!r}: {layer.weights[0].shape}." if layer else ""
    if outline is not None:
        first = _first_other_layer(outline, model) or first
    missing = (wanted - found).total()
    return (
        f"{name} is not a file of {arch or shown(model.name)}: the net has {wanted.total()} weights, the file "
        f"{found.total()}, and {missing} of the net's shapes are not there.{first} Nothing was loaded. "
        f"{what_fits(arch)}"
    )


def _first_other_layer(outline: Outline, model: keras.Model) -> str:
    """Returns which layer is the first to have other shapes in a `.weights.h5`, which numbers the layers of a class."""
    numbers: Counter[str] = Counter()
    for layer in model.layers:
        kind = snake_case(type(layer).__name__)
        place = f"layers/{kind}_{numbers[kind]}/" if numbers[kind] else f"layers/{kind}/"
        numbers[kind] += 1
        there = [each.shape for path, each in outline.datasets.items() if path.startswith(place) and _is_weight(path)]
        here = [tuple(weight.shape) for weight in layer.weights]
        if Counter(there) != Counter(here):
            return (
                f" The first layer that does not fit is {layer.name!r}: in the net of shapes {listed(here)}; in the "
                f"file {listed(there)}."
            )
    return ""


def _is_weight(path: str) -> bool:
    return "/vars/" in f"/{path}" and "/seed_generator" not in f"/{path}"


def saved_shapes(outline: Outline) -> Counter[tuple[int, ...]]:
    """Returns how many variables of which shape a `.weights.h5` has, without those of an optimizer."""
    return Counter(each.shape for each in _saved(outline))


def _saved(outline: Outline) -> list[Dataset]:
    return [
        each
        for path, each in outline.datasets.items()
        if _is_weight(path) and not path.startswith(("optimizer/", "_optimizer/"))
    ]


def shapes(model: keras.Layer) -> Counter[tuple[int, ...]]:
    """Returns how many weights of which shape a model or layer has that are saved."""
    return Counter(tuple(weight.shape) for weight in _to_be_saved(model))


def _to_be_saved(model: keras.Layer) -> list[Any]:
    """Returns the weights without those of LoRA: Keras adds their product to the kernel that it saves.

    Where they are larger than a model that small explains, they count: no file may ask for them.
    """
    added = [weight for weight in model.weights if weight.name in _LORA]
    others = [weight for weight in model.weights if weight.name not in _LORA]
    fits = _numbers(added) <= _numbers(others) + _LORA_ALLOWANCE
    return others if fits else list(model.weights)


def _numbers(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def refuse_other_numbers(path: Path, outline: Outline, model: keras.Layer, name: str) -> None:
    """Sees whether the numbers in a `.weights.h5` are of the kinds that the model has: Keras turns any into any.

    Args:
        path: The file.
        outline: What it holds; its shapes are those of the model.
        model: The model, with its types.
        name: What the file is called in messages.

    Raises:
        IntegrityError: A weight is of another kind, or has values that the model's type cannot hold.
    """
    import h5py  # here: a guard has been at the file before

    wanted: dict[tuple[int, ...], list[str]] = {}
    for weight in _to_be_saved(model):
        wanted.setdefault(tuple(weight.shape), []).append(keras.backend.standardize_dtype(weight.dtype))
    kinds: dict[tuple[int, ...], Counter[str]] = {}
    with h5py.File(path, "r") as file:
        for each in _saved(outline):
            if each.shape not in wanted:
                continue
            kind = _kind(each, outline)
            fitting = [dtype for dtype in wanted[each.shape] if number_kind(dtype) == kind]
            if not fitting:
                raise IntegrityError(_other_kind(each, wanted[each.shape][0], name))
            kinds.setdefault(each.shape, Counter())[kind] += 1
            widest = max(fitting, key=lambda dtype: np.dtype(dtype).itemsize)
            if each.dtype != BFLOAT16 and np.dtype(each.dtype).itemsize > np.dtype(widest).itemsize:
                for piece in pieces(each):
                    cast(file[each.path][piece], widest, f"{name}, weight {shown(each.path)}")
    for shape, dtypes in wanted.items():
        if missing := Counter(map(number_kind, dtypes)) - kinds[shape]:
            other = next(each for each in _saved(outline) if each.shape == shape)
            raise IntegrityError(
                _other_kind(other, next(dtype for dtype in dtypes if number_kind(dtype) in missing), name)
            )


def _kind(saved: Dataset, outline: Outline) -> str:
    is_bfloat16 = saved.dtype == BFLOAT16 and outline.attributes.get(saved.path, {}).get("dtype") == "bfloat16"
    return "f" if is_bfloat16 else "" if saved.dtype == "string" else np.dtype(saved.dtype).kind


def _other_kind(saved: Dataset, wanted: str, name: str) -> str:
    return (
        f"{name}: the weight {shown(saved.path)} of shape {listed([saved.shape])} is of type {saved.dtype}; {wanted} "
        "was expected. Nothing was loaded. Save the model again, with weights of the types that it has: model.save()"
    )


@contextmanager
def named(path: Path, name: str) -> Iterator[Path]:
    """Gives a file a name for the while: those in the store have none that would tell Keras what they are."""
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        link = Path(folder) / name
        link.symlink_to(path.absolute())
        yield link


@contextmanager
def explained(name: str, kind: str) -> Iterator[None]:
    """Turns what Keras says of a file that it cannot load into an `IntegrityError`."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:  # a layer of anybody's may raise anything
        raise IntegrityError(f"{name} cannot be loaded as {kind} of Keras: {first_words(error)}") from error


def first_words(error: Exception, most: int = 400) -> str:
    """Returns what an error says on one line, without the codes by which Keras makes words bold on a terminal."""
    text = "".join(each if each.isprintable() else "?" for each in " ".join(_BOLD.sub("", str(error)).split()))
    return text if len(text) <= most else f"{text[:most]}..."
