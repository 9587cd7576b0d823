"""What features are kept under: a key of everything that changes them, and of nothing that does not.

The key covers what the trunk computes (digests of its units), the tap, the storage dtype, the actual input size,
preprocessing, the augmented view, the computing precision and the format. Library versions stand in the shards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from zoo.data import Examples
from zoo.data.preprocessing import preprocessed_shape
from zoo.errors import DataError
from zoo.features.spec import FORMAT, FeatureSpec
from zoo.surgery import Trunk

__all__ = ["FORMAT", "FeatureSpec", "feature_spec"]


def feature_spec(
    trunk: Trunk,
    digest: str,
    examples: Examples,
    dtype: str,
    precision: str = "float32",
    view: int | Mapping[str, Any] = 0,
) -> FeatureSpec:
    """Returns what the features of `examples` are, put out by `trunk` (whose last digest is `digest`).

    Args:
        trunk: What puts them out.
        digest: Of its units.
        examples: Whose features they are.
        dtype: Storage dtype.
        precision: What the engine computes a float32 trunk in.
        view: Which augmented version of the examples.
    """
    spec = trunk.preprocessing.applied() if trunk.preprocessing else None  # what is done counts, not who said so
    input_shape = preprocessed_shape(spec, examples.shape, trunk.cuts[0].shape[1:])
    shape = trunk.output_shape(input_shape)
    if None in shape:
        raise DataError(
            f"Features of {trunk.name} at unit {trunk.depth} have shape {list(shape)}: maps of pictures of several "
            "sizes cannot be kept together. Give them one size, or freeze all that is reused, so that they are pooled."
        )
    return FeatureSpec(
        model=trunk.name,
        unit=trunk.depth,
        unit_name=trunk.unit_names[-1],
        digest=digest,
        tap=trunk.tap,
        shape=tuple(size or 0 for size in shape),
        dtype=dtype,
        input_shape=input_shape,
        preprocessing={"input": dataclasses.asdict(spec) if spec else None, "decoding": examples.decoding},
        view=view,
        precision=precision if precision != "float32" else str(trunk.output.dtype),
    )
