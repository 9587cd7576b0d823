"""The files of SavedModels that layers are: each read once in a process, and copied where it would soon be gone."""

from __future__ import annotations

import math
import os
import shutil
import threading
import weakref
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from zoo.errors import IntegrityError
from zoo.files import disk_errors, temporary_name
from zoo.loading.endpoints import Endpoint, endpoint_of, opened_saved_model
from zoo.loading.unchanged import files_below, unchanged
from zoo.store.guards.checkpoints import checkpoint_outline
from zoo.store.guards.keras_archive import unpacking_folder
from zoo.store.guards.keras_assets import saved_model_digest
from zoo.store.guards.saved_models import check_saved_model_folder
from zoo.store.unpacking import shown

_NO_VALUES = ("string", "variant", "int64")  # of a checkpoint: what its object graph and its counters are


class Content:
    """The files of a SavedModel, and what TensorFlow makes of them: once in a process.

    Args:
        folder: Where they lie.
        sha256: Their digest.
        name: What they are called in messages.

    Attributes:
        sha256: As above.
    """

    def __init__(self, folder: Path, sha256: str, name: str) -> None:
        self._folder, self.sha256, self._name, self._is_private = folder, sha256, name, False
        self._endpoints: dict[tuple[str | None, str | None], tuple[Endpoint, Callable[[Any], Any]]] = {}

    def endpoint(self, signature: str | None, output: str | None) -> tuple[Endpoint, Callable[[Any], Any]]:
        """Returns what is called, and how; see `endpoint_of`.

        Raises:
            UsageError: There is no such signature or output, or several and none was said.
            IntegrityError: It takes or gives something else than one tensor with an example in each row.
        """
        module = self.module
        if (known := self._endpoints.get((signature, output))) is not None:
            return known
        try:
            endpoint, run = endpoint_of(module, signature, output)
        except IntegrityError as error:
            raise IntegrityError(
                f"{self._name} cannot be used as one layer: {error}. Another signature may do: signature='...'"
            ) from error
        for key in ((signature, output), (endpoint.signature, endpoint.output)):
            self._endpoints[key] = endpoint, run
        return endpoint, run

    @cached_property
    def module(self) -> Any:
        """What TensorFlow makes of it."""
        found = opened_saved_model(self._folder)
        if saved_model_digest(self._folder) != self.sha256:
            raise IntegrityError(f"{self._name} changed while it was read; load it again when nobody writes to it.")
        return found

    @cached_property
    def parameters(self) -> int:
        """How many numbers its variables hold."""
        if not (self._folder / "variables" / "variables.index").is_file():
            return 0
        outline = checkpoint_outline(self._folder / "variables" / "variables")
        return sum(math.prod(each.shape) for each in outline.values() if each.dtype not in _NO_VALUES)

    def lies_in(self, folder: Path) -> None:
        """Tells where the same files lie too: the folder that was told before may be gone by now."""
        if not self._is_private:
            self._folder = folder

    def keep(self, folder: Path) -> None:
        """Copies the files from a folder that will soon be gone; the copy goes with the last who uses it."""
        if self._is_private:
            return
        copy = temporary_name(unpacking_folder() / "saved_model")
        weakref.finalize(self, shutil.rmtree, copy, ignore_errors=True)
        with disk_errors(copy):
            copy.mkdir(mode=0o700)
            _copy_tree(folder, copy, _link)
        self._folder, self._is_private = copy, True

    def write(self, folder: Path) -> None:
        """Writes the files into a folder that is there.

        Raises:
            IntegrityError: They are no longer what they were.
            DiskError: They cannot be written.
        """
        with disk_errors(folder):
            _copy_tree(self._folder, folder)
        if saved_model_digest(folder) != self.sha256:
            raise IntegrityError(
                f"{self._name} is no longer what it was when it was loaded, or there is something else in {folder}. "
                "Load it again, and save the model into a new file."
            )


_KNOWN: weakref.WeakValueDictionary[str, Content] = weakref.WeakValueDictionary()
_LOCK = threading.Lock()


def content_of(folder: Path, name: str) -> Content:
    """Returns the content of a folder, which stays where it is.

    Raises:
        UnsafeFileError: It could do harm.
        IntegrityError: It is no SavedModel, or damaged.
    """
    with unchanged(folder, files_below):
        check_saved_model_folder(folder)
        digest = saved_model_digest(folder)
    with _LOCK:
        content = _KNOWN.get(digest)
        if content is None:
            content = _KNOWN[digest] = Content(folder, digest, name)
        content.lies_in(folder)
    return content


def content_of_assets(folder: Path, sha256: str, name: str) -> Content:
    """Returns the content of a folder that will soon be gone: it is copied, where no copy is here yet.

    Raises:
        UnsafeFileError: It could do harm.
        IntegrityError: It is another one than is wanted, or damaged.
    """
    check_saved_model_folder(folder)
    if (found := saved_model_digest(folder)) != sha256:
        raise IntegrityError(
            f"The SavedModel of layer {shown(name)} is another one than its config says: expected sha256 "
            f"{shown(sha256)}, found {found}. Get the file again, or save the model again."
        )
    with _LOCK:
        content = _KNOWN.get(sha256)
        if content is None:
            content = _KNOWN[sha256] = Content(folder, sha256, f"The SavedModel of layer {shown(name)}")
        content.keep(folder)
    return content


def _copy_tree(source: Path, target: Path, write: Callable[[Path, Path], object] = shutil.copyfile) -> None:
    """Copies the files below a folder into another."""
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        elif path.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write(path, copy)


def _link(source: Path, target: Path) -> None:
    """Gives a file a second name, or copies it where the file system cannot: the first name will soon be gone."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
