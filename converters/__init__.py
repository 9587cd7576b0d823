"""Conversions from one model format to another, independent of the rest of `zoo` but for its errors.

Every conversion is compared with an independent runtime before it returns. Importing this package imports no other; its
names do, when they need one: whoever loads a model needs `zoo.converters.importing.layers` and no runtime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.converters.caffe.importer import caffe_to_onnx
    from zoo.converters.caffe.preprocessing import Preprocessing
    from zoo.converters.exporting.exporter import keras_to_onnx
    from zoo.converters.importing.importer import onnx_to_keras
    from zoo.converters.report import ConversionReport
    from zoo.converters.restoring.report import RestoreReport
    from zoo.converters.restoring.restorer import restore
    from zoo.converters.tensorflow.importer import tensorflow_to_onnx

_HOMES = {
    "ConversionReport": "zoo.converters.report",
    "Preprocessing": "zoo.converters.caffe.preprocessing",
    "RestoreReport": "zoo.converters.restoring.report",
    "caffe_to_onnx": "zoo.converters.caffe.importer",
    "keras_to_onnx": "zoo.converters.exporting.exporter",
    "onnx_to_keras": "zoo.converters.importing.importer",
    "restore": "zoo.converters.restoring.restorer",
    "tensorflow_to_onnx": "zoo.converters.tensorflow.importer",
}

__all__ = [
    "ConversionReport", "Preprocessing", "RestoreReport", "caffe_to_onnx", "keras_to_onnx", "onnx_to_keras", "restore",
    "tensorflow_to_onnx",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
