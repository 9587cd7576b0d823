"""What one folder of the feature cache holds, as its spec.json says. It needs no model and no TensorFlow."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import IntegrityError
from zoo.files import open_regular

if TYPE_CHECKING:
    from zoo.surgery import Tap

FORMAT = 1
_MOST = 1 << 20
_FOR_PEOPLE = ("model", "unit", "unit_name", "shape")


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
        return spec_key(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Returns the spec as plain data."""
        record: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return record


def spec_key(record: Mapping[str, Any]) -> str:
    """Returns the key that features with this spec.json belong under."""
    counted = {name: value for name, value in record.items() if name not in _FOR_PEOPLE}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


def read_spec(folder: Path) -> dict[str, Any]:
    """Returns a folder's spec.json.

    Raises:
        IntegrityError: It cannot be read, is a link, or is not what the folder's name says.
    """
    path = folder / "spec.json"
    try:
        with open_regular(path) as file:
            data = file.read(_MOST + 1)
        if len(data) > _MOST:
            raise ValueError(f"more than {_MOST} bytes")
        record = json.loads(data)
        if not isinstance(record, dict) or spec_key(record) != folder.name:
            raise ValueError("it does not belong to the key that its folder is named by")
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} is no description of these features: {error}.") from error
    return record
