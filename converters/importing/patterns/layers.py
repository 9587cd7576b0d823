"""What is written beside the layer it belongs to: biases, a convolution in two, an axis that is kept."""

from __future__ import annotations

from dataclasses import replace

from zoo.converters.importing.graph import PATTERN, Array, Node
from zoo.converters.importing.rewriting import Match, View


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
            name, new = view.derived(other, numbers)
            made = replace(conv, inputs=(*conv.inputs[:2], name), outputs=node.outputs)
            return Match((conv, node), made, new)
    return None


def dense(view: View, node: Node) -> Match | None:
    """Finds x W + b, with the weights of a Dense."""
    for value, other in view.sides(node) if node.operator == "Add" else ():
        product, bias = view.producer(value, "MatMul"), view.array(other)
        if product is None or bias is None or bias.dtype.kind != "f":
            continue
        kernel = view.array(product.inputs[1])
        if kernel is None or kernel.ndim != 2 or bias.size != kernel.shape[1]:
            continue
        if bias.shape[-1:] not in ((), (bias.size,)):
            continue
        name, new = view.derived(other, bias.reshape(-1))
        made = replace(
            product, operator="Dense", domain=PATTERN, inputs=(*product.inputs, name), outputs=node.outputs, version=0
        )
        return Match((product, node), made, new)
    return None


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


def kept_axis(view: View, node: Node) -> Match | None:
    """Finds what lies at a place of an axis, and that axis put back: a Gather of one place, which keeps it."""
    gather = view.producer(node.inputs[0], "Gather") if node.operator == "Unsqueeze" else None
    index = view.array(gather.inputs[1]) if gather is not None else None
    axes = view.array(node.inputs[1]) if len(node.inputs) > 1 else node.get("axes")
    if gather is None or index is None or index.ndim or axes is None:
        return None
    if [int(axis) for axis in axes] != [gather.get("axis", 0)]:
        return None
    name, new = view.derived(gather.inputs[1], index.reshape(1))
    return Match((gather, node), replace(gather, inputs=(gather.inputs[0], name), outputs=node.outputs), new)


def _per_channel(array: Array, channels: int, rank: int) -> Array | None:
    """Returns the numbers of an array with one for each channel of [batch, channels, ...]; None where it has others."""
    if array.dtype.kind != "f" or array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    wanted = (1, channels) + (1,) * (rank - 2)
    return array.reshape(-1) if shape == wanted else None
