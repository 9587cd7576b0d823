"""How much a graph computes at most at once: told from its sizes alone, before anybody runs it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import onnx
from onnx import helper
from zoo.converters.importing.graph import Array, Graph

from zoo.errors import UnsafeFileError

_MOST_NUMBERS = 1 << 29  # in what one node puts out: 2 GiB of float32, such as VGG's first layer for 128 pictures
_FEW = 64  # numbers: of what sizes are computed from
_FIRST_WITH_OWN_WEIGHTS = 4  # version of the format; before it, weights are inputs that have a default


def refuse_huge_values(proto: onnx.ModelProto, graph: Graph, given: Mapping[str, Array]) -> None:
    """Refuses a graph of which a node would put out more than in any model; sizes that only running tells count as 1.

    Args:
        proto: The whole model.
        graph: The part of it that would be run.
        given: What would go in.

    Raises:
        UnsafeFileError: One would.
    """
    sketch = _sketch(proto, graph, given)
    try:
        inferred = onnx.shape_inference.infer_shapes(sketch, data_prop=True).graph
    except Exception:  # a fault of the graph, which whoever runs it will tell of
        return
    for value in (*inferred.value_info, *inferred.output):
        sizes = [each.dim_value or 1 for each in value.type.tensor_type.shape.dim]
        if math.prod(sizes) > _MOST_NUMBERS:
            raise UnsafeFileError(
                f"Refused the model: its value {value.name!r} would have {math.prod(sizes):,} numbers, in the shape "
                f"{tuple(sizes)}; more than {_MOST_NUMBERS:,} are refused. Look into it by hand before you use it; if "
                "an input is only too large, say another: onnx_to_keras(..., shapes={...}); zoo convert --shape ..."
            )


def _sketch(proto: onnx.ModelProto, graph: Graph, given: Mapping[str, Array]) -> onnx.ModelProto:
    """Returns the model with inputs of the sizes given, and of its weights only what is as small as a size."""
    written = {name for node in graph.nodes for name in node.outputs}
    sketch = onnx.ModelProto(opset_import=proto.opset_import)
    sketch.ir_version = max(proto.ir_version, _FIRST_WITH_OWN_WEIGHTS)
    sketch.graph.name = "sketch"
    sketch.graph.node.extend(node for node in proto.graph.node if written & set(node.output))
    sketch.graph.input.extend(_inputs(proto, given))
    sketch.graph.initializer.extend(each for each in proto.graph.initializer if math.prod(each.dims) <= _FEW)
    sketch.graph.output.extend(proto.graph.output)
    return sketch


def _inputs(proto: onnx.ModelProto, given: Mapping[str, Array]) -> Iterator[onnx.ValueInfoProto]:
    for each in proto.graph.input:
        if each.name in given:
            kind = each.type.tensor_type.elem_type
            yield helper.make_tensor_value_info(each.name, kind, given[each.name].shape)
    for tensor in proto.graph.initializer:
        if math.prod(tensor.dims) > _FEW:
            yield helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
