"""A net of dense layers told by a checkpoint alone: kernels that fit one behind the other.

Each kernel takes what the one before puts out, so shapes tell the order; where layers are as wide as each other, the
numbers in their scopes do: `hidden3`, `hidden4`. What neither tells is refused. No library is needed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from zoo.converters.restoring.pairing import is_bookkeeping
from zoo.converters.restoring.report import few, spoken

from zoo.errors import IntegrityError, UsageError

_MOST_STEPS = 100_000
_ORDERS_SHOWN = 3


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer of a checkpoint.

    Attributes:
        scope: What the names of its variables begin with.
        kernel: The name of its kernel.
        bias: The name of its bias; None where it has none.
        inputs: How many numbers it takes.
        units: How many it puts out.
    """

    scope: str
    kernel: str
    bias: str | None
    inputs: int
    units: int


def dense_chain(shapes: Mapping[str, tuple[int, ...]]) -> tuple[DenseLayer, ...]:
    """Returns the layers of a chain of dense kernels, from the input on.

    Args:
        shapes: The shapes of all variables of a checkpoint by name; what an optimizer keeps is passed over.

    Raises:
        UsageError: The variables are not those of such a chain, or do not tell its order; the message has the orders
            that are possible.

    >>> [each.scope for each in dense_chain({"b/kernel": (3, 2), "b/bias": (2,), "a/kernel": (4, 3)})]
    ['a', 'b']
    """
    layers = _dense_layers(shapes)
    if not layers:
        raise _no_chain("it has no kernel at all")
    by_number = list(_first(_orders(layers, by_number=True), 2))
    if len(by_number) == 1:
        return by_number[0]
    orders = by_number or list(_first(_orders(layers, by_number=False), _ORDERS_SHOWN))
    if len(orders) == 1:
        return orders[0]
    if not orders:
        told = few([f"{each.scope} {each.inputs}x{each.units}" for each in layers])
        raise _no_chain(f"no order of its kernels lets each take what the one before puts out ({told})")
    shown = "; or ".join(" - ".join(spoken(each.scope) for each in order) for order in orders)
    raise UsageError(
        "The order of these dense layers cannot be told from their shapes, nor from numbers in their names: it could "
        f"be {shown}. Give the graph beside the checkpoint (.meta), or the model itself as a .json or .keras file "
        "(--arch; Python: definition)."
    )


def _first(orders: Iterator[tuple[DenseLayer, ...]], most: int) -> Iterator[tuple[DenseLayer, ...]]:
    for order, _ in zip(orders, range(most), strict=False):
        yield order


def _dense_layers(shapes: Mapping[str, tuple[int, ...]]) -> list[DenseLayer]:
    """Returns a layer for each scope that has a kernel, in the order of the names."""
    kept = {name: shape for name, shape in shapes.items() if shape and not _is_beside(name, shapes)}
    scopes: dict[str, list[str]] = {}
    for name in kept:
        scopes.setdefault(name.rpartition("/")[0], []).append(name)
    return [_dense_layer(scope, names, kept) for scope, names in sorted(scopes.items())]


def _is_beside(name: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Returns whether a variable is kept beside others: a slot below a variable's name, or by a name of optimizers."""
    return is_bookkeeping(name) or name.rpartition("/")[0] in shapes


def _dense_layer(scope: str, names: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> DenseLayer:
    kernels = [name for name in names if len(shapes[name]) > 1]
    biases = [name for name in names if len(shapes[name]) == 1]
    if len(kernels) == 1 and len(biases) <= 1 and scope and len(shapes[kernels[0]]) == 2:
        inputs, units = shapes[kernels[0]]
        if not biases or shapes[biases[0]] == (units,):
            return DenseLayer(scope, kernels[0], biases[0] if biases else None, inputs, units)
    told = few([f"{name} {'x'.join(map(str, shapes[name]))}" for name in names])
    are = "is" if len(names) == 1 else "are"
    raise _no_chain(f"{told} {are} no kernel [n, m] with a bias [m] in a scope of its own")


def _no_chain(cause: str) -> UsageError:
    return UsageError(
        f"Expected a checkpoint of dense layers alone, whose shapes tell the net; {cause}. Give the graph beside the "
        "checkpoint (.meta), the architecture (--arch vgg16, or a .json or .keras file of the model), or leave away "
        "what is not of it (--exclude)."
    )


def _orders(layers: Sequence[DenseLayer], *, by_number: bool) -> Iterator[tuple[DenseLayer, ...]]:
    """Yields the orders in which each layer takes what the one before puts out.

    Args:
        layers: The layers.
        by_number: Whether layers whose scopes differ in numbers alone have to ascend.
    """
    numbers = [_numbers(each.scope) for each in layers]
    steps = 0

    def follow(order: list[int]) -> Iterator[tuple[DenseLayer, ...]]:
        nonlocal steps
        steps += 1
        if steps > _MOST_STEPS:
            raise _no_chain(f"its {len(layers)} kernels fit in too many orders")
        if len(order) == len(layers):
            yield tuple(layers[each] for each in order)
            return
        for each in range(len(layers)):
            if each in order or (order and layers[each].inputs != layers[order[-1]].units):
                continue
            if by_number and any(_comes_before(numbers[rest], numbers[each]) for rest in _rest(order, each)):
                continue
            yield from follow([*order, each])

    def _rest(order: list[int], each: int) -> Iterator[int]:
        return (rest for rest in range(len(layers)) if rest != each and rest not in order)

    return follow([])


def _comes_before(one: tuple[str, tuple[int, ...]], other: tuple[str, tuple[int, ...]]) -> bool:
    return one[0] == other[0] and one[1] < other[1]


def _numbers(scope: str) -> tuple[str, tuple[int, ...]]:
    """Returns a scope without its numbers, and these: `dense` is the one before `dense_1`.

    >>> _numbers("dnn/hidden2"), _numbers("dense")
    (('dnn/hidden#', (2,)), ('dense#', (-1,)))
    """
    numbers = tuple(map(int, re.findall(r"\d+", scope)))
    return (re.sub(r"_?\d+", "#", scope), numbers) if numbers else (f"{scope}#", (-1,))


def layer_names(layers: Sequence[DenseLayer]) -> tuple[str, ...]:
    """Returns what the layers are called in a model: the last part of their scopes, where these differ in it.

    Raises:
        IntegrityError: Two have one name.
    """
    whole = [each.scope for each in layers]
    last = [each.scope.rpartition("/")[2] for each in layers]
    names = [re.sub(r"[^\w.+-]", "_", each) for each in (last if len(set(last)) == len(last) else whole)]
    if len(set(names)) != len(names):
        raise IntegrityError(f"Two layers would have one name: {few(names)}.")
    return tuple(names)
