"""Preprocessing: what a model wants to see, made of decoded examples with Keras operations.

The same few layers serve extraction, training, predicting and the saved model, so none of them can disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.registry import InputSpec


def preprocess(tensor: Any, spec: InputSpec | None) -> Any:
    """Returns what the model sees of `tensor`, a symbolic batch of decoded examples.

    Args:
        tensor: float32 [batch, height, width, channels] pictures 0..255, or [batch, ...] rows.
        spec: What the model wants; None leaves the tensor as it is.

    Raises:
        DataError: The examples' channels cannot become the model's, or nobody published what it wants in numbers.
    """
    if spec is None:
        return tensor
    refuse_unknown(spec)
    if len(tensor.shape) == 4:
        tensor = _resize(tensor, spec)
        tensor = _recolor(tensor, spec)
    return _normalize(tensor, spec)


def refuse_unknown(spec: InputSpec) -> None:
    """Raises `DataError` where part of a spec is not known in numbers: a guess gives plausible, wrong pictures."""
    if spec.scale is None or spec.color is None:
        raise DataError(
            "Its publisher, or who added it, does not say how this model wants pictures (colour order, scale, mean). "
            "Say it yourself: preprocessing=zoo.InputSpec(size, color=..., scale=..., mean=...); or, for a model that "
            "you added, once and for all: zoo add FILE --replace --preprocess HOW."
        )
    if spec.mean_file and not spec.mean:
        raise DataError(
            f"This model wants the mean picture of the file {spec.mean_file} subtracted, which is not among its own. "
            "If you have it, add the model with it (zoo where NAME tells where its files are): zoo add DEFINITION "
            f"WEIGHTS {spec.mean_file} --name my-model. Or say the mean of each channel yourself: preprocessing="
            "zoo.InputSpec(size, color=..., scale=..., mean=...)."
        )


def preprocessing_model(spec: InputSpec | None, shape: Sequence[int | None], dtype: str = "float32") -> keras.Model:
    """Returns preprocessing alone as a model of decoded examples of `shape` (without the batch) and `dtype`."""
    examples = keras.Input(tuple(shape), dtype=dtype, name="examples")
    return keras.Model(examples, preprocess(examples, spec), name="preprocessing")


def preprocessed_shape(
    spec: InputSpec | None, shape: Sequence[int | None], wanted: Sequence[int | None]
) -> tuple[int | None, ...]:
    """Returns the shape that examples of `shape` have once preprocessed; None in it where that varies.

    Args:
        spec: What is done to them.
        shape: Of a decoded example.
        wanted: What the model takes; None in it where any size will do.

    Raises:
        DataError: The model cannot take them; the message says what was expected and found.
    """
    _refuse_texts(shape, wanted)
    found = tuple(preprocessing_model(spec, shape).output_shape[1:])
    fits = len(found) == len(wanted) and all(
        want is None or want == size for want, size in zip(wanted, found, strict=True)
    )
    if not fits:
        raise DataError(
            f"The model wants examples of shape {list(wanted)}; these have {list(shape)}"
            + (f", and {list(found)} once preprocessed." if found != tuple(shape) else ".")
        )
    return found


def _refuse_texts(shape: Sequence[int | None], wanted: Sequence[int | None]) -> None:
    """Refuses texts, which have no shape, for a model of something else; and all else for a model of texts."""
    if not shape and wanted:
        raise DataError(
            f"The model wants examples of shape {list(wanted)}; these are texts. Give it pictures or rows, or take a "
            "model of texts."
        )
    if shape and not wanted:
        raise DataError(
            f"The model wants texts; these are pictures or rows of shape {list(shape)}. Give it a table (.csv) of "
            "text,label."
        )


def _resize(tensor: Any, spec: InputSpec) -> Any:
    size = tuple(spec.size[:2])
    if None in size:
        return tensor
    if spec.applied_fit == "center_crop":
        if isinstance(spec.resize_to, int):
            tensor = _shorter_side_resized(tensor, spec.resize_to, spec.applied_resize)
        else:
            tensor = _resized(tensor, tuple(spec.resize_to or size), spec.applied_resize)
        return tensor if tuple(tensor.shape[1:3]) == size else keras.layers.CenterCrop(*size, name="crop")(tensor)
    return _resized(tensor, size, spec.applied_resize)


def _resized(tensor: Any, size: tuple[int | None, ...], interpolation: str) -> Any:
    if tuple(tensor.shape[1:3]) == size:
        return tensor
    return keras.layers.Resizing(*size, interpolation=interpolation, name="resize")(tensor)


def _shorter_side_resized(tensor: Any, side: int, interpolation: str) -> Any:
    """Returns the middle square of pictures whose shorter side is made `side` pixels, with their proportions kept."""
    square = keras.layers.Resizing(
        side, side, interpolation=interpolation, crop_to_aspect_ratio=True, name="resize"
    )  # which crops first: the same pixels but for rounding, and fewer to resize
    return square(tensor)


def _recolor(tensor: Any, spec: InputSpec) -> Any:
    have, want = tensor.shape[-1], 1 if spec.color == "gray" else 3
    if have == 1 and want == 3:
        return keras.layers.Concatenate(name="gray_to_rgb")([tensor] * 3)
    if have == 3 and want == 1:
        return keras.ops.image.rgb_to_grayscale(tensor)
    if have != want:
        raise DataError(f"The model wants {spec.color} pictures ({want} channels); the examples have {have}.")
    return keras.ops.flip(tensor, axis=-1) if spec.color == "BGR" else tensor


def _normalize(tensor: Any, spec: InputSpec) -> Any:
    """Applies (x * scale - mean) / std, as one multiplication and one addition."""
    std = np.asarray(spec.std or (1.0,))
    factor = (1.0 if spec.scale is None else spec.scale) / std
    offset = -np.asarray(spec.mean or (0.0,)) / std
    if np.all(factor == 1) and np.all(offset == 0):
        return tensor
    return keras.layers.Rescaling(_plain(factor), _plain(offset), name="normalize")(tensor)


def _plain(values: NDArray[np.float64]) -> float | list[float]:
    """Returns one number where all channels agree: a saved model then says it once."""
    return float(values[0]) if np.all(values == values[0]) else [float(value) for value in values]
