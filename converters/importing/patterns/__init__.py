"""The patterns: what exporters write as several nodes, and is one layer.

Each function looks at the last node of a pattern, and returns the match that ends there. Each says in its first line
what it finds; in the formulas `x` is a tensor, and small letters from `a` on are constants.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo.converters.importing.patterns.activations import gated_activation, hard_sigmoid
from zoo.converters.importing.patterns.layers import convolution_bias, dense, kept_axis, separable_convolution
from zoo.converters.importing.patterns.lrn import local_response
from zoo.converters.importing.patterns.normalization import (
    grouped,
    line_of_statistics,
    normalization_scale,
    standardization,
)
from zoo.converters.importing.patterns.pooling import adaptive_pooling
from zoo.converters.importing.patterns.regrouping import blocks_of_kernels, regrouping
from zoo.converters.importing.rewriting import Pattern

PATTERNS: Sequence[Pattern] = (
    gated_activation,
    hard_sigmoid,
    convolution_bias,
    dense,
    standardization,
    line_of_statistics,
    grouped,
    adaptive_pooling,
    local_response,
    regrouping,
    blocks_of_kernels,
    kept_axis,
    normalization_scale,
    separable_convolution,
)
