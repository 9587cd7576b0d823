"""Builds nets: the bare structure without memory for weights, and the same net with room for them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import keras

from zoo.errors import UsageError, nearest_names
from zoo.registry.architectures import ARCHITECTURES

T = TypeVar("T")

# What the published EfficientNet-B0..B7 have behind their Normalization, and Keras builds only when it fetches their
# weights: Normalization divides by the variance, and the original divides by its root once more.
_STANDARD_DEVIATIONS = (0.229, 0.224, 0.225)
_RESCALED = tuple(f"efficientnetb{number}" for number in range(8))


def build_architecture(
    arch: str, size: Sequence[int | None] | None = None, classes: int | None = None, *, top: bool = True
) -> keras.Model:
    """Returns a net of `keras.applications` without weights, as it is published: to be looked at, not to be run.

    Its layers have the names and shapes of the real one, but no memory is taken for weights; `roomy_copy` has it.

    Args:
        arch: A key of `zoo.registry.architectures.ARCHITECTURES`.
        size: Height, width and channels of the input; None, or None in it: as Keras has it.
        classes: How many the classifier tells apart; None: as Keras has it.
        top: Whether to build the classifier too.

    Raises:
        UsageError: Keras has no such architecture, or not of that size.

    >>> build_architecture("vgg16").count_params()
    138357544
    """
    if arch not in ARCHITECTURES:
        near = nearest_names(arch, ARCHITECTURES)
        raise UsageError(f"Expected an architecture of keras.applications; got {arch!r}.{near}")
    options: dict[str, Any] = {"input_shape": None if size is None or None in size else tuple(size), "include_top": top}
    if top:
        options["classes"] = classes or 1000
    function = getattr(keras.applications, ARCHITECTURES[arch].function)

    def build() -> keras.Model:
        model = function(weights=None, **options)
        return _with_trained_rescaling(model) if arch in _RESCALED else model

    try:
        return without_memory(build)
    except ValueError as error:
        shown = "x".join(map(str, size or ()))
        raise UsageError(f"Keras cannot build {arch} for an input of {shown}: {error}") from error


def without_memory(build: Callable[[], T]) -> T:
    """Returns what `build` makes of layers, whose variables have shapes, but no values and no memory for them."""

    def bare() -> T:
        # Variables that are made in this scope get their values when it is left: it never is.
        keras.StatelessScope().__enter__()
        return build()

    # What Keras remembers by thread ends with a thread of its own: the open scope, and how layers' names were counted.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(bare).result()


def _with_trained_rescaling(model: keras.Model) -> keras.Model:
    factors = [deviation**-0.5 for deviation in _STANDARD_DEVIATIONS]

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        output = layer(*args, **kwargs)
        return keras.layers.Rescaling(factors)(output) if isinstance(layer, keras.layers.Normalization) else output

    return keras.models.clone_model(model, _same_input(model), call_function=call)


def _same_input(model: keras.Model) -> Any:
    return keras.Input(batch_shape=model.input.shape, dtype=model.input.dtype, name=model.layers[0].name)


def roomy_copy(model: keras.Model, random: Collection[str] = ()) -> keras.Model:
    """Returns `model` with memory for its weights, all zero: whoever fills them pays for no random numbers first.

    Args:
        model: A functional model, such as `build_architecture` gives.
        random: Names of layers that nobody will fill: they start as training from scratch would, always the same.
    """
    emptied: list[tuple[Any, dict[str, Any]]] = []

    def copied(layer: Any) -> Any:
        copy = type(layer).from_config(layer.get_config())
        initializers = {name: value for name, value in vars(copy).items() if name.endswith("_initializer") and value}
        for name, initializer in initializers.items():
            seeded = (
                _seeded(initializer, f"{layer.name} {name}") if layer.name in random else keras.initializers.Zeros()
            )
            setattr(copy, name, seeded)
        emptied.append((copy, initializers))
        return copy

    copy = keras.models.clone_model(model, _same_input(model), clone_function=copied, recursive=True)
    for layer, initializers in emptied:  # a rival from scratch starts from these
        for name, initializer in initializers.items():
            setattr(layer, name, initializer)
    return copy


def _seeded(initializer: Any, salt: str) -> Any:
    config = initializer.get_config()
    return type(initializer).from_config({**config, "seed": zlib.crc32(salt.encode())} if "seed" in config else config)
