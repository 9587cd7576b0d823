"""What becomes of pictures before the first layer of a net, where that is wanted inside the graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper
from zoo.converters.caffe.wire import Array
from zoo.converters.caffe.writer import Writer

from zoo.errors import UsageError


@dataclass(frozen=True)
class Preprocessing:
    """What becomes of a picture: its channels in the net's order, then `(x * scale - mean) / std`.

    Attributes:
        swap: Whether channels come in the opposite order: RGB for a net that was trained on BGR.
        scale: Factor on pixel values.
        mean: What is subtracted, in the net's order of channels; one number is for all, none is 0.
        std: What is divided by, likewise; none is 1.
    """

    swap: bool = False
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def preprocess(writer: Writer, wanted: Preprocessing) -> None:
    """Writes preprocessing behind the only input of a graph, which keeps its name.

    Raises:
        UsageError: There are several inputs, or it is none of pictures, or has other channels.
    """
    inputs = dict(writer.shapes)
    name, shape = next(iter(inputs.items()))
    if len(inputs) > 1 or len(shape) != 4:
        raise UsageError(f"Expected one input of pictures to preprocess; the net has {len(inputs)}, the first {shape}.")
    for what, numbers in (("mean", wanted.mean), ("std", wanted.std)):
        if len(numbers) not in (0, 1, shape[1]):
            raise UsageError(f"Expected a {what} for each of {shape[1]} channels, or one; got {len(numbers)}.")
    if wanted.swap and shape[1] != 3:
        raise UsageError(f"Expected pictures of 3 channels, for a net that takes BGR; they have {shape[1]}.")
    deviation = np.array(wanted.std or (1.0,))
    factor, shift = wanted.scale / deviation, -np.array(wanted.mean or (0.0,)) / deviation
    value = name
    if wanted.swap:
        value = _step(writer, name, value, "Gather", np.array([2, 1, 0]))
    if (factor != 1).any():
        value = _step(writer, name, value, "Mul", factor.astype("f4").reshape(-1, 1, 1))
    if shift.any():
        value = _step(writer, name, value, "Add", shift.astype("f4").reshape(-1, 1, 1))
    if value != name:
        writer.same[name] = value


def _step(writer: Writer, name: str, value: str, operator: str, numbers: Array) -> str:
    made = writer.fresh(f"{name}/{operator.lower()}")
    weight = writer.fresh(f"{made}/numbers")
    writer.weights.append(onnx.numpy_helper.from_array(numbers, weight))
    node = helper.make_node(operator, [value, weight], [made], name=made)
    if operator == "Gather":
        node.attribute.append(helper.make_attribute("axis", 1))
    writer.nodes.append(node)
    writer.shapes[made] = writer.shapes[name]
    return made
