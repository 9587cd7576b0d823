"""The variables of a graph of TensorFlow 1, and their values in its checkpoint.

A graph has operations by which its Saver restored it: they tell under which name a variable's values are kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from zoo.converters.tensorflow.graphs import Array, Message, Weight, by_name, data_inputs, maker

from zoo.errors import IntegrityError, nearest_names

_REFERENCES, _HANDLES = {"Variable", "VariableV2"}, {"VarHandleOp"}
_ASSIGNING = {"Assign", "AssignVariableOp"}


def variable_kinds(graph: Message) -> dict[str, tuple[Any, Any]]:
    """Returns the types and shapes of a graph's variables, by the names of their nodes."""
    return {
        node.name: (tf.as_dtype(node.attr["dtype"].type), tf.TensorShape(node.attr["shape"].shape))
        for node in graph.node
        if node.op in _REFERENCES | _HANDLES
    }


def saved_values(
    prefix: str | os.PathLike[str], graph: Message, kinds: Mapping[str, tuple[Any, Any]]
) -> dict[str, Weight]:
    """Returns the values of variables, by the names of their nodes, read one at a time.

    Args:
        prefix: The checkpoint.
        graph: The whole graph, with its Saver's operations.
        kinds: The variables that are wanted.

    Raises:
        IntegrityError: The checkpoint is damaged, or lacks one, or has it in another shape or type.
    """
    try:
        reader = tf.train.load_checkpoint(os.fspath(prefix))
        known = reader.get_variable_to_shape_map()
    except Exception as error:  # of TensorFlow, of many kinds
        raise _damaged(prefix, error) from error
    places, nodes, found = _places(graph), by_name(graph), {}
    for name, (dtype, shape) in kinds.items():
        shared = nodes[name].attr["shared_name"].s.decode(errors="replace") if name in nodes else ""
        keys = [places[name][0]] if name in places else [each for each in (name, shared) if each]
        key = next((each for each in keys if each in known), None)
        if key is None:
            raise IntegrityError(
                f"The checkpoint {os.fspath(prefix)} has no values for the variable {keys[0]!r} of its graph."
                f"{nearest_names(keys[0], list(known))} Both must have been saved together."
            )
        try:
            array = reader.get_tensor(key)
        except Exception as error:  # of TensorFlow, of many kinds
            raise _damaged(prefix, error) from error
        if name in places and places[name][1]:
            array = array[_part(places[name][1])]
        found[name] = Weight(key, _checked(array, dtype, shape, key, prefix))
    return found


def _damaged(prefix: str | os.PathLike[str], error: Exception) -> IntegrityError:
    why = " ".join(str(error).split())[:300]
    return IntegrityError(f"The checkpoint {os.fspath(prefix)} is damaged, or not whole: {why}. Get it again.")


def _checked(array: Any, dtype: Any, shape: Any, key: str, prefix: str | os.PathLike[str]) -> Array:
    found = tf.as_dtype(array.dtype)
    if found != dtype or not shape.is_compatible_with(array.shape):
        raise IntegrityError(
            f"The variable {key!r} is {dtype.name} of shape {shape} in the graph, and {found.name} of shape "
            f"{array.shape} in the checkpoint {os.fspath(prefix)}. Both must have been saved together."
        )
    checked: Array = array
    return checked


def _places(graph: Message) -> dict[str, tuple[str, str]]:
    """Returns the names under which variables are kept, and of which part of them, by the variables' nodes."""
    nodes, found = by_name(graph), dict[str, tuple[str, str]]()
    for node in graph.node:
        if node.op not in _ASSIGNING:
            continue
        target, value = data_inputs(node)[:2]
        while (source := nodes.get(maker(value))) is not None and source.op == "Identity":
            value = data_inputs(source)[0]
        if source is None or source.op != "RestoreV2" or maker(target) in found:
            continue
        names, parts = (_texts(nodes.get(maker(each))) for each in data_inputs(source)[1:3])
        number = int(value.partition(":")[2])
        if number < min(len(names), len(parts)):
            found[maker(target)] = names[number], parts[number]
    return found


def _texts(node: Message | None) -> list[str]:
    if node is None or node.op != "Const":
        return []
    return [each.decode(errors="replace") for each in tf.make_ndarray(node.attr["value"].tensor).reshape(-1).tolist()]


def _part(spec: str) -> tuple[slice, ...]:
    """Returns which part of a whole variable one is, as a Saver writes it: the whole's sizes, then the places.

    >>> _part("10 4 0,5:-")
    (slice(0, 5, None), slice(None, None, None))
    """
    parts = spec.rpartition(" ")[2].split(":")
    pairs = [None if each == "-" else [int(number) for number in each.split(",")] for each in parts]
    return tuple(slice(None) if each is None else slice(each[0], each[0] + each[1]) for each in pairs)
