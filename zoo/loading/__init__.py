"""Loads models, whatever their format was, as ordinary Keras models; builds bare architectures."""

from __future__ import annotations

import zoo.converters.importing.layers  # noqa: F401  registers what models that were converted may have
from zoo.loading.building import build_architecture
from zoo.loading.models import (
    absent_layers,
    bare_net,
    headless_layers,
    load_artifact,
    load_model,
    load_onnx_file,
    load_what_is_here,
    nonfinite_layers,
)
from zoo.loading.old_activations import keras2_hard_sigmoid
from zoo.loading.saved_model_layer import SavedModelLayer, opaque_model
from zoo.loading.weights import Weights, recognise_weights
from zoo.loading.whole import is_whole_model

__all__ = [
    "SavedModelLayer",
    "Weights",
    "absent_layers",
    "bare_net",
    "build_architecture",
    "headless_layers",
    "is_whole_model",
    "keras2_hard_sigmoid",
    "load_artifact",
    "load_model",
    "load_onnx_file",
    "load_what_is_here",
    "nonfinite_layers",
    "opaque_model",
    "recognise_weights",
]
