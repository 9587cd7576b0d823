"""ONNX to Keras, with proof: what `zoo.converters.onnx_to_keras` does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import onnx
from zoo.converters.importing.asking import asked_model
from zoo.converters.importing.conversion import Converted, convert_graph, refuse_unknown, symbols
from zoo.converters.importing.cuts import graph_below
from zoo.converters.importing.folding import refuse_huge_constants
from zoo.converters.importing.graph import Array, Graph, graph_of
from zoo.converters.importing.measuring import refuse_huge_values
from zoo.converters.importing.patterns import PATTERNS
from zoo.converters.importing.probing import probes, random_inputs
from zoo.converters.importing.rewriting import rewritten
from zoo.converters.importing.values import OPEN_BATCH, Tensor
from zoo.converters.onnx_files import read_onnx
from zoo.converters.parity import checked_limit, relative_error, run_onnx
from zoo.converters.report import ConversionReport

from zoo.errors import IntegrityError, UsageError, ZooError

Dims = Mapping[str, Sequence[Any]]  # the sizes of inputs: numbers, and symbols for those that vary


@dataclass(frozen=True)
class Judged:
    """What the original said: for each time it was asked, what went in and what came out, by the names in ONNX."""

    runs: tuple[tuple[dict[str, Array], dict[str, Array]], ...]

    def together(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Returns all runs as one on a larger batch."""
        (ins, outs), *_ = self.runs
        given = {name: np.concatenate([run[0][name] for run in self.runs]) for name in ins}
        return given, {name: np.concatenate([run[1][name] for run in self.runs]) for name in outs}


def onnx_to_keras(
    model: onnx.ModelProto | str | os.PathLike[str],
    *,
    until: str | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    examples: Mapping[str, Array] | None = None,
    limit: float = 1e-4,
    name: str | None = None,
) -> tuple[keras.Model, ConversionReport]:
    """Returns an ordinary functional model of Keras that computes what a model of ONNX computes, and how well.

    Pictures go in and come out `channels_last`, and so does what has channels where pictures have them; all else is as
    ONNX has it. The report's `layouts` say which. Layers are named after the nodes. A batch size that is fixed becomes
    open where that changes nothing.

    Args:
        model: The model, or the path of its file.
        until: The name of the last node to convert: its first output is the model's.
        shapes: The sizes of inputs, as ONNX has them, by name; None for one that varies. They are needed where the file
            leaves open what a layer of Keras must know.
        examples: Arrays to compare both with, by the inputs' names, as ONNX has them; random ones otherwise.
        limit: The largest error that passes, relative to the largest value of an output.
        name: That of the model; the graph's otherwise.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: The file is damaged; an operator is unknown, newer than known or asks for what cannot be done;
            or the result differs by more than the limit.
        UnsafeFileError: The file could do harm.
        UsageError: `until` names no node, or `shapes` or `examples` no input, or `limit` is none.
    """
    checked_limit(limit)
    proto = read_onnx(model)
    sketch = graph_of(proto, with_weights=False)
    outputs = _outputs(sketch, until)
    sketch = graph_below(sketch, outputs)
    dims = _dims(sketch, shapes or {})
    refuse_unknown(sketch)
    refuse_huge_constants(sketch)
    wanted = [*outputs, *probes(sketch, outputs)]
    judged = _judged(proto, sketch, dims, wanted, examples)
    title = name or re.sub("[^A-Za-z0-9_]+", "_", proto.graph.name).strip("_") or "model"
    graph = rewritten(graph_below(graph_of(proto), wanted), wanted, PATTERNS)
    del proto
    batch, failures = _fixed_batch(dims), list[ZooError]()
    for given, expected, tried in _attempts(dims, judged, outputs):
        try:
            converted = convert_graph(graph, wanted, tried, None if tried is dims else batch)
            errors = _errors(converted, given, expected)
            _refuse_unlike(errors, limit)
        except ZooError as error:
            failures.append(error)
            continue
        notes = _notes(converted, batch if tried is dims else None, failures, expected)
        return _model(converted, outputs, title), _report(converted, errors, outputs, notes)
    raise failures[-1]


def _notes(
    converted: Converted, batch: int | None, failures: Sequence[ZooError], expected: Mapping[str, Array]
) -> tuple[str, ...]:
    """Returns what was decided, for people: how often where it is more than once."""
    found = [f"{text[0].upper()}{text[1:]} ({count} times)." for text, count in converted.notes.items()]
    if batch is not None:
        reason = f" With another: {failures[0]}" if failures else " Nothing shows that another would do."
        found.append(f"The batch size stays {batch}, as the file has it.{reason}")
    for name, array in expected.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            found.append(
                f"On random input {name!r} is not finite, and tells little. Give better ones: examples={{...}}"
            )
    return tuple(found)


def _outputs(graph: Graph, until: str | None) -> list[str]:
    if until is None:
        if not graph.outputs:
            raise IntegrityError("Nothing comes out of the model. Export it again.")
        return list(graph.outputs)
    found = [node for node in graph.nodes if node.name == until] or [n for n in graph.nodes if until in n.outputs]
    if not found:
        known = ", ".join(repr(node.name) for node in graph.nodes[-5:])
        raise UsageError(
            f"Expected the name of a node for until (--until); the graph has no {until!r}. Its last ones are {known}."
        )
    return [next(each for each in found[0].outputs if each)]


def _dims(graph: Graph, shapes: Mapping[str, Sequence[int | None]]) -> dict[str, list[Any]]:
    if odd := sorted(set(shapes) - set(graph.inputs)):
        known = ", ".join(map(repr, graph.inputs))
        raise UsageError(f"Expected shapes (--shape) for {known}; got some for {odd[0]!r}.")
    return symbols(graph, shapes)


def _judged(
    proto: onnx.ModelProto, graph: Graph, dims: Dims, wanted: Sequence[str], examples: Mapping[str, Array] | None
) -> Judged:
    if examples is not None and set(examples) != set(graph.inputs):
        raise UsageError(
            f"Expected examples for {', '.join(map(repr, graph.inputs))}; got {', '.join(map(repr, examples))}."
        )
    data, weights = None, None
    failure: IntegrityError | None = None
    for given in _questions(graph, dims, examples):
        refuse_huge_values(proto, graph, given[0])
        if data is None:
            data, weights = asked_model(proto, graph, wanted)
        try:
            return Judged(tuple(zip(given, run_onnx(data, given, wanted, weights), strict=True)))
        except IntegrityError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _questions(graph: Graph, dims: Dims, examples: Mapping[str, Array] | None) -> Iterator[list[dict[str, Array]]]:
    """Yields what the original may be asked, the best first; it may refuse what was made up.

    Of a fixed batch it is asked twice: that several runs are one run of the result shows that the batch may be open.
    """
    is_fixed = _fixed_batch(dims) is not None
    if examples is not None:
        if is_fixed:
            yield [dict(examples), random_inputs(graph, dims, 1)]
        yield [dict(examples)]
        return
    for equal in (False, True):
        yield [random_inputs(graph, dims, seed, equal) for seed in ((0, 1) if is_fixed else (0,))]


def _fixed_batch(dims: Dims) -> int | None:
    """Returns the batch size that all inputs share and a file has fixed; None where there is none, or it is open."""
    first = {sizes[0] if sizes else None for sizes in dims.values()}
    batch = first.pop() if len(first) == 1 else None
    return batch if isinstance(batch, int) and all(len(sizes) > 1 for sizes in dims.values()) else None


def _attempts(
    dims: Dims, judged: Judged, outputs: Sequence[str]
) -> Iterator[tuple[dict[str, Array], dict[str, Array], Dims]]:
    """Yields examples, what they should become, and sizes of inputs: first with a batch size that is open.

    Whether a fixed batch may be open is tried: several runs of the original must be one run of the result.
    """
    batch = _fixed_batch(dims)
    first = judged.runs[0]
    is_proof = len(judged.runs) > 1 and all(each.ndim and len(each) == batch for each in first[1].values())
    if batch is not None and is_proof:
        yield *judged.together(), {name: [OPEN_BATCH, *sizes[1:]] for name, sizes in dims.items()}
    yield *first, dims


def _errors(converted: Converted, given: Mapping[str, Array], expected: Mapping[str, Array]) -> dict[str, float]:
    """Returns how far a converted graph is from the original, for each value that was compared."""
    tensors = {name: value for name, value in converted.values.items() if isinstance(value, Tensor)}
    whole = keras.Model([each.keras for each in converted.inputs.values()], [each.keras for each in tensors.values()])
    x = [keras.ops.convert_to_tensor(each.layout.arrange(given[name])) for name, each in converted.inputs.items()]
    try:
        found = keras.tree.flatten(whole(x, training=False))
    except Exception as error:  # of many kinds; with a batch size that is open, another may do
        reason = " ".join(str(error).split())[:400]
        raise IntegrityError(f"The converted model does not run on what the original runs on: {reason}") from error
    return {
        name: relative_error(tensor.layout.restore(np.asarray(each)), expected[name])
        for (name, tensor), each in zip(tensors.items(), found, strict=True)
    }


def _refuse_unlike(errors: Mapping[str, float], limit: float) -> None:
    worst = max(errors, key=lambda name: errors[name])
    if not errors[worst] <= limit:
        raise IntegrityError(
            f"The converted model differs from the original: {worst!r} by {errors[worst]:.1e} of its largest value, "
            f"and at most {limit:.1e} was expected. Convert less of it (until=..., --until), or say what is enough "
            "(limit=..., --limit)."
        )


def _model(converted: Converted, outputs: Sequence[str], title: str) -> keras.Model:
    ins = [each.keras for each in converted.inputs.values()]
    outs = [converted.values[name].keras for name in outputs]
    return keras.Model(ins[0] if len(ins) == 1 else ins, outs[0] if len(outs) == 1 else outs, name=title)


def _report(
    converted: Converted, errors: Mapping[str, float], outputs: Sequence[str], notes: tuple[str, ...]
) -> ConversionReport:
    model = _model(converted, outputs, "counted")
    held = {**converted.inputs, **{name: converted.values[name] for name in outputs}}
    return ConversionReport(
        operators=dict(converted.operators),
        layers=len(model.operations),
        parameters=model.count_params(),
        transpositions=converted.transpositions,
        error=max(errors.values()),
        errors=dict(errors),
        layouts={name: value.layout.order for name, value in held.items()},
        notes=notes,
    )
