"""One line of the registry: what a pretrained model is, where its files are, and what it wants to see.

Plain data, read from JSON and checked field by field; nothing here opens a model or the network.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from zoo.errors import IntegrityError

Source = Literal["keras", "tfhub", "slim", "caffe", "onnx", "local", "embedded"]
Color = Literal["RGB", "BGR", "gray"]

_SOURCES = ("keras", "tfhub", "slim", "caffe", "onnx", "local", "embedded")
_ROLES = ("weights", "weights_notop", "model", "definition", "archive")
_COLORS = ("RGB", "BGR", "gray")
_RESIZES = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5")
_FITS = ("stretch", "center_crop")
_HASHES = {"sha256": 64, "sha384": 96, "sha1": 40, "md5": 32}


@dataclass(frozen=True)
class InputSpec:
    """What a model wants to see: the size, and pictures made into numbers.

    The order is fixed: resize (and crop), colour order, then `x * scale`, minus `mean`, over `std`, with x in 0..255.

    Attributes:
        size: Height, width (pixels) and channels; None where any will do.
        resizable: Whether the lower units also work at other sizes.
        color: Channel order.
        scale: Factor on pixel values 0..255.
        mean: One value per channel, subtracted after scaling; empty means 0.
        std: One value per channel, divided by last; empty means 1.
        resize: Interpolation.
        fit: `stretch` to the size, or `center_crop` after resizing to `resize_to`.
        resize_to: Height and width (pixels) before the crop; None means the size itself.
        mean_file: A file with a mean picture, where the publisher gives one.
    """

    size: tuple[int | None, int | None, int]
    resizable: bool = False
    color: Color = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: str = "bilinear"
    fit: str = "stretch"
    resize_to: tuple[int, int] | None = None
    mean_file: str | None = None


@dataclass(frozen=True)
class OutputSpec:
    """What a model says: how many classes, and how."""

    classes: int | None = None
    labels: str | None = None
    logits: bool = False
    background: bool = False


@dataclass(frozen=True)
class FileSpec:
    """One file of a model, as its publisher describes it; `hash` is `sha256:<hex>` and the like, or None."""

    role: str
    name: str
    urls: tuple[str, ...] = ()
    hash: str | None = None
    hash_from: str | None = None
    bytes: int | None = None
    member: str | None = None


@dataclass(frozen=True)
class Entry:
    """One pretrained model of the registry."""

    name: str
    source: Source
    arch: str | None
    task: str
    summary: str
    files: tuple[FileSpec, ...]
    input: InputSpec
    output: OutputSpec
    metrics: dict[str, float]
    params: int | None = None
    units: int | None = None
    license: str | None = None
    cite: str | None = None
    origin: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the entry with its name, as `registry.json` would spell it."""
        record = dataclasses.asdict(self)
        record["from"] = record.pop("origin")
        return record


def parse_entry(name: str, record: Any) -> Entry:
    """Returns the entry that `record` (parsed JSON) describes.

    Raises:
        IntegrityError: A field is missing, unknown or of the wrong kind; the message names it.
    """
    fields = _Fields(f"model {name!r}", record)
    entry = Entry(
        name=name,
        source=fields.choice("source", _SOURCES),
        arch=fields.get("arch", str, None),
        task=fields.get("task", str),
        summary=fields.get("summary", str),
        files=tuple(_parse_file(name, file) for file in fields.get("files", list)),
        input=_parse_input(name, fields.get("input", dict)),
        output=_parse_output(name, fields.get("output", dict)),
        metrics=_parse_metrics(name, fields.get("metrics", dict)),
        params=fields.get("params", int, None),
        units=fields.get("units", int, None),
        license=fields.get("license", str, None),
        cite=fields.get("cite", str, None),
        origin=fields.get("from", str, None),
    )
    fields.refuse_rest()
    return entry


def _parse_metrics(name: str, record: dict[str, Any]) -> dict[str, float]:
    fields = _Fields(f"metrics of model {name!r}", record)
    return {key: fields.number(key) for key in record}


def _parse_file(name: str, record: Any) -> FileSpec:
    fields = _Fields(f"a file of model {name!r}", record)
    spec = FileSpec(
        role=fields.choice("role", _ROLES),
        name=fields.get("name", str),
        urls=fields.strings("urls"),
        hash=fields.get("hash", str, None),
        hash_from=fields.choice("hash_from", ("publisher", "third_party", None), None),
        bytes=fields.get("bytes", int, None),
        member=fields.get("member", str, None),
    )
    fields.refuse_rest()
    if spec.hash is not None:
        kind, _, digest = spec.hash.partition(":")
        if _HASHES.get(kind) != len(digest) or set(digest) - set("0123456789abcdef"):
            raise IntegrityError(
                f"The registry's {fields.what} has hash {spec.hash!r}; expected sha256:<64 hex digits> or the like."
            )
    return spec


def _parse_input(name: str, record: Any) -> InputSpec:
    fields = _Fields(f"input of model {name!r}", record)
    spec = InputSpec(
        size=fields.sizes("size", 3, optional=2),
        resizable=fields.get("resizable", bool, False),
        color=fields.choice("color", _COLORS, "RGB"),
        scale=fields.number("scale", 1.0),
        mean=fields.numbers("mean"),
        std=fields.numbers("std"),
        resize=fields.choice("resize", _RESIZES, "bilinear"),
        fit=fields.choice("fit", _FITS, "stretch"),
        resize_to=fields.sizes("resize_to", 2, default=None),
        mean_file=fields.get("mean_file", str, None),
    )
    fields.refuse_rest()
    if 0 in spec.std:
        raise IntegrityError(f"The registry's {fields.what} has a 0 in 'std', which is divided by.")
    for key, values in (("mean", spec.mean), ("std", spec.std)):
        if len(values) not in (0, 1, spec.size[2]):
            raise IntegrityError(
                f"The registry's {fields.what} has {len(values)} values of {key!r} for {spec.size[2]} channels."
            )
    return spec


def _parse_output(name: str, record: Any) -> OutputSpec:
    fields = _Fields(f"output of model {name!r}", record)
    spec = OutputSpec(
        classes=fields.get("classes", int, None),
        labels=fields.get("labels", str, None),
        logits=fields.get("logits", bool, False),
        background=fields.get("background", bool, False),
    )
    fields.refuse_rest()
    return spec


_REQUIRED: Any = object()


class _Fields:
    """Takes checked fields out of a JSON object, and knows which were never asked for."""

    def __init__(self, what: str, record: Any) -> None:
        self.what = what
        if not isinstance(record, dict):
            raise IntegrityError(f"The registry's {what} is {record!r}; expected a JSON object.")
        self._rest = dict(record)

    def get(self, key: str, kind: Any, default: Any = _REQUIRED) -> Any:
        if key not in self._rest:
            if default is _REQUIRED:
                raise IntegrityError(f"The registry's {self.what} has no {key!r}.")
            return default
        value = self._rest.pop(key)
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if wrong and not (value is None and default is None):
            raise IntegrityError(f"The registry's {self.what} has {key!r} = {value!r}, of the wrong kind.")
        return value

    def choice(self, key: str, choices: tuple[Any, ...], default: Any = _REQUIRED) -> Any:
        value = self.get(key, (str, type(None)), default)
        if value not in choices:
            raise IntegrityError(f"The registry's {self.what} has {key!r} = {value!r}; expected one of {choices}.")
        return value

    def sizes(self, key: str, count: int, *, optional: int = 0, default: Any = _REQUIRED) -> Any:
        """Takes `count` whole numbers above 0, of which the first `optional` may be null."""
        values = self.get(key, list, default)
        if values is None:
            return None
        given = [value for number, value in enumerate(values) if value is not None or number >= optional]
        if len(values) != count or not all(type(value) is int and value > 0 for value in given):
            raise IntegrityError(f"The registry's {self.what} has {key!r} = {values!r}; expected {count} sizes.")
        return tuple(values)

    def number(self, key: str, default: Any = _REQUIRED) -> float:
        return _finite(self.what, key, self.get(key, (int, float), default))

    def numbers(self, key: str) -> tuple[float, ...]:
        return tuple(_finite(self.what, key, value) for value in self.get(key, list, []))

    def strings(self, key: str) -> tuple[str, ...]:
        values = self.get(key, list, [])
        if not all(isinstance(value, str) for value in values):
            raise IntegrityError(f"The registry's {self.what} has {key!r} = {values!r}; expected strings.")
        return tuple(values)

    def refuse_rest(self) -> None:
        if self._rest:
            raise IntegrityError(f"The registry's {self.what} has unknown fields: {', '.join(sorted(self._rest))}.")


def _finite(what: str, key: str, value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise IntegrityError(f"The registry's {what} has {key!r} = {value!r}; expected finite numbers.")
    return float(value)
