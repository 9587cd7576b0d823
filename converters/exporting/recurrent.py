"""LSTM, GRU and SimpleRNN as ONNX has them: time first, the gates in another order, both directions in one operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from keras import layers
from zoo.converters.exporting.layer_operators import ACTIVATIONS
from zoo.converters.exporting.net import Array, Dims, Net, Op
from zoo.converters.exporting.putting import Putter

LAYERS = (layers.LSTM, layers.GRU, layers.SimpleRNN, layers.RNN)
_OPERATORS = {layers.LSTMCell: "LSTM", layers.GRUCell: "GRU", layers.SimpleRNNCell: "RNN"}  # by the cell
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
# Keras has the gates of an LSTM as i, f, c, o, ONNX as i, o, f, c. Both have those of a GRU as z, r, h.
_GATES = {"LSTM": [0, 3, 1, 2], "GRU": [0, 1, 2], "RNN": [0]}


def is_recurrent(layer: Any, x: Any) -> bool:
    """Returns whether a recurrent layer does what the operator of ONNX does."""
    return (
        type(layer.cell) in _OPERATORS
        and not layer.stateful
        and layer.cell.compute_dtype == layer.cell.variable_dtype == "float32"
        and None not in _activations(layer)
        and x.dtype == tf.float32
        and len(x.shape) == 3
    )


def is_bidirectional(layer: Any, x: Any) -> bool:
    """Returns whether one operator does what both layers of a Bidirectional do, side by side."""
    one, other = layer.forward_layer, layer.backward_layer
    return (
        type(one) in LAYERS
        and type(other) in LAYERS
        and type(one.cell) is type(other.cell)
        and is_recurrent(one, x)
        and is_recurrent(other, x)
        and layer.merge_mode == "concat"
        and (one.go_backwards, other.go_backwards) == (False, True)
        and _form(one) == _form(other)
    )


def _form(layer: Any) -> tuple[Any, ...]:
    """Returns what must be the same of both directions."""
    cell = layer.cell
    return cell.units, cell.use_bias, getattr(cell, "reset_after", None), layer.return_sequences, layer.return_state


def recurrent_weights(layer: Any) -> dict[str, Any]:
    """Returns the weights of a recurrent layer, or those of both layers of a Bidirectional."""
    return {
        f"{name}_{number}": getattr(each.cell, name)
        for number, each in enumerate(_directions(layer))
        for name in ("kernel", "recurrent_kernel", "bias")
        if name != "bias" or each.cell.use_bias
    }


def recurrent_sizes(layer: Any, x: Any) -> list[Dims]:
    """Returns the sizes of what a layer puts out: an output, and the last states if it is to."""
    directions = _directions(layer)
    batch, time, _ = x.shape
    units, one = directions[0].cell.units, directions[0]
    width = units * len(directions)
    states = len(one.state_size) * len(directions) if one.return_state else 0
    return [(batch, time, width) if one.return_sequences else (batch, width), *[(batch, units)] * states]


def write_recurrent(net: Net, op: Op, layer: Any, given: dict[str, str]) -> list[Op]:
    """Returns the operator of a layer, and what turns the values around it."""
    directions = _directions(layer)
    writer = _Writer(net, op, directions, given)
    writer.put_operator()
    writer.put_output(op.outputs[0])
    writer.put_states(op.outputs[1:])
    return writer.ops


def _directions(layer: Any) -> list[Any]:
    return [layer.forward_layer, layer.backward_layer] if isinstance(layer, layers.Bidirectional) else [layer]


def _activations(layer: Any) -> list[str | None]:
    """Returns the activations as ONNX lists them; None for one that it does not have."""
    last = ACTIVATIONS.get(layer.cell.activation)
    if isinstance(layer.cell, layers.SimpleRNNCell):
        return [last]
    gates = ACTIVATIONS.get(layer.cell.recurrent_activation)
    return [gates, last, last] if isinstance(layer.cell, layers.LSTMCell) else [gates, last]


class _Writer(Putter):
    """Writes the operators of one layer.

    Args:
        net: The graph, which knows the weights.
        op: What stands for the layer so far.
        directions: The layer, or both layers of a Bidirectional.
        given: The values that it takes, by what they are.
    """

    def __init__(self, net: Net, op: Op, directions: list[Any], given: dict[str, str]) -> None:
        super().__init__(net, op)
        self.directions, self.given = directions, given
        self.first, self.count = directions[0], len(directions)
        self.kind = _OPERATORS[type(self.first.cell)]
        self.units = int(self.first.cell.units)
        self.batch, self.time, self.features = net.dims[given["x"]]
        self.found: dict[str, str] = {}  # what the operator puts out

    def put_operator(self) -> None:
        """Puts the operator itself."""
        turned = self.moved(self.given["x"], [1, 0, 2])
        weights = [self.weight(name, self.rows) for name in ("kernel", "recurrent_kernel")]
        bias = self.weight("bias", self.biases) if self.first.cell.use_bias else ""
        inputs = [turned, *weights, bias, "", *self.initial()]
        while not inputs[-1]:
            inputs.pop()
        made = Op(self.kind, self.op.name, inputs, self.outputs())
        made.put(hidden_size=self.units, direction=self.direction())
        activations = [name for each in self.directions for name in _activations(each)]
        if activations != _USUAL[self.kind] * self.count:
            made.put(activations=activations)
        if self.kind == "GRU":
            made.put(linear_before_reset=int(self.first.cell.reset_after))
        self.ops.append(made)

    def direction(self) -> str:
        """Returns how the sequence is read."""
        if self.count == 2:
            return "bidirectional"
        return "reverse" if self.first.go_backwards else "forward"

    def weight(self, name: str, arranged: Callable[[Array], Array]) -> str:
        """Returns a weight of all directions in the order of ONNX; it is known to come of those of Keras."""
        names = [self.given[f"{name}_{number}"] for number in range(self.count)]
        found = self.net.constant(np.stack([arranged(self.net.constants[each]) for each in names]), names[0])
        self.net.sources[found] = frozenset().union(*(self.net.sources.get(each, frozenset()) for each in names))
        return found

    def rows(self, array: Array) -> Array:
        """Returns a kernel [gates * units, inputs]."""
        gates = np.split(array.T, len(_GATES[self.kind]))
        return np.concatenate([gates[place] for place in _GATES[self.kind]])

    def biases(self, array: Array) -> Array:
        """Returns the biases of the kernel and then of the recurrent kernel; most layers have only the first."""
        if array.ndim == 2:
            return array.reshape(-1)
        return np.concatenate([self.rows(array), np.zeros_like(array)])

    def initial(self) -> list[str]:
        """Returns the first states [directions, batch, units], of each kind one; none where they are zero."""
        names = [name for role, name in self.given.items() if role.startswith("state_")]
        kinds, dims = len(names) // self.count, (self.count, self.batch, self.units)
        wide = [self("Unsqueeze", [name, self.numbers(0)], (1, self.batch, self.units)) for name in names]
        return wide if self.count == 1 else [self("Concat", wide[n::kinds], dims, axis=0) for n in range(kinds)]

    def outputs(self) -> list[str]:
        """Names what the operator puts out: "" for what nobody wants."""
        names = ["Y", "Y_h", *["Y_c"] * (self.kind == "LSTM")]
        wanted = {"Y"} if self.first.return_sequences else {"Y_h"}
        wanted |= set(names[1:]) if self.first.return_state else set()
        last = (self.count, self.batch, self.units)
        self.found = {name: self.value(name, (self.time, *last) if name == "Y" else last) for name in wanted}
        return [self.found.get(name, "") for name in names]

    def put_output(self, name: str) -> None:
        """Puts out the output as Keras has it."""
        batch, time, units = self.batch, self.time, self.units
        if self.count == 2:
            self._put_side_by_side(name)
        elif not self.first.return_sequences:
            self("Squeeze", [self.found["Y_h"], self.numbers(0)], (batch, units), name)
        else:
            flat = self("Squeeze", [self.found["Y"], self.numbers(1)], (time, batch, units))
            found = self.moved(flat, [1, 0, 2], "" if self.first.go_backwards else name)
            if self.first.go_backwards:  # Keras has first what was computed first
                ends = [self.numbers(each) for each in (-1, np.iinfo(np.int64).min, 1, -1)]
                self("Slice", [found, *ends], (batch, time, units), name)

    def _put_side_by_side(self, name: str) -> None:
        width = 2 * self.units
        if self.first.return_sequences:
            turned = self.moved(self.found["Y"], [2, 0, 1, 3])
            self("Reshape", [turned, self.numbers(0, 0, width)], (self.batch, self.time, width), name)
        else:
            turned = self.moved(self.found["Y_h"], [1, 0, 2])
            self("Reshape", [turned, self.numbers(0, width)], (self.batch, width), name)

    def put_states(self, names: list[str]) -> None:
        """Puts out the last states: all of one direction, and then all of the other."""
        kinds = [self.found[each] for each in ("Y_h", "Y_c") if each in self.found] if names else []
        for place, kind in enumerate(kinds):
            for direction, part in enumerate(self._of_directions(kind)):
                output = names[place + direction * len(kinds)]
                self("Squeeze", [part, self.numbers(0)], (self.batch, self.units), output)

    def _of_directions(self, state: str) -> list[str]:
        if self.count == 1:
            return [state]
        parts = [self.value("part", (1, self.batch, self.units)) for _ in range(2)]
        self.ops.append(Op("Split", f"{self.scope}/split", [state, self.numbers(1, 1)], parts).put(axis=0))
        return parts
