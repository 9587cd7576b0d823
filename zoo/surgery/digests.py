"""What a unit computes, as a digest: equal digests put out equal features, whatever the layers are called.

digest_0 = sha256(input dtype, rank, channels); digest_k = sha256(digest_{k-1}, what unit k is made of, its weights).
"What it is made of" is its layers' classes, the arguments that matter in inference, and the wiring inside the unit.
Layers of Keras are known by their names, and layers of ours by that and a version; of all others the code counts.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
from collections.abc import Mapping
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import keras
import numpy as np

from zoo.converters.importing.layers import VERSION
from zoo.errors import CutError
from zoo.surgery.graph import Call, Graph, Ref, read_graph, sublayers
from zoo.surgery.units import Units

_IRRELEVANT = re.compile(
    r"name|trainable|seed|seed_generator|momentum|build_config|module|batch_(input_)?shape|input_shape|inbound_nodes|"
    r".*_initializer|.*_regularizer|.*_constraint"
)
_UNKNOWN = os.urandom(16).hex()  # of this process
_IDENTITIES: tuple[str, ...] = ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout")
_IDENTITIES += ("GaussianDropout", "GaussianNoise", "ActivityRegularization")


def unit_digests(units: Units, count: int) -> tuple[str, ...]:
    """Returns digest_0 to digest_`count` of a model's units, in hex."""
    source = units.graph.calls[0].layer
    shape = units.graph.shapes[units.graph.input]
    digests = [_sha256(json.dumps([str(source.dtype), len(shape), shape[-1]]).encode())]
    start = units.graph.input
    order = {call.key: number for number, call in enumerate(call for calls in units.calls for call in calls)}
    for calls, end in zip(units.calls[:count], units.ends[:count], strict=True):
        record = [digests[-1], _canonical_calls(calls, start, order)]
        digests.append(_sha256(json.dumps(record, sort_keys=True).encode(), *_weight_bytes(calls)))
        start = end
    return tuple(digests)


def _sha256(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _canonical_calls(calls: tuple[Call, ...], start: Ref, order: Mapping[str, int]) -> list[Any]:
    """Returns calls as plain data: what each is, and which tensors of this unit (or -1: the unit's input) it takes.

    Masks may come from further below; these tensors are named by their calls' place in `order`.
    """
    numbers = {call.key: number for number, call in enumerate(calls)}
    shared = list({id(call.layer): None for call in calls if getattr(call.layer, "weights", None)})

    def place(ref: Ref) -> list[int]:
        if ref == start:
            return [-1]
        if ref.call in numbers:
            return [numbers[ref.call], ref.output]
        return [-2, order.get(ref.call, -1), ref.output]

    return [
        [
            shared.index(id(call.layer)) if id(call.layer) in shared else None,
            _canonical_layer(call.layer),
            _wiring(call.args, place),
            _wiring({key: value for key, value in call.kwargs.items() if key != "training"}, place),
        ]
        for call in calls
    ]


def _wiring(value: Any, place: Any) -> Any:
    if isinstance(value, Ref):
        return {"tensor": place(value)}
    if isinstance(value, Mapping):
        return {key: _wiring(item, place) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_wiring(item, place) for item in value]
    return value


def _canonical_layer(layer: Any) -> Any:
    if isinstance(layer, keras.Model):
        try:
            inner: Graph = read_graph(layer)
        except CutError:  # of several outputs: known by its whole configuration, names included
            return keras.saving.serialize_keras_object(layer)
        return _canonical_calls(inner.calls[1:], inner.input, {})
    if not is_from_keras(layer) and not _is_ours(layer):
        return _canonical_custom_layer(layer)
    if is_from_keras(layer) and type(layer).__name__ in _IDENTITIES:
        return "identity"
    inside = [_of_others(part) for part in sublayers(layer) if not is_from_keras(part)]
    inside += [_function(function) for function in foreign_functions(layer)]
    return [_precisions(layer), _relevant(keras.saving.serialize_keras_object(layer)), *inside]


def is_from_keras(layer: Any) -> bool:
    """Returns whether a layer's class is one of Keras' own."""
    return type(layer).__module__.split(".")[0] == "keras"


def _is_ours(layer: Any) -> bool:
    return type(layer).__module__.startswith(("zoo.converters.", "zoo.loading."))


def _of_others(layer: Any) -> Any:
    """Returns what counts of a layer that is not from Keras beside what its configuration says."""
    return ["zoo", VERSION] if _is_ours(layer) else _canonical_custom_layer(layer)


def foreign_functions(layer: Any) -> list[FunctionType]:
    """Returns functions of somebody else's that a Keras layer was given, such as an activation."""
    return [
        value
        for part in sublayers(layer)
        for value in vars(part).values()
        if inspect.isfunction(value) and value.__module__.split(".")[0] not in ("keras", "tensorflow", "zoo")
    ]


def _function(function: FunctionType, deeper: int = 4) -> list[Any]:
    """Returns what a function does: its code, and the values that it has by default and from where it was made."""
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
    defaults = [*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items())]
    return [_instructions(function.__code__), [_captured(each, deeper - 1) for each in (*defaults, *cells)]]


def _captured(value: Any, deeper: int) -> Any:
    """Returns a value that a function uses, as plain data; of one that cannot be told, what no other process has."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, ModuleType | type):
        return getattr(value, "__qualname__", value.__name__)
    if deeper and inspect.isfunction(value):
        return _function(value, deeper)
    if deeper and isinstance(value, list | tuple):
        return [type(value).__name__, *(_captured(each, deeper - 1) for each in value)]
    if isinstance(value, np.ndarray | keras.Variable) or keras.ops.is_tensor(value):
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(value))
        return [array.dtype.name, list(array.shape), _sha256(array.tobytes())]
    return f"{_UNKNOWN} {id(value)}"


def _instructions(code: CodeType) -> list[Any]:
    """Returns what a function does, and not where it stands: the names of files and the numbers of lines are no part.

    Versions of Python have other instructions for the same source.
    """
    names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
    counts = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
    caught = code.co_exceptiontable.hex()
    return [code.co_code.hex(), caught, names, counts, [_constant(each) for each in code.co_consts]]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _instructions(value)
    if isinstance(value, tuple):
        return ["tuple", *map(_constant, value)]
    if isinstance(value, frozenset):
        return ["frozenset", *sorted(map(repr, value))]
    return repr(value)


def _precisions(layer: Any) -> list[str]:
    """Returns the names of the dtype policies of a layer and those inside it: what they compute in."""
    return [part.dtype_policy.name for part in sublayers(layer) if isinstance(part, keras.Layer)]


def _canonical_custom_layer(layer: Any) -> Any:
    """Returns what a layer of somebody else's computes: where its class is from, all its arguments, and its code."""
    config = {key: value for key, value in layer.get_config().items() if key not in ("name", "trainable")}
    code = [
        _instructions(value.__code__)
        for part in sublayers(layer)
        for base in type(part).__mro__
        if base.__module__.split(".")[0] not in ("keras", "builtins", "tensorflow")
        for value in vars(base).values()
        if hasattr(value, "__code__")
    ]
    names = [type(layer).__module__, type(layer).__qualname__]
    return [
        names,
        _precisions(layer),
        keras.saving.serialize_keras_object(config),
        _sha256(json.dumps(code).encode()),
    ]


def _relevant(value: Any) -> Any:
    """Returns configuration without what changes no inference: names, initializers, seeds and the like."""
    if isinstance(value, Mapping):
        return {
            key: _relevant(item) for key, item in value.items() if not _IRRELEVANT.fullmatch(key) and item is not None
        }
    if isinstance(value, list | tuple):
        return [_relevant(item) for item in value]
    return value


def _weight_bytes(calls: tuple[Call, ...]) -> list[Any]:
    parts: list[Any] = []
    for layer in {id(call.layer): call.layer for call in calls}.values():
        for weight in layer.get_weights() if isinstance(layer, keras.Layer) else []:
            array = np.ascontiguousarray(weight)
            parts += [f"{array.dtype.name} {list(array.shape)} ".encode(), array.reshape(-1).view(np.uint8)]
    return parts
