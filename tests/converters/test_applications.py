"""Nets of keras.applications to ONNX and back: the same units, weights and output, no transposition, and they train."""

from __future__ import annotations

from pathlib import Path

import pytest
from applications import round_trip

# Residual blocks, depth, squeeze-excite and hard swish; names and merges of dense blocks only in the slow ones.
NETS = ["MobileNetV3Small"]
MORE = ["MobileNetV2", "ResNet50", "EfficientNetB0", "DenseNet121", "ConvNeXtTiny"]


@pytest.mark.parametrize("name", [*NETS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_a_net_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    found = round_trip(name, 64, tmp_path)

    assert found.is_good(), found
