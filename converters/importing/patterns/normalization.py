"""Normalizations that are written as several nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from zoo.converters.importing.graph import PATTERN, Node
from zoo.converters.importing.rewriting import Match, View


@dataclass(frozen=True)
class _Statistics:
    """What a value is normalized by: the nodes of its mean and of the inverse of its deviation, and all that they need.

    Attributes:
        x: The value.
        mean: The name of its mean.
        inverse: The name of 1 / deviation, or of the deviation where it divides.
        attributes: The axes, and what is added to the variance.
        nodes: All nodes of both.
    """

    x: str
    mean: str
    inverse: str
    attributes: dict[str, object]
    nodes: tuple[Node, ...]


def standardization(view: View, node: Node) -> Match | None:
    """Finds (x - mean(x)) / sqrt(mean((x - mean(x))^2) + e) over any axes: a LayerNormalization."""
    for value, other in _factors(view, node):
        centred, found = view.producer(value, "Sub"), _statistics(view, other)
        if centred is None or found is None or centred.inputs != (found.x, found.mean):
            continue
        own = () if centred in found.nodes else (centred,)  # PyTorch writes the difference once, others twice
        return Match((node, *own, *found.nodes), _made(node, found, ""))
    return None


def line_of_statistics(view: View, node: Node) -> Match | None:
    """Finds x s + (b - mean(x) s), where s is a / sqrt(...), as TensorFlow computes a LayerNormalization."""
    for line, rest in view.sides(node) if node.operator == "Add" else ():
        product = view.producer(line, "Mul")
        for x, slope in view.sides(product) if product is not None else ():
            shift = _shift(view, rest, slope)
            scaled = _scaled(view, slope)
            if shift is None or scaled is None or product is None:
                continue
            (mean, bias, shifting), (found, scale, scaling) = shift, scaled
            if found.x == x and found.mean == mean:
                return Match((node, product, *shifting, *scaling, *found.nodes), _made(node, found, scale, bias))
    return None


def _made(node: Node, found: _Statistics, *arrays: str) -> Node:
    return replace(
        node, operator="LayerNormalization", domain=PATTERN, inputs=(found.x, *arrays), attributes=found.attributes,
        version=0,
    )  # fmt: skip


def _factors(view: View, node: Node) -> Iterator[tuple[str, str]]:
    """Yields x and y of x * y, and of x / y."""
    if node.operator == "Div":
        yield node.inputs[0], node.inputs[1]
    elif node.operator == "Mul":
        yield from view.sides(node)


def _shift(view: View, name: str, slope: str) -> tuple[str, str, tuple[Node, ...]] | None:
    """Returns the mean, the name of b, and the nodes, of b - mean * slope, which may be written as mean's negative."""
    node = view.producer(name, "Mul", "Add", "Sub")
    if node is None:
        return None
    if node.operator == "Mul":
        for value, other in view.sides(node):
            negative = view.producer(value, "Neg")
            if other == slope and negative is not None:
                return negative.inputs[0], "", (node, negative)
        return None
    for bias, term in view.sides(node) if node.operator == "Add" else [node.inputs]:
        if view.array(bias) is None:
            continue
        if node.operator == "Add" and (found := _shift(view, term, slope)):
            return found[0], bias, (node, *found[2])
        product = view.producer(term, "Mul") if node.operator == "Sub" else None
        for mean, other in view.sides(product) if product is not None else ():
            if other == slope and product is not None:
                return mean, bias, (node, product)
    return None


def _scaled(view: View, name: str) -> tuple[_Statistics, str, tuple[Node, ...]] | None:
    """Returns the statistics, the name of a, and the nodes, of a / deviation."""
    if found := _statistics(view, name):
        return found, "", ()
    node = view.producer(name, "Mul")
    for inverse, scale in view.sides(node) if node is not None else ():
        found = _statistics(view, inverse)
        if found is not None and node is not None and view.array(scale) is not None:
            return found, scale, (node,)
    return None


def _statistics(view: View, name: str) -> _Statistics | None:
    """Returns of what a value is the deviation, or 1 over it: sqrt(mean((x - mean(x))^2) + e)."""
    inverse = view.producer(name, "Reciprocal", "Div")
    if inverse is not None and inverse.operator == "Div" and view.number(inverse.inputs[0]) != 1:
        return None
    root = view.producer(name if inverse is None else inverse.inputs[-1], "Sqrt")
    add = view.producer(root.inputs[0], "Add") if root is not None else None
    for spread, number in view.sides(add) if add is not None else ():
        epsilon, variance = view.number(number), view.producer(spread, "ReduceMean")
        square = view.producer(variance.inputs[0], "Pow", "Mul") if variance is not None else None
        centred = view.producer(square.inputs[0], "Sub") if square is not None else None
        mean = view.producer(centred.inputs[1], "ReduceMean") if centred is not None else None
        if epsilon is None or mean is None or centred is None or square is None or variance is None:
            continue
        axes = _axes(view, mean)
        if not _is_square(view, square) or mean.inputs[0] != centred.inputs[0] or axes is None:
            continue
        if axes == _axes(view, variance) and add is not None and root is not None:
            nodes = (*([inverse] if inverse is not None else []), root, add, variance, square, centred, mean)
            attributes: dict[str, object] = {"axes": axes, "epsilon": epsilon}
            return _Statistics(mean.inputs[0], centred.inputs[1], name, attributes, nodes)
    return None


def _is_square(view: View, node: Node) -> bool:
    if node.operator == "Mul":
        return node.inputs[0] == node.inputs[1]
    exponent = view.array(node.inputs[1])
    return exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 2


def _axes(view: View, reduction: Node) -> tuple[int, ...] | None:
    """Returns over which axes a reduction goes, as they are written; None where that is not known, or they are gone."""
    given = reduction.get("axes")
    if given is None and len(reduction.inputs) > 1:
        given = view.array(reduction.inputs[1])
    if given is None or not reduction.get("keepdims", 1):
        return None
    return tuple(sorted(int(each) for each in given))


def normalization_scale(view: View, node: Node) -> Match | None:
    """Finds the learned scale, and the learned offset, behind a normalization in pieces that has none yet."""
    for value, other in view.sides(node) if node.operator in ("Mul", "Add") else ():
        norm, array = view.producer(value, "LayerNormalization", "GroupNormalization"), view.array(other)
        if norm is None or norm.domain != PATTERN or array is None or array.dtype.kind != "f" or array.size == 1:
            continue
        before = 1 if norm.operator == "LayerNormalization" else 2  # inputs before the scale
        has_scale, has_bias = len(norm.inputs) > before and norm.inputs[before] != "", len(norm.inputs) > before + 1
        if has_bias or has_scale != (node.operator == "Add"):
            continue
        inputs = (*norm.inputs[:before], other) if node.operator == "Mul" else (*norm.inputs, other)
        return Match((norm, node), replace(norm, inputs=inputs, outputs=node.outputs))
    return None


def grouped(view: View, node: Node) -> Match | None:
    """Finds an InstanceNormalization of x in groups of channels, [batch, groups, -1], and back: a GroupNormalization.

    Whether the sizes behind it are those of x, which may vary, is seen when it is converted.
    """
    instances = view.producer(node.inputs[0], "InstanceNormalization") if node.operator == "Reshape" else None
    rows = view.producer(instances.inputs[0], "Reshape") if instances is not None else None
    if rows is None or instances is None or len(rows.inputs) != 2 or len(node.inputs) != 2:
        return None
    shape, scale, bias = (view.array(name) for name in (rows.inputs[1], *instances.inputs[1:3]))
    if shape is None or shape.size != 3 or shape[1] < 1 or shape[2] != -1 or rows.get("allowzero", 0):
        return None
    if scale is None or bias is None or (scale != 1).any() or bias.any():
        return None
    attributes = {"num_groups": int(shape[1]), "epsilon": instances.get("epsilon", 1e-5), "batch": int(shape[0])}
    made = replace(
        node, operator="GroupNormalization", domain=PATTERN, inputs=(rows.inputs[0], node.inputs[1]),
        attributes=attributes, version=0,
    )  # fmt: skip
    return Match((rows, instances, node), made)
