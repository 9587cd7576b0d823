"""Engines: who runs a trunk. TensorFlow by default; others take it as ONNX and are compared with Keras first."""

from zoo.features.engines.choosing import ENGINES, PRECISIONS, EngineName, Engines, Precision, PrecisionError

__all__ = ["ENGINES", "PRECISIONS", "EngineName", "Engines", "Precision", "PrecisionError"]
