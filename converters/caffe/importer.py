"""Caffe to ONNX: what `zoo.converters.caffe_to_onnx` does."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import zoo.converters.caffe.layers  # noqa: F401  declares them
from onnx import TensorProto, helper
from zoo.converters.caffe.net import LARGEST_VALUE, CaffeNet, Shape, Step, net_of
from zoo.converters.caffe.preprocessing import Preprocessing, preprocess
from zoo.converters.caffe.reading import read_caffe
from zoo.converters.caffe.upgrading import shown
from zoo.converters.caffe.writer import Writer, converter_of, refusal

from zoo.errors import IntegrityError

_FEW = 64  # numbers: of shapes, and not of weights
VERSION = 1  # of what is made of a net: one more whenever another graph is, so that kept conversions are made anew
OPSET, IR_VERSION = 17, 8  # in which all of Caffe's layers have an operator that runtimes know


def caffe_to_onnx(
    prototxt: str | os.PathLike[str],
    caffemodel: str | os.PathLike[str],
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    default_shape: Sequence[int] | None = None,
    outputs: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> onnx.ModelProto:
    """Returns a net of Caffe as a model of ONNX, with an open batch size, its nodes named after Caffe's layers.

    What only trains is left away: data, labels, losses and accuracies; a SoftmaxWithLoss becomes a Softmax. Pictures
    are [batch, channels, height, width], as Caffe has them, and as its net was trained to see them: BGR as a rule, less
    a mean.

    Args:
        prototxt: The definition, of any age; a deploy.prototxt says what goes in, one for training may not.
        caffemodel: The weights.
        shapes: Those of inputs by their names, without the batch: {"data": (3, 227, 227)}.
        default_shape: That of inputs of which neither the definition nor `shapes` says it.
        outputs: Names of layers whose values come out; None: what nobody reads, and of several losses that which weighs
            most.
        preprocessing: What the graph begins with, so that it takes pictures as others have them; None: nothing.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: A file is damaged, a layer unknown or without weights, or the two are not of one net.
        UnsafeFileError: A file is larger or deeper than such files are.
        UsageError: A shape is needed, what was given names nothing in the net, or there is not one mean for each
            channel.

    Source: https://github.com/BVLC/caffe
    """
    net = net_of(
        read_caffe(Path(prototxt)),
        read_caffe(Path(caffemodel)),
        shapes=shapes,
        outputs=outputs,
        default_shape=default_shape,
    )
    writer = Writer(net.inputs, (name for step in net.steps for name in step.outputs))
    if preprocessing is not None:
        preprocess(writer, preprocessing)
    for step in _with_scales(net):
        converter_of(step)(writer, step)
        for name in step.outputs:
            if math.prod(writer.shape(name)[1:]) > LARGEST_VALUE:
                raise refusal(
                    step, f"it makes {writer.shape(name)}; Caffe's values have {LARGEST_VALUE:,} elements at most"
                )
    return _model(net, writer)


def _with_scales(net: CaffeNet) -> list[Step]:
    """Returns the layers of a net, where each BatchNorm has the weights of a Scale that alone reads it.

    Both are one BatchNormalization then, as they were one layer to who trained them.
    """
    reads = Counter(name for step in net.steps for name in step.inputs) + Counter(net.outputs)
    norms = {step.outputs[0]: step for step in net.steps if step.layer.type == "BatchNorm" and len(step.outputs) == 1}
    taken: dict[str, Step] = {}
    gone: set[str] = set()
    for step in net.steps:
        norm = norms.get(step.inputs[0]) if step.layer.type == "Scale" and len(step.inputs) == 1 else None
        if norm is None or reads[step.inputs[0]] != 1 or not _is_by_channel(step):
            continue
        taken[norm.outputs[0]] = replace(norm, outputs=step.outputs, blobs=(*norm.blobs[:3], *step.blobs))
        gone.add(step.outputs[0])
    return [taken.get(step.outputs[0], step) for step in net.steps if step.outputs[0] not in gone]


def _is_by_channel(step: Step) -> bool:
    given = step.layer.message.scale_param
    return bool(given.axis == 1 and given.num_axes == 1 and len(step.outputs) == 1)


def _model(net: CaffeNet, writer: Writer) -> onnx.ModelProto:
    """Returns what a writer has written as a model: the one that holds the weights, which are not copied again."""
    outputs = [_output(writer, name) for name in net.outputs]
    model = writer.model
    graph = model.graph
    graph.name = net.name or "net"
    graph.node.extend(writer.nodes)
    graph.input.extend(_told(name, shape) for name, shape in net.inputs.items())
    graph.output.extend(_told(name, writer.shape(name)) for name in outputs)
    model.ir_version, model.producer_name = IR_VERSION, "zoo-transfer"
    model.doc_string = "; ".join(net.notes)
    model.opset_import.append(helper.make_opsetid("", OPSET))
    _check(writer)
    return model


def _output(writer: Writer, name: str) -> str:
    """Returns the value that comes out under a name: with classes at a single place, as in NIN, as rows."""
    value = writer.value(name)
    shape = writer.shape(value)
    if len(shape) == 4 and shape[2:] == (1, 1):
        return _last(writer, "Flatten", value, writer.fresh(f"{name}/rows"), shape[:2])
    return value if value == name else _last(writer, "Identity", value, name, shape)


def _last(writer: Writer, operator: str, value: str, name: str, shape: Shape) -> str:
    writer.nodes.append(helper.make_node(operator, [value], [name], name=name))
    writer.same.pop(name, None)
    writer.shapes[name] = shape
    return name


def _told(name: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape[1:]])


def _check(writer: Writer) -> None:
    """Sees whether ONNX, of which the weights need only the shapes, has the shapes that Caffe has.

    Raises:
        IntegrityError: A shape is another, or a node cannot be: a mistake of ours.
    """
    graph = writer.model.graph
    bare = helper.make_model(
        helper.make_graph(graph.node, graph.name, graph.input, graph.output),
        opset_imports=writer.model.opset_import, ir_version=IR_VERSION,
    )  # fmt: skip
    for each in writer.weights:
        if math.prod(each.dims) <= _FEW:
            bare.graph.initializer.append(each)
        else:
            bare.graph.input.append(helper.make_tensor_value_info(each.name, each.data_type, list(each.dims)))
    try:
        onnx.checker.check_model(bare)
        inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise IntegrityError(f"The net is no valid model of ONNX: {str(error)[:500]!a}. Please report this.") from error
    for each in (*inferred.graph.value_info, *inferred.graph.output):
        found = tuple(dim.dim_value for dim in each.type.tensor_type.shape.dim)[1:]
        expected = writer.shapes.get(each.name)
        if expected is not None and found != expected[1:]:
            raise IntegrityError(
                f"The value {shown(each.name)} has the shape {expected[1:]} in Caffe and {found} in ONNX. Please "
                "report this."
            )
