"""Conversions from one model format to another, independent of the rest of `zoo` but for its errors.

Every conversion is compared with an independent runtime before it returns.
"""

from __future__ import annotations

from zoo.converters.exporting.exporter import keras_to_onnx
from zoo.converters.importing.importer import onnx_to_keras
from zoo.converters.report import ConversionReport

__all__ = ["ConversionReport", "keras_to_onnx", "onnx_to_keras"]
