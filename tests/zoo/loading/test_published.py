"""Nets of keras.applications from files of the published layout, pulled from a mirror; Keras itself is the judge."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from loopback import Web
from published import KERAS_2_WARNS, mirrored, picture, said, weight_file

import zoo
from zoo.registry.architectures import ARCHITECTURES

# vgg16 without normalization, convnext_tiny with other layers, mobilenet_v3_small with slashes in its names.
NETS = ["mobilenet_v3_small"]
MORE = [
    "efficientnetb0",
    "mobilenet_v2",
    "vgg16",
    "convnext_tiny",
    "resnet50",
    "inception_v3",
    "densenet121",
    "xception",
    "resnet50v2",
]

pytestmark = KERAS_2_WARNS


def as_keras_loads_it(arch: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> keras.Model:
    """Returns what `keras.applications` makes of a published file: it is told that it has fetched this one."""
    with monkeypatch.context() as patch:
        patch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(path))
        return getattr(keras.applications, ARCHITECTURES[arch].function)(weights="imagenet")


@pytest.mark.parametrize("arch", [*NETS, *(pytest.param(arch, marks=pytest.mark.slow) for arch in MORE)])
def test_a_pulled_net_says_exactly_what_keras_says(
    arch: str, home: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that EfficientNet's second rescaling, which Keras builds only for the weights it fetches, is there.

    Keras 2, which saved the weights, normalizes with another kernel: the same but for the last bits, which 1e-4 of the
    largest value covers.
    """
    monkeypatch.setenv("ZOO_MIRROR", mirrored(home, web, arch, ["weights"]))
    x = picture(zoo.find_entry(arch).input.size)

    model = zoo.load_model(arch)

    expected = as_keras_loads_it(arch, weight_file(arch), monkeypatch)
    found = np.asarray(model(x, training=False))
    np.testing.assert_array_equal(found, expected(x, training=False))
    if not arch.startswith("efficientnetb"):  # whose second rescaling Keras 2 too builds only for what it fetches
        assert np.abs(found - said(arch)).max() <= 1e-4 * found.max()
    assert [type(layer).__name__ for layer in model.layers] == [type(layer).__name__ for layer in expected.layers]
    assert np.ptp(found) > 0  # a net of zeros would agree with one of zeros
