"""How each operator of ONNX becomes layers of Keras: a small function for each, found by its name."""

from __future__ import annotations

from zoo.converters.importing.operators import (
    activations,
    attention,
    convolution,
    elementwise,
    indexing,
    joining,
    normalization,
    pooling,
    products,
    recurrent,
    reductions,
    regrouping,
    resizing,
    scattering,
    shaping,
)

__all__ = [
    "activations",
    "attention",
    "convolution",
    "elementwise",
    "indexing",
    "joining",
    "normalization",
    "pooling",
    "products",
    "recurrent",
    "reductions",
    "regrouping",
    "resizing",
    "scattering",
    "shaping",
]
