"""What the user says of a model that is added, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo.registry import Entry, InputSpec

Size = Sequence[int | None]
# Returns how pictures become numbers, as `preprocess` says it, or None: not known. Asked with what is known of the
# input, and with what points to an answer.
Ask = Callable[[InputSpec, str], str | None]


@dataclass(frozen=True)
class Added:
    """A model that was added.

    Attributes:
        entry: Its entry, now in the user's own registry.
        format: Of which format its files are, for people.
        notes: What is worth knowing of it, and what to do about that.
        nonfinite: Its layers with weights that are NaN or infinite.
    """

    entry: Entry
    format: str
    notes: tuple[str, ...] = ()
    nonfinite: tuple[str, ...] = ()


@dataclass(frozen=True)
class OfRun:
    """What a run tells of its own model.

    Attributes:
        summary: One line for people.
        origin: Where it came from.
        labels: Name of the list of its classes; None: it has none.
        input: What its net wants to see; None: no pictures.
    """

    summary: str
    origin: str
    labels: str | None
    input: InputSpec | None


@dataclass(frozen=True)
class Told:
    """What the user says of a model."""

    name: str
    arch: str | None
    size: tuple[int | None, ...] | None
    preprocess: str | None
    numbers: dict[str, Any]
    labels: str | None
    logits: bool
    summary: str | None
    license: str | None
    allow_partial: bool
    ask: Ask | None
    run: OfRun | None = None
    signature: str | None = None
    tensors: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    activation: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int | None]] | None = None
    limit: float | None = None
    handle: str | None = None  # the address of the module, where it is one of TF Hub

    @property
    def tells_preprocessing(self) -> bool:
        """Returns whether anything was said of how pictures become numbers."""
        return self.preprocess is not None or any(value is not None for value in self.numbers.values())

    @property
    def names_definition(self) -> bool:
        """Returns whether `arch` is a file that describes the net."""
        return self.arch is not None and self.arch.casefold().endswith((".json", ".keras"))

    @property
    def chooses_variables(self) -> bool:
        """Returns whether it was said which variables of a file of weights are wanted, or what they are called."""
        return any(self.variables.values())

    @property
    def tells_net(self) -> bool:
        """Returns whether anything was said of which net the values of a file of weights are."""
        return bool(self.arch or self.activation or self.chooses_variables)
