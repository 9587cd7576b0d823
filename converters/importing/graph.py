"""A read-only view of an ONNX graph: nodes, what they read and write, and the constants among it. It knows no Keras.

Format: https://github.com/onnx/onnx/blob/main/docs/IR.md
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from zoo.errors import IntegrityError, UnsafeFileError

Array = NDArray[Any]
ONNX = ""  # the name of ONNX's own domain; "ai.onnx" is the same
_LARGEST = 1 << 28  # numbers of a weight of which only some are told: 1 GiB of float32
_FEW = 64  # numbers: of a shape, of axes, and not yet of weights
_NO_NAMES = {"", "?", "none", "unknown", "-1"}  # of sizes that vary: what exporters write where they have no name
PATTERN = "zoo.pattern"  # the domain of nodes that stand for a pattern of others


@dataclass(frozen=True)
class Node:
    """One operation of a graph.

    Attributes:
        operator: As ONNX names it: "Conv".
        domain: "" for ONNX's own.
        name: As the file names it, or after its first output.
        inputs: The values that it reads; "" for one that is left out.
        outputs: The values that it writes; "" for one that is left out.
        attributes: Numbers, texts, arrays, lists of them, and `Graph`s.
        version: That of the operator: the operator set in which it last changed.
        opset: The operator set of its domain that the model uses.
        module: Which module of PyTorch wrote it, the same each time that one is called; "" where nothing tells.
    """

    operator: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    opset: int = 0
    module: str = ""

    def __str__(self) -> str:
        kind = self.operator if self.domain in (ONNX, PATTERN) else f"{self.domain}.{self.operator}"
        return f"node {self.name!r} ({kind})"

    def get(self, attribute: str, default: Any = None) -> Any:
        """Returns an attribute, or `default` where it has none of that name."""
        return self.attributes.get(attribute, default)


@dataclass(frozen=True)
class Info:
    """What a graph tells of an input or output: NumPy's name of its type, and its sizes; None and texts vary."""

    dtype: str
    dims: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class Graph:
    """A graph, in the order of computation.

    Attributes:
        inputs: What the caller gives, in order; initializers that old files list here too are not among them.
        outputs: What comes out, in order.
        constants: The initializers, by name.
        shapes: Their shapes, which are told also where the arrays themselves are not wanted yet.
    """

    nodes: tuple[Node, ...]
    inputs: Mapping[str, Info]
    outputs: Mapping[str, Info]
    constants: dict[str, Array]
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def producers(self) -> dict[str, Node]:
        """Returns who writes each value."""
        return {output: node for node in self.nodes for output in node.outputs if output}

    def consumers(self) -> dict[str, list[Node]]:
        """Returns who reads each value; what comes out of the graph has no reader for that."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys((*node.inputs, *free_names(node))):
                if name:
                    found.setdefault(name, []).append(node)
        return found


def graph_of(model: onnx.ModelProto, with_weights: bool = True) -> Graph:
    """Returns the view of a model's main graph; the weights are taken out of the model on the way, if they are wanted;
    otherwise only what is as small as a shape is read, and left there.

    Raises:
        IntegrityError: An operator is unknown, or newer than the `onnx` that is installed.
    """
    opsets = {normal_domain(each.domain): each.version for each in model.opset_import}
    return _graph(model.graph, opsets, with_weights)


def normal_domain(domain: str) -> str:
    """Returns a domain, where ONNX's own has one name only."""
    return ONNX if domain == "ai.onnx" else domain


def free_names(node: Node) -> Iterator[str]:
    """Yields the values that a node's sub-graphs read from around them."""
    for attribute in node.attributes.values():
        for graph in attribute if isinstance(attribute, list) else [attribute]:
            if isinstance(graph, Graph):
                inside = {*graph.inputs, *graph.constants, *graph.producers()}
                read = [*(name for each in graph.nodes for name in (*each.inputs, *free_names(each))), *graph.outputs]
                yield from (name for name in read if name and name not in inside)


def _graph(proto: onnx.GraphProto, opsets: Mapping[str, int], with_weights: bool = True) -> Graph:
    shapes = {each.name: tuple(each.dims) for each in proto.initializer}
    constants = {}
    for tensor in proto.initializer:
        if with_weights:
            constants[tensor.name] = tensor_array(tensor)
            tensor.ClearField("raw_data")
        elif math.prod(tensor.dims) <= _FEW:
            constants[tensor.name] = tensor_array(tensor)
    for sparse in proto.sparse_initializer:
        constants[sparse.values.name] = _dense(sparse)
    names: set[str] = set()
    nodes = tuple(_node(each, opsets, names) for each in proto.node)
    inputs = {each.name: _info(each) for each in proto.input if each.name not in {*shapes, *constants}}
    return Graph(nodes, inputs, {each.name: _info(each, is_output=True) for each in proto.output}, constants, shapes)


def _node(proto: onnx.NodeProto, opsets: Mapping[str, int], names: set[str]) -> Node:
    domain = normal_domain(proto.domain)
    first = next((name for name in proto.output if name), proto.op_type)
    name = proto.name if proto.name and proto.name not in names else first
    names.add(name)
    attributes = {each.name: _attribute(each, opsets, name) for each in proto.attribute}
    version = _version(proto.op_type, domain, opsets.get(domain), name)
    opset = opsets.get(domain, 0)
    inputs, outputs = tuple(proto.input), tuple(proto.output)
    return Node(proto.op_type, domain, name, inputs, outputs, attributes, version, opset, _module(proto))


def _module(proto: onnx.NodeProto) -> str:
    """Returns the module of PyTorch that wrote a node: the newer exporter tells it, and the older one names nodes so.

    "/net/conv_1/Conv" is by the second call of "/net/conv".
    """
    scopes = next((each.value for each in proto.metadata_props if each.key == "pkg.torch.onnx.name_scopes"), "")
    path = proto.name.rpartition("/")[0] if proto.name.startswith("/") else ""
    return scopes.rpartition(",")[0] or re.sub(r"_[0-9]+(?=/|$)", "", path)


def _version(operator: str, domain: str, opset: int | None, name: str) -> int:
    """Returns in which operator set an operator last changed, as seen from `opset`; 0 where nobody knows it."""
    if opset is None or domain != ONNX:
        return opset or 0
    try:
        return int(onnx.defs.get_schema(operator, opset, domain).since_version)
    except onnx.defs.SchemaError:
        return 0


def _attribute(proto: onnx.AttributeProto, opsets: Mapping[str, int], node: str) -> Any:
    kinds = onnx.AttributeProto
    match proto.type:
        case kinds.GRAPH:
            return _graph(proto.g, opsets)
        case kinds.GRAPHS:
            return [_graph(each, opsets) for each in proto.graphs]
        case kinds.TENSOR:
            return tensor_array(proto.t, f"an attribute of node {node!r}")
        case kinds.SPARSE_TENSOR:
            return _dense(proto.sparse_tensor)
    try:
        value = onnx.helper.get_attribute_value(proto)
    except (TypeError, ValueError) as error:
        raise IntegrityError(
            f"The attribute {proto.name!r} of node {node!r} is of no kind that ONNX has. Export the model again."
        ) from error
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (int, float)):
        return value
    if value is None:
        raise IntegrityError(f"The attribute {proto.name!r} of node {node!r} has no value. Export the model again.")
    return [each.decode(errors="replace") if isinstance(each, bytes) else each for each in value]


def tensor_array(tensor: onnx.TensorProto, what: str = "") -> Array:
    """Returns a tensor's array.

    Raises:
        IntegrityError: It has not as many numbers as it says, or of no type.
    """
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # of many kinds, by what is broken
        raise IntegrityError(
            f"{what or f'The weight {tensor.name!r}'} is damaged: {' '.join(str(error).split())[:200]}. "
            "Fetch the model again, or export it anew."
        ) from error


def _dense(sparse: onnx.SparseTensorProto) -> Array:
    values, indices = tensor_array(sparse.values), tensor_array(sparse.indices)
    if any(each < 0 for each in sparse.dims) or math.prod(sparse.dims) > _LARGEST:
        raise UnsafeFileError(
            f"Refused the model: its weight {sparse.values.name!r} has the shape {tuple(sparse.dims)}."
        )
    whole = np.zeros(list(sparse.dims), values.dtype)
    flat = indices.ndim == 1
    limits = np.array(whole.size if flat else whole.shape)
    if len(indices) != values.size or (indices < 0).any() or (indices >= limits).any():
        raise IntegrityError(f"The weight {sparse.values.name!r} is damaged: it has numbers outside of its shape.")
    if flat:
        whole.reshape(-1)[indices] = values
    else:
        whole[tuple(indices.T)] = values
    return whole


def _info(proto: onnx.ValueInfoProto, is_output: bool = False) -> Info:
    tensor = proto.type.tensor_type
    if is_output and proto.type.WhichOneof("value") is None:
        return Info("", None)  # what an operator that nobody knows puts out
    if not proto.type.HasField("tensor_type"):
        kind = proto.type.WhichOneof("value") or "nothing"
        raise IntegrityError(f"Expected tensors to go into and come out of the model; {proto.name!r} is a {kind}.")
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    except KeyError:
        raise IntegrityError(
            f"{proto.name!r}, which goes into or comes out of the model, is of an unknown type, {tensor.elem_type}."
        ) from None
    if not tensor.HasField("shape"):
        return Info(dtype, None)
    return Info(dtype, tuple(_dim(each) for each in tensor.shape.dim))


def _dim(proto: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if proto.HasField("dim_value"):
        return int(proto.dim_value) if proto.dim_value > 0 else None
    return None if proto.dim_param.lower() in _NO_NAMES else proto.dim_param
