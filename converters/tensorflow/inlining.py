"""Writes out the functions that a graph calls; branches and loops keep theirs.

In a function a value is named by its node, by what its operation calls it, and by a number among those of that name; in
a graph by its node and a number among all.
Format: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/framework/function.proto
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

import tensorflow as tf
from zoo.converters.tensorflow.graphs import CALLS, Message, data_inputs, full_name, maker, use_instead

from zoo.errors import NotConvertible

_DEEPEST = 100  # functions that call each other
_MOST_NODES = 200_000


def without_calls(graph: Message) -> Message:
    """Returns a graph in which no node calls a function, but for branches and loops.

    Raises:
        NotConvertible: It is larger, or its calls are deeper, than those of models are.
    """
    known = {each.signature.name: each for each in graph.library.function}
    _refuse_circles(known)
    for _ in range(_DEEPEST):
        if not any(_called(node, known) for node in graph.node):
            return graph
        graph = _once(graph, known)
    raise NotConvertible(f"The functions of the graph call each other more than {_DEEPEST} deep.")


def _refuse_circles(known: Mapping[str, Message]) -> None:
    """Refuses functions that call themselves, by others or at once: written out they would have no end."""
    calls = {
        name: {called.signature.name for node in function.node_def if (called := _called(node, known)) is not None}
        for name, function in known.items()
    }
    while calls:
        ends = [name for name, called in calls.items() if not called & calls.keys()]
        if not ends:
            raise NotConvertible(f"Functions of the graph call each other in a circle, such as {min(calls)!r}.")
        for name in ends:
            del calls[name]


def _called(node: Message, known: Mapping[str, Message]) -> Message | None:
    """Returns the function that a node is nothing but a call of."""
    return known.get(node.attr["f"].func.name if node.op in CALLS else node.op)


def _once(graph: Message, known: Mapping[str, Message]) -> Message:
    """Returns a graph with each call that is in it now written out; those may call others."""
    made = tf.compat.v1.GraphDef(versions=graph.versions, library=graph.library)
    instead: dict[str, str] = {}
    gone, scopes = set(), _scopes(graph)
    for node in graph.node:
        function = _called(node, known)
        if function is None:
            made.node.add().CopyFrom(node)
            continue
        gone.add(node.name)
        instead |= _write_out(made, node, function, known, scopes)
        if len(made.node) > _MOST_NODES:
            raise NotConvertible(f"With its functions written out the graph has more than {_MOST_NODES:,} nodes.")
    use_instead(made, {name: _last(instead, name) for name in instead})
    for node in made.node:
        if any(each[0] == "^" and maker(each) in gone for each in node.input):
            node.input[:] = [each for each in node.input if each[0] != "^" or maker(each) not in gone]
    return made


def _last(instead: Mapping[str, str], name: str) -> str:
    """Returns what a tensor is after all, where one call hands on what another makes."""
    for _ in instead:
        if name not in instead:
            break
        name = instead[name]
    return name


def _scopes(graph: Message) -> set[str]:
    """Returns the scopes that nodes of a graph are in."""
    found = set()
    for node in graph.node:
        parts = node.name.split("/")
        found |= {"/".join(parts[:n]) for n in range(1, len(parts))}
    return found


def _write_out(
    made: Message, call: Message, function: Message, known: Mapping[str, Message], scopes: set[str]
) -> dict[str, str]:
    """Puts the nodes of a function into a graph, and returns which tensors are those that a call of it makes."""
    names_of_scopes = (f"{call.name}_{number}" if number else call.name for number in count())
    scope = next(each for each in names_of_scopes if each not in scopes)
    given = data_inputs(call)
    arguments = [each.name for each in function.signature.input_arg]
    if len(given) != len(arguments):
        raise NotConvertible(f"The node {call.name!r} calls a function of {len(arguments)} with {len(given)} tensors.")
    names = dict(zip(arguments, given, strict=True))
    for node in function.node_def:
        names |= {nested: f"{scope}/{flat}" for nested, flat in _outputs(node, known)}
    try:
        for node in function.node_def:
            copy = made.node.add()
            copy.CopyFrom(node)
            copy.name = f"{scope}/{node.name}"
            copy.device = ""
            copy.attr.pop("_class", None)
            copy.input[:] = [_inside(each, scope, names) for each in node.input]
        ends = [names[function.ret[each.name]] for each in function.signature.output_arg]
    except KeyError as error:
        raise NotConvertible(f"A function of the graph takes {error}, which nothing makes.") from error
    return {f"{call.name}:{number}": full_name(end) for number, end in enumerate(ends)}


def _inside(tensor: str, scope: str, names: Mapping[str, str]) -> str:
    if not tensor.startswith("^"):
        return names[tensor]
    name = tensor.removeprefix("^")
    return f"^{maker(names[name])}" if name in names else f"^{scope}/{name}"


def _outputs(node: Message, known: Mapping[str, Message]) -> Iterator[tuple[str, str]]:
    """Yields the names that what a node makes has in a function, and those that it has in a graph."""
    place = 0
    for name, size in _output_sizes(node, known):
        for number in range(size):
            yield f"{node.name}:{name}:{number}", f"{node.name}:{place}"
            place += 1


def output_count(node: Message, known: Mapping[str, Message]) -> int:
    """Returns how many tensors a node makes.

    Args:
        node: The node.
        known: The functions of its graph, by name.

    Raises:
        NotConvertible: TensorFlow does not know the operation.
    """
    return sum(size for _, size in _output_sizes(node, known))


def _output_sizes(node: Message, known: Mapping[str, Message]) -> Iterator[tuple[str, int]]:
    operation = known[node.op].signature if node.op in known else _operation(node.op)
    for each in operation.output_arg:
        if each.number_attr:
            yield each.name, node.attr[each.number_attr].i
        elif each.type_list_attr:
            yield each.name, len(node.attr[each.type_list_attr].list.type)
        else:
            yield each.name, 1


def _operation(name: str) -> Message:
    try:
        return tf.Graph().op_def_for_type(name)
    except Exception as error:  # of TensorFlow, of no public kind
        raise NotConvertible(f"TensorFlow does not know the operation {name!r}.") from error
