"""Nets of dense layers told by shapes: the order where it can be known, and refused where it cannot."""

from __future__ import annotations

import random

import pytest
from zoo.converters.restoring.chains import dense_chain, layer_names

from zoo.errors import UsageError

Shapes = dict[str, tuple[int, ...]]


def net(
    *widths: int, names: list[str] | None = None, scope: str = "", own: tuple[str, str] = ("kernel", "bias")
) -> Shapes:
    called = names or [f"hidden{number}" for number in range(1, len(widths) - 1)] + ["outputs"]
    shapes: Shapes = {}
    for name, inputs, units in zip(called, widths, widths[1:], strict=False):
        shapes |= {f"{scope}{name}/{own[0]}": (inputs, units), f"{scope}{name}/{own[1]}": (units,)}
    return shapes


def slots(shapes: Shapes) -> Shapes:
    found: Shapes = {f"{name}/{slot}": shape for name, shape in shapes.items() for slot in ("Adam", "Adam_1")}
    return found | {"beta1_power": (), "beta2_power": (), "global_step": (), "optimizer/m/hidden1/kernel": (784, 300)}


BOOK = net(784, 300, 50, 50, 50, 50, 10)


@pytest.mark.parametrize(
    "shapes",
    [
        BOOK,
        BOOK | slots(BOOK),
        net(784, 300, 50, 50, 50, 50, 10, scope="dnn/"),
        net(784, 300, 50, 50, 50, 50, 10, own=("weights", "biases")),
        net(784, 300, 50, 50, 50, 50, 10, own=("W", "b")),
        {name: shape for name, shape in BOOK.items() if name != "hidden2/bias"},
    ],
)
def test_the_books_net_is_told_by_shapes_and_numbers(shapes: Shapes) -> None:
    names = list(shapes)
    random.Random(1).shuffle(names)
    layers = dense_chain({name: shapes[name] for name in names})
    assert layer_names(layers) == ("hidden1", "hidden2", "hidden3", "hidden4", "hidden5", "outputs")
    assert [layer.units for layer in layers] == [300, 50, 50, 50, 50, 10]


@pytest.mark.parametrize(
    ("widths", "names", "order"),
    [
        pytest.param((4, 3, 3, 2), ["dense", "dense_1", "dense_2"], [0, 1, 2], id="automatic-names"),
        pytest.param((9, 8, 7, 6), ["c", "a", "b"], [0, 1, 2], id="shapes-alone"),
        pytest.param((9, 8, 7, 6), ["fc3", "fc2", "fc1"], [0, 1, 2], id="numbers-against-shapes"),
        pytest.param((5, 5, 5, 5), ["fc9", "fc10", "fc11"], [0, 1, 2], id="numbers-count-as-numbers"),
        pytest.param((4, 4), ["only"], [0], id="one-layer"),
        pytest.param((8, 3, 8), ["encoder", "decoder"], None, id="circle"),
        pytest.param((4, 3, 3, 3, 2), ["in", "left", "right", "out"], None, id="two-alike"),
    ],
)
def test_the_order_is_told_or_refused(widths: tuple[int, ...], names: list[str], order: list[int] | None) -> None:
    if order is None:
        with pytest.raises(UsageError, match="order of these dense layers cannot be told") as caught:
            dense_chain(net(*widths, names=names))
        assert " - ".join(names) in str(caught.value)
        return
    assert [layer.scope for layer in dense_chain(net(*widths, names=names))] == [names[each] for each in order]


@pytest.mark.parametrize(
    ("shapes", "match"),
    [
        pytest.param(BOOK | {"conv/kernel": (3, 3, 1, 8)}, "conv/kernel 3x3x1x8 is no kernel", id="convolution"),
        pytest.param(BOOK | {"bn/gamma": (50,), "bn/beta": (50,)}, "bn/gamma 50, bn/beta 50 are no", id="batchnorm"),
        pytest.param({"a/kernel": (4, 3), "a/bias": (4,)}, "no kernel \\[n, m\\] with a bias", id="bias-of-another"),
        pytest.param({"W": (4, 3), "b": (3,)}, "in a scope of its own", id="no-scopes"),
        pytest.param(net(9, 8, 7) | net(5, 4, scope="b/"), "no order of its kernels", id="two-nets"),
        pytest.param({f"{letter}/w": (3, 3) for letter in "abcdefghijkl"}, "cannot be told", id="many-orders"),
        pytest.param({"global_step": ()}, "no kernel at all", id="nothing"),
    ],
)
def test_what_is_no_chain_is_refused_with_what_to_do(shapes: Shapes, match: str) -> None:
    with pytest.raises(UsageError, match=match) as caught:
        dense_chain(shapes)
    assert "(.meta)" in str(caught.value)


def test_scopes_that_end_alike_are_called_by_all_of_their_parts() -> None:
    shapes = {"a/fc/w": (4, 3), "b/fc/w": (3, 2)}
    assert layer_names(dense_chain(shapes)) == ("a_fc", "b_fc")
