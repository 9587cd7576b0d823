"""LSTM, GRU and RNN."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers
from zoo.converters.importing.builder import Builder
from zoo.converters.importing.graph import Array, Node
from zoo.converters.importing.registry import operator
from zoo.converters.importing.unsupported import Unsupported
from zoo.converters.importing.values import Layout, Tensor, Value, is_number

_ACTIVATIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu", "Softsign": "softsign", "Softplus": "softplus"}
_SWAPPED = [0, 2, 3, 1]  # gates of an LSTM: ONNX has i, o, f, c; Keras i, f, c, o


@operator("LSTM", newest=22)
def lstm(
    b: Builder, node: Node, x: Tensor, w: Array, r: Array, bias: Array | None = None, lengths: Value | None = None,
    hidden: Value | None = None, cell: Value | None = None, peepholes: Value | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Returns an LSTM of Keras, and its last states."""
    if peepholes is not None and np.any(b.numbers(np.asarray(peepholes))):
        raise Unsupported("its gates look at the cell (peepholes), which those of Keras do not")
    if node.get("input_forget", 0):
        raise Unsupported("its input and forget gates are coupled, which those of Keras are not")
    activations = _activations(node, ["Sigmoid", "Tanh", "Tanh"])
    if any(cell_kind != output for _, cell_kind, output in activations):
        raise Unsupported(f"its activations are {node.get('activations')}; Keras has one for cell and output")
    weights = [_gates(each, _SWAPPED) for each in _directions(b, w, r, bias, gates=4)]
    config = [{"recurrent_activation": gate, "activation": inner} for gate, inner, _ in activations]
    return _recurrent(b, node, layers.LSTM, x, weights, config, lengths, [hidden, cell])


@operator("GRU", newest=22)
def gru(
    b: Builder, node: Node, x: Tensor, w: Array, r: Array, bias: Array | None = None, lengths: Value | None = None,
    hidden: Value | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Returns a GRU of Keras, and its last state."""
    after = bool(node.get("linear_before_reset", 0))
    config = [
        {"recurrent_activation": gate, "activation": inner, "reset_after": after}
        for gate, inner in _activations(node, ["Sigmoid", "Tanh"])
    ]
    found = _directions(b, w, r, bias, gates=3)
    weights = [(kernel, recurrent, both if after else both.sum(axis=0)) for kernel, recurrent, both in found]
    return _recurrent(b, node, layers.GRU, x, weights, config, lengths, [hidden])


@operator("RNN", newest=22)
def rnn(
    b: Builder, node: Node, x: Tensor, w: Array, r: Array, bias: Array | None = None, lengths: Value | None = None,
    hidden: Value | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Returns a SimpleRNN of Keras, and its last state."""
    config = [{"activation": inner} for (inner,) in _activations(node, ["Tanh"])]
    weights = [(one, other, both.sum(axis=0)) for one, other, both in _directions(b, w, r, bias, gates=1)]
    return _recurrent(b, node, layers.SimpleRNN, x, weights, config, lengths, [hidden])


Weights = tuple[Array, Array, Array]  # kernel, recurrent kernel, biases [2, ...] of both


def _activations(node: Node, usual: list[str]) -> list[list[str]]:
    """Returns the activations of each direction, as Keras names them."""
    count = 2 if node.get("direction", "forward") == "bidirectional" else 1
    names = node.get("activations") or usual * count
    if node.get("clip") is not None:
        raise Unsupported("it clips its gates, which those of Keras do not")
    odd = [name for name in names if name not in _ACTIVATIONS]
    if odd or node.get("activation_alpha") or node.get("activation_beta"):
        raise Unsupported(f"its activations are {names} with numbers of their own; Keras has {sorted(_ACTIVATIONS)}")
    found = [_ACTIVATIONS[name] for name in names]
    return [found[place : place + len(usual)] for place in range(0, len(found), len(usual))]


def _directions(b: Builder, w: Value, r: Value, bias: Value | None, gates: int) -> list[Weights]:
    """Returns the weights of each direction, with inputs before outputs as Keras has them."""
    if isinstance(w, Tensor) or isinstance(r, Tensor) or isinstance(bias, Tensor):
        raise Unsupported("its kernels are computed from the input, and are no weights")
    w, r = b.numbers(w), b.numbers(r)
    bias = np.zeros((len(w), 2 * w.shape[1]), w.dtype) if bias is None else b.numbers(bias)
    return [(one.T, other.T, both.reshape(2, -1)) for one, other, both in zip(w, r, bias, strict=True)]


def _gates(weights: Weights, order: list[int]) -> Weights:
    """Returns weights with their gates in another order, and their biases added up."""

    def swapped(array: Array) -> Array:
        parts = np.split(array, len(order), axis=-1)
        return np.concatenate([parts[place] for place in order], axis=-1)

    kernel, recurrent, biases = weights
    return swapped(kernel), swapped(recurrent), swapped(biases.sum(axis=0))


def _recurrent(
    b: Builder, node: Node, kind: type[keras.Layer], x: Tensor, weights: list[Weights],
    config: list[dict[str, Any]], lengths: Value | None, states: list[Value | None],
) -> tuple[Tensor, ...]:  # fmt: skip
    """Returns what a layer puts out over time [time, directions, batch, units], and its last states.

    Keras has the batch first in all of them, and both directions side by side.
    """
    batch_first = bool(node.get("layout", 0))
    x = b.arranged(x, Layout((0, 1, 2) if batch_first else (1, 0, 2)))
    time, batch = (x.dims[1], x.dims[0]) if batch_first else (x.dims[0], x.dims[1])
    _refuse_lengths(lengths, time)
    units, direction = weights[0][1].shape[0], node.get("direction", "forward")
    common = {"units": units, "return_sequences": True, "return_state": True, "dtype": x.dtype}
    initial = [_initial(b, state, x, batch_first) for state in states]
    if direction == "bidirectional":
        forward = kind(**common, **config[0], name="forward")
        backward = kind(**common, **config[1], name="backward", go_backwards=True)
        layer = layers.Bidirectional(
            forward, backward_layer=backward, merge_mode="concat", name=b.name(), dtype=x.dtype
        )
        cells = [forward, backward]
    else:
        layer = kind(**common, **config[0], name=b.name(), go_backwards=direction == "reverse")
        cells = [layer]
    given = _split(b, initial, len(cells))
    out, *last = layer(x.keras, **({"initial_state": given} if given else {}))
    if direction == "bidirectional":
        cells = [layer.forward_layer, layer.backward_layer]
    for cell, (kernel, recurrent, bias) in zip(cells, weights, strict=True):
        for variable, array in (
            (cell.cell.kernel, kernel),
            (cell.cell.recurrent_kernel, recurrent),
            (cell.cell.bias, bias),
        ):
            variable.assign(array)
    return _outputs(b, Tensor(out, Layout.plain(3), (batch, time, len(weights) * units)), last, len(weights), node)


def _refuse_lengths(lengths: Value | None, time: Any) -> None:
    if lengths is None:
        return
    if isinstance(lengths, Tensor) or not is_number(time) or any(int(each) != time for each in np.asarray(lengths)):
        raise Unsupported("its sequences differ in length, which Keras tells by masks")


def _initial(b: Builder, state: Value | None, x: Tensor, batch_first: bool) -> Tensor | None:
    """Returns a first state [batch, directions * units] in Keras' order; None where it is zero."""
    if state is None or (not isinstance(state, Tensor) and not np.any(b.numbers(np.asarray(state)))):
        return None
    found = b.arranged(b.tensor(state, x), Layout((0, 1, 2) if batch_first else (1, 0, 2)))
    sizes = [found.dims[axis] for axis in found.layout.order]
    return b.reshaped(found, [sizes[0], sizes[1] * sizes[2]], Layout.plain(2), "initial")


def _split(b: Builder, initial: list[Tensor | None], directions: int) -> list[Any]:
    """Returns first states as Keras wants them: those of one direction after those of the other."""
    if all(each is None for each in initial):
        return []
    if any(each is None for each in initial):
        raise Unsupported("one of its first states is zero and another is not")
    if directions == 1:
        return [each.keras for each in initial if each is not None]
    halves = [keras.ops.split(each.keras, 2, axis=-1) for each in initial if each is not None]
    return [half[place] for place in range(2) for half in halves]


def _outputs(b: Builder, out: Tensor, last: list[Any], directions: int, node: Node) -> tuple[Tensor, ...]:
    batch, time, width = out.dims
    units = width // directions
    if node.get("direction") == "reverse":  # Keras puts out what it computed first, first
        out = b.function(keras.ops.flip, out, axis=1, layout=out.layout, sizes=out.dims, suffix="flip")
    layout = Layout.plain(4)
    if node.get("layout", 0):
        sizes = b.reshaped(out, [batch, time, directions, units], layout, "directions")
    else:
        sizes = b.reshaped(out, [batch, time, directions, units], Layout((2, 0, 1, 3)), "directions")
    states = []
    count = len(last) // directions
    for place in range(count):
        parts = [
            Tensor(last[place + direction * count], Layout.plain(2), (batch, units)) for direction in range(directions)
        ]
        whole = parts[0]
        if directions == 2:
            whole = b.layer(
                layers.Concatenate, *parts, layout=Layout.plain(2), sizes=(batch, 2 * units), suffix="state", axis=-1
            )
        order = Layout.plain(3) if node.get("layout", 0) else Layout((1, 0, 2))
        states.append(b.reshaped(whole, [batch, directions, units], order, "state"))
    return (sizes, *states)
