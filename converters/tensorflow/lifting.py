"""Makes placeholders of variables and of large constants, so that no graph that is converted holds their numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from zoo.converters.tensorflow.graphs import (
    Message,
    Weight,
    by_name,
    copy_of,
    data_inputs,
    full_name,
    known_number,
    maker,
    placeholder,
)

from zoo.errors import NotConvertible

_HANDING_ON = {"Identity", "IdentityN"}
_REAL = {tf.float16, tf.float32, tf.float64, tf.bfloat16}
_FEW = 64  # numbers of a kind that operations want to know: sizes, axes, places


class VariablesInLoopsError(NotConvertible):
    """A variable is read where a graph cannot be given its numbers: inside a loop, or a branch."""


def lift_variables(graph: Message, kinds: Mapping[str, tuple[Any, Any]]) -> None:
    """Makes placeholders of a graph's variables, and copies of what reads them.

    Args:
        graph: The graph; it is changed.
        kinds: The nodes that are variables, or handles of such, and the types and shapes of their numbers.

    Raises:
        VariablesInLoopsError: A function is given one.
        NotConvertible: Something else is done with one than to read it.
    """
    nodes = by_name(graph)
    for node in list(graph.node):
        source = next((found for each in data_inputs(node) if (found := _variable(nodes, kinds, each))), None)
        if source is None or node.name in kinds:
            continue
        _read(graph, node, source, kinds[source][0])
    for name, (dtype, shape) in kinds.items():
        if name in nodes:
            nodes[name].CopyFrom(placeholder(name, dtype, shape))


def _variable(nodes: Mapping[str, Message], kinds: Mapping[str, Any], tensor: str) -> str | None:
    """Returns the variable whose handle, or reference, a tensor is."""
    for _ in nodes:
        if maker(tensor) in kinds:
            return maker(tensor)
        node = nodes.get(maker(tensor))
        if node is None or node.op not in _HANDING_ON or not node.input:
            return None
        tensor = full_name(node.input[int(tensor.partition(":")[2]) if node.op == "IdentityN" else 0])
    return None


def _read(graph: Message, node: Message, source: str, dtype: Any) -> None:
    if node.op in _HANDING_ON:
        if node.op == "IdentityN":  # those of handles are not needed any more
            return
        node.CopyFrom(copy_of(source, node.name, dtype))
    elif node.op == "ReadVariableOp":
        node.CopyFrom(copy_of(source, node.name, dtype))
    elif node.op == "ResourceGather":
        _look_up(graph, node, source, dtype)
    elif any(value.func.name for value in node.attr.values()):
        raise VariablesInLoopsError(f"The operation {node.name!r} ({node.op}) is given the variable {source!r}.")
    elif dtype_of(node) == tf.resource or node.op.startswith("Resource"):
        raise NotConvertible(
            f"The operation {node.name!r} ({node.op}) does something else with the variable {source!r} than to read it."
        )


def dtype_of(node: Message) -> Any:
    """Returns the type that a node says its values are of; None where it says none."""
    found = node.attr["T"].type if "T" in node.attr else node.attr["dtype"].type if "dtype" in node.attr else 0
    return tf.as_dtype(found) if found else None


def _look_up(graph: Message, node: Message, source: str, dtype: Any) -> None:
    """Looks places up in the numbers of a variable, instead of in the variable."""
    made = tf.compat.v1.NodeDef(name=node.name, op="GatherV2", input=[source, node.input[1], f"{node.name}/axis"])
    made.attr["Tparams"].type = tf.as_dtype(dtype).as_datatype_enum
    made.attr["Tindices"].CopyFrom(node.attr["Tindices"])
    made.attr["Taxis"].type = tf.int32.as_datatype_enum
    made.attr["batch_dims"].i = node.attr["batch_dims"].i if "batch_dims" in node.attr else 0
    node.CopyFrom(made)
    graph.node.append(known_number(f"{node.name}/axis", made.attr["batch_dims"].i, tf.int32))


def lift_constants(graph: Message, least_rank: int = 1, paths: Callable[[str], str] = str) -> dict[str, Weight]:
    """Makes placeholders of a graph's constants, and returns their numbers, by the placeholders' names.

    Whole numbers that are as few as those of a shape stay: operations want to know them.

    Args:
        graph: The graph; it is changed.
        least_rank: How many axes one has at least that is lifted.
        paths: Returns what the numbers are called, by the name of the constant.
    """
    found = {}
    for node in graph.node:
        if node.op != "Const":
            continue
        tensor = node.attr["value"].tensor
        dtype, sizes = tf.as_dtype(tensor.dtype), [each.size for each in tensor.tensor_shape.dim]
        count = math.prod(sizes)
        is_wanted = count > 1 if dtype in _REAL else count > _FEW and dtype.is_integer
        if is_wanted and len(sizes) >= least_rank:
            found[node.name] = Weight(paths(node.name), tf.make_ndarray(tensor))
            node.CopyFrom(placeholder(node.name, dtype, sizes))
    return found
