"""What a long step tells about its progress. Only the command line draws it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one long step after the other."""

    def start(self, total: int | None, unit: str) -> None:
        """Begins a step of `total` (None where that is not known) pieces of `unit`."""

    def expect(self, total: int) -> None:
        """The step turns out to have `total` pieces: a server has said how long its file is."""

    def advance(self, n: int, **figures: float) -> None:
        """`n` more pieces are done; `figures` are the newest values worth showing."""

    def close(self) -> None:
        """Ends the step, whether it succeeded or not."""


class Silent:
    """A progress that nobody watches."""

    def start(self, total: int | None, unit: str) -> None:
        """Does nothing."""

    def expect(self, total: int) -> None:
        """Does nothing."""

    def advance(self, n: int, **figures: float) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""
