"""Files of Keras 3, which numbers its variables: what their shapes tell, and how Keras is made to read them."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from zoo.errors import IntegrityError, ZooError
from zoo.loading.layer_weights import weighted_layers
from zoo.store.guards.hdf5 import Outline

_BOLD = re.compile(r"\x1b\[[0-9;]*m")


def other_variables(found: Counter[Any], wanted: Counter[Any], model: keras.Model, name: str) -> str:
    """Returns why variables of the shapes `found` are not the `wanted` ones of `model`, in words."""
    layer = next(
        (each for each in weighted_layers(model) if any(not found[tuple(var.shape)] for var in each.weights)), None
    )
    first = f" The first that is not there belongs to layer {layer.name!r}: {layer.weights[0].shape}." if layer else ""
    return (
        f"{name} is not a file of {model.name}: the net has {wanted.total()} weights, the file {found.total()}, and "
        f"{(wanted - found).total()} of the net's shapes are not there.{first} Nothing was loaded. Give the "
        "architecture, size and number of classes that the file was saved from."
    )


def saved_shapes(outline: Outline) -> Counter[tuple[int, ...]]:
    """Returns how many variables of which shape a `.weights.h5` has, without those of an optimizer."""
    return Counter(
        each.shape
        for path, each in outline.datasets.items()
        if "/vars/" in f"/{path}" and not path.startswith(("optimizer/", "_optimizer/"))
        and "/seed_generator" not in f"/{path}"
    )  # fmt: skip


def shapes(model: keras.Layer) -> Counter[tuple[int, ...]]:
    """Returns how many weights of which shape a model or layer has."""
    return Counter(tuple(weight.shape) for weight in model.weights)


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
