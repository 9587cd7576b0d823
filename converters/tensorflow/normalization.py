"""Finds the BatchNormalization layers of a graph that are written as multiplications and additions with their weights.

The operation is x * s + (beta - mean * s), where s is gamma / sqrt(variance + e): tf.nn.batch_normalization.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import tensorflow as tf
from zoo.converters.exporting.normalization import Statistics
from zoo.converters.tensorflow.graphs import Message, by_name, data_inputs, maker, readers

_THROUGH = {"Identity", "Reshape", "ExpandDims", "Squeeze", "Cast", "Neg", "ReadVariableOp", "StopGradient"}
_SUMS, _DIFFERENCES = {"Add", "AddV2"}, {"Sub"}
_MOMENTUM = 0.99  # what Keras takes; a graph for inference does not tell


def normalizations(graph: Message, weights: Collection[str]) -> list[Statistics]:
    """Returns which weights are those of a BatchNormalization that a graph has written out, by the names of tensors.

    Args:
        graph: The graph, in inference.
        weights: The placeholders of weights.
    """
    search = _Search(graph, weights)
    return [found for node in graph.node if node.op == "Rsqrt" and (found := search.layer(node)) is not None]


class _Search:
    def __init__(self, graph: Message, weights: Collection[str]) -> None:
        self.nodes: Mapping[str, Message] = by_name(graph)
        self.readers = readers(graph)
        self.weights = weights

    def layer(self, root: Message) -> Statistics | None:
        """Returns the layer whose deviation a root is the inverse of."""
        added = self.nodes.get(maker(root.input[0]))
        if added is None or added.op not in _SUMS:
            return None
        for spread, number in self._sides(added):
            variance, epsilon = self._weight(spread), self._number(number)
            if variance is None or epsilon is None:
                continue
            for factor, gamma in self._factors(root):
                for mean, beta in self._shifts(factor):
                    return Statistics(
                        f"{mean}:0", f"{variance}:0", f"{gamma}:0" if gamma else None, f"{beta}:0" if beta else None,
                        epsilon, _MOMENTUM, -1,
                    )  # fmt: skip
        return None

    def _factors(self, root: Message) -> Iterator[tuple[Message, str | None]]:
        """Yields what x may be multiplied by: the inverse of the deviation by gamma, or by itself."""
        for node in self._users(root, {"Mul"}):
            for one, other in self._sides(node):
                gamma = self._weight(other) if maker(one) == root.name else None
                # The mean times the inverse of the deviation is such a product too, where there is no gamma.
                if gamma is not None and any(True for _ in self._shifts(node)):
                    yield node, gamma
        yield root, None

    def _shifts(self, factor: Message) -> Iterator[tuple[str, str | None]]:
        """Yields the mean that is multiplied by a factor, and what that is taken from."""
        for node in self._users(factor, {"Mul"}):
            for one, other in self._sides(node):
                mean = self._weight(other)
                if not self._is(one, factor) or mean is None:
                    continue
                betas = [self._weight(each.input[0]) for each in self._users(node, _DIFFERENCES)]
                yield mean, next((each for each in betas if each is not None), None)

    def _sides(self, node: Message) -> Iterator[tuple[str, str]]:
        first, second = data_inputs(node)[:2]
        yield first, second
        yield second, first

    def _users(self, node: Message, operations: Collection[str]) -> list[Message]:
        """Returns the operations of some kinds that take what a node makes, straight or reshaped."""
        found, left = [], [f"{node.name}:0"]
        while left:
            for each in self.readers.get(left.pop(), []):
                if each.op in operations:
                    found.append(each)
                elif each.op in _THROUGH:
                    left.append(f"{each.name}:0")
        return found

    def _source(self, tensor: str) -> str:
        """Returns the node that made a tensor, before it was reshaped."""
        while (node := self.nodes.get(maker(tensor))) is not None and node.op in _THROUGH:
            tensor = data_inputs(node)[0]
        return maker(tensor)

    def _is(self, tensor: str, node: Message) -> bool:
        name: str = node.name
        return name in (maker(tensor), self._source(tensor))

    def _weight(self, tensor: str) -> str | None:
        name = self._source(tensor)
        return name if name in self.weights else None

    def _number(self, tensor: str) -> float | None:
        node = self.nodes.get(self._source(tensor))
        if node is None or node.op != "Const":
            return None
        array = tf.make_ndarray(node.attr["value"].tensor)
        return float(array.reshape(-1)[0]) if array.size == 1 and array.dtype.kind == "f" else None
