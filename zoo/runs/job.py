"""A job: what one transfer was asked to do and works on, prepared before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data import Examples, Split
from zoo.data.augmentation import Augmentation
from zoo.data.bad_files import BadFile
from zoo.errors import UsageError
from zoo.registry import InputSpec
from zoo.surgery import Depth, Head, Pool, Surgery
from zoo.training import FitSettings, Part

if TYPE_CHECKING:
    import keras

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Settings:
    """Everything, beside the model and the data, that decides a transfer's result."""

    reuse: Depth = "all"
    freeze: Depth | None = None
    hidden: tuple[int, ...] = ()
    pool: Pool = "avg"
    train_batchnorm: bool = False
    train_per_class: int | None = None
    seed: int = 0
    views: int = 0
    allow_nonfinite: bool = False
    fit: FitSettings = field(default_factory=FitSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"Expected a seed of 0 to {2**31 - 1}; got {self.seed}.")
        if self.views < 0:
            raise UsageError(f"Expected a number of views of 0 or more; got {self.views}.")

    @property
    def augmentation(self) -> Augmentation:
        """How training pictures are varied, where `views` are wanted."""
        return Augmentation(seed=self.seed)

    def head(self, classes: int) -> Head:
        """Returns the head that they ask for."""
        return Head(classes, self.hidden, self.pool, seed=self.seed)


@dataclass(frozen=True)
class Origin:
    """Where a model came from: its name, the kind of source, digests of its files by name, what it wants to see."""

    name: str
    source: str
    files: dict[str, str]
    spec: InputSpec | None


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

    @property
    def bad(self) -> tuple[BadFile, ...]:
        """All that was passed over."""
        return (*self.examples.bad, *self.unread)

    def part(self, name: str, x: Any) -> Part:
        """Returns the part `train`, `validation` or `test`, as rows of `x`; training examples with all their views."""
        versions = self.settings.views + 1 if name == "train" and self.surgery.trunk else 1
        return Part(x, self.examples.labels, getattr(self.split, name), versions)

    def views(self) -> dict[str, Any]:
        """Returns which augmented versions there are of which examples, as `FeatureCache` wants to be told."""
        return {
            "views": self.settings.views,
            "augmentation": self.settings.augmentation,
            "augmented": self.split.train,
        }

    def counts(self) -> dict[str, int]:
        """Returns the number of examples in each part."""
        return {name: len(getattr(self.split, name)) for name in PARTS}
