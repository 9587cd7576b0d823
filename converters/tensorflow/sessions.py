"""Runs a graph of TensorFlow 1 as it is: what is converted is compared with that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import tensorflow as tf
from zoo.converters.tensorflow.graphs import (
    Array,
    Ends,
    Message,
    Weight,
    by_name,
    full_name,
    imported,
    needed,
    placeholder,
)

_VALUE, _ASSIGN = "zoo_value_{}", "zoo_assign_{}"


def session_run(
    graph: Message, ends: Ends, variables: Collection[str], known: Mapping[str, Any], weights: Mapping[str, Weight]
) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """Returns what runs a graph in a session in which its variables have values.

    Args:
        graph: The graph; it is taken as it is now.
        ends: What goes in and comes out.
        variables: The nodes of its variables.
        known: What placeholders are given besides.
        weights: The values of variables, and of placeholders that stand for such, by the names of their nodes.
    """
    part = needed(graph, ends.outputs.values(), waiting=True)
    there = set(by_name(part))
    values = {name: each for name, each in weights.items() if name in there}
    assigned = [name for name in values if name in variables]
    for number, name in enumerate(assigned):
        _assign(part, name, number, values[name].array)

    def run(given: Mapping[str, Array]) -> dict[str, Array]:
        fed: dict[str, Any] = {f"{name}:0": each.array for name, each in values.items() if name not in variables}
        fed |= {f"{name}:0": value for name, value in known.items() if name in there}
        fed |= {full_name(ends.inputs[name]): each for name, each in given.items()}
        with tf.compat.v1.Session(graph=imported(part)) as session:
            for number, name in enumerate(assigned):
                assign = session.graph.get_operation_by_name(_ASSIGN.format(number))
                session.run(assign, {f"{_VALUE.format(number)}:0": values[name].array})
            found = session.run(list(ends.outputs.values()), fed)
        return dict(zip(ends.outputs, found, strict=True))

    return run


def _assign(graph: Message, variable: str, number: int, array: Array) -> None:
    """Puts an operation into a graph that gives a variable its value."""
    is_handle = by_name(graph)[variable].op == "VarHandleOp"
    dtype = tf.as_dtype(array.dtype)
    graph.node.append(placeholder(_VALUE.format(number), dtype, array.shape))
    node = graph.node.add(name=_ASSIGN.format(number), op="AssignVariableOp" if is_handle else "Assign")
    node.input.extend([variable, _VALUE.format(number)])
    node.attr["dtype" if is_handle else "T"].type = dtype.as_datatype_enum
