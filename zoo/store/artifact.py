"""Artifacts: the verified files of one model, ready to be read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import NotFoundError
from zoo.registry import Entry, FileSpec
from zoo.store.locks import in_use


@dataclass(frozen=True)
class Artifact:
    """The verified files of one entry on this machine.

    Attributes:
        entry: The entry.
        files: Paths by role. In the store they are named by their content; the entry has their published names.
        folder: Where the entry's archive was extracted, if it has one.
        unpublished: Files that it needs too, but of which nobody published an address.
    """

    entry: Entry
    files: dict[str, Path]
    folder: Path | None = None
    unpublished: tuple[FileSpec, ...] = ()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Keeps the files from being removed (`zoo rm`, `zoo gc`) while they are read.

        Raises:
            NotFoundError: They were removed since they were pulled.
        """
        with contextlib.ExitStack() as stack:
            try:
                for path in self.files.values():
                    stack.enter_context(in_use(path))
            except FileNotFoundError as error:
                raise NotFoundError(
                    f"{self.entry.name} has been removed from the store. Fetch it again: zoo pull {self.entry.name}"
                ) from error
            yield
