"""Pools that are written as several nodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from zoo.converters.importing.graph import Array, Node
from zoo.converters.importing.rewriting import Match, View

_TO_FRONT, _TO_BACK = [2, 3, 0, 1], [4, 5, 0, 1, 2, 3]  # places before batch and channels, and windows behind them


def adaptive_pooling(view: View, node: Node) -> Match | None:
    """Finds the mean of windows that are gathered from a picture, as PyTorch writes adaptive pooling."""
    back = view.producer(node.inputs[0], "Transpose") if node.operator == "ReduceMean" else None
    gather = view.producer(back.inputs[0], "GatherND") if back is not None else None
    front = view.producer(gather.inputs[0], "Transpose") if gather is not None else None
    if back is None or gather is None or front is None or node.get("keepdims", 1) or gather.get("batch_dims", 0):
        return None
    if front.get("perm") != _TO_FRONT or back.get("perm") != _TO_BACK or _axes(view, node) != {3, 5}:
        return None
    windows = _windows(view.array(gather.inputs[1]))
    if windows is None:
        return None
    sizes, strides = windows
    attributes = {"kernel_shape": sizes, "strides": strides}
    made = replace(node, operator="AveragePool", domain="", inputs=front.inputs, attributes=attributes, version=0)
    return Match((front, gather, back, node), made)


def _axes(view: View, node: Node) -> set[int]:
    given = view.array(node.inputs[1]) if len(node.inputs) > 1 else node.get("axes", ())
    return {int(each) % 6 for each in given} if given is not None else set()


def _windows(places: Array | None) -> tuple[list[int], list[int]] | None:
    """Returns sizes and strides of windows of [rows, height, columns, width, 2] places; None where they are irregular.

    They must follow each other without a gap, from the first place on, so that there are no more of them than these.
    """
    if places is None or places.ndim != 5 or places.shape[-1] != 2:
        return None
    rows, height, columns, width, _ = places.shape
    strides = [
        int(places[min(1, rows - 1), 0, 0, 0, 0]) or height,
        int(places[0, 0, min(1, columns - 1), 0, 1]) or width,
    ]
    down = np.arange(rows)[:, None] * strides[0] + np.arange(height)
    right = np.arange(columns)[:, None] * strides[1] + np.arange(width)
    is_regular = (places[..., 0] == down[:, :, None, None]).all() and (places[..., 1] == right).all()
    return ([height, width], strides) if is_regular else None
