"""An ONNX file whose weights lie in files beside it, as PyTorch writes them: made one file, which can be kept."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import UsageError
from zoo.files import disk_errors, temporary_name
from zoo.store.guards.formats import Offered
from zoo.store.guards.onnx_models import weights_outside
from zoo.store.layout import layout, prepare, refuse_without_room
from zoo.store.unpacking import shown

if TYPE_CHECKING:
    import onnx

LARGEST = (1 << 31) - 1  # bytes of one message, for every reader of protobuf
_ROOM_FOR_THE_REST = 1 << 24  # of a model beside its weights


@contextlib.contextmanager
def in_one_file(offered: Offered) -> Iterator[tuple[Offered, Sequence[str]]]:
    """Gives what is offered, all of it inside its own files, and what there is to say of that.

    Raises:
        UsageError: With its weights inside it would be larger than an ONNX file can be.
        NotFoundError: There is no such file.
        IntegrityError: It, or a file of its weights, is damaged or missing.
        UnsafeFileError: It reaches for files that are not its own, or could do harm otherwise.
        DiskError: There is no room for it.
    """
    path = dict(offered.files).get("model")
    if offered.format != "onnx" or path is None or (outside := weights_outside(path)) is None:
        yield offered, ()
        return
    from zoo.converters.onnx_files import read_onnx  # here: the guard has been at the file, and few files are such

    model = read_onnx(path)
    _refuse_larger(model, path)
    paths = layout()
    with disk_errors(paths.home, "free some space (zoo gc --all), or set ZOO_HOME to a larger disk"):
        prepare(paths)
        folder = temporary_name(paths.tmp / "whole")
        folder.mkdir(mode=0o700)
    try:
        whole = folder / path.name
        with disk_errors(whole, "free some space (zoo gc --all), or set ZOO_HOME to a larger disk"):
            data = model.SerializeToString(deterministic=True)
            refuse_without_room(len(data), path.name, paths.home)
            whole.write_bytes(data)
        note = (
            f"Its weights lie in files of their own (the first is {shown(outside)}): what is kept is one file of "
            f"{len(data):,} bytes with all of them inside, whose sha256 is therefore another than that of {path.name}."
        )
        del model, data
        yield dataclasses.replace(offered, files=(("model", whole),)), (note,)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_larger(model: onnx.ModelProto, path: Path) -> None:
    weights = sum(len(each.raw_data) for each in model.graph.initializer)
    if weights + _ROOM_FOR_THE_REST > LARGEST:
        raise UsageError(
            f"{path.name} has {weights:,} bytes of weights in other files, and one ONNX file, which is what is kept, "
            f"holds {LARGEST:,} at most. Load it by its path: zoo.load_model({path.name!r}); or make a .keras file of "
            f"it, and add that: zoo convert {path.name} {path.stem}.keras"
        )
