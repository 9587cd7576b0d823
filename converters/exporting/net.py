"""A graph of ONNX that can be changed: operators, known values, and what is known of the others.

Known values are numpy arrays, often views of a model's weights: bytes are made when they are written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
from numpy.typing import NDArray

Array = NDArray[Any]
Dims = tuple[int | None, ...]


@dataclass(eq=False)
class Op:
    """One operator of a graph."""

    operator: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, onnx.AttributeProto] = field(default_factory=dict)
    domain: str = ""

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the value of an attribute."""
        return onnx.helper.get_attribute_value(self.attributes[name]) if name in self.attributes else default

    def put(self, **attributes: Any) -> Op:
        """Sets attributes, and returns the operator."""
        self.attributes |= {name: onnx.helper.make_attribute(name, value) for name, value in attributes.items()}
        return self

    @property
    def graphs(self) -> list[onnx.GraphProto]:
        """The graphs inside it, as a loop has one."""
        return [
            graph for each in self.attributes.values() for graph in ([each.g] if each.HasField("g") else each.graphs)
        ]

    def captured(self) -> set[str]:
        """Returns the names that the graphs inside it use; some of them may be their own."""
        return {name for graph in self.graphs for name in used_names(graph)}

    def proto(self) -> onnx.NodeProto:
        """Returns it as ONNX has it."""
        node = onnx.helper.make_node(self.operator, self.inputs, self.outputs, name=self.name, domain=self.domain)
        node.attribute.extend(self.attributes.values())
        return node


def used_names(graph: onnx.GraphProto) -> Iterator[str]:
    """Yields every name that a graph or one inside it uses."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from used_names(inner)
    yield from (each.name for each in graph.output)


@dataclass(eq=False)
class Net:
    """A graph of ONNX that can be changed.

    Attributes:
        opset: The operator set.
        ops: The operators, each after those whose values it takes.
        constants: Known values by name.
        inputs: The names of the inputs.
        outputs: The names of the outputs, those that are only compared among them.
        dims: The sizes of values, as far as they are known; None for one that varies.
        types: The types of values, as ONNX numbers them.
        sources: Of constants that were computed from weights: which ones.
    """

    opset: int
    ops: list[Op]
    constants: dict[str, Array]
    inputs: list[str]
    outputs: list[str]
    dims: dict[str, Dims]
    types: dict[str, int]
    sources: dict[str, frozenset[str]] = field(default_factory=dict)
    _number: int = 0

    def fresh(self, like: str) -> str:
        """Returns a name for a new value."""
        self._number += 1
        return f"{like}~{self._number}"

    def constant(self, array: Array, like: str) -> str:
        """Returns the name of a new known value; made of a known one, it comes from the same weights."""
        name = self.fresh(like)
        self.constants[name] = array
        if like in self.sources:
            self.sources[name] = self.sources[like]
        self.dims[name] = tuple(array.shape)
        return name

    def producers(self) -> dict[str, Op]:
        """Returns which operator makes a value."""
        return {name: op for op in self.ops for name in op.outputs if name}

    def consumers(self) -> dict[str, list[Op]]:
        """Returns which operators take a value."""
        found: dict[str, list[Op]] = {}
        for op in self.ops:
            for name in {*op.inputs, *op.captured()}:
                found.setdefault(name, []).append(op)
        return found

    def use_instead(self, names: Mapping[str, str]) -> None:
        """Lets every operator take other values. Those that graphs inside operators use cannot be exchanged."""
        for op in self.ops:
            op.inputs = [names.get(each, each) for each in op.inputs]

    def captured(self) -> set[str]:
        """Returns the names that graphs inside operators use."""
        return set().union(*(op.captured() for op in self.ops if op.graphs))

    def prune(self) -> None:
        """Removes the operators that no output needs."""
        needed, kept = set(self.outputs), []
        for op in reversed(self.ops):
            if any(name in needed for name in op.outputs):
                kept.append(op)
                needed.update(op.inputs, op.captured())
                needed.discard("")  # an input, or an output, that is left out
        self.ops = kept[::-1]

    def forget_unused(self) -> None:
        """Removes the known values that no operator takes."""
        used = self.consumers()
        self.constants = {name: array for name, array in self.constants.items() if name in used}

    def sizes(self, name: str) -> Dims | None:
        """Returns the sizes of a value; None where not even their number is known."""
        return tuple(self.constants[name].shape) if name in self.constants else self.dims.get(name)


def net_of(proto: onnx.ModelProto, opset: int, dims: Mapping[str, Dims], types: Mapping[str, int]) -> Net:
    """Returns the graph of a model; its inputs are the proto's."""
    graph = proto.graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    ops = []
    for node in graph.node:
        if node.op_type == "Constant" and [each.name for each in node.attribute] == ["value"]:
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
            continue
        attributes = {each.name: each for each in node.attribute}
        ops.append(Op(node.op_type, node.name, list(node.input), list(node.output), attributes, node.domain))
    return Net(
        opset, ops, constants, [each.name for each in graph.input], [each.name for each in graph.output],
        dict(dims), dict(types),
    )  # fmt: skip


def known_size(dims: Dims | None) -> int | None:
    """Returns how many numbers there are; None where that varies."""
    return None if dims is None or None in dims else math.prod(each or 0 for each in dims)
