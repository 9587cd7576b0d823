"""What models of other formats became, kept beside what they were made of: `converted/<sha256 of the weights>/<key>/`.

The key stands for the definition and for the version of the converter. A folder appears whole, by one rename, with an
`about.json` that has the digests of its files; one that is not as that says is made anew.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.files import disk_errors, flush, make_folder, put_in_place, sha256_of, temporary_name
from zoo.store.documents import read_json
from zoo.store.layout import Layout, layout, prepare, refuse_link, refuse_without_room, short_key
from zoo.store.locks import locked

_ABOUT = "about.json"
_SCHEMA = 1


@dataclass(frozen=True)
class Conversion:
    """A conversion of which the result is kept.

    Attributes:
        weights: The sha256 (hex) of the weights.
        definition: That of what says what the weights are of.
        settings: What else decides about the result, such as a size that the definition leaves open.
        converter: What converts, and its version: another one's result takes the place of this one's.
        names: What files come of it.
    """

    weights: str
    definition: str
    settings: str
    converter: str
    names: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Returns where the result is, or would be."""
        return layout().converted / self.weights / short_key(self.definition, self.settings, self.converter)

    def find(self, name: str) -> Path | None:
        """Returns one of the files where it is as it was written; it is read through.

        Raises:
            UnsafeFileError: A link stands in its place.
        """
        path = self.folder / name
        for each in (self.folder.parent, self.folder, path):
            refuse_link(each)
        about = read_json(self.folder / _ABOUT)
        files = about.get("files") if isinstance(about, dict) and about.get("schema") == _SCHEMA else None
        digest = files.get(name) if isinstance(files, dict) else None
        with contextlib.suppress(OSError):
            return path if isinstance(digest, str) and sha256_of(path) == digest else None
        return None

    @contextlib.contextmanager
    def making(self, room: int) -> Iterator[Path]:
        """Gives a folder to write the files in, which is kept when the context is left without an error.

        Args:
            room: How many bytes they will take, about.

        Raises:
            DiskError: The store takes them not.
        """
        paths = layout()
        with disk_errors(paths.home):
            prepare(paths)
            refuse_without_room(room, "the converted model", paths.home)
            new = temporary_name(paths.tmp / self.weights)
            (new / "files").mkdir(parents=True, mode=0o700)
        try:
            with disk_errors(paths.home):
                yield new / "files"
                self._keep(new / "files")
        finally:
            shutil.rmtree(new, ignore_errors=True)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Holds the conversion against other processes, which wait for what this one makes."""
        paths = layout()
        prepare(paths)
        with locked(paths.lock("converted", self.weights, self.definition), "convert a model"):
            yield

    def _keep(self, files: Path) -> None:
        about = {
            "schema": _SCHEMA,
            "weights": self.weights,
            "definition": self.definition,
            "settings": self.settings,
            "converter": self.converter,
            "files": {name: sha256_of(files / name) for name in self.names},
        }
        (files / _ABOUT).write_text(json.dumps(about, indent=1) + "\n")
        files.chmod(0o755)
        make_folder(self.folder.parent)
        put_in_place(files, self.folder)
        for other in self.folder.parent.iterdir():
            if other != self.folder and self._is_of_another_version(other):
                _remove(other)

    def _is_of_another_version(self, folder: Path) -> bool:
        """Returns whether another folder has the result for the same files: then another converter made it."""
        about = read_json(folder / _ABOUT)
        return isinstance(about, dict) and all(
            about.get(name) == getattr(self, name) for name in ("weights", "definition", "settings")
        )


def remove_converted(paths: Layout, digest: str) -> None:
    """Removes what was made of weights with this sha256 (hex); nobody ever sees half of it."""
    _remove(paths.converted / digest)


def _remove(folder: Path) -> None:
    aside = temporary_name(layout().tmp / folder.name)
    with disk_errors(folder), contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
        flush(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)
