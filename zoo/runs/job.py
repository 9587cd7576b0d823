"""A job: what one transfer was asked to do and works on, prepared before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data import Examples, Rows, Split
from zoo.data.augmentation import Augmentation
from zoo.data.bad_files import BadFile
from zoo.errors import UsageError
from zoo.features import Features
from zoo.garbage import without_collection
from zoo.registry import InputSpec
from zoo.runs.facts import counts
from zoo.surgery import Depth, Head, Pool, Surgery, Units
from zoo.training import FitSettings, Objective, Part, Unfreeze
from zoo.training.objectives import target_scale
from zoo.training.standardizing import Standard

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Settings:
    """Everything, beside the model and the data, that decides a transfer's result."""

    reuse: Depth = "all"
    freeze: Depth | None = None
    hidden: tuple[int, ...] = ()
    pool: Pool = "avg"
    activation: str = "relu"
    dropout: float = 0.0
    batchnorm: bool = False
    train_batchnorm: bool = False
    train_per_class: int | None = None
    seed: int = 0
    views: int = 0
    allow_nonfinite: bool = False
    calibrate: bool = False
    unfreeze: Unfreeze = field(default_factory=Unfreeze)
    fit: FitSettings = field(default_factory=FitSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"Expected a seed of 0 to {2**31 - 1}; got {self.seed}.")
        if self.views < 0:
            raise UsageError(f"Expected a number of views of 0 or more; got {self.views}.")
        if self.batchnorm and not self.hidden:
            raise UsageError("Expected hidden layers (--hidden 64) with --batchnorm, which stands in those.")

    @property
    def augmentation(self) -> Augmentation:
        """How training pictures are varied, where `views` are wanted."""
        return Augmentation(seed=self.seed)

    def head(self, examples: Examples, train: Rows) -> Head:
        """Returns the head that they ask for, for examples of which `train` are trained on."""
        center: tuple[float, ...] = (0.0,)
        spread: tuple[float, ...] = (1.0,)
        if examples.task == "regression":
            center, spread = (tuple(map(float, each)) for each in target_scale(examples.labels[train]))
        return Head(
            len(examples.classes), self.hidden, self.pool, self.activation, self.seed, self.dropout, self.batchnorm,
            examples.task, center, spread,
        )  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """Where a model came from.

    Attributes:
        name: What users call it.
        source: The kind of source.
        files: Digests of its files by name.
        spec: What it wants to see.
        trained_on: Of a run that was added: what it was trained on, as `zoo.data.seen` packs it.
    """

    name: str
    source: str
    files: dict[str, str]
    spec: InputSpec | None
    trained_on: str | None = None


@dataclass(frozen=True)
class Job:
    """What one transfer works on.

    Attributes:
        origin: Where the model came from.
        model: The model itself; never changed.
        examples: Those that some part of the split uses.
        split: Which of them train, validate and test.
        surgery: The model cut as the settings say.
        settings: What was asked for.
        out: The folder of the run, if it is free.
        missing: Files of the model that must be fetched first: it has no weights yet, and can only be looked at.
        warnings: What is odd about the data.
        unread: Examples that turned out not to be readable only when they were to be decoded.
        whole: The units of the whole net, where `model` is only the lower part of it.
        standard: What the features become before they enter the head; None: they stay.
    """

    origin: Origin
    model: keras.Model
    examples: Examples
    split: Split
    surgery: Surgery
    settings: Settings
    out: Path
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unread: tuple[BadFile, ...] = ()
    whole: Units | None = None
    standard: Standard | None = None

    @property
    def bad(self) -> tuple[BadFile, ...]:
        """All that was passed over."""
        return (*self.examples.bad, *self.unread)

    def part(self, name: str, x: Any) -> Part:
        """Returns the part `train`, `validation` or `test`, as rows of `x`; training examples with all their views."""
        versions = self.settings.views + 1 if name == "train" and isinstance(x, Features) else 1
        return Part(x, self.examples.labels, getattr(self.split, name), versions, self.examples.paths)

    def head(self, standard: Standard | None = None) -> Head:
        """Returns the head that the settings ask for, whose features become what `standard` says."""
        head = self.settings.head(self.examples, self.split.train)
        return replace(head, scale=standard.scale, offset=standard.offset) if standard else head

    def cut(self, reuse: int, freeze: int, head: Head | None = None) -> Surgery:
        """Returns the model cut anew, otherwise as the settings say; with their head, or another."""
        with without_collection():
            return Surgery(
                self.model, reuse, freeze, head or self.head(self.standard),
                preprocessing=self.origin.spec, train_batchnorm=self.settings.train_batchnorm, whole=self.whole,
                name=self.origin.name,
            )  # fmt: skip

    def objective(self) -> Objective:
        """Returns what training minimizes."""
        examples = self.examples
        targets = examples.labels[self.split.train]
        return Objective(examples.task, self.settings.fit.loss, targets, examples.classes)

    def views(self) -> dict[str, Any]:
        """Returns which augmented versions there are of which examples, as `FeatureCache` wants to be told."""
        return {
            "views": self.settings.views,
            "augmentation": self.settings.augmentation,
            "augmented": self.split.train,
        }

    def counts(self) -> dict[str, int]:
        """Returns the number of examples in each part."""
        return counts(self.split)
