"""What a model puts out for one input: computed within bounds, and as figures by which it is known again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.compiled import trace
from zoo.registry import Figures
from zoo.registry.recorded import MOST_VALUES, SUMS

Numbers = NDArray[np.float64]

# Numbers that are in memory at the same time, beside weights: 1 GiB of float32. EfficientNet-B7 has a tenth of it.
_MOST_AT_ONCE = 1 << 28
_MOST_ALTOGETHER = 1 << 34  # numbers computed one after another: six times those of EfficientNet-B7
_SUM_SEED = 1_000_000
_PIECE = 1 << 20
_LEAST_SCALE = 1e-30  # an untrained net may put out 1e-16
_SPREAD_SHARE = 0.1  # of the root mean square: float32 does not tell apart much less where all elements are alike


class Output(NamedTuple):
    """What a model put out.

    Attributes:
        numbers: Its output.
        logits: What its last softmax or sigmoid took, of the same shape; None where it ends with neither.
    """

    numbers: Numbers
    logits: Numbers | None

    def is_finite(self) -> bool:
        """Returns whether there is no NaN and no infinity in it."""
        return all(np.isfinite(each).all() for each in self if each is not None)


def runner(model: keras.Model, shape: Sequence[int]) -> Callable[[NDArray[Any]], Output]:
    """Returns a function that runs `model`, of one input and one output, on an array of a shape.

    A recurrent layer that keeps its state begins anew each time.

    Raises:
        ValueError: It would take more memory or time than a model does.
        Exception: The model does not take that shape; any, for layers raise what they like.
    """

    def run(given: Any) -> list[Any]:
        found = keras.tree.flatten(model(given, training=False))[0]
        # Keras' own losses go by this too: probabilities that are nearly 0 or 1 tell little of what they came from.
        logits = getattr(found, "_keras_logits", None)
        return [keras.ops.cast(each, "float32") for each in (found, logits) if each is not None]

    dtype = model.inputs[0].dtype
    function = trace(run, tf.TensorSpec(shape, dtype))
    _refuse_costly(function)
    kept = [layer.states for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN) and layer.stateful]
    states = keras.tree.flatten(kept)  # Keras' own reset_state() cannot begin stacked cells anew

    def compute(given: NDArray[Any]) -> Output:
        for state in states:
            state.assign(keras.ops.zeros_like(state))
        found, *logits = (np.asarray(each, np.float64) for each in function(tf.convert_to_tensor(given, dtype)))
        return Output(found, logits[0] if logits and logits[0].shape == found.shape else None)

    return compute


def _refuse_costly(function: Any) -> None:
    """Counts the numbers that a traced function computes; sizes that only running tells count as 1."""
    operations = function.graph.get_operations()
    sizes = {each.ref(): _size(each) for operation in operations for each in operation.outputs}
    last = {each.ref(): place for place, operation in enumerate(operations) for each in operation.inputs}
    now = most = altogether = 0
    for place, operation in enumerate(operations):
        made = sum(sizes[each.ref()] for each in operation.outputs)
        now, altogether = now + made, altogether + made
        most = max(most, now)
        touched = {each.ref() for each in (*operation.inputs, *operation.outputs)}
        now -= sum(sizes[each] for each in touched if last.get(each, place) == place)
    if most > _MOST_AT_ONCE:
        raise ValueError(f"it takes {most:,} numbers at once; at most {_MOST_AT_ONCE:,} are held")
    if altogether > _MOST_ALTOGETHER:
        raise ValueError(f"it takes {altogether:,} numbers, one after another; at most {_MOST_ALTOGETHER:,} are made")


def _size(tensor: Any) -> int:
    if tensor.op.type in ("ReadVariableOp", "Placeholder"):
        return 0
    return 1 if tensor.shape.rank is None else math.prod(each or 1 for each in tensor.shape.as_list())


def figures(found: Numbers) -> Figures:
    """Returns an array as figures, which differ where any of its elements does, or two are exchanged."""
    flat, count = found.ravel(), min(MOST_VALUES, found.size)
    some = flat[[number * (flat.size - 1) // max(1, count - 1) for number in range(count)]]
    return Figures(
        values=tuple(map(short, some)),
        mean=short(flat.mean()),
        rms=short(np.sqrt(np.mean(flat**2))),
        spread=short(flat.std()),
        sums=tuple(short(_weighted_sum(flat, _SUM_SEED + number)) for number in range(SUMS)),
    )


def _weighted_sum(flat: Numbers, seed: int) -> float:
    """Returns the sum of all elements, each times its own random number, over the root of their count."""
    random = np.random.RandomState(seed)
    total = 0.0
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        total += float(piece @ (2 * random.random_sample(piece.size) - 1))
    return total / math.sqrt(flat.size)


def difference(found: Output, output: Figures, logits: Figures | None) -> float:
    """Returns how far an output is from figures: the largest difference, as a share of what the figures span."""
    if (found.logits is None) != (logits is None) or not found.is_finite():
        return math.inf
    own = _difference(found.numbers, output)
    return own if found.logits is None or logits is None else max(own, _difference(found.logits, logits))


def _difference(found: Numbers, wanted: Figures) -> float:
    own = figures(found)
    if len(own.values) != len(wanted.values):
        return math.inf
    scale = max(_LEAST_SCALE, wanted.spread, _SPREAD_SHARE * wanted.rms)
    return float(np.abs(np.subtract(_row(own), _row(wanted))).max() / scale)


def _row(one: Figures) -> list[float]:
    return [*one.values, *one.sums, one.mean, one.rms, one.spread]


def short(value: Any) -> float:
    """Returns a number with as many digits as float32 has, and no more."""
    return float(f"{value:.9g}")
