"""What a model that was loaded wants to see: its own shape, and how its user says that pictures become numbers."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from zoo.adding.told import Size, Told
from zoo.errors import UsageError
from zoo.registry import InputSpec
from zoo.registry.presets import chosen_input
from zoo.store.unpacking import shown
from zoo.surgery import scaling_layer


def sizes_text(sizes: Sequence[int | None]) -> str:
    """Returns a shape as in 28x28x1, with ? where any size will do."""
    return "x".join("?" if size is None else str(size) for size in sizes)


def picture_size(size: Size) -> tuple[int | None, int | None, int]:
    """Returns a size that the user gave as one of pictures."""
    if len(size) != 3 or size[2] is None:
        raise UsageError(f"Expected height, width and channels, as in 224x224x3; got {sizes_text(size)}.")
    return size[0], size[1], size[2]


def wanted_input(told: Told, model: keras.Model, notes: list[str]) -> InputSpec | None:
    """Returns how the model wants pictures, as its user or its run says it; None where it takes none."""
    if told.run is not None:
        return told.run.input
    shape = tuple(model.inputs[0].shape[1:]) if len(model.inputs) == 1 else ()
    size = _agreed(told.size, shape, model) if told.size is not None else shape
    kind = str(keras.backend.standardize_dtype(model.inputs[0].dtype))
    if len(size) != 3 or size[2] not in (1, 3) or not kind.startswith(("float", "bfloat", "uint8")):
        if told.tells_preprocessing:
            takes = f"{sizes_text(size)} numbers ({kind})" if size else f"{len(model.inputs)} inputs at once"
            raise UsageError(
                f"{told.name} takes no pictures of 1 or 3 channels, but {takes}: there is nothing to preprocess. Leave "
                "--preprocess, --color, --scale, --mean and --std away (Python: the arguments of those names)."
            )
        return None
    picture = (size[0], size[1], int(size[2] or 0))
    preprocess = told.preprocess
    hint = _hint(told, model)
    if not told.tells_preprocessing and told.ask is not None:
        preprocess = told.ask(chosen_input(picture), hint)
    spec = chosen_input(picture, preprocess, **told.numbers)
    if spec.scale is None:
        notes.append(
            "How pictures become numbers is not known, and not guessed: zoo transfer refuses it so. Say it with "
            "--preprocess (none, unit, tf, torch, caffe or a model) and --replace (Python: preprocess, replace=True). "
            f"{hint}".rstrip()
        )
    elif (first := scaling_layer(model)) is not None and not _keeps_values(spec):
        notes.append(
            f"Its own first layer, {shown(first.name)}, scales numbers already, and this preprocessing scales them "
            "before that. If it was trained on pictures of 0..255, say so: --preprocess none --replace (Python: "
            "preprocess='none', replace=True)."
        )
    return spec


def _keeps_values(spec: InputSpec) -> bool:
    return spec.scale == 1 and not any(spec.mean) and all(each == 1 for each in spec.std)


def _agreed(told: Size, shape: Sequence[int | None], model: keras.Model) -> tuple[int | None, ...]:
    """Returns the size of the input where user and file agree; what one leaves open, the other may say."""
    fits = len(told) == len(shape) and all(None in pair or pair[0] == pair[1] for pair in zip(told, shape, strict=True))
    if not fits:
        raise UsageError(
            f"Expected the input {sizes_text(told)} that was asked for; the model {shown(model.name)} takes "
            f"{sizes_text(shape) or f'{len(model.inputs)} inputs'}. Leave --input (Python: input_size) away, or say "
            "what is so."
        )
    return tuple(own or said for said, own in zip(told, shape, strict=True))


def _hint(told: Told, model: keras.Model) -> str:
    """Returns what points to a way of preprocessing, for a person to judge."""
    inside = [
        layer.name
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization)
    ]
    if inside:
        return f"Its layer {shown(inside[0])} scales numbers itself, which points to none."
    return f"Weights trained by the makers of keras.applications want: {told.arch}." if told.arch else ""
