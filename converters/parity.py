"""The judge of conversions: onnxruntime, which runs an ONNX model and shares no code with who converts it.

What it has no kernel for is computed by the implementation that comes with ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from zoo.errors import IntegrityError, UsageError

Array = NDArray[Any]
# What onnxruntime says of an operator or a type that it lacks, rather than of a model that is wrong.
_MISSING = (
    *("NOT_IMPLEMENTED", "is not a registered function/op", "under development"),
    *("can't be converted to MLDataType", "No corresponding Numpy type", "are not supported"),
)


def run_onnx(
    model: bytes | str,
    inputs: Sequence[Mapping[str, Array]],
    outputs: Sequence[str],
    weights: Mapping[str, Array] | None = None,
) -> list[dict[str, Array]]:
    """Returns what a model computes, for each of several inputs.

    Args:
        model: The model's bytes, with all of its weights: a path would let onnxruntime open other files, and is for
            those alone that we wrote ourselves.
        inputs: Arrays by the names of the model's inputs.
        outputs: Which values are wanted.
        weights: Weights that the model says are elsewhere.

    Raises:
        IntegrityError: The model is refused, or fails.
    """
    try:
        session = onnxruntime.InferenceSession(model, _options(weights or {}), providers=["CPUExecutionProvider"])
        runs = [session.run(list(outputs), dict(each)) for each in inputs]
    except Exception as error:  # onnxruntime's own kinds of errors are not public
        # A file is what an export is to run in: there onnxruntime has the last word, as it has on what it finds wrong.
        is_missing = any(each in str(error) for each in _MISSING)
        found = _run_by_reference(model, inputs, outputs) if is_missing and isinstance(model, bytes) else None
        if found is None:
            reason = " ".join(str(error).split())[:400]
            raise IntegrityError(
                f"onnxruntime, which conversions are checked with, refuses the model: {reason}"
            ) from error
        runs = found
    return [{name: np.asarray(each) for name, each in zip(outputs, found, strict=True)} for found in runs]


def _options(weights: Mapping[str, Array]) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(each) for each in weights.values()]
    options.add_external_initializers(list(weights), values)
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_mem_pattern = options.enable_cpu_mem_arena = False
    return options


def _run_by_reference(
    model: bytes, inputs: Sequence[Mapping[str, Array]], outputs: Sequence[str]
) -> list[list[Array]] | None:
    """Returns what ONNX's own implementation computes, which has more operators; None where it fails too."""
    try:
        with np.errstate(all="ignore"):
            judge = ReferenceEvaluator(onnx.load_from_string(model))
            return [[np.asarray(each) for each in judge.run(list(outputs), dict(one))] for one in inputs]
    except Exception:  # whatever NumPy, or an operator that is missing, may raise
        return None


def checked_limit(limit: float) -> float:
    """Returns what the largest error may be that passes, relative to the largest value.

    Raises:
        UsageError: It is no number above 0.
    """
    if not (isinstance(limit, int | float | np.floating) and limit > 0):
        raise UsageError(f"Expected limit (--limit) to be a number above 0, such as 1e-4; got {limit!r}.")
    return limit


def relative_error(found: Array, expected: Array) -> float:
    """Returns the largest difference relative to the largest value; infinity where shapes or NaNs differ.

    >>> relative_error(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
    0.2
    """
    if found.shape != expected.shape:
        return float("inf")
    if not expected.size:
        return 0.0
    if expected.dtype.kind not in "fcV":  # bfloat16 is "V" to NumPy
        return float(np.mean(found != expected))
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    odd = ~np.isfinite(expected)
    if not np.array_equal(found[odd], expected[odd], equal_nan=True):
        return float("inf")
    if odd.all():
        return 0.0
    difference = float(np.abs(found[~odd] - expected[~odd]).max())
    largest = float(np.abs(expected[~odd]).max())
    return difference / largest if largest else difference
