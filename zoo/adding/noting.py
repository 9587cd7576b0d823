"""What is worth knowing of a model that is added, in words, and what to do about it. Decides and keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from zoo.adding.wanted import sizes_text
from zoo.registry import Entry, OutputSpec
from zoo.store.unpacking import shown

_NAMED = 5  # layers that a message names; the others are counted


def some(names: Sequence[str]) -> str:
    """Returns the first of some names, and how many more there are.

    >>> some(["a", "b"])
    "'a', 'b'"
    """
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(shown, names[:_NAMED])) + more


def headless(layers: Sequence[str]) -> str:
    """Returns what there is to say of weights that lack the classifier, which consists of `layers`."""
    return (
        f"It is headless: the weights of the classifier ({some(layers)}) are not in the file. zoo.load_model gives the "
        "net below it, and zoo transfer puts a new head there."
    )


def lacking(layers: Sequence[str]) -> list[str]:
    """Returns what there is to say of layers whose weights were not in the file, or not wanted of it."""
    if not layers:
        return []
    return [f"It lacks {len(layers)} layers, which start as in training from scratch: {some(layers)}."]


def sizes(entry: Entry, model: keras.Model) -> list[str]:
    """Returns what there is to say of weights whose user did not tell the size of pictures."""
    is_told = any(isinstance(layer, keras.layers.Flatten) for layer in model.layers)
    if is_told and entry.files[0].role == "weights":
        return []
    return [
        f"Weights do not tell the size of pictures: {sizes_text(model.input_shape[1:])} is taken, the default of "
        f"{entry.arch}. Another: --input HxWxC --replace (Python: input_size, replace=True)."
    ]


def nonfinite(layers: Sequence[str]) -> str:
    """Returns what there is to say of weights that are NaN or infinite in `layers`."""
    return (
        f"Weights are not finite (NaN or infinite) in {some(layers)}. Whatever is made of it is worth nothing; zoo "
        "transfer refuses it, unless --allow-nonfinite (Python: allow_nonfinite=True)."
    )


def features(output: OutputSpec, model: keras.Model) -> list[str]:
    """Returns what there is to say of a model whose last layer may be a classifier without its softmax."""
    last = model.outputs[0]._keras_history.operation
    if not output.features or not isinstance(last, keras.layers.Dense) or last.activation != keras.activations.linear:
        return []
    return [
        f"Its last layer, {shown(last.name)}, ends without a softmax, so its {output.features} numbers are taken for "
        f"features. If they are the logits of {output.features} classes, say so: --logits --replace (Python: "
        "logits=True, replace=True)."
    ]


def own_classes(model: keras.Model) -> list[str]:
    """Returns what there is to say of a model of classes, or activations, that somebody registered with Keras."""
    known = keras.saving.get_custom_objects()
    parts = [part for layer in model._flatten_layers() for part in (type(layer), getattr(layer, "activation", None))]
    others = [part for part in parts if callable(part) and getattr(part, "__module__", "").split(".")[0] != "zoo"]
    names = {keras.saving.get_registered_name(part) for part in others}
    if not (own := sorted(name for name in names if name in known)):
        return []
    return [
        f"It needs {some(own)}, which only this process knows: the command line cannot load it, for zoo imports no "
        "code that a file names. Other programs import the module that registers it before zoo.load_model."
    ]
