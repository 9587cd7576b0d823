"""Graphs of TensorFlow as messages: who makes a value, in which order, and what is needed for what.

Format: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/framework/graph.proto
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from zoo.errors import NotConvertible

Array = NDArray[Any]
Message = Any  # a message of protobuf: GraphDef, NodeDef, FunctionDef
CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
BRANCHES = {"If", "StatelessIf"}
LOOPS = {"While", "StatelessWhile", "Enter", "NextIteration", "LoopCond", "TensorArrayV3"}
PLACEHOLDERS = {"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"}
_NUMBERS = count()


@dataclass(frozen=True)
class Weight:
    """Numbers that a graph takes as if they were an input: the name of their variable, and their values."""

    path: str
    array: Array


@dataclass(frozen=True)
class Ends:
    """The tensors that go into a graph and come out, by what they are called outside, and the sizes of some inputs."""

    inputs: dict[str, str]
    outputs: dict[str, str]
    shapes: Mapping[str, Sequence[int | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class PlainGraph:
    """A graph in inference without variables, branches or calls of functions.

    Attributes:
        graph: The graph.
        inputs: The tensors that go in, by what they are called outside.
        outputs: The tensors that come out, by what they are called outside.
        weights: What the graph's other placeholders stand for, by the names of these.
        run: Returns what TensorFlow itself computes for inputs, by the names of the outputs.
        notes: What was decided, for people.
        rounding: How far the original may be from it only because that computes in 16 bits, of the largest value.
    """

    graph: Message
    inputs: dict[str, str]
    outputs: dict[str, str]
    weights: dict[str, Weight]
    run: Callable[[Mapping[str, Array]], dict[str, Array]]
    notes: tuple[str, ...] = ()
    rounding: float = 0.0


def maker(tensor: str) -> str:
    """Returns the name of the node that makes a tensor, or that is waited for.

    >>> maker("a/b:1"), maker("^a/b")
    ('a/b', 'a/b')
    """
    return tensor.removeprefix("^").partition(":")[0]


def full_name(tensor: str) -> str:
    """Returns the name of a tensor with its number.

    >>> full_name("a/b"), full_name("a/b:1")
    ('a/b:0', 'a/b:1')
    """
    return tensor if ":" in tensor else f"{tensor}:0"


def data_inputs(node: Message) -> list[str]:
    """Returns the tensors that a node takes, by their full names."""
    return [full_name(each) for each in node.input if not each.startswith("^")]


def by_name(graph: Message) -> dict[str, Message]:
    """Returns the nodes of a graph by their names."""
    return {node.name: node for node in graph.node}


def in_order(graph: Message) -> list[Message]:
    """Returns the nodes of a graph, each after those it takes something of; where loops go back, it may be before."""
    nodes = by_name(graph)
    before = {
        name: {other for each in node.input if (other := maker(each)) in nodes and nodes[other].op != "NextIteration"}
        for name, node in nodes.items()
    }
    after: dict[str, list[str]] = {}
    for name, names in before.items():
        for each in names:
            after.setdefault(each, []).append(name)
    ready, found = deque(name for name, names in before.items() if not names), []
    while ready:
        name = ready.popleft()
        found.append(nodes[name])
        for each in after.get(name, ()):
            before[each].discard(name)
            if not before[each]:
                ready.append(each)
    return found


def needed(graph: Message, tensors: Iterable[str], *, waiting: bool = False) -> Message:
    """Returns the part of a graph that some tensors need, without devices, and the functions that it calls.

    Args:
        graph: The graph.
        tensors: Their names.
        waiting: Whether what only says that a branch is taken is needed too; otherwise nothing waits for anything.
    """
    nodes, kept, left = by_name(graph), dict[str, list[str]](), [maker(each) for each in tensors]
    while left:
        name = left.pop()
        if name in kept or name not in nodes:
            continue
        kept[name] = [
            each for each in nodes[name].input if each[0] != "^" or (waiting and _is_pivot(nodes, maker(each)))
        ]
        left += map(maker, kept[name])
    found = tf.compat.v1.GraphDef(versions=graph.versions)
    for node in graph.node:
        if node.name in kept:
            made = found.node.add()
            made.CopyFrom(node)
            made.device = ""
            made.attr.pop("_class", None)
            made.input[:] = kept[node.name]
    _take_functions(graph, found)
    return found


def _is_pivot(nodes: Mapping[str, Message], name: str) -> bool:
    """Returns whether a node says that a branch is taken: what is in the branch waits for it."""
    for _ in nodes:
        node = nodes.get(name)
        if node is None or node.op != "Identity":
            return node is not None and node.op in ("Switch", "RefSwitch")
        name = maker(node.input[0])
    return False


def _take_functions(graph: Message, found: Message) -> None:
    known = {each.signature.name: each for each in graph.library.function}
    names, left = set[str](), list(found.node)
    while left:
        for name in called(left.pop(), known):
            if name not in names:
                names.add(name)
                left += known[name].node_def
    found.library.function.extend(each for name, each in known.items() if name in names)


def called(node: Message, known: Collection[str]) -> Iterator[str]:
    """Yields the functions that a node calls, or may call."""
    if node.op in known:
        yield node.op
    for value in node.attr.values():
        for function in (value.func, *value.list.func):
            if function.name in known:
                yield function.name


def readers(graph: Message) -> dict[str, list[Message]]:
    """Returns which nodes take a tensor, by its full name."""
    found: dict[str, list[Message]] = {}
    for node in graph.node:
        for tensor in dict.fromkeys(data_inputs(node)):
            found.setdefault(tensor, []).append(node)
    return found


def use_instead(graph: Message, tensors: Mapping[str, str]) -> None:
    """Lets the nodes of a graph take other tensors, by full names."""
    for node in graph.node:
        node.input[:] = [
            each if each.startswith("^") else tensors.get(full_name(each), each) for each in node.input
        ]  # fmt: skip


def placeholder(name: str, dtype: Any, shape: Any) -> Message:
    """Returns a node that stands for what is given.

    Args:
        name: Its name.
        dtype: The type, as `tf.as_dtype` takes it.
        shape: The sizes, as `tf.TensorShape` takes them; None where not even their number is known.
    """
    node = tf.compat.v1.NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = tf.as_dtype(dtype).as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return node


def copy_of(tensor: str, name: str, dtype: Any) -> Message:
    """Returns a node that hands on a tensor under another name."""
    node = tf.compat.v1.NodeDef(name=name, op="Identity", input=[tensor])
    node.attr["T"].type = tf.as_dtype(dtype).as_datatype_enum
    return node


def known_number(name: str, value: Any, dtype: Any) -> Message:
    """Returns a node of a known value."""
    node = tf.compat.v1.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = tf.as_dtype(dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype=dtype))
    return node


def imported(graph: Message) -> tf.Graph:
    """Returns a graph as TensorFlow has it, with the shapes that it finds out.

    Raises:
        NotConvertible: TensorFlow does not take it, as where it does not know an operation.
    """
    try:
        with tf.Graph().as_default() as found:
            tf.import_graph_def(graph, name="")
    except (ValueError, tf.errors.OpError) as error:
        why = " ".join(str(error).split())[:300]
        raise NotConvertible(f"TensorFlow does not take the graph: {why}") from error
    return found


def rename_functions(graph: Message) -> None:
    """Gives the functions of a graph names that none has had: TensorFlow knows one function by a name in a process."""
    new = {each.signature.name: f"zoo_{next(_NUMBERS)}_{each.signature.name}" for each in graph.library.function}
    bodies = [node for each in graph.library.function for node in each.node_def]
    for node in (*graph.node, *bodies):
        node.op = new.get(node.op, node.op)
        for value in node.attr.values():
            for function in (*([value.func] if value.HasField("func") else []), *value.list.func):
                function.name = new.get(function.name, function.name)
    for each in graph.library.function:
        each.signature.name = new[each.signature.name]
    del graph.library.gradient[:]
