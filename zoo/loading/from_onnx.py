"""Loads ONNX files as Keras models. Each passes the guard first, and what comes out is compared with the original.

onnxruntime judges every time: nothing else tells that these versions of the libraries convert the file rightly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from zoo.errors import ZooError
from zoo.loading.variables import explained, named
from zoo.store.guards.onnx_models import check_onnx, weights_outside

if TYPE_CHECKING:
    from zoo.converters import ConversionReport


def load_onnx(path: Path, name: str = "") -> keras.Model:
    """Returns the model in an ONNX file that has all of its weights inside.

    Args:
        path: The file, whatever it is called.
        name: What it is called in messages; empty: its own name.

    Raises:
        UsageError: It keeps weights in other files.
        IntegrityError: The file is damaged; an operator is unknown or newer than known; or the converted model differs
            from the original.
        UnsafeFileError: It could do harm.
    """
    name = name or path.name
    check_onnx(path, name)
    with named(path, Path(name).name) as link:
        return _converted(link, name)[0]


def converted_onnx(
    path: Path,
    *,
    limit: float = 1e-4,
    until: str | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
) -> tuple[keras.Model, ConversionReport]:
    """Returns the model in an ONNX file of the user's, and how well it was converted.

    Args:
        path: The file; weights may lie in files beside it, which are read as `zoo.converters.onnx_files` has it.
        limit: The largest error that passes, relative to the largest value of an output.
        until: The name of the last node to convert.
        shapes: The sizes of inputs, as ONNX has them; None for one that varies.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: As for `load_onnx`.
        UnsafeFileError: It, or a file of its weights, could do harm.
    """
    weights_outside(path)
    return _converted(path, path.name, limit, until, shapes)


def _converted(
    path: Path,
    name: str,
    limit: float = 1e-4,
    until: str | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
) -> tuple[keras.Model, ConversionReport]:
    from zoo.converters import onnx_to_keras  # here: few who load models need ONNX, which takes long to import

    with about(name), explained(name, "model"):
        return onnx_to_keras(path, limit=limit, until=until, shapes=shapes)


@contextmanager
def about(name: str) -> Iterator[None]:
    """Adds to a refusal which file it is about, where it does not say so."""
    try:
        yield
    except ZooError as error:
        if name in str(error):
            raise
        raise type(error)(f"{name}: {error}") from error
