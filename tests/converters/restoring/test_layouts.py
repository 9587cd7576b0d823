"""Layouts of other frameworks, judged by what convolutions and flattened pictures come out as."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from scipy.signal import convolve2d, correlate2d
from zoo.converters import restore
from zoo.converters.restoring.layouts import parsed_layout

from zoo.errors import IntegrityError, UsageError

CHANCE = np.random.default_rng(5)


def convolution(kernel: int = 3, name: str = "conv1") -> keras.Model:
    return keras.Sequential([keras.Input((7, 7, 2)), keras.layers.Conv2D(4, kernel, name=name)])


def judged(weights: Any, x: Any, operation: Any) -> Any:
    """Returns [height, width, channels]: what a framework with kernels OIHW puts out for one picture."""
    maps = [
        sum(operation(x[..., channel], weights[out, channel], mode="valid") for channel in range(weights.shape[1]))
        for out in range(weights.shape[0])
    ]
    return np.stack(maps, -1)


@pytest.mark.parametrize(
    ("layout", "operation"),
    [
        pytest.param("OIHW->HWIO", correlate2d, id="pytorch"),
        pytest.param("OIHW->HWIO flip HW", convolve2d, id="theano"),
        pytest.param("OIHW -> HWIO, flip WH", convolve2d, id="theano-spaced"),
        pytest.param(lambda w: w[:, :, ::-1, ::-1].transpose(2, 3, 1, 0), convolve2d, id="function"),
    ],
)
def test_kernels_of_other_frameworks_convolve_as_they_did_there(layout: Any, operation: Any) -> None:
    weights, x = CHANCE.normal(size=(4, 2, 3, 3)), CHANCE.normal(size=(7, 7, 2))
    model = convolution()
    restore(model, {"conv1/kernel": weights, "conv1/bias": np.zeros(4)}, layout={"conv.*kernel": layout})
    np.testing.assert_allclose(model(x[None])[0], judged(weights, x, operation), rtol=1e-4, atol=1e-5)


def test_flips_alone_are_declared_without_an_arrow() -> None:
    weights, x = CHANCE.normal(size=(3, 3, 2, 4)), CHANCE.normal(size=(7, 7, 2))
    model = convolution()
    restore(model, {"conv1/kernel": weights}, layout={"conv1": "HWIO flip HW"})
    expected = judged(weights.transpose(3, 2, 0, 1), x, convolve2d)
    np.testing.assert_allclose(model(x[None])[0], expected, rtol=1e-4, atol=1e-5)


def test_a_dense_kernel_behind_pictures_with_channels_first_is_put_in_order() -> None:
    height, width, channels, units = 3, 2, 5, 4
    weights, pictures = CHANCE.normal(size=(units, channels * height * width)), CHANCE.normal(size=(6, 3, 2, 5))
    model = keras.Sequential([
        keras.Input((height, width, channels)), keras.layers.Flatten(), keras.layers.Dense(units, name="fc"),
    ])  # fmt: skip
    layout = {"fc": "O(CHW)->(HWC)O C=5 H=3"}
    report = restore(model, {"fc/weight": weights}, rename={"weight": "kernel"}, layout=layout)
    assert report.missing == ("fc/bias",)
    expected = pictures.transpose(0, 3, 1, 2).reshape(6, -1) @ weights.T
    np.testing.assert_allclose(model(pictures), expected, rtol=1e-4, atol=1e-5)


def test_a_layout_speaks_of_arrays_with_its_number_of_axes_alone() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    weights = CHANCE.normal(size=(2, 3))
    restore(model, {"dense/kernel": weights, "dense/bias": np.ones(2)}, layout={"dense.*": "OI->IO"})
    np.testing.assert_allclose(model.weights[0], weights.T, rtol=1e-6)


def test_square_kernels_are_not_turned_unless_it_is_declared() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="dense")])
    weights = CHANCE.normal(size=(3, 3)).astype("float32")
    restore(model, {"dense/kernel": weights})
    np.testing.assert_array_equal(model.weights[0], weights)


def test_the_first_layout_that_fits_counts() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(3, name="b")])
    source = {"a/kernel": np.arange(9.0).reshape(3, 3), "b/kernel": np.arange(9.0).reshape(3, 3)}
    restore(model, source, layout={"a": "IO", ".*kernel": "OI->IO"})
    np.testing.assert_array_equal(model.get_layer("a").kernel, source["a/kernel"])
    np.testing.assert_array_equal(model.get_layer("b").kernel, source["b/kernel"].T)


def test_every_layout_is_undone_by_its_opposite() -> None:
    layouts = [
        ("OIHW->HWIO", "HWIO->OIHW"),
        ("OIHW->HWIO flip H", "HWIO->OIHW flip H"),
        ("(AB)C->CBA B=3", "CBA->(AB)C"),
    ]
    for one, other in layouts:
        values = CHANCE.normal(size=(6, 4) if one.startswith("(") else (2, 3, 4, 5))
        there = parsed_layout(one)
        assert there.apply(values).shape == there.shape(values.shape)
        np.testing.assert_array_equal(parsed_layout(other).apply(there.apply(values)), values)


@pytest.mark.parametrize(
    "text",
    ["", "OI->OO", "OI->I", "OI-IO", "OI->IO flip", "OI->IO flip H", "OI->IO H=3", "OI->IO I=0", "O(I->IO", "OO->OO"],
)
def test_what_is_no_layout_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="Expected a layout such as"):
        parsed_layout(text)


@pytest.mark.parametrize(
    ("layout", "match"),
    [
        ("O(CHW)->(HWC)O", "say how large H and W are"),
        ("O(CHW)->(HWC)O C=7 H=3", "its axis of 30 cannot be \\(CHW\\)"),
        ("O(CHW)->(HWC)O C=5 H=3 W=3", "its axis of 30 cannot be"),
    ],
)
def test_sizes_that_cannot_be_are_refused_with_the_variable(layout: str, match: str) -> None:
    model = keras.Sequential([keras.Input((30,)), keras.layers.Dense(4, name="fc")])
    with pytest.raises(IntegrityError, match=f"fc/kernel: .*{match}"):
        restore(model, {"fc/kernel": np.ones((4, 30))}, layout={"fc": layout})
