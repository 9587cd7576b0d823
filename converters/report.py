"""What a conversion says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ConversionReport:
    """What was converted, and how far the result is from the original.

    Attributes:
        operators: How many nodes of ONNX there were of each operator.
        layers: How many layers and operations of Keras there are.
        parameters: How many weights there are, single numbers of them.
        transpositions: How many transpositions are left between the two ways to hold pictures.
        error: The largest difference from the original's output on random input, relative to its largest value.
        errors: The same by the value that was compared: the outputs, and what goes into a last softmax.
        layouts: How the tensors of Keras hold what goes into and comes out of the model, by the names in ONNX: the axes
            of ONNX in the order of Keras. A picture is (0, 2, 3, 1): `channels_last`.
        notes: What was decided that another might decide otherwise.
        source: What the model was read from.
        steps: The error of each step, such as "TensorFlow to ONNX", where there were several; `error` is the largest.
        rounding: How far the original may be from it only because that computes in 16 bits: so much passed.
    """

    operators: Mapping[str, int]
    layers: int
    parameters: int
    transpositions: int
    error: float
    errors: Mapping[str, float]
    layouts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: str = "ONNX"
    steps: Mapping[str, float] = field(default_factory=dict)
    rounding: float = 0.0

    def __str__(self) -> str:
        nodes = sum(self.operators.values())
        return (
            f"{nodes} nodes, {self.layers} layers, {self.parameters:,} parameters, "
            f"{self.transpositions} transpositions; parity: {self.error:.1e} of the largest value"
        )
