"""What restoring says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_FEW = 6
_LONGEST = 120  # characters


@dataclass(frozen=True)
class RestoreReport:
    """What became of the variables of a model, and of those of a source.

    Attributes:
        loaded: The model's variables that now have the values of the source, in the model's order.
        left: The model's variables that `include` and `exclude` left alone.
        missing: The model's variables that were wanted, and that the source does not have; they are as they were.
        unused: What the source has beside: counters of steps, what an optimizer keeps, parts of other nets.
        names: What each variable that was loaded is called in the source.
    """

    loaded: tuple[str, ...]
    left: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} of the model's variables loaded"]
        for names, what in (
            (self.left, "left alone"),
            (self.missing, "missing in the source"),
            (self.unused, "of the source unused"),
        ):
            if names:
                parts.append(f"{len(names)} {what} ({few(names)})")
        return "; ".join(parts)


def few(names: tuple[str, ...] | list[str]) -> str:
    """Returns names as people list them, the first few of them.

    >>> few(["a", "b"])
    'a, b'
    """
    return ", ".join(map(spoken, names[:_FEW])) + (", ..." if len(names) > _FEW else "")


def spoken(name: str) -> str:
    """Returns a name out of a file as it may stand in a message: on one line, and no longer than one.

    >>> spoken("hidden1/kernel")
    'hidden1/kernel'
    """
    whole = name if name.isprintable() else ascii(name)
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}..."
