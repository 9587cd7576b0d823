"""Where values come from: one view of checkpoints, `.npz`, `.safetensors`, HDF5 files and arrays in memory.

A source tells names, shapes and types at once, and gives the values one by one: the memory that is taken is that of the
largest. No file is judged here whether it could do harm: `zoo.restore` sees to that before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import IntegrityError, NotFoundError, UsageError, ZooError

if TYPE_CHECKING:
    import keras

Array = NDArray[Any]


@dataclass(frozen=True)
class Checkpoint:
    """A TensorFlow checkpoint by the prefix of its files, which is taken as it is.

    So a guard hands on what it has judged: of a path, what is left when its ending is taken away may be another.
    """

    prefix: Path

    @property
    def name(self) -> str:
        """Returns what it is called in messages."""
        return self.prefix.name


SourceLike = str | os.PathLike[str] | Checkpoint | Mapping[str, Any]


@dataclass(frozen=True)
class Saved:
    """What a source tells of a variable: its shape, and its type as NumPy or TensorFlow calls it."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Source:
    """Variables that can be read one by one.

    Attributes:
        name: What the source is called in messages.
        variables: By their names, in the order of the source.
        read: Returns the values of one.
        by_objects: Returns which variable of a model each is, by its `id`, where the source tells it otherwise than by
            names.
    """

    name: str
    variables: Mapping[str, Saved]
    read: Callable[[str], Array]
    by_objects: Callable[[keras.Layer], Mapping[str, int]] | None = None


@contextlib.contextmanager
def opened_source(source: SourceLike) -> Iterator[Source]:
    """Gives a view of what a source has, as long as the context lasts.

    Args:
        source: The prefix of a TensorFlow checkpoint or any file of it, the path of an `.npz`, `.safetensors`, `.h5` or
            `.hdf5` file, a `Checkpoint`, or arrays by their names.

    Raises:
        UsageError: It is none of these.
        NotFoundError: There is no such file.
        IntegrityError: A file is damaged.
    """
    if isinstance(source, Mapping):
        yield _in_memory(source)
        return
    opener, path = _opener(source)
    with contextlib.ExitStack() as stack:
        with _explained(path.name):
            opened = stack.enter_context(opener(path))

        def read(name: str) -> Array:
            with _explained(path.name):
                return opened.read(name)

        yield dataclasses.replace(opened, read=read)


def _opener(
    source: str | os.PathLike[str] | Checkpoint,
) -> tuple[Callable[[Path], contextlib.AbstractContextManager[Source]], Path]:
    """Returns what opens a source, and the path that it is given."""
    from zoo.converters.restoring import array_files, checkpoints

    if isinstance(source, Checkpoint):
        return checkpoints.checkpoint, source.prefix
    path = Path(source)
    suffix = path.suffix.casefold()
    by_suffix = {
        ".npz": array_files.npz,
        ".safetensors": array_files.safetensors,
        ".h5": array_files.hdf5,
        ".hdf5": array_files.hdf5,
    }
    if suffix in by_suffix and path.is_file():
        return by_suffix[suffix], path
    if checkpoints.is_there(path):
        return checkpoints.checkpoint, checkpoints.prefix_of(path)
    if path.is_dir():
        raise UsageError(
            f"Expected the prefix of a TensorFlow checkpoint, an .npz, .safetensors or .h5 file; {path} is a folder. "
            "Of a checkpoint, give what the names of its files begin with, such as model.ckpt-1000."
        )
    if path.exists():
        raise UsageError(
            f"Expected the prefix of a TensorFlow checkpoint, an .npz, .safetensors or .h5 file; got {path}, which "
            "ends with none of these, nor is it a checkpoint."
        )
    raise NotFoundError(
        f"There is no {path}, nor a checkpoint whose files begin with that name. Look for {path.name}.index, or give "
        "another path."
    )


def _in_memory(arrays: Mapping[str, Any]) -> Source:
    found = {name: np.asarray(array) for name, array in arrays.items()}
    told = {name: Saved(tuple(array.shape), array.dtype.name) for name, array in found.items()}
    return Source("the arrays", told, found.__getitem__)


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turns what a library says of a file that it cannot read into an `IntegrityError`; what we say stays."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:  # each library has errors of its own
        words = " ".join(str(error).split())[:300]
        raise IntegrityError(
            f"{name} cannot be read, so it is damaged or something else: {words}. Get it again, or save it again."
        ) from error
