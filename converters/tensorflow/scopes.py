"""Which layer an operation of a graph belongs to: its scope tells, without what is around all layers or inside one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from zoo.converters.exporting.naming import Names

_NUMBERED = re.compile(r"__\d+$")
_AGAIN = re.compile(r"(.+)_\d+")
_CALLED = re.compile(r"(?:Stateful)?PartitionedCall(?:_\d+)?")  # the body of a function, which has its layer's scope
# What functions of TensorFlow, and layers made of several, call the scopes of their own.
_INSIDE = {
    "batchnorm", "moments", "Tensordot", "convolution", "separable_conv2d", "depthwise", "dropout", "cond", "einsum",
    "softmax", "normalize", "FusedBatchNorm", "BatchNorm", "batch_normalization", "then", "else", "Initializer",
}  # fmt: skip


class Scopes(Names):
    """Which layer a name in a graph of TensorFlow belongs to.

    Args:
        kernels: The names of the operations that take weights of two axes or more: they tell what is around all layers.
        wrong: Of scopes that are called otherwise than their layers: what the layers are called.
    """

    def __init__(self, kernels: Iterable[str]) -> None:
        scopes = [_scope(each) for each in kernels]
        self._around = _common(scopes)
        self._again = _called_again([each[len(self._around) :] for each in scopes])

    def split(self, name: str) -> tuple[str, str]:
        """Returns the layer, and what the name says besides."""
        parts = _parts(name)
        scope = _scope(name)
        inside = parts[len(scope) :]
        if self._around and tuple(scope[: len(self._around)]) == self._around:
            scope = scope[len(self._around) :]
        scope = [_AGAIN.sub(r"\1", part) if depth < self._again else part for depth, part in enumerate(scope)]
        return "/".join(scope), "/".join(inside)


def _parts(name: str) -> list[str]:
    *scope, last = [_NUMBERED.sub("", part) for part in name.partition(":")[0].split("/")]
    return [*(part for part in scope if not _CALLED.fullmatch(part)), last]


def _scope(name: str) -> list[str]:
    """Returns the scope of an operation, without what a function has put inside it."""
    scope = _parts(name)[:-1]
    while len(scope) > 1 and scope[-1] in _INSIDE:
        scope.pop()
    return scope


def _common(scopes: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns with what all scopes begin, of which something is left for each.

    >>> _common([["dnn", "hidden1"], ["dnn", "outputs"]]), _common([["dnn", "only"]])
    (('dnn',), ('dnn',))
    """
    if not scopes or not min(map(len, scopes)):
        return ()
    most = min(map(len, scopes)) - 1
    shared = [parts[0] for parts in zip(*scopes, strict=False) if len(set(parts)) == 1]
    count = next((n for n, parts in enumerate(zip(*scopes, strict=False)) if len(set(parts)) > 1), len(shared))
    return tuple(shared[: min(count, most)])


def _called_again(scopes: Sequence[Sequence[str]]) -> int:
    """Returns how many parts of scopes have a number behind them because the net was called once more.

    >>> _called_again([["conv_1"], ["mix_1", "query_1"]]), _called_again([["dense_1"], ["dense_2"]])
    (2, 0)
    """
    count = 0
    for parts in zip_longest(*scopes):
        found = {each for each in parts if each is not None}
        numbers = {each.rpartition("_")[2] for each in found if _AGAIN.fullmatch(each)}
        if len(numbers) != 1 or not all(map(_AGAIN.fullmatch, found)) or (not count and len(found) == 1):
            break
        count += 1
    return count


def weight_paths(weights: Mapping[str, str], layers: Mapping[str, str]) -> dict[str, str]:
    """Returns what weights are called: as their variables, below their layers where these do not say where they belong.

    Args:
        weights: The names of their variables, by any key.
        layers: The layers that take them, by the same keys.

    >>> weight_paths({"a": "kernel:0", "b": "dnn/hidden1/kernel"}, {"a": "conv"})
    {'a': 'conv/kernel', 'b': 'dnn/hidden1/kernel'}
    """
    found = {}
    for key, name in weights.items():
        name = name.partition(":")[0]
        found[key] = name if "/" in name or not layers.get(key) else f"{layers[key]}/{name}"
    return found
