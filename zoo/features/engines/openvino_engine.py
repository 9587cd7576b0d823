"""OpenVINO as an engine: optional (pip install openvino), and the one that computes in bfloat16."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from zoo.features.engines.engine import Array

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def is_installed() -> bool:
    """Returns whether OpenVINO is there."""
    return importlib.util.find_spec("openvino") is not None


def computes_in_bfloat16() -> bool:
    """Returns whether OpenVINO computes in bfloat16 on this processor, rather than pretend to."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenvinoEngine:
    """Runs a trunk in OpenVINO, on the processor.

    Args:
        model: The trunk as the bytes of an ONNX model of ours.
        size: How many examples to compute at a time.
        precision: `float32`, or `bfloat16` where the processor has it.
    """

    name = "openvino"

    def __init__(self, model: bytes, size: int, precision: str) -> None:
        import openvino

        core = openvino.Core()
        hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": _HINTS[precision]}
        compiled = core.compile_model(core.read_model(model), "CPU", hints)
        self._queue = openvino.AsyncInferQueue(compiled, 0)
        # Several are computed side by side, each on a part of the processors.
        self._size = max(1, size // max(1, len(self._queue)))
        self._results: dict[int, list[Array]] = {}
        self._queue.set_callback(self._keep)

    def _keep(self, request: Any, number: int) -> None:
        self._results[number] = [np.array(tensor.data) for tensor in request.output_tensors]

    def run(self, batch: Array) -> list[Array]:
        """Returns each output for a batch."""
        for number, begin in enumerate(range(0, len(batch), self._size)):
            self._queue.start_async({0: batch[begin : begin + self._size]}, number)
        self._queue.wait_all()
        pieces = [self._results.pop(number) for number in sorted(self._results)]
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
