"""Finds what is left of BatchNormalization layers, and makes the operator of it that ONNX has.

TensorFlow computes x * s + b, where s and b come of the layer's weights. That they do is checked with numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from zoo.converters.exporting.net import Array, Net, Op

_CLOSE = 1e-5  # float32 rounds to 6e-8; s and b are some operations away


@dataclass(frozen=True)
class Statistics:
    """The weights of a layer by name, what it adds to the variance, and how much of its statistics a step keeps."""

    mean: str
    variance: str
    gamma: str | None
    beta: str | None
    epsilon: float
    momentum: float
    axis: int

    def operator(self, name: str, inputs: list[str], outputs: list[str]) -> Op:
        """Returns the operator of the layer."""
        made = Op("BatchNormalization", name, inputs, outputs)
        return made.put(epsilon=self.epsilon, momentum=self.momentum)


def rebuild_normalization(net: Net, layers: Iterable[Any], weights: Mapping[int, str]) -> None:
    """Puts a BatchNormalization in the place of every multiplication and addition that a layer of that kind became.

    Args:
        net: Folded: the factor and the offset of a layer are known values, of which the net knows the weights.
        layers: All layers of the model.
        weights: The names that the net has for variables of Keras, by their id.
    """
    put_normalizations(net, _layers(layers, weights))


def put_normalizations(net: Net, layers: Iterable[Statistics]) -> None:
    """Puts a BatchNormalization in the place of every multiplication and addition with such weights.

    Args:
        net: Folded: the factor and the offset of a layer are known values, of which the net knows the weights.
        layers: What the layers are made of.
    """
    known = {layer.variance: layer for layer in layers}
    consumers, gone, made = net.consumers(), set(), dict[Op, list[Op]]()
    for op in net.ops:
        factor = _other(op, net) if op.operator == "Mul" else None
        users = consumers.get(op.outputs[0], [])
        if factor is None or len(users) != 1 or users[0].operator not in ("Add", "Sub") or op.outputs[0] in net.outputs:
            continue
        offset = _other(users[0], net)
        layer = next((known[name] for name in net.sources.get(factor, ()) if name in known), None)
        if offset is None or layer is None or (users[0].operator == "Sub" and users[0].inputs[1] != offset):
            continue
        sign = -1 if users[0].operator == "Sub" else 1
        x = next(name for name in op.inputs if name != factor)
        built = _built(net, layer, x, (net.constants[factor], sign * net.constants[offset]), users[0])
        if built:
            gone.add(op)
            made[users[0]] = built
    net.ops = [each for op in net.ops if op not in gone for each in made.get(op, [op])]
    net.prune()


def batch_normalizations(layers: Iterable[Any]) -> list[Any]:
    """Returns those layers that are BatchNormalization, built."""
    return [each for each in layers if isinstance(each, keras.layers.BatchNormalization) and each.built]


def _layers(layers: Iterable[Any], weights: Mapping[int, str]) -> list[Statistics]:
    found = []
    for each in batch_normalizations(layers):
        gamma = weights.get(id(each.gamma)) if each.scale else None
        beta = weights.get(id(each.beta)) if each.center else None
        mean, variance = weights.get(id(each.moving_mean)), weights.get(id(each.moving_variance))
        if mean and variance:
            numbers = float(each.epsilon), float(each.momentum), int(each.axis)
            found.append(Statistics(mean, variance, gamma, beta, *numbers))
    return found


def _other(op: Op, net: Net) -> str | None:
    """Returns the one input of an operator that is known; None where it is not one of two."""
    known = [name for name in op.inputs if name in net.constants]
    return known[0] if len(known) == 1 and len(op.inputs) == 2 else None


def _built(net: Net, layer: Statistics, x: str, found: tuple[Array, Array], last: Op) -> list[Op] | None:
    """Returns the operators in the place of a layer; None where it did something else."""
    mean, variance = (net.constants[name] for name in (layer.mean, layer.variance))
    gamma = net.constants[layer.gamma] if layer.gamma else np.ones_like(mean)
    beta = net.constants[layer.beta] if layer.beta else np.zeros_like(mean)
    factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + layer.epsilon)
    offset = beta - mean * factor
    dims = net.sizes(x)
    if dims is None or any(each.size != mean.size for each in found):
        return None
    scale = np.abs(factor).max(initial=1e-30), max(np.abs(offset).max(initial=0), np.abs(beta).max(initial=0), 1e-30)
    if not all(
        np.abs(one.reshape(-1) - other).max(initial=0) <= _CLOSE * size
        for one, other, size in zip(found, (factor, offset), scale, strict=True)
    ):
        return None
    rank = len(dims)
    axis = _axis(found[0], rank, layer.axis)
    names = [
        layer.gamma or net.constant(gamma, f"{last.name}/gamma"), layer.beta or net.constant(beta, f"{last.name}/beta"),
        layer.mean, layer.variance,
    ]  # fmt: skip
    if axis == 1 or rank == 1:
        return [layer.operator(last.name, [x, *names], last.outputs)] if rank > 1 else None
    forth = [0, axis, *(each for each in range(1, rank) if each != axis)]
    back = [forth.index(each) for each in range(rank)]
    before, after = net.fresh(x), net.fresh(last.outputs[0])
    net.dims[before] = net.dims[after] = tuple(dims[each] for each in forth)
    return [
        Op("Transpose", f"{last.name}/forth", [x], [before]).put(perm=forth),
        layer.operator(last.name, [before, *names], [after]),
        Op("Transpose", f"{last.name}/back", [after], last.outputs).put(perm=back),
    ]


def _axis(factor: Array, rank: int, told: int) -> int:
    """Returns the axis of channels: where the factor is not of size 1, or else where the layer says."""
    wide = [axis - factor.ndim + rank for axis, size in enumerate(factor.shape) if size != 1]
    return wide[0] if wide else told % rank
