"""Activations that are written as several nodes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from zoo.converters.importing.graph import Node
from zoo.converters.importing.rewriting import Match, View

_CLOSE = 1e-4  # the constants of a formula, as exporters round them


@dataclass(frozen=True)
class _Product:
    """A product of a number and tensors, and the nodes that compute it."""

    number: float
    tensors: tuple[str, ...]
    nodes: tuple[Node, ...]


def gated_activation(view: View, node: Node) -> Match | None:
    """Finds x * sigmoid(a x), x * tanh(softplus(x)), x * hard_sigmoid(x), and GELU, in any order of their factors."""
    if node.operator not in ("Mul", "Div"):
        return None
    product = _product(view, node)
    if len(product.tensors) != 2:
        return None
    for x, gate in (product.tensors, product.tensors[::-1]):
        found = _gate(view, x, gate, product.number)
        if found is not None:
            operator, attributes, nodes = found
            made = replace(node, operator=operator, inputs=(x,), attributes=attributes, version=0)
            return Match((*product.nodes, *nodes), made)
    return None


def hard_sigmoid(view: View, node: Node) -> Match | None:
    """Finds clip(x + 3, 0, 6) / 6, where it is no factor of a hard swish, which is found as such."""
    if node.operator not in ("Mul", "Div"):
        return None
    product = _product(view, node)
    if len(product.tensors) != 1 or not math.isclose(product.number, 1 / 6, rel_tol=_CLOSE):
        return None
    found = _shifted_clip(view, product.tensors[0])
    if found is None:
        return None
    attributes = {"alpha": 1 / 6, "beta": 0.5}
    made = replace(node, operator="HardSigmoid", inputs=(found[0],), attributes=attributes, version=0)
    return Match((*product.nodes, *found[1]), made)


def _gate(view: View, x: str, gate: str, number: float) -> tuple[str, dict[str, object], tuple[Node, ...]] | None:
    """Returns which activation x * gate * number is, with its attributes and the nodes that compute the gate."""
    one = math.isclose(number, 1, rel_tol=_CLOSE)
    if one and (node := view.producer(gate, "Sigmoid")):
        inner = _product_of(view, node.inputs[0])
        if inner.tensors == (x,):
            return "Swish", {"alpha": inner.number}, (node, *inner.nodes)
        return None
    if one and (node := view.producer(gate, "HardSigmoid")) and node.inputs[0] == x:
        is_ours = math.isclose(node.get("alpha", 0.2), 1 / 6, rel_tol=_CLOSE) and node.get("beta", 0.5) == 0.5
        return ("HardSwish", {}, (node,)) if is_ours else None
    if one and (node := view.producer(gate, "Tanh")) and (inner_node := view.producer(node.inputs[0], "Softplus")):
        return ("Mish", {}, (node, inner_node)) if inner_node.inputs[0] == x else None
    if math.isclose(number, 1 / 6, rel_tol=_CLOSE) and (found := _shifted_clip(view, gate)) and found[0] == x:
        return "HardSwish", {}, found[1]
    if math.isclose(number, 0.5, rel_tol=_CLOSE) and (add := view.producer(gate, "Add")):
        return _gelu(view, x, add)
    return None


def _gelu(view: View, x: str, add: Node) -> tuple[str, dict[str, object], tuple[Node, ...]] | None:
    """Returns whether 1 + erf(x / sqrt(2)), or 1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)), is the other factor."""
    for one, curve in view.sides(add):
        if view.number(one) != 1:
            continue
        if erf := view.producer(curve, "Erf"):
            inner = _product_of(view, erf.inputs[0])
            if inner.tensors == (x,) and math.isclose(inner.number, math.sqrt(0.5), rel_tol=_CLOSE):
                return "Gelu", {"approximate": "none"}, (add, erf, *inner.nodes)
        if tanh := view.producer(curve, "Tanh"):
            nodes = _cubic(view, x, tanh.inputs[0])
            if nodes is not None:
                return "Gelu", {"approximate": "tanh"}, (add, tanh, *nodes)
    return None


def _cubic(view: View, x: str, name: str) -> tuple[Node, ...] | None:
    """Returns the nodes of sqrt(2 / pi) (x + 0.044715 x^3), also written as x (1 + 0.044715 x^2) times that root."""
    outer = _product_of(view, name)
    if not math.isclose(outer.number, math.sqrt(2 / math.pi), rel_tol=_CLOSE):
        return None
    inner = [each for each in outer.tensors if each != x]
    add = view.producer(inner[0], "Add") if len(inner) == 1 else None
    if add is None:
        return None
    power = 3 - (len(outer.tensors) - 1)
    for term, rest in view.sides(add):
        is_first = term == x if power == 3 else view.number(term) == 1
        cube, nodes = _power(view, rest, x)
        if is_first and cube is not None and cube[1] == power and math.isclose(cube[0], 0.044715, rel_tol=_CLOSE):
            return (*outer.nodes, add, *nodes)
    return None


def _power(view: View, name: str, x: str) -> tuple[tuple[float, int] | None, tuple[Node, ...]]:
    """Returns a and n of a x^n, with the nodes that compute it."""
    product = _product_of(view, name)
    power, nodes = 0, list(product.nodes)
    for each in product.tensors:
        node = view.producer(each, "Pow")
        if each == x:
            power += 1
        elif node is not None and node.inputs[0] == x and (exponent := view.number(node.inputs[1])) is not None:
            power += int(exponent)
            nodes.append(node)
        else:
            return None, ()
    return (product.number, power), tuple(nodes)


def _shifted_clip(view: View, name: str) -> tuple[str, tuple[Node, ...]] | None:
    """Returns x, and the nodes, of clip(x + 3, 0, 6)."""
    clip = view.producer(name, "Clip")
    if clip is None or _bounds(view, clip) != (0, 6):
        return None
    add = view.producer(clip.inputs[0], "Add")
    for x, three in view.sides(add) if add is not None else ():
        if view.number(three) == 3 and add is not None:
            return x, (clip, add)
    return None


def _bounds(view: View, clip: Node) -> tuple[float | None, float | None]:
    low, high = ([*clip.inputs, "", ""][1:3]) if len(clip.inputs) > 1 else ("", "")
    return (
        view.number(low) if low else clip.get("min"),
        view.number(high) if high else clip.get("max"),
    )


def _product_of(view: View, name: str) -> _Product:
    """Returns the factors of a value; the value itself where nobody multiplies it from others."""
    node = view.producer(name, "Mul", "Div")
    return _product(view, node) if node is not None else _Product(1.0, (name,), ())


def _product(view: View, node: Node, depth: int = 4) -> _Product:
    """Returns the factors of a Mul or Div, as far as they are products of numbers and tensors themselves."""
    number, nodes = 1.0, [node]
    tensors: list[str] = []
    for place, name in enumerate(node.inputs):
        value = view.number(name)
        inner = view.producer(name, "Mul", "Div")
        if value is not None and (value or not place):
            number = number / value if node.operator == "Div" and place else number * value
        elif node.operator == "Div" and place:
            return _Product(1.0, (node.outputs[0],), ())  # a quotient of tensors is one factor
        elif inner is not None and depth and view.reads[name] == 1:
            below = _product(view, inner, depth - 1)
            number *= below.number
            tensors += below.tensors
            nodes += below.nodes
        else:
            tensors.append(name)
    return _Product(number, tuple(tensors), tuple(nodes))
