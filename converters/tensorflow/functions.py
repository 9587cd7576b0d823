"""The function of a loaded SavedModel that is converted: of a signature, or one that Python calls, by its arguments."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from zoo.converters.tensorflow.saved_models import chosen_signature

from zoo.errors import NotConvertible, UsageError, nearest_names

_CALL = "__call__"
_TRAINING = re.compile(r"train|learning_phase", re.IGNORECASE)


@dataclass(frozen=True)
class Function:
    """A function that was traced.

    Attributes:
        concrete: The function as a graph.
        call: What computes it: takes tensors and other values as `arguments` has them.
        arguments: Its positional and named arguments; specifications stand for tensors.
        inputs: What its tensors are called, in their order.
        outputs: What comes out is called, in its order.
        name: What the function itself is called, or its signature.
    """

    concrete: Any
    call: Callable[..., Any]
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str = ""

    def run(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what the function makes of tensors; those that are not given are zeros, of sizes like the others'."""
        specs = [each for each in tf.nest.flatten(self.arguments) if isinstance(each, tf.TensorSpec)]
        both = zip(self.inputs, specs, strict=True)
        given = iter([tensors[name] if name in tensors else _zeros(spec, tensors) for name, spec in both])
        filled = tf.nest.map_structure(
            lambda each: next(given) if isinstance(each, tf.TensorSpec) else each, self.arguments
        )
        found = tf.nest.flatten(self.call(*filled[0], **filled[1]))
        return dict(zip(self.outputs, found, strict=True))


def _zeros(spec: Any, others: Mapping[str, Any]) -> Any:
    """Returns a made-up value: where a size is open, that of what is given, for there may be as many examples."""
    sizes: dict[int, int] = {}
    for each in others.values():
        sizes |= {axis: size for axis, size in enumerate(each.shape) if axis not in sizes}
    shape = [] if spec.shape.rank is None else list(spec.shape)
    return tf.zeros([sizes.get(axis, 1) if size is None else size for axis, size in enumerate(shape)], spec.dtype)


def chosen_function(
    loaded: Any, signature: str | None, arguments: Mapping[str, Any] | None, folder: str = "the SavedModel"
) -> Function:
    """Returns the function of a loaded SavedModel that is meant.

    Args:
        loaded: What `tf.saved_model.load` returns.
        signature: The name of a signature, or of a function, such as "__call__"; None: what it does in inference when
            it is called itself, or else what it has for serving, or its only signature.
        arguments: What else the function is told, such as {"trainable": False}: without, that it does not train.
        folder: What the SavedModel is called in messages.

    Raises:
        UsageError: There is no such signature or function, or none for these arguments; or there are several.
        NotConvertible: It has nothing that can be called.
    """
    signatures, own = dict(getattr(loaded, "signatures", {})), _functions(loaded)
    name = signature
    if name is None and _CALL in own and (arguments or _infers(own[_CALL])):
        name = _CALL
    if name is None:
        name = chosen_signature([*(signatures or own)], None)
    if name is None:
        raise NotConvertible(f"Nothing in {folder} can be called: it has no signature and no function.")
    if name in own:
        return dataclasses.replace(_traced(own[name], name, arguments or {}), name=name)
    if name not in signatures:
        known = [*signatures, *own]
        told = ", ".join(map(repr, sorted(known))) or "it has none"
        raise UsageError(f"Expected a signature of the SavedModel ({told}); got {name!r}.{nearest_names(name, known)}")
    if arguments:
        known_functions = ", ".join(map(repr, own)) or "none"
        raise UsageError(
            f"Signatures take no arguments besides tensors; functions do ({known_functions}): signature='__call__'."
        )
    return dataclasses.replace(_function(signatures[name], signatures[name]), name=name)


def _functions(loaded: Any) -> dict[str, Any]:
    """Returns the functions of a loaded SavedModel that Python can call, by their names."""
    names = [_CALL, *(each for each in dir(loaded) if not each.startswith("_"))]
    found = {name: getattr(loaded, name, None) for name in names if name != "signatures"}
    return {name: each for name, each in found.items() if getattr(each, "concrete_functions", None)}


def _traced(function: Any, name: str, arguments: Mapping[str, Any]) -> Function:
    """Returns a function as it was traced for some arguments: for those of the most open sizes."""
    fitting = _fitting(function, arguments)
    if not fitting or fitting[0][0]:
        ways = "; ".join(dict.fromkeys(str(_told(each)) for each in function.concrete_functions))
        raise UsageError(
            f"The function {name!r} was saved for these arguments: {ways or 'none'}. Expected some of them "
            f"(arguments=...); got {dict(arguments)}."
        )
    return _function(fitting[0][1], function)


def _infers(function: Any) -> bool:
    """Returns whether a function was traced for inference, too."""
    fitting = _fitting(function, {})
    return bool(fitting) and not fitting[0][0]


def _fitting(function: Any, arguments: Mapping[str, Any]) -> list[tuple[int, Any]]:
    """Returns how a function was traced for some arguments, each with how many flags train: the fittest first."""
    fitting: list[tuple[int, int, Any]] = []
    for concrete in function.concrete_functions:
        told = _told(concrete)
        if set(arguments) <= set(told) and all(told[key] == value for key, value in arguments.items()):
            rest = {key: value for key, value in told.items() if key not in arguments}
            trains = sum(bool(value) for key, value in rest.items() if _TRAINING.search(key))
            fitting.append((trains, -_open_sizes(concrete), concrete))
    return [(trains, concrete) for trains, _, concrete in sorted(fitting, key=lambda each: each[:2])]


def _told(concrete: Any) -> dict[str, Any]:
    """Returns what a function was told besides tensors, by the names of its parameters."""
    args, named = concrete.structured_input_signature
    names = [each for each in concrete.function_type.parameters if each not in named]
    both = {**dict(zip(names, args, strict=False)), **named}
    return {name: value for name, value in both.items() if not _has_tensors(value)}


def _has_tensors(value: Any) -> bool:
    return any(isinstance(each, tf.TypeSpec) for each in tf.nest.flatten(value))


def _open_sizes(concrete: Any) -> int:
    specs = _specs(concrete)
    return sum(9 if each.shape.rank is None else list(each.shape).count(None) for each in specs)


def _specs(concrete: Any) -> list[Any]:
    return [each for each in tf.nest.flatten(concrete.structured_input_signature) if isinstance(each, tf.TypeSpec)]


def _function(concrete: Any, call: Callable[..., Any]) -> Function:
    specs = _specs(concrete)
    if odd := [each for each in specs if not isinstance(each, tf.TensorSpec)]:
        raise NotConvertible(f"Expected tensors to go into the SavedModel; {odd[0]} is of another kind.")
    args, named = concrete.structured_input_signature
    inputs = _unique([each.name or f"input_{number}" for number, each in enumerate(specs)])
    return Function(concrete, call, (tuple(args), dict(named)), inputs, _output_names(concrete.structured_outputs))


def _output_names(structure: Any) -> tuple[str, ...]:
    """Returns what outputs are called: by their keys, or by numbers."""
    count = len(tf.nest.flatten(structure))
    if isinstance(structure, Mapping):
        names = [str(key) for key in sorted(structure) for _ in tf.nest.flatten(structure[key])]
        return _unique(names)
    return ("output",) if count == 1 else tuple(f"output_{number}" for number in range(count))


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        number, each = 1, name
        while each in found:
            number, each = number + 1, f"{name}_{number + 1}"
        found.append(each)
    return tuple(found)
