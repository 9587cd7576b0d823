"""Weights in the layout of Keras 2, layer by layer: which of them belong to which layer of a net, and into it.

Most published weights are such files. Layout: a group a layer, named in the attribute `layer_names`; in each the
attribute `weight_names` (Keras 2.15, `saving/legacy/hdf5_format.py`). Keras itself pairs layers by order alone,
whatever they are called; here a layer's name has a say too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.errors import IntegrityError
from zoo.loading.saved_order import SavedLayer, in_order_of, layer_variables, spelled
from zoo.store.guards.hdf5 import Dataset, Outline
from zoo.store.unpacking import shown

if TYPE_CHECKING:
    import h5py

BFLOAT16 = "|V2"  # to HDF5, which does not know it
_PIECE = 16 << 20  # bytes that are in memory beside the weights while they are read


def snake_case(name: str) -> str:
    """Returns how Keras begins the names that it makes for layers of a class."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)).casefold()


_AUTOMATIC = {snake_case(name) for name, each in vars(keras.layers).items() if isinstance(each, type)}
_AUTOMATIC |= {"sequential", "functional", "model"}


def is_layered(outline: Outline) -> bool:
    """Returns whether a file has the layout of Keras 2, for weights or (below `model_weights`) a whole model."""
    return any("layer_names" in key.rstrip("0") for key in outline.attributes.get("", {})) or (
        "model_weights" in outline.attributes
    )


def saved_layers(outline: Outline, name: str) -> tuple[SavedLayer, ...]:
    """Returns the layers with weights in a file, in its order.

    Raises:
        IntegrityError: The file lists a weight that it does not have.
    """
    group = "model_weights" if "model_weights" in outline.attributes else ""
    layers = []
    for layer in _names(outline, group, "layer_names"):
        path = f"{group}/{layer}".lstrip("/")
        if path not in outline.attributes:
            raise IntegrityError(
                f"{name} lists the layer {shown(layer)}, and does not have it: it is damaged. Get another copy."
            )
        weights = []
        for weight in _names(outline, path, "weight_names"):
            dataset = outline.datasets.get(f"{path}/{weight}")
            if dataset is None:
                raise IntegrityError(
                    f"{name} lists the weight {shown(weight)} of its layer {shown(layer)}, and does not have it: it is "
                    "damaged. Get another copy."
                )
            weights.append(dataset)
        if weights:
            layers.append(SavedLayer(layer, tuple(weights)))
    return tuple(layers)


def _names(outline: Outline, path: str, attribute: str) -> list[str]:
    """Returns a list of names; Keras splits one that is too long for HDF5 into `..0`, `..1` and so on."""
    found = outline.attributes.get(path, {})
    if attribute in found:
        parts = [found[attribute]]
    else:
        parts = []
        while f"{attribute}{len(parts)}" in found:
            parts.append(found[f"{attribute}{len(parts)}"])
    return [name for part in parts if isinstance(part, list) for name in part if isinstance(name, str)]


def weighted_layers(model: keras.Model) -> list[Any]:
    """Returns the layers of a model that have weights, in the order in which Keras saves them."""
    return [layer for layer in model.layers if layer.weights]


def paired(
    saved: Sequence[SavedLayer], model: keras.Model, name: str, *, lacks: Collection[str] = (), arch: str = ""
) -> dict[str, SavedLayer]:
    """Returns the layer in a file for each layer of `model` that has weights, by the latter's name.

    Where all names agree they decide, whatever the order; else the order decides as in Keras, but no layer may then
    stand where another has its name. In either case all shapes must agree.

    Args:
        saved: The layers in the file.
        model: The net; it may be bare.
        name: What the file is called in messages.
        lacks: Layers that the file may lack.
        arch: What the user calls the net, where Keras has built it; empty: it is a model of its own.

    Raises:
        IntegrityError: The file is another net's: the message names the first layer that does not fit.
    """
    net = arch or shown(model.name)
    layers = [layer for layer in weighted_layers(model) if layer.name not in lacks]
    by_name = {spelled(each.name): each for each in saved}
    if len(by_name) == len(saved) and set(by_name) == {spelled(layer.name) for layer in layers}:
        pairs = [(by_name[spelled(layer.name)], layer) for layer in layers]
    else:
        pairs = list(zip(saved, layers, strict=False))
    known = {spelled(layer.name) for layer in layers}
    ordered: dict[str, SavedLayer] = {}
    for number, (found, layer) in enumerate(pairs, 1):
        here, there = spelled(layer.name), spelled(found.name)
        if there != here and there in known and not _is_automatic(found.name):
            raise IntegrityError(
                f"{name} has its layers in another order than {net}: layer {number} of those with weights is "
                f"{layer.name!r}, and in the file {shown(found.name)}, which stands elsewhere in the net. Save it "
                "again from the model that it was trained in."
            )
        found = in_order_of(layer, found, name, plain=bool(arch))
        _refuse_other_shapes(found, layer, number, model, name, arch)
        ordered[layer.name] = found
    if len(saved) != len(layers):
        raise IntegrityError(_other_count(saved, layers, net, name))
    return ordered


def lacking(saved: Sequence[SavedLayer], model: keras.Model) -> tuple[str, ...]:
    """Returns the layers of `model` with weights that are not in a file, if that has no others than `model`'s."""
    names = {spelled(each.name) for each in saved}
    layers = weighted_layers(model)
    if not names <= {spelled(layer.name) for layer in layers}:
        return ()
    return tuple(layer.name for layer in layers if spelled(layer.name) not in names)


def _refuse_other_shapes(found: SavedLayer, layer: Any, number: int, model: keras.Model, name: str, arch: str) -> None:
    wanted = [tuple(variable.shape) for variable in layer_variables(layer)]
    if wanted != found.shapes:
        raise IntegrityError(
            f"{name} is not a file of {arch or shown(model.name)}: layer {number} of those with weights, "
            f"{layer.name!r}, has weights of shapes {listed(wanted)}; in the file {shown(found.name)} has "
            f"{listed(found.shapes)}. Nothing was loaded. {what_fits(arch)}"
        )


def what_fits(arch: str) -> str:
    """Returns what to do about a file whose weights have other shapes than those of the net `arch`; "": of a model."""
    if not arch:
        return "Save the model again: model.save()"
    return (
        f"Of {arch} only the published width and depth are built, and no other alpha; any size and number of classes. "
        "Give the architecture and the size that the file was saved from (--arch, --input; Python: arch, input_size)."
    )


def _other_count(saved: Sequence[SavedLayer], layers: Sequence[Any], net: str, name: str) -> str:
    names = {spelled(each.name) for each in saved}
    known = {spelled(layer.name) for layer in layers}
    missing = [layer.name for layer in layers if spelled(layer.name) not in names]
    unknown = [shown(each.name) for each in saved if spelled(each.name) not in known]
    told = "".join(
        f" {what}: {', '.join(some[:5])}{' ...' if len(some) > 5 else ''}."
        for what, some in (("Not in the file", missing), ("Not in the net", unknown))
        if some
    )
    return (
        f"{name} is not a whole file of {net}: the net has {len(layers)} layers with weights, the file "
        f"{len(saved)}.{told} Nothing was loaded."
    )


def listed(shapes: Iterable[tuple[int, ...]]) -> str:
    """Returns shapes as in 3x3x64, 64."""
    return ", ".join("x".join(map(str, shape)) or "one number" for shape in shapes) or "none"


def _is_automatic(name: str) -> bool:
    """Returns whether Keras made a name by counting: it says nothing then of where the layer stands."""
    return re.sub(r"_\d+$", "", name) in _AUTOMATIC


def fill_from(path: Path, model: keras.Model, found: Mapping[str, SavedLayer], name: str) -> None:
    """Reads the weights of the layers that `found` has into `model`, a bounded piece at a time.

    Raises:
        IntegrityError: They are of a kind that cannot become the net's, or cannot be read; `model` is of no use then.
    """
    import h5py  # here: a guard has been at the file before

    try:
        with h5py.File(path, "r") as file:
            _fill_layers(model, found, file, name)
    except (OSError, RuntimeError, KeyError) as error:
        raise IntegrityError(f"{name} cannot be read: {error}. Get another copy, or: zoo verify") from error


def _fill_layers(model: keras.Model, found: Mapping[str, SavedLayer], file: h5py.File, name: str) -> None:
    for layer in weighted_layers(model):
        if layer.name not in found:
            continue
        for variable, weight in zip(layer_variables(layer), found[layer.name].weights, strict=True):
            _fill(variable, weight, file[weight.path], f"{name}, layer {layer.name!r}")
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def alike(saved: str, wanted: str) -> bool:
    """Returns whether numbers of both types are of one kind: floats, signed or unsigned integers, truth values."""
    if saved == BFLOAT16:
        return wanted == "bfloat16"
    return saved != "string" and bool(np.dtype(saved).kind == number_kind(wanted))


def number_kind(wanted: str) -> str:
    """Returns the letter by which NumPy tells the kind of a type of Keras: "f", "i", "u", "b" or "c"."""
    is_bfloat16 = wanted == "bfloat16"  # of no kind to NumPy
    return "f" if is_bfloat16 else str(np.dtype(keras.backend.standardize_dtype(wanted)).kind)


def _fill(variable: Any, weight: Dataset, dataset: h5py.Dataset, what: str) -> None:
    if not alike(weight.dtype, variable.dtype):
        raise IntegrityError(
            f"{what}: the weight {shown(variable.name)} is of type {weight.dtype}; {variable.dtype} was expected. "
            "Quantized weights, and bfloat16 (which HDF5 does not know), are not read: save the model in float32."
        )
    for piece in pieces(weight):
        values = cast(dataset[piece], variable.dtype, what)
        if piece == ():
            variable.assign(values)
        else:
            # Keras' own assign() holds the tensor three times meanwhile: VGG16's largest is three quarters of the net.
            variable.value[piece].assign(values)


def pieces(weight: Dataset) -> Iterator[Any]:
    """Yields the parts of a data set to be read at once, as h5py takes them; () of one that is small."""
    if not weight.shape or weight.bytes <= _PIECE:
        yield ()
        return
    rows = max(1, _PIECE * weight.shape[0] // weight.bytes)
    yield from (slice(start, start + rows) for start in range(0, weight.shape[0], rows))


def cast(values: Any, dtype: str, what: str) -> Any:
    """Returns numbers as those of another type, of the same kind.

    Raises:
        IntegrityError: Some have no equal there.
    """
    values = np.asarray(values)
    if values.dtype.kind == "V":
        values = values.view(dtype)  # as it stands in HDF5, which does not know it
    with np.errstate(over="ignore"):
        result = values.astype(keras.backend.standardize_dtype(dtype), copy=False)
    if result.dtype.itemsize < values.dtype.itemsize:
        is_float = values.dtype.kind == "f"
        lost = ~np.isfinite(result) & np.isfinite(values) if is_float else result.astype(values.dtype) != values
        if lost.any():
            raise IntegrityError(f"{what} has values beyond the range of {dtype}. Save the model in {dtype}.")
    return result
