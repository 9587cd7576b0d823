"""Writes patterns of nodes that are one layer of Keras again as one node. Which there are stands in `patterns`.

What depends on no input is computed first, so that the numbers in a pattern are there to be looked at.
"""

from __future__ import annotations

import itertools
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
    """

    gone: tuple[Node, ...]
    node: Node
    constants: tuple[tuple[str, Array], ...] = ()


class View:
    """A graph that patterns are looked for in."""

    def __init__(self, graph: Graph, keep: Iterable[str]) -> None:
        self.constants = dict(graph.constants)
        self.producers = graph.producers()
        self.keep = set(keep)
        self.reads = Counter(name for node in graph.nodes for name in (*node.inputs, *free_names(node)))
        self.gone: set[str] = set()
        self._numbers = itertools.count(1)

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

    def new_name(self, node: Node, what: str) -> str:
        """Returns a name for a new constant of a node."""
        return f"{node.name}/{what}/{next(self._numbers)}"

    def allows(self, match: Match) -> bool:
        """Returns whether nobody else reads what would be gone."""
        inside = Counter(name for node in match.gone for name in node.inputs)
        lost = {name for node in match.gone for name in node.outputs if name} - set(match.node.outputs)
        return not lost & self.keep and all(self.reads[name] == inside[name] for name in lost)

    def apply(self, match: Match) -> None:
        """Takes a match into account."""
        for node in match.gone:
            self.reads.subtract(node.inputs)
            for name in node.outputs:
                self.producers.pop(name, None)
        self.gone |= {node.name for node in match.gone}
        self.reads.update(match.node.inputs)
        self.producers |= dict.fromkeys(match.node.outputs, match.node)
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
        view.gone.clear()
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
    for node in graph.nodes:
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
