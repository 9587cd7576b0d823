"""Writes patterns of nodes that are one layer of Keras again as one node. Which there are stands in `patterns`.

What depends on no input is computed first, so that the numbers in a pattern are there to be looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from zoo.converters.importing.folding import folded
from zoo.converters.importing.graph import Array, Graph, Node, free_names
from zoo.converters.importing.unsupported import Unsupported


@dataclass(frozen=True)
class Match:
    """A pattern that was found.

    Attributes:
        gone: The nodes that are not needed any more; the one at which the pattern was found is always among them.
        node: What stands in its place, with the same outputs.
        constants: Arrays that are new, by the names by which `node` reads them.
        changed: Nodes before it that stay, by their names and with their outputs, and read other constants.
    """

    gone: tuple[Node, ...]
    node: Node
    constants: tuple[tuple[str, Array], ...] = ()
    changed: tuple[Node, ...] = ()


class View:
    """A graph that patterns are looked for in."""

    def __init__(self, graph: Graph, keep: Iterable[str]) -> None:
        self.constants = dict(graph.constants)
        self.producers = graph.producers()
        self.keep = set(keep)
        self.reads = Counter(name for node in graph.nodes for name in (*node.inputs, *free_names(node)))
        self.gone: set[str] = set()
        self.changed: list[Node] = []

    def producer(self, name: str, *operators: str) -> Node | None:
        """Returns who writes a value, if it is one of some operators."""
        node = self.producers.get(name)
        return node if node is not None and (not operators or node.operator in operators) else None

    def array(self, name: str) -> Array | None:
        """Returns a constant; None where the value is none."""
        return self.constants.get(name)

    def number(self, name: str) -> float | None:
        """Returns a constant of one number."""
        array = self.constants.get(name)
        return (
            float(array.reshape(-1)[0]) if array is not None and array.size == 1 and array.dtype.kind == "f" else None
        )

    def sides(self, node: Node) -> Iterator[tuple[str, str]]:
        """Yields the two inputs of a node whose order does not matter, in both orders."""
        if len(node.inputs) == 2:
            yield node.inputs[0], node.inputs[1]
            yield node.inputs[1], node.inputs[0]

    def is_private(self, name: str) -> bool:
        """Returns whether one node alone reads a value, and nobody wants it."""
        return self.reads[name] == 1 and name not in self.keep

    def derived(self, name: str, array: Array, how: str = "") -> tuple[str, tuple[tuple[str, Array], ...]]:
        """Returns a name for a constant in another shape, the same whoever asks, and what is new by it.

        Nodes that share a constant go on to do so. `how` tells what else was done to it.
        """
        if not how and array.shape == self.constants[name].shape:
            return name, ()
        found = f"{name}/{how or 'reshaped'}/{'x'.join(map(str, array.shape))}"
        return found, ((found, array),)

    def allows(self, match: Match) -> bool:
        """Returns whether nobody else reads what would be gone."""
        inside = Counter(name for node in match.gone for name in (*node.inputs, *free_names(node)))
        lost = {name for node in match.gone for name in node.outputs if name} - set(match.node.outputs)
        return not lost & self.keep and all(self.reads[name] == inside[name] for name in lost)

    def apply(self, match: Match) -> None:
        """Takes a match into account."""
        for node in match.gone:
            self.reads.subtract((*node.inputs, *free_names(node)))
            for name in node.outputs:
                self.producers.pop(name, None)
        self.gone |= {node.name for node in match.gone}
        for node in match.changed:
            self.reads.subtract(self.producers[node.outputs[0]].inputs)
        self.changed += match.changed
        for node in (*match.changed, match.node):
            self.reads.update(node.inputs)
            self.producers |= dict.fromkeys(node.outputs, node)
        self.constants |= dict(match.constants)


Pattern = Callable[[View, Node], Match | None]


def rewritten(graph: Graph, keep: Sequence[str], patterns: Sequence[Pattern]) -> Graph:
    """Returns a graph that computes the same with fewer nodes; the values `keep` are still there by their names."""
    graph = with_constants_computed(graph, keep)
    view = View(graph, keep)
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        found = _rewritten(view, node, patterns)
        nodes[found.name] = found
        for name in view.gone:
            nodes.pop(name, None)
        nodes |= {each.name: each for each in view.changed}
        view.gone.clear()
        view.changed.clear()
    return replace(graph, nodes=tuple(nodes.values()), constants=view.constants)


def _rewritten(view: View, node: Node, patterns: Sequence[Pattern]) -> Node:
    """Returns what stands in a node's place, as long as patterns end at it."""
    while True:
        for pattern in patterns:
            match = pattern(view, node)
            if match is not None and view.allows(match):
                view.apply(match)
                view.gone.discard(match.node.name)
                node = match.node
                break
        else:
            return node


def with_constants_computed(graph: Graph, keep: Sequence[str]) -> Graph:
    """Returns a graph without the nodes that depend on no input and put out numbers."""
    constants, nodes = dict(graph.constants), []
    names: dict[str, str] = {}  # of constants that are others by another name: shared ones are known by their names
    for node in graph.nodes:
        node = replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))
        if node.operator == "Identity" and node.inputs[0] in constants and node.outputs[0] not in keep:
            names[node.outputs[0]] = node.inputs[0]
        if all(not name or name in constants for name in node.inputs) and not set(node.outputs) & set(keep):
            try:
                arrays = folded(node, [constants[name] if name else None for name in node.inputs])
            except Unsupported:
                arrays = None  # whoever converts the node will say so
            if arrays is not None:
                constants |= {name: np.asarray(each) for name, each in zip(node.outputs, arrays, strict=False) if name}
                continue
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), constants=constants)
