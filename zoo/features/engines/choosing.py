"""Chooses who runs a trunk: what was asked for, or by measuring on the first examples; never without comparing.

Whoever is not TensorFlow is compared with Keras on examples of the first batch. One that puts out something else, or
that cannot take the trunk, gives way to TensorFlow, and that is said aloud.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np

from zoo.errors import UsageError, ZooError
from zoo.features.engines import openvino_engine
from zoo.features.engines.engine import Array, Engine, fitting_batch
from zoo.features.engines.openvino_engine import OpenvinoEngine
from zoo.features.engines.stored import (
    convert_trunk,
    find_trunk,
    machine_with,
    remember_engine,
    remembered_engine,
    trunk_key,
)
from zoo.features.engines.tensorflow_engine import TensorflowEngine

EngineName = Literal["auto", "tensorflow", "onnxruntime", "openvino"]
Precision = Literal["float32", "bfloat16"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_log = logging.getLogger("zoo")
_COMPARED = 4  # examples
_MEASURED = 16
_LIMITS = {"float32": 1e-3, "bfloat16": 0.05}  # of the largest value of an output
_WORTH_CONVERTING = 10.0  # seconds of TensorFlow's work that are left
_WORTH_MEASURING = 3.0  # where the trunk is converted already


class Engines:
    """The engines for one cache: which one was asked for, and where converted trunks are kept.

    Args:
        name: `tensorflow`, `onnxruntime`, `openvino`; `auto`: the fastest, measured on the first examples.
        precision: What to compute in: `float32`, or `bfloat16` with OpenVINO on processors that have it.
        folder: Of converted trunks.

    Raises:
        UsageError: There is no such engine or precision, or it is not to be had here.
    """

    def __init__(self, name: str, precision: str, folder: Path) -> None:
        if name not in ENGINES:
            raise UsageError(f"Expected an engine of {', '.join(ENGINES)}; got {name!r}.")
        if precision not in PRECISIONS:
            raise UsageError(f"Expected a precision of {' or '.join(PRECISIONS)}; got {precision!r}.")
        if name == "openvino" and not openvino_engine.is_installed():
            raise UsageError("The engine openvino is not installed: pip install openvino. Or: --engine auto")
        if precision == "bfloat16":
            _refuse_bfloat16(name)
            name = "openvino"
        self.name, self.precision, self._folder = name, precision, folder

    def start(self, model: keras.Model, digest: str, batch: Array, left: int) -> tuple[Engine, list[Array]]:
        """Returns who runs a trunk from now on, and what it puts out for the first batch.

        Args:
            model: The trunk.
            digest: What stands for all that it computes.
            batch: Preprocessed examples, [n, ...].
            left: How many more are to come.

        Raises:
            PrecisionError: What was asked for in bfloat16 cannot be had so.
        """
        if self.name == "tensorflow":
            engine = TensorflowEngine(model, tuple(batch.shape[1:]))
            return engine, engine.run(batch)
        start = _Start(model, batch, trunk_key(digest, str(model.inputs[0].dtype)), self._folder)
        if self.name != "auto":
            return start.asked(self.name, self.precision)
        return start.fastest(left)


class PrecisionError(ZooError):
    """A trunk cannot be computed in bfloat16: what float32 gives belongs under another key."""


def _refuse_bfloat16(name: str) -> None:
    if name not in ("auto", "openvino"):
        raise UsageError(f"The engine {name} computes in float32; in bfloat16: --engine openvino.")
    if not openvino_engine.is_installed():
        raise UsageError("bfloat16 needs the engine openvino: pip install openvino.")
    if not openvino_engine.computes_in_bfloat16():
        raise UsageError("This processor does not compute in bfloat16; leave --precision float32.")


class _Start:
    """One trunk and the first batch for it: what there is to choose from."""

    def __init__(self, model: keras.Model, batch: Array, key: str, folder: Path) -> None:
        self._model, self._batch, self._key, self._folder = model, batch, key, folder

    def asked(self, name: str, precision: str) -> tuple[Engine, list[Array]]:
        """Returns the engine that was asked for, where it puts out what Keras does."""
        engine = self._tensorflow() if name == "tensorflow" else self._checked(name, precision)
        if isinstance(engine, str):
            if precision != "float32":
                raise PrecisionError(f"{precision} is not used: {engine}")
            _log.warning("The engine %s is not used: %s TensorFlow runs the trunk.", name, engine)
            engine = self._tensorflow()
        engine = _Guarded(engine, precision, self._tensorflow)
        return engine, engine.run(self._batch)

    def fastest(self, left: int) -> tuple[Engine, list[Array]]:
        """Returns the fastest engine; TensorFlow where a change is not worth its time."""
        rivals = ["onnxruntime", *(["openvino"] if openvino_engine.is_installed() else [])]
        machine = machine_with(["tensorflow", *rivals])
        known = remembered_engine(self._folder, self._key, machine)
        if known in ENGINES:
            return self.asked(known, "float32")
        best: Engine = self._tensorflow()
        seconds = self._seconds(best)
        if left * seconds < (_WORTH_CONVERTING if find_trunk(self._folder, self._key) is None else _WORTH_MEASURING):
            return best, best.run(self._batch)
        for name in rivals:
            engine = self._checked(name, "float32", measured=True)
            if isinstance(engine, str):
                _log.info("The engine %s is not tried: %s", name, engine)
            elif (taken := self._seconds(engine)) < seconds:
                best, seconds = engine, taken
        _log.info("%s runs the trunk: %.0f examples/s", best.name, 1 / seconds)
        remember_engine(self._folder, self._key, machine, best.name)
        best = _Guarded(best, "float32", self._tensorflow)
        return best, best.run(self._batch)

    def _seconds(self, engine: Engine) -> float:
        """Returns how long an engine takes for an example, once it is warm."""
        engine.run(self._batch[:1])
        piece = self._batch[:_MEASURED]
        began = time.perf_counter()
        engine.run(piece)
        return (time.perf_counter() - began) / len(piece)

    def _tensorflow(self) -> Engine:
        return TensorflowEngine(self._model, tuple(self._batch.shape[1:]))

    def _checked(self, name: str, precision: str, *, measured: bool = False) -> Engine | str:
        """Returns an engine that puts out what Keras does, or why there is none; it has run what will be `measured`."""
        try:
            engine = self._opened(name, precision)
            found = engine.run(self._batch[:_COMPARED])
            if measured:
                engine.run(self._batch[:_MEASURED])
        except ZooError as error:
            return f"the trunk cannot be converted for it ({error})"
        except Exception as error:  # libraries raise what they like
            return f"it cannot run the trunk ({type(error).__name__}: {error})."
        off = float(np.max(list(map(relative_error, found, self._expected))))  # NaN where any is
        if not off <= _LIMITS[precision]:
            return f"its features differ from Keras' by {off:.2g} of the largest, more than {_LIMITS[precision]:g}."
        _log.debug("%s, %s: features differ by %.2g of the largest", name, precision, off)
        return engine

    @functools.cached_property
    def _expected(self) -> list[Array]:
        """What Keras itself says of the first examples."""
        outputs = keras.tree.flatten(self._model(self._batch[:_COMPARED], training=False))
        return [np.asarray(output) for output in outputs]

    def _opened(self, name: str, precision: str) -> Engine:
        size = 2 * fitting_batch(self._model, tuple(self._batch.shape[1:]))
        data = find_trunk(self._folder, self._key)
        if data is None:
            data = convert_trunk(self._model, self._folder, self._key)
        if name == "openvino":
            return OpenvinoEngine(data, size, precision)
        from zoo.features.engines.onnxruntime_engine import OnnxruntimeEngine  # here: not everybody needs it

        return OnnxruntimeEngine(data, size)


class _Guarded:
    """An engine that gives way to TensorFlow where it fails in the middle of its work."""

    def __init__(self, engine: Engine, precision: str, fallback: Callable[[], Engine]) -> None:
        self._engine, self._precision, self._fallback = engine, precision, fallback
        self.name = engine.name

    def run(self, batch: Array) -> list[Array]:
        """Returns each output for a batch."""
        try:
            return self._engine.run(batch)
        except ZooError:
            raise
        except Exception as error:  # libraries raise what they like
            reason = f"it failed ({type(error).__name__}: {error})."
            if self._precision != "float32":
                raise PrecisionError(f"{self._precision} is not used: {reason}") from error
            if self.name == "tensorflow":
                raise
            _log.warning("The engine %s is used no more: %s TensorFlow goes on.", self.name, reason)
            self._engine = self._fallback()
            self.name = self._engine.name
            return self._engine.run(batch)


def relative_error(found: Array, expected: Any) -> float:
    """Returns the largest difference, relative to the largest value expected; infinite where shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    largest = float(np.abs(expected).max(initial=0)) or 1.0
    return float(np.abs(found - np.asarray(expected, np.float32)).max(initial=0)) / largest
