"""Files of weights, guarded before a library opens them; and the writing of such into a model: `zoo.restore`."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras

from zoo.converters.restoring import restorer
from zoo.converters.restoring.layouts import LayoutLike
from zoo.converters.restoring.pairing import Rename
from zoo.converters.restoring.patterns import Patterns
from zoo.converters.restoring.report import RestoreReport, few
from zoo.converters.restoring.sources import Checkpoint, SourceLike
from zoo.loading.unchanged import checkpoint_parts, file_alone, unchanged
from zoo.store.guards.arrays import npz_outline
from zoo.store.guards.checkpoints import checkpoint_outline, checkpoint_prefix, is_part, listed_checkpoint
from zoo.store.guards.hdf5 import hdf5_outline
from zoo.store.guards.places import file_size, kind_of, missing

_ARRAYS = (".npz", ".h5", ".hdf5", ".safetensors")


def restore(
    model: keras.Layer,
    source: SourceLike,
    *,
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    rename: Rename | None = None,
    layout: Mapping[str, LayoutLike] | None = None,
) -> RestoreReport:
    """Writes values of a source into the variables of a model, and returns what became of each.

    A file passes its guard first, so that it may be anybody's. Names, shapes, kinds of numbers and the values are seen
    through before anything is written: after an error the model is as it was. Of variables that are wanted and not in
    the source a UserWarning tells.

    Args:
        model: The model. A variable of it is called as its layers are: `hidden1/kernel`.
        source: A TensorFlow checkpoint (its prefix, any file of it, or its folder if that has one alone), an `.npz`,
            `.safetensors` or `.h5` file, or arrays by their names.
        include: Regular expressions, one or several, for the variables that are wanted: those whose name in the model,
            or in the source, one of them matches from its beginning.
        exclude: The same for those that are left alone.
        rename: What the source's names become: replacements by regular expressions, which are searched for in the whole
            name and applied in their order; or a function, which may return None for what is not wanted.
        layout: How arrays of other frameworks lie, by regular expressions like `include`: a text such as
            `OIHW->HWIO flip HW` (`zoo.converters.restoring.layouts`), or a function of an array.

    Raises:
        UsageError: An argument that cannot be right: a pattern that matches nothing, names that leave a choice.
        NotFoundError: There is no such file.
        IntegrityError: The file is damaged, or variables do not fit the model; the message lists them all.
        UnsafeFileError: It could do harm.

    >>> import numpy
    >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="hidden1")])
    >>> arrays = {"dnn/hidden1/kernel": numpy.ones((2, 1)), "global_step": numpy.array(7)}
    >>> print(restore(net, arrays, include="hidden1/kernel"))
    1 of the model's variables loaded; 1 left alone (hidden1/bias); 1 of the source unused (global_step)
    """
    with contextlib.ExitStack() as held:
        if not isinstance(source, Mapping):
            source = held.enter_context(guarded_weights(source))
        report = restorer.restore(model, source, include=include, exclude=exclude, rename=rename, layout=layout)
    if report.missing:
        warnings.warn(
            f"{len(report.missing)} of the model's variables are not in the source, and stay as they were: "
            f"{few(report.missing)}. If they have other names there (unused: {few(report.unused) or 'none'}), say so "
            "with rename; if they are not wanted, with exclude.",
            stacklevel=2,
        )
    return report


@contextlib.contextmanager
def guarded_weights(path: str | os.PathLike[str] | Checkpoint) -> Iterator[Path | Checkpoint]:
    """Gives a file of weights, or a checkpoint, that has passed its guard: by what was judged, and nothing else.

    Args:
        path: The file; or of a checkpoint the prefix, any file, or the folder, if that has one alone.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is damaged, or was another one when the context was left.
        UnsafeFileError: It could do harm.
    """
    path = path if isinstance(path, Checkpoint) else Path(path)
    if isinstance(path, Path) and kind_of(path) == "file" and path.suffix.casefold() in _ARRAYS:
        with unchanged(path, file_alone):
            _judge(path)
            yield path
        return
    prefix = path.prefix if isinstance(path, Checkpoint) else _prefix(path)
    with unchanged(prefix, checkpoint_parts):
        checkpoint_outline(prefix)
        yield Checkpoint(prefix)


def _judge(path: Path) -> None:
    suffix = path.suffix.casefold()
    if suffix == ".npz":
        npz_outline(path)
    elif suffix != ".safetensors":  # its library checks the header, and there is nothing but numbers in it
        hdf5_outline(path)


def _prefix(path: Path) -> Path:
    """Returns the prefix of a checkpoint, of which the user gave the folder or any file."""
    if kind_of(path) == "folder":
        return listed_checkpoint(path / "checkpoint")
    prefix = checkpoint_prefix(path) if is_part(path) else path
    if all(file_size(each) is None for each in (path, prefix, prefix.with_name(f"{prefix.name}.index"))):
        raise missing(path)
    return prefix
