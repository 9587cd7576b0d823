"""A normalization by the channels around, as PyTorch writes it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from zoo.converters.importing.graph import PATTERN, Array, Node, free_names
from zoo.converters.importing.rewriting import Match, View

Found = tuple[str, tuple[Node, ...]]  # the name of a value, and the nodes behind it


def local_response(view: View, node: Node) -> Match | None:
    """Finds x / (k + a mean(x^2 of the channels around))^b, where the mean is a pool over one more axis."""
    power = view.producer(node.inputs[1], "Pow") if node.operator == "Div" else None
    beta = view.number(power.inputs[1]) if power is not None else None
    if power is None or beta is None:
        return None
    for scaled, bias in _by_number(view, power.inputs[0], "Add"):
        for mean, alpha in _by_number(view, scaled, "Mul"):
            pooled, behind = _unwrapped(view, mean)
            found = _windows(view, pooled)
            if found is None or found[0] != node.inputs[0]:
                continue
            _, (before, after), inside = found
            outer = (power, view.producers[power.inputs[0]], view.producers[scaled])
            attributes = {"size": before + after + 1, "alpha": view.number(alpha), "beta": beta}
            attributes |= {"bias": view.number(bias), "is_mirrored": before > after}
            made = replace(
                node, operator="LRN", domain=PATTERN, inputs=node.inputs[:1], attributes=attributes, version=0
            )
            return Match((node, *outer, *behind, *inside), made)
    return None


def _by_number(view: View, name: str, operator: str) -> list[tuple[str, str]]:
    """Returns the value and the number that another value is computed from."""
    node = view.producer(name, operator)
    return [sides for sides in view.sides(node) if view.number(sides[1]) is not None] if node is not None else []


def _unwrapped(view: View, name: str) -> Found:
    """Returns the value that has lost an axis of one element, and the nodes that take it away."""
    nodes: list[Node] = []
    while node := view.producer(name, "Squeeze", "Reshape", "If"):
        nodes.append(node)
        if node.operator == "If":
            read = set(free_names(node))
            if len(read) != 1:
                break
            (inner,) = read
            nodes += _condition(view, node.inputs[0], inner)
        else:
            inner = node.inputs[0]
        name = inner
    return name, tuple(nodes)


def _condition(view: View, name: str, until: str) -> list[Node]:
    """Returns the nodes that look at the sizes of a value, which PyTorch asks whether there is an axis to take away."""
    nodes: list[Node] = []
    while name != until and (node := view.producer(name, "Equal", "Gather", "Shape", "Cast")):
        nodes.append(node)
        name = node.inputs[0]
    return nodes


def _windows(view: View, name: str) -> tuple[str, tuple[int, int], tuple[Node, ...]] | None:
    """Returns x, how many channels count before and behind each, and the nodes, of the mean of x^2 over windows."""
    pool = view.producer(name, "AveragePool")
    size = _pool_size(pool) if pool is not None else None
    if pool is None or size is None:
        return None
    around, nodes, name = np.zeros(2, int), [pool], pool.inputs[0]
    own = pool.get("pads")
    pads: list[Array | None] = [np.array([0, 0, *own[: len(own) // 2], 0, 0, *own[len(own) // 2 :]])] if own else []
    while node := view.producer(name, "Pad"):
        pads.append(_pads(view, node))
        nodes.append(node)
        name = node.inputs[0]
    for each in pads:
        if each is None or each.size not in (8, 10) or np.delete(each, [2, each.size // 2 + 2]).any():
            return None
        around += each[[2, each.size // 2 + 2]]
    wide = view.producer(name, "Unsqueeze", "Reshape")
    square = view.producer(wide.inputs[0], "Mul", "Pow") if wide is not None and _is_widened(view, wide) else None
    if wide is None or square is None or not _is_square(view, square) or around.sum() != size - 1:
        return None
    if abs(around[0] - around[1]) > 1 or (any(own or ()) and not pool.get("count_include_pad", 0)):
        return None
    return square.inputs[0], (int(around[0]), int(around[1])), (*nodes, wide, square)


def _pool_size(pool: Node) -> int | None:
    """Returns over how many places of its first axis a pool goes; None where it goes over others, or skips some."""
    sizes = list(pool.get("kernel_shape") or [0, 0])
    is_plain = all(set(pool.get(name) or [1]) == {1} for name in ("strides", "dilations"))
    is_plain &= pool.get("auto_pad", "NOTSET") in ("NOTSET", "VALID") and set(sizes[1:]) == {1}
    return int(sizes[0]) if is_plain and len(sizes) in (2, 3) else None


def _pads(view: View, node: Node) -> Array | None:
    """Returns the pads of zeros; None where they are not known, or of something else."""
    number = view.number(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else node.get("value", 0.0)
    if node.get("mode", "constant") != "constant" or number != 0 or len(node.inputs) > 3:
        return None
    given = view.array(node.inputs[1]) if len(node.inputs) > 1 else node.get("pads")
    return None if given is None else np.asarray(given)


def _is_widened(view: View, node: Node) -> bool:
    """Returns whether a node puts an axis of one element before the channels."""
    if node.operator == "Unsqueeze":
        axes = view.array(node.inputs[1]) if len(node.inputs) > 1 else node.get("axes")
        return axes is not None and list(np.asarray(axes).reshape(-1)) == [1]
    shape = view.array(node.inputs[1]) if len(node.inputs) > 1 else None
    if shape is not None:
        return shape.size == 5 and int(shape[1]) == 1
    joined = view.producer(node.inputs[-1], "Concat")
    if joined is None or len(joined.inputs) != 5:
        return False
    one = view.array(joined.inputs[1])
    return one is not None and one.size == 1 and int(one.reshape(-1)[0]) == 1


def _is_square(view: View, node: Node) -> bool:
    return node.inputs[0] == node.inputs[1] if node.operator == "Mul" else view.number(node.inputs[1]) == 2
