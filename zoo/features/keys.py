"""What features are kept under: a key of everything that changes them, and of nothing that does not.

The key covers what the trunk computes (digests of its units), the tap, the storage dtype, the actual input size,
preprocessing, the augmented view, the computing precision and the format. Library versions stand in the shards.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.data import Examples
from zoo.data.preprocessing import preprocessed_shape
from zoo.errors import DataError
from zoo.surgery import Tap, Trunk

FORMAT = 1


@dataclass(frozen=True)
class FeatureSpec:
    """What one folder of the feature cache holds.

    Attributes:
        model: Name of the model (for people; the digest counts).
        unit: Number of the unit whose output is kept.
        unit_name: Its name (for people).
        digest: Digest of the units up to this one.
        tap: `map`, or the pooling applied.
        shape: Shape of one example's features.
        dtype: Storage dtype.
        input_shape: Shape of a preprocessed example.
        preprocessing: How examples are decoded and made what the model wants to see.
        view: 0, or the number of the augmented version and how it was made.
        precision: What the trunk computed in.
        format: Version of the folder's format.
    """

    model: str
    unit: int
    unit_name: str
    digest: str
    tap: Tap
    shape: tuple[int, ...]
    dtype: str
    input_shape: tuple[int | None, ...]
    preprocessing: Mapping[str, Any]
    view: int | Mapping[str, Any] = 0
    precision: str = "float32"
    format: int = FORMAT

    @property
    def key(self) -> str:
        """The name of the folder: sha256 (hex) of all that changes the features."""
        record = self.to_json()
        for only_for_people in ("model", "unit", "unit_name", "shape"):
            del record[only_for_people]
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Returns the spec as plain data."""
        record: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return record


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
