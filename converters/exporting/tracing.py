"""Traces a model of Keras as a graph of TensorFlow whose weights are inputs.

tf2onnx copies constants again and again; what is an input it leaves alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from zoo.errors import UsageError

_SATURATING = {"Softmax", "LogSoftmax", "Sigmoid", "Tanh"}
_SHAPING = {"Identity", "Reshape", "Squeeze", "ExpandDims", "Cast", "Transpose"}


@dataclass(frozen=True)
class Traced:
    """A model as a graph of TensorFlow.

    Attributes:
        function: Takes the model's inputs and then its weights; returns its outputs and then what is compared besides.
        inputs: The names of the model's inputs, as Keras has them.
        outputs: The names of its outputs: those of the layers.
        probes: What is compared besides, what goes into a last softmax: the numbers of the outputs that it is before.
        variables: The weights in the order of the function.
        scopes: What the scopes of the graph's names were asked to be called: `conv_1` for a second `conv`.
    """

    function: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    probes: tuple[int, ...]
    variables: tuple[keras.Variable, ...]
    scopes: dict[str, str]


def traced(model: keras.Model) -> Traced:
    """Returns a model as a graph of TensorFlow, in inference.

    Raises:
        UsageError: Its inputs are not known, or of a kind that ONNX does not have.
    """
    inputs = inputs_of(model)
    trainable, others = list(model.trainable_variables), list(model.non_trainable_variables)
    variables = [*trainable, *others]
    # The batch stays as Keras has it: open, where the model does not insist on a number.
    signature = [tf.TensorSpec(each.shape, each.dtype, name=f"input_{n}") for n, each in enumerate(inputs)]
    signature += [tf.TensorSpec(each.shape, each.dtype, name=f"weight_{n}") for n, each in enumerate(variables)]
    scopes: dict[str, str] = {}
    probes: dict[int, Any] = {}

    def call(*given: Any) -> list[Any]:
        _remember_scopes(scopes)
        x, weights = given[: len(inputs)], given[len(inputs) :]
        found, _ = model.stateless_call(
            list(weights[: len(trainable)]), list(weights[len(trainable) :]), packed(model, x), training=False
        )
        outputs = [tf.identity(each) for each in keras.tree.flatten(found)]
        probes.update(_saturated(outputs))
        return [*outputs, *(tf.identity(each) for each in probes.values())]

    with _inlined():
        function = tf.function(call, autograph=False).get_concrete_function(*signature)
    count = len(function.outputs) - len(probes)
    names = tuple(unique([each.name for each in inputs]))
    return Traced(function, names, _output_names(model, count, names), tuple(probes), tuple(variables), scopes)


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
    if half := next((each.path for each in model.variables if each.dtype == "bfloat16"), None):
        raise UsageError(
            f"The weight {half!r} is of type bfloat16, which tf2onnx takes for float16. Build the model with dtype "
            "float32, and give that the weights."
        )
    return list(inputs)


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
        if operation.type in _SATURATING and operation.inputs[0].op.type != "Placeholder":
            found[number] = operation.inputs[0]
    return found


def _remember_scopes(scopes: dict[str, str]) -> None:
    """Notes for each name that the current graph gives which one was asked for."""
    graph = tf.compat.v1.get_default_graph()
    given = graph.unique_name

    def unique_name(name: str, mark_as_used: bool = True) -> str:
        found: str = given(name, mark_as_used)
        scopes[found] = name
        return found

    graph.unique_name = unique_name


@contextlib.contextmanager
def _inlined() -> Iterator[None]:
    """Traces the functions that Keras compiles for itself as part of what calls them: tf2onnx knows no such calls."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
