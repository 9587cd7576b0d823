"""Channels and places that change their order by a Reshape, a Transpose, and a Reshape back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from zoo.converters.importing.graph import PATTERN, Array, Node
from zoo.converters.importing.rewriting import Match, View

# How axes move between, and what that is: of [batch, groups, channels, ...], of [batch, channels, rows, row in a block,
# columns, column in a block], and of the channels that become blocks.
_OPERATORS = {
    (0, 2, 1, 3, 4): "ChannelShuffle",
    (0, 2, 1, 3, 4, 5): "ChannelShuffle",
    (0, 1, 3, 5, 2, 4): "SpaceToDepth",
    (0, 3, 5, 1, 2, 4): "SpaceToDepth",
    (0, 1, 4, 2, 5, 3): "DepthToSpace",
    (0, 3, 4, 1, 5, 2): "DepthToSpace",
}

# What does the same to each channel, so that it does not matter in which order they lie.
_ALIKE = ("Relu", "Clip", "Elu", "LeakyRelu", "Sigmoid", "Tanh", "Selu", "Gelu", "Swish", "HardSwish", "Mish")


def regrouping(view: View, node: Node) -> Match | None:
    """Finds a Reshape of x, a Transpose, and a Reshape, that shuffle channels, or make blocks of places channels.

    Whether the sizes, which may vary, are such is seen when it is converted.
    """
    moved = view.producer(node.inputs[0], "Transpose") if node.operator == "Reshape" else None
    parted = view.producer(moved.inputs[0], "Reshape") if moved is not None else None
    if moved is None or parted is None or len(node.inputs) != 2 or len(parted.inputs) != 2:
        return None
    permutation = tuple(moved.get("perm") or ())
    operator = _OPERATORS.get(permutation)
    rank = len(permutation) - (1 if operator == "ChannelShuffle" else 2)
    if operator is None or not _has(view, parted.inputs[1], len(permutation)) or not _has(view, node.inputs[1], rank):
        return None
    attributes = {"permutation": permutation, "allowzero": (parted.get("allowzero", 0), node.get("allowzero", 0))}
    made = replace(
        node, operator=operator, domain=PATTERN, inputs=(*parted.inputs, node.inputs[1]), attributes=attributes,
        version=0,
    )  # fmt: skip
    return Match((parted, moved, node), made)


def blocks_of_kernels(view: View, node: Node) -> Match | None:
    """Finds a convolution whose channels become blocks, one channel's block after the other's.

    Keras takes first all channels' first places, then their second: so the kernels may lie.
    """
    if node.operator != "DepthToSpace" or node.domain == PATTERN or node.get("mode", "DCR") != "CRD":
        return None
    name, block = node.inputs[0], node.get("blocksize", 1) ** 2
    while (inner := view.producer(name, *_ALIKE)) and view.is_private(name):
        name = inner.inputs[0]
    conv = view.producer(name, "Conv")
    if conv is None or conv.domain == PATTERN or conv.get("group", 1) != 1 or not view.is_private(name):
        return None
    inputs, constants = [conv.inputs[0]], list[tuple[str, Array]]()
    for each in (name for name in conv.inputs[1:] if name):
        array = view.array(each)
        if array is None or len(array) % block:
            return None
        order = np.arange(len(array)).reshape(-1, block).T.reshape(-1)
        name, new = view.derived(each, array[order], f"blocks of {block}")
        inputs.append(name)
        constants += new
    changed = replace(conv, inputs=tuple(inputs))
    made = replace(node, attributes={**node.attributes, "mode": "DCR"})
    return Match((node,), made, tuple(constants), (changed,))


def _has(view: View, shape: str, count: int) -> bool:
    """Returns whether a shape may have so many sizes."""
    array, made = view.array(shape), view.producer(shape, "Concat", "Shape")
    if array is not None:
        return bool(array.size == count)
    return made is not None and (made.operator == "Shape" or len(made.inputs) == count)
