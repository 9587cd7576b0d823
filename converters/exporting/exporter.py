"""Keras to ONNX, with proof: what `zoo.converters.keras_to_onnx` does."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import keras
import onnx
from zoo.converters.exporting.comparing import errors_of, examples_of, expected_values
from zoo.converters.exporting.folding import fold, merge_equal, merge_weights, simplify
from zoo.converters.exporting.naming import Names, all_layers, name_constants, name_operators, operations
from zoo.converters.exporting.net import Array, Net
from zoo.converters.exporting.normalization import rebuild_normalization
from zoo.converters.exporting.one_dimensional import without_thin_axes
from zoo.converters.exporting.tracing import Traced, traced, unique
from zoo.converters.exporting.translating import translated
from zoo.converters.exporting.transposes import sink_transposes
from zoo.converters.exporting.whole_layers import write_whole_layers
from zoo.converters.exporting.writing import PRODUCER, Header, private_folder, publish, write_model
from zoo.converters.parity import checked_limit
from zoo.converters.report import ConversionReport

from zoo.errors import IntegrityError, UsageError

OPSETS = range(13, 19)  # older ones give axes in other ways; tf2onnx knows none that is newer
_LARGEST = (1 << 31) - (1 << 24)  # bytes of weights in one file: protobuf ends at 2 GiB, and the graph takes some


def keras_to_onnx(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    opset: int = 18,
    limit: float = 1e-4,
    examples: Mapping[str, Array] | None = None,
    external_data: bool | None = None,
) -> ConversionReport:
    """Writes a model of Keras as ONNX, and returns how well that went.

    Inputs and outputs keep the names and the layout that Keras has, pictures `channels_last`, and an open batch size.
    An input that Keras calls by a number, `keras_tensor_7`, is called as its layer is: `input_layer`.
    The first operator of a layer is called as the layer is, weights as their variables are: `conv/kernel`.
    Preprocessing layers of the model go with it. Layers for which ONNX has an operator leave as that, such as LSTM.
    A recurrent layer that is given a mask, as behind Embedding(mask_zero=True), leaves as a Loop: a mask may skip any
    step, and the operator none but the last ones. The report's notes name what leaves so.

    Args:
        model: The model; it must know its inputs, as functional and sequential models do.
        path: Where to write it. What is there is replaced at the end, once the new model has passed.
        opset: The set of operators to use, 13 to 18.
        limit: The largest error that passes, relative to the largest value of an output.
        examples: Arrays to compare both with, by the inputs' names; random ones otherwise.
        external_data: Whether the weights go to a file beside, such as `net.onnx.1f0a9b3c.data`, which is called after
            what it has, so that it never replaces another; None: where they must, over 2 GB.

    Raises:
        UsageError: The opset is another, the limit is none, the path cannot be a file's, the model's inputs are not
            known or not of a kind that ONNX has, or it computes in bfloat16.
        IntegrityError: A layer cannot be exported, or the result differs by more than the limit: nothing is written.
        DiskError: The file cannot be written.
    """
    if opset not in OPSETS:
        raise UsageError(f"Expected an opset from {OPSETS[0]} to {OPSETS[-1]}; got {opset!r}.")
    checked_limit(limit)
    path = _checked_path(path)
    trace = traced(model, opset)
    net, compared = _tidied(model, trace, opset)
    given = examples_of(model, examples)
    size = sum(array.nbytes for array in net.constants.values())
    outside = size > _LARGEST if external_data is None else external_data
    with private_folder(path) as folder:
        written = folder / path.name
        header = Header(model.name, PRODUCER, version("zoo-transfer"), "Made from a model of Keras; channels last.")
        count = len(trace.outputs)
        proto = write_model(net, written, compared[:count], header, outside=outside)
        net.constants.clear()  # their bytes are in the file now
        _check(proto)
        probes = {name: net.types[name] for name in compared[count:]}
        errors = errors_of(written, compared[:count], probes, given, expected_values(model, trace, given))
        _refuse_unlike(errors, limit, path)
        publish(folder, path)
    return _report(model, proto, errors, [*trace.inputs, *compared[:count]], net)


def _checked_path(path: str | os.PathLike[str]) -> Path:
    """Returns where to write, which may not be a folder."""
    is_folder = os.path.isdir(path)  # noqa: PTH112  Path.is_dir fails below folders that are not ours to pass
    if is_folder or not Path(path).name or "\0" in os.fspath(path):
        what = "which is a folder" if is_folder else "which names no file"
        raise UsageError(f"Expected the path of a file to write, such as net.onnx; got {os.fspath(path)!r}, {what}.")
    return Path(path)


def _tidied(model: keras.Model, trace: Traced, opset: int) -> tuple[Net, list[str]]:
    """Returns a model as a graph of ONNX to be written, and the names of its outputs and of what else is compared."""
    names = Names(model, trace.scopes)
    net = translated(trace, opset, names)
    weights = [each.name for each in trace.function.inputs[len(trace.inputs) :]][: len(trace.variables)]
    fold(net)
    write_whole_layers(net, trace.calls)
    for _ in range(2):  # sizes that turn out to be numbers let more be computed
        fold(net)
        simplify(net)
    fold(net)
    without_thin_axes(net, names)
    known = {id(each): name for name, each in zip(weights, trace.variables, strict=True)}
    rebuild_normalization(net, all_layers(model), known)
    sink_transposes(net)
    fold(net)
    simplify(net)
    net.forget_unused()
    merge_weights(net)
    merge_equal(net)
    net.forget_unused()
    wanted = unique([*trace.outputs, *(f"before_{trace.outputs[each]}" for each in trace.probes)])
    name_operators(net, names, list(trace.inputs), dict(zip(net.outputs, wanted, strict=True)))
    name_constants(net, {name: _path(model, each) for name, each in zip(weights, trace.variables, strict=True)})
    return net, list(net.outputs)


def _path(model: keras.Model, weight: keras.Variable) -> str:
    """Returns the path of a weight from the model on: Keras puts a sequential model's own name before it."""
    own = f"{model.name}/" if isinstance(model, keras.Sequential) else ""
    return str(weight.path).removeprefix(own)


def _check(proto: onnx.ModelProto) -> None:
    """Checks a model without its weights, as if they were inputs: their bytes are judged by onnxruntime."""
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    bare.graph.ClearField("initializer")
    for each in proto.graph.initializer:
        bare.graph.input.append(onnx.helper.make_tensor_value_info(each.name, each.data_type, list(each.dims)))
    try:
        onnx.checker.check_model(bare)
    except onnx.checker.ValidationError as error:
        raise IntegrityError(
            "The model cannot be exported: it comes out as no valid model of ONNX: "
            f"{' '.join(str(error).split())[:300]!r}. Export a part of it, keras.Model(model.input, LAYER.output), to "
            "see which layer is the reason."
        ) from error


def _refuse_unlike(errors: Mapping[str, float], limit: float, path: Path) -> None:
    worst = max(errors, key=lambda name: errors[name])
    if not errors[worst] <= limit:
        raise IntegrityError(
            f"Nothing was written to {path}: the exported model differs from the original, {worst!r} by "
            f"{errors[worst]:.1e} of its largest value, and at most {limit:.1e} was expected. Export less of it, or "
            "say what is enough (limit=..., --limit)."
        )


def _report(
    model: keras.Model, proto: onnx.ModelProto, errors: Mapping[str, float], names: list[str], net: Net
) -> ConversionReport:
    counts = Counter(node.op_type for node in proto.graph.node)
    return ConversionReport(
        operators=dict(counts),
        layers=len(operations(model)),
        parameters=model.count_params(),
        transpositions=counts["Transpose"],
        error=max(errors.values()),
        errors=dict(errors),
        layouts={name: tuple(range(len(net.dims.get(name, ())))) for name in names},
        notes=("Pictures go in and come out channels last, as Keras has them.", *_loops(proto)),
    )


def _loops(proto: onnx.ModelProto) -> list[str]:
    """Returns what is to be said of loops, which are slow, and which few readers of ONNX take."""
    found = [node.name.rpartition("/")[0] or node.name for node in proto.graph.node if node.op_type in ("Loop", "Scan")]
    if not found:
        return []
    names = ", ".join(map(repr, dict.fromkeys(found)))
    return [
        f"A Loop does one step after the other in {names}: the operators of ONNX for recurrent layers take no mask, no "
        "states that stay, no other activations, and no other cells."
    ]
