"""What TensorFlow has saved as plain graphs: folders of SavedModels, checkpoints with their graphs, frozen graphs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from zoo.converters.exporting.translating import array_of
from zoo.converters.literal_paths import literal_folder
from zoo.converters.tensorflow.ends import found_output, inputs_below, last_tensors, named_tensors, refuse_missing
from zoo.converters.tensorflow.functions import Function, chosen_function
from zoo.converters.tensorflow.graphs import (
    PLACEHOLDERS,
    Array,
    Ends,
    Message,
    PlainGraph,
    Weight,
    full_name,
    maker,
    needed,
)
from zoo.converters.tensorflow.lifting import VariablesInLoopsError, lift_constants
from zoo.converters.tensorflow.plain import plain_graph
from zoo.converters.tensorflow.saved_models import (
    chosen_graph,
    chosen_signature,
    is_of_objects,
    read_saved_model,
    signatures_of,
    tensors_of,
)
from zoo.converters.tensorflow.sessions import session_run
from zoo.converters.tensorflow.variables import saved_values, variable_kinds

from zoo.errors import IntegrityError, NotFoundError, UsageError

Shapes = Mapping[str, Sequence[int | None]]
Kind = Literal["saved model", "checkpoint", "graph"]


@dataclass(frozen=True)
class Asked:
    """What a user wants of what is saved.

    Attributes:
        signature: The name of a signature, or of a function.
        tags: Those of the graph.
        inputs: Tensors of the graph, or names of a signature's inputs.
        outputs: Tensors of the graph, or names of a signature's outputs.
        shapes: The sizes of inputs, as TensorFlow has them, by name.
        arguments: What a function is told besides tensors.
    """

    signature: str | None = None
    tags: Sequence[str] | None = None
    inputs: Sequence[str] | None = None
    outputs: Sequence[str] | None = None
    shapes: Shapes = field(default_factory=dict)
    arguments: Mapping[str, Any] | None = None


def read_source(path: Path, asked: Asked, kind: Kind | None = None) -> PlainGraph:
    """Returns what is saved at a path as a plain graph.

    Args:
        path: The folder of a SavedModel, the prefix of a checkpoint that has a `.meta`, its `.meta`, or a frozen `.pb`.
        asked: What is wanted of it.
        kind: What it is; the path is then taken as it is: the folder, the prefix, or the frozen `.pb`. None: what lies
            there tells.

    Raises:
        NotFoundError: There is nothing.
        IntegrityError: It is damaged, or its graph does what cannot be converted.
        UsageError: What was asked for names nothing in it.
    """
    if kind is None:
        kind, path = _recognised(path)
    if kind == "saved model":
        return _of_folder(path, asked)
    if asked.signature is not None or asked.tags is not None or asked.arguments:
        raise UsageError(
            "Signatures, tags and arguments are of SavedModels; graphs have none. Say --input and --output."
        )
    if kind == "checkpoint":
        return _of_graph(_parsed(_meta_of(path), tf.compat.v1.MetaGraphDef), path, asked, {}, {})
    return _of_frozen(_parsed(path, tf.compat.v1.GraphDef), asked)


def _recognised(path: Path) -> tuple[Kind, Path]:
    """Returns what is saved at a path, and the folder, prefix or file that it is."""
    if path.is_dir():
        return "saved model", path
    prefix = path.with_suffix("") if path.suffix == ".meta" else path
    if _meta_of(prefix).is_file():
        return "checkpoint", prefix
    if path.is_file():
        return "graph", path
    raise NotFoundError(
        f"Expected the folder of a SavedModel, the prefix of a checkpoint beside whose files is "
        f"{_meta_of(prefix).name}, or a frozen graph (.pb); there is nothing at {path}."
    )


def _meta_of(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.meta")


def _parsed(path: Path, kind: Any) -> Message:
    try:
        data = path.read_bytes()
        if path.suffix == ".pbtxt":
            return text_format.Parse(data.decode(), kind())
        return kind.FromString(data)
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{path.name} is no graph of TensorFlow, or damaged. Get it again.") from error
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}.") from error


# --- SavedModels ---


def _of_folder(folder: Path, asked: Asked) -> PlainGraph:
    saved = read_saved_model(folder)
    meta = chosen_graph(saved, asked.tags)
    if is_of_objects(saved):
        del saved
        return _of_function(folder, asked)
    signatures = signatures_of(meta)
    by_tensors = asked.inputs is not None or any(":" in each for each in asked.outputs or ())
    name = None if by_tensors and asked.signature is None else chosen_signature(list(signatures), asked.signature)
    if asked.arguments:
        raise UsageError("A SavedModel of TensorFlow 1 has no functions that take arguments.")
    inputs = tensors_of(signatures[name].inputs, "input") if name is not None else {}
    outputs = tensors_of(signatures[name].outputs, "output") if name is not None else {}
    refuse_missing(meta.graph_def, {**inputs, **outputs}, name or "")
    return _of_graph(meta, folder / "variables" / "variables", asked, inputs, outputs)


def _of_function(folder: Path, asked: Asked) -> PlainGraph:
    if asked.inputs is not None:
        raise UsageError("Expected no --input: what goes into a SavedModel of TensorFlow 2, its signature tells.")
    with tf.device("/cpu:0"):
        try:
            with literal_folder(folder) as path:
                loaded = tf.saved_model.load(os.fspath(path), tags=asked.tags)
        except Exception as error:  # of TensorFlow, of many kinds
            why = " ".join(str(error).split())[:300]
            raise IntegrityError(f"TensorFlow cannot load the SavedModel in {folder}: {why}") from error
    function = chosen_function(loaded, asked.signature, asked.arguments, str(folder))
    try:
        return _plain_function(loaded, function, asked)
    except VariablesInLoopsError:
        return _frozen_function(loaded, function, asked)


def _plain_function(loaded: Any, function: Function, asked: Asked) -> PlainGraph:
    concrete = function.concrete
    graph, names = concrete.graph.as_graph_def(), [each.name for each in concrete.inputs]
    own = names[: len(function.inputs)]
    captured = dict(zip(names[len(own) :], concrete.captured_inputs, strict=True))
    variables = {id(each.handle): each for each in concrete.graph.variables}
    kinds, weights = {}, {}
    for tensor, value in captured.items():
        name = tensor.partition(":")[0]
        if value.dtype != tf.resource:
            kinds[name] = value.dtype, value.shape
            weights[name] = (name, value)
        elif (variable := variables.get(id(value))) is not None:
            kinds[name] = variable.dtype, variable.shape
            weights[name] = (variable.name, variable)
    ends = Ends(dict(zip(function.inputs, own, strict=True)), _outputs(function, concrete), asked.shapes)
    found = plain_graph(graph, _selected(ends, asked.outputs), kinds, {})
    arrays = {
        name: Weight(path, array_of(tf.convert_to_tensor(value)))
        for name, (path, value) in weights.items()
        if name in found.weights
    }
    return found.with_weights(arrays, _run_of(loaded, function))


def _frozen_function(loaded: Any, function: Function, asked: Asked) -> PlainGraph:
    """Returns a function whose variables are read in loops: TensorFlow makes constants of them, which are lifted."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(function.concrete, lower_control_flow=False, aggressive_inlining=True)
    inputs = [each.name for each in frozen.inputs]
    outputs = [each.name for each in frozen.outputs]
    ends = Ends(
        dict(zip(function.inputs, inputs, strict=True)), dict(zip(function.outputs, outputs, strict=True)), asked.shapes
    )
    found = plain_graph(frozen.graph.as_graph_def(), _selected(ends, asked.outputs), {}, {}, least_rank=2)
    return found.with_weights({}, _run_of(loaded, function))


def _outputs(function: Function, concrete: Any) -> dict[str, str]:
    return {name: each.name for name, each in zip(function.outputs, concrete.outputs, strict=True)}


def _selected(ends: Ends, wanted: Sequence[str] | None) -> Ends:
    """Returns what goes in and comes out, without the outputs that are not wanted."""
    if wanted is None:
        return ends
    if odd := [each for each in wanted if each not in ends.outputs]:
        known = ", ".join(map(repr, ends.outputs))
        raise UsageError(f"Expected outputs (--output) of the signature, {known}; got {odd[0]!r}.")
    return Ends(ends.inputs, {name: ends.outputs[name] for name in wanted}, ends.shapes)


def _run_of(loaded: Any, function: Function) -> Any:
    def run(given: Mapping[str, Array]) -> dict[str, Array]:
        assert loaded is not None  # its variables are gone with it
        found = function.run({name: tf.convert_to_tensor(each) for name, each in given.items()})
        return {name: each.numpy() for name, each in found.items()}

    return run


# --- graphs ---


def _of_graph(
    meta: Message, prefix: Path, asked: Asked, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> PlainGraph:
    """Returns the graph of a MetaGraphDef of TensorFlow 1 whose variables' values are in a checkpoint."""
    graph = meta.graph_def
    ends, known = _ends(graph, asked, inputs, outputs)
    kinds = variable_kinds(needed(graph, ends.outputs.values()))
    found = plain_graph(graph, ends, kinds, known)
    values = saved_values(
        prefix, graph, {name: kinds[name] for name in kinds if name in found.weights}, meta.saver_def.restore_op_name
    )
    return found.with_weights(values, session_run(graph, ends, kinds, known, values))


def _of_frozen(graph: Message, asked: Asked) -> PlainGraph:
    if kinds := variable_kinds(graph):
        raise IntegrityError(
            f"The graph has variables, such as {next(iter(kinds))!r}, and their values are not in it. Give the prefix "
            "of its checkpoint, with all files in one folder."
        )
    ends, known = _ends(graph, asked, {}, {}, is_frozen=True)
    part = needed(graph, ends.outputs.values(), waiting=True)
    weights = lift_constants(part)
    graph.Clear()
    found = plain_graph(part, ends, {}, known, lifted=weights)
    values = {name: each for name, each in weights.items() if name in found.weights}
    return found.with_weights(values, session_run(part, ends, {}, known, weights))


def _ends(
    graph: Message, asked: Asked, inputs: Mapping[str, str], outputs: Mapping[str, str], *, is_frozen: bool = False
) -> tuple[Ends, dict[str, Any]]:
    """Returns where a net begins and ends in a graph, and what its other placeholders are in inference."""
    from zoo.converters.tensorflow.branches import inference_value

    given = named_tensors(graph, asked.inputs, "an input (--input)") if asked.inputs is not None else None
    declared = {maker(tensor): name for name, tensor in inputs.items()}
    taken = {maker(each) for each in given or ()}

    def value(node: Message) -> Any:
        return None if node.name in taken else inference_value(node, declared.get(node.name))

    def is_known(node: Message) -> bool:
        return value(node) is not None

    if asked.outputs is not None and not set(asked.outputs) <= set(outputs):
        tensors = named_tensors(graph, asked.outputs, "an output (--output)")
        outputs = {each.partition(":")[0]: each for each in tensors}
    elif asked.outputs is not None:
        outputs = {name: outputs[name] for name in asked.outputs}
    if not outputs:
        last = last_tensors(graph) if is_frozen else []
        tensor = last[0] if len(last) == 1 else found_output(graph, is_known)
        outputs = {tensor.partition(":")[0]: tensor}
    part = needed(graph, outputs.values())
    known = {each.name: value(each) for each in part.node if each.op in PLACEHOLDERS and is_known(each)}
    if given is not None:
        inputs = {each.partition(":")[0]: each for each in given}
    elif inputs:
        inputs = {name: each for name, each in inputs.items() if each.partition(":")[0] not in known}
    else:
        inputs = {each.partition(":")[0]: each for each in inputs_below(part, list(outputs.values()), is_known)}
    return Ends(dict(inputs), {name: full_name(each) for name, each in outputs.items()}, asked.shapes), known
