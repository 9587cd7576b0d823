"""onnxruntime as an engine."""

from __future__ import annotations

import onnxruntime

from zoo.features.engines.engine import Array, in_pieces

_WARNINGS_OFF = 3


class OnnxruntimeEngine:
    """Runs a trunk in onnxruntime, on the processor, in float32.

    Args:
        model: The trunk as the bytes of an ONNX model of ours: it reads no other file.
        size: How many examples to compute at a time.
    """

    name = "onnxruntime"

    def __init__(self, model: bytes, size: int) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _WARNINGS_OFF
        # Its threads would wait for work by running in circles, on processors that decode pictures meanwhile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._size = size

    def run(self, batch: Array) -> list[Array]:
        """Returns each output for a batch."""
        return in_pieces(lambda piece: self._session.run(None, {self._input: piece}), batch, self._size)
