"""Where a graph of ONNX can be cut: what to convert when something above cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from zoo.converters.importing.graph import Graph, Node, free_names


def graph_below(graph: Graph, wanted: Iterable[str]) -> Graph:
    """Returns the part of a graph that computes the values `wanted`, which come out of it."""
    wanted = list(wanted)
    needed, nodes = set(wanted), []
    for node in reversed(graph.nodes):
        if needed & set(node.outputs):
            nodes.append(node)
            needed |= {*node.inputs, *free_names(node)}
    outputs = {name: graph.outputs[name] for name in wanted if name in graph.outputs}
    inputs = {name: info for name, info in graph.inputs.items() if name in needed}
    constants = {name: array for name, array in graph.constants.items() if name in needed}
    return Graph(tuple(reversed(nodes)), inputs, outputs, constants, graph.shapes)


def nearest_cut(graph: Graph, failing: Node) -> Node | None:
    """Returns the last node below `failing` through which every path to it goes; None where there is none."""
    below = graph_below(graph, [*failing.inputs, *free_names(failing)])
    active = set(below.inputs)
    reads = Counter(failing.inputs) + Counter(free_names(failing))
    for node in below.nodes:
        if node.operator not in ("Shape", "Size") and active & {*node.inputs, *free_names(node)}:
            active |= set(node.outputs)
        reads += Counter({*node.inputs, *free_names(node)})
    live = {name for name in below.inputs if reads[name]}
    left, found = Counter(reads), None
    for node in below.nodes:
        for name in {*node.inputs, *free_names(node)}:
            left[name] -= 1
            if not left[name]:
                live.discard(name)
        live |= {name for name in node.outputs if name in active and left[name]}
        if len(live) == 1 and live <= set(node.outputs):
            found = node
    return found
