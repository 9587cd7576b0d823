"""What a model puts out for a fixed random input: recorded when it is added, compared when somebody doubts it.

What is recorded (`zoo.outputs`) differs where elements of the output changed places, or weights changed behind a
softmax that is all 0 and 1. A model that puts out the same for two inputs would tell nothing, and is not recorded.

The input is a function of a shape and a seed that stays the same for ever. Pictures and other numbers are uniform
within a range that is recorded too; NumPy's `RandomState` is frozen (NEP 19), so other versions make the same numbers.
Texts are of frequent English words.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from zoo.errors import MissingClassError, OfflineError, ZooError
from zoo.loading import load_artifact
from zoo.loading.variables import first_words
from zoo.outputs import difference, figures, runner, short
from zoo.progress import Progress, Silent
from zoo.registry import Entry, InputSpec, RecordedOutput, all_entries, find_entry
from zoo.registry.recorded import DTYPES, TEXT
from zoo.sample_texts import fixed_texts
from zoo.store import Artifact, pull_entry, pulled_names
from zoo.store.policy import policy_from_environment

OutputState = Literal["as recorded", "differs", "not recorded", "not loadable", "class missing", "not here", "broken"]

SEED = 0
_ANY_SIZE = 224  # of a picture that may have any: what most nets were made for
_ANY_LENGTH = 16  # of what else may have any
_TEXTS = 8  # one alone may have no word that a vocabulary knows
_MOST_INTEGER = 255
# Of what the output spans. Machines that compute in float32 differ by some 1e-6; a net whose layers or classes changed
# places, or with one layer exchanged, by more than this wherever its output for random input shows that layer.
_TOLERANCE = 1e-4
_HALF_TOLERANCE = 3e-2  # where a layer computes in 16 bits, of which bfloat16 has 8 for the number itself
_STRETCHES = (1, 255)  # of the input's range, which may be too small for a net to put out anything but 0


@dataclass(frozen=True)
class OutputFinding:
    """What comparing a model with its recorded output found.

    Attributes:
        model: The model.
        state: `as recorded`; `differs`; `not recorded`: it loads, but there is nothing to compare with; `not loadable`:
            by this version; `class missing`: it needs a class that this process does not know; `not here`: a file of it
            is not on this machine; `broken`: loading it failed.
        difference: The largest difference, as a share of what the output spans; infinite where shapes differ or a
            number is not finite. None where nothing was compared.
        tolerance: What difference is taken for the same.
        message: What went wrong; empty where nothing did.
        exit_code: What the command line ends with because of it; 0 where nothing is wrong.
    """

    model: str
    state: OutputState
    difference: float | None = None
    tolerance: float | None = None
    message: str = ""
    exit_code: int = 0


def fixed_input(
    shape: Sequence[int], dtype: str = "float32", seed: int = SEED, low: float = 0.0, high: float = 1.0
) -> NDArray[Any]:
    """Returns random numbers, or texts, the same on every machine and for ever.

    Args:
        shape: Their shape, the batch included.
        dtype: Their kind; `string` for texts. Whole numbers are from `low` to `high`, both included.
        seed: Of the random numbers.
        low: The smallest.
        high: The largest.

    >>> fixed_input((1, 3), seed=1).round(3).tolist()
    [[0.4169999957084656, 0.7200000286102295, 0.0]]
    >>> fixed_input((1, 6), "int32", seed=1, high=9).tolist()
    [[4, 7, 0, 3, 1, 0]]
    """
    if dtype == TEXT:
        return fixed_texts(shape, seed)
    numbers = np.random.RandomState(seed).random_sample(tuple(shape))
    if dtype.startswith(("int", "uint", "bool")):
        return np.floor(low + numbers * (high - low + 1)).astype(dtype)
    return (low + numbers * (high - low)).astype("float32" if dtype == "bfloat16" else dtype)


def record_output(model: keras.Model, spec: InputSpec | None = None, seed: int = SEED) -> RecordedOutput | str:
    """Returns what a model puts out for a fixed random input; or, in words, why that cannot be recorded.

    Sizes that may be any are those of `spec`, or else 224 for pictures and 16 for others. Numbers are within the range
    that pictures have once preprocessed by `spec`, so that no activation saturates; without it between 0 and 1 for
    pictures, and -1 and 1 for others; or 255 times that, if the output is always the same otherwise. Whole numbers go
    from 0 to 255, or to the last row of the smallest Embedding. Texts are eight.

    Args:
        model: The model, of one input and one output.
        spec: What it wants to see, where that is a picture.
        seed: Of the random numbers.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        return f"it has {len(model.inputs)} inputs and {len(model.outputs)} outputs, and one of each is recorded"
    dtype = str(keras.backend.standardize_dtype(model.inputs[0].dtype))
    if dtype not in DTYPES:
        return f"its input is of the kind {dtype}"
    shape = _recorded_shape(tuple(model.inputs[0].shape), spec, _TEXTS if dtype == TEXT else 1)
    low, high = _range(model, shape, dtype, spec)
    least = tolerance(model)
    try:
        run = runner(model, shape)
        for stretch in _STRETCHES[: 1 if dtype.startswith(("int", "uint", "bool", TEXT)) else None]:
            ends = low * stretch, high * stretch
            found, again, other = (
                run(fixed_input(shape, dtype, number, *ends)) for number in (seed, seed, (seed + 1) % 2**32)
            )
            if not found.is_finite():
                return "its output is not finite"
            output, logits = figures(found.numbers), None if found.logits is None else figures(found.logits)
            if difference(again, output, logits) > least:
                return "it puts out something else each time"
            if (logits or output).rms and difference(other, output, logits) > least:
                return RecordedOutput(shape, dtype, seed, *ends, found.numbers.shape, output, logits)
    except Exception as error:  # layers may refuse sizes or numbers that look right from outside
        return f"it does not compute {'x'.join(map(str, shape))} random {_what(dtype)} ({first_words(error, 200)})"
    return f"it puts out the same for other random {_what(dtype)} too, and that tells nothing of its weights"


def _what(dtype: str) -> str:
    return "texts" if dtype == TEXT else "numbers"


def output_difference(model: keras.Model, recorded: RecordedOutput) -> float:
    """Returns how far a model's output is from the recorded one: the largest difference, as a share of what it spans.

    Infinite where the model does not take the recorded input, puts out another shape, or a number that is not finite.
    """
    given = fixed_input(recorded.input, recorded.dtype, recorded.seed, recorded.low, recorded.high)
    try:
        found = runner(model, recorded.input)(given)
    except Exception:  # whatever it is that does not fit: it is another model
        return math.inf
    return difference(found, recorded.output, recorded.logits) if found.numbers.shape == recorded.shape else math.inf


def tolerance(model: keras.Model) -> float:
    """Returns which `output_difference` is none: 1e-4, or 3e-2 where a layer computes in 16 bits."""
    kinds = {layer.compute_dtype for layer in model._flatten_layers()}
    return _HALF_TOLERANCE if kinds & {"float16", "bfloat16"} else _TOLERANCE


def verify_outputs(
    names: str | Sequence[str] = (), *, but: Container[str] = (), progress: Progress | None = None
) -> list[OutputFinding]:
    """Loads models, and returns whether they still put out what was recorded of them. Nothing is fetched.

    Args:
        names: Models; none: all on this machine.
        but: Models to leave out.
        progress: Told about models as they are done.

    Raises:
        NotFoundError: There is no such model.

    >>> [finding.state for finding in verify_outputs("letters-cnn")]
    ['as recorded']
    """
    names = [names] if isinstance(names, str) else names
    found = {entry.name: entry for entry in [find_entry(name) for name in names] or _on_this_machine()}
    entries = [entry for name, entry in found.items() if name not in but]
    progress = progress or Silent()
    progress.start(len(entries), "models")
    findings = []
    try:
        for entry in entries:
            findings.append(_finding(entry))
            progress.advance(1)
    finally:
        progress.close()
    return findings


def _on_this_machine() -> list[Entry]:
    here = pulled_names()
    return [
        entry
        for name, entry in sorted(all_entries().items())
        if entry.source in ("embedded", "local") or name in here
    ]  # fmt: skip


def _finding(entry: Entry) -> OutputFinding:
    if "load" not in entry.can:
        return OutputFinding(entry.name, "not loadable")
    try:
        model = load_artifact(_what_is_here(entry))
    except OfflineError as error:
        return OutputFinding(entry.name, "not here", message=str(error))
    except MissingClassError as error:  # which is no damage: where the class is known it may be whole
        return OutputFinding(entry.name, "class missing", message=str(error))
    except ZooError as error:
        return OutputFinding(entry.name, "broken", message=str(error), exit_code=error.exit_code)
    if entry.recorded is None:
        return OutputFinding(entry.name, "not recorded")
    off, least = output_difference(model, entry.recorded), tolerance(model)
    if off <= least:
        return OutputFinding(entry.name, "as recorded", off, least)
    message = f"it is {off:.2g} of what the output spans, and {least:.0e} would be none"
    return OutputFinding(entry.name, "differs", off, least, message, exit_code=4)


def _what_is_here(entry: Entry) -> Artifact:
    """Returns the files of a model; where only those below its classifier are here, these."""
    policy = policy_from_environment(offline=True)
    try:
        return pull_entry(entry, policy=policy)
    except OfflineError:
        return pull_entry(entry, headless=True, policy=policy)


def _recorded_shape(shape: tuple[int | None, ...], spec: InputSpec | None, batch: int) -> tuple[int, ...]:
    sizes = spec.size if spec and len(shape) == 4 else (None,) * (len(shape) - 1)
    default = _ANY_SIZE if len(shape) == 4 else _ANY_LENGTH
    return (shape[0] or batch, *(own or wanted or default for own, wanted in zip(shape[1:], sizes, strict=True)))


def _range(model: keras.Model, shape: tuple[int, ...], dtype: str, spec: InputSpec | None) -> tuple[float, float]:
    if dtype == TEXT:
        return 0.0, 0.0
    if dtype == "bool":
        return 0.0, 1.0
    if dtype.startswith(("int", "uint")):
        rows = [layer.input_dim for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
        return 0.0, float(min([_MOST_INTEGER // (2 if dtype == "int8" else 1), *(count - 1 for count in rows)]))
    if len(shape) != 4:
        return -1.0, 1.0
    if spec is None or spec.scale is None or (spec.mean_file and not spec.mean):
        return 0.0, 1.0
    ends = (np.asarray([[0.0], [255.0]]) * spec.scale - np.asarray(spec.mean or 0.0)) / np.asarray(spec.std or 1.0)
    return short(ends.min()), short(ends.max())
