"""Traces a model of Keras as a graph of TensorFlow whose weights are inputs.

tf2onnx copies constants again and again; what is an input it leaves alone.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from zoo.converters.exporting.naming import all_layers
from zoo.converters.exporting.whole_layers import Call, whole_layers

from zoo.errors import IntegrityError, UsageError

_SATURATING = {"Softmax", "LogSoftmax", "Sigmoid", "Tanh"}
_SHAPING = {"Identity", "Reshape", "Squeeze", "ExpandDims", "Cast", "Transpose"}
_AUTOMATIC = re.compile(r"keras_tensor(_\d+)?(_?(clone|CLONE))?")  # counted in each process anew
_SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\>-]*")  # what TensorFlow takes for the name of a scope


@dataclass(frozen=True)
class Traced:
    """A model as a graph of TensorFlow.

    Attributes:
        function: Takes the model's inputs and then its weights; returns its outputs and then what is compared besides.
        inputs: The names of the model's inputs: see `input_names`.
        outputs: The names of its outputs: those of the layers.
        probes: What is compared besides, what goes into a last softmax: the numbers of the outputs that it is before.
        variables: The weights in the order of the function.
        scopes: What the scopes of the graph's names were asked to be called: `conv_1` for a second `conv`.
        calls: The layers that are one operation, by the operations' names.
    """

    function: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    probes: tuple[int, ...]
    variables: tuple[keras.Variable, ...]
    scopes: dict[str, str]
    calls: dict[str, Call]


def traced(model: keras.Model, opset: int) -> Traced:
    """Returns a model as a graph of TensorFlow, in inference.

    Args:
        model: The model.
        opset: The operator set that it is traced for: layers that have an operator there are one operation.

    Raises:
        UsageError: Its inputs are not known, or of a kind that ONNX does not have, or it computes in bfloat16.
        IntegrityError: TensorFlow cannot trace it.
    """
    inputs = inputs_of(model)
    trainable, others = list(model.trainable_variables), list(model.non_trainable_variables)
    variables = [*trainable, *others]
    # The batch stays as Keras has it: open, where the model does not insist on a number.
    signature = [tf.TensorSpec(each.shape, each.dtype, name=f"input_{n}") for n, each in enumerate(inputs)]
    signature += [tf.TensorSpec(each.shape, each.dtype, name=f"weight_{n}") for n, each in enumerate(variables)]
    scopes: dict[str, str] = {}
    probes: dict[int, Any] = {}
    calls: dict[str, Call] = {}
    renamed: dict[str, str] = {}

    def call(*given: Any) -> list[Any]:
        _remember_scopes(scopes, renamed)
        x, weights = given[: len(inputs)], given[len(inputs) :]
        states = list(weights[: len(trainable)]), list(weights[len(trainable) :])
        with whole_layers(model, opset) as whole:
            found, _ = model.stateless_call(*states, packed(model, x), training=False)
        calls.update(whole)
        outputs = [tf.identity(each) for each in keras.tree.flatten(found)]
        probes.update(_saturated(outputs))
        return [*outputs, *(tf.identity(each) for each in probes.values())]

    with _inlined(), valid_names(model) as found, _refusing(model):
        renamed.update(found)
        function = tf.function(call, autograph=False).get_concrete_function(*signature)
    _refuse_bfloat16(model, function.graph)
    count = len(function.outputs) - len(probes)
    names = tuple(input_names(inputs))
    return Traced(function, names, _output_names(model, count, names), tuple(probes), tuple(variables), scopes, calls)


def packed(model: keras.Model, tensors: Sequence[Any]) -> Any:
    """Returns tensors in the structure in which a model takes its inputs."""
    if isinstance(model, keras.Sequential):
        return tensors[0]
    return keras.tree.pack_sequence_as(model.input, list(tensors))


def inputs_of(model: keras.Model) -> list[Any]:
    """Returns the symbolic inputs of a model.

    Raises:
        UsageError: They are not known, or of a kind that ONNX does not have.
    """
    try:
        inputs = keras.tree.flatten(model.inputs)
    except (AttributeError, ValueError):
        inputs = []
    if not inputs:
        raise UsageError(
            f"The model {model.name!r} does not say what it takes. Make it a functional one first: "
            "x = keras.Input(...); model = keras.Model(x, model(x))"
        )
    for each in inputs:
        if getattr(each, "sparse", False) or getattr(each, "ragged", False) or each.dtype == "string":
            kind = "strings" if each.dtype == "string" else "sparse or ragged tensors"
            raise UsageError(f"The model {model.name!r} takes {kind} as {each.name!r}, and ONNX runtimes do not.")
    return list(inputs)


def input_names(inputs: Sequence[Any]) -> list[str]:
    """Returns what the inputs of a model are called: as Keras calls them, or their layer if it called them by numbers.

    Args:
        inputs: Symbolic inputs, as `inputs_of` returns them.
    """
    return unique([_input_name(each) for each in inputs])


def _input_name(tensor: Any) -> str:
    layer = getattr(getattr(tensor, "_keras_history", None), "operation", None)
    names = [tensor.name, *([layer.name] if isinstance(layer, keras.layers.InputLayer) else [])]
    return next((str(each) for each in names if not _AUTOMATIC.fullmatch(each)), "input")


def _output_names(model: keras.Model, count: int, taken: Sequence[str]) -> tuple[str, ...]:
    structure = None if isinstance(model, keras.Sequential) else getattr(model, "output", None)
    names = list(getattr(model, "output_names", []))
    if isinstance(structure, dict) and len(structure) == count:
        names = list(structure)
    elif len(names) != count:
        names = [model.layers[-1].name] if count == 1 else [f"output_{number}" for number in range(count)]
    return tuple(unique([*taken, *names])[len(taken) :])


def unique(names: Sequence[str]) -> list[str]:
    """Returns names, of which those that came before get a number.

    >>> unique(["a", "b", "a"])
    ['a', 'b', 'a_2']
    """
    found: list[str] = []
    for name in names:
        number, each = 1, name
        while each in found:
            number += 1
            each = f"{name}_{number}"
        found.append(each)
    return found


def _saturated(outputs: Sequence[Any]) -> dict[int, Any]:
    """Returns what goes into a last softmax or its like, behind which a mistake may not show any more, by output."""
    found = {}
    for number, each in enumerate(outputs):
        operation = each.op
        while operation.type in _SHAPING:
            operation = operation.inputs[0].op
        if operation.type not in _SATURATING:
            continue
        source = operation.inputs[0]
        while source.op.type in ("Identity", "Transpose"):  # the same numbers, without an operator for their sake
            source = source.op.inputs[0]
        if source.op.type != "Placeholder":
            found[number] = source
    return found


def _remember_scopes(scopes: dict[str, str], renamed: Mapping[str, str]) -> None:
    """Notes for each name that the current graph gives which one was asked for, or was before it was `renamed`."""
    graph = tf.compat.v1.get_default_graph()
    given = graph.unique_name

    def unique_name(name: str, mark_as_used: bool = True) -> str:
        found: str = given(name, mark_as_used)
        scopes[found] = renamed.get(name.rpartition("/")[2], name)
        return found

    graph.unique_name = unique_name


@contextlib.contextmanager
def valid_names(model: keras.Model) -> Iterator[dict[str, str]]:
    """Lets layers have names for a while that TensorFlow takes, and gives what they were called by those.

    TensorFlow takes none but those of ASCII, and not all of them.
    """
    layers = {id(each): each for each in (model, *model._flatten_layers(), *all_layers(model))}.values()
    before = [(each, each.name) for each in layers if not _SCOPE.fullmatch(each.name)]
    valid = {name: f"zoo.name.{number}" for number, name in enumerate(dict.fromkeys(name for _, name in before))}
    try:
        for each, name in before:
            object.__setattr__(each, "name", valid[name])
        yield {new: name for name, new in valid.items()}
    finally:
        for each, name in before:
            object.__setattr__(each, "name", name)


@contextlib.contextmanager
def _refusing(model: keras.Model) -> Iterator[None]:
    """Makes errors of ours of those of layers that compute no graph."""
    try:
        yield
    except Exception as error:  # of whatever layer
        raise IntegrityError(
            f"The model {model.name!r} cannot be exported: TensorFlow cannot make a graph of it: "
            f"{' '.join(str(error).split())[:300]!r}. Export a part of it, keras.Model(model.input, LAYER.output), to "
            "see which layer is the reason; sizes of inputs that are numbers may help."
        ) from error


def _refuse_bfloat16(model: keras.Model, graph: Any) -> None:
    """Refuses a model that computes in bfloat16 anywhere."""
    found = [each for each in graph.get_operations() if any(out.dtype == tf.bfloat16 for out in each.outputs)]
    if not found:
        return
    layers = [each for each in model._flatten_layers(include_self=False) if not isinstance(each, keras.Model)]
    where = [f"layer {each.name!r}" for each in layers if "bfloat16" in (each.compute_dtype, each.variable_dtype)]
    raise UsageError(
        f"The {[*where, f'operation {found[0].name!r}'][0]} computes in bfloat16, which tf2onnx takes for float16. "
        "Build the model with dtype float32, and give that the weights."
    )


@contextlib.contextmanager
def _inlined() -> Iterator[None]:
    """Traces the functions that Keras compiles for itself as part of what calls them: tf2onnx knows no such calls."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
