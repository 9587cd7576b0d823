"""What `patterns.regrouping` finds: channels in another order, and blocks of places that are channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import PATTERN, Node
from zoo.converters.importing.operators.indexing import taken
from zoo.converters.importing.operators.resizing import depth_to_space, space_to_depth
from zoo.converters.importing.operators.shaping import reshaped, transpose, wanted_sizes
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import Dim, Tensor, Value, is_number, product


@operator("ChannelShuffle", newest=0, domain=PATTERN)
def channel_shuffle(b: Builder, node: Node, x: Tensor, parts: Value, shape: Value) -> Tensor:
    """Returns the same channels in another order: the first of each group, then the second of each."""
    sizes, out = _sizes(b, node, x, parts, shape)
    groups = sizes[1:3]
    if not _are(groups, ([sizes[0], product(groups), *sizes[3:]], x.dims), (out, x.dims)):
        return _in_pieces(b, node, x, sizes, out)
    order = np.arange(int(product(groups))).reshape([int(each) for each in groups]).T.reshape(-1)
    if shuffle := x.layout.shuffle(1):
        order = np.argsort(shuffle)[order]
    return taken(b, x, 1, order.tolist(), order.shape)


@operator("SpaceToDepth", newest=0, domain=PATTERN)
def blocks_to_channels(b: Builder, node: Node, x: Tensor, parts: Value, shape: Value) -> Tensor:
    """Returns feature maps whose blocks of places have become channels."""
    sizes, out = _sizes(b, node, x, parts, shape)
    batch, channels, height, row, width, column = sizes
    whole, wanted = [batch, channels, height * row, width * column], [batch, channels * row * column, height, width]
    if not _are([channels, row, column], ([row], [column]), (whole, x.dims), (out, wanted)):
        return _in_pieces(b, node, x, sizes, out)
    mode = "CRD" if node.get("permutation")[1] == 1 else "DCR"
    found: Tensor = space_to_depth(b, replace(node, attributes={"blocksize": int(row), "mode": mode}), x)
    return found


@operator("DepthToSpace", newest=0, domain=PATTERN)
def channels_to_blocks(b: Builder, node: Node, x: Tensor, parts: Value, shape: Value) -> Tensor:
    """Returns feature maps whose channels have become blocks of places."""
    sizes, out = _sizes(b, node, x, parts, shape)
    is_crd = node.get("permutation")[1] == 1
    channels, row, column = sizes[1:4] if is_crd else (sizes[3], *sizes[1:3])
    batch, _, _, _, height, width = sizes
    whole, wanted = [batch, channels * row * column, height, width], [batch, channels, height * row, width * column]
    if not _are([channels, row, column], ([row], [column]), (whole, x.dims), (out, wanted)):
        return _in_pieces(b, node, x, sizes, out)
    attributes = {"blocksize": int(row), "mode": "CRD" if is_crd else "DCR"}
    found: Tensor = depth_to_space(b, replace(node, attributes=attributes), x)
    return found


def _sizes(b: Builder, node: Node, x: Tensor, parts: Value, shape: Value) -> tuple[list[Dim], list[Dim]]:
    """Returns the sizes between, before axes move, and those of the result."""
    if isinstance(parts, Tensor) or isinstance(shape, Tensor):
        raise Unsupported("it reshapes to sizes that are computed from values")
    keeps_zeros = [bool(each) for each in node.get("allowzero")]
    sizes = wanted_sizes(b, x, parts, keeps_zeros[0])
    moved = replace(x, dims=tuple(sizes[axis] for axis in node.get("permutation")))
    return sizes, wanted_sizes(b, moved, shape, keeps_zeros[1])


def _are(known: Sequence[Dim], *pairs: tuple[Sequence[Dim], Sequence[Dim]]) -> bool:
    """Returns whether some sizes are numbers, and others are equal in pairs, as far as they are numbers.

    A size of feature maps that varies often has no name that tells it is another: what it is divided by, less one...
    """
    return all(map(is_number, known)) and all(
        len(one) == len(other)
        and all(
            size == each or not (is_number(size) and is_number(each)) for size, each in zip(one, other, strict=True)
        )
        for one, other in pairs
    )


def _in_pieces(b: Builder, node: Node, x: Tensor, sizes: Sequence[Dim], out: Sequence[Dim]) -> Tensor:
    attributes = {"perm": list(node.get("permutation"))}
    return reshaped(b, transpose(b, replace(node, attributes=attributes), reshaped(b, x, sizes)), out)
