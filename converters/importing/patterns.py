"""The patterns: what exporters write as several nodes, and is one layer.

Each function looks at the last node of a pattern, and returns the match that ends there. Each says in its first line
what it finds; in the formulas `x` is a tensor, and small letters from `a` on are constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from zoo.converters.importing.graph import PATTERN, Array, Node
from zoo.converters.importing.rewriting import Match, Pattern, View

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


# --- biases ---


def convolution_bias(view: View, node: Node) -> Match | None:
    """Finds conv(x) + b, with a number for each channel."""
    for value, other in view.sides(node) if node.operator == "Add" else ():
        conv, bias = view.producer(value, "Conv", "ConvTranspose"), view.array(other)
        if conv is None or bias is None or len([name for name in conv.inputs if name]) != 2:
            continue
        kernel = view.array(conv.inputs[1])
        if kernel is None:
            continue
        channels = kernel.shape[0] if conv.operator == "Conv" else kernel.shape[1] * conv.get("group", 1)
        numbers = _per_channel(bias, channels, kernel.ndim)
        if numbers is not None:
            name = view.new_name(conv, "bias")
            made = replace(conv, inputs=(*conv.inputs[:2], name), outputs=node.outputs)
            return Match((conv, node), made, ((name, numbers),))
    return None


def dense(view: View, node: Node) -> Match | None:
    """Finds x W + b, with the weights of a Dense."""
    for value, other in view.sides(node) if node.operator == "Add" else ():
        product, bias = view.producer(value, "MatMul"), view.array(other)
        if product is None or bias is None or bias.dtype.kind != "f":
            continue
        kernel = view.array(product.inputs[1])
        if kernel is None or kernel.ndim != 2 or bias.size != kernel.shape[1] or bias.shape[-1] != bias.size:
            continue
        name = view.new_name(product, "bias")
        made = replace(
            product, operator="Dense", domain=PATTERN, inputs=(*product.inputs, name), outputs=node.outputs, version=0
        )
        return Match((product, node), made, ((name, bias.reshape(-1)),))
    return None


def _per_channel(array: Array, channels: int, rank: int) -> Array | None:
    """Returns the numbers of an array with one for each channel of [batch, channels, ...]; None where it has others."""
    if array.dtype.kind != "f" or array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    wanted = (1, channels) + (1,) * (rank - 2)
    return array.reshape(-1) if shape == wanted else None


# --- normalization ---


def scale_of_channels(view: View, node: Node) -> Match | None:
    """Finds conv(x) * a + b, with numbers for each channel: a BatchNormalization with mean 0 and variance 1."""
    for value, other in view.sides(node) if node.operator == "Add" else ():
        shift, multiply = view.array(other), view.producer(value, "Mul")
        for inner, factor in view.sides(multiply) if multiply is not None else ():
            scale, conv = view.array(factor), view.producer(inner, "Conv", "ConvTranspose")
            kernel = view.array(conv.inputs[1]) if conv is not None else None
            if scale is None or shift is None or kernel is None or conv is None or multiply is None:
                continue
            channels = kernel.shape[0] if conv.operator == "Conv" else kernel.shape[1] * conv.get("group", 1)
            gamma, beta = _per_channel(scale, channels, kernel.ndim), _per_channel(shift, channels, kernel.ndim)
            if gamma is None or beta is None or gamma.dtype != np.float32:
                continue
            names = [view.new_name(node, each) for each in ("scale", "bias", "mean", "variance")]
            epsilon = np.float32(1e-3)
            variance = np.full(channels, np.float32(1) - epsilon)
            if (variance + epsilon != 1).any():
                continue
            made = replace(
                multiply, operator="BatchNormalization", inputs=(inner, *names), outputs=node.outputs,
                attributes={"epsilon": float(epsilon)}, version=0,
            )  # fmt: skip
            arrays = (gamma, beta, np.zeros(channels, np.float32), variance)
            return Match((multiply, node), made, tuple(zip(names, arrays, strict=True)))
    return None


def standardization(view: View, node: Node) -> Match | None:
    """Finds (x - mean(x)) / sqrt(mean((x - mean(x))^2) + e) over the last axes: a LayerNormalization."""
    core = _quotient(view, node)
    if core is None:
        return None
    centred, root, used = core
    add = view.producer(root.inputs[0], "Add")
    for spread, number in view.sides(add) if add is not None else ():
        epsilon, variance = view.number(number), view.producer(spread, "ReduceMean")
        if epsilon is None or variance is None or add is None:
            continue
        square = view.producer(variance.inputs[0], "Pow", "Mul")
        if square is None or not _is_square(view, square, centred):
            continue
        difference = view.producer(centred, "Sub")
        mean = view.producer(difference.inputs[1], "ReduceMean") if difference is not None else None
        if difference is None or mean is None or mean.inputs[0] != difference.inputs[0]:
            continue
        axes = _axes(view, mean)
        if axes is None or axes != _axes(view, variance) or axes != tuple(range(-len(axes), 0)):
            continue
        gone = (node, *used, root, add, variance, square, difference, mean)
        attributes = {"axis": axes[0], "epsilon": epsilon}
        made = replace(
            node, operator="LayerNormalization", inputs=(difference.inputs[0], ""), attributes=attributes, version=0
        )
        return Match(gone, made)
    return None


def _quotient(view: View, node: Node) -> tuple[str, Node, tuple[Node, ...]] | None:
    """Returns x, the node of the root, and others, of x / sqrt(y) or x * (1 / sqrt(y))."""
    if node.operator == "Div" and (root := view.producer(node.inputs[1], "Sqrt")):
        return node.inputs[0], root, ()
    for x, other in view.sides(node) if node.operator == "Mul" else ():
        inverse = view.producer(other, "Reciprocal")
        if inverse is not None and (root := view.producer(inverse.inputs[0], "Sqrt")):
            return x, root, (inverse,)
    return None


def _is_square(view: View, node: Node, x: str) -> bool:
    if node.operator == "Mul":
        return node.inputs == (x, x)
    return node.inputs[0] == x and _whole(view.array(node.inputs[1])) == 2


def _whole(array: Array | None) -> float | None:
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def _axes(view: View, reduction: Node) -> tuple[int, ...] | None:
    """Returns the last axes over which a reduction goes, counted from the end; None where they may be others."""
    given = reduction.get("axes")
    if given is None and len(reduction.inputs) > 1:
        array = view.array(reduction.inputs[1])
        given = None if array is None else [int(each) for each in array]
    if given is None or not reduction.get("keepdims", 1) or any(each >= 0 for each in given):
        return None
    return tuple(sorted(given))


def normalization_scale(view: View, node: Node) -> Match | None:
    """Finds the learned scale, and the learned offset, behind a LayerNormalization that has none yet."""
    for value, other in view.sides(node) if node.operator in ("Mul", "Add") else ():
        norm, array = view.producer(value, "LayerNormalization"), view.array(other)
        if norm is None or array is None or array.ndim > -norm.get("axis", -1) or array.dtype.kind != "f":
            continue
        has_scale, has_bias = len(norm.inputs) > 1 and norm.inputs[1] != "", len(norm.inputs) > 2
        if norm.version or has_bias or has_scale != (node.operator == "Add"):
            continue
        inputs = (norm.inputs[0], other) if node.operator == "Mul" else (*norm.inputs, other)
        return Match((norm, node), replace(norm, inputs=inputs, outputs=node.outputs))
    return None


# --- convolutions ---


def separable_convolution(view: View, node: Node) -> Match | None:
    """Finds a convolution of depth without bias, and one of 1x1 behind it: a SeparableConv."""
    if node.operator != "Conv" or node.domain == PATTERN:
        return None
    depth, kernel = view.producer(node.inputs[0], "Conv"), view.array(node.inputs[1])
    if depth is None or kernel is None or len([name for name in depth.inputs if name]) != 2:
        return None
    deep = view.array(depth.inputs[1])
    if deep is None or deep.shape[1] != 1 or depth.get("group", 1) == 1 or deep.shape[0] % depth.get("group", 1):
        return None
    is_point = set(kernel.shape[2:]) == {1} and node.get("group", 1) == 1 and not any(node.get("pads") or ())
    strides, dilations = depth.get("strides") or [1], depth.get("dilations") or [1]
    plain = set(node.get("strides") or [1]) == {1} and len(set(strides)) == 1 and 1 in (max(strides), max(dilations))
    if not is_point or not plain or kernel.ndim > 4:
        return None
    inputs = (depth.inputs[0], depth.inputs[1], *node.inputs[1:])
    made = replace(
        node, operator="SeparableConv", domain=PATTERN, inputs=inputs, attributes=depth.attributes, version=0
    )
    return Match((depth, node), made)


PATTERNS: Sequence[Pattern] = (
    gated_activation,
    hard_sigmoid,
    convolution_bias,
    scale_of_channels,
    dense,
    standardization,
    normalization_scale,
    separable_convolution,
)
