"""The part of a model that onnxruntime is given: what computes the values that are compared, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx
from zoo.converters.importing.graph import Array, Graph, free_names, tensor_array

_LARGEST = (1 << 31) - (1 << 24)  # bytes of weights in one message: protobuf ends at 2 GiB, and the graph takes some


def asked_model(proto: onnx.ModelProto, graph: Graph, wanted: Sequence[str]) -> tuple[bytes, dict[str, Array]]:
    """Returns a model whose outputs are what is wanted, and its weights, where they are too large to be in it.

    Args:
        proto: The whole model.
        graph: The part of it that computes what is wanted.
        wanted: Names of values.
    """
    written = {name for node in graph.nodes for name in node.outputs}
    read = {*wanted, *(name for node in graph.nodes for name in (*node.inputs, *free_names(node)))}
    told = {each.name: each for each in (*proto.graph.output, *proto.graph.value_info)}
    asked = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    asked.graph.name = proto.graph.name or "graph"
    asked.graph.node.extend(node for node in proto.graph.node if written & set(node.output))
    taken = set[str]()
    for node in asked.graph.node:
        if node.name in taken:  # which onnxruntime refuses; it needs no names
            node.ClearField("name")
        taken.add(node.name)
    asked.graph.sparse_initializer.extend(proto.graph.sparse_initializer)
    asked.graph.input.extend(each for each in proto.graph.input if each.name in read)
    asked.graph.output.extend(told.get(name, onnx.ValueInfoProto(name=name)) for name in wanted)
    weights = [each for each in proto.graph.initializer if each.name in read]
    if sum(map(_bytes, weights)) <= _LARGEST:
        asked.graph.initializer.extend(weights)
        return asked.SerializeToString(), {}
    asked.graph.initializer.extend(map(_stub, weights))
    return asked.SerializeToString(), {each.name: tensor_array(each) for each in weights}


def _bytes(tensor: onnx.TensorProto) -> int:
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(math.prod(tensor.dims)) * int(kind.itemsize)


def _stub(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """Returns a weight that says that it is elsewhere, in no file."""
    stub = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    stub.data_location = onnx.TensorProto.EXTERNAL
    stub.external_data.add(key="location", value="memory")
    return stub
