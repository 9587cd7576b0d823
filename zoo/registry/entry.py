"""One line of the registry: what a pretrained model is, where its files are, and what it wants to see.

Plain data, read from JSON and checked field by field; nothing here opens a model or the network.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal
from urllib.parse import urlsplit

from zoo.errors import IntegrityError
from zoo.names import folded, name_fault, path_fault
from zoo.registry.abilities import Ability, abilities
from zoo.registry.fields import Fields
from zoo.registry.recorded import RecordedOutput, parse_recorded

Source = Literal["keras", "tfhub", "slim", "caffe", "onnx", "local", "embedded"]
Color = Literal["RGB", "BGR", "gray"]

SOURCES: tuple[Source, ...] = ("keras", "tfhub", "slim", "caffe", "onnx", "local", "embedded")
_ROLES = ("weights", "weights_notop", "model", "definition", "archive")
_COLORS = ("RGB", "BGR", "gray")
_RESIZES = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5")
_FITS = ("stretch", "center_crop")
_HASHED_BY = ("publisher", "third_party", "user", None)
_HASHES = {"sha256": 64, "sha384": 96, "sha1": 40, "md5": 32}


@dataclass(frozen=True)
class InputSpec:
    """What a model wants to see: the size, and pictures made into numbers.

    The order is fixed: resize (and crop), colour order, then `x * scale`, minus `mean`, over `std`, with x in 0..255.

    Attributes:
        size: Height, width (pixels) and channels; None where any will do.
        resizable: Whether the lower units also work at other sizes.
        color: Channel order; None where the publisher does not say.
        scale: Factor on pixel values 0..255; None where the publisher does not say how pictures become numbers.
        mean: One value per channel, subtracted after scaling; empty means 0.
        std: One value per channel, divided by last; empty means 1.
        resize: Interpolation; None where the publisher does not say: zoo then resizes bilinearly.
        fit: `stretch` to the size, or `center_crop` after resizing to `resize_to`; None where the publisher does not
            say: zoo then stretches.
        resize_to: Before the crop: height and width (pixels), or one number for the shorter side with the proportions
            kept; None means the size itself.
        mean_file: A file with a mean picture, where the publisher gives one. Nothing here reads it: without `mean`,
            the spec is refused when pictures are to be preprocessed.
    """

    size: tuple[int | None, int | None, int]
    resizable: bool = False
    color: Color | None = "RGB"
    scale: float | None = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: str | None = None
    fit: str | None = None
    resize_to: tuple[int, int] | int | None = None
    mean_file: str | None = None

    @property
    def applied_resize(self) -> str:
        """Returns the interpolation that is applied: the published one, or zoo's own choice."""
        return self.resize or "bilinear"

    @property
    def applied_fit(self) -> str:
        """Returns how pictures are brought to the size: as published, or by zoo's own choice."""
        return self.fit or "stretch"

    def applied(self) -> InputSpec:
        """Returns the spec with zoo's own choice where none is published: what pictures really go through.

        >>> InputSpec((224, 224, 3), fit="center_crop", resize_to=256).applied().resize
        'bilinear'
        """
        return dataclasses.replace(self, resize=self.applied_resize, fit=self.applied_fit)


@dataclass(frozen=True)
class OutputSpec:
    """What a model says.

    Attributes:
        classes: Number of classes; None for a model without a classifier, or where it is not published.
        labels: Name of the list of classes.
        logits: Whether scores come out before softmax; None where it is not published.
        background: Whether class 0 stands for none of the others; None where it is not published.
        features: Length of the vector that a model without a classifier puts out; where `logits` is None, they may be
            the logits of one all the same.
    """

    classes: int | None = None
    labels: str | None = None
    logits: bool | None = False
    background: bool | None = False
    features: int | None = None


@dataclass(frozen=True)
class FileSpec:
    """One file of a model, as its publisher describes it.

    Attributes:
        role: What the file is for: `weights`, `weights_notop`, `model`, `definition` or `archive`.
        name: Its name, without folders.
        urls: Where it is, the primary first; empty where no address is published.
        hash: `sha256:<hex>` and the like, or None where none is published.
        hash_from: Who published the hash: `publisher` or `third_party`; `user`: it is that of what was added here.
        bytes: Its size, or None where that is not published.
        member: The path that matters inside an archive.
        reported: What others reported of its addresses: dead, moved, and since when.
    """

    role: str
    name: str
    urls: tuple[str, ...] = ()
    hash: str | None = None
    hash_from: str | None = None
    bytes: int | None = None
    member: str | None = None
    reported: str | None = None


@dataclass(frozen=True)
class Entry:
    """One pretrained model of the registry.

    Attributes:
        name: Unique; a path of parts between slashes.
        source: Where it comes from.
        arch: Name of its architecture, where it is known.
        task: What it was trained for.
        summary: One line for people.
        files: What can be fetched.
        input: What it wants to see; None where that is no picture, or not published.
        output: What it says.
        metrics: Published accuracies and errors: in percent where the name begins with `imagenet_`, else as a share
            of 1.
        params: Number of parameters of the whole model.
        units: Number of units that `--reuse` and `--freeze` count.
        license: As published.
        cite: Where it was described, such as `arXiv:1409.1556`.
        origin: Where the facts were read (`from` in JSON).
        sources: Where single facts were read that are not from there, by field.
        recorded: What it put out for a fixed random input; None where nobody has recorded that.
        lacks: Layers of its architecture that its weights lack, and that start as in training from scratch.
    """

    name: str
    source: Source
    arch: str | None
    task: str
    summary: str
    files: tuple[FileSpec, ...]
    input: InputSpec | None
    output: OutputSpec
    metrics: dict[str, float]
    params: int | None = None
    units: int | None = None
    license: str | None = None
    cite: str | None = None
    origin: str | None = None
    sources: dict[str, str] = dataclasses.field(default_factory=dict)
    recorded: RecordedOutput | None = None
    lacks: tuple[str, ...] = ()

    @property
    def ends_in_features(self) -> bool:
        """Whether its last unit is no classifier, and can be reused as the others.

        >>> Entry("a", "local", None, "t", "s", (), None, OutputSpec(features=8), {}, None, None).ends_in_features
        True
        """
        has_features = self.output.features is not None and self.output.logits is False
        return self.output.classes is None and (self.source == "tfhub" or has_features)

    @property
    def can(self) -> tuple[Ability, ...]:
        """Returns what this version can do with the model: `pull` its files, `load` it as a Keras model.

        Of a model that was added here there is nothing to pull; where it cannot be loaded either, it is only kept.
        """
        return abilities(self)

    @property
    def top1(self) -> float | None:
        """Returns the published top-1 accuracy on ImageNet in percent; None where there is none."""
        error = self.metrics.get("imagenet_top1_error")
        return self.metrics.get("imagenet_top1", None if error is None else round(100 - error, 2))

    @property
    def bytes(self) -> int | None:
        """Returns the size of all files but headless weights that repeat the others; None where one is unknown."""
        has_whole = any(file.role == "weights" for file in self.files)
        sizes = [file.bytes for file in self.files if file.role != "weights_notop" or not has_whole]
        return sum(size for size in sizes if size) if sizes and None not in sizes else None

    def to_json(self) -> dict[str, Any]:
        """Returns the entry with its name, as `registry.json` would spell it."""
        record = dataclasses.asdict(self)
        record["from"] = record.pop("origin")
        return record


def parse_entry(name: str, record: Any) -> Entry:
    """Returns the entry that `record` (parsed JSON) describes.

    Raises:
        IntegrityError: A field is missing, unknown or of the wrong kind, or two files cannot be told apart; the message
            names it, or both.
    """
    # Half a surrogate pair has no length in bytes: name_fault() cannot judge it.
    if fault := name_fault(name) if name.isprintable() else "it has a character that cannot be printed":
        raise IntegrityError(f"The registry has a model named {name!r}: {fault}.")
    fields = Fields(f"model {name!r}", record)
    entry = Entry(
        name=name,
        source=fields.choice("source", SOURCES),
        arch=fields.get("arch", str, None),
        task=fields.get("task", str),
        summary=fields.get("summary", str),
        files=tuple(_parse_file(name, file) for file in fields.get("files", list)),
        input=_parse_input(name, fields.get("input", dict) if fields.given("input") else None),
        output=_parse_output(name, fields.get("output", dict)),
        metrics=_parse_metrics(name, fields.get("metrics", dict)),
        params=fields.count("params"),
        units=fields.count("units"),
        license=fields.get("license", str, None),
        cite=fields.get("cite", str, None),
        origin=fields.get("from", str, None),
        sources=fields.texts("sources"),
        recorded=parse_recorded(name, fields.get("recorded", dict, None)),
        lacks=fields.strings("lacks"),
    )
    fields.refuse_rest()
    _refuse_twins(name, entry.files)
    return entry


def _refuse_twins(name: str, files: tuple[FileSpec, ...]) -> None:
    """Refuses files that would be taken for each other: by what they are for, or on disks that know no case."""
    for one, other in combinations(files, 2):
        same = "role" if one.role == other.role else "name" if folded(one.name) == folded(other.name) else None
        if same:
            raise IntegrityError(
                f"The registry's model {name!r} has two files of the same {same}: {one.name!r} ({one.role}) and "
                f"{other.name!r} ({other.role})."
            )


def _parse_metrics(name: str, record: dict[str, Any]) -> dict[str, float]:
    fields = Fields(f"metrics of model {name!r}", record)
    return {key: fields.number(key) for key in record}


def _parse_file(name: str, record: Any) -> FileSpec:
    fields = Fields(f"a file of model {name!r}", record)
    spec = FileSpec(
        role=fields.choice("role", _ROLES),
        name=fields.get("name", str),
        urls=fields.strings("urls"),
        hash=fields.get("hash", str, None),
        hash_from=fields.choice("hash_from", _HASHED_BY, None),
        bytes=fields.count("bytes"),
        member=fields.get("member", str, None),
        reported=fields.get("reported", str, None),
    )
    fields.refuse_rest()
    fault = path_fault(spec.name) or ("it has a slash" if "/" in spec.name else None)
    if fault or (spec.member is not None and (fault := path_fault(spec.member))):
        raise IntegrityError(f"The registry's {fields.what} is called {spec.member or spec.name!r}: {fault}.")
    for url in spec.urls:
        if fault := _url_fault(url):
            raise IntegrityError(f"The registry's {fields.what} has the address {url!r} in 'urls': {fault}.")
    if spec.hash is not None:
        kind, _, digest = spec.hash.partition(":")
        if _HASHES.get(kind) != len(digest) or set(digest) - set("0123456789abcdef"):
            raise IntegrityError(
                f"The registry's {fields.what} has hash {spec.hash!r}; expected sha256:<64 hex digits> or the like."
            )
        if spec.hash_from is None:
            raise IntegrityError(
                f"The registry's {fields.what} has a hash, and no 'hash_from'; expected 'publisher', 'third_party' or "
                "'user', for a hash is worth what its source is."
            )
    return spec


def _url_fault(url: str) -> str | None:
    """Returns why nothing can be asked for at `url`, or None where something can."""
    if not url.isprintable():  # urlsplit() would pass over them in silence
        return "it has a character that cannot be printed"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    return None if host else "it names no host"


def _parse_input(name: str, record: Any) -> InputSpec | None:
    if record is None:
        return None
    fields = Fields(f"input of model {name!r}", record)
    spec = InputSpec(
        size=fields.sizes("size", 3, optional=2),
        resizable=fields.get("resizable", bool, False),
        color=fields.choice("color", (*_COLORS, None), "RGB"),
        scale=fields.number("scale", 1.0) if fields.given("scale") else None,
        mean=fields.numbers("mean"),
        std=fields.numbers("std"),
        resize=fields.choice("resize", (*_RESIZES, None), None),
        fit=fields.choice("fit", (*_FITS, None), None),
        resize_to=fields.size_or_sizes("resize_to"),
        mean_file=fields.get("mean_file", str, None),
    )
    fields.refuse_rest()
    if 0 in spec.std:
        raise IntegrityError(f"The registry's {fields.what} has a 0 in 'std', which is divided by.")
    if spec.color is not None and (spec.color == "gray") != (spec.size[2] == 1):
        raise IntegrityError(f"The registry's {fields.what} is {spec.color} with {spec.size[2]} channels.")
    for key, values in (("mean", spec.mean), ("std", spec.std)):
        if len(values) not in (0, 1, spec.size[2]):
            raise IntegrityError(
                f"The registry's {fields.what} has {len(values)} values of {key!r} for {spec.size[2]} channels."
            )
    return spec


def _parse_output(name: str, record: Any) -> OutputSpec:
    fields = Fields(f"output of model {name!r}", record)
    spec = OutputSpec(
        classes=fields.count("classes"),
        labels=fields.get("labels", str, None),
        logits=fields.get("logits", bool, False) if fields.given("logits") else None,
        background=fields.get("background", bool, False) if fields.given("background") else None,
        features=fields.count("features"),
    )
    fields.refuse_rest()
    return spec
