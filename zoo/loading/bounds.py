"""What a model may ask for beside its weights: calls of its layers, what they put out, what Keras takes as it builds.

A small file can describe a model that takes days or terabytes. Its configuration is counted first; then the model is
built without memory (`bare_config`, `BARE`), and looked at (`refuse_costly`) before Keras builds the real one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from zoo.errors import UnsafeFileError
from zoo.store.unpacking import shown

LARGEST_TENSOR = 1 << 28  # numbers in what one layer puts out: 1 GiB of float32
# Calls of layers, those in a nested model counted each time that it is called. The nets of keras.applications make up
# to about 1,100; Keras takes half a millisecond for each, so that this many take ten seconds.
_MOST_CALLS = 20_000
_MOST_STEPS = 100_000  # calls of what is called once for each step of a sequence: a net of 300 layers for 300 pictures
_LONGEST_FFT = 1 << 20  # its window is made by NumPy, whatever TensorFlow is told; half a minute of sound
# Numbers that Keras takes as it builds a model, and that are no weights: 64 MiB of float32. A constant mean has as many
# as an example at most (224x224x3 is 150,000), the state of an LSTM of 1,000 units 2,000 for each example.
_MOST_BESIDE = 1 << 24


# --- what the configuration tells ---


def refuse_endless(config: dict[str, Any], name: str) -> None:
    """Counts how often layers are called where the model is called once.

    Raises:
        UnsafeFileError: More often than in any model: each model in the file may call the one in it twice.
    """
    _refuse_ambiguous(config, name)
    if _calls(config) > _MOST_CALLS:
        raise UnsafeFileError(
            f"{name}: models in models call one another so often that one example would take more than "
            f"{_MOST_CALLS:,} calls of layers."
        )


def _calls(config: Any) -> int:
    """Returns how many layers are called for a value in a configuration, those in nested models each time."""
    if isinstance(config, list):
        return sum(map(_calls, config))
    if not isinstance(config, dict):
        return 0
    inside = sum(_calls(each) for key, each in config.items() if key != "inbound_nodes")
    nodes = config.get("inbound_nodes")
    if isinstance(nodes, list):  # a layer of a functional model, with a record for each call of it
        return max(1, inside) * len(nodes)
    layers = config.get("layers")
    return max(inside, len(layers)) if isinstance(layers, list) else inside


def _refuse_ambiguous(config: dict[str, Any], name: str) -> None:
    """Refuses two records of one shared object that differ: Keras would take the first for both, and we count each."""
    known: dict[Any, list[dict[str, Any]]] = {}  # by number as Keras has it, to which 1, 1.0 and true are the same
    for record in _shared(config):
        known.setdefault(record["shared_object_id"], []).append(record)
    for number, (first, *others) in known.items():
        kind, told = first.get("class_name"), _unnumbered(first.get("config")) if others else None
        if any(each.get("class_name") != kind or _unnumbered(each.get("config")) != told for each in others):
            raise UnsafeFileError(f"{name} describes one shared object in two ways, number {shown(str(number))}.")


def _shared(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict) and "shared_object_id" in config:
        yield config
    if isinstance(config, dict | list):
        for each in config.values() if isinstance(config, dict) else config:
            yield from _shared(each)


def _unnumbered(config: Any) -> Any:
    if isinstance(config, list):
        return [_unnumbered(each) for each in config]
    if isinstance(config, dict):
        return {key: _unnumbered(each) for key, each in config.items() if key != "shared_object_id"}
    return config


# --- the model without memory ---


class _BareNormalization(keras.layers.Normalization):  # type: ignore[misc]
    """Has the weights of a Normalization, and not the tensors that it makes of them, or of constants, when built."""

    beside = 0

    def build(self, input_shape: Any) -> None:
        if self.input_mean is None:
            super().build(input_shape)
            return
        self.beside = 2 * _size([input_shape[axis] for axis in self.axis])  # mean and variance, spread out
        self.built = True

    def finalize_state(self) -> None:
        pass

    def call(self, inputs: Any) -> Any:
        return inputs


BARE = {"BareNormalization": _BareNormalization}


def bare_config(config: Any) -> Any:
    """Returns a configuration for building without memory, in the scope of `BARE`.

    Normalization, and recurrent layers that keep their state, take memory as they are built, whatever Keras is told.
    """
    if isinstance(config, list):
        return [bare_config(each) for each in config]
    if not isinstance(config, dict):
        return config
    record = {key: bare_config(each) for key, each in config.items()}
    if record.get("class_name") == "Normalization" and record.get("registered_name") in (None, "Normalization"):
        record |= {"class_name": "BareNormalization", "registered_name": "BareNormalization"}
    if record.get("stateful") is True:
        record["stateful"] = False
    return record


def refuse_costly(bare: keras.Model, config: dict[str, Any], name: str) -> None:
    """Looks at a model that was built without memory, in the same scope, from `bare_config(config)`.

    Raises:
        UnsafeFileError: A layer would put out more than any layer does, or Keras would take more than the weights.
    """
    _call_nested(bare, set())
    steps = 0
    for operation, inputs, outputs in _calls_in(bare):
        for tensor in outputs:
            if (size := _size(tensor.shape)) > LARGEST_TENSOR:
                raise UnsafeFileError(
                    f"{name}: layer {shown(operation.name)} puts out {size:,} numbers; more than {LARGEST_TENSOR:,} "
                    f"are refused. Its output is {tensor.shape}."
                )
        steps += _steps(operation, tuple(inputs[0].shape)) if inputs else 0
    if steps > _MOST_STEPS:
        raise UnsafeFileError(
            f"{name}: its layers take {steps:,} steps, one by one; more than {_MOST_STEPS:,} are refused."
        )
    for each in (*bare._flatten_layers(), *_operations(bare)):
        if isinstance(length := getattr(each, "fft_length", None), int) and length > _LONGEST_FFT:
            raise UnsafeFileError(
                f"{name}: layer {shown(each.name)} has an fft_length of {length:,}; more than {_LONGEST_FFT:,} are "
                "refused."
            )
    if (beside := _beside(bare, config)) > _MOST_BESIDE:
        raise UnsafeFileError(
            f"{name}: its constants, and the states that it keeps of a batch, are {beside:,} numbers beside its "
            f"weights; more than {_MOST_BESIDE:,} are refused."
        )


def _beside(bare: keras.Model, config: dict[str, Any]) -> int:
    """Returns how many numbers Keras takes as it builds the real model, without its weights."""
    layers = list(bare._flatten_layers())
    constants = sum(layer.beside for layer in layers if isinstance(layer, _BareNormalization))
    if not _is_stateful(config):
        return constants
    batch = max((each.shape[0] or 1 for *_, outputs in _calls_in(bare) for each in outputs if each.shape), default=1)
    return constants + batch * sum(_state(layer) for layer in layers if isinstance(layer, keras.layers.RNN))


def _size(shape: Sequence[int | None]) -> int:
    """Returns how many numbers a tensor has, where sizes that vary count as 1."""
    return math.prod(each or 1 for each in shape)


def _calls_in(model: keras.Model) -> Iterator[tuple[Any, list[Any], list[Any]]]:
    """Yields a layer or operation, the tensors that it took and those that it put out, for each call of it."""
    for operation in _operations(model):
        for node in operation._inbound_nodes:
            yield operation, node.input_tensors, node.output_tensors


def _operations(model: keras.Model) -> Iterator[Any]:
    """Yields the layers and operations of a model, and of the models in it."""
    for operation in getattr(model, "operations", model.layers):
        yield operation
        if isinstance(operation, keras.Model):
            yield from _operations(operation)


def _steps(layer: Any, shape: tuple[int | None, ...]) -> int:
    """Returns how many calls a call of a layer is, where Keras writes out one for each step of a sequence."""
    if isinstance(layer, keras.layers.TimeDistributed) and len(shape) > 1:
        return (shape[1] or 1) * _steps(layer.layer, (shape[0], *shape[2:]))
    if isinstance(layer, keras.layers.Bidirectional):
        return 2 * _steps(layer.forward_layer, shape)
    if getattr(layer, "unroll", False) and len(shape) > 1:
        return shape[1] or 1
    return sum(1 for _ in _operations(layer)) if isinstance(layer, keras.Model) else 1


def _call_nested(model: keras.Model, done: set[Any]) -> None:
    """Calls the layers in nested models once more for each shape that is not the model's own, to be looked at.

    Where a model is called with other sizes than it was made for, Keras keeps only what comes out at its end.
    """
    for nested in getattr(model, "operations", model.layers):
        if not isinstance(nested, keras.Model) or not getattr(nested, "inputs", None):
            continue
        own = tuple(tuple(tensor.shape) for tensor in nested.inputs)
        for node in list(nested._inbound_nodes):
            called = tuple(tuple(tensor.shape) for tensor in node.input_tensors)
            if len(called) == len(own) and called != own and (id(nested), called) not in done:
                done.add((id(nested), called))
                inputs = [
                    keras.Input(batch_shape=shape, dtype=tensor.dtype)
                    for shape, tensor in zip(called, nested.inputs, strict=True)
                ]
                packed = keras.tree.pack_sequence_as(nested.input, inputs)
                keras.models.clone_model(nested, packed, clone_function=lambda layer: layer)
        _call_nested(nested, done)


def _is_stateful(config: Any) -> bool:
    if isinstance(config, list):
        return any(map(_is_stateful, config))
    return isinstance(config, dict) and (config.get("stateful") is True or any(map(_is_stateful, config.values())))


def _state(layer: keras.layers.RNN) -> int:
    """Returns how many numbers a recurrent layer keeps of one example."""
    spatial = getattr(layer.cell, "spatial_dims", None)  # of a convolution, which does not tell its state
    if spatial is not None:
        return int(2 * layer.cell.filters * _size(spatial))
    return sum(keras.tree.flatten(layer.state_size))
