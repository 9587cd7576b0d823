"""Makes the ONNX graph of a Caffe net, one node after the other, and keeps the shape of every value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper
from zoo.converters.caffe.net import Shape, Step
from zoo.converters.caffe.upgrading import shown
from zoo.converters.caffe.wire import Array

from zoo.errors import IntegrityError

LayerConverter = Callable[["Writer", Step], None]

Range = tuple[int, int]
MANY = 1 << 30


@dataclass(frozen=True)
class _Converter:
    """Who converts a type of layer, and how many values it may take and make."""

    convert: LayerConverter
    inputs: Range
    outputs: Range


_CONVERTERS: dict[str, _Converter] = {}


def layer(*types: str, inputs: Range = (1, 1), outputs: Range = (1, 1)) -> Callable[[LayerConverter], LayerConverter]:
    """Declares that a function converts layers of some types.

    Args:
        types: Which.
        inputs: How many values such a layer takes, at least and at most.
        outputs: How many it makes.

    Raises:
        ValueError: Another function converts one of them.
    """

    def declare(converter: LayerConverter) -> LayerConverter:
        for each in types:
            if each in _CONVERTERS:
                raise ValueError(f"{each} has two converters")
            _CONVERTERS[each] = _Converter(converter, inputs, outputs)
        return converter

    return declare


def converter_of(step: Step) -> LayerConverter:
    """Returns who converts a layer.

    Raises:
        IntegrityError: Nobody does, or not with as many inputs and outputs.
    """
    found = _CONVERTERS.get(step.layer.type)
    if found is None:
        raise refusal(step, "this type of layer is not known")
    for what, values, (least, most) in (("bottoms", step.inputs, found.inputs), ("tops", step.outputs, found.outputs)):
        if not least <= len(values) <= most:
            told = str(least) if least == most else f"{least} or more" if most == MANY else f"{least} to {most}"
            raise refusal(step, f"it has {len(values)} {what}, and such a layer {told}")
    for name, value in _numbers(step.layer.message):
        if not math.isfinite(value):
            raise refusal(step, f"its {name} is {value}")
    return found.convert


def _numbers(message: Any) -> Iterator[tuple[str, float]]:
    """Yields the numbers in a message that need not be whole, and their names."""
    for field, value in message.ListFields():
        if field.cpp_type == field.CPPTYPE_MESSAGE:
            for each in value if field.is_repeated else [value]:
                yield from _numbers(each)
        elif field.cpp_type == field.CPPTYPE_FLOAT:
            yield from ((field.name, each) for each in (value if field.is_repeated else [value]))


def refusal(step: Step, reason: str) -> IntegrityError:
    """Returns an error that says which layer cannot be converted, where it stands, and what to do."""
    message = f"Cannot convert {step.layer.place}: {reason}."
    if step.inputs:
        below = shown(step.inputs[0])
        message += (
            f" What is below it can be converted: zoo convert ... --until {below} (Python: caffe_to_onnx(..., "
            f"outputs=[{below}]))"
        )
    return IntegrityError(message)


class Writer:
    """Collects the nodes and weights of a graph.

    Attributes:
        nodes: In order.
        model: What it will all be in; for now it has the weights, which are large, so that they are copied once.
        weights: Those.
        shapes: Of every value, with the batch size of the definition, which is left open in the graph.
        same: Values that are others under another name.
    """

    def __init__(self, inputs: dict[str, Shape], names: Iterable[str]) -> None:
        """Begins with a net's inputs; `names` are those of all values that the net itself has."""
        self.nodes: list[onnx.NodeProto] = []
        self.model = onnx.ModelProto()
        self.weights = self.model.graph.initializer
        self.shapes: dict[str, Shape] = dict(inputs)
        self.same: dict[str, str] = {}
        self._nodes: set[str] = set()
        self._values: set[str] = {*inputs, *names}

    def node(
        self, step: Step, operator: str, inputs: Sequence[str], output: str = "", suffix: str = "", **attributes: Any
    ) -> str:
        """Adds a node, and returns the value that it makes: `output`, or a new one."""
        name = self._node_name(f"{step.layer.name}/{suffix}" if suffix else step.layer.name)
        made = output or self.fresh(f"{name}/value")
        names = [self.value(each) for each in inputs]
        self.nodes.append(helper.make_node(operator, names, [made], name=name, **attributes))
        return made

    def split(self, step: Step, inputs: Sequence[str], axis: int) -> None:
        """Adds a Split into all that a layer puts out."""
        names = [self.value(each) for each in inputs]
        name = self._node_name(step.layer.name)
        self.nodes.append(helper.make_node("Split", names, list(step.outputs), name=name, axis=axis))

    def value(self, name: str) -> str:
        """Returns the value that a name stands for."""
        while name in self.same:
            name = self.same[name]
        return name

    def shape(self, name: str) -> Shape:
        """Returns the shape of a value."""
        return self.shapes[self.value(name)]

    def weight(self, step: Step, array: Array, what: str) -> str:
        """Adds a weight, and returns its name."""
        name = self.fresh(f"{step.layer.name}/{what}")
        array = np.asarray(array, order="C")
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.weights.add(name=name, dims=array.shape, data_type=kind).raw_data = array.tobytes()
        return name

    def fresh(self, name: str) -> str:
        """Returns a name for a value or a weight that none has yet: this one, or it with a number."""
        return _free(name, self._values)

    def _node_name(self, name: str) -> str:
        return _free(name, self._nodes)


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free


def axis_of(step: Step, axis: int, shape: Shape, first: int = 0) -> int:
    """Returns an axis counted from the front, of those from `first` on.

    Raises:
        IntegrityError: There is no such axis, or it is that of the batch and may not be.
    """
    found = axis + len(shape) if axis < 0 else axis
    if not first <= found < len(shape):
        raise refusal(step, f"it works on axis {axis} of {shape}; one from {first} to {len(shape) - 1} was expected")
    return found


def _bare(shape: Sequence[int]) -> tuple[int, ...]:
    """Returns a shape without the axes of one element that it begins with: older files have four in any case."""
    return tuple(shape[next((at for at, size in enumerate(shape) if size != 1), len(shape)) :])


def blob(step: Step, place: int, shape: Sequence[int]) -> Array:
    """Returns a weight of a layer in the shape that it must have; older files have more axes, of one element.

    Raises:
        IntegrityError: It has another one.
    """
    found = step.blobs[place]
    is_row = len(shape) == 1 and found.size == shape[0] == max(found.shape, default=1)  # (1, n, 1, 1) of some forks
    if not is_row and _bare(found.shape) != _bare(shape):
        raise IntegrityError(
            f"{step.layer.place} should have weights of the shape {tuple(shape)}, and has {found.shape}. Are the two "
            "files of one net?"
        )
    return found.reshape(tuple(shape))
