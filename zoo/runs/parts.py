"""A run's model in two parts: what makes numbers of pictures, and the net that takes those. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from zoo.data.preprocessing import preprocessing_model
from zoo.errors import IntegrityError
from zoo.registry import InputSpec
from zoo.surgery.graph import Ref, read_graph, replay


def recorded_spec(record: Mapping[str, Any]) -> InputSpec | None:
    """Returns what a run's `run.json` says that pictures become before they enter the net; None: they stay.

    >>> recorded_spec({"input": {"preprocessing": {"size": [28, 28, 1], "color": "gray", "mean": [0.5]}}}).size
    (28, 28, 1)
    """
    told = record["input"].get("preprocessing")
    if told is None:
        return None
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    return InputSpec(**fields)


def net_of(model: keras.Model, spec: InputSpec | None) -> keras.Model:
    """Returns a run's model without the preprocessing that it begins with, of the same layers and weights.

    Args:
        model: The run's model.
        spec: The preprocessing.

    Raises:
        IntegrityError: The model does not begin with that.
    """
    if spec is None:
        return model
    graph = read_graph(model)
    shape = graph.shapes[graph.input]
    expected = preprocessing_model(spec, shape[1:], str(model.inputs[0].dtype)).operations[1:]
    found = graph.calls[1 : 1 + len(expected)]
    if [_known_by(call.layer) for call in found] != [_known_by(each) for each in expected]:
        names = [", ".join(type(each).__name__ for each in side) for side in (expected, [one.layer for one in found])]
        raise IntegrityError(
            f"The model of the run does not begin with the preprocessing that run.json tells: expected {names[0]}; "
            f"found {names[1]}. One of the two was changed; make the run again."
        )
    if not found:
        return model
    end = Ref(found[-1].key)
    source = keras.Input(batch_shape=(None, *graph.shapes[end][1:]), dtype=model.inputs[0].dtype, name="preprocessed")
    output = replay(graph, {end: source}, graph.output, lambda call, args, kwargs: call.layer(*args, **kwargs))
    return keras.Model(source, output, name=model.name)


def _known_by(layer: Any) -> tuple[str, Any]:
    """Returns the class of a layer and what it was told, without its name."""
    if not isinstance(layer, keras.Layer):
        return type(layer).__name__, None
    return type(layer).__name__, {key: value for key, value in layer.get_config().items() if key != "name"}
