"""TensorFlow judges what was made of its graph: both compute the same for random inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from zoo.converters.importing.conversion import symbols
from zoo.converters.importing.graph import graph_of
from zoo.converters.importing.probing import random_inputs
from zoo.converters.parity import relative_error, run_onnx
from zoo.converters.tensorflow.graphs import Array, PlainGraph

from zoo.errors import IntegrityError, NotConvertible


def errors_against_tensorflow(path: Path, bare: onnx.ModelProto, plain: PlainGraph) -> dict[str, float]:
    """Returns how far a written model is from what TensorFlow computes, by output, relative to the largest value.

    Args:
        path: The file.
        bare: The same without the bytes of weights.
        plain: What it was made of.

    Raises:
        NotConvertible: One of the two does not run.
    """
    asked, said, failure = None, None, None
    for equal in (False, True):
        asked = _inputs(bare, equal)
        try:
            said = plain.run({name: asked[new] for name, new in zip(plain.inputs, asked, strict=True)})
            break
        except Exception as error:  # of TensorFlow, for sizes that were made up
            failure = error
    if said is None or asked is None:
        why = " ".join(str(failure).split())[:300]
        raise NotConvertible(
            f"TensorFlow does not run the graph on random numbers: {why}. Say the sizes of inputs: --shape NAME=..."
        )
    names = [each.name for each in bare.graph.output]
    try:
        (found,) = run_onnx(str(path), [asked], names)
    except IntegrityError as error:
        raise NotConvertible(str(error)) from error
    both = zip(names, plain.outputs, strict=True)
    return {name: relative_error(found[name], np.asarray(said[told])) for name, told in both}


def _inputs(bare: onnx.ModelProto, equal: bool) -> Mapping[str, Array]:
    copy = onnx.ModelProto()
    copy.CopyFrom(bare)
    copy.graph.ClearField("initializer")  # their bytes are not there
    shapes = {each.name: tuple(each.dims) for each in bare.graph.initializer}
    graph = replace(graph_of(copy, with_weights=False), shapes=shapes)
    return random_inputs(graph, symbols(graph, {}), 0, equal)


def refuse_unlike(errors: Mapping[str, float], limit: float) -> None:
    """Refuses a conversion that differs by more than a limit.

    Raises:
        NotConvertible: It does.
    """
    worst = max(errors, key=lambda name: errors[name])
    if not errors[worst] <= limit:
        raise NotConvertible(
            f"What was made of the graph differs from it: {worst!r} by {errors[worst]:.1e} of its largest value, and "
            f"at most {limit:.1e} was expected. Say what is enough (limit=..., --limit)."
        )
