"""The function of a loaded SavedModel that is converted: of a signature, or one that Python calls, by its arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from zoo.converters.tensorflow.saved_models import chosen_signature

from zoo.errors import NotConvertible, UsageError

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
    """

    concrete: Any
    call: Callable[..., Any]
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what the function makes of tensors."""
        given = iter([tensors[name] for name in self.inputs])
        filled = tf.nest.map_structure(
            lambda each: next(given) if isinstance(each, tf.TensorSpec) else each, self.arguments
        )
        found = tf.nest.flatten(self.call(*filled[0], **filled[1]))
        return dict(zip(self.outputs, found, strict=True))


def chosen_function(
    loaded: Any, signature: str | None, arguments: Mapping[str, Any] | None, folder: str = "the SavedModel"
) -> Function:
    """Returns the function of a loaded SavedModel that is meant.

    Args:
        loaded: What `tf.saved_model.load` returns.
        signature: The name of a signature, or of a function, such as "__call__"; None: what it has for serving, or
            else what it does when it is called.
        arguments: What else the function is told, such as {"trainable": False}: without, that it does not train.
        folder: What the SavedModel is called in messages.

    Raises:
        UsageError: There is no such signature or function, or none for these arguments.
        NotConvertible: It has nothing that can be called.
    """
    signatures = dict(getattr(loaded, "signatures", {}))
    own = _functions(loaded)
    if signature in own or (signature is None and _CALL in own and (arguments or not signatures)):
        return _traced(own[signature or _CALL], signature or _CALL, arguments or {})
    name = chosen_signature(list(signatures) if signatures else [*signatures, *own], signature)
    if name is None:
        raise NotConvertible(f"Nothing in {folder} can be called: it has no signature and no function.")
    if name in own and name not in signatures:
        return _traced(own[name], name, arguments or {})
    if arguments:
        known = ", ".join(map(repr, own)) or "none"
        raise UsageError(f"Signatures take no arguments besides tensors; functions do ({known}): signature='__call__'.")
    concrete = signatures[name]
    return _function(concrete, concrete)


def _functions(loaded: Any) -> dict[str, Any]:
    """Returns the functions of a loaded SavedModel that Python can call, by their names."""
    names = [_CALL, *(each for each in dir(loaded) if not each.startswith("_"))]
    found = {name: getattr(loaded, name, None) for name in names if name != "signatures"}
    return {name: each for name, each in found.items() if getattr(each, "concrete_functions", None)}


def _traced(function: Any, name: str, arguments: Mapping[str, Any]) -> Function:
    """Returns a function as it was traced for some arguments: for those of the most open sizes."""
    fitting: list[tuple[int, int, int, Any]] = []
    for concrete in function.concrete_functions:
        told = _told(concrete)
        if set(arguments) <= set(told) and all(told[key] == value for key, value in arguments.items()):
            rest = {key: value for key, value in told.items() if key not in arguments}
            trains = sum(bool(value) for key, value in rest.items() if _TRAINING.search(key))
            fitting.append((trains, -_open_sizes(concrete), len(fitting), concrete))
    if not fitting or min(fitting)[0]:
        ways = "; ".join(dict.fromkeys(str(_told(each)) for each in function.concrete_functions))
        raise UsageError(
            f"The function {name!r} was saved for these arguments: {ways or 'none'}. Expected some of them "
            f"(arguments=...); got {dict(arguments)}."
        )
    concrete = min(fitting, key=lambda each: each[:3])[3]
    return _function(concrete, function)


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
